"""Does the degree controller put the layers of LeNet-300-100 on the line it is given, at every density?

Rule: the slope of log-odds over the degree that an actuator sets, on-rates as the rule sees them, over the
beta it is given, must be 1. Confirmed if in every layer and at every density that leaves units off the clips
the 95 % interval over seeds lies within 10 % of 1; refuted if one lies outside; undecided otherwise. The line
is imposed here: this judges the machinery. What training has moved since shows in on-rates measured afresh.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.lenet_density import Result

CLAIM = "Degrees set by k = d0 + L(a)/beta lie on the line of slope beta in every layer of a trained network."
PAPER = "this project's reading of the degree controller of arXiv 2510.01263"
SOURCES = ("lenet_density",)
OWN_THEORY = True

# rounding to whole links and clips move a least-squares slope by a few per cent
TOLERANCE = 0.1


def check(result: Result) -> CheckResult:
    """Compare slopes under the controller with its beta."""
    imposed = [row for row in result.balance if row.method in ("bb_in", "bb_out")]
    rows = [row for row in imposed if math.isfinite(row.low)]
    inside = [row for row in rows if row.low >= 1 - TOLERANCE and row.high <= 1 + TOLERANCE]
    outside = [row for row in rows if row.high < 1 - TOLERANCE or row.low > 1 + TOLERANCE]
    verdict = UNDECIDED
    if outside:
        verdict = REFUTED
    elif rows and len(inside) == len(rows):
        verdict = CONFIRMED
    worst = max(rows, key=lambda row: abs(row.ratio - 1), default=None)
    fresh = [row.test_ratio for row in rows if math.isfinite(row.test_ratio)]
    seeds = sorted({row.n for row in result.rows})
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=worst.ratio if worst else None,
        interval=(worst.low, worst.high) if worst else None,
        verdict=verdict,
        note=(
            f"slope/beta furthest from 1 with its 95 % interval over {seeds[-1]} seeds, {len(rows)} groups "
            f"of actuator, layer and density; {len(imposed) - len(rows)} more have nearly all units on a "
            f"clip. On the test images: {min(fresh, default=math.nan):.2f} to "
            f"{max(fresh, default=math.nan):.2f}"
        ),
    )

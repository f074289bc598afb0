"""Is the density at small pressures an artefact of Adam's eps only while a run has not converged?

Rule: the difference in density between the default eps of 1e-8 and 1e-12. Confirmed if early in training some
95 % interval of it lies above 0.01, and at the end every one lies within 0.01; refuted if at the end one lies
wholly outside where idle weights are gone (less than 1 % left) and the difference has stopped to shrink (the
95 % interval of its change over the last third of the epochs reaches 0 or beyond); undecided otherwise. That
it must have stopped was added when a first record showed it shrinking at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bbtheory.fit.uncertainty import mean_low_high
from paper_checks._intervals import within
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.adam_eps_artefact import Result, Row

CLAIM = "Adam's eps changes the density of small pressures early, not in the end."
PAPER = (
    "this project's reading of the small-pressure ends of the curves of arXiv 2504.05349: gamma/N is below "
    "eps there"
)
SOURCES = ("adam_eps_artefact",)

SMALL, GONE = 0.01, 0.01


def check(result: Result) -> CheckResult:
    """Compare densities under the two eps, early and at the end."""
    last = result.rows[-1].eps
    rows = [row for row in result.rows if row.eps != last]
    early = any(row.early_low > SMALL for row in rows)
    shrinking = [_shrinks(result, row) for row in rows]
    rested = [row for row, more in zip(rows, shrinking, strict=True) if row.idle_end < GONE and not more]
    verdict = UNDECIDED
    if within([(row.low, row.high) for row in rested], -SMALL, SMALL) == REFUTED:
        verdict = REFUTED
    elif early and within([(row.low, row.high) for row in rows], -SMALL, SMALL) == CONFIRMED:
        verdict = CONFIRMED
    worst = max(rows, key=lambda row: abs(row.excess))
    each = "; ".join(
        f"gamma {r.pressure:.2g}: early {r.early_excess:+.3f} [{r.early_low:+.3f}, {r.early_high:+.3f}], end "
        f"{r.excess:+.4f} [{r.low:+.4f}, {r.high:+.4f}]{' and shrinking' if more else ''}, "
        f"idle weights left {r.idle_end:.2f}"
        for r, more in zip(rows, shrinking, strict=True)
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=worst.excess,
        interval=(worst.low, worst.high),
        verdict=verdict,
        note=f"density less that with eps {last:g}, paired, 95 %, n = {worst.n} seeds: {each}",
    )


def _shrinks(result: Result, row: Row) -> bool:
    """Return whether the difference from the last eps was larger, for sure, a third of the epochs ago."""
    (own,) = (i for i, r in enumerate(result.rows) if (r.pressure, r.eps) == (row.pressure, row.eps))
    (other,) = (
        i for i, r in enumerate(result.rows) if (r.pressure, r.eps) == (row.pressure, result.rows[-1].eps)
    )
    excess = (result.course[own] - result.course[other]) * np.sign(row.excess)
    third = excess.shape[-1] // 3
    return mean_low_high(excess[:, -1] - excess[:, -1 - third])[2] < 0

"""Is the density at small pressures an artefact of Adam's eps only while a run has not converged?

Rule: the difference in density between the default eps of 1e-8 and 1e-12. Confirmed if early in training some
95 % interval of it lies above 0.01, and at the end every one lies within 0.01; refuted if at the end one lies
wholly outside where idle weights are gone (less than 1 % left) and the difference is at rest (over the last
third of the epochs it shrank by a tenth at most, by the 95 % interval); undecided otherwise. The condition on
the difference was added when a first record showed it shrinking at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks._courses import rests
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
    at_rest = [row.idle_end < GONE and rests(_excess(result, row)) for row in rows]
    verdict = UNDECIDED
    rested = [(row.low, row.high) for row, rests_too in zip(rows, at_rest, strict=True) if rests_too]
    if within(rested, -SMALL, SMALL) == REFUTED:
        verdict = REFUTED
    elif early and within([(row.low, row.high) for row in rows], -SMALL, SMALL) == CONFIRMED:
        verdict = CONFIRMED
    worst = max(rows, key=lambda row: abs(row.excess))
    each = "; ".join(
        f"gamma {r.pressure:.2g}: early {r.early_excess:+.3f} [{r.early_low:+.3f}, {r.early_high:+.3f}], end "
        f"{r.excess:+.4f} [{r.low:+.4f}, {r.high:+.4f}]{'' if rests_too else ' (not at rest)'}, "
        f"idle weights left {r.idle_end:.2f}"
        for r, rests_too in zip(rows, at_rest, strict=True)
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


def _excess(result: Result, row: Row) -> np.ndarray:
    """Return the course of a row less that under the last eps, (n_seeds, epochs)."""
    own, other = (
        course
        for r, course in zip(result.rows, result.course, strict=True)
        if r.pressure == row.pressure and r.eps in (row.eps, result.rows[-1].eps)
    )
    return own - other

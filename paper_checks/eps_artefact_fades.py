"""Is the density at small pressures an artefact of Adam's eps only while a run has not converged?

Rule: the difference in density between the default eps of 1e-8 and 1e-12. Confirmed if early in training some
95 % interval of it lies above 0.01, and at the end every one lies within 0.01; refuted if at the end one lies
wholly outside where idle weights are gone (less than 1 % left); undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._intervals import within
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.adam_eps_artefact import Result

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
    rested = [row for row in rows if row.idle_end < GONE]
    verdict = UNDECIDED
    if within([(row.low, row.high) for row in rested], -SMALL, SMALL) == REFUTED:
        verdict = REFUTED
    elif early and within([(row.low, row.high) for row in rows], -SMALL, SMALL) == CONFIRMED:
        verdict = CONFIRMED
    worst = max(rows, key=lambda row: abs(row.excess))
    each = "; ".join(
        f"gamma {r.pressure:.2g}: early {r.early_excess:+.3f} [{r.early_low:+.3f}, {r.early_high:+.3f}], end "
        f"{r.excess:+.4f} [{r.low:+.4f}, {r.high:+.4f}], idle weights left {r.idle_end:.2f}"
        for r in rows
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

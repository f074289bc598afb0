"""Does the density under a held pressure end at the same place for SGD and Adam on presence?

Rule: confirmed if for every schedule of the weights' rate the 95 % interval of the paired ratio of densities
lies within 10 % of 1; refuted if one lies wholly outside where both densities have come to rest (a drift of
5 % at most over the last tenth of the epochs); undecided otherwise. On a separable loss the two agree
(`density_follows_flux`); a network's weights learn and interact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._intervals import within
from paper_checks.protocol import REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.convergence_at_fixed_pressure import Result

CLAIM = "The density under a held pressure is the same whether SGD or Adam moves the presence variables."
PAPER = "arXiv 2504.05349, runs with both optimizers of presence; one equilibrium is this project's theory"
SOURCES = ("convergence_at_fixed_pressure",)

TOLERANCE, STILL = 0.1, 0.05


def check(result: Result) -> CheckResult:
    """Compare the other optimizers with the first."""
    first = result.rows[0].flow
    rows = [row for row in result.rows if row.flow != first]
    still = {(row.flow, row.schedule) for row in result.rows if abs(row.drift) <= STILL}
    rested = [row for row in rows if {(row.flow, row.schedule), (first, row.schedule)} <= still]
    bounds = 1 - TOLERANCE, 1 + TOLERANCE
    verdict = within([(row.ratio_low, row.ratio_high) for row in rows], *bounds)
    if verdict == REFUTED and within([(r.ratio_low, r.ratio_high) for r in rested], *bounds) != REFUTED:
        verdict = UNDECIDED
    worst = max(rows, key=lambda row: abs(row.ratio - 1))
    each = ", ".join(
        f"{r.flow}, {r.schedule} {r.ratio:.3f} [{r.ratio_low:.3f}, {r.ratio_high:.3f}], arrives after "
        f"{r.arrival:.2g} epochs"
        for r in rows
    )
    drift = max(abs(row.drift) for row in result.rows)
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=worst.ratio,
        interval=(worst.ratio_low, worst.ratio_high),
        verdict=verdict,
        note=(
            f"density over that under {first}, which by the pressure alone arrives at t = 0 after "
            f"{result.rows[0].arrival:.2g} epochs; paired, 95 %, n = {worst.n} seeds: {each}. Largest drift "
            f"at the end {drift:.1%}"
        ),
    )

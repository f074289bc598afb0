"""Does the spectrum of a dense network predict the exponent of its pruning law?

Rule: measured over predicted exponent of LeNets over widths, data sets and families, geometric mean over
seeds with its 95 % interval. Confirmed if every interval lies within a factor 1.25 of 1; refuted if in any
family more than half of the intervals lie outside as a whole; undecided otherwise, or with fewer than 5
seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.spectrum_predicts_exponent import Result

CLAIM = (
    "The exponent of the pruning law follows from the dense network before anything is cut: the static "
    "exponent of its scores, made shallower by the measured growth nu of the survivors, or the density that "
    "its fluxes give under pressure."
)
PAPER = "this project's derivations, derive_compensation and derive_duty_cycle, taken over to networks"
SOURCES = ("spectrum_predicts_exponent",)

FACTOR = 1.25
MIN_SEEDS = 5


def check(result: Result) -> CheckResult:
    """Set measured against predicted exponents."""
    families: dict[str, list[bool]] = {}
    inside = []
    for row in result.rows:
        out = row.ratio_high < 1.0 / FACTOR or row.ratio_low > FACTOR
        families.setdefault(row.family, []).append(out)
        inside.append(row.ratio_low >= 1.0 / FACTOR and row.ratio_high <= FACTOR)
    failing = [family for family, out in families.items() if sum(out) > 0.5 * len(out)]
    verdict = UNDECIDED
    if result.rows and min(row.n for row in result.rows) >= MIN_SEEDS:
        if failing:
            verdict = REFUTED
        elif all(inside):
            verdict = CONFIRMED
    shown = "; ".join(
        f"{row.family} on {row.data} {row.widths}: {row.measured:.2f} (predicted {row.predicted:.2f}, ratio "
        f"{row.ratio:.2f} [{row.ratio_low:.2f}, {row.ratio_high:.2f}], static {row.static:.2f}, nu "
        f"{row.compensation:.2f}, near the threshold {row.near_compensation:.2f}, "
        f"ranks kept {row.rank_correlation:.2f})"
        for row in result.rows
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="measured/predicted within a factor 1.25 of 1",
        observed=f"{sum(inside)} of {len(inside)} inside; fails for {', '.join(failing) or 'no family'}",
        interval=None,
        verdict=verdict,
        note=f"exponents, means over seeds, ratios with 95 % intervals: {shown or 'none'}",
    )

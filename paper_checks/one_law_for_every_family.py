"""Does one law, density a power of saliency, hold for every saliency that works?

Rule: LeNet-300-100 pruned by magnitude, by Taylor and by Hyperflux; each seed's curve has its verdict from
`bbtheory.fit_power_law`. Confirmed if in every family at least 80 % of the seeds are power laws; refuted if
in any family at least 80 % are curved; undecided otherwise, with fewer than 5 seeds, or without one of the
families. Exponents may differ, for saliencies differ in unit: the note says how much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.pruning_law_lenet import Result

CLAIM = (
    "The same power law between the minimum saliency of the remaining weights and density holds for any "
    "effective saliency: magnitude, gradient (Taylor) and L0 (Hyperflux)."
)
PAPER = "arXiv 2504.05349 v3, abstract; LeNet-300-100 on MNIST here"
SOURCES = ("pruning_law_lenet",)

FAMILIES = ("magnitude", "taylor", "hyperflux")
OTHERS = ("gradient", "random_regrowth")
MOST = 0.8
MIN_SEEDS = 5


def check(result: Result, source: str = PAPER) -> CheckResult:
    """Compare families by the verdicts of their curves."""
    rows = [row for row in map(result.row, FAMILIES) if row is not None]
    enough = len(rows) == len(FAMILIES) and min(row.n for row in rows) >= MIN_SEEDS
    straight = [row.family for row in rows if row.n_power_law >= MOST * row.n]
    curved = [row.family for row in rows if row.n_curved >= MOST * row.n]
    verdict = UNDECIDED
    if enough and curved:
        verdict = REFUTED
    elif enough and len(straight) == len(FAMILIES):
        verdict = CONFIRMED
    rows += [row for row in map(result.row, OTHERS) if row is not None]
    exponents = ", ".join(
        f"{row.family} {row.exponent:.3f} [{row.exponent_low:.3f}, {row.exponent_high:.3f}] "
        f"({row.n_curved} of {row.n} curved)"
        for row in rows
    )
    return CheckResult(
        claim=CLAIM,
        source=source,
        predicted="a power law in every family",
        observed=f"power law: {', '.join(straight) or 'none'}; curved: {', '.join(curved) or 'none'}",
        interval=None,
        verdict=verdict,
        note=f"exponents in the window, means over seeds with 95 % intervals: {exponents or 'none'}",
    )

"""Does the growth of survivors between events account for what training does to the exponent?

Rule: for magnitude and Taylor on LeNet-300-100, the exponent that 1/alpha = 1/alpha_static + nu gives, from
the curve of the same network without training between events and from the measured growth nu, over the
measured one. Confirmed if for both the ratio lies within 20 % of 1, with the 95 % intervals of the two
exponents taken together; refuted if for one it lies wholly outside; undecided otherwise, or with fewer than 5
seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._intervals import within
from paper_checks.protocol import UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.pruning_law_lenet import Result

CLAIM = "Training changes the exponent by the growth of the survivors: 1/alpha = 1/alpha_static + nu."
PAPER = "this project's derivation, on networks; its assumption is one factor for all survivors"
SOURCES = ("pruning_law_lenet",)

TOLERANCE, MIN_SEEDS = 0.2, 5
FAMILIES = ("magnitude", "taylor")


def check(result: Result) -> CheckResult:
    """Compare the exponent with compensation with the measured one."""
    ratios, parts, seeds = {}, [], []
    for family in FAMILIES:
        trained, static = result.row(family), result.row(f"static_{family}")
        if trained is None or static is None:
            continue
        nu = trained.compensation

        def predicted(exponent: float, nu: float = nu) -> float:
            return 1.0 / (1.0 / exponent + nu)

        expected = predicted(static.exponent)
        ratios[family] = (
            expected / trained.exponent,
            predicted(static.exponent_low) / trained.exponent_high,
            predicted(static.exponent_high) / trained.exponent_low,
        )
        seeds += [trained.n, static.n]
        parts.append(
            f"{family}: static {static.exponent:.3f}, nu {nu:+.3f}, predicted {expected:.3f}, measured "
            f"{trained.exponent:.3f}"
        )
    verdict = UNDECIDED
    if len(ratios) == len(FAMILIES) and min(seeds) >= MIN_SEEDS:
        verdict = within([(low, high) for _, low, high in ratios.values()], 1 - TOLERANCE, 1 + TOLERANCE)
    worst = max(ratios.values(), key=lambda r: abs(r[0] - 1), default=None)
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=worst[0] if worst else None,
        interval=worst[1:] if worst else None,
        verdict=verdict,
        note=f"predicted over measured exponent, n = {min(seeds, default=0)} seeds. {'; '.join(parts)}",
    )

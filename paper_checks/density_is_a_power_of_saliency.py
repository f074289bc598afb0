"""Is density a power of the least saliency inside the window where the pruning law is claimed?

Rule: curves of LeNet-300-100 under iterative magnitude, Taylor and Hyperflux, one per family and seed, are
judged one by one by `bbtheory.fit_power_law` inside 0.005 < density <= 0.5: curved if a rival law is better
by more than 6 in BIC or the curvature differs from 0 with p < 0.01. Confirmed if at least 80 % of all
curves are power laws, refuted if at least 80 % are curved, undecided otherwise, with fewer than 5 seeds, or
without one of the families.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.pruning_law_lenet import Result

CLAIM = (
    "Between 0.5 % and 50 % density the minimum saliency of the remaining weights and the density of a "
    "network that is pruned while it trains lie on a power law, density = c saliency^-alpha."
)
PAPER = (
    "arXiv 2504.05349 v3, the Neural Pruning Law Hypothesis; the window from the authors' code "
    "(test_law_regions.py); LeNet-300-100 on MNIST here"
)
SOURCES = ("pruning_law_lenet",)

FAMILIES = ("magnitude", "taylor", "hyperflux")
MOST = 0.8
MIN_SEEDS = 5


def check(result: Result) -> CheckResult:
    """Count verdicts."""
    found = [result.curve(family) for family in FAMILIES]
    curves = [curve for curve in found if curve is not None]
    verdicts = [verdict for curve in curves for verdict in curve.verdicts]
    straight, curved = (_share(verdicts, name) for name in ("power_law", "curved"))
    enough = len(curves) == len(FAMILIES) and min(len(curve.verdicts) for curve in curves) >= MIN_SEEDS
    verdict = UNDECIDED
    if enough and straight >= MOST:
        verdict = CONFIRMED
    elif enough and curved >= MOST:
        verdict = REFUTED
    shown = "; ".join(
        f"{c.family} {c.verdicts.count('power_law')} power law, {c.verdicts.count('curved')} curved, "
        f"{c.verdicts.count('undecided')} undecided, R^2 {np.nanmean(c.r_squared):.4f}, distance from "
        f"the line {np.nanmean(c.bend):.3f} in ln density"
        for c in curves
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=straight,
        interval=None,
        verdict=verdict,
        note=f"share of {len(verdicts)} curves that are power laws in the window. {shown or 'no curve'}",
    )


def _share(verdicts: list[str], name: str) -> float:
    return verdicts.count(name) / len(verdicts) if verdicts else 0.0

"""Does an R^2 close to 1 show that a network's training obeys the pruning law?

Rule: if it does, magnitudes that no network ever trained must not reach it. Refuted if for any family of
fixed random magnitudes the 95 % interval of R^2 over seeds lies at or above the lowest R^2 of the trained
networks; confirmed if for every family it lies below; undecided otherwise. What is judged is the inference
from R^2, not the law: curvature, residual autocorrelation and rival models judge the law itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.static_null import Result

CLAIM = (
    "An R^2 close to 1 of ln density against ln saliency, as trained networks show it under three pruners, "
    "is evidence that their training obeys a pruning law."
)
PAPER = (
    "arXiv 2504.05349 v3, the hypothesis and its figure 4 (ResNet-50, CIFAR-10: straight log-log curves of "
    "Hyperflux, magnitude and Taylor pruning); known from its abstract and public data, not its full text"
)
SOURCES = ("static_null",)

# least squares on the authors' public curves inside 0.005 < density <= 0.5, this project's refit
TRAINED_R_SQUARED = {"hyperflux": 0.9957, "magnitude": 0.9905, "taylor": 0.9971}


def check(result: Result) -> CheckResult:
    """Compare the straightest family of untrained magnitudes with the least straight trained network."""
    bar = min(TRAINED_R_SQUARED.values())
    low, middle, high = np.quantile(result.r_squared, [0.025, 0.5, 0.975], axis=1)
    best = int(np.argmax(middle))
    if (low >= bar).any():
        verdict = REFUTED
    elif (high < bar).all():
        verdict = CONFIRMED
    else:
        verdict = UNDECIDED
    others = ", ".join(
        f"{f} {m:.4f}" for i, (f, m) in enumerate(zip(result.families, middle, strict=True)) if i != best
    )
    curved = int(result.n_curved[best])
    n = result.r_squared.shape[1]
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"R^2 < {bar} without a network",
        observed=float(middle[best]),
        interval=(float(low[best]), float(high[best])),
        verdict=verdict,
        note=(
            f"fixed {result.families[best]} magnitudes, no training: median and 95 % interval over n = {n} "
            f"samples (other families: {others}); trained networks have {bar} to "
            f"{max(TRAINED_R_SQUARED.values())}. The fit's own verdict is curved for {curved} of {n} samples"
        ),
    )

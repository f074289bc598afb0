"""Does a power spectrum of fluxes explain where the authors' curves leave the power law at high density?

Rule: under a power spectrum the law ends at the density 1/(1 + alpha_0). Confirmed if for all three of their
curves that is within 10 % of the upper break of the three-segment law that fits best; refuted if for one it
is off by more than a factor of 1.5; undecided otherwise.
"""

from __future__ import annotations

import numpy as np

from bbtheory.theory.spectrum import region_end_density
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

CLAIM = "The pruning law of the authors' three curves ends where a pure power spectrum of fluxes ends it."
PAPER = (
    "this project's prediction, on the public curves of arXiv 2504.05349 (ResNet-50, CIFAR-10); exponents "
    "and breaks are this project's refit"
)
SOURCES = ()

# exponent inside 0.005 < density <= 0.5, and density at the upper break
CURVES = {"hyperflux": (0.595, 0.25), "magnitude": (1.533, 0.34), "taylor": (0.623, 0.33)}
CLOSE, FAR = 1.1, 1.5


def check(curves: dict[str, tuple[float, float]] = CURVES) -> CheckResult:
    """Compare predicted ends with breaks."""
    exponents, breaks = (np.array(x) for x in zip(*curves.values(), strict=True))
    predicted = region_end_density(exponents)
    off = np.maximum(predicted / breaks, breaks / predicted)
    if (off <= CLOSE).all():
        verdict = CONFIRMED
    elif (off > FAR).any():
        verdict = REFUTED
    else:
        verdict = UNDECIDED
    each = ", ".join(f"{n} {p:.2f} ({b:.2f})" for n, p, b in zip(curves, predicted, breaks, strict=True))
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=float(off.max()),
        interval=None,
        verdict=verdict,
        note=f"largest factor between predicted end and break; predicted (found): {each}; one curve each",
    )

"""Can a utility mu ln k of a unit's audience hold rare units at equal traffic, the 1/a rule?

Jointly in on-rate and fan-out, h(a) + mu ln k - beta a k is stationary where a L(a) = mu and a k = mu/beta.

Rule: eigenvalues of the Hessian at every such point, for mu up to beyond the largest that has one. Confirmed
if points with a > 0.2178 are maxima, those with a < 0.2178 saddles, and none exists for mu > 0.2785;
refuted if one differs.
"""

from __future__ import annotations

import numpy as np

from bbtheory.theory.entropy import inactivity_log_odds
from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = "With an audience worth mu ln k only units on more than 0.2178 of the time sit at a joint maximum."
PAPER = "this project's derivation, for the 1/a rule of the OLMo code of arXiv 2510.01263"
SOURCES = ()
OWN_THEORY = True

BORDER = 0.2178117
BETA = 0.7


def check(border: float = BORDER) -> CheckResult:
    """Classify the stationary points by their Hessian."""
    from scipy.optimize import root_scalar

    def value(a: float) -> float:
        return a * float(inactivity_log_odds(np.array([a]))[0])

    wrong = n = 0
    for mu in np.linspace(0.005, 0.275, 28):
        for low, high in ((1e-9, BORDER), (BORDER, 0.5)):
            a = root_scalar(lambda x, m=mu: value(x) - m, bracket=(low, high), xtol=1e-15).root
            k = mu / (BETA * a)
            hessian = np.array([[-1.0 / (a * (1.0 - a)), -BETA], [-BETA, -mu / k**2]])
            is_maximum = bool(np.linalg.eigvalsh(hessian).max() < 0)
            wrong += is_maximum != (a > border)
            n += 1
    grid = np.linspace(1e-6, 0.5, 100_001)[:-1]
    largest = float((grid * inactivity_log_odds(grid)).max())
    beyond = largest < 0.2785
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=float(wrong),
        interval=None,
        verdict=CONFIRMED if wrong == 0 and beyond else REFUTED,
        note=f"points of the wrong kind, of {n}; stationary points end at mu = {largest:.5f}",
    )

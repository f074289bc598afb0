"""Does an R^2 close to 1 show that units are on the balance line?

Rule: close to 1 is 0.95 or more. Units on the hyperbola a k = tau, which the threshold rule makes, are fitted
by a line in log-odds, without noise, over spans of on-rates up to 1/2. Refuted if on some span that a layer
can have (a factor of 3, say 0.15 to 0.5) the wrong line has R^2 of 0.95 or more; confirmed if on none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bbtheory.theory.entropy import inactivity_log_odds
from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = "An R^2 close to 1 of fan-out against log((1-a)/a) shows that units are balanced."
PAPER = "arXiv 2510.01263, the line on XOR; reviewers asked for R^2 in real layers"
SOURCES = ()

CLOSE = 0.95
SPANS = (0.3, 0.15, 0.05, 0.01)
JUDGED = 0.15


def hyperbola(a: np.ndarray) -> np.ndarray:
    """Return fan-outs that the threshold leaves, up to tau."""
    return 1.0 / a


def check(law: Callable[[np.ndarray], np.ndarray] = hyperbola) -> CheckResult:
    """Fit a line to units that are on another law."""
    found = {}
    for low in SPANS:
        a = np.linspace(low, 0.5, 2001)
        found[low] = float(np.corrcoef(inactivity_log_odds(a), law(a))[0, 1] ** 2)
    reached = max(value for low, value in found.items() if low >= JUDGED)
    each = ", ".join(f"{low:g} to 0.5: {value:.3f}" for low, value in found.items())
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"below {CLOSE} off the line",
        observed=found[JUDGED],
        interval=None,
        verdict=REFUTED if reached >= CLOSE else CONFIRMED,
        note=f"R^2 of a line through units on the hyperbola, on-rates evenly spread; by span {each}",
    )

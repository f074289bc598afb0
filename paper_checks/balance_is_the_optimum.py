"""Is the balance L(a) = beta k the maximum of coding entropy under a traffic budget?

Rule: a general optimiser, which knows neither multiplier nor balance, maximises the entropy of populations
with random fan-outs and budgets. Confirmed if no on-rate of its optimum is further than 1e-4 from the
balance with the multiplier that the balance's own traffic fixes, and its entropy is nowhere larger by more
than rounding; refuted if one is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bbtheory.theory.entropy import coding_entropy, on_rate_from_log_odds
from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = "Entropy under a budget of traffic is largest where log((1-a)/a) = beta k for every unit."
PAPER = "arXiv 2510.01263, selectivity-audience balance from the stationarity of its constrained problem"
SOURCES = ()
OWN_THEORY = True

TOLERANCE = 1e-4  # of an on-rate; the optimiser's own is 1e-6 and entropy is flat at the optimum
ROUNDING = 1e-9  # nats
_OWN_ERROR = 1e-6  # of the optimiser: what is below it differs from machine to machine
N_POPULATIONS, N_UNITS = 12, 8


def balance(beta: float, fan_out: np.ndarray) -> np.ndarray:
    """Return the on-rates of the balance."""
    return on_rate_from_log_odds(beta * fan_out)


def check(law: Callable[[float, np.ndarray], np.ndarray] = balance) -> CheckResult:
    """Compare the law with the optimum of a general optimiser."""
    from scipy.optimize import root_scalar

    rng = np.random.default_rng(0)
    distance = excess = 0.0
    for _ in range(N_POPULATIONS):
        fan_out = rng.uniform(1.0, 20.0, N_UNITS)
        budget = rng.uniform(0.05, 0.4) * fan_out.sum()
        beta = root_scalar(
            lambda b, k=fan_out, t=budget: float(law(b, k) @ k) - t, bracket=(1e-9, 50.0), xtol=1e-14
        ).root
        expected, found = law(beta, fan_out), _optimum(fan_out, budget)
        distance = max(distance, float(np.abs(found - expected).max()))
        excess = max(excess, coding_entropy(found) - coding_entropy(expected))
    holds = distance <= TOLERANCE and excess <= ROUNDING
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=distance if distance > _OWN_ERROR else 0.0,
        interval=None,
        verdict=CONFIRMED if holds else REFUTED,
        note=(
            f"largest distance of an on-rate over {N_POPULATIONS} populations of {N_UNITS} units, sequential "
            f"quadratic programming; its entropy is larger by {excess:.1g} nats at most. Fan-outs are given: "
            "see balance_is_no_joint_optimum"
        ),
    )


def _optimum(fan_out: np.ndarray, budget: float) -> np.ndarray:
    from scipy.optimize import minimize

    share = budget / fan_out.sum()
    found = minimize(
        lambda a: -coding_entropy(np.clip(a, 1e-12, 1 - 1e-12)),
        np.full(fan_out.size, 0.9 * share),
        jac=lambda a: np.log(np.clip(a, 1e-12, 1.0)) - np.log1p(-np.clip(a, 0.0, 1 - 1e-12)),
        method="SLSQP",
        bounds=[(1e-9, 1 - 1e-9)] * fan_out.size,
        constraints={"type": "ineq", "fun": lambda a: budget - a @ fan_out, "jac": lambda a: -fan_out},
        options={"maxiter": 500, "ftol": 1e-14},
    )
    return found.x * min(1.0, budget / float(found.x @ fan_out))  # rounding must not buy entropy

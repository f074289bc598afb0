"""Is the multiplier of the budget the price of traffic, dH/dT in nats per link?

Rule: entropies of the optimum at budgets a little apart give dH/dT by central differences. Confirmed if for
all random populations it is beta within 1e-5 relative; refuted if not.
"""

from __future__ import annotations

import numpy as np

from bbtheory import solve_equilibrium
from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = "One more unit of traffic buys beta nats of entropy."
PAPER = "this project's derivation, for the constrained problem of arXiv 2510.01263"
SOURCES = ()
OWN_THEORY = True

# central differences over 1e-3 of the budget err by the third derivative times 1e-7
STEP, TOLERANCE = 1e-3, 1e-5
N_POPULATIONS = 50


def check(price: float = 1.0) -> CheckResult:
    """Compare differences of entropy with ``price`` times the multiplier."""
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(N_POPULATIONS):
        fan_out = rng.uniform(1.0, 40.0, int(rng.integers(2, 60)))
        budget = rng.uniform(0.05, 0.4) * fan_out.sum()
        low, here, high = (solve_equilibrium(fan_out, budget=budget * (1 + s)) for s in (-STEP, 0.0, STEP))
        slope = (high.coding_entropy - low.coding_entropy) / (2 * STEP * budget)
        worst = max(worst, abs(slope / (price * here.beta) - 1.0))
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=worst,
        interval=None,
        verdict=CONFIRMED if worst <= TOLERANCE else REFUTED,
        note=f"largest relative distance of dH/dT from beta over {N_POPULATIONS} random populations",
    )

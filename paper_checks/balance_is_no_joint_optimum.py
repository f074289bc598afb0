"""Is the balance also the best choice of fan-outs, when these may change with the on-rates?

Rule: from the balance of random populations every fan-out is lowered by 1 % of itself and the on-rates are
balanced anew within the same budget. Confirmed (that it is not) if entropy rises in all of them; refuted if
it falls or stays in one.
"""

from __future__ import annotations

import numpy as np

from bbtheory import solve_equilibrium
from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = "The balance is the best choice of on-rates for given fan-outs, not of both: entropy asks for none."
PAPER = (
    "this project's caveat on arXiv 2510.01263, whose controller reads the line backwards and sets fan-outs "
    "from on-rates"
)
SOURCES = ()
OWN_THEORY = True

SHRINK = 0.99
N_POPULATIONS = 50


def check(shrink: float = SHRINK) -> CheckResult:
    """Compare entropies before and after fan-outs shrink."""
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(N_POPULATIONS):
        fan_out = rng.uniform(1.0, 40.0, int(rng.integers(2, 60)))
        budget = rng.uniform(0.05, 0.4) * fan_out.sum()
        before, after = (solve_equilibrium(k, budget=budget) for k in (fan_out, shrink * fan_out))
        gains.append((after.coding_entropy - before.coding_entropy) / before.coding_entropy)
    least = float(min(gains))
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="above 0",
        observed=least,
        interval=None,
        verdict=CONFIRMED if least > 0 else REFUTED,
        note=(
            f"least relative rise of entropy as fan-outs go to {shrink:g} of themselves, {N_POPULATIONS} "
            f"random populations; largest {max(gains):.3g}"
        ),
    )

"""Does the sign of the flux decide whether a removed weight returns: towards its value, or away from it?

Rule: weights held at +1 or -1 whose loss pulls them to +1 or -1, all four cases, under a pressure below the
size of the flux. Confirmed if weights that are pulled towards their value are present 1 - gamma/F of the
time, within 0.01, and the others never, with each optimizer; refuted if not.
"""

from __future__ import annotations

import numpy as np

from bbtheory import simulate_flux
from bbtheory.simulate import Optimizer, SolvableLoss
from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = (
    "A removed weight regrows where the loss pulls towards its value; in the other two cases it stays pruned."
)
PAPER = "arXiv 2504.05349, figure 1, four cases of sign"
SOURCES = ()

GAMMA, FLUX = 0.4, 1.0
TOLERANCE = 0.01  # of a share; presence is counted over 25,000 steps
COPIES = 5  # of each case, with starts of their own


def check(turn: float = 1.0) -> CheckResult:
    """Count the time that weights of each case are present; ``turn`` -1 turns the pull around."""
    value = np.repeat([1.0, 1.0, -1.0, -1.0], COPIES)
    pull = turn * np.repeat([1.0, -1.0, 1.0, -1.0], COPIES)
    # F = N kappa lambda w w*, kappa = 1/4
    loss = SolvableLoss(np.full(value.size, 4.0 * FLUX / value.size), pull)
    returns = value == np.repeat([1.0, -1.0, 1.0, -1.0], COPIES)
    expected = np.where(returns, 1.0 - GAMMA / FLUX, 0.0)
    off, parts = 0.0, []
    flows = {"SGD": Optimizer("sgd", 1e-2), "momentum": Optimizer("sgd", 1e-3, momentum=0.9)}
    for name, flow in flows.items():
        run = simulate_flux(loss, GAMMA, n_epochs=500, flow=flow, weight_start=value)
        off = max(off, float(np.abs(run.presence - expected).max()))
        seen = run.presence.reshape(4, COPIES).mean(1)
        parts.append(f"{name} " + ", ".join(f"{share:.3f}" for share in seen))
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=off,
        interval=None,
        verdict=CONFIRMED if off <= TOLERANCE else REFUTED,
        note=f"largest distance of shares of time present; value and pull ++, +-, -+, --: {'; '.join(parts)}",
    )

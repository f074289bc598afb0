"""Do learning weights remember where they started, as the equilibrium of presence and weight says?

Rule: toys whose weights learn from parts of their optimum, with and without weight decay. Confirmed if every
mean presence is within 0.005 of the predicted one (a learning step is not infinitely small) and some is more
than 0.1 below the static law; refuted if one is further off, undecided if none shows a memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.flux_learning_toy import Result

CLAIM = (
    "A weight that is cut while small does not come back: it lives only if it starts above a threshold, "
    "gamma/F of its optimum without decay, and decay moves both its presence and the largest pressure it "
    "survives."
)
PAPER = "this project's derivation, derive_weight_decay_presence"
SOURCES = ("flux_learning_toy",)
OWN_THEORY = True

TOLERANCE = 0.005
MEMORY = 0.1


def check(result: Result) -> CheckResult:
    """Compare every presence with its prediction."""
    error = np.abs(result.presence - result.predicted_presence)
    memory = result.static_law - result.presence
    verdict = CONFIRMED if memory.max() > MEMORY else UNDECIDED
    if (error > TOLERANCE).any():
        verdict = REFUTED
    decay, start, ratio = np.unravel_index(np.argmax(memory), memory.shape)
    still = memory[result.decays == 0][:, result.starts == 1]
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=float(error.max()),
        interval=None,
        verdict=verdict,
        note=(
            f"largest distance of a mean presence from the prediction over {error.size} settings, n = "
            f"{result.n_seeds} seeds. Furthest from the static law: w = {result.starts[start]:g} w*, "
            f"F/gamma = {result.ratios[ratio]:g}, decay {result.decays[decay]:g} is present "
            f"{result.presence[decay, start, ratio]:.4f} of the time where that law says "
            f"{result.static_law[ratio]:.4f}; from w* without decay it is met within "
            f"{np.abs(still).max():.1g}"
        ),
    )

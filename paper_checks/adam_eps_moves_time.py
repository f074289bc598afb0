"""Does Adam's eps change the density that a pressure leads to, or only the time to get there?

Rule: presence variables are trained by Adam over settings of eps and gamma/N on both sides of each other, for
a short and a long time. Confirmed if long runs end within 0.005 of SGD, which has none, in density; if
the first absences come at a time in proportion to eps plus the root mean square gradient, within 10 %; and if
some short run is off by more than 0.1, else there was no trap to see (undecided). Refuted if a long run that
has settled (less than 1 % of weights on their way) is further off, or a time is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.adam_eps_toy import Result

CLAIM = (
    "Adam's eps above the gradient of the presence variables delays pruning in proportion and does not "
    "change the density in the end."
)
PAPER = "this project's derivation, for the settings of the code of arXiv 2504.05349 (Adam, eps = 1e-8)"
SOURCES = ("adam_eps_toy",)
OWN_THEORY = True

DENSITY = 0.005
TIME = 0.1
TRAP = 0.1
TRAVELLING = 0.01


def check(result: Result) -> CheckResult:
    """Compare densities over eps, and times with the prediction."""
    settled = result.long_travelling < TRAVELLING
    away = np.abs(result.long_density - result.sgd_density[:, None, None])
    late = np.abs(result.arrival / result.predicted_arrival - 1.0)
    trap = np.abs(result.short_density - result.long_density).max()
    if (away[settled] > DENSITY).any() or (late > TIME).any():
        verdict = REFUTED
    elif not settled.all() or np.isnan(late).any() or trap < TRAP:
        verdict = UNDECIDED
    else:
        verdict = CONFIRMED
    excess = ", ".join(
        f"{e:.2%} [{low:.2%}, {high:.2%}] at {r:g}"
        for r, e, low, high in zip(
            result.ratios, result.excess[0], *result.excess_interval[:, 0], strict=True
        )
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=float(away.max()),
        interval=None,
        verdict=verdict,
        note=(
            f"largest distance in density from SGD over {away.size} settings of noise, gamma/N and eps "
            f"after {result.n_long} steps, n = {result.n_seeds} seeds; after {result.n_short} steps it is "
            f"{trap:.2f}. Times to the first absence are {result.arrival.min():.0f} to "
            f"{result.arrival.max():.0f} steps, at most {late.max():.1%} off. Where eps is small, the "
            f"absent fraction of a weight exceeds gamma/F by {excess} of F/gamma (95 %), and by "
            f"{np.abs(result.excess[1]).max():.2%} at most where eps is large: that part of the equilibrium "
            "eps does move"
        ),
    )

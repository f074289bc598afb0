"""Does density under pressure follow mean max(0, 1 - gamma/F)?

Rule: toys that know only gradients and pressure are trained at fixed pressures on power spectra of fluxes.
Confirmed if at every optimizer, spectrum and pressure the law lies within twice the 95 % interval of the mean
(there are some two hundred of them) or within 0.001 of it, what burn-in and whole counts may leave; and the
control, weights paired with the wrong optima, misses the same law at least ten times as far. Refuted if a
density is further off, undecided if the control comes as near.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.flux_density_toy import Result

CLAIM = (
    "Under a constant pressure gamma the density of weights that do not interact is mean max(0, 1 - "
    "gamma/F): a weight of flux F is present a fraction 1 - gamma/F of the time, or gone."
)
PAPER = "this project's derivation, derive_duty_cycle, for the model of arXiv 2504.05349"
SOURCES = ("flux_density_toy",)
OWN_THEORY = True

WIDTHS = 2.0
FLOOR = 1e-3
CONTROL = 10.0


def check(result: Result) -> CheckResult:
    """Compare every density with the law, and the mispaired ones too."""
    miss = np.abs(result.density - result.law_density)
    half = 0.5 * (result.density_interval[1] - result.density_interval[0])
    null = np.abs(result.mispaired_density - result.law_density[0]).max()
    verdict = CONFIRMED if null > CONTROL * miss.max() else UNDECIDED
    if (miss > np.fmax(WIDTHS * half, FLOOR)).any():
        verdict = REFUTED
    inside = np.mean(miss <= half)
    stair = np.abs(result.stair_density - result.stair_law).max()
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=float(miss.max()),
        interval=None,
        verdict=verdict,
        note=(
            f"largest distance from the law over {miss.size} densities ({', '.join(result.optimizers)}; "
            f"gradient noise), each a mean of n = {result.n_seeds} seeds; {inside:.0%} of them within their "
            f"own 95 % interval. Pressures that double stay within {stair:.1g}; the control is {null:.2g} "
            f"off; without pressure {result.free_density:.4f} is left"
        ),
    )

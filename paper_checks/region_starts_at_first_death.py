"""Does the power law start at density p/(p+1), where the first weight dies?

Rule: toys are trained at pressures around the smallest flux; the density at which the first weight no longer
returns is measured. Confirmed if for every spectrum it lies within 0.01 of p/(p+1) less its finite-size term
1/(2n), refuted otherwise, undecided where no weight died.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.flux_density_toy import Result

CLAIM = "The power law starts where the weight of least flux dies, at density p/(p+1) = 1/(1 + exponent)."
PAPER = "this project's derivation, derive_region_end"
SOURCES = ("flux_density_toy",)
OWN_THEORY = True

TOLERANCE = 0.01


def check(result: Result) -> CheckResult:
    """Compare the density at the first death with the prediction."""
    error = np.abs(result.death_density - result.predicted_death)
    verdict = CONFIRMED if (error <= TOLERANCE).all() else REFUTED
    if np.isnan(error).any():
        verdict = UNDECIDED
    half = 0.5 * (result.death_interval[1] - result.death_interval[0])
    shown = ", ".join(
        f"p = {p:g}: {d:.4f} +- {h:.4f} ({c:.4f})"
        for p, d, h, c in zip(result.decays, result.death_density, half, result.predicted_death, strict=True)
    )
    fitted = ", ".join(f"{b:.2f}" for b in result.fitted_break)
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=float(error.max()),
        interval=None,
        verdict=verdict,
        note=(
            "largest distance of the density at the first death from the prediction; with 95 % intervals "
            f"over n = {result.n_seeds} seeds (predicted): {shown}. Three lines fitted to the same curves "
            f"break higher, at densities {fitted}, for the curve bends before it breaks"
        ),
    )

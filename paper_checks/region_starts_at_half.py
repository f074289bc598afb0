"""Does the power-law region of density against pressure start at half of the weights?

Rule: where fluxes fall as j^-p, the power law starts where the first weight dies, which toys trained under
pressure show. Confirmed if that density lies within 0.02 of one half for every spectrum; refuted if for any
its 95 % interval lies further off than that; undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.flux_density_toy import Result

CLAIM = "The power-law region of density against saliency begins at a density of 50 %, whatever the exponent."
PAPER = (
    "arXiv 2504.05349, the authors' code (test_law_regions.py), where the edges of the three regions are "
    "constants; the text may say more"
)
SOURCES = ("flux_density_toy",)

EDGE = 0.5
TOLERANCE = 0.02


def check(result: Result) -> CheckResult:
    """Compare the density at the first death with one half."""
    low, high = result.death_interval
    nearest = np.maximum(np.maximum(low - EDGE, EDGE - high), 0.0)
    away = np.abs(result.death_density - EDGE)
    if (nearest > TOLERANCE).any():
        verdict = REFUTED
    else:
        verdict = CONFIRMED if (away <= TOLERANCE).all() else UNDECIDED
    worst = int(np.argmax(away))
    shown = ", ".join(
        f"{d:.3f} for exponent {1.0 / p:.3g}"
        for p, d in zip(result.decays, result.death_density, strict=True)
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=EDGE,
        observed=float(result.death_density[worst]),
        interval=(float(low[worst]), float(high[worst])),
        verdict=verdict,
        note=(
            f"density at which the first weight dies, 95 % interval over n = {result.n_seeds} seeds, for "
            f"the spectrum furthest from one half; all: {shown}. A toy of weights that do not interact; "
            "networks may have other spectra"
        ),
    )

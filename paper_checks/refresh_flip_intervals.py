"""Does the refresh map say at which interval a population starts to oscillate, and at which it diverges?

Rule: a simulated population of units that obey only the local rule (real degrees, on-rates that follow at
once, as the map has it) crosses zero autocorrelation, and zero decay of a kick, at some interval. Confirmed
if every crossing lies within 5 % of the predicted interval, and none is seen where none is predicted; refuted
otherwise; undecided where a predicted crossing lies outside the simulated intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.refresh_stability import Result

CLAIM = (
    "Deviations of a unit's degree are multiplied by M - (1-M) g at every refresh: they change sign from "
    "M = g/(1+g) on and grow from M = (g-1)/(g+1) on, M = ema_decay^interval."
)
PAPER = "this project's derivation for the degree controller of arXiv 2510.01263"
SOURCES = ("refresh_stability",)
OWN_THEORY = True

TOLERANCE = 0.05


def check(result: Result) -> CheckResult:
    """Compare every flip of the populations with real degrees with its prediction."""
    real = result.variants.index("real")
    predicted = np.concatenate([result.predicted_sign_flip, result.predicted_growth_flip])
    observed = np.concatenate([result.sign_flip[real], result.growth_flip[real]])
    expected = predicted <= result.intervals.max()
    seen = np.isfinite(observed)
    error = np.abs(observed / predicted - 1.0)[expected & seen]
    if (expected & ~seen).any():
        verdict = UNDECIDED
    elif (seen & ~expected).any() or (error > TOLERANCE).any():
        verdict = REFUTED
    else:
        verdict = CONFIRMED
    pairs = ", ".join(
        f"{o:.2f} ({p:.2f})" for o, p in zip(observed[expected], predicted[expected], strict=True)
    )
    away = np.abs(result.autocorrelation - result.multiplier)[real][np.abs(result.multiplier[real]) < 1]
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=TOLERANCE,
        observed=float(error.max()) if error.size else None,
        interval=None,
        verdict=verdict,
        note=(
            f"largest relative error of a flip interval; observed (predicted): {pairs} steps. "
            f"Autocorrelation and multiplier differ by {np.median(away):.4f} in the median, "
            f"{away.max():.3f} at most"
        ),
    )

"""Does the refresh map say at which interval a population starts to oscillate, and at which it diverges?

Rule: a simulated population of units that obey only the local rule (real degrees, on-rates that follow at
once, as the map has it) crosses zero autocorrelation, and zero decay of a kick, at some interval. Confirmed
if every crossing lies within 5 % of the predicted interval, and none is seen where none is predicted, nor in
populations with their loop open, the control; refuted otherwise; undecided where a predicted crossing lies
outside the simulated intervals, or the control is missing.
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
    control = [result.variants.index("open")] if "open" in result.variants else []
    idle = np.isfinite(result.sign_flip[control]) | np.isfinite(result.growth_flip[control])
    if (expected & ~seen).any() or not control:
        verdict = UNDECIDED
    elif (seen & ~expected).any() or (error > TOLERANCE).any() or idle.any():
        verdict = REFUTED
    else:
        verdict = CONFIRMED
    pairs = ", ".join(
        f"{o:.2f} ({p:.2f})" for o, p in zip(observed[expected], predicted[expected], strict=True)
    )
    multiplier, ends = result.multiplier[real], result.autocorrelation_interval[real]
    away = np.abs(result.autocorrelation[real] - multiplier)[np.abs(multiplier) < 1]
    clear = (ends[..., 0] > 0) | (ends[..., 1] < 0)
    agree = clear & ((ends[..., 1] < 0) == (multiplier < 0))
    sides = [f"{(agree & side).sum()} of {(clear & side).sum()}" for side in (multiplier > 0, multiplier < 0)]
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
            f"{away.max():.3f} at most. Of the settings whose autocorrelation is clear of 0 (95 % over "
            f"{result.n_seeds} seeds), {sides[0]} predicted to be steady are, and {sides[1]} predicted to "
            f"oscillate do. Open loops: {idle.sum()} flips in {idle.size} populations"
        ),
    )

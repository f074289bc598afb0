"""Does a power spectrum of fluxes, F_j ~ j^-p, make density fall as pressure to the -1/p?

Rule: the log-log slope of measured density inside the window 0.005 < density <= 0.5. Confirmed if for every
spectrum and optimizer the slope lies within 2 % of the closed form at the same pressures, whose distance from
1/p is its finite-size term; and the control, evenly spaced fluxes, has no exponent: its slopes in the upper
and lower half of the window differ by more than a factor of 2. Refuted if a slope is further off, undecided
if the control is as straight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.flux_density_toy import Result

CLAIM = (
    "Fluxes that fall as j^-p give density a power law in the pressure with exponent 1/p, up to a "
    "finite-size term, and neither optimizer nor noise changes it."
)
PAPER = "this project's derivation, derive_flux_exponent, for the law of arXiv 2504.05349"
SOURCES = ("flux_density_toy",)
OWN_THEORY = True

TOLERANCE = 0.02
STRAIGHT = 2.0


def check(result: Result) -> CheckResult:
    """Compare slopes with the closed form, and the halves of the control."""
    error = np.abs(result.exponent / result.predicted_exponent - 1.0)
    bend = result.uniform_halves.max() / result.uniform_halves.min()
    verdict = CONFIRMED if bend > STRAIGHT else UNDECIDED
    if (error > TOLERANCE).any():
        verdict = REFUTED
    half = 0.5 * (result.exponent_interval[1] - result.exponent_interval[0])[0]
    shown = ", ".join(
        f"p = {p:g}: {e:.4f} +- {h:.4f} (closed form {c:.4f}, 1/p {limit:.4f})"
        for p, e, h, c, limit in zip(
            result.decays,
            result.exponent[0],
            half,
            result.predicted_exponent,
            result.limit_exponent,
            strict=True,
        )
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=float(error.max()),
        interval=None,
        verdict=verdict,
        note=(
            f"largest relative error of a slope over {error.size}. SGD, means of n = {result.n_seeds} seeds "
            f"with 95 % intervals, {result.n_weights} weights: {shown}. Slopes of the control: "
            f"{result.uniform_halves[0]:.2f} and {result.uniform_halves[1]:.2f}"
        ),
    )

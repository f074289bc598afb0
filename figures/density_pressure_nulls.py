"""Density under pressure: residuals and nulls

What is left when the duty-cycle law is taken from the measured densities, and three worlds where the law, or
its power law, must fail or nothing must happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, line, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.flux_density_toy import Result

SOURCES = ("flux_density_toy",)
PAPER = (
    "Neural Pruning Law (arXiv 2504.05349): the straight line in log-log, and what is straight without a law"
)

_NAMES = {"sgd": "SGD", "momentum": "momentum", "adam": "Adam"}
_DENSITIES = (0.002, 0.01, 0.05, 0.2, 1.0)


def draw(figure: Drawing, result: Result) -> str:
    """Draw the residuals of every optimizer, and the controls."""
    figure.set_size_inches(11.0, 4.0)
    residual, uniform, mispaired = figure.subplots(1, 3)
    seeds = number_of(result.n_seeds, "seed")
    n = f"n = {result.n_weights} weights"

    for i, (optimizer, look) in enumerate(zip(result.optimizers, LOOKS, strict=False)):
        law = result.law_density.ravel()
        off = 100.0 * (result.density[i].ravel() / law - 1.0)
        ends = 100.0 * (result.density_interval[:, i].reshape(2, -1) / law - 1.0)
        points(residual, _NAMES[optimizer], law * 1.06 ** (i - 1), off, look, y_interval=ends, ms=3.5)
    residual.axhline(0.0, color="0.6", lw=0.8, zorder=0)
    log_scale(residual, "x", _DENSITIES)
    n_points = result.law_density.size
    residual.set(
        xlabel=f"density of the law (kept fraction); {seeds}",
        ylabel=f"measured / law - 1 (%); n = {n_points} pressures each",
    )
    residual.legend(loc="upper right")
    residual.set_title(
        f"Residuals, {len(result.decays)} power {'spectra' if len(result.decays) > 1 else 'spectrum'}"
    )

    order = np.argsort(result.uniform_pressure)
    gamma, law = result.uniform_pressure[order], result.uniform_law[order]
    line(uniform, "law of this spectrum", gamma, law)
    points(uniform, "measured (SGD)", gamma, result.uniform_density[order], LOOKS[0])
    upper, lower = result.uniform_halves
    log_scale(uniform, "x")
    log_scale(uniform, "y", _DENSITIES)
    uniform.set(xlabel=f"pressure / largest flux (ratio); {seeds}", ylabel=f"density (kept fraction of {n})")
    uniform.legend(loc="lower left")
    uniform.set_title(f"Even fluxes: no power law,\nslope {upper:.2g} above, {lower:.2g} below in the window")

    log_scale(mispaired, "x", _DENSITIES)
    log_scale(mispaired, "y", _DENSITIES)
    law = result.law_density[0]
    ends = result.mispaired_interval
    points(
        mispaired, "optima dealt to other weights", law, result.mispaired_density, LOOKS[1], y_interval=ends
    )
    paired = result.optimizers.index("sgd")
    points(mispaired, "own optima", law, result.density[paired, 0], LOOKS[0])
    line(mispaired, "the law", law, law)
    mispaired.set(
        xlabel=f"density of the law (kept fraction); {seeds}",
        ylabel=f"density measured (kept fraction of {n})",
    )
    mispaired.legend(loc="upper left")
    mispaired.set_title("Weights that do not own their optima\nleave the law")
    return (
        f"{n[0].upper()}{n[1:]}, {seeds}, 95 % intervals. Left: relative residuals of the duty-cycle law "
        "under three optimizers, drawn side by side. Middle: fluxes evenly spaced have no power law, and "
        "measurement follows their own curve. Right: flux is the product of a weight and its optimum; "
        f"optima dealt at random leave the law. Without pressure a density of {result.free_density:.4f} "
        "stays."
    )

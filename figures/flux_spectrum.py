"""Duty cycle under three optimizers, and exponents of power spectra

Left: how often weights are absent, over the share gamma/F that the duty cycle predicts. Middle and right:
log-log slope and end of the power law of exact spectra, measured against predicted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bbtheory.theory.spectrum import region_end_density
from figures._drawing import LOOKS, Drawing, line, log_scale, points

if TYPE_CHECKING:
    from experiments.flux_spectrum import Result

SOURCES = ("flux_spectrum",)
PAPER = "Hyperflux and the Neural Pruning Law (arXiv 2504.05349): exponent of density against pressure"

_NAMES = {"sgd": "SGD", "momentum": "momentum", "adam": "Adam"}


def draw(figure: Drawing, result: Result) -> str:
    """Draw absent fractions, exponents and ends of the power law."""
    figure.set_size_inches(11.0, 4.2)
    duty, slope, end = figure.subplots(1, 3)

    above = result.flux_ratio > 1.05
    ratio = result.flux_ratio[above]
    looks = iter(LOOKS)
    for i, optimizer in enumerate(result.optimizers):
        for j, noise in enumerate(result.noise):
            if noise > 0 and optimizer != "adam":
                continue  # the noise of rare absences would hide the other lines
            absent = (1.0 - result.presence[i, j][above]) * ratio
            name = f"{_NAMES[optimizer]}, noise {noise:g} x pressure" if noise else _NAMES[optimizer]
            line(duty, name, ratio, absent, next(looks))
    duty.axhline(1.0, color="0.7", lw=0.8, zorder=0)
    log_scale(duty, "x", (1.0, 10.0, 100.0, 1000.0))
    duty.set(
        ylim=(0.8, 1.5),
        xlabel=f"F / gamma (ratio); n = {ratio.size} fluxes",
        ylabel="absent / predicted absent fraction (ratio)",
    )
    duty.legend(loc="upper left")
    duty.set_title("SGD and momentum keep the duty cycle")

    for n, look in zip(np.unique(result.n_weights), LOOKS, strict=False):
        rows = result.n_weights == n
        alpha = result.limit_exponent[rows]
        name = f"{n:,} weights"
        points(slope, f"{name}, measured", alpha, result.window_exponent[rows] / alpha, look, legend=name)
        line(slope, f"{name}, predicted", alpha, result.predicted_exponent[rows] / alpha, look, legend="")
        points(end, f"{name}, measured", alpha, result.end_density[rows], look, legend=name)
    fine = np.linspace(0.9 * result.limit_exponent.min(), 1.1 * result.limit_exponent.max(), 60)
    line(end, "1/(1 + alpha)", fine, region_end_density(fine))
    end.axhline(0.5, color="0.4", lw=0.8, ls=":")
    n_spectra = f"n = {result.decay.size} spectra"
    slope.set(xlabel=f"alpha = 1/p; {n_spectra}", ylabel="exponent in the window / alpha (ratio)")
    slope.legend(loc="center left")
    slope.set_title("Lines: predicted finite-size exponent")
    end.set(xlabel=f"alpha = 1/p; {n_spectra}", ylabel="density where the power law starts (kept fraction)")
    end.legend(loc="upper right")
    end.set_title("Dotted: a fixed edge of 50 %")
    return (
        f"Left: presence variables of n = {ratio.size} fluxes above the pressure, mean over the record's "
        "seeds; SGD and momentum without noise, Adam with and without. Middle, right: exact curves of power "
        "spectra F_j ~ j^-p, no training; the exponent is the log-log slope at densities from 0.005 to 0.5, "
        "the end where the local exponent comes within 1 % of its plateau."
    )

"""Density against pressure: three regions of a power spectrum

Left: the density that presence variables settle at against the pressure, with the duty-cycle law, its power
law and the regions where it holds. Middle: the density at which the first weight dies, where the power law
starts. Right: the exponent inside the reference window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bbtheory.theory.flux import density_under_pressure
from bbtheory.theory.spectrum import power_spectrum, region_end_density
from figures._drawing import LOOKS, Drawing, line, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.flux_density_toy import Result

SOURCES = ("flux_density_toy",)
PAPER = (
    "Hyperflux and the Neural Pruning Law (arXiv 2504.05349): density against pressure with its three regions"
)

_BENT = 0.1  # relative size of the finite-size term where the third region starts
_NAMES = {"sgd": "SGD", "momentum": "momentum", "adam": "Adam"}


def draw(figure: Drawing, result: Result) -> str:
    """Draw the curve with its regions, where it breaks, and its exponent."""
    figure.set_size_inches(11.0, 4.2)
    curve, breaks, exponents = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    seeds = number_of(result.n_seeds, "seed")
    row = int(np.argmin(np.abs(result.decays - 1.0)))
    p, n = float(result.decays[row]), result.n_weights

    first, last = float(n) ** -p, ((p + 1.0) / (2.0 * p * _BENT)) ** -p
    ends = 0.5 * result.pressure[row, 0], 2.0 * result.pressure[row, -1]
    for low, high, grey, name in (
        (ends[0], first, "0.97", "1: none dead"),
        (first, last, "0.9", "2: power law"),
        (last, ends[1], "0.97", "3: few left"),
    ):
        curve.axvspan(low, high, color=grey, lw=0, zorder=0)
        curve.text(np.sqrt(low * high), 1.6, name, ha="center", va="center", fontsize=8)
    fine = np.geomspace(*ends, 200)
    law = density_under_pressure(power_spectrum(n, p), fine).density
    line(curve, f"duty-cycle law, p = {p:g}", fine, law)
    power = p / (p + 1.0) / n * fine ** (-1.0 / p)
    shown = power < 1.2
    line(curve, f"power law of exponent 1/p = {1 / p:g}", fine[shown], power[shown], LOOKS[1])
    at = result.optimizers.index("sgd")
    low, high = result.density_interval[:, at, row]
    measured = result.density[at, row]
    points(curve, "measured (SGD)", result.pressure[row], measured, LOOKS[0], y_interval=(low, high))
    curve.axhline(0.5, color="0.4", lw=0.8, ls=":")
    curve.text(ends[1], 0.52, "fixed edge, 50 %", ha="right", va="bottom", fontsize=8, color="0.3")
    log_scale(curve, "y", (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0))
    curve.set(
        xscale="log",
        xlim=ends,
        ylim=(0.5 * measured.min(), 2.2),
        xlabel=f"pressure gamma / F_1 (ratio); {seeds}",
        ylabel=f"density (kept fraction of n = {n} weights)",
    )
    curve.legend(loc="lower left")
    curve.set_title(f"Fluxes F_j ~ j^-{p:g}")

    alpha = result.limit_exponent
    fine = np.linspace(0.85 * alpha.min(), 1.15 * alpha.max(), 50)
    line(breaks, "1/(1 + alpha)", fine, region_end_density(fine))
    points(
        breaks,
        "first death, measured",
        alpha,
        result.death_density,
        LOOKS[0],
        y_interval=result.death_interval,
        ms=6,
    )
    points(breaks, "break of three fitted lines", alpha, result.fitted_break, LOOKS[2], mfc="white")
    breaks.axhline(0.5, color="0.4", lw=0.8, ls=":")
    breaks.set(
        xlabel=f"alpha = 1/p; {seeds}", ylabel="density where region 1 ends (kept fraction)", ylim=(0.2, 0.95)
    )
    breaks.legend(loc="lower left")
    breaks.set_title("No fixed edge: it moves with alpha")

    for i, (optimizer, look) in enumerate(zip(result.optimizers, LOOKS, strict=False)):
        ends = result.exponent_interval[:, i] / alpha
        shifted = alpha * 1.02 ** (i - 1)
        points(exponents, _NAMES[optimizer], shifted, result.exponent[i] / alpha, look, y_interval=ends)
    order = np.argsort(alpha)
    ratio = (result.predicted_exponent / alpha)[order]
    line(exponents, "predicted for this n", alpha[order], ratio, marker="_" if len(alpha) == 1 else "")
    exponents.axhline(1.0, color="0.4", lw=0.8, ls=":")
    exponents.set(
        xlabel=f"alpha = 1/p; {seeds}", ylabel="exponent in the window / alpha (ratio)", ylim=(0.97, 1.2)
    )
    exponents.legend(loc="upper left")
    exponents.set_title("Exponent of s ~ gamma^-alpha")
    return (
        f"n = {n} weights that do not interact, {seeds}, means with 95 % intervals. Region 1 ends where the "
        "pressure meets the smallest flux, at density p/(p+1) = 1/(1+alpha); region 3 starts where the "
        f"finite size bends the power law by {_BENT:.0%}. Exponents are log-log slopes at densities from "
        "0.005 to 0.5."
    )

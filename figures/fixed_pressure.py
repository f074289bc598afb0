"""Density against pressure of a network, with its three regions

Above: where the density settles under a pressure that is held, and its course under one that rises, with the
regions of three fitted lines; how it settles. Below: the least flux of present weights, which the pressure
should set; what the density costs in accuracy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, Look, line, log_scale, number_of, points, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments._law_records import Result as LawResult
    from experiments.fixed_pressure_lenet import Result as HeldResult

SOURCES = ("fixed_pressure_lenet", "pruning_law_lenet")
PARTIAL = True
PAPER = "Hyperflux and the Neural Pruning Law (arXiv 2504.05349): density against pressure with three regions"

_DENSITIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_ROOM = 1.35  # factor between densities whose lines are named
_HELD, _RISING = LOOKS[1], LOOKS[0]


def draw(figure: Drawing, held: HeldResult | None, law: LawResult | None) -> str:
    """Draw densities, flux and accuracy."""
    figure.set_size_inches(10.5, 7.6)
    curve, course, flux, accuracy = figure.subplots(2, 2).flat
    rising = None if law is None else law.curve("hyperflux")
    told = []
    if rising is not None:
        told.append(f"rising: {number_of(len(rising.exponent), 'seed')}")
        density = np.where(rising.density > 0, rising.density, np.nan)
        for i in range(len(density)):
            name = "rising pressure"
            line(curve, name, rising.saliency[i], density[i], _RISING, legend="" if i else None, lw=1.0)
            line(accuracy, name, density[i], rising.accuracy[i], _RISING, legend="", lw=1.0)
        regions = _shade(curve, rising.breaks)
    else:
        regions = "No regions: they need pruning_law_lenet."
    if held is not None:
        rows = [row for row in held.rows if row.density > 0]
        told.append(f"held: {number_of(held.rows[0].n, 'seed')}")
        pressure, density = (
            np.array([getattr(row, name) for row in rows]) for name in ("pressure", "density")
        )
        ends = np.array([(row.low, row.high) for row in rows]).T
        points(curve, "held pressure", pressure, density, _HELD, y_interval=ends, ms=5.5)
        values = [row.accuracy for row in rows]
        ends = np.array([(row.accuracy_low, row.accuracy_high) for row in rows]).T
        _courses(course, held)
        points(accuracy, "held pressure", density, values, _HELD, y_interval=ends, legend="", ms=5.5)
        seeds = number_of(held.rows[0].n, "seed")
        span = np.array([0.5 * pressure.min(), 2.0 * pressure.max()])
        flux.set_xscale("log", base=2)
        flux.set_yscale("symlog", base=2, linthresh=span[0])
        line(flux, "equal to the pressure", span, span)
        for name, look, says in (
            ("flux_low", LOOKS[2], "0.05 quantile of present weights"),
            ("flux_median", LOOKS[3], "their median"),
        ):
            points(flux, says, pressure, [getattr(row, name) for row in rows], look, ms=5.5)
        flux.set_xlim(span)
        flux.set(xlabel=f"pressure gamma (loss); {seeds}", ylabel="flux of present weights (loss)")
        flux.set_title("Flux of weights that stay")
    else:
        for axes in (course, flux):
            say(axes, "no record of fixed_pressure_lenet")
    n = "; ".join(told)
    for axes, along in ((curve, "y"), (accuracy, "x")):
        log_scale(axes, along, _DENSITIES)
    curve.axhline(0.5, color="0.4", lw=0.8, ls=":")
    curve.set_xscale("log", base=2)
    curve.set(xlabel=f"pressure gamma (loss)\n{n}", ylabel="density (kept fraction)")
    curve.set_ylim(top=1.6)
    curve.set_title("Dotted: a fixed edge of 50 %")
    accuracy.tick_params(axis="x", labelrotation=45)
    accuracy.set(xlabel=f"density (kept fraction)\n{n}", ylabel="test accuracy (share)")
    accuracy.set_title("What it costs")
    figure.legend(loc="outside upper center", ncols=5)
    return (
        "LeNet-300-100 under Hyperflux: weights and presence settle under a pressure that is held, means "
        "with 95 % intervals over seeds (none for one); or the pressure rises step by step and one run "
        f"passes through all densities, a line for each seed ({n}). {regions} Below left: flux of present "
        "weights, each removed on its own, on an axis that is linear below the least pressure; a network "
        "whose weights do not interact keeps those above the pressure. Held pressures have the images and "
        "the floor of the authors' runs (standardized, -0.3), rising ones neither: they need not meet."
    )


def _courses(axes: Axes, held: HeldResult) -> None:
    """Draw the density under each pressure, mean over seeds, and name the pressures where there is room."""
    mean = held.courses.mean(axis=1)
    times = np.arange(1, mean.shape[-1] + 1)
    last_named = np.inf
    for i in np.argsort([row.pressure for row in held.rows]):
        density, pressure = np.where(mean[i] > 0, mean[i], np.nan), held.rows[i].pressure
        shade = str(0.7 - 0.7 * (i + 1) / len(mean))
        line(axes, f"pressure {pressure:g}", times, density, Look(shade, "", "-"), legend="", lw=1.1)
        if density[-1] < last_named / _ROOM:
            axes.annotate(f"{pressure:g}", (times[-1], density[-1]), (3, 0), textcoords="offset points",
                          va="center", fontsize=7, annotation_clip=False)  # fmt: skip
            last_named = density[-1]
    log_scale(axes, "y", _DENSITIES)
    axes.set(
        xlim=(0, 1.07 * times[-1]),
        xlabel=f"epoch; {number_of(held.rows[0].n, 'seed')}, means",
        ylabel="density (kept fraction)",
    )
    axes.set_title("Under held pressures, named at their ends")


def _shade(axes: Axes, breaks: np.ndarray) -> str:
    """Shade the middle region of three fitted lines; return what was found in words."""
    with np.errstate(divide="ignore"):
        logs = np.log(breaks)
    known = np.isfinite(logs).all(axis=1)
    if not known.any():
        return "Three lines could not be fitted: no regions."
    first, last = np.exp(logs[known].mean(axis=0))
    axes.axhspan(last, first, color="0.92", lw=0, zorder=0)
    for height, name in (
        (np.sqrt(first), "1"),
        (np.sqrt(first * last), "2: a power law, it is claimed"),
        (0.75 * last, "3"),
    ):
        axes.text(
            0.98, height, name, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8
        )
    return (
        f"Region 2 (grey) lies between the breaks of three fitted lines, densities {first:.2g} and "
        f"{last:.2g}, geometric means over {known.sum()} of {len(breaks)} seeds."
    )

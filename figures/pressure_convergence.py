"""Convergence at a fixed pressure

Left: the density of each network while the pressure is held. Middle: where it ends, SGD on presence beside
Adam. Right: the share of what is left after twice the arrival that is gone at the end; a loss without
interactions leaves nothing to fall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, courses, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.convergence_at_fixed_pressure import Result

SOURCES = ("convergence_at_fixed_pressure",)
PAPER = "Hyperflux (arXiv 2504.05349): convergence of the density at a fixed pressure"

_NAMES = {"adam": "Adam", "sgd": "SGD", "sgd_slow": "slow SGD"}
_DENSITIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def draw(figure: Drawing, result: Result) -> str:
    """Draw courses of density, their ends and what falls late."""
    figure.set_size_inches(11.0, 4.2)
    course, ratio, late = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    seeds = number_of(result.rows[0].n, "seed")
    names = [f"{_NAMES[row.flow]}, rate {row.schedule}" for row in result.rows]

    times = np.arange(1, result.course.shape[-1] + 1)
    for name, values, look in zip(names, result.course, LOOKS, strict=False):
        courses(course, name, times, values, look)
    for row, look in zip(result.rows, LOOKS, strict=False):
        course.axvline(row.arrival, color=look.color, lw=0.7, ls=":", zorder=0)
    log_scale(course, "y", _DENSITIES)
    course.set(xlabel=f"epoch; {seeds}, a line each", ylabel="density (kept fraction)", xlim=(0, times[-1]))
    course.set_title(f"Pressure {result.pressure:g}; dotted: arrival by theory")

    places = -np.arange(len(names))
    for axes, value, says in (
        (ratio, "ratio", "density / that of the first optimizer (ratio)"),
        (late, "late_fall", "share gone after twice the arrival"),
    ):
        ends = [[getattr(row, f"{value}_{end}") for row in result.rows] for end in ("low", "high")]
        for i, (name, look) in enumerate(zip(names, LOOKS, strict=False)):
            points(
                axes,
                name,
                [getattr(result.rows[i], value)],
                [places[i]],
                look,
                x_interval=np.array(ends)[:, [i]],
                label=[name],
                legend="",
                ms=6,
            )
        axes.set_yticks(places, names)
        axes.set(ylim=(places[-1] - 0.6, 0.6), xlabel=f"{says}\n{seeds}", ylabel="optimizer of presence")
        axes.margins(x=0.15)
        axes.locator_params(axis="x", nbins=5)
    ratio.axvline(1.0, color="0.6", lw=0.8, zorder=0)
    ratio.set_title("Where the density ends")
    late.axvline(0.0, color="0.6", lw=0.8, zorder=0)
    late.set_title("What weights that learn let go")
    figure.legend(loc="outside upper center", ncols=4)
    told = "; ".join(
        f"{name}: {row.courses or 'too short to tell'}" for name, row in zip(names, result.rows, strict=True)
    )
    drift = max((abs(row.drift) for row in result.rows if np.isfinite(row.drift)), default=np.nan)
    drifting = f" Largest drift over the last tenth: {100 * drift:.2g} %." if np.isfinite(drift) else ""
    return (
        f"LeNet-300-100 under pressure {result.pressure:g}, {seeds} each, means with 95 % intervals (none "
        "for one seed), ratios paired by seed; dotted: when presence would arrive at 0 if the pressure alone "
        f"moved it. Course chosen by AICc, seeds each: {told}.{drifting}"
    )

"""Regrowth: how far the density comes back

Left: the density of each network through pruning and regrowth. Middle: after regrowth over before, against
how far presence can move without a pressure. Right: what it does for accuracy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, courses, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.regrowth_phase import Result

SOURCES = ("regrowth_phase",)
PAPER = "Hyperflux (arXiv 2504.05349): the regrowth phase after the pressure, and how it overshoots"

_PRUNED = 31  # intervals under pressure, the authors' scheduler
_DENSITIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def draw(figure: Drawing, result: Result) -> str:
    """Draw courses of density, overshoots and accuracies."""
    figure.set_size_inches(11.0, 4.2)
    course, overshoot, accuracy = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    seeds = number_of(result.rows[0].n, "seed")
    scalers = list(dict.fromkeys(row.scaler for row in result.rows))
    decays = list(dict.fromkeys(row.decay for row in result.rows))
    shown = decays[len(decays) // 2]

    times = np.arange(1, result.course.shape[-1] + 1)
    for row, values in zip(result.rows, result.course, strict=True):
        if row.decay == shown or row.scaler == 0:
            look = LOOKS[scalers.index(row.scaler)]
            courses(course, f"scaler {row.scaler:g}", times, np.where(values > 0, values, np.nan), look)
    course.axvspan(_PRUNED, times[-1], color="0.94", lw=0, zorder=0)
    course.axhline(result.target, color="0.4", lw=0.8, ls=":")
    log_scale(course, "y", _DENSITIES)
    course.set(
        xlabel=f"interval of the scheduler; {seeds}, a line each",
        ylabel="density (kept fraction)",
        xlim=(0, times[-1]),
    )
    course.set_title(f"Decay {shown:g}; grey: no pressure; dotted: target")

    # without a flow presence reaches nowhere, which has no logarithm
    reach = [row.reach for row in result.rows if row.reach > 0]
    least = 0.3 * min(reach, default=1.0)
    for axes, value, ends, says in (
        (overshoot, "overshoot", ("low", "high"), "density after / before regrowth (ratio)"),
        (accuracy, "accuracy", ("accuracy_low", "accuracy_high"), "test accuracy (share)"),
    ):
        for scaler, look in zip(scalers, LOOKS, strict=False):
            rows = [row for row in result.rows if row.scaler == scaler]
            points(
                axes,
                f"scaler {scaler:g}",
                [row.reach or least for row in rows],
                [getattr(row, value) for row in rows],
                look,
                y_interval=np.array([[getattr(row, end) for row in rows] for end in ends]),
                label=[f"decay {row.decay:g}, reach {row.reach:g}" for row in rows],
                legend="",
                ms=6,
            )
        axes.set_xscale("log")
        axes.set(xlabel=f"reach of presence in regrowth (units of t)\n{seeds}", ylabel=says)
        axes.margins(x=0.1, y=0.15)
    overshoot.axhline(1.0, color="0.6", lw=0.8, zorder=0)
    overshoot.set_title("Leftmost: no flow, the control" if 0.0 in scalers else "Overshoot")
    accuracy.set_title("Test accuracy at the end")
    figure.legend(loc="outside upper center", ncols=5)
    listed = ", ".join(f"{decay:g}" for decay in decays)
    return (
        f"LeNet-300-100 under the authors' scheduler, target density {result.target:g}, {seeds}, means with "
        "95 % intervals (none for one seed), ratios paired by seed. Reach: sum of the rates of presence "
        f"over the steps of regrowth; decays {listed}. If depth alone decided, all markers would lie on one "
        "curve."
    )

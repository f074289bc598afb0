"""Learning rate of the weights, and where a held pressure leads

Left: the density of each network while the pressure is held. Middle: where it ends, beside the first rate; a
separable loss knows no rate. Right: accuracy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, courses, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.learning_rate_convergence import Result

SOURCES = ("learning_rate_convergence",)
PAPER = "Hyperflux (arXiv 2504.05349): convergence of the density under several learning rates"

_DENSITIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def draw(figure: Drawing, result: Result) -> str:
    """Draw courses of density, their ends and accuracies."""
    figure.set_size_inches(11.0, 4.0)
    course, ratio, accuracy = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    seeds = number_of(result.rows[0].n, "seed")
    rates = np.array([row.learning_rate for row in result.rows])
    times = np.arange(1, result.course.shape[-1] + 1)
    for rate, values, look in zip(rates, result.course, LOOKS, strict=False):
        courses(course, f"rate {rate:g}", times, values, look)
    log_scale(course, "y", _DENSITIES)
    course.set(xlabel=f"epoch; {seeds}, a line each", ylabel="density (kept fraction)", xlim=(0, times[-1]))
    course.set_title(f"Pressure {result.pressure:g}")
    figure.legend(loc="outside upper center", ncols=4)
    for axes, value, ends, says in (
        (ratio, "ratio", ("ratio_low", "ratio_high"), f"density / that at rate {rates[0]:g} (ratio)"),
        (accuracy, "accuracy", ("accuracy_low", "accuracy_high"), "test accuracy (share)"),
    ):
        interval = np.array([[getattr(row, end) for row in result.rows] for end in ends])
        for i, look in enumerate(LOOKS[: len(rates)]):
            y = getattr(result.rows[i], value)
            points(
                axes, f"rate {rates[i]:g}", rates[i], [y], look, y_interval=interval[:, [i]], legend="", ms=6
            )
        log_scale(axes, "x", rates)
        axes.tick_params(axis="x", labelrotation=45)
        axes.set(xlabel=f"learning rate of the weights; {seeds}", ylabel=says)
        axes.margins(x=0.15, y=0.15)
    ratio.axhline(1.0, color="0.6", lw=0.8, zorder=0)
    ratio.set_title("Where the density ends")
    accuracy.set_title("Test accuracy at the end")
    drift = ", ".join(
        f"{100 * row.drift:.2g} % at {row.learning_rate:g}" for row in result.rows if np.isfinite(row.drift)
    )
    return (
        f"LeNet-300-100 under pressure {result.pressure:g}, {seeds} each, means with 95 % intervals (none "
        "for one seed); runs of a seed start from the same weights, so that ratios are paired. "
        + (f"Drift over the last tenth of the epochs: {drift}." if drift else "Too short for a drift.")
    )

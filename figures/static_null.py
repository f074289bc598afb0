"""Straight log-log lines without a network

Density against saliency when fixed random magnitudes are pruned as iterative magnitude pruning prunes a
network: look at how straight the heavy-tailed sample is inside the window where the law is read off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, line, points

if TYPE_CHECKING:
    from experiments.static_null import Result

SOURCES = ("static_null",)
PAPER = "Neural Pruning Law (arXiv 2504.05349): null control for the density against saliency curves"

WINDOW = (0.005, 0.5)
NAMES = {"student_t2": "Student-t(2)", "half_normal": "half-normal", "lognormal": "lognormal"}


def draw(figure: Drawing, result: Result) -> str:
    """Draw each family's curve, its range over seeds, and the fitted line with R^2."""
    n_seeds = result.r_squared.shape[1]
    axes = figure.subplots()
    inside = (result.density > WINDOW[0]) & (result.density <= WINDOW[1])
    axes.axhspan(*WINDOW, color="0.93", zorder=0, label="where the lines are fitted")
    for row, (family, look) in enumerate(zip(result.families, LOOKS, strict=False)):
        low, middle, high = np.quantile(result.r_squared[row], [0.025, 0.5, 0.975])
        exponent = float(np.median(result.exponent[row]))
        points(
            axes,
            NAMES[family],
            result.saliency[row],
            result.density,
            look,
            x_interval=(result.saliency_low[row], result.saliency_high[row]),
            ms=4,
            legend=f"{NAMES[family]}: exponent {exponent:.2f}\nR² {middle:.4f} [{low:.4f}, {high:.4f}]",
        )
        # a least-squares line passes through the mean point of its window
        x, y = np.log(result.saliency[row][inside]).mean(), np.log(result.density[inside]).mean()
        ends = np.array(WINDOW)
        fitted = np.exp(x - (np.log(ends) - y) / exponent)
        line(axes, f"{NAMES[family]}, line", fitted, ends, legend="", lw=1, zorder=3)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(0.1, 2000),
        xlabel=f"largest removed magnitude (units of the distribution); n = {n_seeds} samples each",
        ylabel="density (kept fraction)",
    )
    axes.set_title("Fixed random magnitudes, no network")
    axes.legend(loc="upper right")
    return (
        f"Fixed random magnitudes, a tenth of the rest pruned at a time. Points: median of n = {n_seeds} "
        f"samples per family; bars: their range; lines: least squares over the {int(inside.sum())} points "
        f"inside {WINDOW[0]} < density <= {WINDOW[1]}; R²: median and 95 % interval over samples. "
        "No network was trained."
    )

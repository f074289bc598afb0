"""Straight log-log lines without a network

Density against saliency when fixed random magnitudes are pruned as iterative magnitude pruning prunes a
network: look at how straight the heavy-tailed sample is inside the window where the law is read off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bbtheory.plots import COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.static_null import Result

SOURCES = ("static_null",)
PAPER = "Neural Pruning Law (arXiv 2504.05349): null control for the density against saliency curves"

WINDOW = (0.005, 0.5)
NAMES = {"student_t2": "Student-t(2)", "half_normal": "half-normal", "lognormal": "lognormal"}


def draw(figure: Figure, result: Result) -> str:
    """Draw each family's curve, its range over seeds, and the fitted line with R^2."""
    n_seeds = result.r_squared.shape[1]
    axes = figure.subplots()
    inside = (result.density > WINDOW[0]) & (result.density <= WINDOW[1])
    axes.axhspan(*WINDOW, color="0.93", zorder=0, label="where the lines are fitted")
    styles = (("blue", "o"), ("vermilion", "s"), ("green", "^"))
    for row, (family, (name, marker)) in enumerate(zip(result.families, styles, strict=False)):
        color = COLORS[name]
        low, high = result.saliency_low[row], result.saliency_high[row]
        axes.fill_betweenx(result.density, low, high, color=color, alpha=0.25, lw=0)
        low, middle, high = np.quantile(result.r_squared[row], [0.025, 0.5, 0.975])
        exponent = float(np.median(result.exponent[row]))
        label = f"{NAMES[family]}: exponent {exponent:.2f}\nR² {middle:.4f} [{low:.4f}, {high:.4f}]"
        axes.plot(result.saliency[row], result.density, marker, color=color, ms=3.5, mew=0, label=label)
        # a least-squares line passes through the mean point of its window
        x, y = np.log(result.saliency[row][inside]).mean(), np.log(result.density[inside]).mean()
        ends = np.array(WINDOW)
        axes.plot(np.exp(x - (np.log(ends) - y) / exponent), ends, color="black", lw=1, zorder=3)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(0.1, 2000),
        xlabel="largest removed magnitude (units of the distribution)",
        ylabel="density (kept fraction)",
        title=f"Fixed random magnitudes, no network; n = {n_seeds} samples each",
    )
    axes.legend(loc="upper right", fontsize=8)
    return (
        f"Fixed random magnitudes, a tenth of the rest pruned at a time. Points: median of n = {n_seeds} "
        f"samples per family; bands: their range; lines: least squares over the {int(inside.sum())} points "
        f"inside {WINDOW[0]} < density <= {WINDOW[1]}; R²: median and 95 % interval over samples. "
        "No network was trained."
    )

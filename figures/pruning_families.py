"""Three families of saliency, three networks

Above: density against what it takes to remove a weight, by magnitude, by Taylor's score and under a pressure,
with the breaks of three fitted lines. Below: the exponent inside the reference window, and what a quicker or
a coarser schedule makes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import NullFormatter

from figures._drawing import LOOKS, Drawing, line, log_scale, number_of, points, say

if TYPE_CHECKING:
    from experiments._law_records import Curves, Result

SOURCES = ("pruning_law_lenet", "pruning_law_convnet", "pruning_law_resnet50")
PARTIAL = True
PAPER = "Neural Pruning Law (arXiv 2504.05349): one law for magnitude, Taylor and Hyperflux"

_FAMILIES = {"magnitude": "magnitude", "taylor": "Taylor, |w dL/dw|", "hyperflux": "Hyperflux, pressure"}
_SCHEDULES = {"base": "base", "quick": "quick (1/4 of the steps)", "coarse": "coarse (double events)"}
_NETWORKS = {
    "pruning_law_lenet": "LeNet",
    "pruning_law_convnet": "Small convolutional network",
    "pruning_law_resnet50": "Residual network",
}
_WINDOW = (0.005, 0.5)
_DENSITIES = (0.001, 0.01, 0.1, 1.0)


def draw(figure: Drawing, *results: Result | None) -> str:
    """Draw curves and exponents, a column for each network."""
    figure.set_size_inches(11.0, 6.8)
    panels = figure.subplots(2, 3, height_ratios=(1.5, 1))
    counts = []
    for (curve, exponent), source, result in zip(panels.T, SOURCES, results, strict=True):
        if result is None:
            say(curve, f"no record of {source}")
            exponent.set_axis_off()
            continue
        there = [family for family in _FAMILIES if result.curve(family) is not None]
        seeds = number_of(max(row.n for row in result.rows), "seed")
        counts.append(f"{_NETWORKS[source]}: {seeds}")
        curve.axhspan(*_WINDOW, color="0.94", lw=0, zorder=0)
        for family, look in zip(_FAMILIES, LOOKS, strict=False):
            found = result.curve(family)
            if found is None:
                continue
            for i, (x, y, knots) in enumerate(_scaled(found)):
                line(curve, family, x, y, look, legend="" if i else _FAMILIES[family], lw=1.0)
                points(curve, f"breaks, {family}", *knots, look, ms=5, mfc="white", legend="", zorder=3)
        curve.set(
            xscale="log", xlabel="saliency / its mean in the window (ratio)\n" + f"{seeds}, a line each"
        )
        curve.xaxis.set_minor_formatter(NullFormatter())
        log_scale(curve, "y", _DENSITIES)
        curve.set(ylabel="density (kept fraction)", ylim=(None, 1.5))
        curve.set_title(_NETWORKS[source])
        rows = -np.arange(len(there))
        for j, (schedule, says) in enumerate(_SCHEDULES.items()):
            places = [
                (at, row) for at, f in zip(rows, there, strict=True) if (row := result.row(f, schedule))
            ]
            if places:
                points(
                    exponent,
                    f"schedule {says}",
                    [row.exponent for _, row in places],
                    [at + 0.22 - 0.22 * j for at, _ in places],
                    LOOKS[(6, 4, 5)[j]],
                    x_interval=np.array([(row.exponent_low, row.exponent_high) for _, row in places]).T,
                    label=[row.family for _, row in places],
                )
        exponent.set_yticks(rows, [_FAMILIES[family].split(",")[0] for family in there])
        exponent.set(ylim=(rows[-1] - 0.6, 0.6), xlabel=f"exponent in the window; {seeds}", ylabel="family")
        exponent.margins(x=0.12)
    handles = {}
    for axes in figure.axes:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    return (
        f"{'; '.join(counts)}. Each family has its own unit, so its saliency is divided by the geometric "
        f"mean over the events in the window, densities {_WINDOW[0]:g} to {_WINDOW[1]:g} (grey); white "
        "markers: breaks of three fitted lines. Exponents: means over seeds with 95 % intervals, none for "
        "one seed; a law of the family alone would not move with the schedule."
    )


def _scaled(curves: Curves):
    """Yield saliency over its geometric mean in the window, density, and the breaks on it, of each seed."""
    for saliency, density, breaks in zip(curves.saliency, curves.density, curves.breaks, strict=True):
        known = (saliency > 0) & (density > 0)
        x, y = saliency[known], density[known]
        inside = (y > _WINDOW[0]) & (y <= _WINDOW[1])
        if not inside.any():
            continue
        x = x / np.exp(np.log(x[inside]).mean())
        order = np.argsort(y, kind="stable")
        at = breaks[np.isfinite(breaks)]
        yield x, y, (np.exp(np.interp(np.log(at), np.log(y[order]), np.log(x[order]))), at)

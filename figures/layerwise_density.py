"""Density layer by layer

What each layer of LeNet-300-100 keeps when the network keeps so much, under a rising pressure, by magnitude
and at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import CONTROL, LOOKS, Drawing, line, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.layerwise_density import Result

SOURCES = ("layerwise_density",)
PAPER = "Hyperflux (arXiv 2504.05349): densities of layers as the pressure rises"

_METHODS = {
    "hyperflux": ("Hyperflux", LOOKS[0]),
    "magnitude": ("magnitude", LOOKS[1]),
    "random": ("random (control)", CONTROL),
}
_LAYERS = {"fc1": "first layer", "fc2": "second layer", "fc3": "last layer, 100 to 10"}
_DENSITIES = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def draw(figure: Drawing, result: Result) -> str:
    """Draw each layer's density against the network's."""
    figure.set_size_inches(11.0, 4.2)
    panels = figure.subplots(1, 3, sharey=True)
    wanted = sorted({row.wanted for row in result.rows})
    seeds = number_of(max(row.n for row in result.rows), "seed")
    ends = np.array([0.8 * wanted[0], 1.25 * wanted[-1]])
    # a Student interval can reach below 0, which has no logarithm: it is cut off at the edge
    least = 0.5 * min(v for row in result.rows for v in (row.fc1, row.fc2, row.fc3, row.wanted) if v > 0)
    for axes, (layer, says) in zip(panels, _LAYERS.items(), strict=True):
        line(axes, "as the network", ends, ends, legend=None if layer == "fc1" else "")
        for i, (method, (name, look)) in enumerate(_METHODS.items()):
            rows = sorted((r for r in result.rows if r.method == method), key=lambda r: r.wanted)
            value, low, high = (
                np.array([getattr(row, layer + end) for row in rows]) for end in ("", "_low", "_high")
            )
            seen = value > 0
            points(
                axes,
                name,
                np.array([row.wanted for row in rows])[seen] * 1.04 ** (i - 1),
                value[seen],
                look,
                y_interval=(np.maximum(low[seen], least), high[seen]),
                joined=True,
                legend=None if layer == "fc1" else "",
            )
        log_scale(axes, "x", wanted)
        log_scale(axes, "y", _DENSITIES)
        axes.tick_params(axis="x", labelrotation=45)
        axes.set(xlim=ends, ylim=(least, 1.3), xlabel=f"density of the network (kept fraction)\n{seeds}")
        axes.set_title(f"{layer}: {says}")
    panels[0].set_ylabel("density of the layer (kept fraction)")
    figure.legend(loc="outside upper center", ncols=4)
    missed = sum(row.n - row.n_there for row in result.rows)
    lacking = f"; {missed} times a run does not get to a density and is left out there" if missed else ""
    return (
        f"LeNet-300-100, {seeds}; each run passes through all densities of the network, layers are read off "
        "on straight lines in logarithms. Means with 95 % intervals (none for one seed), methods side by "
        f"side for clarity{lacking}."
    )

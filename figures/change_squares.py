"""What changed on the ground, and who sees it

Squares of the test image: before, after, what is labelled as changed, and where Budgeted Broadcast and the
dense network, or only one of them, see change. Below: labelled pixels, counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle

from bbtheory.plots import COLORS
from figures._drawing import LOOKS, Drawing, points, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments._change_scenes import Squares
    from experiments.change_detection import Result

SOURCES = ("change_detection",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): change detection, panels of where methods differ"

_OURS = "bb_in"
_UNLABELLED = 255
# darker where more see it: in greyscale they are in this order
_SEEN = {"neither": "white", "BB only": COLORS["orange"], "dense only": COLORS["blue"], "both": "black"}
_TRUTH = {"no change": "white", "change": "black", "not labelled": "0.8"}


def draw(figure: Drawing, result: Result) -> str:
    """Draw the squares of the first seed."""
    squares = result.squares
    n = "n = 1 seed of " + str(result.rows[0].n)
    if squares is None or not {_OURS, "dense"} <= set(squares.methods):
        figure.set_size_inches(7.0, 2.0)
        say(
            figure.subplots(),
            "this record keeps no squares of what networks found:\n"
            "python -m experiments change_detection --force",
        )
        return f"Nothing to show: the record, {n}, was made before squares were kept."
    densities = sorted(
        {float(d) for m, d in zip(squares.methods, squares.densities, strict=True) if m == _OURS},
        reverse=True,
    )
    columns = 3 + len(densities)
    height = len(squares.truth)
    figure.set_size_inches(1.75 * columns, 1.75 * height + 2.9)
    grid = figure.add_gridspec(height + 1, columns, height_ratios=[1.0] * height + [1.0])
    dense = _found(squares, "dense", None)
    for i in range(height):
        panels = [figure.add_subplot(grid[i, j]) for j in range(columns)]
        for axes, image in zip(panels, (squares.before[i], squares.after[i]), strict=False):
            axes.imshow(_stretched(image), interpolation="nearest")
        truth = np.where(squares.truth[i] == _UNLABELLED, 2, squares.truth[i])
        _paint(panels[2], truth, tuple(_TRUTH.values()))
        for axes, density in zip(panels[3:], densities, strict=True):
            _paint(axes, _found(squares, _OURS, density)[i] + 2 * dense[i], tuple(_SEEN.values()))
        titles = ("before", "after", "labels", *(f"seen at density\n{density:g}" for density in densities))
        for axes, title in zip(panels, titles, strict=True):
            axes.set_axis_off()
            if i == 0:
                axes.set_title(title)
    counts = figure.add_subplot(grid[height, :])
    rows = -np.arange(len(densities))
    known = squares.truth != _UNLABELLED
    truth = squares.truth == 1
    n_pixels = int((truth & known).sum()), int((~truth & known).sum())
    for j, (kind, label) in enumerate((("changed", truth & known), ("unchanged", ~truth & known))):
        total = max(int(label.sum()), 1)
        for k, who in enumerate(_SEEN):
            if who == "neither":
                continue
            share = [
                100.0 * float((_found(squares, _OURS, d) + 2 * dense == k)[label].sum()) / total
                for d in densities
            ]
            look = LOOKS[k]
            points(
                counts,
                f"{kind}, seen by {who}",
                share,
                rows + 0.2 * (1 - 2 * j) + 0.09 * (2 - k),
                look,
                label=[f"density {d:g}" for d in densities],
                color=_SEEN[who],
                mec="black",
                mew=0.5,
                mfc="white" if j else _SEEN[who],
                ms=6,
                legend="" if j else f"seen by {who}",
            )
    counts.set_yticks(rows, [f"{density:g}" for density in densities])
    counts.set(
        ylim=(rows[-1] - 0.5, 0.5),
        xlim=(-2, 102),
        ylabel="density",
        xlabel=f"share of labelled pixels of its kind (%)\n"
        f"filled: {n_pixels[0]} changed, white: {n_pixels[1]} unchanged; {n}",
    )
    markers, names = counts.get_legend_handles_labels()
    patches = [Patch(fc=color, ec="black", lw=0.5) for color in _TRUTH.values()]
    labels = [*names, *(f"labels: {name}" for name in _TRUTH)]
    figure.legend([*markers, *patches], labels, loc="outside upper center", ncols=3)
    return (
        f"The {height} squares of {squares.truth.shape[-1]} pixels a side with most labelled change, chosen "
        f"by their labels alone; networks of the first seed ({n}). Right: where SP-in (BB), the dense "
        "network or both see change; white: neither. Unchanged pixels that are seen as changed are false "
        "alarms. Images are stretched each on its own, band by band."
    )


def _found(squares: Squares, method: str, density: float | None) -> np.ndarray:
    at = [
        i
        for i, (name, d) in enumerate(zip(squares.methods, squares.densities, strict=True))
        if name == method and density in (None, float(d))
    ]
    return squares.found[at[0]].astype(int)


def _stretched(image: np.ndarray) -> np.ndarray:
    """Return an image as bright as another: the light of two dates differs."""
    low, high = np.quantile(image.reshape(-1, 3).astype(float), (0.02, 0.98), axis=0)
    return np.clip((image - low) / np.maximum(high - low, 1.0), 0.0, 1.0)


def _paint(axes: Axes, classes: np.ndarray, colors: tuple[str, ...]) -> None:
    axes.imshow(classes, cmap=ListedColormap(colors), vmin=0, vmax=len(colors) - 1, interpolation="nearest")
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, ec="0.6", lw=0.6))

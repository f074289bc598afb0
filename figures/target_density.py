"""A density asked for: what steering meets, and its accuracy

Left: how far from the density asked for a run ends, by this project's feedback, by the authors' scheduler and
by magnitude. Middle: accuracy beside the dense network. Right: accuracy less that of magnitude, by seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._contest import DENSE
from figures._drawing import LOOKS, Drawing, band, line, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.target_density import Result, Row

SOURCES = ("target_density",)
PAPER = "Hyperflux (arXiv 2504.05349): a scheduler of the pressure for a target density"

_METHODS = {
    "feedback": ("Hyperflux, feedback of this project", LOOKS[0]),
    "authors": ("Hyperflux, the authors' scheduler", LOOKS[1]),
    "magnitude": ("magnitude, iterative", LOOKS[2]),
}
_CLOSE = 2.0  # %, what the feedback has to keep


def draw(figure: Drawing, result: Result) -> str:
    """Draw distances from the target and accuracies."""
    figure.set_size_inches(11.0, 4.2)
    off, accuracy, gain = figure.subplots(1, 3)
    seeds = number_of(max(row.n for row in result.rows), "seed")
    wanted = sorted({row.wanted for row in result.rows if row.method != "dense"})
    ends = np.array([0.75 * wanted[0], 1.35 * wanted[-1]])
    for row in result.rows:
        if row.method == "dense":
            line(accuracy, "dense", ends, np.full(2, row.accuracy), DENSE)
            band(
                accuracy,
                "dense, interval",
                ends,
                np.full(2, row.low),
                np.full(2, row.high),
                DENSE,
                alpha=0.12,
            )
    off.axhspan(-_CLOSE, _CLOSE, color="0.92", lw=0, zorder=0)
    for i, (method, (name, look)) in enumerate(_METHODS.items()):
        rows = sorted((row for row in result.rows if row.method == method), key=lambda row: row.wanted)
        if not rows:
            continue
        x = np.array([row.wanted for row in rows]) * 1.06 ** (i - 1)
        for axes, names, scale in (
            (off, ("off", "off_low", "off_high"), 100.0),
            (accuracy, ("accuracy", "low", "high"), 1.0),
            (gain, ("less_magnitude", "less_magnitude_low", "less_magnitude_high"), 100.0),
        ):
            if axes is gain and method == "magnitude":
                continue
            value, low, high = (scale * _column(rows, column) for column in names)
            legend = None if axes is off else ""
            points(axes, name, x, value, look, y_interval=(low, high), legend=legend, joined=True, ms=5.5)
    off.set_yscale("symlog", linthresh=_CLOSE)
    off.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axes, says, title in (
        (off, "density / asked for - 1 (%)", f"Grey: within {_CLOSE:g} %"),
        (accuracy, "test accuracy (share)", "Accuracy, masks final"),
        (gain, "accuracy less that of magnitude (points)", "At the same density"),
    ):
        log_scale(axes, "x", wanted)
        axes.set(xlim=ends, xlabel=f"density asked for (kept fraction); {seeds}", ylabel=says)
        axes.set_title(title)
    for axes in (off, gain):
        axes.axhline(0.0, color="0.6", lw=0.8, zorder=0)
    figure.legend(loc="outside upper center", ncols=4)
    met = [row for row in result.rows if row.method == "feedback"]
    close = f"{sum(row.n_close for row in met)} of {sum(row.n for row in met)}"
    return (
        f"LeNet-300-100, {seeds}, means with 95 % intervals (none for one seed), methods side by side for "
        f"clarity. Left: before the last weights are set right; {close} runs of the feedback end within "
        f"{_CLOSE:g} %. All start from the same weights for a seed and take the same steps; accuracy is that "
        "after the density has been made exact."
    )


def _column(rows: list[Row], name: str) -> np.ndarray:
    return np.array([getattr(row, name) for row in rows])

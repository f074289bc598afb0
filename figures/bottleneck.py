"""The last layer as a bottleneck

Accuracy, inputs read and classes that have lost every weight, against the weights that the last layer of
LeNet-300-100 keeps: pruned alone, and pruned with all others under the same push.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.bottleneck import Result

SOURCES = ("bottleneck",)
PAPER = "Hyperflux (arXiv 2504.05349), its code: pressure on the last layer alone"

_ARMS = {
    "last_layer": ("last layer alone", LOOKS[0]),
    "all_layers": ("all layers", LOOKS[1]),
}
_WEIGHTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def draw(figure: Drawing, result: Result) -> str:
    """Draw what the last layer does with so many weights."""
    figure.set_size_inches(11.0, 4.0)
    accuracy, inputs, mute = figure.subplots(1, 3)
    seeds = number_of(max(row.n for row in result.rows), "seed")
    empty = sum(row.fc3_weights < 1 for row in result.rows)
    for arm, (name, look) in _ARMS.items():
        rows = [row for row in result.rows if row.arm == arm and row.fc3_weights >= 1]
        weights = np.array([row.fc3_weights for row in rows])
        spread = np.array([(max(row.fc3_low, 0.5), row.fc3_high) for row in rows]).T
        told = [f"pressure {row.pressure:g}" for row in rows]
        how = {"label": told, "joined": True, "ms": 5.5}
        ends = np.array([(row.low, row.high) for row in rows]).T
        value = [row.accuracy for row in rows]
        points(accuracy, name, weights, value, look, x_interval=spread, y_interval=ends, **how)
        points(inputs, name, weights, [row.n_read for row in rows], look, legend="", **how)
        points(mute, name, weights, [row.n_mute for row in rows], look, legend="", **how)
    least = min((row.fc3_weights for row in result.rows if row.fc3_weights >= 1), default=1.0)
    for axes, says, title in (
        (accuracy, "test accuracy (share)", "What few weights can do"),
        (inputs, "inputs read (of 100)", "How many units it listens to"),
        (mute, "classes without a weight (of 10)", "Classes given up"),
    ):
        log_scale(axes, "x", _WEIGHTS)
        axes.set(
            xlim=(0.7 * least, 1300), xlabel=f"weights of the last layer (of 1000); {seeds}", ylabel=says
        )
        axes.set_title(title)
    mute.set_ylim(-0.3, 10.3)
    figure.legend(loc="outside upper center", ncols=2)
    return (
        f"LeNet-300-100 under pressures that rise by factors of 5, {seeds}, means with 95 % intervals (none "
        "for one seed); both arms feel the same push on a presence variable. "
        + (f"Not drawn: levels that leave the last layer no weight, {empty} in all." if empty else "")
    )

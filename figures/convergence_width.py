"""Steps to fit a DNF against its width

Median steps until a network classifies rightly with probability 0.99, against three readings of the width W,
with and without pruning: look at whether growth follows W log W, and whether pruning changes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import CONTROL, LOOKS, Drawing, line, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.dnf_steps_to_fit import Result

SOURCES = ("dnf_steps_to_fit",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): theorem 10 and figure 4c, O(W log W) steps on DNF tasks"

_METHODS = {
    "bb": "Budgeted Broadcast",
    "magnitude": "magnitude",
    "random": "random",
    "none": "no pruning",
    "idle": "tau above all traffic (control)",
}
_READINGS = {"units": "hidden units", "terms": "terms of the DNF", "literals": "literals of a term"}


def draw(figure: Drawing, result: Result) -> str:
    """Draw a panel for each reading of the width."""
    n_readings = len(result.readings)
    figure.set_size_inches(max(7.0, 3.6 * n_readings), 4.4)
    panels = figure.subplots(1, n_readings, squeeze=False)[0]
    n_seeds = len(result.steps[0])
    for i, (axes, reading) in enumerate(zip(panels, result.readings, strict=True)):
        widths = result.widths[i].astype(float)
        for j, (method, look) in enumerate(zip(result.methods, (*LOOKS[:4], CONTROL), strict=True)):
            middle, low, high = result.median[i][:, j].T
            middle, high = (np.where(np.isfinite(v), v, np.nan) for v in (middle, high))
            shifted = widths * 1.02 ** (j - 2)
            points(
                axes,
                _METHODS[method],
                shifted,
                middle,
                look,
                y_interval=(low, high),
                joined=True,
                legend="" if i else None,
            )
        fitted = np.isfinite(result.median[i][:, 0, 0])
        if fitted.any():
            law = widths * np.log(widths)
            scale = np.exp(np.mean(np.log(result.median[i][fitted, 0, 0] / law[fitted])))
            line(axes, "W ln W, height fitted", widths, scale * law, legend="" if i else None)
        exponent, low, high = result.exponent[i, result.methods.index("bb")]
        stated = (
            f"b = {exponent:.2f} [{low:.2f}, {high:.2f}]" if np.isfinite(exponent) else "b: too few widths"
        )
        axes.set_title(f"W = {_READINGS[reading]}; steps ~ (W ln W)^b,\n{stated} (Budgeted Broadcast)")
        log_scale(axes, "x", widths)
        log_scale(axes, "y")
        axes.set(
            xlabel=f"W ({reading}); {number_of(n_seeds, 'seed')}",
            ylabel="median steps to fit (optimizer steps)",
        )
    figure.legend(loc="outside upper center", ncols=6 if n_readings > 2 else 3)
    return (
        f"Median steps to an accuracy of 0.99 over {number_of(n_seeds, 'seed')} with 95 % intervals, for "
        "three readings of W; widths are drawn a little apart for clarity, a point is missing where half of "
        "the seeds never fit. Rivals prune to the density that Budgeted Broadcast ends at, seed by seed. b: "
        "exponent of (W ln W) fitted to the medians, interval by resampling seeds; 1 is the claim."
    )

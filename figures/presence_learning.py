"""Presence under pressure of weights that learn: where they start decides

Weights that start far below their optimum and are cut do not learn, so they stay away though a weight at its
optimum would return: density depends on the start. Lines are the equilibrium from each start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures._drawing import CONTROL, LOOKS, Drawing, line, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.flux_learning_toy import Result

SOURCES = ("flux_learning_toy",)
PAPER = "Hyperflux (arXiv 2504.05349): presence and weights trained together under pressure"


def draw(figure: Drawing, result: Result) -> str:
    """Draw presence against F/gamma, a panel for each weight decay."""
    n = len(result.decays)
    figure.set_size_inches(5.0 * n + 0.5, 4.2)
    seeds = number_of(result.n_seeds, "seed")
    for i, axes in enumerate(figure.subplots(1, n, squeeze=False, sharey=True)[0]):
        line(
            axes,
            "static law 1 - gamma/F",
            result.ratios,
            result.static_law,
            CONTROL,
            legend="" if i else None,
        )
        for j, (start, look) in enumerate(zip(result.starts, LOOKS, strict=False)):
            name = f"start at {start:g} w*"
            ends = result.presence_interval[:, i, j]
            predicted = result.predicted_presence[i, j]
            line(axes, f"{name}, predicted", result.ratios, predicted, look, legend="", lw=1.0)
            shifted = result.ratios * 1.03 ** (j - 1)
            points(
                axes, name, shifted, result.presence[i, j], look, y_interval=ends, legend="" if i else None
            )
        log_scale(axes, "x", result.ratios)
        axes.set(
            ylim=(-0.05, 1.05),
            xlabel=f"F / gamma at w = w* (ratio); {seeds}",
            ylabel="presence (share of time)",
        )
        axes.set_title(f"weight decay / curvature = {result.decays[i]:g}")
    figure.legend(loc="outside upper center", ncols=4)
    return (
        f"Fraction of time that weights are present, {seeds}, means with 95 % intervals, starts drawn side "
        "by side. Lines: equilibrium of presence and weight from each start; grey: the law of weights held "
        "at their optimum. The control that starts at its optimum without decay follows it."
    )

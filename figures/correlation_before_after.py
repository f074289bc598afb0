"""Correlation of units before and after training

Mean |rho| over pairs of units of a layer, mean over layers, of networks before the first step and after the
last one, by method and density: look at whether pruning by traffic makes codes less redundant than its rivals
do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._contest import DENSE, METHODS, TASKS, all_seeds, panels_of_tasks, seeds_of
from figures._drawing import CONTROL, Drawing, Look, points

if TYPE_CHECKING:
    from experiments._contest_records import Result

SOURCES = tuple(TASKS)
PARTIAL = True
PAPER = "Budgeted Broadcast (arXiv 2510.01263): pruned codes are said to be less correlated"


def draw(figure: Drawing, *results: Result | None) -> str:
    """Draw a row for every method, a marker for every density."""
    shown: dict[str, None] = {}
    for axes, _, result in panels_of_tasks(figure, SOURCES, results):
        methods = ["dense", *(m for m in METHODS if any(row.method == m for row in result.rows))]
        names = ["dense", *(METHODS[m][0] for m in methods[1:])]
        names = [name.split(" (")[0].replace(", silent units at average degree", ", awake") for name in names]
        before = [next(row for row in result.rows if row.method == m).correlation_before for m in methods]
        rows = -np.arange(len(methods))
        points(
            axes,
            "before training",
            before,
            rows,
            Look(CONTROL.color, "|", ""),
            label=methods,
            ms=11,
            legend="" if "before training" in shown else None,
        )
        shown["before training"] = None
        for wanted, marker in zip(
            sorted({row.wanted for row in result.rows}, reverse=True), "osd^v", strict=False
        ):
            found = [row for row in result.rows if row.wanted == wanted]
            height = [-methods.index(row.method) for row in found]
            name = f"after, density {wanted:g}"
            for row, at in zip(found, height, strict=True):
                look = METHODS[row.method][1] if row.method != "dense" else DENSE
                legend = "" if name in shown else None
                points(
                    axes,
                    name,
                    row.correlation,
                    at,
                    Look(look.color, marker, ""),
                    label=[row.method],
                    legend=legend,
                )
                shown[name] = None
        axes.set_yticks(rows, names, fontsize=7)
        axes.set(
            ylim=(0.6 - len(methods), 0.6), xlim=(0, None), xlabel=f"mean |rho| of pairs; {seeds_of(result)}"
        )
        axes.set_ylabel("method")
    legend = figure.legend(loc="outside upper center", ncols=6)
    for handle in legend.get_lines()[1:]:
        handle.set_color("0.25")  # colours are methods
    return (
        "Mean absolute correlation over pairs of units that change, by layer, mean over layers with equal "
        f"weight and over {all_seeds(results)}, before training (grey bar) and after; colours are methods, "
        "markers densities. Intervals are stated for paired differences, in the claims of each record."
    )

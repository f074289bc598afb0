"""Histograms of correlation, before training and after

Shares of the pairs of units by |rho|, at the lowest density of each real task: of the untrained network, the
dense one, and pruned ones. Look at the tail of strongly correlated pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._contest import DENSE, METHODS, TASKS, all_seeds, panels_of_tasks, seeds_of
from figures._drawing import CONTROL, Drawing, Look, line, say

if TYPE_CHECKING:
    from experiments._contest_records import Result

SOURCES = tuple(TASKS)
PARTIAL = True
PAPER = "Budgeted Broadcast (arXiv 2510.01263): histograms of correlation before and after"

_SHOWN = ("bb_in", "bb_both", "magnitude")


def draw(figure: Drawing, *results: Result | None) -> str:
    """Draw a histogram for each method, a panel for each task."""
    if all(result is None or result.pairs is None for result in results):
        figure.set_size_inches(7.0, 2.0)
        say(
            figure.subplots(),
            "the records keep means, no histograms:\npython -m experiments NAME --force, of a real task",
        )
        return f"Nothing to show: the records, {all_seeds(results)}, were made before histograms were kept."
    told: dict[str, None] = {}
    for axes, source, result in panels_of_tasks(figure, SOURCES, results):
        if result.pairs is None:
            axes.set_title("")
            say(axes, f"the record of {source} keeps means,\nno histograms: run it with --force")
            continue
        lowest = min(row.wanted for row in result.rows)
        series = []
        for row, (before, after) in zip(result.rows, result.pairs, strict=True):
            if row.method == "dense":
                series += [("before training", before, CONTROL), ("dense, after", after, DENSE)]
            elif row.method in _SHOWN and row.wanted == lowest:
                name, look = METHODS[row.method]
                series.append((f"{name}, after", after, look))
        edges = np.linspace(0.0, 1.0, result.pairs.shape[-1] + 1)
        for name, shares, look in series:
            shown = np.append(shares, shares[-1])  # the last bin as wide as the others
            look = Look(look.color, "", look.line)
            legend = "" if name in told else None
            line(
                axes,
                name,
                edges,
                np.where(shown > 0, shown, np.nan),
                look,
                legend=legend,
                drawstyle="steps-post",
            )
            told[name] = None
        axes.set_yscale("log")
        axes.set(xlim=(0, 1), xlabel=f"|rho| of a pair; {seeds_of(result)}", ylabel="share of pairs in a bin")
        axes.set_title(f"{TASKS[source]}, density {lowest:g}")
    figure.legend(loc="outside upper center", ncols=5)
    return (
        "Pairs of units that change, by |rho| of their being on or off on held-out inputs, in bins of 0.05; "
        f"means over layers and {all_seeds(results)}. Bins without a pair are left out of the logarithmic "
        "axis."
    )

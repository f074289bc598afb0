"""Does Budgeted Broadcast gain on what is rare?

Per real task the paired difference of the tail metric to rivals at the same density, positive in favour of
Budgeted Broadcast: look at which intervals lie wholly on one side of zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._contest import METHODS, TASKS, all_seeds, panels_of_tasks, seeds_of
from figures._drawing import Drawing, points

if TYPE_CHECKING:
    from experiments._contest_records import Result

SOURCES = tuple(TASKS)
PARTIAL = True
PAPER = "Budgeted Broadcast (arXiv 2510.01263): gains on rare classes, words and small objects"

_TAILS = {
    "image_classification": "accuracy, rarest classes",
    "spoken_digits": "(S + D)/N, rarest words",
    "identification": "accuracy, rarest identities",
    "change_detection": "recall, smaller regions",
    "synapses": "found part, smaller objects",
    "language_model": "perplexity, tail words",
}


def draw(figure: Drawing, *results: Result | None) -> str:
    """Draw the gains of every variant and density against every rival, a panel per task."""
    named: dict[str, None] = {}
    for axes, source, result in panels_of_tasks(figure, SOURCES, results):
        claims = [claim for claim in result.claims if claim.claim == "tail gain"]
        pairs = sorted(
            {(c.method, c.wanted) for c in claims}, key=lambda p: (list(METHODS).index(p[0]), p[1])
        )
        rivals = [method for method in METHODS if any(c.against == method for c in claims)]
        for j, rival in enumerate(rivals):
            name, look = METHODS[rival]
            found = [c for c in claims if c.against == rival]
            height = [-pairs.index((c.method, c.wanted)) + 0.5 - (j + 1) / (len(rivals) + 1) for c in found]
            ends = np.array([(c.low, c.high) for c in found]).T
            points(
                axes,
                f"against {name}",
                [c.effect for c in found],
                height,
                look,
                x_interval=ends,
                label=[f"{c.method} at density {c.wanted:g}" for c in found],
                legend="" if name in named else None,
            )
            named[name] = None
        axes.locator_params(axis="x", nbins=5)
        axes.axvline(0.0, color="0.6", lw=0.8, zorder=0)
        for i in range(1, len(pairs)):
            axes.axhline(0.5 - i, color="0.9", lw=0.8, zorder=0)
        labels = [f"{_short(method)}\nat {wanted:g}" for method, wanted in pairs]
        axes.set_yticks(-np.arange(len(pairs)), labels, fontsize=7)
        axes.set(
            ylim=(0.55 - len(pairs), 0.55),
            xlabel=f"gain in {_TAILS[source]}\n{seeds_of(result)}",
            ylabel="method, density",
        )
    figure.legend(loc="outside upper center", ncols=5)
    return (
        "Differences of the tail metric paired by seed, Budgeted Broadcast less its rival at the same "
        "density, turned so that positive favours Budgeted Broadcast; means "
        f"with 95 % intervals over seeds ({all_seeds(results)}), none for one. Each panel has the unit of "
        "its metric: a share, errors per word, or perplexity. No correction for the number of comparisons."
    )


def _short(method: str) -> str:
    return (
        METHODS[method][0]
        .split(" (")[0]
        .replace("BB, SP-in, silent units at average degree", "BB, SP-in, awake")
    )

"""What the figures of contests share: the methods' names and looks, a front, and a panel for every task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from bbtheory.plots import COLORS
from figures._drawing import LOOKS, Drawing, Look, band, line, log_scale, number_of, points, say

if TYPE_CHECKING:
    from experiments._contest_records import Result

TASKS = {
    "image_classification": "long-tailed images",
    "spoken_digits": "spoken digits",
    "identification": "identities",
    "change_detection": "changes on the ground",
    "synapses": "synapses",
    "language_model": "text",
}
DENSE = Look(COLORS["black"], "", "-")
_THIN = (0, (1, 1))
# the same look in every figure; filled markers are Budgeted Broadcast, hollow ones its rivals
METHODS = {
    "bb_in": ("BB, SP-in", LOOKS[1]),
    "bb_both": ("BB, both", LOOKS[2]),
    "bb_out": ("BB, SP-out", LOOKS[5]),
    "bb_in_awake": ("BB, SP-in, silent units at average degree", LOOKS[4]),
    "bb_uniform": ("BB, equal degrees (ablation)", Look("0.45", "P", _THIN)),
    "bb_activity": ("BB, degree by activity (ablation)", Look("0.45", "<", _THIN)),
    "bb_equal_traffic": ("BB, equal traffic (ablation)", Look("0.45", ">", _THIN)),
    "magnitude": ("magnitude, gradual", LOOKS[0]),
    "rigl": ("RigL", LOOKS[3]),
    "random": ("random", Look("0.55", "x", (0, (2, 2)))),
    "set": ("SET", Look(COLORS["sky"], "s", "-.")),
    "wanda": ("Wanda", Look(COLORS["green"], "d", ":")),
    "taylor": ("Taylor", Look(COLORS["purple"], "h", "--")),
    "gradient": ("gradient", Look(COLORS["vermilion"], "p", "-.")),
    "topk_activation": ("top-k activations", Look("0.3", "*", ":")),
}
_APART = 1.025  # factor of density between methods, for clarity


@dataclass(frozen=True)
class Quality:
    """A metric in words: its name and unit, and which way is better."""

    name: str
    says: str
    higher_is_better: bool = True


def draw_front(figure: Drawing, result: Result, qualities: Sequence[Quality]) -> str:
    """Draw metrics against density, a panel each, for all methods; return the caption's common part."""
    figure.set_size_inches(4.9 * len(qualities), 4.4)
    panels = figure.subplots(1, len(qualities), squeeze=False)[0]
    seeds = seeds_of(result)
    methods = _present(result)
    densities = sorted({row.wanted for row in result.rows if row.method != "dense"})
    for i, (axes, quality) in enumerate(zip(panels, qualities, strict=True)):
        mean, low, high, _ = _metric(result, "dense", quality.name)
        if mean.size:
            ends = np.array([0.8 * densities[0], 1.25 * densities[-1]])
            line(axes, "dense", ends, np.full(2, mean[0]), DENSE, legend="" if i else None)
            band(axes, "dense, interval", ends, np.full(2, low[0]), np.full(2, high[0]), DENSE, alpha=0.12)
        for j, method in enumerate(methods):
            name, look = METHODS[method]
            mean, low, high, wanted = _metric(result, method, quality.name)
            reached = np.array([_row(result, method, w).density for w in wanted])
            points(
                axes,
                name,
                reached * _APART ** (j - (len(methods) - 1) / 2),
                mean,
                look,
                y_interval=(low, high),
                joined=True,
                legend="" if i else None,
                mfc=look.color if method.startswith("bb") else "white",
            )
        log_scale(axes, "x", densities)
        axes.set(
            xlim=(0.75 * densities[0], 1.35 * densities[-1]),
            xlabel=f"density (kept / all masked weights); {seeds}",
            ylabel=quality.says,
        )
        axes.set_title(f"{'higher' if quality.higher_is_better else 'lower'} is better")
    figure.legend(loc="outside upper center", ncols=4)
    trivial = "; ".join(
        f"{quality.name} {value:.3g}"
        for quality in qualities
        if np.isfinite(value := next(row.baseline for row in result.metrics if row.metric == quality.name))
    )
    return (
        f"Means over {seeds} with 95 % intervals (Student's, none for a single seed), methods "
        f"side by side for clarity; {result.n_weights:,} masked weights, densities met to "
        f"{result.worst_gap:g} links a layer; dense: black line, its interval grey. Seeds are paired: "
        "methods differ by more certain amounts than these intervals suggest (see tail_gains). "
        + (f"Trivial answer: {trivial}." if trivial else "")
    )


def panels_of_tasks(
    figure: Drawing, sources: Sequence[str], results: Sequence[Result | None]
) -> Iterator[tuple[Axes, str, Result]]:
    """Yield a panel for every task with a record; the panel of another says that there is none."""
    figure.set_size_inches(10.5, 6.2)
    for axes, source, result in zip(figure.subplots(2, 3).flat, sources, results, strict=True):
        if result is None:
            say(axes, f"no record of {source}")
        else:
            axes.set_title(TASKS[source])
            yield axes, source, result


def seeds_of(result: Result) -> str:
    """Return the number of seeds in words."""
    n = _span(row.n for row in result.rows)
    return number_of(int(n), "seed") if n.isdigit() else f"n = {n} seeds"


def all_seeds(results: Sequence[Result | None]) -> str:
    """Return the numbers of seeds of all tasks in words."""
    return ", ".join(dict.fromkeys(seeds_of(result) for result in results if result is not None))


def _present(result: Result) -> list[str]:
    there = {row.method for row in result.rows}
    return [method for method in METHODS if method in there]


def _metric(
    result: Result, method: str, metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, low, high and wanted density of a method, by ascending density."""
    rows = sorted(
        (r for r in result.metrics if r.method == method and r.metric == metric), key=lambda r: r.wanted
    )
    mean, low, high, wanted = np.array([(r.mean, r.low, r.high, r.wanted) for r in rows]).reshape(-1, 4).T
    return mean, low, high, wanted


def _row(result: Result, method: str, wanted: float):
    return next(row for row in result.rows if row.method == method and row.wanted == wanted)


def _span(counts: Iterator[int]) -> str:
    ends = sorted(set(counts))
    return str(ends[0]) if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"

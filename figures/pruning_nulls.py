"""Trained networks: residuals of the law, and nulls

Left: how far the curves of LeNet lie from their own straight lines. Middle: the size of that, beside controls
for which no law should hold. Right: the same as R^2, which hardly tells them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import CONTROL, LOOKS, Drawing, line, log_scale, number_of, points, say

if TYPE_CHECKING:
    from experiments._law_records import Curves, Result

SOURCES = ("pruning_law_lenet", "pruning_law_convnet")
PARTIAL = True
PAPER = "Neural Pruning Law (arXiv 2504.05349): straight lines in log-log of trained networks, and controls"

_FAMILIES = {
    "magnitude": "magnitude",
    "taylor": "Taylor",
    "hyperflux": "Hyperflux",
    "gradient": "gradient",
    "random_regrowth": "random, regrowth",
    "static_magnitude": "null: magnitude, untrained",
    "static_taylor": "null: Taylor, untrained",
    "shuffled_magnitude": "null: magnitude, shuffled",
    "shuffled_taylor": "null: Taylor, shuffled",
}
_SHOWN = {
    "magnitude": LOOKS[0],
    "taylor": LOOKS[1],
    "hyperflux": LOOKS[2],
    "shuffled_magnitude": CONTROL,
}
_NULLS = ("static_", "shuffled_")
_WINDOW = (0.005, 0.5)
_NETWORKS = ("LeNet", "convolutional")


def draw(figure: Drawing, *results: Result | None) -> str:
    """Draw residuals, bends and R^2."""
    figure.set_size_inches(11.0, 4.6)
    residual, bend, squares = figure.subplots(1, 3, width_ratios=(1.1, 1, 1))
    found = [(name, result) for name, result in zip(_NETWORKS, results, strict=True) if result is not None]
    seeds = {name: number_of(max(row.n for row in result.rows), "seed") for name, result in found}
    n = ", ".join(dict.fromkeys(seeds.values()))
    lenet = results[0]
    if lenet is None:
        say(residual, f"no record of {SOURCES[0]}")
    else:
        for family, look in _SHOWN.items():
            curves = lenet.curve(family)
            for i, (density, off) in enumerate(_residuals(curves) if curves else ()):
                line(residual, family, density, off, look, legend="" if i else _FAMILIES[family], lw=1.0)
        residual.axhline(0.0, color="0.6", lw=0.8, zorder=0)
        log_scale(residual, "x", (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5))
        residual.set(
            xlabel=f"density (kept fraction); {seeds['LeNet']}, a line each",
            ylabel="ln density - line of the curve itself",
        )
        residual.set_title("LeNet: residuals in the window")

    there = [family for family in _FAMILIES if any(result.row(family) for _, result in found)]
    rows = -np.arange(len(there))
    for axes, value, says in (
        (bend, "bend", "rms of ln density - line (nats)"),
        (squares, "r_squared", "R^2 of the line in log-log"),
    ):
        for j, (name, result) in enumerate(found):
            places = [(at, row) for at, f in zip(rows, there, strict=True) if (row := result.row(f))]
            points(
                axes,
                name,
                [getattr(row, value) for _, row in places],
                [at + 0.12 - 0.24 * j for at, _ in places],
                LOOKS[4 + j],
                x_interval=np.array(
                    [(getattr(row, f"{value}_low"), getattr(row, f"{value}_high")) for _, row in places]
                ).T,
                label=[row.family for _, row in places],
                legend=name if axes is bend else "",
            )
        axes.set_yticks(rows, [_FAMILIES[family] for family in there] if axes is bend else [])
        axes.set(ylim=(rows[-1] - 0.6, 0.6), xlabel=f"{says}; {n}")
        edge = [at for at, family in zip(rows, there, strict=True) if family.startswith(_NULLS)]
        if edge:
            axes.axhspan(rows[-1] - 0.6, edge[0] + 0.5, color="0.94", lw=0, zorder=0)
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=5)
    bend.set_ylabel("family")
    squares.set_ylabel("family, as on the left")
    bend.set_title("Distance from a straight line")
    squares.set_title("The same as R^2")
    figure.legend(loc="outside upper center", ncols=6)
    verdicts = "; ".join(
        f"{name}: {sum(row.n_curved for row in rows)} of {sum(row.n for row in rows)} curves of families and "
        f"{sum(row.n_curved for row in nulls)} of {sum(row.n for row in nulls)} of nulls are judged curved"
        for name, result in found
        for rows, nulls in [_parted(result)]
    )
    return (
        f"Density against saliency in log-log between densities {_WINDOW[0]:g} and {_WINDOW[1]:g}, {n}; each "
        "residual is from the line fitted to that very curve, means with 95 % intervals over seeds (none for "
        "one). Nulls (grey): scores of a network that is not trained between events, and scores that change "
        f"places; without a marker: nothing to fit. {verdicts}."
    )


def _parted(result: Result):
    base = [row for row in result.rows if row.schedule == "base"]
    nulls = [row for row in base if row.family.startswith(_NULLS)]
    return [row for row in base if row not in nulls], nulls


def _residuals(curves: Curves):
    """Yield density and ln density less the line of each seed, which goes through the means."""
    for saliency, density, exponent in zip(curves.saliency, curves.density, curves.exponent, strict=True):
        used = (saliency > 0) & (density > _WINDOW[0]) & (density <= _WINDOW[1])
        if used.sum() < 2 or not np.isfinite(exponent):
            continue
        # the fit counts a repeated event once
        y, x = np.unique(np.log([density[used], saliency[used]]), axis=1)
        off = y + exponent * x
        yield np.exp(y), off - off.mean()

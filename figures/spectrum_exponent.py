"""The exponent predicted from a dense network, and measured

Left: the exponent of the pruning law against what the spectrum of the dense network predicts. Middle:
measured over predicted, network by network, for the static and for the compensated prediction. Right: where
the first region ends, against two predictions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, band, line, number_of, points

if TYPE_CHECKING:
    from experiments.spectrum_predicts_exponent import Result, Row

SOURCES = ("spectrum_predicts_exponent",)
PAPER = "Neural Pruning Law (arXiv 2504.05349): its exponent, which this project predicts from a spectrum"

_FAMILIES = {
    "magnitude": ("magnitude", LOOKS[0]),
    "taylor": ("Taylor", LOOKS[1]),
    "hyperflux": ("Hyperflux", LOOKS[2]),
}
_SETS = {"mnist": "MNIST", "fashion_mnist": "Fashion", "digits": "digits"}
_TOLERANCE = 0.25  # the experiment's: a prediction further off is of no use


def draw(figure: Drawing, result: Result) -> str:
    """Draw exponents, their ratios and the ends of the first region."""
    figure.set_size_inches(11.0, 4.8)
    exponent, ratio, end = figure.subplots(1, 3)
    seeds = number_of(result.rows[0].n, "seed")
    both = np.array([(row.measured, row.predicted) for row in result.rows]).ravel()
    both = both[np.isfinite(both)]
    span = np.array([0.85 * both.min(), 1.15 * both.max()]) if both.size else np.array([0.5, 2.0])
    line(exponent, "equal", span, span)
    factor = 1.0 + _TOLERANCE
    band(exponent, f"within {100 * _TOLERANCE:g} %", span, span / factor, span * factor, LOOKS[6], alpha=0.1)
    networks = list(dict.fromkeys((row.data, row.widths) for row in result.rows))
    for i, (family, (name, look)) in enumerate(_FAMILIES.items()):
        rows = [row for row in result.rows if row.family == family]
        if not rows:
            continue
        told = [f"{_SETS[row.data]} {row.widths}" for row in rows]
        points(
            exponent,
            name,
            _column(rows, "predicted"),
            _column(rows, "measured"),
            look,
            x_interval=_ends(rows, "predicted"),
            y_interval=_ends(rows, "measured"),
            label=told,
            ms=5.5,
        )
        places = np.array([-networks.index((row.data, row.widths)) for row in rows]) + 0.25 * (1 - i)
        for value, says, shift, face in (
            ("ratio", "compensated", 0.05, look.color),
            ("static_ratio", "static", -0.05, "white"),
        ):
            if value == "static_ratio" and family == "hyperflux":
                continue  # they are the same
            x, ends = _column(rows, value), _ends(rows, value)
            points(
                ratio,
                f"{name}, {says}",
                x,
                places + shift,
                look,
                x_interval=ends,
                label=told,
                mfc=face,
                legend="",
            )
        for value, says, face in (
            ("edge", "1/(1 + exponent)", look.color),
            ("spectrum_break", "spectrum", "white"),
        ):
            points(
                end,
                f"{name}, {says}",
                _column(rows, value),
                _column(rows, "first_break"),
                look,
                x_interval=_ends(rows, value),
                y_interval=_ends(rows, "first_break"),
                label=told,
                mfc=face,
                legend="",
            )
    exponent.set(xlim=span, xlabel=f"exponent predicted; {seeds}", ylabel=f"exponent measured; {seeds}")
    exponent.set_title(f"Grey: within {100 * _TOLERANCE:g} %")
    ratio.axvline(1.0, color="0.6", lw=0.8, zorder=0)
    ratio.set_yticks(
        -np.arange(len(networks)), [f"{_SETS[data]}\n{widths}" for data, widths in networks], fontsize=7
    )
    ratio.set(
        xscale="log", xlabel=f"measured / predicted exponent (ratio); {seeds}", ylabel="data and widths"
    )
    ratio.set_ylim(-len(networks) + 0.4, 0.6)
    _plain(ratio, [getattr(row, name) for row in result.rows for name in ("ratio", "static_ratio")])
    ratio.set_title("White: static, without compensation")
    line(end, "equal", [0.0, 1.0], [0.0, 1.0], legend="")
    end.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel=f"end predicted (density); {seeds}",
        ylabel="first break of the measured curve (density)",
    )
    end.axhline(0.5, color="0.4", lw=0.8, ls=":")
    end.set_title("White: spectrum; filled: 1/(1 + exponent)")
    figure.legend(loc="outside upper center", ncols=5)
    agree = sum(row.agrees for row in result.rows)
    return (
        f"LeNets, {seeds} each, means with 95 % intervals (none for one seed). Predictions are made from the "
        "dense network before it is pruned; for magnitude and Taylor the compensated one also uses how fast "
        f"surviving scores grow. {agree} of {len(result.rows)} rows agree: the interval of the ratio holds 1 "
        f"and lies within {100 * _TOLERANCE:g} % of it. Dotted: a fixed edge of 50 %."
    )


def _column(rows: list[Row], name: str) -> np.ndarray:
    return np.array([getattr(row, name) for row in rows])


def _ends(rows: list[Row], name: str) -> np.ndarray:
    return np.array([_column(rows, f"{name}_low"), _column(rows, f"{name}_high")])


def _plain(axes, ratios: list[float]) -> None:
    """Put plain numbers on a logarithmic axis of ratios."""
    seen = np.array([r for r in ratios if np.isfinite(r) and r > 0] or [1.0])
    places = [p for p in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if 0.5 * seen.min() < p < 2.0 * seen.max()]
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()

"""What figures draw with: every series is drawn and written down in one call, so that the CSV is the picture.

A series has a colour, a marker and a line style of its own (`LOOKS`): readable in greyscale and by the
colour-blind. Intervals that are NaN, those of a single seed, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from bbtheory.plots import COLORS

_COLUMNS = ("x", "y", "x_low", "x_high", "y_low", "y_high")
_PALE = 0.22  # opacity of a band


@dataclass(frozen=True)
class Look:
    """Colour, marker and line style of a series."""

    color: str
    marker: str
    line: Any


_DASH_DOTS = (0, (5, 1.5, 1, 1.5, 1, 1.5))
_LONG = (0, (8, 2.5))
LOOKS = (
    Look(COLORS["blue"], "o", "-"),
    Look(COLORS["vermilion"], "s", "--"),
    Look(COLORS["green"], "^", "-."),
    Look(COLORS["orange"], "D", ":"),
    Look(COLORS["purple"], "v", _DASH_DOTS),
    Look(COLORS["sky"], "P", _LONG),
    Look(COLORS["black"], "X", (0, (1, 3))),
)
PREDICTED = Look(COLORS["black"], "", "-")
CONTROL = Look("0.55", "x", (0, (2, 2)))


@dataclass(frozen=True)
class Series:
    """What was drawn in one call: where, under which name, and its numbers by column."""

    axes: Axes
    panel: int
    name: str
    key: str
    columns: dict[str, np.ndarray]


class Drawing(Figure):
    """A Matplotlib figure that keeps the numbers of what is drawn on it."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.series: list[Series] = []

    def record(self, axes: Axes, name: str, **columns: Any) -> str:
        """Write down a series of equal-length columns; return the identifier its artists carry."""
        panel = self.axes.index(axes) + 1
        key = f"series-{len(self.series) + 1}"
        arrays = {column: np.atleast_1d(np.asarray(values)) for column, values in columns.items()}
        self.series.append(Series(axes, panel, name.replace("\n", " "), key, arrays))
        return key

    def table(self) -> dict[str, list[Any]]:
        """Return all series below each other: panel, series, what x and y are, and the numbers.

        ``label`` names the place on an axis without numbers; empty cells mean nothing drawn.
        """
        out: dict[str, list[Any]] = {
            name: [] for name in ("panel", "series", "x_is", "y_is", "label", *_COLUMNS)
        }
        for one in self.series:
            n = max(len(values) for values in one.columns.values())
            out["panel"] += [one.panel] * n
            out["series"] += [one.name] * n
            out["x_is"] += [_flat(one.axes.get_xlabel())] * n
            out["y_is"] += [_flat(one.axes.get_ylabel())] * n
            for column in ("label", *_COLUMNS):
                cells = one.columns.get(column, np.full(n, "")).tolist()
                out[column] += ["" if cell != cell else cell for cell in cells]
        return {
            name: cells for name, cells in out.items() if name == "y" or any(cell != "" for cell in cells)
        }


def _flat(text: str) -> str:
    return text.replace("\n", " ")


def _record(axes: Axes, name: str, **columns: Any) -> str:
    drawing = axes.figure.figure
    assert isinstance(drawing, Drawing)
    return drawing.record(axes, name, **columns)


def points(
    axes: Axes,
    name: str,
    x: Any,
    y: Any,
    look: Look,
    *,
    y_interval: Any = None,
    x_interval: Any = None,
    joined: bool = False,
    legend: str | None = None,
    label: Sequence[str] | None = None,
    **how: Any,
) -> None:
    """Draw markers, joined or not, with intervals (low, high) along y or x.

    Parameters
    ----------
    name : str
        Of the series, in the CSV and, if ``legend`` is not given, in the legend ("" leaves it out).
    x, y : array_like, (n,)
    y_interval, x_interval : array_like, (2, n), optional
        Low and high ends.
    label : sequence of str, (n,), optional
        Names of the places, of an axis without numbers.
    """
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    columns: dict[str, Any] = {"x": x, "y": y}
    intervals: dict[str, np.ndarray] = {}
    for along, ends in (("x", x_interval), ("y", y_interval)):
        if ends is not None:
            intervals[along] = np.broadcast_to(np.asarray(ends, float), (2, *np.shape(y)))
            columns |= {f"{along}_low": intervals[along][0], f"{along}_high": intervals[along][1]}
    if label is not None:
        columns["label"] = np.asarray(label)
    key = _record(axes, name, **columns)
    how = {"ms": 4.5, "lw": 1.3, "color": look.color} | how
    drawn = {"marker": look.marker, "ls": look.line if joined else "none"}
    axes.plot(x, y, label=name if legend is None else legend or "_", gid=key, **(drawn | how))
    for along, (low, high) in intervals.items():
        seen = np.isfinite(low) & np.isfinite(high)
        if seen.any():
            across, at = (axes.vlines, x) if along == "y" else (axes.hlines, y)
            gid = f"{key}:{along}"
            across(at[seen], low[seen], high[seen], color=how["color"], lw=1.0, zorder=1.9, gid=gid)


def line(
    axes: Axes, name: str, x: Any, y: Any, look: Look = PREDICTED, *, legend: str | None = None, **how: Any
) -> None:
    """Draw a line without markers: what is predicted or fitted."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    label = name if legend is None else legend or "_"
    key = _record(axes, name, x=x, y=y)
    axes.plot(x, y, label=label, gid=key, **({"color": look.color, "ls": look.line, "lw": 1.3} | how))


def band(axes: Axes, name: str, x: Any, low: Any, high: Any, look: Look, **how: Any) -> None:
    """Draw the range between two curves; it says nothing in the legend."""
    x, low, high = (np.asarray(values, float) for values in (x, low, high))
    if np.isfinite(low).any():
        key = _record(axes, name, x=x, y_low=low, y_high=high)
        axes.fill_between(x, low, high, gid=key, **({"color": look.color, "alpha": _PALE, "lw": 0} | how))


def courses(axes: Axes, name: str, times: Any, values: Any, look: Look, *, legend: str | None = None) -> None:
    """Draw what happened in time, (n_seeds, n_times), a thin line for each seed."""
    for i, one in enumerate(np.asarray(values, float)):
        line(axes, f"{name}, seed {i + 1}", times, one, look, legend="" if i else legend or name, lw=1.0)


def say(axes: Axes, text: str) -> None:
    """Say on an empty panel why nothing is drawn."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", color="0.35", transform=axes.transAxes)


def number_of(n: int, what: str) -> str:
    """Return a count with its noun: n = 1 seed, n = 20 seeds."""
    return f"n = {n} {what}{'' if n == 1 else 's'}"


def log_scale(axes: Axes, along: str, at: Any = None) -> None:
    """Make an axis ("x" or "y") logarithmic with plain numbers: at given places, or at 1, 2, 5, 10, ..."""
    axis = axes.xaxis if along == "x" else axes.yaxis
    (axes.set_xscale if along == "x" else axes.set_yscale)("log")
    places = LogLocator(subs=(1.0, 2.0, 5.0)) if at is None else FixedLocator(np.asarray(at, float).tolist())
    axis.set_major_locator(places)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())

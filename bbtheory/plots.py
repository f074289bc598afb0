"""The drawings behind every ``--plot``: one house style, one way to save; imported only when asked for.

Every ``draw_`` returns its Axes, shows all data and marks what was fitted; none calls show().
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import matplotlib

matplotlib.use("Agg", force=False)

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bbtheory.storage import atomic
from bbtheory.theory.balance import balanced_on_rate
from bbtheory.theory.entropy import MAX_BALANCED_TRAFFIC, ON_RATE_OF_MAX_TRAFFIC, inactivity_log_odds
from bbtheory.theory.equilibrium import Equilibrium

# Okabe-Ito: told apart by the colour-blind; the order also descends in lightness for greyscale
COLORS = {
    "black": "#000000",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
}

STYLE: dict[Any, Any] = {
    "figure.figsize": (6.0, 4.0),
    "figure.dpi": 150,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=list(COLORS.values())),
    "font.size": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "svg.hashsalt": "bbtheory",
    "pdf.fonttype": 42,
}

FORMATS = ("png", "pdf", "svg")


def check_format(path: str | os.PathLike[str]) -> str:
    """Return the picture format that the ending of ``path`` names."""
    ending = os.fspath(path).rsplit(".", 1)[-1].lower()
    if ending not in FORMATS:
        raise ValueError(f"--plot must end in {', '.join('.' + f for f in FORMATS)}, got {os.fspath(path)!r}")
    return ending


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure without dates, so that two builds are byte-equal; all or nothing."""
    ending = check_format(path)
    dateless = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(ending)
    with atomic(path) as temporary, plt.rc_context(STYLE):
        figure.savefig(temporary, format=ending, metadata=dateless)


MARKERS = "osD^v"


def draw_equilibrium(layers: Mapping[str, Equilibrium], figure: Figure) -> list[Axes]:
    """Draw on-rate, log-odds and traffic against fan-out, with the line and the largest traffic it allows.

    Parameters
    ----------
    layers : mapping of label to Equilibrium
        One for each population; an empty label draws no legend entry.
    figure : matplotlib Figure

    Returns
    -------
    list of three Axes
    """
    axes = list(figure.subplots(1, 3))
    for (label, e), marker in zip(layers.items(), MARKERS * len(layers), strict=False):
        order = np.argsort(e.fan_out)
        k, a = e.fan_out[order], e.on_rate[order]
        values = (a, e.inactivity_log_odds[order], e.unit_traffic[order])
        for ax, y in zip(axes, values, strict=True):
            (points,) = ax.plot(k, y, marker, markersize=3, label=label or None)
            color = points.get_color()
        line = np.linspace(0.0, float(k[-1]), 400)
        axes[0].plot(line, balanced_on_rate(line, e.beta), color=color, linewidth=0.8)
        axes[1].plot(line, e.beta * line, color=color, linewidth=0.8)
        axes[2].plot(line, line * balanced_on_rate(line, e.beta), color=color, linewidth=0.8)
        if e.beta > 0:
            top = MAX_BALANCED_TRAFFIC / e.beta
            at = float(inactivity_log_odds(ON_RATE_OF_MAX_TRAFFIC)) / e.beta
            axes[2].plot(at, top, "*", color=color, markersize=10)
            axes[2].annotate(
                f"0.278/beta = {top:.4g}", (at, top), xytext=(8, 6), textcoords="offset points", fontsize=8
            )
    for ax, name in zip(axes, ("on-rate", "inactivity log-odds [nats]", "traffic [links/step]"), strict=True):
        ax.set(xlabel="fan-out [links]", ylabel=name)
        ax.set_xlim(left=0)
    n = sum(e.n_units for e in layers.values())
    first = next(iter(layers.values()))
    title = f"n = {n:,} units" + (f", beta = {first.beta:.6g} nats per link" if len(layers) == 1 else "")
    figure.suptitle(title, fontsize=10)
    if any(layers):
        axes[0].legend(title="layer")
    return axes


def draw_controller(on_rate: np.ndarray, degree: np.ndarray, title: str, figure: Figure) -> list[Axes]:
    """Draw target degrees against on-rates and inactivity log-odds, with the spread of degrees.

    Parameters
    ----------
    on_rate, degree : ndarray, (n,)
    title : str
    figure : matplotlib Figure

    Returns
    -------
    list of three Axes
    """
    axes = list(figure.subplots(1, 3))
    axes[0].plot(on_rate, degree, "o", markersize=3)
    axes[0].set(xlabel="on-rate", ylabel="target degree [links]")
    odds = inactivity_log_odds(on_rate)
    finite = np.isfinite(odds)
    axes[1].plot(odds[finite], degree[finite], "o", markersize=3)
    axes[1].set(
        xlabel="inactivity log-odds [nats]",
        ylabel="target degree [links]",
        title=f"{np.count_nonzero(~finite)} units always or never on left out" if not finite.all() else "",
    )
    axes[1].title.set_fontsize(8)
    axes[2].hist(degree, bins=min(30, max(5, on_rate.size // 5)))
    axes[2].set(xlabel="target degree [links]", ylabel="units")
    figure.suptitle(title, fontsize=10)
    return axes

"""The drawings behind every ``--plot``: one house style, one way to save; imported only when asked for.

Every ``draw_`` returns its Axes, shows all data and marks what was fitted; none calls show().
"""

from __future__ import annotations

import os
from typing import Any

import matplotlib

matplotlib.use("Agg", force=False)

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.figure import Figure

from bbtheory.storage import atomic

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

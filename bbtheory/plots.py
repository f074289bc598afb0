"""The drawings behind every ``--plot``: one house style, one way to save; imported only when asked for.

Every ``draw_`` returns its Axes, shows all data and marks what was fitted; none calls show().
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import matplotlib

matplotlib.use("Agg", force=False)

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bbtheory.fit.balance import BalanceFit, GroupFit
from bbtheory.fit.power_law import PruningLawFit
from bbtheory.storage import atomic
from bbtheory.theory.balance import balanced_on_rate
from bbtheory.theory.entropy import MAX_BALANCED_TRAFFIC, ON_RATE_OF_MAX_TRAFFIC, inactivity_log_odds
from bbtheory.theory.equilibrium import Equilibrium

STYLE_FILE = Path(__file__).with_name("house.mplstyle")
STYLE = matplotlib.rc_params_from_file(STYLE_FILE, use_default_template=False)
_NAMES = ("black", "blue", "vermilion", "green", "orange", "purple", "sky")
COLORS: dict[str, str] = dict(zip(_NAMES, STYLE["axes.prop_cycle"].by_key()["color"], strict=True))

FORMATS = ("png", "pdf", "svg")


def check_format(path: str | os.PathLike[str]) -> str:
    """Return the picture format that the ending of ``path`` names."""
    ending = os.fspath(path).rsplit(".", 1)[-1].lower()
    if ending not in FORMATS:
        raise ValueError(f"--plot must end in {', '.join('.' + f for f in FORMATS)}, got {os.fspath(path)!r}")
    return ending


def save_figure(figure: Figure, path: str | os.PathLike[str], title: str | None = None) -> None:
    """Write a figure without dates, so that two builds are byte-equal; all or nothing."""
    ending = check_format(path)
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(ending, {})
    if title is not None:
        metadata = {"Title": title, **metadata}
    with atomic(path) as temporary, plt.rc_context(STYLE):
        _settle(figure)
        figure.savefig(temporary, format=ending, metadata=metadata)


def _settle(figure: Figure) -> None:
    """Lay out once and round where axes lie: the solver leaves last digits to chance, and they name paths."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = np.round(axes.get_position(original=True).bounds, 6)
        axes.set_position((left, bottom, width, height))


@contextmanager
def drawing(path: str | os.PathLike[str], size: tuple[float, float]) -> Iterator[Figure]:
    """Yield a figure of ``size`` inches in the house style, and write it to ``path`` when done."""
    check_format(path)
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=size)
        try:
            yield figure
            save_figure(figure, path)
        finally:
            plt.close(figure)


MARKERS = "osD^v"
THREE_PANELS = (10.0, 3.4)  # inches


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


def draw_pruning_law(fit: PruningLawFit, figure: Figure) -> list[Axes]:
    """Draw density against saliency with the line in its window and three segments; residuals below.

    Parameters
    ----------
    fit : PruningLawFit
    figure : matplotlib Figure

    Returns
    -------
    list of two Axes
    """
    top, bottom = axes = list(figure.subplots(2, 1, sharex=True, height_ratios=(3, 1)))
    line, parts, inside = fit.window, fit.segments, fit.in_window
    blue, red, green = COLORS["blue"], COLORS["vermilion"], COLORS["green"]
    wide = np.geomspace(fit.saliency[0], fit.saliency[-1], 200)
    for shown, face, label in ((inside, blue, "in the window"), (~inside, "none", "outside")):
        name = f"{label}, n = {np.count_nonzero(shown)}"
        top.plot(fit.saliency[shown], fit.density[shown], "o", ms=4, mfc=face, mec=blue, label=name)
    if fit.collapsed.any():
        lost = fit.collapsed
        top.plot(fit.saliency[lost], fit.density[lost], "kx", ms=6, label=f"collapsed, n = {lost.sum()}")
    top.axhspan(line.low, line.high, color="0.93", zorder=0, label="window")
    top.set(xscale="log", yscale="log", ylabel="density (kept fraction)")
    top.set_ylim(0.5 * fit.density.min(), 2.0)
    if not line.note:
        law = np.log(line.prefactor) - line.exponent * np.log(wide)
        ends = fit.saliency[inside][[0, -1]]
        covered = (wide >= ends[0]) & (wide <= ends[1])
        top.plot(wide, np.exp(law), color=red, lw=0.8, ls="--")
        low, high = line.exponent_interval
        label = f"line: exponent {line.exponent:.3f} [{low:.3f}, {high:.3f}]"
        top.plot(wide[covered], np.exp(law[covered]), color=red, label=label)
        expected = np.log(line.prefactor) - line.exponent * np.log(fit.saliency[inside])
        bottom.plot(fit.saliency[inside], np.log(fit.density[inside]) - expected, "o", ms=4, color=red)
    if not parts.note:
        label = "three segments: " + ", ".join(f"{e:.2f}" for e in parts.exponents)
        top.plot(wide, _three_segments(fit, wide), color=green, lw=1.0, label=label)
        top.plot(parts.break_saliencies, parts.break_densities, "D", color=green, ms=5, zorder=4)
        for at, (low, high) in zip(parts.break_saliencies, parts.break_intervals, strict=True):
            top.plot([at, at], [low, high], color=green, lw=3, alpha=0.4)
        residual = np.log(fit.density) - np.log(_three_segments(fit, fit.saliency))
        bottom.plot(fit.saliency, residual, "D", ms=3, mfc="none", color=green)
    bottom.axhline(0.0, color="0.6", lw=0.8)
    bottom.set(xlabel="saliency (unit of the data)", ylabel="ln density - fit")
    top.legend(fontsize=8)
    top.set_title(f"{fit.verdict}: n = {line.n} of {fit.n} points in the window", fontsize=10)
    return axes


def _three_segments(fit: PruningLawFit, saliency: np.ndarray) -> np.ndarray:
    x, parts = np.log(saliency), fit.segments
    knots, values = np.log(parts.break_saliencies), np.log(parts.break_densities)
    y = np.interp(x, knots, values)
    y -= parts.exponents[0] * np.minimum(x - knots[0], 0.0) + parts.exponents[2] * np.maximum(
        x - knots[1], 0.0
    )
    return np.exp(y)


def draw_balance(fit: BalanceFit, figure: Figure) -> list[Axes]:
    """Draw log-odds against fan-out, a panel a group, with line and hyperbola; dead units on the rim.

    Parameters
    ----------
    fit : BalanceFit
    figure : matplotlib Figure

    Returns
    -------
    list of Axes, one a group
    """
    columns = min(len(fit.groups), 4)
    rows = -(-len(fit.groups) // columns)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for spare in grid.ravel()[len(fit.groups) :]:
        spare.set_axis_off()
    axes = list(grid.ravel()[: len(fit.groups)])
    for ax, group in zip(axes, fit.groups, strict=True):
        _draw_group(ax, fit, group)
    for ax in grid[:, 0]:
        ax.set_ylabel("inactivity log-odds [nats]")
    entries = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=6, fontsize=8)
    return axes


def _draw_group(ax: Axes, fit: BalanceFit, group: GroupFit) -> None:
    members = fit.group == group.group
    odds, k, used = inactivity_log_odds(fit.on_rate[members]), fit.fan_out[members], fit.used[members]
    clipped = ~used & np.isfinite(odds)
    ax.plot(k[used], odds[used], "o", ms=3, color=COLORS["blue"], alpha=0.7, label="used")
    if clipped.any():
        ax.plot(k[clipped], odds[clipped], "o", ms=3, mfc="none", color="0.6", label="on a clip")
    # no log-odds: shown where they would be, beyond the frame
    rim = ax.get_xaxis_transform()
    for wanted, height, marker, label in ((np.inf, 0.99, "^", "dead"), (-np.inf, 0.01, "v", "saturated")):
        at = k[odds == wanted]
        if at.size:
            ax.plot(at, np.full(at.size, height), marker, ms=5, color="0.4", transform=rim, label=label)
    reach = np.linspace(k.min(), k.max(), 200)
    if np.isfinite(group.slope):
        ax.plot(reach, group.intercept + group.slope * reach, color=COLORS["vermilion"], label="line")
        beyond = reach[reach > 1.02 * group.tau]
        if beyond.size and np.isfinite(group.tau):
            hyperbola = np.log(beyond / group.tau - 1.0)
            ax.plot(beyond, hyperbola, "--", color=COLORS["green"], label="on-rate x degree constant")
    unit = f"{fit.degree_kind.replace('_', '-')} [links]"
    slope = f", slope {group.slope:.3g} nats per link" if np.isfinite(group.slope) else ""
    ax.set_xlabel(unit)
    ax.set_title(f"group {group.group}: {group.verdict}, n = {group.n_used}{slope}", fontsize=9)

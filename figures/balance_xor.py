"""XOR: line or hyperbola, and what was measured

Units of a hidden layer after training, log-odds against degree. Under the traffic threshold alone they follow
the hyperbola a k = tau, not a line; the controller imposes its line; random pruning knows neither. Last: the
share of units within one link of either law, where the best line has two numbers to fit and the hyperbola
none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bbtheory.theory.entropy import inactivity_log_odds
from figures._drawing import CONTROL, LOOKS, Drawing, line, number_of, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.balance_xor import Result

SOURCES = ("balance_xor",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): the balance on XOR, slope 1/beta of k against log-odds"

_MOST = 4.0  # nats: beyond it units are hardly ever on, and few


def draw(figure: Drawing, result: Result) -> str:
    """Draw the units of three arms with both laws, and how many units follow which."""
    figure.set_size_inches(10.5, 7.4)
    first, second, third, shares = figure.subplots(2, 2).flat
    thresholds = [arm for arm in result.arms if arm.startswith("threshold")]
    middle = thresholds[len(thresholds) // 2]
    at = result.arms.index(middle)
    tau = float(result.tau[at])
    n_seeds = result.degree.shape[-1]

    _draw_units(first, result, middle)
    k = np.linspace(1.001 * tau, result.n_links[at], 300)
    hyperbola = np.log(k / tau - 1.0)
    shown = np.abs(hyperbola) < _MOST
    line(first, "hyperbola a k = tau (nothing fitted)", k[shown], hyperbola[shown])
    slope, start = (np.median(result.of(middle, name, "average")) for name in ("slope", "intercept"))
    ends = np.array([0.9 * tau, result.n_links[at]])
    line(first, "median fitted line", ends, start + slope * ends, LOOKS[1])
    first.set_title(f"Threshold alone, tau = {tau:g} links per step")

    _draw_units(second, result, "controller out")
    k = np.array([0.0, result.n_links[at]])
    law = f"imposed line, beta = {result.beta:g} nats per link"
    line(second, law, k, result.beta * (k - result.d0))
    second.set_title("Controller (SP-out): here the line is imposed")

    _draw_units(third, result, "random")
    third.set_title("Random pruning: a control that knows no law")
    for axes in (first, second, third):
        axes.legend(loc="upper left")

    arms = ["random", "magnitude", "controller out", *thresholds[::-1]]
    rows = np.arange(len(arms))
    for number, name, look, shift in (
        ("hyperbola_share", "floor(tau/a), nothing fitted", LOOKS[0], 0.13),
        ("line_share", "best line, two numbers fitted", LOOKS[1], -0.13),
        ("shuffled_line_share", "the same with degrees shuffled", CONTROL, -0.32),
    ):
        mean, low, high = np.array([result.interval(arm, number, "average") for arm in arms]).T
        points(shares, name, mean, rows + shift, look, x_interval=(low, high), label=arms)
    shares.set(
        yticks=rows,
        yticklabels=arms,
        xlim=(-0.02, 1.02),
        ylim=(-0.6, len(arms) + 0.9),
        xlabel=f"share of units within one link of a law; {number_of(n_seeds, 'seed')}",
        ylabel="how links are cut",
    )
    shares.legend(loc="upper left")
    shares.set_title("How many units follow which law")
    n_units = result.degree.shape[1]
    return (
        f"Networks that learn noisy XOR, {number_of(n_seeds, 'seed')}, {n_units} units a layer. Points: "
        "units of all seeds that are neither dead nor always on, by the long-term on-rates that the rule "
        "acts on. Shares: means with 95 % intervals over seeds, of units off the clips. The threshold leads "
        "to k = tau/a, a hyperbola in log-odds; near a = 1/2 every hyperbola is close to a line, which the "
        "median fitted line shows."
    )


def _draw_units(axes: Axes, result: Result, arm: str) -> None:
    at = result.arms.index(arm)
    odds = inactivity_log_odds(result.on_rate[at, result.views.index("average")])
    degree = result.degree[at]
    seen = np.isfinite(odds) & (np.abs(odds) < _MOST)
    left = int(np.count_nonzero(~seen))
    points(axes, "measured units", degree[seen], odds[seen], LOOKS[0], ms=2.2, mew=0, alpha=0.5)
    kind = result.degree_kind[at].replace("_", "-")
    axes.set(
        xlim=(0, 1.03 * result.n_links[at]),
        ylim=(-_MOST / 2, _MOST),
        xlabel=f"{kind} (links); n = {np.count_nonzero(seen)} units, {left} beyond the frame",
        ylabel="inactivity log-odds (nats)",
    )
    axes.axhline(0.0, color="0.8", lw=0.8, zorder=0)

"""Traffic, its budget, the two cuts, and the line that follows

Left: a unit pays on-rate times fan-out; SP-in cuts links into it, SP-out cuts links out of it. Middle: what
units of every fan-out pay without a budget and with one. Right: the on-rates of highest coding entropy under
that budget, on a line in log-odds whose slope is the price of a link.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bbtheory.theory.entropy import MAX_BALANCED_TRAFFIC
from bbtheory.theory.equilibrium import solve_equilibrium
from figures._drawing import CONTROL, LOOKS, Drawing, line, points

SOURCES = ()
PAPER = "Budgeted Broadcast (arXiv 2510.01263): traffic budget, selectivity-audience balance, two actuators"

_N_UNITS = 32
_BUDGET = 60.0  # links per step
_CUT_IN, _CUT_OUT = (1, 3), (0, 3, 4)  # of the links drawn, from the top


def draw(figure: Drawing) -> str:
    """Draw a unit and its two cuts, the traffic of units, and the line."""
    figure.set_size_inches(10.5, 3.6)
    unit, traffic, balance = figure.subplots(1, 3, width_ratios=(1.0, 1.15, 1.15))
    _draw_unit(unit)

    fan_out = np.arange(1, _N_UNITS + 1)
    free = solve_equilibrium(fan_out, beta=0.0)
    held = solve_equilibrium(fan_out, budget=_BUDGET)
    for name, solved, look in (
        (f"no budget: {free.traffic:.0f} links/step in all", free, CONTROL),
        (f"budget {_BUDGET:.0f} links/step", held, LOOKS[0]),
    ):
        points(traffic, name, fan_out, solved.unit_traffic, look)
    top = MAX_BALANCED_TRAFFIC / held.beta
    traffic.axhline(top, color="black", lw=0.8, ls=":")
    traffic.annotate(f"at most 0.278/beta = {top:.2f}", (_N_UNITS, top), (0, 4), ha="right", **_SMALL)
    traffic.set(
        xlabel=f"fan-out k (links); n = {_N_UNITS} units",
        ylabel="traffic a k (links per step)",
        ylim=(0, None),
    )
    traffic.legend(loc="upper left")
    traffic.set_title("Traffic of each unit")

    line(balance, f"slope beta = {held.beta:.3f} nats per link", fan_out, held.beta * fan_out)
    points(balance, "on-rates of highest entropy", fan_out, held.inactivity_log_odds, LOOKS[0])
    points(balance, "no budget: on half of the time", fan_out, free.inactivity_log_odds, CONTROL)
    balance.set(
        xlabel=f"fan-out k (links); n = {_N_UNITS} units", ylabel="inactivity log-odds ln((1-a)/a) (nats)"
    )
    balance.legend(loc="upper left")
    balance.set_title("The predicted line")
    return (
        "A unit that is on a share a of the time and feeds k others pays the traffic a k. SP-in cuts links "
        "into it, which moves its on-rate; SP-out cuts links out of it, which lowers its fan-out. Under a "
        f"budget of {_BUDGET:g} links per step the on-rates of highest coding entropy of n = {_N_UNITS} "
        f"units with fan-outs 1 to {_N_UNITS} have log-odds of beta k, beta = {held.beta:.4g} nats per link; "
        "no unit pays more than 0.278/beta. Theory alone."
    )


_SMALL: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}


def _draw_unit(axes: Any) -> None:
    """Draw one unit with its links, some of them cut."""
    heights = np.linspace(0.94, 0.06, 5)
    for i, height in enumerate(heights):
        for side, cuts, x, look in ((-1, _CUT_IN, 0.08, LOOKS[1]), (1, _CUT_OUT, 0.92, LOOKS[2])):
            cut = i in cuts
            ends = [x, 0.5 + 0.1 * side], [height, 0.5 + 0.1 * (height - 0.5)]
            how: dict[str, Any] = (
                {"color": look.color, "ls": look.line, "lw": 1.2} if cut else {"color": "0.3", "lw": 1.2}
            )
            axes.plot(*ends, zorder=1, **how)
            axes.plot(x, height, "o", ms=9, mfc="white", mec="0.3")
            if cut:
                middle = [0.6 * end[0] + 0.4 * end[1] for end in ends]
                axes.plot(*middle, "x", ms=8, mew=2, color=look.color)
    axes.plot(0.5, 0.5, "o", ms=52, mfc="0.93", mec="black", mew=1.3, zorder=3)
    axes.text(0.5, 0.5, "on-rate a\npays a k", ha="center", va="center", fontsize=8, zorder=4)
    axes.text(0.0, 1.05, "SP-in: fewer links in,\nmoves a", fontsize=8, color=LOOKS[1].color)
    axes.text(1.0, 1.05, "SP-out: fewer links out,\nlowers k", fontsize=8, color=LOOKS[2].color, ha="right")
    axes.text(
        0.5, -0.06, "pays too much (a k > tau): cut its weakest links", fontsize=8, ha="center", va="top"
    )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.16, 1.2))
    axes.set_axis_off()

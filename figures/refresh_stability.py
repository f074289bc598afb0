"""When a refresh settles, alternates or runs away

Left: the plane of refresh interval and loop gain, with the two boundaries that the refresh map predicts and
where simulated populations crossed them. Middle: what a refresh makes of a kick. Right: links that change per
step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import CONTROL, LOOKS, Drawing, line, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.refresh_stability import Result

SOURCES = ("refresh_stability",)
PAPER = (
    "Budgeted Broadcast (arXiv 2510.01263): refresh every Delta steps; its reviewers asked when it oscillates"
)

_NAMES = {"real": "real degrees", "whole": "whole links", "slow": "on-rates that lag"}


def draw(figure: Drawing, result: Result) -> str:
    """Draw the map of stability, the multipliers and the churn."""
    figure.set_size_inches(11.0, 4.2)
    plane, growth, churn = figure.subplots(1, 3)
    longest = float(result.intervals.max())

    # the decay of the average per step, as the predicted sign flips state it: D = g/(1 + g) at that interval
    gain, flip = float(result.gains[-1]), float(result.predicted_sign_flip[-1])
    decay = (gain / (1.0 + gain)) ** (1.0 / flip)
    kept = decay ** np.geomspace(1.0, 1.3 * longest, 300)
    interval = np.log(kept) / np.log(decay)
    top = 1.45 * float(result.gains.max())
    sign, grow = kept / (1.0 - kept), (1.0 + kept) / (1.0 - kept)
    plane.fill_between(interval, 0.0, np.minimum(sign, top), color="0.96", lw=0)
    plane.fill_between(interval, np.minimum(sign, top), np.minimum(grow, top), color="0.88", lw=0)
    plane.fill_between(interval, np.minimum(grow, top), top, color="0.78", lw=0)
    for name, bound, look in (("alternates", sign, LOOKS[0]), ("runs away", grow, LOOKS[1])):
        shown = bound <= top
        line(plane, f"{name}, predicted", interval[shown], bound[shown], look)
    for variant, marker in zip(_NAMES, "osv", strict=True):
        if variant not in result.variants:
            continue
        row = result.variants.index(variant)
        for kind, look in (("sign", LOOKS[0]), ("growth", LOOKS[1])):
            at, ends = getattr(result, f"{kind}_flip")[row], getattr(result, f"{kind}_flip_interval")[row].T
            name = _NAMES[variant] if kind == "sign" else ""
            points(
                plane,
                f"{_NAMES[variant]}, {kind} flip",
                at,
                result.gains,
                look,
                x_interval=ends,
                legend=name,
                marker=marker,
                mfc="white" if variant == "slow" else look.color,
            )
    how = {"fontsize": 8, "ha": "center"}
    plane.text(1.5, 0.35 * result.gains.min(), "settles smoothly", **(how | {"ha": "left"}))
    plane.text(1.25 * longest, 0.9 * top, "runs away", **(how | {"ha": "right"}))
    log_scale(plane, "x")
    plane.set(
        xlim=(1.0, 1.3 * longest),
        ylim=(0.0, top),
        xlabel=f"refresh interval (steps); {number_of(result.n_seeds, 'seed')}",
        ylabel="loop gain (change of k asked for per change of k)",
    )
    plane.legend(loc=(0.0, 0.15))
    plane.set_title("Where a population settles")

    row = result.variants.index("real")
    steps = result.intervals
    for j, look in zip(range(len(result.gains)), LOOKS, strict=False):
        seen = np.abs(result.growth[row, j]) < _MOST
        points(
            growth,
            f"gain {result.gains[j]:g}",
            steps[seen],
            result.growth[row, j][seen],
            look,
            y_interval=result.growth_interval[row, j][seen].T,
        )
        line(
            growth, f"gain {result.gains[j]:g}, predicted", steps, result.multiplier[row, j], look, legend=""
        )
        points(
            churn,
            f"gain {result.gains[j]:g}",
            steps,
            result.churn[row, j],
            look,
            y_interval=result.churn_interval[row, j].T,
        )
        line(
            churn,
            f"gain {result.gains[j]:g}, predicted",
            steps,
            result.predicted_churn[row, j],
            look,
            legend="",
        )
    if "open" in result.variants:
        at = result.variants.index("open")
        mean = result.growth[at].mean(axis=0)
        points(growth, "loop open (control)", steps, mean, CONTROL)
    for bound in (-1.0, 0.0):
        growth.axhline(bound, color="0.6", lw=0.8, ls=":", zorder=0)
    log_scale(growth, "x")
    growth.set(
        ylim=(-2.6, 1.05),
        xlabel=f"refresh interval (steps); {number_of(result.n_seeds, 'seed')}",
        ylabel="kick after a refresh / before (ratio)",
    )
    growth.legend(loc="lower left")
    growth.set_title("Below 0 it alternates, below -1 it grows")
    log_scale(churn, "x")
    log_scale(churn, "y")
    churn.set(
        xlabel=f"refresh interval (steps); {number_of(result.n_seeds, 'seed')}",
        ylabel="churn (links changed per unit and step)",
    )
    churn.set_title("Short intervals flicker")
    return (
        f"Populations under the degree rule, {number_of(result.n_seeds, 'seed')}, EMA decay {decay:.3g} per "
        "step. Left: markers where the measured autocorrelation crosses 0 and where a kick neither grows "
        "nor decays, with 95 % intervals over seeds; lines: the refresh map, multiplier D - (1 - D) g. A "
        "longer interval is the less stable one. Middle and right: real degrees, lines predicted; near 0 a "
        "ratio cannot be told from the noise of the population and stays near 0.4 in size. The open loop is "
        "the control that must not alternate."
    )


_MOST = 2.6  # growth beyond it is left to the line

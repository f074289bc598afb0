"""Does cutting incoming links (SP-in) lower a unit's on-rate?

Rule: on-rates are exact, from the truth table, before and after a cut. Of the cuts that change the unit's own
on-rate, the share that lower it, per layer of trained networks, kind (weakest or random links) and size, and
of random units of the largest fan-in. Confirmed if in every group the 95 % interval over seeds lies above
0.95; refuted if in any group it lies below 0.95; undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.actuator_response import Result

CLAIM = "SP-in, masking a unit's weakest incoming weights, lowers its on-rate."
PAPER = "arXiv 2510.01263, the two actuators; known from its repository's README and summaries"
SOURCES = ("actuator_response",)

ALMOST_ALWAYS = 0.95


def check(result: Result) -> CheckResult:
    """Count cuts that lower and that raise."""
    from experiments.correlation_robustness import mean_interval

    own = [i for i, group in enumerate(result.groups) if group.startswith("in") and group.endswith("own")]
    shares = {}
    for i in own:
        for o, order in enumerate(result.orders):
            for s, share in enumerate(result.shares):
                size = f"{share:.0%}" if share else "one"
                key = f"{result.groups[i].split()[1]} layer, {order}, {size}"
                shares[key] = _lowered(result, "trained", (i, o, s))
    for s, share in enumerate(result.shares):
        key = f"random units of fan-in {result.fan_ins[-1]}, {f'{share:.0%}' if share else 'one'}"
        shares[key] = _lowered(result, "random", (-1, s))
    intervals = {key: mean_interval(values) for key, values in shares.items()}
    if all(low > ALMOST_ALWAYS for _, low, _ in intervals.values()):
        verdict = CONFIRMED
    elif any(high < ALMOST_ALWAYS for _, _, high in intervals.values()):
        verdict = REFUTED
    else:
        verdict = UNDECIDED
    worst = min(intervals, key=lambda key: intervals[key][0])
    best = max(intervals, key=lambda key: intervals[key][0])
    mean, low, high = intervals[worst]
    sign = mean_interval(np.nanmean(result.of("trained", "sign_finite")[own], axis=(0, 1, 2)))
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"a share of cuts above {ALMOST_ALWAYS}",
        observed=float(mean),
        interval=(float(low), float(high)),
        verdict=verdict,
        note=(
            f"share of on-rates that fall, of those that change; mean and 95 % interval over "
            f"{result.accuracy.size} networks; least in: {worst}; most in: {best}, {intervals[best][0]:.2f}. "
            f"Cutting inhibition raises an on-rate: linear response says which, with the right sign in "
            f"{sign[0]:.3f} [{sign[1]:.3f}, {sign[2]:.3f}] of the cuts in trained networks"
        ),
    )


def _lowered(result: Result, part: str, at: tuple[int, ...]) -> np.ndarray:
    down, up = (result.of(part, number)[at] for number in ("lowered", "raised"))
    moved = down + up > 0
    return np.where(moved, down / np.where(moved, down + up, 1.0), np.nan)

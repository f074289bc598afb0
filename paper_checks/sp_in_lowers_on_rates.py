"""Does cutting incoming links (SP-in) lower a unit's on-rate?

Rule: on-rates are exact, from the truth table, before and after a cut. Of the cuts that change the unit's own
on-rate, the share that lower it, per layer of trained networks, kind (weakest or random links) and size, and
of random units of the largest fan-in. Confirmed if in every group the 95 % interval over seeds lies above
0.95; refuted if in any group it lies below 0.95; undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bbtheory.fit.uncertainty import mean_interval
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.actuator_response import Result

CLAIM = "SP-in, masking a unit's weakest incoming weights, lowers its on-rate."
PAPER = "arXiv 2510.01263, the two actuators; known from its repository's README and summaries"
SOURCES = ("actuator_response",)

ALMOST_ALWAYS = 0.95


def check(result: Result) -> CheckResult:
    """Count cuts that lower and that raise."""
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
    found = {key: mean_interval(values) for key, values in shares.items()}
    intervals = {key: (mean, *ends) for key, (mean, ends) in found.items()}
    if all(low > ALMOST_ALWAYS for _, low, _ in intervals.values()):
        verdict = CONFIRMED
    elif any(high < ALMOST_ALWAYS for _, _, high in intervals.values()):
        verdict = REFUTED
    else:
        verdict = UNDECIDED
    worst = min(intervals, key=lambda key: intervals[key][0])
    best = max(intervals, key=lambda key: intervals[key][0])
    mean, low, high = intervals[worst]
    right = result.of("trained", "sign_finite")[own]
    sign, (sign_low, sign_high) = mean_interval(mean_interval(right.reshape(-1, right.shape[-1]))[0])
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
            f"{sign:.3f} [{sign_low:.3f}, {sign_high:.3f}] of the cuts in trained networks"
        ),
    )


def _lowered(result: Result, part: str, at: tuple[int, ...]) -> np.ndarray:
    down, up = (result.of(part, number)[at] for number in ("lowered", "raised"))
    moved = down + up > 0
    return np.where(moved, down / np.where(moved, down + up, 1.0), np.nan)

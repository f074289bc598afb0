"""Does cutting incoming links (SP-in) lower a unit's on-rate?

Rule: on-rates are exact, from the truth table, before and after a cut. Of the cuts that change the unit's own
on-rate, the share that lower it, per layer of trained networks and size of the cut, weakest links first, as
the claim has it. Confirmed if in every such group the 95 % interval over seeds lies above 0.95; refuted if in
any it lies below 0.95; undecided otherwise. Random links of these units, and of random units of the largest
fan-in, of which the claim does not speak, are in the note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bbtheory.fit.uncertainty import mean_interval
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.actuator_response import Result

CLAIM = "SP-in, masking a unit's weakest incoming weights, lowers its on-rate."
PAPER = (
    "arXiv 2510.01263, the two actuators; known from its repository's README and summaries; small networks "
    "on a DNF here"
)
SOURCES = ("actuator_response",)

ALMOST_ALWAYS = 0.95


def check(result: Result) -> CheckResult:
    """Count cuts that lower and that raise."""
    own = [i for i, group in enumerate(result.groups) if group.startswith("in") and group.endswith("own")]
    sizes = [f"{share:.0%}" if share else "one" for share in result.shares]

    def found(order: str) -> dict[str, tuple[float, float, float]]:
        """Return mean and interval of each group whose links are cut in this order."""
        o, groups = result.orders.index(order), {}
        for i in own:
            for s, size in enumerate(sizes):
                mean, (low, high) = mean_interval(_lowered(result, "trained", (i, o, s)))
                groups[f"{result.groups[i].split()[1]} layer, {size}"] = mean, low, high
        return groups

    intervals = found("weakest")
    by_chance = [mean for mean, _, _ in found("random").values()]
    random = [mean_interval(_lowered(result, "random", (-1, s)))[0] for s in range(len(sizes))]
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
            f"share of on-rates that fall, of those that change, weakest links cut; mean and 95 % interval "
            f"over {result.accuracy.size} networks; least in: {worst}; most in: {best}, "
            f"{intervals[best][0]:.2f}. Of random links {min(by_chance):.2f} to {max(by_chance):.2f}, in "
            f"random units of fan-in {result.fan_ins[-1]} {min(random):.2f} to {max(random):.2f}. "
            f"Cutting inhibition raises an on-rate: linear response says which, with the right sign in "
            f"{sign:.3f} [{sign_low:.3f}, {sign_high:.3f}] of the cuts in trained networks"
        ),
    )


def _lowered(result: Result, part: str, at: tuple[int, ...]) -> np.ndarray:
    down, up = (result.of(part, number)[at] for number in ("lowered", "raised"))
    moved = down + up > 0
    return np.where(moved, down / np.where(moved, down + up, 1.0), np.nan)

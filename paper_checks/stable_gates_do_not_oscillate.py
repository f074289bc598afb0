"""Do degrees hold still, but for noise, where the map of the refresh calls every gate stable?

Successive changes of a degree correlate by -1 in an oscillation of period 2, by -1/2 in a noise about fixed
degrees, by 0 in a random walk.

Rule: the map with measured gains must call no gate unstable or oscillating, or nothing is decided. Confirmed
if under SP-in and under both actuators the 95 % interval of the correlation, pooled over units, over seeds
lies above -1/2; refuted if one lies below; undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.actuator_ablation import Result

CLAIM = "Degrees in a network that learns do not oscillate where the map of the refresh calls them stable."
PAPER = "this project's derivation (refresh_map) for the controller of arXiv 2510.01263"
SOURCES = ("actuator_ablation",)
OWN_THEORY = True

FIXED_POINT = -0.5  # of noise about fixed degrees


def check(result: Result) -> CheckResult:
    """Compare the correlation of successive changes with that of noise."""
    rows = [row for row in result.rows if row.method in ("bb_in", "bb_both")]
    stable = all(row.unstable == 0 and row.oscillating == 0 for row in rows)
    worst = min(rows, key=lambda row: row.lag_one)
    if stable and all(row.lag_one_low > FIXED_POINT for row in rows):
        verdict = CONFIRMED
    elif stable and any(row.lag_one_high < FIXED_POINT for row in rows):
        verdict = REFUTED
    else:
        verdict = UNDECIDED
    each = ", ".join(
        f"{row.method} {row.lag_one:+.3f} [{row.lag_one_low:+.3f}, {row.lag_one_high:+.3f}] (least margin "
        f"{row.margin:.2f}; of changes next to each other {row.reversed:.0%} have opposite signs)"
        for row in rows
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"a correlation above {FIXED_POINT}",
        observed=worst.lag_one,
        interval=(worst.lag_one_low, worst.lag_one_high),
        verdict=verdict,
        note=f"mean and 95 % interval over {worst.n} seeds, density {worst.wanted:g}: {each}",
    )

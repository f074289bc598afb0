"""Is what Budgeted Broadcast loses at low density lost to units that are never on?

The rule gives the units of the smallest on-rates the largest degrees, dead ones included: no entropy is
gained by their links.

Rule: an arm is an actuator at a density, its effects the paired rise of test accuracy where units below an
on-rate get an average degree instead, for each on-rate tried. An arm supports the claim if accuracy rises for
each, and contradicts it if it falls for one, at 95 % for all effects together (Bonferroni). Confirmed if some
arms support and none contradicts; refuted if more contradict than support; else undecided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import Effect, judge
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments.silent_units import Result

CLAIM = (
    "At low density the published rule loses accuracy by the links that it gives to units that are never on."
)
PAPER = "this project's caveat on the degree controller of arXiv 2510.01263, whose log-odds have no upper end"
SOURCES = ("silent_units",)


def check(result: Result) -> CheckResult:
    """Count the arms whose accuracy rises without those links, and those whose accuracy falls."""
    effects = [
        Effect.of(
            f"{row.actuator} at {row.wanted:g}",
            f"an average degree below {row.silent_below:g}",
            row.n,
            row,
            "more",
        )
        for row in result.rows
        if row.silent_below > 0
    ]
    return judge(CLAIM, PAPER, effects)

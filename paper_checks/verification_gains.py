"""Are unseen identities told apart better under Budgeted Broadcast than by a dense network?

Rule: an arm is an actuator at a density; its effects are the paired falls of the equal error rate and rises
of the true accepts at 1 % false accepts, to the dense network. An arm supports the claim if both lie above 0,
and contradicts it if one lies below, at 95 % for all effects together (Bonferroni). Confirmed if some arms
support and none contradicts; refuted if more contradict than support; undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import PUBLISHED, Effect, judge
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = "Pruned networks under Budgeted Broadcast verify unseen identities better than dense ones."
PAPER = (
    "arXiv 2510.01263, face identification: Pareto fronts of top-1 and verification, with regions above "
    "dense; its data are not public and are replaced by drawn characters"
)
SOURCES = ("identification",)

SIGNS = {"equal_error_rate": -1.0, "true_accept_rate": 1.0}


def check(result: Result) -> CheckResult:
    """Count the arms that are better in both, and those that are worse in one."""
    seeds = {(row.method, row.wanted): row.n for row in result.rows}
    effects = []
    for row in result.metrics:
        if row.metric in SIGNS and row.method in PUBLISHED:
            arm, n = f"{row.method} at {row.wanted:g}", seeds[row.method, row.wanted]
            effects.append(Effect.of(arm, f"dense in {row.metric}", n, row, "less_dense", SIGNS[row.metric]))
    return judge(CLAIM, PAPER, effects)

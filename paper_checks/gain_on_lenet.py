"""Does LeNet-300-100 lose less under Budgeted Broadcast than under gradual magnitude, when nothing is tuned?

Rule: an arm is an actuator (SP-in, SP-out, both) at a density; its effect is the paired difference of test
accuracy to gradual magnitude at the same density, at 95 % for all arms together (Bonferroni). Confirmed if
some arms support and none contradicts; refuted if more contradict than support; else undecided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import PUBLISHED, Effect, judge
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments.lenet_density import Result

CLAIM = "At matched density the published rule keeps more accuracy than gradual magnitude pruning."
PAPER = "arXiv 2510.01263, abstract, improves accuracy at matched sparsity; LeNet is this project's task"
SOURCES = ("lenet_density",)


def check(result: Result) -> CheckResult:
    """Count the arms above and below magnitude."""
    effects = [
        Effect.of(f"{row.method} at {row.wanted:g}", "magnitude", row.n, row, "less_magnitude")
        for row in result.rows
        if row.method in PUBLISHED
    ]
    return judge(CLAIM, PAPER, effects)

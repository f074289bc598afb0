"""Does the correlation of units fall under Budgeted Broadcast?

Rule: as `entropy_rises`, on the mean |correlation| of pairs of units, taken negative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import TASKS, effects_of, in_general
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = "Budgeted Broadcast decorrelates a network's units."
PAPER = (
    "arXiv 2510.01263, abstract: decorrelation; by how much was not recovered; smaller networks and other "
    "data here"
)
SOURCES = TASKS


def check(*results: Result) -> CheckResult:
    """Count the arms that support and that contradict, over all tasks."""
    named = dict(zip(SOURCES, results, strict=True))
    return in_general(CLAIM, PAPER, effects_of("correlation down", named))

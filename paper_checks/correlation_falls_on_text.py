"""Does the correlation of units fall under Budgeted Broadcast in a language model?

Rule: as `correlation_falls`, on the gates of a small decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.correlation_falls import CLAIM, PAPER
from paper_checks.correlation_falls import check as judge_tasks
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

__all__ = ["CLAIM", "PAPER", "SOURCES", "check"]

SOURCES = ("language_model",)


def check(result: Result) -> CheckResult:
    """Count the arms that support and that contradict."""
    return judge_tasks(result)

"""Does a language model at moderate density do better than the dense one under Budgeted Broadcast?

Rule: as `sometimes_exceeds_dense`, on held-out perplexity alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CheckResult
from paper_checks.sometimes_exceeds_dense import CLAIM, PAPER
from paper_checks.sometimes_exceeds_dense import check as judge_tasks

if TYPE_CHECKING:
    from experiments._contest_records import Result

__all__ = ["CLAIM", "PAPER", "SOURCES", "check"]

SOURCES = ("language_model",)


def check(result: Result) -> CheckResult:
    """Look for an arm above dense."""
    return judge_tasks(result)

"""Does Budgeted Broadcast do better on rare words than its rivals at equal density, in a language model?

Rule: as `tail_gain_on_images`, on perplexity on rare words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import tail_gain
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = (
    "At equal density Budgeted Broadcast does better on rare words than random, magnitude and RigL masks, "
    "in a language model."
)
PAPER = "arXiv 2510.01263, gains on rare tokens; training a small decoder is this project's task"
SOURCES = ("language_model",)


def check(result: Result) -> CheckResult:
    """Count the arms that support and that contradict."""
    return tail_gain(CLAIM, PAPER, result)

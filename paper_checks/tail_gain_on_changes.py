"""Does Budgeted Broadcast do better on small changes than its rivals at equal density, in change detection?

Rule: as `tail_gain_on_images`, on recall of the smaller half of the regions of change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import tail_gain
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = (
    "At equal density Budgeted Broadcast does better on small changes than random, magnitude and RigL "
    "masks, in change detection."
)
PAPER = "arXiv 2510.01263, change detection; its data, LEVIR-CD, are replaced by a labelled Landsat pair"
SOURCES = ("change_detection",)


def check(result: Result) -> CheckResult:
    """Count the arms that support and that contradict."""
    return tail_gain(CLAIM, PAPER, result)

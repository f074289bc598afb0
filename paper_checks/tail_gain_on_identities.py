"""Does Budgeted Broadcast do better on identities with few images than its rivals at equal density?

Rule: as `tail_gain_on_images`, on accuracy on the third of the identities with the fewest images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import tail_gain
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = (
    "At equal density Budgeted Broadcast does better on identities with few images than random, magnitude "
    "and RigL masks, in identification."
)
PAPER = "arXiv 2510.01263, face identification; its data are not public and are replaced by drawn characters"
SOURCES = ("identification",)


def check(result: Result) -> CheckResult:
    """Count the arms that support and that contradict."""
    return tail_gain(CLAIM, PAPER, result)

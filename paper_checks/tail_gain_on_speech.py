"""Does Budgeted Broadcast do better on rare words than its rivals at equal density, in a speech recogniser?

Rule: as `tail_gain_on_images`, on word errors on the rarest words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import tail_gain
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = (
    "At equal density Budgeted Broadcast does better on rare words than random, magnitude and RigL masks, "
    "in a speech recogniser."
)
PAPER = (
    "arXiv 2510.01263, speech recognition: gains by word frequency, with SP-in, SP-out and their rivals "
    "at one density; its table was not recovered, and its data, LibriSpeech, are replaced by connected "
    "digits"
)
SOURCES = ("spoken_digits",)


def check(result: Result) -> CheckResult:
    """Count the arms that support and that contradict."""
    return tail_gain(CLAIM, PAPER, result)

"""Does Budgeted Broadcast do better on small synapses than its rivals at equal density?

Rule: as `tail_gain_on_images`, on the found part of the smaller half of the synapses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import tail_gain
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = (
    "At equal density Budgeted Broadcast does better on small synapses than random, magnitude and RigL "
    "masks, in electron microscopy."
)
PAPER = (
    "arXiv 2510.01263, synapse prediction on electron microscopy; its network, data and protocol are not "
    "public"
)
SOURCES = ("synapses",)


def check(result: Result) -> CheckResult:
    """Count the arms that support and that contradict."""
    return tail_gain(CLAIM, PAPER, result)

"""Does Budgeted Broadcast do better on rare classes than its rivals at equal density, in long-tailed images?

Rule: an arm is SP-in or both actuators at one density; its effect is the paired difference, over seeds, of
accuracy on the rarest third of the classes to each rival at the same density. An arm supports the claim if
it beats every rival, and contradicts it if it is below one, by intervals at 95 % for all effects together
(Bonferroni). Confirmed if some arms support and none contradicts; refuted if more contradict than support;
else undecided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import tail_gain
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = (
    "At equal density Budgeted Broadcast does better on rare classes than random, magnitude and RigL "
    "masks, in long-tailed images."
)
PAPER = "arXiv 2510.01263, gains on what is rare; long-tailed images are this project's task"
SOURCES = ("image_classification",)


def check(result: Result) -> CheckResult:
    """Count the arms that support and that contradict."""
    return tail_gain(CLAIM, PAPER, result)

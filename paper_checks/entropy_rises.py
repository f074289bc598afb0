"""Does coding entropy per unit rise under Budgeted Broadcast?

Rule: an arm is a task, an actuator and a density; its effects are the paired differences over seeds, in
coding entropy per unit, nats, to the dense network and to gradual magnitude at the same density. An
arm supports the claim if both intervals lie above 0, and contradicts it if one lies below, at 95 % for all
effects together (Bonferroni). The claim is general: confirmed if at least half of the arms support it and
none contradicts; refuted if more contradict than support; else undecided. The networks are tuned for their
task, not for this. Means over tasks, with intervals over tasks, are in the note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import TASKS, effects_of, in_general
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = "Budgeted Broadcast raises the coding entropy of a network's units."
PAPER = (
    "arXiv 2510.01263, abstract: increases coding entropy; by how much was not recovered; smaller networks "
    "and other data here"
)
SOURCES = TASKS


def check(*results: Result) -> CheckResult:
    """Count the arms that support and that contradict, over all tasks."""
    named = dict(zip(SOURCES, results, strict=True))
    return in_general(CLAIM, PAPER, effects_of("entropy up", named))

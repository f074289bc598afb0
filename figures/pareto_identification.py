"""Identities: accuracy against density

Budgeted Broadcast beside its rivals and the dense network, over all of the test data and over its rare part:
look at whether intervals part, and which way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures._contest import Quality, draw_front
from figures._drawing import Drawing

if TYPE_CHECKING:
    from experiments.identification import Result

SOURCES = ("identification",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): face identification and verification"

_QUALITIES = (
    Quality("accuracy", "accuracy (share of test images)"),
    Quality("tail_accuracy", "accuracy, rarest third of identities (share)"),
    Quality("equal_error_rate", "equal error rate, unseen identities", higher_is_better=False),
)


def draw(figure: Drawing, result: Result) -> str:
    """Draw the metrics of every method against density."""
    front = draw_front(figure, result, _QUALITIES)
    return (
        f"Identities with a long tail of training drawers, and verification on identities never seen. {front}"
    )

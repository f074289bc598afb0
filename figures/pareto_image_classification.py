"""Long-tailed images: accuracy against density

Budgeted Broadcast beside its rivals and the dense network, over all of the test data and over its rare part:
look at whether intervals part, and which way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures._contest import Quality, draw_front
from figures._drawing import Drawing

if TYPE_CHECKING:
    from experiments.image_classification import Result

SOURCES = ("image_classification",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): image classification with rare classes"

_QUALITIES = (
    Quality("accuracy", "accuracy (share of test images)"),
    Quality("tail_accuracy", "accuracy, rarest third of classes (share)"),
)


def draw(figure: Drawing, result: Result) -> str:
    """Draw the metrics of every method against density."""
    front = draw_front(figure, result, _QUALITIES)
    return f"Long-tailed image classification; which class is rare changes from seed to seed. {front}"

"""Changes between two dates: F1 against density

Budgeted Broadcast beside its rivals and the dense network, over all of the test data and over its rare part:
look at whether intervals part, and which way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures._contest import Quality, draw_front
from figures._drawing import Drawing

if TYPE_CHECKING:
    from experiments.change_detection import Result

SOURCES = ("change_detection",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): change detection, IoU and F1 against dense at matched density"

_QUALITIES = (
    Quality("f1", "F1 of change (labelled pixels)"),
    Quality("small_recall", "recall, smaller half of the regions (share)"),
)


def draw(figure: Drawing, result: Result) -> str:
    """Draw the metrics of every method against density."""
    front = draw_front(figure, result, _QUALITIES)
    return f"Changes between two dates; seeds differ in weights and order, not in the scene. {front}"

"""Synapses: average precision against density

Budgeted Broadcast beside its rivals and the dense network, over all of the test data and over its rare part:
look at whether intervals part, and which way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures._contest import Quality, draw_front
from figures._drawing import Drawing

if TYPE_CHECKING:
    from experiments.synapses import Result

SOURCES = ("synapses",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): synapse detection in electron microscopy with a 3-D U-Net"

_QUALITIES = (
    Quality("average_precision", "average precision (voxels)"),
    Quality("small_covered", "found part of the smaller half of objects"),
)


def draw(figure: Drawing, result: Result) -> str:
    """Draw the metrics of every method against density."""
    front = draw_front(figure, result, _QUALITIES)
    return f"Synapses in electron microscopy; seeds vary weights and patches, not the sections. {front}"

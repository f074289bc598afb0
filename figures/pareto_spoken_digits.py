"""Spoken digits: word errors against density

Budgeted Broadcast beside its rivals and the dense network, over all of the test data and over its rare part:
look at whether intervals part, and which way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures._contest import Quality, draw_front
from figures._drawing import Drawing

if TYPE_CHECKING:
    from experiments.spoken_digits import Result

SOURCES = ("spoken_digits",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): speech recognition, word error rate by word frequency"

_QUALITIES = (
    Quality("wer", "word error rate (errors per word)", higher_is_better=False),
    Quality("wer_tail", "(S + D)/N, rarest half of the words", higher_is_better=False),
)


def draw(figure: Drawing, result: Result) -> str:
    """Draw the metrics of every method against density."""
    front = draw_front(figure, result, _QUALITIES)
    return f"Connected digits whose words follow Zipf's law, in an order drawn from the seed. {front}"

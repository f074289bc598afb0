"""Text: perplexity against density

Budgeted Broadcast beside its rivals and the dense network, over all of the test data and over its rare part:
look at whether intervals part, and which way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures._contest import Quality, draw_front
from figures._drawing import Drawing

if TYPE_CHECKING:
    from experiments.language_model import Result

SOURCES = ("language_model",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): language models: perplexity on rare words"

_QUALITIES = (
    Quality("perplexity", "perplexity (per token)", higher_is_better=False),
    Quality("perplexity_tail", "perplexity on tail words (per token)", higher_is_better=False),
)


def draw(figure: Drawing, result: Result) -> str:
    """Draw the metrics of every method against density."""
    front = draw_front(figure, result, _QUALITIES)
    return f"A decoder predicts the next character; words that the training text lacks are tail. {front}"

"""Does the same law hold for every saliency in a convolutional network?

Rule: as `one_law_for_every_family`, on a network of four convolutions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.one_law_for_every_family import CLAIM
from paper_checks.one_law_for_every_family import check as judge_families
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments.pruning_law_convnet import Result

__all__ = ["CLAIM", "PAPER", "SOURCES", "check"]

PAPER = "arXiv 2504.05349 v3, abstract; a small network on Fashion-MNIST here"
SOURCES = ("pruning_law_convnet",)


def check(result: Result) -> CheckResult:
    """Compare families by the verdicts of their curves."""
    return judge_families(result, PAPER)

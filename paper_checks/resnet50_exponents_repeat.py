"""Are the exponents of ResNet-50 on CIFAR-10 those of the authors' curves?

Rule: as `lenet_exponents_repeat`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.lenet_exponents_repeat import CLAIM, repeats
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments.pruning_law_resnet50 import Result

__all__ = ["CLAIM", "PAPER", "SOURCES", "check"]

PAPER = (
    "arXiv 2504.05349 v3, figure 4: this project's refit of the public curves, Hyperflux 0.595, magnitude "
    "1.533, Taylor 0.623, one run each"
)
SOURCES = ("pruning_law_resnet50",)

EXPONENTS = {"hyperflux": 0.595, "magnitude": 1.533, "taylor": 0.623}


def check(result: Result) -> CheckResult:
    """Compare exponents with theirs."""
    return repeats(CLAIM, PAPER, result, EXPONENTS)

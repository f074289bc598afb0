"""Does Hyperflux keep more accuracy than iterative magnitude pruning at the same density?

Rule: an arm is a rule of pressure (the authors' scheduler, this project's feedback) at a density; its effect
is the paired difference of test accuracy, after both are at the density exactly, at 95 % for all arms
together (Bonferroni). Confirmed if some arms are above and none below; refuted if more are below than above;
undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import Effect, judge
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments.target_density import Result

CLAIM = "Hyperflux keeps more accuracy than iterative magnitude pruning at the same density."
PAPER = (
    "arXiv 2504.05349, abstracts (better than or competitive with baselines); LeNet on MNIST, untuned, here"
)
SOURCES = ("target_density",)


def check(result: Result) -> CheckResult:
    """Count the arms above and below magnitude."""
    effects = [
        Effect.of(f"{row.method} at {row.wanted:g}", "magnitude", row.n, row, "less_magnitude")
        for row in result.rows
        if row.method in ("authors", "feedback")
    ]
    return judge(CLAIM, PAPER, effects)

"""Is the density that a held pressure leads to the same for all learning rates of the weights?

Rule: confirmed if for every rate the 95 % interval of the paired ratio of densities, to that at the first
rate, lies within 10 % of 1; refuted if one lies wholly outside where the densities have come to rest (a drift
of 5 % at most over the last tenth of the epochs, there and at the first rate) and the ratio too (over the
last third its logarithm shrank by a tenth at most, by the 95 % interval); undecided otherwise. The condition
on the ratio was added when a first record showed ratios that approach 1 at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks._courses import STILL, one_density, ratio_in_words, rests
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments.learning_rate_convergence import Result

CLAIM = "Networks under one pressure converge to one density, whatever the learning rate of their weights."
PAPER = "arXiv 2504.05349 v3, figure 5 (MNIST, several learning rates); its numbers are not public"
SOURCES = ("learning_rate_convergence",)


def check(result: Result) -> CheckResult:
    """Compare densities with that at the first rate."""
    first, *rows = result.rows
    at_rest = [
        max(abs(row.drift), abs(first.drift)) <= STILL and rests(np.log(course / result.course[0]))
        for row, course in zip(rows, result.course[1:], strict=True)
    ]
    worst = max(rows, key=lambda row: abs(row.ratio - 1))
    each = "; ".join(
        f"{row.learning_rate:g}: {ratio_in_words(row, rested)}, drift {row.drift:+.1%}"
        for row, rested in zip(rows, at_rest, strict=True)
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=worst.ratio,
        interval=(worst.ratio_low, worst.ratio_high),
        verdict=one_density(rows, at_rest),
        note=(
            f"density over that at {first.learning_rate:g} (drift {first.drift:+.1%}), paired, 95 %, n = "
            f"{worst.n} seeds, gamma = {result.pressure:g}; by rate {each}"
        ),
    )

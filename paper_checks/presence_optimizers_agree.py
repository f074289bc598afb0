"""Does the density under a held pressure end at the same place for SGD and Adam on presence?

Rule: confirmed if for every schedule of the weights' rate the 95 % interval of the paired ratio of densities
lies within 10 % of 1; refuted if one lies wholly outside where both densities have come to rest (a drift of
5 % at most over the last tenth of the epochs) and the ratio too (over the last third of the epochs its
logarithm shrank by a tenth at most, by the 95 % interval); undecided otherwise. The condition on the ratio,
and slow SGD, were added when a first record showed ratios that approach 1 at the end. On a separable loss the
two agree (`density_follows_flux`); a network's weights learn and interact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks._courses import STILL, one_density, ratio_in_words, rests
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments.convergence_at_fixed_pressure import Result

CLAIM = "The density under a held pressure is the same whether SGD or Adam moves the presence variables."
PAPER = "arXiv 2504.05349, runs with both optimizers of presence; one equilibrium is this project's theory"
SOURCES = ("convergence_at_fixed_pressure",)


def check(result: Result) -> CheckResult:
    """Compare the other optimizers with the first, under the same schedule."""
    first = result.rows[0]
    reference = {
        row.schedule: (row, course)
        for row, course in zip(result.rows, result.course, strict=True)
        if row.flow == first.flow
    }
    rows, at_rest = [], []
    for row, course in zip(result.rows, result.course, strict=True):
        same, its_course = reference[row.schedule]
        if row is not same:
            rows.append(row)
            still = max(abs(row.drift), abs(same.drift)) <= STILL
            at_rest.append(still and rests(np.log(course / its_course)))
    worst = max(rows, key=lambda row: abs(row.ratio - 1))
    each = "; ".join(
        f"{row.flow}, {row.schedule}, arrives after {row.arrival:.2g} epochs: {ratio_in_words(row, rested)}"
        for row, rested in zip(rows, at_rest, strict=True)
    )
    drift = max(abs(row.drift) for row in result.rows)
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=worst.ratio,
        interval=(worst.ratio_low, worst.ratio_high),
        verdict=one_density(rows, at_rest),
        note=(
            f"density over that under {first.flow}, which by the pressure alone arrives at t = 0 after "
            f"{first.arrival:.2g} epochs; paired, 95 %, n = {worst.n} seeds: {each}. Largest drift "
            f"at the end {drift:.1%}"
        ),
    )

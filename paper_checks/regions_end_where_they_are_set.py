"""Do the regions of the pruning law end at densities of 50 % and 0.5 %?

Rule: three straight lines in log-log with free breaks are fitted to each seed's curve of LeNet-300-100
under magnitude, Taylor and Hyperflux. Confirmed if in every family the 95 % interval over seeds of either
break lies within a factor 1.25 of what the authors set; refuted if any lies outside as a whole; undecided
otherwise, with fewer than 5 seeds or without one of the families. The lower end is judged only where curves
reach half of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.pruning_law_lenet import Result

CLAIM = "Density against saliency has three regions, which end at densities of 50 % and 0.5 %."
PAPER = (
    "arXiv 2504.05349, the authors' code (test_law_regions.py), where both ends are constants; LeNet-300-100 "
    "on MNIST here"
)
SOURCES = ("pruning_law_lenet",)

FAMILIES = ("magnitude", "taylor", "hyperflux")
ENDS = (0.5, 0.005)
FACTOR = 1.25
REACH = 0.55  # of the lower end: curves that stop above it have no third region to show
MIN_SEEDS = 5


def check(result: Result) -> CheckResult:
    """Compare fitted breaks with the two constants."""
    rows = [row for row in map(result.row, FAMILIES) if row is not None]
    enough = len(rows) == len(FAMILIES) and min(row.n for row in rows) >= MIN_SEEDS
    far, near, shown, seen = [], [], [], []
    for row in rows:
        curve = result.curve(row.family)
        ends = [(ENDS[0], row.first_break, row.first_break_low, row.first_break_high)]
        if curve is not None and np.min(curve.density[:, -1]) <= REACH * ENDS[1]:
            ends.append((ENDS[1], row.last_break, row.last_break_low, row.last_break_high))
        for end, middle, low, high in ends:
            if middle > 0:
                seen.append((end, middle, low, high))
            shown.append(f"{row.family} {middle:.2%} [{low:.2%}, {high:.2%}] for {end:.1%}")
            far.append(high < end / FACTOR or low > end * FACTOR)
            near.append(low >= end / FACTOR and high <= end * FACTOR)
    verdict = UNDECIDED
    if enough and any(far):
        verdict = REFUTED
    elif enough and all(near):
        verdict = CONFIRMED
    slopes = "; ".join(
        f"{row.family} {row.slope_first:.2f}, {row.slope_middle:.2f}, {row.slope_last:.2f}" for row in rows
    )
    worst = max(seen, key=lambda each: abs(math.log(each[1] / each[0])), default=None)
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=ENDS[0] if worst is None else worst[0],
        observed=None if worst is None else worst[1],
        interval=None if worst is None else worst[2:],
        verdict=verdict,
        note=(
            f"the break furthest off; breaks of three fitted lines, geometric means over seeds with 95 % "
            f"intervals: {', '.join(shown) or 'none'}. Exponents of the three lines: {slopes or 'none'}"
        ),
    )

"""Is the exponent of the pruning law the same under other windows and other schedules?

Rule: LeNet-300-100 under magnitude, Taylor and Hyperflux. Windows: upper edge from 30 to 70 %, lower edge
from 0.2 to 3 %; the spread is (largest - least)/exponent of one curve. Schedules: a quarter of the steps
between events, and events of double size with double the steps; the ratio is that to the base schedule,
paired by seed. Confirmed if in every family the 95 % interval of the spread lies below 20 % and those of
both ratios within a factor 1.2 of 1; refuted if any lies outside as a whole; undecided otherwise, with
fewer than 5 seeds or without one of the families or schedules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.pruning_law_lenet import Result

CLAIM = (
    "The exponent of the pruning law belongs to the network and the saliency: it depends neither on the "
    "window of densities that the line is fitted in, nor on how fast the network is pruned."
)
PAPER = (
    "arXiv 2504.05349 v3, implied by one exponent per network and method; the paper may not state it; "
    "LeNet-300-100 on MNIST here"
)
SOURCES = ("pruning_law_lenet",)

FAMILIES = ("magnitude", "taylor", "hyperflux")
SCHEDULES = ("quick", "coarse")
SPREAD = 0.2
FACTOR = 1.2
MIN_SEEDS = 5


def check(result: Result) -> CheckResult:
    """Compare spreads and ratios with what counts as stable."""
    outside, inside, shown = [], [], []
    complete = True
    largest, bounds = 0.0, None
    for family in FAMILIES:
        base = result.row(family)
        if base is None or base.n < MIN_SEEDS:
            complete = False
            continue
        outside.append(base.spread_low > SPREAD)
        inside.append(base.spread_high <= SPREAD)
        shown.append(f"{family} windows {base.spread:.0%} [{base.spread_low:.0%}, {base.spread_high:.0%}]")
        if base.spread > largest:
            largest, bounds = base.spread, (base.spread_low, base.spread_high)
        for schedule in SCHEDULES:
            row = result.row(family, schedule)
            if row is None or row.n < MIN_SEEDS:
                complete = False
                continue
            low, high = row.against_base_low, row.against_base_high
            outside.append(high < 1.0 / FACTOR or low > FACTOR)
            inside.append(low >= 1.0 / FACTOR and high <= FACTOR)
            shown.append(f"{family} {schedule} x {row.against_base:.2f} [{low:.2f}, {high:.2f}]")
    verdict = UNDECIDED
    if complete and any(outside):
        verdict = REFUTED
    elif complete and all(inside):
        verdict = CONFIRMED
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"spread over windows at most {SPREAD}",
        observed=largest if shown else None,
        interval=bounds,
        verdict=verdict,
        note=(
            "largest spread of an exponent over windows, mean over seeds, 95 % interval; schedules as ratios "
            f"to the base: {', '.join(shown) or 'none'}"
        ),
    )

"""Does LeNet-300-100 settle at the authors' densities under their pressures?

Rule: at each pressure the ratio of our density to theirs; theirs is one run, so the interval is that for one
more run of ours (95 %). Confirmed if at every pressure it lies within 10 % of 1; refuted if at one it lies
wholly outside; undecided otherwise, or without one of their pressures.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from paper_checks._intervals import within
from paper_checks.protocol import REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.fixed_pressure_lenet import Result

CLAIM = "A held pressure gamma alone sets the density that LeNet-300-100 on MNIST ends with."
PAPER = (
    "arXiv 2504.05349, final densities in the authors' stored curves (presence by Adam at 7.5e-4, 300 "
    "epochs); the last records of a curve spread by 1 to 5 %"
)
SOURCES = ("fixed_pressure_lenet",)

# final density at gamma = 2^k, from the authors' stored curves, percent there
DENSITIES = {-5: 0.0749, -3: 0.0360, -1: 0.0127, 1: 0.00482, 3: 0.00165, 5: 0.00074}
TOLERANCE = 0.1


def check(result: Result) -> CheckResult:
    """Compare densities pressure by pressure."""
    ratios = {}
    for row in result.rows:
        claimed = DENSITIES.get(round(math.log2(row.pressure)))
        if claimed is not None:
            half = 0.5 * (row.high - row.low) * math.sqrt(row.n + 1)  # one more run, not the mean
            ratios[row.pressure] = tuple(
                x / claimed for x in (row.density, row.density - half, row.density + half)
            )
    verdict = within([(low, high) for _, low, high in ratios.values()], 1 - TOLERANCE, 1 + TOLERANCE)
    if len(ratios) < len(DENSITIES):
        verdict = verdict if verdict == REFUTED else UNDECIDED
    worst = max(ratios.values(), key=lambda r: abs(r[0] - 1), default=None)
    each = ", ".join(f"{g:g}: {m:.2f} [{low:.2f}, {high:.2f}]" for g, (m, low, high) in ratios.items())
    drift = max((abs(row.drift) for row in result.rows), default=math.nan)
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=worst[0] if worst else None,
        interval=worst[1:] if worst else None,
        verdict=verdict,
        note=(
            f"density over theirs by pressure, interval for one more run, 95 %: {each}; n = "
            f"{min((row.n for row in result.rows), default=0)} seeds. Largest drift over the last tenth of "
            f"the epochs {drift:.1%}"
        ),
    )

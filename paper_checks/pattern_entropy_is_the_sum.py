"""Is the entropy of a population's patterns the sum of unit entropies where units are weakly correlated?

Rule: weakly correlated is a mean correlation of at most 0.1 (this project's reading; the paper gives no
number), equal is within 5 %. The missing share (sum h - H)/sum h of correlated units with on-rates from 0.05
to 0.45 is measured for populations of several sizes. Confirmed if at every weak correlation and size the 95 %
interval of its mean over seeds ends below 5 %; refuted if one lies above 5 %; else undecided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.correlation_robustness import Result

CLAIM = (
    "For weakly correlated units the entropy of patterns is the sum of unit entropies, H(h) ~ sum_i H_b(a_i)."
)
PAPER = "arXiv 2510.01263, assumption A2 (weak correlation)"
SOURCES = ("correlation_robustness",)

WEAK = 0.1
TOLERANCE = 0.05


def check(result: Result) -> CheckResult:
    """Compare the share of entropy that correlation takes with the tolerance, size by size."""
    weak = result.correlations <= WEAK
    mean, low, high = np.moveaxis(result.interval("patterns", "share")[:, weak], -1, 0)
    if (low > TOLERANCE).any():
        verdict = REFUTED
    elif (high <= TOLERANCE).all():
        verdict = CONFIRMED
    else:
        verdict = UNDECIDED
    worst = np.unravel_index(mean.argmax(), mean.shape)
    everywhere = result.interval("patterns", "share")[..., 0]
    strongest = result.correlations[-1]
    by_size = ", ".join(f"{n} units {s:.1%}" for n, s in zip(result.sizes, everywhere[:, -1], strict=True))
    growth = ", ".join(f"{n}: {s:.1%}" for n, s in zip(result.sizes, mean[:, -1], strict=True))
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"a share below {TOLERANCE:g} at mean correlations up to {WEAK:g}",
        observed=float(mean[worst]),
        interval=(float(low[worst]), float(high[worst])),
        verdict=verdict,
        note=(
            f"largest mean share and its 95 % interval, {result.sizes[worst[0]]} units at mean correlation "
            f"{result.correlations[weak][worst[1]]:g}, {result.patterns.shape[-1]} seeds. At "
            f"{result.correlations[weak][-1]:g} the share grows with the number of units ({growth}): pairs "
            f"outgrow units, so the claim holds for small populations only. At {strongest:g}: {by_size}"
        ),
    )

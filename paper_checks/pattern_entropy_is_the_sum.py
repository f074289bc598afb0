"""Is the entropy of a population's patterns the sum of unit entropies where units are weakly correlated?

Rule: weakly correlated is a mean correlation of at most 0.1 (this project's reading; the paper gives no
number), equal is within 5 %. The missing share (sum h - H)/sum h of correlated units with on-rates from 0.05
to 0.45 is measured for populations of several sizes, large ones of equal units. Confirmed if at every weak
correlation and size the 95 % interval of its mean over seeds ends below 5 %; refuted if one lies above 5 %;
else undecided.
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
    sizes = np.concatenate([result.sizes, result.large_sizes])
    share = np.concatenate([result.interval("patterns", "share"), result.interval("large", "share")])
    mean, low, high = np.moveaxis(share[:, weak], -1, 0)
    if (low > TOLERANCE).any():
        verdict = REFUTED
    elif (high <= TOLERANCE).all():
        verdict = CONFIRMED
    else:
        verdict = UNDECIDED
    size, level = np.unravel_index(mean.argmax(), mean.shape)
    at_weak = ", ".join(f"{n}: {s:.1%}" for n, s in zip(sizes, mean[:, -1], strict=True))
    # shares rise with the correlation
    reach = [result.correlations[row <= TOLERANCE].max() for row in share[..., 0]]
    within = ", ".join(f"{n}: {r:g}" for n, r in zip(sizes, reach, strict=True))
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"a share below {TOLERANCE:g} at mean correlations up to {WEAK:g}",
        observed=float(mean[size, level]),
        interval=(float(low[size, level]), float(high[size, level])),
        verdict=verdict,
        note=(
            f"largest mean share and its 95 % interval, {sizes[size]} units at mean correlation "
            f"{result.correlations[weak][level]:g}, {result.patterns.shape[-1]} seeds. At "
            f"{result.correlations[weak][-1]:g}, by number of units: {at_weak}: pairs outgrow units. Largest "
            f"correlation tried with a share below {TOLERANCE:.0%}: {within}"
        ),
    )

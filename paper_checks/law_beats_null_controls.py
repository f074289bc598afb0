"""Are the curves of networks that train while they are pruned straighter than curves of nothing?

Rule: R^2 of the log-log line in the window. Controls: the same networks pruned without training in between;
with scores that change places among the weights, so that weights go at random; and fixed random magnitudes
that no network ever had. Confirmed if for magnitude, Taylor and Hyperflux on LeNet-300-100 the 95 % interval
lies above those of all controls; refuted if for any of them it lies below that of a control as a whole;
undecided otherwise, with fewer than 5 seeds, or without a family or its controls. A control that has no curve
(all thresholds zero) counts as bent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments import static_null
    from experiments.pruning_law_lenet import Result

CLAIM = (
    "The straight line of density against saliency comes from training under pruning: without it, or with "
    "saliencies that mean nothing, curves are less straight."
)
PAPER = (
    "arXiv 2504.05349 v3, implied by a law of effective saliencies; the controls are this project's; "
    "LeNet-300-100 on MNIST here"
)
SOURCES = ("pruning_law_lenet", "static_null")

FAMILIES = ("magnitude", "taylor", "hyperflux")
CONTROLS = ("static_magnitude", "static_taylor", "shuffled_magnitude", "shuffled_taylor")
MIN_SEEDS = 5


def check(result: Result, null: static_null.Result) -> CheckResult:
    """Compare R^2 of families and controls."""
    rows = [row for row in map(result.row, FAMILIES) if row is not None]
    other = [row for row in map(result.row, CONTROLS) if row is not None]
    complete = len(rows) == len(FAMILIES) and len(other) == len(CONTROLS)
    enough = complete and min(row.n for row in rows) >= MIN_SEEDS
    controls = {
        row.family: (row.r_squared, row.r_squared_low, row.r_squared_high)
        for row in other
        if np.isfinite(row.r_squared)
    }
    for family, values in zip(null.families, null.r_squared, strict=True):
        low, high = np.quantile(values, [0.025, 0.975])
        controls[f"fixed {family}"] = (float(np.mean(values)), float(low), float(high))
    best = max(controls, key=lambda name: controls[name][0])
    mean, low, high = controls[best]
    highest = max((c[2] for c in controls.values() if np.isfinite(c[2])), default=-np.inf)
    verdict = UNDECIDED
    if enough:
        if any(row.r_squared_high < low for row in rows):
            verdict = REFUTED
        elif all(row.r_squared_low > highest for row in rows):
            verdict = CONFIRMED
    shown = ", ".join(
        f"{row.family} {row.r_squared:.4f} [{row.r_squared_low:.4f}, {row.r_squared_high:.4f}]"
        for row in rows
    )
    own = max((row.r_squared_high for row in other if np.isfinite(row.r_squared_high)), default=np.inf)
    straighter = [row.family for row in rows if row.r_squared_low > own]
    against = ", ".join(f"{name} {c[0]:.4f} [{c[1]:.4f}, {c[2]:.4f}]" for name, c in controls.items())
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"above {mean:.4f} ({best})",
        observed=min((row.r_squared for row in rows), default=None),
        interval=None,
        verdict=verdict,
        note=(
            f"R^2 in the window, means over seeds with 95 % intervals: {shown or 'none'}; controls: {against}"
            f". Straighter than every control of the same network: {', '.join(straighter) or 'none'}"
        ),
    )

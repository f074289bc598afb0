"""Does the selectivity-audience balance L(a) = beta k hold for weakly correlated units?

Rule: weakly correlated is a mean correlation of at most 0.1 (this project's reading; the paper gives no
number). The on-rates of largest entropy under a traffic budget, with the pairs' co-activations, covariances
or correlations held fixed, are found exactly; the slope of the line through them is compared with the
multiplier of the budget. Confirmed if at every weak correlation and whatever is held the 95 % interval of the
mean ratio lies within 10 % of 1; refuted if one lies outside; else undecided. That units which obey the
controller show the line anyway is no evidence, for the rule sets it: it is in the note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.correlation_robustness import Result

CLAIM = "Under a traffic budget weakly correlated units obey log((1-a)/a) = beta k."
PAPER = "arXiv 2510.01263, selectivity-audience balance under assumption A2"
SOURCES = ("correlation_robustness",)

WEAK = 0.1
TOLERANCE = 0.1


def check(result: Result) -> CheckResult:
    """Compare the slope through the optimum with its multiplier, whatever is held fixed."""
    weak = result.correlations <= WEAK
    mean, low, high = np.moveaxis(result.interval("optimum", "slope_ratio")[:, weak], -1, 0)
    if ((high < 1 - TOLERANCE) | (low > 1 + TOLERANCE)).any():
        verdict = REFUTED
    elif ((low >= 1 - TOLERANCE) & (high <= 1 + TOLERANCE)).all():
        verdict = CONFIRMED
    else:
        verdict = UNDECIDED
    worst = np.unravel_index(np.abs(mean - 1.0).argmax(), mean.shape)
    reach = []
    for h, hold in enumerate(result.holds):
        inside = np.abs(result.interval("optimum", "slope_ratio")[h, :, 0] - 1.0) <= TOLERANCE
        # up to the first correlation that is off
        last = result.correlations[max(np.argmin(inside) - 1, 0)] if not inside.all() else np.inf
        reach.append(
            f"{hold}s up to {last:g}"
            if np.isfinite(last)
            else f"{hold}s up to {result.correlations[-1]:g} at least"
        )
    controller = result.interval("rule", "slope")[result.rules.index("controller"), :, 0]
    regret = result.interval("optimum", "regret")[:, weak, 0].max()
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"slope within {TOLERANCE:.0%} of the multiplier at mean correlations up to {WEAK:g}",
        observed=float(mean[worst]),
        interval=(float(low[worst]), float(high[worst])),
        verdict=verdict,
        note=(
            f"slope over multiplier furthest from 1 and its 95 % interval: {result.holds[worst[0]]}s held, "
            f"mean correlation {result.correlations[weak][worst[1]]:g}, {result.optimum.shape[-1]} seeds. It "
            f"is within {TOLERANCE:.0%} with {', '.join(reach)}. On-rates on the plain line cost at most "
            f"{regret:.2%} of the entropy at weak correlation. Units under the controller have slope "
            f"{controller.min():.3f} to {controller.max():.3f} (beta {result.beta:g}) up to correlation "
            f"{result.correlations[-1]:g}"
        ),
    )

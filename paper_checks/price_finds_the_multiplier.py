"""Does a price of traffic, raised while the budget is exceeded, find the multiplier of the theory?

Rule: units answer to the price by their own entropy gain, or by their degrees; nobody chooses beta. Confirmed
if the 95 % intervals over seeds of price over predicted price and of traffic over budget lie within 1 % of 1
for both; refuted if any lies outside; undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.population_balance import Result

CLAIM = (
    "Local units and one price, adjusted by the excess of traffic over its budget, come to the constrained "
    "maximum of entropy: the price is the budget's multiplier beta."
)
PAPER = "this project's construction (dual ascent) on the entropy problem of arXiv 2510.01263"
SOURCES = ("population_balance",)
OWN_THEORY = True

CASES = ("price_on_rate", "price_degree")
TOLERANCE = 0.01


def check(result: Result) -> CheckResult:
    """Compare price and traffic with multiplier and budget."""
    rows = [result.cases.index(case) for case in CASES]
    observed = np.concatenate([result.price_error[rows], result.traffic_ratio[rows] - 1.0])
    ends = np.concatenate([result.price_error_interval[rows], result.traffic_ratio_interval[rows] - 1.0])
    if (ends[:, 0] > TOLERANCE).any() or (ends[:, 1] < -TOLERANCE).any():
        verdict = REFUTED
    elif (np.abs(ends) <= TOLERANCE).all():
        verdict = CONFIRMED
    else:
        verdict = UNDECIDED
    words = [f"{o:+.4%} [{low:+.4%}, {high:+.4%}]" for o, (low, high) in zip(observed, ends, strict=True)]
    worst = int(np.argmax(np.abs(observed)))
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=TOLERANCE,
        observed=float(observed[worst]),
        interval=(float(ends[worst, 0]), float(ends[worst, 1])),
        verdict=verdict,
        note=(
            f"largest relative error; n = {result.n_seeds} populations each, 95 % intervals over seeds. "
            f"Units that answer by on-rates: price {words[0]}, traffic {words[2]}; by degrees: price "
            f"{words[1]}, traffic {words[3]}"
        ),
    )

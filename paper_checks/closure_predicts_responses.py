"""Does the Gaussian closure say which on-rates rise and fall when links of a trained network are cut?

Rule: layers are given the measured mean and covariance of their inputs, cuts of a tenth and of half of a
unit's links, at random and the weakest, incoming and outgoing, finite form. Confirmed if of every kind of cut
the 95 % intervals over networks of the share of right signs (of changes beyond three standard errors) and of
the rank correlation lie above 0.8; refuted if one lies below; undecided otherwise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bbtheory.fit.uncertainty import mean_interval
from paper_checks._intervals import within
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments.response_closure import Result

CLAIM = (
    "Changes of on-rates after cuts follow from the moments of Gaussian pre-activations, in sign and rank."
)
PAPER = "this project's derivation (respond), for the local linear response of arXiv 2510.01263"
SOURCES = ("response_closure",)
OWN_THEORY = True

LEAST = 0.8


def check(result: Result) -> CheckResult:
    """Take signs and ranks kind by kind."""
    groups: dict[str, list[dict]] = {}
    for row in result.response_rows:
        if row["closure"] == "measured" and row["form"] == "finite":
            name = f"{row['actuator']}, {row['order']} {row['share']:.0%}, layer {row['layer']}"
            groups.setdefault(name, []).append(row)
    found = {}
    for name, rows in groups.items():
        for number in ("sign", "spearman"):
            mean, (low, high) = mean_interval(np.array([row[number] for row in rows], float))
            found[number, name] = float(mean), float(low), float(high)
    worst = min(found, key=lambda key: found[key][0])
    errors = [row["relative_error"] for rows in groups.values() for row in rows]
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"above {LEAST}",
        observed=found[worst][0],
        interval=found[worst][1:],
        verdict=within([(low, high) for _, low, high in found.values()], LEAST, math.inf),
        note=(
            f"lowest of {len(found)}: {worst[0]} of {worst[1]}, mean and 95 % interval over "
            f"{result.accuracy.size} networks. In size the closure is off by {np.nanmedian(errors):.0%} in "
            f"the median, {np.nanmax(errors):.0%} at most"
        ),
    )

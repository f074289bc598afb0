"""Do the steps to fit a DNF under Budgeted Broadcast grow as W log W with the width W?

Rule: W is hidden units, terms or literals (what the paper means is not known); b is the exponent of steps ~
(W ln W)^b. A reading fits if the 95 % interval of b under Budgeted Broadcast contains 1 and not 0. Refuted
if in no reading it does; confirmed if one fits in which no pruning does not (b without pruning above 1, and
the paired difference below 0): the budget then removes a barrier; else undecided: the growth is there
without the budget. An O() is a bound: whether b <= 1 is in the note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.dnf_steps_to_fit import Result

CLAIM = "Budgeted Broadcast removes an optimisation barrier: it fits a DNF of width W in O(W log W) steps."
PAPER = "arXiv 2510.01263, theorem 10 and figure 4c; known second-hand, the meaning of W is not"
SOURCES = ("dnf_steps_to_fit",)


def check(result: Result) -> CheckResult:
    """Compare the exponents of every reading under the budget and without it."""
    bb, none = result.methods.index("bb"), result.methods.index("none")
    fits, own = [], []
    for r, reading in enumerate(result.readings):
        _, low, high = result.exponent[r, bb]
        if low <= 1 <= high and low > 0:
            fits.append(reading)
            if result.exponent[r, none, 1] > 1 and result.exponent_less[r, none, 2] < 0:
                own.append(reading)
    undetermined = bool(np.isnan(result.exponent[:, bb, 1]).any())
    if own:
        verdict = CONFIRMED
    elif fits or undetermined:
        verdict = UNDECIDED
    else:
        verdict = REFUTED
    told = []
    for r, reading in enumerate(result.readings):
        each = ", ".join(
            "{} {:.2f} [{:.2f}, {:.2f}]".format(method, *result.exponent[r, m])
            for m, method in enumerate(result.methods)
            if method != "idle"
        )
        best = result.laws[int(result.error[r, bb].argmin())]
        told.append(f"{reading}: {each}; of the plain laws {best} is nearest")
    first = result.readings.index(fits[0]) if fits else 0
    mean, low, high = result.exponent[first, bb]
    bounded = [r for i, r in enumerate(result.readings) if result.exponent[i, bb, 2] <= 1]
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="b = 1 under the budget, above 1 without it",
        observed=None if np.isnan(mean) else float(mean),
        interval=None if np.isnan(low) else (float(low), float(high)),
        verdict=verdict,
        note=(
            f"b in W = {result.readings[first]}, 95 % intervals by resampling "
            f"n = {len(result.steps[0])} seeds. "
            + ". ".join(told)
            + f". As a bound (b <= 1, whole interval) it holds in W = {', '.join(bounded) or 'none'}"
        ),
    )

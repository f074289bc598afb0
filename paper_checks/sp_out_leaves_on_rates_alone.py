"""Does cutting outgoing links (SP-out) leave a unit's own on-rate as it is?

Rule: on-rates are exact, from the truth table, before and after a cut in trained feed-forward networks, no
training in between. Confirmed if no cut changes the unit's own on-rate at all, while on-rates behind it do
change; refuted if any own on-rate changes; undecided if nothing behind changes either: then nothing was cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bbtheory.fit.uncertainty import mean_interval
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.actuator_response import Result

CLAIM = "SP-out, masking a unit's outgoing weights, lowers its fan-out and leaves its on-rate alone."
PAPER = "arXiv 2510.01263, the two actuators (to first order); known from its README and summaries"
SOURCES = ("actuator_response",)


def check(result: Result) -> CheckResult:
    """Look for any change of an own on-rate, and of those behind."""
    own, behind = (result.groups.index(f"out first {who}") for who in ("own", "behind"))
    largest = result.of("trained", "largest")
    n = int(result.of("trained", "n")[own].sum())
    if largest[own].max() > 0:
        verdict = REFUTED
    elif largest[behind].max() > 0:
        verdict = CONFIRMED
    else:
        verdict = UNDECIDED
    order = result.of("trained", "spearman_finite")[behind]
    spearman, (low, high) = mean_interval(mean_interval(order.reshape(-1, order.shape[-1]))[0])
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=float(largest[own].max()),
        interval=None,
        verdict=verdict,
        note=(
            f"largest change of an own on-rate over {n} cuts in {result.accuracy.size} networks: without "
            f"feedback nothing else is possible at once; training on can move it later. Behind, on-rates "
            f"change by up to {largest[behind].max():.3f}, in the order predicted with rank correlation "
            f"{spearman:.3f} [{low:.3f}, {high:.3f}]"
        ),
    )

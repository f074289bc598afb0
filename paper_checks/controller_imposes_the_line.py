"""Does the degree controller put a network on XOR on the line it is given, whatever it learns?

Rule: with k = d0 + L/beta set at every refresh, the fit of fan-out (SP-out) and of fan-in (SP-in) against the
log-odds that the rule sees must give back beta. Confirmed if for both actuators the mean slope over seeds and
its 95 % interval lie within 10 % of beta and the 95 % interval of the share of networks called balanced lies
above one half; refuted if for either one the interval of the slope lies outside 10 %, or that of the share
below one half; undecided otherwise. The line is imposed here: this judges the machinery, not the paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.balance_xor import Result

CLAIM = "Degrees set by k = d0 + L(a)/beta lie on the line of slope beta while the network learns."
PAPER = "this project's reading of the degree controller of arXiv 2510.01263"
SOURCES = ("balance_xor",)
OWN_THEORY = True

ARMS = ("controller out", "controller in")
# rounding to whole links and clips move a least-squares slope by a few per cent
TOLERANCE = 0.1


def check(result: Result) -> CheckResult:
    """Compare slopes under the controller with its beta."""
    slopes = {arm: result.interval(arm, "slope", "average") / result.beta for arm in ARMS}
    shares = {arm: result.interval(arm, "balanced", "average") for arm in ARMS}
    inside = [low >= 1 - TOLERANCE and high <= 1 + TOLERANCE for _, low, high in slopes.values()]
    outside = [high < 1 - TOLERANCE or low > 1 + TOLERANCE for _, low, high in slopes.values()]
    if all(inside) and all(low > 0.5 for _, low, _ in shares.values()):
        verdict = CONFIRMED
    elif any(outside) or any(high < 0.5 for _, _, high in shares.values()):
        verdict = REFUTED
    else:
        verdict = UNDECIDED
    worst = max(ARMS, key=lambda arm: abs(slopes[arm][0] - 1.0))
    each = ", ".join(
        f"{arm} {slopes[arm][0]:.3f} [{slopes[arm][1]:.3f}, {slopes[arm][2]:.3f}], balanced in "
        f"{shares[arm][0]:.2f} of the networks"
        for arm in ARMS
    )
    fresh = result.interval("controller out", "slope") / result.beta
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=float(slopes[worst][0]),
        interval=(float(slopes[worst][1]), float(slopes[worst][2])),
        verdict=verdict,
        note=(
            f"slope/beta, mean and 95 % interval over {result.numbers.shape[-1]} seeds, on-rates as the rule "
            f"sees them: {each}. Measured afresh, with what learning has moved since, SP-out gives "
            f"{fresh[0]:.2f} [{fresh[1]:.2f}, {fresh[2]:.2f}]"
        ),
    )

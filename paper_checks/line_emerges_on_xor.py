"""Does fan-out become a line in log-odds on XOR when only the traffic threshold cuts links?

Rule: two laws describe fan-outs of the first hidden layer in every network that the threshold pruned: the
best of all lines in log-odds, chosen afterwards, and the threshold's own arithmetic without a choice,
floor(tau/a) where links come back and floor(tau/max a) where they do not. Of each, the share of units
within one link; their difference, own law less line, is averaged over these networks, seed by seed,
on-rates measured afresh. The second instrument is the fit of bbtheory: the share of these networks it calls
balanced less that it calls hyperbolic. Refuted if the 95 % intervals over seeds of both say that it is not
the line, confirmed if both say that it is; undecided where they disagree or leave it open, or if the fit
finds either law in most networks cut at random. Networks whose degrees the controller sets are not judged:
there the line is put in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bbtheory.fit.uncertainty import mean_interval
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.balance_xor import Result

CLAIM = (
    "Pruning by the traffic threshold makes a network that learns XOR settle on the selectivity-audience "
    "balance, a straight line of fan-out against ln((1-a)/a)."
)
PAPER = (
    "arXiv 2510.01263, section 5.1, XOR with SP-out; known from summaries and reviews, which do not say "
    "whether the threshold or the controller set the fan-outs"
)
SOURCES = ("balance_xor",)

MOST_BY_CHANCE = 0.5  # share of random networks with a law beyond which the control has failed


def check(result: Result) -> CheckResult:
    """Compare the best line with the threshold's own law, by units and by the fit."""
    arms = [arm for arm, tau in zip(result.arms, result.tau, strict=True) if np.isfinite(tau)]
    gains = []
    for arm in arms:
        own = "peak_share" if arm.startswith("ratchet") else "hyperbola_share"
        gains.append(result.of(arm, own) - result.of(arm, "line_share"))
    gain, _ = mean_interval(np.array(gains))
    mean, (low, high) = mean_interval(gain)
    leans = [result.of(arm, "balanced") - result.of(arm, "hyperbolic") for arm in arms]
    lean, (least, most) = mean_interval(mean_interval(np.array(leans))[0])
    null = max(result.interval("random", name)[0] for name in ("balanced", "hyperbolic"))
    if null > MOST_BY_CHANCE or not np.isfinite(low):
        verdict = UNDECIDED
    elif low > 0 and most < 0:
        verdict = REFUTED
    elif high < 0 and least > 0:
        verdict = CONFIRMED
    else:
        verdict = UNDECIDED
    each = ", ".join(f"{arm} {mean_interval(g)[0]:+.3f}" for arm, g in zip(arms, gains, strict=True))
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="a share below 0: the line describes more units",
        observed=float(mean),
        interval=(float(low), float(high)),
        verdict=verdict,
        note=(
            f"share of units within one link of tau/a less that of the best line, mean and 95 % interval "
            f"over {gain.size} seeds; by arm: {each}. The fit calls {lean:+.2f} "
            f"[{least:+.2f}, {most:+.2f}] more of them balanced than hyperbolic. {_fits(result, arms)}"
        ),
    )


def _fits(result: Result, arms: list[str]) -> str:
    """Say what the fit of bbtheory makes of them, and of exact hyperbolas at the same on-rates."""

    def share(number: str, view: str) -> float:
        return float(np.mean([result.of(arm, number, view) for arm in arms]))

    parts = [
        f"{view} on-rates: line {share('balanced', view):.2f}, hyperbola {share('hyperbolic', view):.2f} "
        f"(exact hyperbolas: {share('exact_hyperbola_balanced', view):.2f}, "
        f"{share('exact_hyperbola_hyperbolic', view):.2f})"
        for view in result.views
    ]
    r_squared, _ = mean_interval(np.concatenate([result.of(arm, "r_squared") for arm in arms]))
    return (
        f"A line fitted to them has R^2 {r_squared:.2f} in the mean, which shows no more than that. "
        "Verdicts of the fit as shares of all networks, " + "; ".join(parts)
    )

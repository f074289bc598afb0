"""Where does the threshold rule alone bring a population: to equal traffic, or to the balance line?

Rule: the judge is ``fit_balance`` on the units of simulated populations that obey only a k <= tau, as a
ratchet on fan-outs, with regrowth, or by cutting fan-ins. Confirmed if under each of the three at least 95 %
of the populations are called hyperbolic; refuted if under any at least half are called balanced; undecided
otherwise, and where the judge finds a law in shuffled units more often than its level of 1 % explains
(binomial, 99.9 %).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.population_balance import Result

CLAIM = (
    "Cutting the weakest link while a_i k_i > tau, and nothing else, leads to k_i = min(D, floor(tau/a_i)): "
    "equal traffic, a hyperbola in the on-rate, and not the line log((1-a)/a) = beta k."
)
PAPER = (
    "this project's derivation (derive_threshold_degree) for the threshold rule of arXiv 2510.01263, "
    "which names that rule beside the balance"
)
SOURCES = ("population_balance",)
OWN_THEORY = True

CASES = ("threshold_out", "threshold_regrow", "threshold_in")
MOST = 0.95
JUDGE_LEVEL, JUDGE_TAIL = 0.01, 0.001


def check(result: Result) -> CheckResult:
    """Count what the populations under a threshold are called."""
    rows = [result.cases.index(case) for case in CASES]
    hyperbolic = np.array([np.mean([v == "hyperbolic" for v in result.verdicts[i]]) for i in rows])
    balanced = np.array([np.mean([v == "balanced" for v in result.verdicts[i]]) for i in rows])
    n_false, n_shuffled, judge_holds = false_alarms(result)
    if (balanced >= 0.5).any():
        verdict = REFUTED
    elif judge_holds and (hyperbolic >= MOST).all():
        verdict = CONFIRMED
    else:
        verdict = UNDECIDED
    leads = "; ".join(
        f"{case} {result.lead[i]:.0f} [{result.lead_interval[i][0]:.0f}, {result.lead_interval[i][1]:.0f}]"
        for case, i in zip(CASES, rows, strict=True)
    )
    regrown = result.cases.index("threshold_regrow")
    ratchet = result.cases.index("threshold_out")
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"hyperbolic in {MOST:.0%} of populations",
        observed=float(hyperbolic.min()),
        interval=None,
        verdict=verdict,
        note=(
            f"smallest share called hyperbolic under the three forms of the rule, n = {result.n_seeds} "
            f"populations each; AICc of hyperbola less line, 95 % over seeds: {leads}. Mean degree less "
            f"floor(tau/a), links: {result.degree_error[regrown]:.3f} with regrowth, "
            f"{result.degree_error[ratchet]:.2f} as a ratchet, which keeps the largest estimate. Shuffled "
            f"units called either: {n_false} of {n_shuffled}"
        ),
    )


def false_alarms(result: Result) -> tuple[int, int, bool]:
    """Return how many shuffled populations are given a law, of how many, and whether chance explains it."""
    from scipy.stats import binom

    words = [word for row in result.shuffled_verdicts for word in row]
    n_false = sum(word in ("balanced", "hyperbolic") for word in words)
    return n_false, len(words), bool(binom.sf(n_false - 1, len(words), JUDGE_LEVEL) > JUDGE_TAIL)

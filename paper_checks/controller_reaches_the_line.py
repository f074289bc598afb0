"""Does the degree controller bring a population to the fixed point that the theory predicts, on the line?

Rule: populations whose fan-ins are set, to which on-rates answer, and populations whose fan-outs are set.
Confirmed if of each at least 95 % are called balanced by ``fit_balance``, and the mean degree, less what
noise explains, is within 3 standard errors of the predicted fixed point; refuted if it is not, or fewer than
half are called balanced; undecided otherwise. That units lie on the line is imposed by the rule, not
discovered; where on it they come to rest when on-rates answer is what the theory says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.population_balance import Result

CLAIM = (
    "Setting k_i = d0 + log((1-a_i)/a_i)/beta at every refresh brings units to the point where the line "
    "crosses their own response."
)
PAPER = "this project's derivation (refresh_map, refresh_noise) for the controller of arXiv 2510.01263"
SOURCES = ("population_balance",)
OWN_THEORY = True

CASES = ("controller_in", "controller_out")
MOST = 0.95
STANDARD_ERRORS = 3.0


def check(result: Result) -> CheckResult:
    """Compare where controlled populations rest with where they should."""
    rows = [result.cases.index(case) for case in CASES]
    balanced = np.array([np.mean([v == "balanced" for v in result.verdicts[i]]) for i in rows])
    surprise = np.abs(result.surprise[rows])
    if (surprise > STANDARD_ERRORS).any() or (balanced < 0.5).any():
        verdict = REFUTED
    elif (surprise <= STANDARD_ERRORS).all() and (balanced >= MOST).all():
        verdict = CONFIRMED
    else:
        verdict = UNDECIDED

    def with_ends(name: str, i: int, digits: int) -> str:
        low, high = getattr(result, f"{name}_interval")[i]
        return f"{getattr(result, name)[i]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    words = "; ".join(
        f"{case}: degree off by {with_ends('degree_error', i, 4)} links, of which noise explains "
        f"{result.predicted_degree_error[i]:.4f}, slope {with_ends('slope', i, 5)}"
        for case, i in zip(CASES, rows, strict=True)
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=STANDARD_ERRORS,
        observed=float(surprise.max()),
        interval=None,
        verdict=verdict,
        note=(
            f"largest distance from the fixed point in standard errors; n = {result.n_seeds} populations "
            f"each, 95 % intervals over seeds. {words}. Called balanced: {balanced.min():.0%} at least"
        ),
    )

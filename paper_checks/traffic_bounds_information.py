"""Does traffic bound the information that weakly correlated units send, I <= C/(2 sigma^2) sum a k?

Rule: weakly correlated is a correlation of at most 0.1 (this project's reading; the paper gives no number).
The information of small populations through one noisy output is computed exactly; a bound must hold for all.
Refuted if a population of equal weights exceeds it by more than the error of the integral; confirmed if none
does over all sizes, on-rates and noises tried.
"""

from __future__ import annotations

import numpy as np

from bbtheory.theory.information import bound_information
from bbtheory.theory.pairwise import match_code
from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = "The information that weakly correlated units send is at most (C/2 sigma^2) sum_i a_i k_i."
PAPER = "arXiv 2510.01263, corollary 2 under assumptions A1 to A3, with the reconstruction of its proof"
SOURCES = ()

WEAK = 0.1
SIZES, ON_RATES, NOISES = (2, 4, 8), (0.02, 0.1, 0.3), (1.0, 5.0, 20.0)


def check(correlation: float = WEAK) -> CheckResult:
    """Compare information with the bound."""
    ratios = {}
    for n in SIZES:
        rho = np.full((n, n), correlation)
        np.fill_diagonal(rho, 1.0)
        for a in ON_RATES:
            code = match_code(np.full(n, a), correlation=rho)
            for noise in NOISES:
                found = bound_information(np.ones((1, n)), noise_sd=noise, code=code)
                sure = found.information - abs(found.information_error)
                ratios[n, a, noise] = sure / found.traffic_form, found.information / found.corrected
    worst = max(ratios, key=lambda key: ratios[key][0])
    n, a, noise = worst
    ratio, corrected = ratios[worst]
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="1 at most",
        observed=ratio,
        interval=None,
        verdict=REFUTED if ratio > 1 else CONFIRMED,
        note=(
            f"largest information over the bound of {len(ratios)} populations, correlation {correlation:g}: "
            f"{n} units, on-rate {a:g}, equal weights on one output, sigma {noise:g}. Dropping correlations "
            "is no inequality; with the largest eigenvalue of the correlations as a factor the ratio is "
            f"{corrected:.3f}"
        ),
    )

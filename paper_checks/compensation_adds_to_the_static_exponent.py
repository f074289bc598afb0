"""Do survivors that grow between rounds of pruning change the exponent as 1/alpha_0 = 1/alpha_static + nu?

Rule: fixed magnitudes with a power tail are pruned round by round, a share q kept; what is left grows by the
factor 1 + e each round, nu = ln(1+e)/ln(1/q). Confirmed if the exponent of density against the largest
removed magnitude is the predicted one, in every setting, within 4 standard errors of sampling the tail;
refuted if not.
"""

from __future__ import annotations

import numpy as np

from bbtheory.theory.compensation import compensated_exponent, compensation_exponent
from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = "Compensation by the survivors adds to the inverse of the static exponent."
PAPER = "this project's derivation, for iterative pruning as in arXiv 2504.05349 v3"
SOURCES = ()
OWN_THEORY = True

SETTINGS = ((0.5, 0.9, 0.0), (0.5, 0.9, 0.05), (1.5, 0.9, 0.05), (1.5, 0.8, 0.1), (3.0, 0.9, 0.02))
N_WEIGHTS, LAST = 100_000, 0.005
ERRORS = 4.0


def check(*, compensated: bool = True) -> CheckResult:
    """Prune, and compare exponents with the formula (or, as a control, with the static exponent)."""
    rng = np.random.default_rng(0)
    worst, parts = 0.0, []
    for static, kept, growth in SETTINGS:
        magnitude = np.sort((1.0 - rng.random(N_WEIGHTS)) ** (-1.0 / static))
        thresholds, densities, scale = [], [], 1.0
        while magnitude.size > LAST * N_WEIGHTS:
            n_cut = magnitude.size - round(kept * magnitude.size)
            thresholds.append(scale * magnitude[n_cut - 1])
            magnitude = magnitude[n_cut:]
            densities.append(magnitude.size / N_WEIGHTS)
            scale *= 1.0 + growth
        window = np.array(densities) <= 0.5
        x, y = np.log(np.array(densities)[window]), np.log(np.array(thresholds)[window])
        slope = -float(np.polyfit(x, y, 1)[0])  # 1/alpha_0
        nu = compensation_exponent(growth, kept) if compensated else 0.0
        expected = compensated_exponent(static, nu)
        # the static part of the inverse exponent has the error of a tail of LAST N magnitudes
        error = 1.0 / static / np.sqrt(LAST * N_WEIGHTS)
        worst = max(worst, abs(slope - 1.0 / expected) / error)
        parts.append(f"{static:g}, {kept:g}, {growth:g}: {1 / slope:.3f} ({expected:.3f})")
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"{ERRORS:g} standard errors at most",
        observed=worst,
        interval=None,
        verdict=CONFIRMED if worst <= ERRORS else REFUTED,
        note=(
            "largest distance of 1/alpha_0 in standard errors of the tail; static exponent, share kept, "
            f"growth: exponent (predicted) {'; '.join(parts)}"
        ),
    )

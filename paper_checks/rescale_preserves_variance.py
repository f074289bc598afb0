"""Does scaling what is left by sqrt(I/k) preserve the variance of a pre-activation?

Rule: units with I = 512 normal weights keep k of them; inputs are independent with equal variances, so the
variance is the sum of squared weights. Confirmed if, for links kept by size (the rule's own choice), the 95 %
interval over units of the mean ratio of variances, after over before, lies within 10 % of 1 at every density
of the paper's sweep; refuted if at one it lies outside. Links kept at random are in the note.
"""

from __future__ import annotations

import numpy as np

from bbtheory.fit.uncertainty import mean_interval
from paper_checks._intervals import within
from paper_checks.protocol import CheckResult

CLAIM = "Rescaling by sqrt(I/k) keeps the variance of pre-activations when links are cut."
PAPER = "arXiv 2510.01263, algorithm 4 of the revised version (variance-preserving), as a review reports it"
SOURCES = ()

DENSITIES = (0.9, 0.7, 0.5, 0.3)
TOLERANCE = 0.1
N_UNITS, N_INPUTS = 200, 512


def check(*, kept_by: str = "size") -> CheckResult:
    """Compare variances after and before, for links kept by size (or, as a control, at random)."""
    rng = np.random.default_rng(0)
    squares = rng.standard_normal((N_UNITS, N_INPUTS)) ** 2
    ratios = {"size": ratio(-np.sort(-squares, axis=1)), "random": ratio(squares)}
    judged = {density: mean_interval(values) for density, values in ratios[kept_by].items()}
    intervals = [(float(low), float(high)) for _, (low, high) in judged.values()]
    worst = max(judged, key=lambda density: abs(float(judged[density][0]) - 1.0))
    mean, (low, high) = judged[worst]
    each = "; ".join(
        f"kept by {how} " + ", ".join(f"{d:g}: {values.mean():.2f}" for d, values in found.items())
        for how, found in ratios.items()
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=float(mean),
        interval=(float(low), float(high)),
        verdict=within(intervals, 1 - TOLERANCE, 1 + TOLERANCE),
        note=(
            f"ratio of variances, mean over {N_UNITS} units of normal weights, 95 %, at density {worst:g}; "
            f"by density, {each}"
        ),
    )


def ratio(squares: np.ndarray) -> dict[float, np.ndarray]:
    """Return variance after over before where the first links of each unit are kept, unit by unit."""
    found = {}
    for density in DENSITIES:
        k = round(density * N_INPUTS)
        found[density] = N_INPUTS / k * squares[:, :k].sum(1) / squares.sum(1)
    return found

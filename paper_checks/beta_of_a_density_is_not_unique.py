"""Does a density have one d0, but more than one beta where units are on more than half of the time?

Rule: random on-rates and densities. Confirmed if every density has one d0; if it has one beta wherever all
on-rates are at most one half; and if some density has two where on-rates go beyond; each root checked against
the degrees it gives. Refuted if not.
"""

from __future__ import annotations

import numpy as np

from bbtheory import match_density, target_degree
from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = (
    "The controller meets a density at one d0; at one beta only if no unit is on more than half of the time."
)
PAPER = "this project's derivation (derive_density_monotonicity) for the controller of arXiv 2510.01263"
SOURCES = ()
OWN_THEORY = True

N_POPULATIONS, MOST, D0 = 60, 64.0, 20.0
ROUNDING = 1e-9


def check(*, low: float = 0.01, middle: float = 0.5, high: float = 0.99) -> CheckResult:
    """Count the roots, for on-rates up to ``middle`` and up to ``high``."""
    rng = np.random.default_rng(0)
    most = {middle: 0, high: 0}
    of_d0, off = 0, 0.0
    for top in most:
        for _ in range(N_POPULATIONS):
            a = rng.uniform(low, top, 12)
            beta = float(np.exp(rng.uniform(-3.0, 1.0)))
            degree = target_degree(a, beta=beta, d0=D0, max_degree=MOST)
            density = float(degree.mean() / MOST)
            if not 0.0 < density < 1.0:
                continue
            of_d0 = max(of_d0, match_density(a, density, beta=beta, max_degree=MOST).roots.size)
            found = match_density(a, density, solve_for="beta", d0=D0, max_degree=MOST)
            most[top] = max(most[top], found.roots.size)
            for root in found.roots.tolist():
                met = target_degree(a, beta=root, d0=D0, max_degree=MOST).mean() / MOST
                off = max(off, abs(float(met) - density))
    holds = of_d0 == 1 and most[middle] == 1 and most[high] > 1 and off <= ROUNDING
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="1 d0; 1 beta up to one half, more beyond",
        observed=f"{of_d0} d0; {most[middle]} beta up to {middle:g}, {most[high]} up to {high:g}",
        interval=None,
        verdict=CONFIRMED if holds else REFUTED,
        note=f"most roots over {N_POPULATIONS} populations each; densities are off by {off:.1g} at most",
    )

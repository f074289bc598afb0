"""Do weights that feel the pressure alone leave when the theory says, whatever Adam's eps?

Rule: a weight whose input is always 0 has no gradient; its presence falls by rate/(1 + eps N/gamma) a step,
and with uniform starts the share that is left follows. Confirmed if no share, at any epoch of any run, is
further from the prediction than sampling explains: by the inequality of Dvoretzky, Kiefer, Wolfowitz and
Massart at 99 % for all runs together; refuted if one is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

if TYPE_CHECKING:
    from experiments.adam_eps_artefact import Result

CLAIM = "Adam's eps delays a weight without gradient by the factor 1 + eps N/gamma on a real network."
PAPER = "this project's derivation, for the settings of the code of arXiv 2504.05349 (Adam, eps = 1e-8)"
SOURCES = ("adam_eps_artefact",)
OWN_THEORY = True

BY_CHANCE = 0.01


def check(result: Result) -> CheckResult:
    """Take the largest distance from the prediction."""
    n_runs = sum(row.n for row in result.rows)
    n_weights = min(row.n_idle for row in result.rows)
    tolerance = math.sqrt(math.log(2 * n_runs / BY_CHANCE) / (2 * n_weights))
    worst = max(result.rows, key=lambda row: row.idle_error)
    each = ", ".join(f"gamma {r.pressure:.2g}, eps {r.eps:g}: delay {r.delay:.3g}" for r in result.rows)
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"below {tolerance:.4f}",
        observed=worst.idle_error,
        interval=None,
        verdict=CONFIRMED if worst.idle_error <= tolerance else REFUTED,
        note=(
            f"largest distance of the share left from its prediction, over epochs, {worst.n} seeds and "
            f"{len(result.rows)} settings, {worst.n_idle} weights: {each}"
        ),
    )

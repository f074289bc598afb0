"""Does |w_i|^2 <= C k_i hold with one C at every fan-out, once outgoing weights are rescaled by sqrt(D/k)?

Rule: units with normal weights keep their k largest, rescaled; the C that they need is |w_i|^2/k. Without the
rescale the largest squared weight serves every fan-out; one C is read as: within a factor of 2 of that.
Confirmed if at every fan-out down to D/32 the 95 % interval over units of the mean ratio ends below 2;
refuted if at one it begins above.
"""

from __future__ import annotations

import numpy as np

from bbtheory.fit.uncertainty import mean_interval
from paper_checks._intervals import within
from paper_checks.protocol import CheckResult

CLAIM = "Outgoing weights have an energy of at most C k_i, one C for all fan-outs, under the rescale."
PAPER = "arXiv 2510.01263, assumption A3 with its variance-preserving rescale; a review doubts it at small k"
SOURCES = ()

FACTOR = 2.0
N_UNITS, N_OUTPUTS = 200, 512
FAN_OUTS = (512, 256, 128, 64, 32, 16)


def check(*, rescaled: bool = True) -> CheckResult:
    """Compare the energy per link with the largest one, with the rescale (or, as a control, without)."""
    rng = np.random.default_rng(0)
    squares = -np.sort(-(rng.standard_normal((N_UNITS, N_OUTPUTS)) ** 2), axis=1)
    judged = {}
    for k in FAN_OUTS:
        scale = N_OUTPUTS / k if rescaled else 1.0
        judged[k] = mean_interval(scale * squares[:, :k].mean(1) / squares[:, 0])
    intervals = [(float(low), float(high)) for _, (low, high) in judged.values()]
    worst = max(judged, key=lambda k: float(judged[k][0]))
    mean, (low, high) = judged[worst]
    each = ", ".join(f"{k}: {float(m):.2g}" for k, (m, _) in judged.items())
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"below {FACTOR:g}",
        observed=float(mean),
        interval=(float(low), float(high)),
        verdict=within(intervals, 0.0, FACTOR),
        note=(
            f"C over the largest squared weight, mean of {N_UNITS} units of normal weights, 95 %, fan-out "
            f"{worst}; by fan-out {each}. Any weights have some C; judged is whether one serves all fan-outs"
        ),
    )

"""Does noise in the tracked on-rate give rare units too many links, by (1-2a) Var/(2 chi^2) nats of log-odds?

Rule: on-rates estimated from n binary samples, exactly averaged over their distribution (estimates of 0 and 1
left out). Confirmed if the bias of the log-odds is that expression within 5 % wherever at least 200 on- and
off-events are expected; refuted if not.
"""

from __future__ import annotations

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = "E L(a_hat) - L(a) = (1 - 2a) Var(a_hat)/(2 a^2 (1-a)^2), for small variances."
PAPER = "this project's derivation (derive_noise_bias) for the controller of arXiv 2510.01263"
SOURCES = ()
OWN_THEORY = True

ON_RATES = (0.01, 0.05, 0.2, 0.4, 0.8)
EVENTS = 200  # of the next order a share of some 1/EVENTS is left
TOLERANCE = 0.05


def check(sign: float = 1.0) -> CheckResult:
    """Compare the exact mean with the formula times ``sign``."""
    from scipy.special import betaln

    worst = 0.0
    for a in ON_RATES:
        n = round(EVENTS / min(a, 1 - a))
        count = np.arange(1, n)
        weight = np.exp(
            -np.log(n + 1.0)
            - betaln(count + 1, n - count + 1)
            + count * np.log(a)
            + (n - count) * np.log1p(-a)
        )
        mean = float(weight @ (np.log(n - count) - np.log(count))) / float(weight.sum())
        bias = mean - np.log((1 - a) / a)
        variance = a * (1 - a) / n
        expected = sign * (1 - 2 * a) * variance / (2 * (a * (1 - a)) ** 2)
        worst = max(worst, abs(bias / expected - 1.0))
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=0.0,
        observed=worst,
        interval=None,
        verdict=CONFIRMED if worst <= TOLERANCE else REFUTED,
        note=f"largest relative distance, on-rates {', '.join(map(str, ON_RATES))}, {EVENTS} rarer events",
    )

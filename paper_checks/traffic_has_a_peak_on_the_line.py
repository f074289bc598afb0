"""Is there a largest traffic on the balance line, beyond which a threshold never cuts?

Rule: traffic a L(a)/beta is scanned over on-rates. Confirmed if its maximum is 0.27846/beta at a = 0.21781,
to five digits for every beta; refuted if not.
"""

from __future__ import annotations

import numpy as np

from bbtheory.theory.entropy import inactivity_log_odds
from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = "On the balance line no unit's traffic exceeds 0.2785/beta: there the threshold tau and beta meet."
PAPER = "this project's answer to reviewers of arXiv 2510.01263, who asked how tau and beta are related"
SOURCES = ()
OWN_THEORY = True

PEAK, ON_RATE = 0.2784645, 0.2178117  # W(1/e) and W/(1+W), W of Lambert
BETAS = (0.01, 0.3, 1.0, 10.0)
DIGITS = 1e-5
_N = 2_000_001  # on-rates in (0, 1/2); near its maximum traffic is flat to 1e-12


def check(peak: float = PEAK) -> CheckResult:
    """Scan the line for its largest traffic."""
    a = np.linspace(0.0, 0.5, _N + 2)[1:-1]
    odds = inactivity_log_odds(a)
    found = {}
    for beta in BETAS:
        traffic = a * odds / beta
        at = int(traffic.argmax())
        found[beta] = beta * float(traffic[at]), float(a[at])
    off = max(max(abs(t / peak - 1), abs(rate / ON_RATE - 1)) for t, rate in found.values())
    largest, rate = found[1.0]
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=peak,
        observed=largest,
        interval=None,
        verdict=CONFIRMED if off <= DIGITS else REFUTED,
        note=f"largest beta t over {_N} on-rates, at a = {rate:.5f}; largest relative distance {off:.1g}",
    )

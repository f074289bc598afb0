"""Does the density converge under a held pressure?

Rule: of each optimizer of presence and schedule of the weights' rate, the course that AICc chooses and the
drift over the last tenth of the epochs. Confirmed if everywhere most seeds have a course with a limit and the
density drifts by 5 % at most; refuted if anywhere most have none and it drifts by more; undecided otherwise.
Residuals of a course are not independent, so its choice describes and tests nothing: hence the drift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.convergence_at_fixed_pressure import Result

CLAIM = "Under a held pressure the density of a network converges."
PAPER = "arXiv 2504.05349 v3, figure 2 (convergence at gamma = 2); no criterion is public"
SOURCES = ("convergence_at_fixed_pressure",)

STILL = 0.05
NO_LIMIT = "no_limit"


def check(result: Result) -> CheckResult:
    """Look for a limit and for a drift."""
    ends, goes_on = [], []
    for row in result.rows:
        counts = {c: int(n) for n, c in (part.split() for part in row.courses.split(", ") if " " in part)}
        endless = 2 * counts.get(NO_LIMIT, 0) > row.n
        limited = 2 * sum(n for c, n in counts.items() if c != NO_LIMIT) > row.n
        ends.append(limited and abs(row.drift) <= STILL)
        goes_on.append(endless and abs(row.drift) > STILL)
    verdict = UNDECIDED
    if any(goes_on):
        verdict = REFUTED
    elif ends and all(ends):
        verdict = CONFIRMED
    worst = max(result.rows, key=lambda row: abs(row.drift))
    each = "; ".join(
        f"{r.flow}, {r.schedule}: {r.courses}, density {r.density:.4f}, limit {r.limit:.4f}, drift "
        f"{r.drift:+.1%}"
        for r in result.rows
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"a limit, and a drift of {STILL:.0%} at most",
        observed=worst.drift,
        interval=None,
        verdict=verdict,
        note=f"largest drift over the last tenth of the epochs, n = {worst.n} seeds. {each}",
    )

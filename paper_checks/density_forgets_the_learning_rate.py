"""Is the density that a held pressure leads to the same for all learning rates of the weights?

Rule: confirmed if for every rate the 95 % interval of the paired ratio of densities, to that at the first
rate, lies within 10 % of 1; refuted if one lies wholly outside at a rate whose density has come to rest (a
drift of 5 % at most over the last tenth of the epochs, there and at the first rate); undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._intervals import within
from paper_checks.protocol import REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.learning_rate_convergence import Result

CLAIM = "Networks under one pressure converge to one density, whatever the learning rate of their weights."
PAPER = "arXiv 2504.05349 v3, figure 5 (MNIST, several learning rates); its numbers are not public"
SOURCES = ("learning_rate_convergence",)

TOLERANCE, STILL = 0.1, 0.05


def check(result: Result) -> CheckResult:
    """Compare densities with that at the first rate."""
    first, *rows = result.rows
    bounds = 1 - TOLERANCE, 1 + TOLERANCE
    rested = [row for row in rows if max(abs(row.drift), abs(first.drift)) <= STILL]
    verdict = within([(row.ratio_low, row.ratio_high) for row in rows], *bounds)
    if verdict == REFUTED and within([(r.ratio_low, r.ratio_high) for r in rested], *bounds) != REFUTED:
        verdict = UNDECIDED
    worst = max(rows, key=lambda row: abs(row.ratio - 1))
    each = ", ".join(
        f"{r.learning_rate:g}: {r.ratio:.3f} [{r.ratio_low:.3f}, {r.ratio_high:.3f}], drift {r.drift:+.1%}"
        for r in rows
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=worst.ratio,
        interval=(worst.ratio_low, worst.ratio_high),
        verdict=verdict,
        note=(
            f"density over that at {first.learning_rate:g} (drift {first.drift:+.1%}), paired, 95 %, n = "
            f"{worst.n} seeds, gamma = {result.pressure:g}; by rate {each}"
        ),
    )

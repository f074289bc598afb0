"""Do 2:4 weights gain back time on hardware that has them?

Rule: products of the matrices of a feed-forward part with 2:4 weights against dense ones, interleaved.
Confirmed if for every matrix every pair is faster with 2:4 weights; refuted if for every matrix every pair is
slower; undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.overhead_at_scale import Result

CLAIM = "With 2:4 weights a feed-forward part computes faster than with dense ones."
PAPER = "arXiv 2510.01263, revised version: a structured N:M variant; no timing is public"
SOURCES = ("overhead_at_scale",)


def check(result: Result) -> CheckResult:
    """Compare products with 2:4 and with dense weights."""
    rows = result.products
    verdict = UNDECIDED
    if rows and all(row.low > 1 for row in rows):
        verdict = CONFIRMED
    elif rows and all(row.high < 1 for row in rows):
        verdict = REFUTED
    worst = min(rows, key=lambda row: row.ratio, default=None)
    each = "; ".join(
        f"{r.layer} {r.n_out} x {r.n_in}: {r.ratio:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in rows
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="above 1",
        observed=worst.ratio if worst else None,
        interval=(worst.low, worst.high) if worst else None,
        verdict=verdict,
        note=f"time with dense over 2:4 weights, median and extremes of pairs: {each or 'none timed'}",
    )

"""Is the cost of masks, on-rates and refreshes a few per cent of a dense step at a billion parameters?

Rule: of each actuator, medians over steps of one network. Confirmed if a step takes at most 4 % more than the
dense one and a refresh at most 1 % of the steps between two; refuted if either is exceeded although even the
fastest masked and the slowest dense step do; undecided otherwise, or with fewer than 7 repeats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.overhead_at_scale import Result

CLAIM = "At a billion parameters masks and on-rates cost at most 4 % of a step, refreshes 1 % of the steps."
PAPER = "this project's promise; open questions of arXiv 2510.01263: the scale of billions, real latency"
SOURCES = ("overhead_at_scale",)

STEP, REFRESH, FEWEST = 1.04, 0.01, 7


def check(result: Result) -> CheckResult:
    """Compare steps and refreshes with what is promised."""
    rows = result.overhead
    worst = max(rows, key=lambda row: row.ratio)
    refresh = max(row.refresh_share for row in rows)
    sure = any(
        row.masked_low / row.dense_high > STEP
        or row.refresh_share * row.refresh_low / row.refresh_s > REFRESH
        for row in rows
    )
    if min(row.n for row in rows) < FEWEST:
        verdict = UNDECIDED
    elif worst.ratio <= STEP and refresh <= REFRESH:
        verdict = CONFIRMED
    else:
        verdict = REFUTED if sure else UNDECIDED
    each = "; ".join(
        f"{row.part}: step {row.ratio - 1:+.1%}, refresh {row.refresh_share:.2%}, most memory x "
        f"{row.masked_bytes / row.dense_bytes:.2f}"
        for row in rows
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=STEP,
        observed=worst.ratio,
        interval=(worst.masked_low / worst.dense_high, worst.masked_high / worst.dense_low),
        verdict=verdict,
        note=(
            f"masked over dense step, medians and extremes of {worst.n}, {worst.n_parameters:,} parameters, "
            f"{worst.device}: {each}"
        ),
    )

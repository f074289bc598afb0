"""Does a pressure that is steered by the measured density end at the density that was asked for?

Rule: confirmed if every run of the feedback, at every density, ends within 2 % of it and within one weight
after `finish`; refuted if not; undecided with fewer than 5 seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.target_density import Result

CLAIM = "Under a steered pressure a network ends within 2 % of its density, and at it after finish."
PAPER = "this project's feedback on the pressure of arXiv 2504.05349"
SOURCES = ("target_density",)

CLOSE, ONE_WEIGHT, MIN_SEEDS = 0.02, 1, 5


def check(result: Result) -> CheckResult:
    """Take the run that ends furthest from its density."""
    rows = [row for row in result.rows if row.method == "feedback"]
    worst = max(rows, key=lambda row: row.worst)
    meets = all(row.worst <= CLOSE and abs(row.n_off) <= ONE_WEIGHT for row in rows)
    verdict = CONFIRMED if meets else REFUTED
    if min(row.n for row in rows) < MIN_SEEDS:
        verdict = UNDECIDED
    each = ", ".join(
        f"{r.wanted:g}: {r.off:+.2%}, furthest {r.worst:.2%}, {r.n_close} of {r.n} close" for r in rows
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=CLOSE,
        observed=worst.worst,
        interval=None,
        verdict=verdict,
        note=(
            f"relative distance from the density, by density: {each}. Most weights off after finish: "
            f"{max(abs(row.n_off) for row in rows)}"
        ),
    )

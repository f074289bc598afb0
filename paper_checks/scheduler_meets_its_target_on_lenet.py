"""Does the authors' scheduler of the pressure end at the density it aims at, on LeNet-300-100?

Rule: as `scheduler_meets_its_target`: confirmed if for every target the 95 % interval of the final density
over the target lies within 10 % of 1, refuted if one lies wholly outside, undecided otherwise. The runs
contain the authors' phase of regrowth, which the toy network's do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._intervals import within
from paper_checks.protocol import CheckResult
from paper_checks.scheduler_meets_its_target import CLAIM, TOLERANCE

if TYPE_CHECKING:
    from experiments.target_density import Result

__all__ = ["CLAIM", "PAPER", "SOURCES", "check"]

PAPER = "arXiv 2504.05349, the authors' code, PressureSchedulerPolicy1 with their settings for LeNet"
SOURCES = ("target_density",)


def check(result: Result) -> CheckResult:
    """Look at the ratio of final density and target."""
    rows = [row for row in result.rows if row.method == "authors"]
    verdict = within([(1 + row.off_low, 1 + row.off_high) for row in rows], 1 - TOLERANCE, 1 + TOLERANCE)
    worst = max(rows, key=lambda row: abs(row.off))
    each = ", ".join(
        f"{r.wanted:g}: {1 + r.off:.3f} [{1 + r.off_low:.3f}, {1 + r.off_high:.3f}]" for r in rows
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=1 + worst.off,
        interval=(1 + worst.off_low, 1 + worst.off_high),
        verdict=verdict,
        note=f"final density over target, 95 % intervals over n = {worst.n} seeds; by target {each}",
    )

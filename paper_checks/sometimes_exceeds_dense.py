"""Does a network at moderate density do better than the dense one under Budgeted Broadcast, on any task?

Rule: moderate is a density of at least 0.5. An arm is a task and an actuator; its effect on the task's main
metric is the paired difference to the dense network over seeds. The claim says sometimes: confirmed if some
arm's interval lies above 0, refuted if all lie below 0, at 95 % for all arms together (Bonferroni); else
undecided. The mean over tasks, each relative to its dense network, is in the note with its interval over
tasks, the unit that a claim on tasks in general is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bbtheory.fit.uncertainty import mean_interval
from paper_checks._contests import PUBLISHED, TASKS, Effect, effects_of, sides, together, told
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = "At moderate density networks under Budgeted Broadcast sometimes exceed their dense counterparts."
PAPER = (
    "arXiv 2510.01263, abstract (sometimes exceeding dense baselines) and figure 6; best density 0.5 to 0.7; "
    "smaller networks and other data here"
)
SOURCES = TASKS

MODERATE = 0.5


def check(*results: Result) -> CheckResult:
    """Look for an arm above dense, over all tasks."""
    named = dict(zip(SOURCES, results, strict=True))
    wide = together(effects_of("exceeds dense", named, least_density=MODERATE))
    arms, above, below = sides(wide)
    verdict = UNDECIDED
    if above:
        verdict = CONFIRMED
    elif wide and len(below) == len(arms):
        verdict = REFUTED
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="one arm above dense at least",
        observed=f"{len(above)} of {len(arms)} arms above dense, {len(below)} below",
        interval=None,
        verdict=verdict,
        note=f"{told(wide, above, below)}. {_relative_to_dense(named, wide)}",
    )


def _relative_to_dense(results: Mapping[str, Result], effects: list[Effect]) -> str:
    """Say the mean effect relative to dense over tasks, actuator by actuator."""
    parts = []
    for method in PUBLISHED:
        shares = []
        for task, result in results.items():
            dense = next((row.main for row in result.rows if row.method == "dense"), np.nan)
            own = [e.mean for e in effects if e.arm.startswith(f"{task} {method} ")]
            if own and dense:
                shares.append(float(np.mean(own)) / abs(dense))
        if len(shares) > 1:
            mean, (low, high) = mean_interval(np.array(shares))
            parts.append(f"{method} {mean:+.1%} [{low:+.1%}, {high:+.1%}], n = {len(shares)} tasks")
    return "Relative to dense, mean over tasks: " + ("; ".join(parts) or "of too few tasks")

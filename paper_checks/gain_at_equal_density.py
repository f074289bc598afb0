"""Is a task learnt better under Budgeted Broadcast than under gradual magnitude pruning at equal density?

Rule: the three tasks that the abstract names, in kind: speech, identification, synapses. An arm is a task, an
actuator and a density; its effect on the main metric is the paired difference to gradual magnitude over
seeds, positive where it is better, at 95 % for all arms together (Bonferroni). Confirmed if on every task
some arm supports and no arm contradicts; refuted if more arms contradict than support; else undecided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import PUBLISHED, Effect, sides, together, told
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = "At matched sparsity Budgeted Broadcast does better in speech, identification and synapse detection."
PAPER = (
    "arXiv 2510.01263, abstract; smaller networks and other data here, no gain is quoted in what is public"
)
SOURCES = ("spoken_digits", "identification", "synapses")

LOWER_IS_BETTER = ("wer",)


def check(*results: Result) -> CheckResult:
    """Count the arms that support and that contradict, task by task."""
    effects = []
    for task, result in zip(SOURCES, results, strict=True):
        seeds = {(row.method, row.wanted): row.n for row in result.rows}
        for row in result.metrics:
            if row.role == "main" and row.method in PUBLISHED:
                sign = -1.0 if row.metric in LOWER_IS_BETTER else 1.0
                arm, n = f"{task} {row.method} at {row.wanted:g}", seeds[row.method, row.wanted]
                effects.append(Effect.of(arm, "magnitude", n, row, "less_magnitude", sign))
    wide = together(effects)
    arms, support, contradict = sides(wide)
    verdict = UNDECIDED
    if len(contradict) > len(support):
        verdict = REFUTED
    elif not contradict and all(any(arm.startswith(f"{task} ") for arm in support) for task in SOURCES):
        verdict = CONFIRMED
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="an arm of each task supports, none contradicts",
        observed=f"{len(support)} of {len(arms)} arms support, {len(contradict)} contradict",
        interval=None,
        verdict=verdict,
        note=told(wide, support, contradict),
    )

"""Does a sparse language model under Budgeted Broadcast do better on rare words than the dense one?

Rule: an arm is an actuator at a density, from the contest on text and from the ablation of the actuators; its
effect is the paired fall of held-out perplexity on rare words, dense less sparse, at 95 % for all arms
together (Bonferroni). Confirmed if some arms support and none contradicts; refuted if more contradict than
support; undecided otherwise, and while records have fewer than 10 seeds: the question was asked after 5 had
been seen, which may not answer it alone. Whether a gain is due to the rule is another question: what equal
degrees and gradual magnitude gain is in the note.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from paper_checks._contests import PUBLISHED, Effect, judge
from paper_checks.protocol import UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments import actuator_ablation
    from experiments._contest_records import Result

CLAIM = "On rare words sparse networks under Budgeted Broadcast exceed their dense counterparts."
PAPER = (
    "arXiv 2510.01263, gains on what is rare, sometimes above dense; training on text is this project's task"
)
SOURCES = ("language_model", "actuator_ablation")

MIN_SEEDS = 10  # twice those that had been seen


def check(contest: Result, ablation: actuator_ablation.Result) -> CheckResult:
    """Count the arms below and above the dense perplexity on rare words."""
    seeds = {(row.method, row.wanted): row.n for row in contest.rows}
    effects = [
        Effect.of(
            f"{row.method} at {row.wanted:g} (contest)",
            "dense",
            seeds[row.method, row.wanted],
            row,
            "less_dense",
            sign=-1.0,
        )
        for row in contest.metrics
        if row.role == "tail" and row.method in PUBLISHED
    ]
    effects += [
        Effect.of(f"{row.method} at {row.wanted:g} (ablation)", "dense", row.n, row, "less_dense", sign=-1.0)
        for row in ablation.rows
        if row.method in PUBLISHED
    ]
    tails = [row for row in contest.metrics if row.role == "tail" and row.method == "magnitude"]
    others = ", ".join(
        f"{name} {-row.less_dense:+.2f} [{-row.less_dense_high:+.2f}, {-row.less_dense_low:+.2f}] at "
        f"{row.wanted:g}"
        for name, rows in (("equal degrees", ablation.rows), ("magnitude", tails))
        for row in rows
        if (row.method == "bb_uniform" or name == "magnitude") and math.isfinite(row.less_dense)
    )
    found = judge(CLAIM, PAPER, effects, note=f"What others gain, one by one: {others or 'unknown'}")
    if min((effect.n for effect in effects), default=0) < MIN_SEEDS:
        note = f"asked after these seeds had been seen, {MIN_SEEDS} at least decide; {found.note}"
        return dataclasses.replace(found, verdict=UNDECIDED, note=note)
    return found

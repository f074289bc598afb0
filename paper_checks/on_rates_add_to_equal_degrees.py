"""Does setting degrees by on-rates do better on what is rare than giving every unit the same degree?

The reviewers' question what the traffic adds to choosing weights unit by unit.

Rule: an arm is a task, an actuator and a density; its effect, positive where the rule is better, is the
paired difference to equal degrees at the same density, in accuracy on rare classes of images and in
perplexity on rare words. At 95 % for all arms together (Bonferroni): confirmed if some arms support and none
contradicts; refuted if more contradict than support; undecided otherwise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from paper_checks._contests import PUBLISHED, Effect, judge
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments import actuator_ablation
    from experiments._contest_records import Result

CLAIM = "Degrees that follow on-rates do better on what is rare than equal degrees at the same density."
PAPER = "asked by reviewers of arXiv 2510.01263: what traffic adds; the ablation is this project's"
SOURCES = ("image_classification", "actuator_ablation")


def check(images: Result, text: actuator_ablation.Result) -> CheckResult:
    """Count the arms above and below equal degrees."""
    effects = [
        Effect(f"images {c.method} at {c.wanted:g}", c.against, c.n, c.effect, c.low, c.high)
        for c in images.claims
        if c.claim == "tail gain" and c.against == "bb_uniform" and c.method in PUBLISHED
    ]
    effects += [
        Effect.of(f"text {row.method} at {row.wanted:g}", "bb_uniform", row.n, row, "effect", sign=-1.0)
        for row in text.rows
        if row.method in PUBLISHED and math.isfinite(row.effect)
    ]
    return judge(CLAIM, PAPER, effects)

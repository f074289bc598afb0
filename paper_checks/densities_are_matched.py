"""Do all methods of a comparison have the density they are compared at, to within one link of a layer?

Rule: the largest distance of any layer of any network from its density, over all contests, the two actuators
alone and together, and LeNet at every refresh. Confirmed if it is one link at most, refuted if more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from paper_checks._contests import TASKS
from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

if TYPE_CHECKING:
    from experiments import actuator_ablation, lenet_density
    from experiments._contest_records import Result

CLAIM = "Methods are compared at densities matched to within one link of every layer."
PAPER = "this project's promise; how the comparisons of arXiv 2510.01263 were matched is not public"
SOURCES = ("actuator_ablation", "lenet_density", *TASKS)
OWN_THEORY = True

ONE_LINK = 1.0


def check(ablation: actuator_ablation.Result, lenet: lenet_density.Result, *contests: Result) -> CheckResult:
    """Take the largest gap of all."""
    gaps = {"actuator_ablation": max(row.worst_gap for row in ablation.rows if math.isfinite(row.worst_gap))}
    gaps["lenet_density"] = lenet.worst_gap
    gaps |= {name: found.worst_gap for name, found in zip(TASKS, contests, strict=True)}
    worst = max(gaps.values())
    each = ", ".join(f"{name} {gap:.2f}" for name, gap in gaps.items())
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=ONE_LINK,
        observed=worst,
        interval=None,
        verdict=CONFIRMED if worst <= ONE_LINK else REFUTED,
        note=f"largest distance of a layer from its density, links: {each}",
    )

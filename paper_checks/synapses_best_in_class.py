"""Is Budgeted Broadcast ahead in both measures of synapse detection, F1 and the area under precision-recall?

Rule: an arm is an actuator at a density; its effects are the paired differences in F1 and in average
precision (the area) to gradual magnitude at the same density and to the dense network, over seeds. State of
the art means ahead: an arm supports the claim if all four lie above 0, and contradicts it if one lies below,
at 95 % for all effects together (Bonferroni). Confirmed if some arms support and none contradicts; refuted if
more contradict than support; else undecided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks._contests import PUBLISHED, Effect, judge
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = "Budgeted Broadcast attains the best F1 and area under precision-recall in synapse detection."
PAPER = (
    "arXiv 2510.01263, abstract, under its own protocol; network, volume and numbers are not public; a small "
    "network here"
)
SOURCES = ("synapses",)

METRICS = ("f1", "average_precision")


def check(result: Result) -> CheckResult:
    """Count the arms that are ahead in both, and those that are behind in one."""
    seeds = {(row.method, row.wanted): row.n for row in result.rows}
    effects = []
    for row in result.metrics:
        if row.metric in METRICS and row.method in PUBLISHED:
            arm, n = f"{row.method} at {row.wanted:g}", seeds[row.method, row.wanted]
            effects += [
                Effect.of(arm, f"{rival} in {row.metric}", n, row, f"less_{rival}")
                for rival in ("dense", "magnitude")
            ]
    return judge(CLAIM, PAPER, effects)

"""Do more units fall silent for good under the rule than under gradual magnitude at the same density?

The rule takes links from units that are often on and gives them to units that never are.

Rule: an arm is an actuator at a density; its effect is the difference in the share of units never on in the
held-out samples, mean over layers and seeds, to magnitude, task by task; intervals are over tasks, for
records hold no more of dead units than means. At 95 % for all arms together (Bonferroni): confirmed if some
arms support and none contradicts; refuted if more contradict than support; undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bbtheory.fit.uncertainty import mean_interval
from paper_checks._contests import PUBLISHED, TASKS, Effect, judge
from paper_checks.protocol import CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

CLAIM = "Budgeted Broadcast leaves more units dead than magnitude pruning at the same density."
PAPER = "this project's caveat on the degree controller of arXiv 2510.01263"
SOURCES = TASKS


def check(*results: Result) -> CheckResult:
    """Compare shares of dead units over tasks."""
    dead = [{(row.method, row.wanted): row.dead for row in result.rows} for result in results]
    arms = {key for shares in dead for key in shares if key[0] in PUBLISHED}
    effects = []
    for method, wanted in sorted(arms):
        more = np.array(
            [
                shares.get((method, wanted), np.nan) - shares.get(("magnitude", wanted), np.nan)
                for shares in dead
            ]
        )
        mean, (low, high) = mean_interval(more)
        n = int(np.isfinite(more).sum())
        effects.append(
            Effect(f"{method} at {wanted:g}", "magnitude", n, float(mean), float(low), float(high))
        )
    note = "the seeds counted are tasks here"
    return judge(CLAIM, PAPER, effects, note=note)

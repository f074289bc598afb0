"""Is SP-in the better of the two actuators in the feed-forward layers of a Transformer?

Rule: perplexity on rare words under SP-in less that under SP-out, at the same density, from the effects of
each against equal degrees; the interval of the difference takes the sum of their half-widths at 95 %, wider
than needed. Confirmed if it lies below 0, refuted if above, undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.actuators_are_complementary import total
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.actuator_ablation import Result

CLAIM = "In feed-forward layers SP-in generally does better than SP-out."
PAPER = "arXiv 2510.01263, known second-hand"
SOURCES = ("actuator_ablation",)


def check(result: Result) -> CheckResult:
    """Compare the two actuators."""
    density = result.interactions[0].wanted
    rows = {row.method: row for row in result.rows if row.wanted == density}
    effects = [(r.effect, r.effect_low, r.effect_high) for r in (rows["bb_in"], rows["bb_out"])]
    mean, low, high = total(*effects, sign=-1.0)
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="below 0",
        observed=mean,
        interval=(low, high),
        verdict=CONFIRMED if high < 0 else REFUTED if low > 0 else UNDECIDED,
        note=(
            f"perplexity on rare words, SP-in less SP-out, density {density:g}, 95 % at least, "
            f"n = {rows['bb_in'].n} seeds; a small decoder on one text"
        ),
    )

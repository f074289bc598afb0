"""Are the dense networks, which pruned ones are compared with, as good as others report of such networks?

A weak dense network would make every comparison with it too easy.

Rule: a control is a network and data set with a published figure. Confirmed if no control is worse than its
figure, by the 95 % interval of one more run of ours; refuted if one is; undecided if one has no interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.dense_controls import Result

CLAIM = "The dense networks of the comparisons do as well as others report of such networks."
PAPER = "this project's control of its comparisons"
SOURCES = ("dense_controls",)


def check(result: Result) -> CheckResult:
    """Count the controls that are worse than known."""
    verdicts = [row.verdict for row in result.rows]
    if "worse" in verdicts:
        verdict = REFUTED
    elif "undecided" in verdicts:
        verdict = UNDECIDED
    else:
        verdict = CONFIRMED
    each = "; ".join(
        f"{row.control} {row.metric} {row.mean:.4f} [{row.low:.4f}, {row.high:.4f}], known {row.known:g} "
        f"({row.source}), n = {row.n}"
        for row in result.rows
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="no control worse than known",
        observed=f"{verdicts.count('worse')} of {len(verdicts)} worse",
        interval=None,
        verdict=verdict,
        note=f"mean and where one more run is expected at 95 %: {each}",
    )

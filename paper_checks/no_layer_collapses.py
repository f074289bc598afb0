"""Does every layer keep a path through it when a network is pruned to half a per cent under one pressure?

Rule: no run of LeNet-300-100 under the authors' scheduler or under feedback may end with a layer without a
weight, at any density. Confirmed if none does over at least 5 seeds; refuted if one does; undecided with
fewer seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.target_density import Result

CLAIM = "One pressure for all weights leaves no layer empty, down to half a per cent of the weights."
PAPER = "arXiv 2504.05349, one pressure without quotas of layers; the authors' code has a bottleneck LeNet"
SOURCES = ("target_density",)

MIN_SEEDS = 5


def check(result: Result) -> CheckResult:
    """Count the runs with an empty layer."""
    rows = [row for row in result.rows if row.method in ("feedback", "authors")]
    empty = sum(row.n_empty for row in rows)
    n = sum(row.n for row in rows)
    verdict = REFUTED if empty else UNDECIDED
    if not empty and min(row.n for row in rows) >= MIN_SEEDS:
        verdict = CONFIRMED
    least = min(rows, key=lambda row: row.wanted)
    rivals = [row for row in result.rows if row.method == "magnitude"]
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="0 runs",
        observed=f"{empty} of {n} runs",
        interval=None,
        verdict=verdict,
        note=(
            f"runs with an empty layer, densities down to {least.wanted:g}, where the layers keep "
            f"{least.fc1:.4f}, {least.fc2:.4f}, {least.fc3:.4f} ({least.method}); under magnitude "
            f"{sum(row.n_empty for row in rivals)} of {sum(row.n for row in rivals)}"
        ),
    )

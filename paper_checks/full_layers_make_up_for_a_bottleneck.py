"""Can the last layer do with fewer weights when the layers before it stay full?

Rule: for each pressure on all layers, the arm in which the last layer alone is pruned is taken at the two
numbers of weights of that layer nearest to this one's, one not larger and one not smaller, for a comparison
may not favour what it shows. It is higher if it is so with no more weights, and lower if with no fewer, the
95 % intervals apart. Confirmed if at some pressure its accuracy is higher and at none lower; refuted if at
some it is lower and at none higher; undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.bottleneck import Result

CLAIM = "Full layers before a bottleneck make up for it: the last layer alone can be pruned further."
PAPER = (
    "arXiv 2504.05349, bottleneck LeNet of the authors' code (only fc3 is pruned); its result is not public"
)
SOURCES = ("bottleneck",)


def check(result: Result) -> CheckResult:
    """Compare accuracies at equal numbers of weights of the last layer."""
    alone = [row for row in result.rows if row.arm == "last_layer"]
    higher, lower, shown = 0, 0, []
    for row in (row for row in result.rows if row.arm == "all_layers" and row.fc3_weights > 0):
        fewer = [other for other in alone if 0 < other.fc3_weights <= row.fc3_weights]
        more = [other for other in alone if other.fc3_weights >= row.fc3_weights]
        near = []
        if fewer:
            near.append(max(fewer, key=lambda o: o.fc3_weights))
            higher += near[-1].low > row.high
        if more:
            near.append(min(more, key=lambda o: o.fc3_weights))
            lower += near[-1].high < row.low
        if near:
            each = " and ".join(f"{other.accuracy:.3f} with {other.fc3_weights:.0f}" for other in near)
            shown.append(f"{each} against {row.accuracy:.3f} with {row.fc3_weights:.0f}")
    verdict = UNDECIDED
    if higher and not lower:
        verdict = CONFIRMED
    elif lower and not higher:
        verdict = REFUTED
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="higher at some pressure, lower at none",
        observed=f"higher at {higher} of {len(shown)}, lower at {lower}",
        interval=None,
        verdict=verdict,
        note=(
            f"n = {min((row.n for row in result.rows), default=0)} seeds, 95 %; accuracy and weights of the "
            f"last layer, alone against all layers: {'; '.join(shown) or 'none to compare'}"
        ),
    )

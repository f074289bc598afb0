"""Do the first and the last layer keep more of their weights under Hyperflux than the network as a whole?

Rule: densities of layers at the same densities of the network, LeNet-300-100. Confirmed if at every density
the 95 % intervals of the first and of the last layer lie above the network's; refuted if for one of the two
they lie below it at most densities; undecided otherwise. Magnitude at the same densities is in the note.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.layerwise_density import Result

CLAIM = "Under pressure the first and the last layer keep a larger share of their weights than the network."
PAPER = "arXiv 2504.05349, histograms of layer-wise sparsity; their numbers are not public"
SOURCES = ("layerwise_density",)


def check(result: Result) -> CheckResult:
    """Count the densities at which each outer layer lies above and below the network."""
    rows = [r for r in result.rows if r.method == "hyperflux" and math.isfinite(r.fc1_low + r.fc3_low)]
    above = {layer: sum(getattr(r, f"{layer}_low") > r.wanted for r in rows) for layer in ("fc1", "fc3")}
    below = {layer: sum(getattr(r, f"{layer}_high") < r.wanted for r in rows) for layer in ("fc1", "fc3")}
    if rows and all(n == len(rows) for n in above.values()):
        verdict = CONFIRMED
    elif rows and any(2 * n > len(rows) for n in below.values()):
        verdict = REFUTED
    else:
        verdict = UNDECIDED
    parts = []
    for method in ("hyperflux", "magnitude"):
        own = [r for r in result.rows if r.method == method and math.isfinite(r.fc1)]
        shown = ", ".join(
            f"{r.wanted:g}: " + "/".join(f"{share / r.wanted:.2f}" for share in (r.fc1, r.fc2, r.fc3))
            for r in own
        )
        parts.append(f"{method} {shown}")
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"both above at all {len(rows)} densities",
        observed="; ".join(f"{layer} above at {above[layer]}, below at {below[layer]}" for layer in above),
        interval=None,
        verdict=verdict,
        note=(
            f"n = {max((r.n_there for r in rows), default=0)} runs, 95 % intervals; densities of the three "
            f"layers over the network's, by density: {'; '.join(parts)}"
        ),
    )

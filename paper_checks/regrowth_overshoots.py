"""Does the density rise in the phase of regrowth, beyond the density that pruning aimed at?

Rule: the ratio of the density after regrowth to that when the pressure ends, for each scaler above 0 and
decay of the flow's learning rate. Confirmed if every 95 % interval over seeds lies above 1 and the control,
a scaler of 0, leaves every mask as it is; refuted if one lies below 1 or holds nothing above it; undecided
otherwise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.regrowth_phase import Result

CLAIM = "Weights regrow when the pressure ends: the final density exceeds the one pruning aimed at."
PAPER = (
    "arXiv 2504.05349, two-phase runs: the authors' logs of ResNet-50 at a target of 1 % go from 0.93 to "
    "1.43 % (scaler 10), 1.01 to 1.96 (20), 1.01 to 3.12 (50)"
)
SOURCES = ("regrowth_phase",)


def check(result: Result) -> CheckResult:
    """Look at densities after and before regrowth."""
    rows = [row for row in result.rows if row.scaler > 0]
    still = all(row.overshoot == 1 for row in result.rows if row.scaler == 0)
    finite = all(math.isfinite(row.low + row.high) for row in rows)
    if any(row.high <= 1 for row in rows):
        verdict = REFUTED
    elif rows and still and finite and all(row.low > 1 for row in rows):
        verdict = CONFIRMED
    else:
        verdict = UNDECIDED
    least = min(rows, key=lambda row: row.overshoot)
    each = ", ".join(
        f"scaler {r.scaler:g}, decay {r.decay:g}: {r.overshoot:.3f} [{r.low:.3f}, {r.high:.3f}], over the "
        f"target {r.target_ratio:.2f}"
        for r in rows
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="above 1",
        observed=least.overshoot,
        interval=(least.low, least.high),
        verdict=verdict,
        note=(
            f"density after over before, 95 % over n = {least.n} seeds, target {result.target:g}: {each}. "
            f"Without a flow masks {'stay' if still else 'do not stay'}"
        ),
    )

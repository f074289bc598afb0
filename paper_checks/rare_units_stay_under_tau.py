"""Does the traffic of units that detect rare terms stay under tau, so that they are spared and others cut?

Rule: tau is the geometric middle of [p_rare k, p_common k), where perfect detectors of rare terms have 0.39
of it and those of common ones 2.5 times as much. Detectors are units of a trained, unpruned network whose
being on correlates with a term to 0.4 or more. Confirmed if the 95 % interval, over seeds, of the share of
rare detectors with traffic of at most tau lies above 0.95; refuted if it lies below; else undecided.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.rare_features_dnf import Result

CLAIM = (
    "The traffic of units that detect rare features stays under tau, so they are never cut; common ones are."
)
PAPER = "arXiv 2510.01263, didactic DNF task; known second-hand, its settings are not public"
SOURCES = ("rare_features_dnf",)

ARM = "rare.window.threshold.sp_out"
SHARE = 0.95


def check(result: Result) -> CheckResult:
    """Compare the traffic of detectors with tau before pruning, and their links after it."""
    mean = low = high = math.nan
    note = f"the record has no arm {ARM}"
    if ARM in result.arms:
        mean, low, high = result.interval("rare_under_tau", ARM, "none")
        a, a_low, a_high = result.interval("rare_on_rate", ARM, "none")
        p = result.term_probability[result.arms.index(ARM), 0]
        rare, common = (result.interval(f"{kind}_links", ARM, "bb") for kind in ("rare", "common"))
        plain = [result.interval(f"{kind}_links", ARM, "magnitude_global")[0] for kind in ("rare", "common")]
        note = (
            f"share of rare detectors under tau, 95 % interval over n = {result.numbers.shape[0]} seeds. A "
            f"trained unit is on more often than its term is true: {a:.2f} [{a_low:.2f}, {a_high:.2f}], not "
            f"{p:.2f}. At the end rare detectors have {rare[0]:.2f} [{rare[1]:.2f}, {rare[2]:.2f}] "
            f"of their links, common ones {common[0]:.2f} [{common[1]:.2f}, {common[2]:.2f}]; "
            f"with magnitude pruning at that density {plain[0]:.2f} and {plain[1]:.2f}"
        )
    if low > SHARE:
        verdict = CONFIRMED
    elif high < SHARE:
        verdict = REFUTED
    else:
        verdict = UNDECIDED
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"share > {SHARE}",
        observed=None if math.isnan(mean) else mean,
        interval=None if math.isnan(low) else (low, high),
        verdict=verdict,
        note=note,
    )

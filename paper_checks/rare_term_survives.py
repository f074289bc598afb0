"""Does a traffic budget keep rare terms of a DNF that magnitude and random pruning lose at the same density?

Rule: a term is kept if P(yes | only this term) - P(yes | no term) >= 0.9 at the end. Judged are the arms on
tasks with rare and common terms in which a rival loses some (keeps less than 95 % on average): every rule,
actuator and budget. An arm supports the claim if it keeps a larger share of the rare terms than the better of
two magnitude prunings and than the better of two random prunings, both paired intervals above 0; it
contradicts if one lies below 0. Intervals are at 95 % for all arms together (Bonferroni). Confirmed if some
arms support and none contradicts; refuted if more contradict than support; else undecided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.rare_features_dnf import Result

CLAIM = "At the same density Budgeted Broadcast keeps rare features that magnitude and random pruning lose."
PAPER = "arXiv 2510.01263, didactic DNF task; known second-hand, its settings are not public"
SOURCES = ("rare_features_dnf",)

LOST = 0.95
RIVALS = {
    "magnitude": ("magnitude_global", "magnitude_unit"),
    "random": ("random_global", "random_unit"),
}


def check(result: Result) -> CheckResult:
    """Count the arms that support and that contradict."""
    judged = []
    for arm in result.arms:
        task, level, *_ = arm.split(".")
        kept = {m: result.interval("rare_kept", arm, m)[0] for both in RIVALS.values() for m in both}
        # NaN: an arm that cut everything has no rival
        if task != "equal" and level != "idle" and np.nanmin([LOST, *kept.values()]) < LOST:
            judged.append(
                (arm, [max(both, key=lambda m: np.nan_to_num(kept[m])) for both in RIVALS.values()])
            )
    level = 1.0 - 0.05 / max(len(judged), 1)
    support, contradict, margins = [], [], []
    for arm, rivals in judged:
        found = [result.interval("rare_kept", arm, "bb", less=rival, level=level) for rival in rivals]
        margins.append(found[0][0])
        if all(low > 0 for _, low, _ in found):
            support.append(arm)
        elif any(high < 0 for _, _, high in found):
            contradict.append(arm)
    if support and not contradict:
        verdict = CONFIRMED
    elif len(contradict) > len(support):
        verdict = REFUTED
    else:
        verdict = UNDECIDED
    n_seeds = result.numbers.shape[0]
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="some arms support, none contradicts",
        observed=f"{len(support)} of {len(judged)} arms support, {len(contradict)} contradict",
        interval=None,
        verdict=verdict,
        note=(
            f"n = {n_seeds} seeds, intervals at {level:.2%} each. Share of rare terms kept, less that under "
            f"the better magnitude pruning: {_range(margins)} over arms. Supporting: {_listed(support)}; "
            f"contradicting: {_listed(contradict)}. {_floor(result)}"
        ),
    )


def _floor(result: Result) -> str:
    """Say what a floor of one link does, and whether traffic or the even spread of links does it."""
    told = []
    for arm in result.arms:
        if arm.split(".")[1:] == ["floor", "threshold", "sp_out"] and not arm.startswith("equal"):
            parts = [
                "{} {:+.2f} [{:+.2f}, {:+.2f}]".format(m, *result.interval("rare_kept", arm, "bb", less=m))
                for m in ("magnitude_global", "random_global", "uniform")
            ]
            told.append(f"{arm} against {', '.join(parts)}")
    if not told:
        return ""
    return (
        "A floor of one link, 95 %: "
        + "; ".join(told)
        + " (uniform: the same fan-out for all units, fewer links)"
    )


def _listed(arms: list[str]) -> str:
    return ", ".join(arms) or "none"


def _range(values: list[float]) -> str:
    return f"{np.nanmin(values):+.2f} to {np.nanmax(values):+.2f}" if values else "nothing"

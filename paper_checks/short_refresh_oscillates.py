"""Does refreshing too often make the degrees oscillate?

Rule: a population oscillates where successive refreshes are anticorrelated, or where a kick grows. Confirmed
if at the shortest interval any simulated population does so; refuted if none does, and those that do at other
intervals do so from some interval on; undecided if none ever does. Populations have real degrees or whole
links, and on-rates that follow at once or slowly; those with their loop open, a control, are left out. How
many links change per step, and the overshoot of a kick that on-rates follow slowly, are other matters: links
per step are in the note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.refresh_stability import Result

CLAIM = "Too short an interval between refreshes makes the degree controller oscillate."
PAPER = "second-hand accounts of arXiv 2510.01263; the statement's place in the paper is not known"
SOURCES = ("refresh_stability",)


def check(result: Result) -> CheckResult:
    """Look where populations oscillate along the axis of intervals."""
    closed = [i for i, variant in enumerate(result.variants) if variant != "open"]
    autocorrelation, churn = result.autocorrelation[closed], result.churn[closed]
    oscillates = (autocorrelation < 0) | (np.abs(result.growth[closed]) >= 1)
    # from the first interval at which one oscillates, it does at every longer one
    from_some_on = (np.diff(oscillates.astype(int), axis=-1) >= 0).all()
    if oscillates[..., 0].any():
        verdict = CONFIRMED
    elif oscillates.any() and from_some_on:
        verdict = REFUTED
    else:
        verdict = UNDECIDED
    first, last = autocorrelation[..., 0], autocorrelation[..., -1]
    shortest, longest = result.intervals[0], result.intervals[-1]
    quietest = result.intervals[churn.argmin(axis=-1)]
    busier = churn[..., 0] / churn.min(axis=-1)
    note = (
        f"least autocorrelation from refresh to refresh at {shortest:g} step(s), then least and largest of "
        f"{first.size} populations; "
        f"at {longest:g} steps it is {last.min():.2f} to {last.max():.2f}. A short interval costs churn: "
        f"{busier.min():.0f} to {busier.max():.0f} times as many links change per step as at the best one "
        f"({quietest.min():g} to {quietest.max():g} steps)"
    )
    if {"real", "whole"} <= set(result.variants):
        real, whole = (result.churn[result.variants.index(v), :, 0] for v in ("real", "whole"))
        note += (
            "; and whole links flicker between two degrees, most at the shortest, where they change "
            f"{(whole / real).min():.1f} to {(whole / real).max():.1f} times as often as real degrees"
        )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"autocorrelation < 0 at {shortest:g} step(s)",
        observed=float(first.min()),
        interval=(float(first.min()), float(first.max())),
        verdict=verdict,
        note=note,
    )

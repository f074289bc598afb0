"""Are the exponents of LeNet-300-100 those of the authors' curves?

Rule: of each family the exponent in the window over that of their curve. Theirs is one run, so the interval
is that for one more run of ours (95 %). Confirmed if for every family it lies within 20 % of 1; refuted if
for one it lies wholly outside; undecided otherwise, or with fewer than 5 seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from paper_checks._intervals import within
from paper_checks.protocol import UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.pruning_law_lenet import Result

CLAIM = "The exponent of a family of saliencies is a number that repeats on the same network and task."
PAPER = (
    "authors' later repository on the law of arXiv 2504.05349: LeNet-300-100, 5 % a step, magnitude 1.03 "
    "(largest removed) and 1.72 (mean of the kept), Taylor 0.588; read off their published figures, one run "
    "each; training between steps is this project's"
)
SOURCES = ("pruning_law_lenet",)

EXPONENTS = {"magnitude": 1.03, "mean magnitude": 1.72, "taylor": 0.588}
TOLERANCE, MIN_SEEDS = 0.2, 5


def check(result: Result) -> CheckResult:
    """Compare exponents with theirs."""
    return repeats(CLAIM, PAPER, result, EXPONENTS)


def repeats(claim: str, source: str, result: Result, claimed: Mapping[str, float]) -> CheckResult:
    """Judge the exponents of families, "mean X" being that against the mean saliency of the kept."""
    ratios, seeds = {}, []
    for name, theirs in claimed.items():
        row = result.row(name.removeprefix("mean "))
        if row is None:
            continue
        of = "mean_exponent" if name.startswith("mean ") else "exponent"
        mean, low, high = (getattr(row, f"{of}{end}") for end in ("", "_low", "_high"))
        half = 0.5 * (high - low) * math.sqrt(row.n + 1)  # one more run, not the mean
        ratios[name] = mean / theirs, (mean - half) / theirs, (mean + half) / theirs
        seeds.append(row.n)
    verdict = UNDECIDED
    if len(ratios) == len(claimed) and min(seeds) >= MIN_SEEDS:
        verdict = within([(low, high) for _, low, high in ratios.values()], 1 - TOLERANCE, 1 + TOLERANCE)
    worst = max(ratios.values(), key=lambda r: abs(r[0] - 1), default=None)
    each = ", ".join(f"{name} {m:.2f} [{low:.2f}, {high:.2f}]" for name, (m, low, high) in ratios.items())
    return CheckResult(
        claim=claim,
        source=source,
        predicted=1.0,
        observed=worst[0] if worst else None,
        interval=worst[1:] if worst else None,
        verdict=verdict,
        note=f"exponent over theirs, interval for one more run, n = {min(seeds, default=0)} seeds: {each}",
    )

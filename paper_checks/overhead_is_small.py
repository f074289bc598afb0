"""Is the cost of masks, on-rates and refreshes a few per cent of a dense training step?

Rule: for four layers of width 1024, batch 256, one thread; medians over interleaved pairs. Confirmed if a
step takes at most 4 % more than the dense one, a refresh every 10 steps adds at most 1 % under one actuator,
and masks take one byte a weight at most; refuted if one of these fails; undecided with fewer than 7 pairs.
Small networks and both actuators cost more: they are in the note. Timings are of one machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.bench_training_overhead import Result

CLAIM = (
    "Masks, on-rates and a refresh every 10 steps cost at most 5 % of the dense training of a wide network."
)
PAPER = "this project's promise; reviewers of arXiv 2510.01263 asked for the cost of averages and refreshes"
SOURCES = ("bench_training_overhead",)

STEP, REFRESH, BYTES, FEWEST = 0.04, 0.01, 1.0, 7


def check(result: Result) -> CheckResult:
    """Compare step, refresh and memory with what is promised."""
    steps = {r.case.removesuffix(", step"): r for r in result.rows if r.peer == "dense step"}
    refreshes = {r.case.removesuffix(", refresh"): r for r in result.rows if r.case.endswith(", refresh")}
    both = {r.case.split(", refresh of")[0]: r for r in result.rows if ", refresh of" in r.case}
    case = result.memory[0].case
    step, refresh = 1.0 / steps[case].ratio - 1.0, 1.0 / refreshes[case].ratio
    held = max(found.mask_bytes_per_weight for found in result.memory)
    if min(steps[case].n, refreshes[case].n) < FEWEST:
        verdict = UNDECIDED
    elif step <= STEP and refresh <= REFRESH and held <= BYTES:
        verdict = CONFIRMED
    else:
        verdict = REFUTED
    others = "; ".join(
        f"{name}: step {1 / steps[name].ratio - 1:+.1%}, refresh {1 / refreshes[name].ratio:.1%}, of both "
        f"actuators {1 / both[name].ratio:.1%}"
        for name in steps
    )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=STEP + REFRESH,
        observed=step + refresh,
        interval=None,
        verdict=verdict,
        note=(
            f"share of a dense step, medians of {steps[case].n} pairs; single pairs of steps range from "
            f"{1 / steps[case].high - 1:+.0%} to {1 / steps[case].low - 1:+.0%}. {others}. Masks: {held:g} "
            "bytes a weight"
        ),
    )

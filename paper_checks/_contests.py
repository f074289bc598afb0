"""What the checks on contests share: many effects at once, each with an interval that allows for the others.

A contest compares methods over few seeds, in many arms. The intervals of its record are Student's at 95 %,
one by one; here they are widened so that all of one check hold together at 95 % (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bbtheory.fit.uncertainty import mean_interval
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments._contest_records import Result

# every contest: a claim about tasks in general is judged over all of them
TASKS: tuple[str, ...] = (
    "image_classification",
    "spoken_digits",
    "identification",
    "change_detection",
    "synapses",
    "language_model",
)
PUBLISHED = ("bb_in", "bb_out", "bb_both")  # of the paper; other forms of the rule are this project's
LEVEL = 0.95
MOST = 0.5  # share of the arms that must support a claim about all of them
_RECORDED = 0.95  # level of the intervals in records


@dataclass(frozen=True)
class Effect:
    """An effect in favour of a claim where it is positive; ``n`` seeds, an interval at 95 %.

    Effects of one ``arm`` are against its rivals: it supports a claim by beating all of them.
    """

    arm: str
    against: str
    n: int
    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, arm: str, against: str, n: int, row: Any, name: str, sign: float = 1.0) -> Effect:
        """Return a number of a row as an effect, with its interval; ``sign`` -1 where lower is better."""
        mean, *ends = (sign * getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
        return cls(arm, against, n, mean, *ends[:: int(sign)])


def together(effects: Iterable[Effect], level: float = LEVEL) -> list[Effect]:
    """Return the effects, their intervals widened to hold together at a level; those that are NaN stay so.

    An effect without an interval (a network that broke down, or one seed) keeps its arm from supporting.
    """
    from scipy.special import stdtrit

    effects = list(effects)
    each = (1.0 - level) / max(len(_known(effects)), 1)
    wide = []
    for effect in effects:
        was, now = (stdtrit(effect.n - 1, 1.0 - 0.5 * miss) for miss in (1.0 - _RECORDED, each))
        half = 0.5 * (effect.high - effect.low) * float(now / was)
        wide.append(
            Effect(effect.arm, effect.against, effect.n, effect.mean, effect.mean - half, effect.mean + half)
        )
    return wide


def _known(effects: Iterable[Effect]) -> list[Effect]:
    """Return the effects that have an interval."""
    return [effect for effect in effects if math.isfinite(effect.low + effect.high)]


def sides(effects: Sequence[Effect]) -> tuple[list[str], list[str], list[str]]:
    """Return all arms, those that beat every rival, and those that are below one."""
    arms: dict[str, list[Effect]] = {}
    for effect in effects:
        arms.setdefault(effect.arm, []).append(effect)
    support = [arm for arm, own in arms.items() if all(effect.low > 0 for effect in own)]
    contradict = [arm for arm, own in arms.items() if any(effect.high < 0 for effect in own)]
    return list(arms), support, contradict


def weigh(support: Sequence[str], contradict: Sequence[str]) -> str:
    """Confirmed if some arms support and none contradicts; refuted if more contradict than support."""
    if support and not contradict:
        return CONFIRMED
    return REFUTED if len(contradict) > len(support) else UNDECIDED


def effects_of(
    claim: str, results: Mapping[str, Result], methods: Sequence[str] = PUBLISHED, least_density: float = 0.0
) -> list[Effect]:
    """Return a claim's recorded effects against rivals that are no form of the rule, task by task."""
    return [
        Effect(
            f"{task} {found.method} at {found.wanted:g}".strip(),
            found.against,
            found.n,
            found.effect,
            found.low,
            found.high,
        )
        for task, result in results.items()
        for found in result.claims
        if found.claim == claim
        and found.method in methods
        and not found.against.startswith("bb_")
        and found.wanted >= least_density
    ]


def judge(
    claim: str,
    source: str,
    effects: Iterable[Effect],
    predicted: str = "some arms support, none contradicts",
    note: str = "",
) -> CheckResult:
    """Judge a claim by the arms that support and that contradict it."""
    wide = together(effects)
    arms, support, contradict = sides(wide)
    return CheckResult(
        claim=claim,
        source=source,
        predicted=predicted,
        observed=f"{len(support)} of {len(arms)} arms support, {len(contradict)} contradict",
        interval=None,
        verdict=weigh(support, contradict),
        note=told(wide, support, contradict) + (f". {note}" if note else ""),
    )


def told(wide: Sequence[Effect], support: Sequence[str], contradict: Sequence[str]) -> str:
    """Say how many effects stand behind a verdict, which arms decide, and the largest and smallest effect."""
    known = _known(wide)
    if not known:
        return "no effect has an interval"
    seeds = sorted({effect.n for effect in known})
    best, worst = max(known, key=lambda e: e.mean), min(known, key=lambda e: e.mean)
    return (
        f"n = {', '.join(map(str, seeds))} seeds, {len(known)} effects at {LEVEL:.0%} together. Supporting: "
        f"{', '.join(support) or 'none'}; contradicting: {', '.join(contradict) or 'none'}. Largest "
        f"{shown(best)}, smallest {shown(worst)}"
    )


def shown(effect: Effect) -> str:
    """Show an effect with its interval."""
    return f"{effect.arm} against {effect.against} {effect.mean:+.4f} [{effect.low:+.4f}, {effect.high:+.4f}]"


def tail_gain(claim: str, source: str, result: Result) -> CheckResult:
    """Judge whether the published rule does better on what is rare than every rival at the same density."""
    ablations = [
        Effect(c.method, c.against, c.n, c.effect, c.low, c.high)
        for c in result.claims
        if c.claim == "tail gain" and c.method in PUBLISHED and c.against == "bb_uniform"
    ]
    note = ""
    if ablations:
        best = max(ablations, key=lambda e: e.mean)
        note = f"Against equal degrees at most {shown(best)}, one by one"
    return judge(claim, source, effects_of("tail gain", {"": result}), note=note)


def in_general(claim: str, source: str, effects: Sequence[Effect]) -> CheckResult:
    """Judge a claim about all arms: half of them must support it and none contradict it to confirm it."""
    wide = together(effects)
    arms, support, contradict = sides(wide)
    verdict = UNDECIDED
    if len(contradict) > len(support):
        verdict = REFUTED
    elif arms and not contradict and len(support) >= MOST * len(arms):
        verdict = CONFIRMED
    return CheckResult(
        claim=claim,
        source=source,
        predicted=f"{MOST:.0%} of the arms support, none contradicts",
        observed=f"{len(support)} of {len(arms)} arms support, {len(contradict)} contradict",
        interval=None,
        verdict=verdict,
        note=f"{told(wide, support, contradict)}. {over_tasks(effects)}",
    )


def over_tasks(effects: Sequence[Effect]) -> str:
    """Say what each arm does against a rival, mean over tasks with its 95 % interval over tasks."""
    groups: dict[str, list[float]] = {}
    for effect in effects:
        of_task = effect.arm.split(maxsplit=1)[-1]
        groups.setdefault(f"{of_task} against {effect.against}", []).append(effect.mean)
    parts = []
    for name, values in groups.items():
        if len(values) > 1:
            mean, (low, high) = mean_interval(np.array(values))
            parts.append(f"{name} {mean:+.3f} [{low:+.3f}, {high:+.3f}], n = {len(values)}")
    return "Mean over tasks, 95 % each: " + ("; ".join(parts) or "too few tasks")

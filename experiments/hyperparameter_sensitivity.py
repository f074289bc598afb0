"""Over which ranges of beta, tau, EMA decay and interval do the balance and the accuracy on a DNF hold?

Source: reviewers of arXiv 2510.01263 asked how to set its knobs and how sensitive it is to them; its own
values are not public. A network of two hidden ReLU layers learns a DNF of rare and common terms while links
between the hidden layers are cut by the controller (knobs beta, ema_decay, interval) or by the threshold
rule (tau, ema_decay, interval), SP-out. One knob at a time moves from a base setting; and a random design,
the same for all seeds, moves all knobs at once, log-uniformly over the same ranges.

The balance is judged on on-rates of the final network, which the rule never saw: controller, the slope of the
line over the beta set; threshold rule, the traffic of the fitted hyperbola over the tau set; 1 if the rule
does what it says. A knob's value keeps the balance if the 95 % interval of that ratio lies within 20 % of 1,
loses it if outside; it keeps the accuracy if rare terms are recognised (P(yes | only this term) - P(yes | no
term)) as without pruning to within 0.05, its interval below that.

Controls: fan-outs shuffled over units, whose slope must be 0 and in which no law may be found; and a network
that is not pruned.

Time: 2 min on one core (CPU preset), no accelerator. What would count against robustness: a knob whose range
spans less than a decade (a decade of memory for ema_decay).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory import fit_balance, validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.records import Record
from bbtheory.simulate import BooleanRun, Pruning, Training, simulate_boolean
from bbtheory.tasks import rare_and_common_dnf
from experiments.protocol import Progress

RULES = ("controller", "threshold")
KNOBS = ("strength", "memory", "interval")
NUMBERS = (
    "law_ratio",
    "expected_verdict",
    "shuffled_ratio",
    "shuffled_law",
    "n_used",
    "density",
    "accuracy",
    "rare_recognition",
    "rare_lost",
)
TOLERANCE = 0.2
LOSS = 0.05


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    betas : tuple of float, nats per link, and taus : tuple of float, links per step
        Ascending values of the strength of controller and threshold rule.
    memories : tuple of float
        Steps, 1/(1 - ema_decay), ascending.
    intervals : tuple of int
        Steps, ascending.
    base : tuple of int
        Which of betas, taus, memories and intervals is the base setting.
    n_random : int
        Settings of the random design, for each rule.
    n_rare : int
        Rare terms, beside a common one.
    width : int
        Of both hidden layers.
    d0 : float
        Links, of the controller.
    warmup : int
        Steps before the first refresh.
    steps, batch : int
        Optimizer steps, examples a step.
    learning_rate : float
        Of Adam.
    n_permutations : int
        Of the balance fit.
    seeds : tuple of int
    """

    betas: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    taus: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    memories: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
    intervals: tuple[int, ...] = (5, 10, 25, 50, 100, 400)
    base: tuple[int, int, int, int] = (2, 3, 4, 3)
    n_random: int = 10
    n_rare: int = 6
    width: int = 32
    d0: float = 10.0
    warmup: int = 200
    steps: int = 2000
    batch: int = 64
    learning_rate: float = 3e-3
    n_permutations: int = 499
    seeds: tuple[int, ...] = tuple(range(100))

    def __post_init__(self) -> None:
        axes = (self.betas, self.taus, self.memories, self.intervals)
        for name, values, domain in zip(
            ("betas", "taus", "memories", "intervals"),
            axes,
            ("(0, inf)", "(0, inf)", "[1, inf)", "[1, inf)"),
            strict=True,
        ):
            clean = validate.array(name, values, domain)
            if clean.size == 0 or (np.diff(clean) <= 0).any():
                raise ValueError(f"{name} must ascend, got {values}")
        if len(self.base) != len(axes):
            raise ValueError(f"base must be four positions, got {self.base}")
        for at, values in zip(self.base, axes, strict=True):
            validate.integer("base", at, f"[0, {len(values) - 1}]")
        validate.integer("n_random", self.n_random, "[0, inf)")
        validate.integer("n_rare", self.n_rare, "[1, 8]")
        validate.integer("width", self.width, "[5, inf)")
        validate.real("d0", self.d0)
        validate.integer("warmup", self.warmup, "[0, inf)")
        for name in ("steps", "batch"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        validate.real("learning_rate", self.learning_rate, "(0, inf)")
        validate.integer("n_permutations", self.n_permutations, "[99, inf)")

    def strengths(self, rule: str) -> tuple[float, ...]:
        """Values of beta for the controller, of tau for the threshold rule."""
        return self.betas if rule == "controller" else self.taus


SMOKE = Config(
    betas=(0.1, 0.5),
    taus=(1.0, 4.0),
    memories=(10.0, 100.0),
    intervals=(25, 50),
    base=(0, 1, 1, 1),
    n_random=1,
    n_rare=2,
    width=24,
    steps=400,
    warmup=100,
    n_permutations=99,
    seeds=(0,),
)
CPU = Config(seeds=tuple(range(20)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One seed: numbers of every setting, and of the network that keeps all links."""

    KIND: ClassVar[str] = "hyperparameter_sensitivity_cell"

    numbers: np.ndarray
    unpruned: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Every setting with its outcome, mean over seeds with its 95 % interval.

    Parameters
    ----------
    rule, moved : tuple of str, (n_settings,)
        Rule of each setting, and the knob that is off the base: strength (beta or tau), memory, interval;
        base; random where all are.
    strength : np.ndarray, (n_settings,)
        beta, nats per link, or tau, links per step.
    memory, interval : np.ndarray, (n_settings,)
        Steps; ema_decay = 1 - 1/memory.
    number_names : tuple of str
        law_ratio: fitted slope/beta, or fitted tau/tau; expected_verdict: the fit says balanced, or
        hyperbolic; shuffled_ratio: slope of the line through shuffled units over that
        through the units; shuffled_law: the fit finds a law in them, whichever; n_used: units off the clips;
        density; accuracy; rare_recognition; rare_lost: recognition lost against the unpruned network.
    mean : np.ndarray, shape (n_numbers, n_settings)
    interval_low, interval_high : np.ndarray, shape (n_numbers, n_settings)
    n_finite : np.ndarray, shape (n_numbers, n_settings)
        Seeds with that number.
    unpruned : np.ndarray, shape (2, 3)
        accuracy and rare_recognition without pruning: mean, low, high.
    rank_correlation : np.ndarray, shape (n_rules, n_knobs, 3, 3)
        Over the random design, of strength, memory and interval with |ln law_ratio|, rare_lost and density:
        Spearman's, mean over seeds, low, high.
    n_seeds : int
    """

    KIND: ClassVar[str] = "hyperparameter_sensitivity"

    rule: tuple[str, ...]
    moved: tuple[str, ...]
    strength: np.ndarray
    memory: np.ndarray
    interval: np.ndarray
    number_names: tuple[str, ...]
    mean: np.ndarray
    interval_low: np.ndarray
    interval_high: np.ndarray
    n_finite: np.ndarray
    unpruned: np.ndarray
    rank_correlation: np.ndarray
    n_seeds: int

    def _number(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = self.number_names.index(name)
        return self.mean[at], self.interval_low[at], self.interval_high[at]

    @property
    def keeps_balance(self) -> np.ndarray:
        """Settings whose law ratio is within 20 % of 1, interval included, with a fit in every seed."""
        _, low, high = self._number("law_ratio")
        every = self.n_finite[self.number_names.index("law_ratio")] == self.n_seeds
        return every & (low >= 1 - TOLERANCE) & (high <= 1 + TOLERANCE)

    @property
    def keeps_accuracy(self) -> np.ndarray:
        """Settings that lose at most 0.05 of the recognition of rare terms, interval included."""
        return self._number("rare_lost")[2] <= LOSS

    def range_kept(self, rule: str, knob: str, kept: np.ndarray) -> tuple[float, float]:
        """Smallest and largest value, around the base, up to which a knob alone keeps it; NaN: not there."""
        mine = np.array(
            [r == rule and m in (knob, "base") for r, m in zip(self.rule, self.moved, strict=True)]
        )
        values, good = getattr(self, knob)[mine], kept[mine]
        order = np.argsort(values)
        values, good = values[order], good[order]
        base = getattr(self, knob)[
            [r == rule and m == "base" for r, m in zip(self.rule, self.moved, strict=True)]
        ]
        at = int(np.searchsorted(values, base[0]))
        if not good[at]:
            return math.nan, math.nan
        low = high = at
        while low > 0 and good[low - 1]:
            low -= 1
        while high < values.size - 1 and good[high + 1]:
            high += 1
        return float(values[low]), float(values[high])


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting of the knobs."""

    rule: str
    moved: str
    strength: float
    memory: float
    interval: int


def settings(config: Config) -> list[Setting]:
    """Return the base, one knob at a time, then the random design, for each rule."""
    out = []
    rng = np.random.default_rng(0)
    for rule in RULES:
        axes: dict[str, tuple] = {
            "strength": config.strengths(rule),
            "memory": config.memories,
            "interval": config.intervals,
        }
        at = dict(zip(KNOBS, (config.base[RULES.index(rule)], *config.base[2:]), strict=True))
        base = {knob: axes[knob][at[knob]] for knob in KNOBS}
        out.append(Setting(rule, "base", **base))
        for knob in KNOBS:
            out += [
                Setting(rule, knob, **(base | {knob: value})) for value in axes[knob] if value != base[knob]
            ]
        for _ in range(config.n_random):
            drawn = {
                knob: math.exp(rng.uniform(math.log(axes[knob][0]), math.log(axes[knob][-1])))
                for knob in KNOBS
            }
            out.append(Setting(rule, "random", drawn["strength"], drawn["memory"], round(drawn["interval"])))
    return out


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network per setting, all from the same seed, and judge the balance of each."""
    todo = settings(config)
    progress.total(len(todo) + 1)
    whole = _train(config, Pruning())
    unpruned = np.array([whole.accuracy, rare_recognition(whole, config.n_rare)])
    progress.tick()
    numbers = []
    for setting in todo:
        found = _train(config, pruning_of(config, setting))
        seen = rare_recognition(found, config.n_rare)
        law = _law(config, setting, found)
        numbers.append([*law, found.density, found.accuracy, seen, unpruned[1] - seen])
        progress.tick()
    return Cell(np.array(numbers).T, unpruned)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds."""
    todo = settings(config)
    seen = np.stack([cell.numbers for cell in cells])
    finite = np.isfinite(seen)
    spread = np.full((3, *seen.shape[1:]), np.nan)
    for at in np.ndindex(*seen.shape[1:]):
        if (values := seen[:, *at][finite[:, *at]]).size:
            mean, ends = mean_interval(values)
            spread[:, *at] = mean, *ends
    mean, ends = mean_interval(np.stack([cell.unpruned for cell in cells]))
    return Result(
        rule=tuple(s.rule for s in todo),
        moved=tuple(s.moved for s in todo),
        strength=np.array([s.strength for s in todo]),
        memory=np.array([s.memory for s in todo]),
        interval=np.array([float(s.interval) for s in todo]),
        number_names=NUMBERS,
        mean=spread[0],
        interval_low=spread[1],
        interval_high=spread[2],
        n_finite=finite.sum(axis=0),
        unpruned=np.stack([mean, *ends], axis=-1),
        rank_correlation=_rank_correlations(todo, seen),
        n_seeds=len(cells),
    )


def pruning_of(config: Config, setting: Setting) -> Pruning:
    """Return how a setting prunes."""
    rule: dict[str, Any] = {"tau": setting.strength, "cuts": 0}
    if setting.rule == "controller":
        rule = {"beta": setting.strength, "d0": config.d0}
    return Pruning(
        setting.rule,
        interval=setting.interval,
        warmup=config.warmup,
        ema_decay=1.0 - 1.0 / setting.memory,
        **rule,
    )


def rare_recognition(found: BooleanRun, n_rare: int) -> float:
    """P(yes | only this term) - P(yes | no term), exact, mean over the first n terms."""
    from experiments.rare_features_dnf import recognition

    return float(recognition(found)[:n_rare].mean())


def _train(config: Config, pruning: Pruning) -> BooleanRun:
    training = Training(
        hidden=(config.width, config.width),
        steps=config.steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
    )
    return simulate_boolean(rare_and_common_dnf(config.n_rare, 1), training, pruning, seed=config.seeds[0])


def _law(config: Config, setting: Setting, found: BooleanRun) -> list[float]:
    """Return law_ratio, expected_verdict, shuffled_ratio, shuffled_law and n_used of the first layer."""
    first = slice(config.width)
    on_rate, fan_out = found.on_rate[first], found.fan_out[first]
    rng = np.random.default_rng(config.seeds[0])
    clips: dict[str, Any] = {
        "min_degree": 0,
        "max_degree": config.width,
        "n_permutations": config.n_permutations,
    }
    line = fit_balance(on_rate, fan_out, **clips).groups[0]
    null = fit_balance(on_rate, rng.permutation(fan_out), **clips).groups[0]
    controlled = setting.rule == "controller"
    ratio = (line.slope if controlled else line.tau) / setting.strength
    expected = "balanced" if controlled else "hyperbolic"
    return [
        ratio,
        float(line.verdict == expected),
        null.slope / abs(line.slope) if line.slope else math.nan,
        float(null.verdict in ("balanced", "hyperbolic")),
        float(line.n_used),
    ]


def _rank_correlations(todo: list[Setting], seen: np.ndarray) -> np.ndarray:
    """Spearman's over the random design, per rule, knob and outcome: mean over seeds, low, high."""
    from scipy.stats import rankdata

    out = np.full((len(RULES), len(KNOBS), 3, 3), np.nan)
    outcomes = [
        np.abs(np.log(np.where(seen[:, 0] > 0, seen[:, 0], np.nan))),
        seen[:, NUMBERS.index("rare_lost")],
        seen[:, NUMBERS.index("density")],
    ]
    for r, rule in enumerate(RULES):
        mine = [i for i, s in enumerate(todo) if s.rule == rule and s.moved == "random"]
        for (k, knob), (o, outcome) in ((a, b) for a in enumerate(KNOBS) for b in enumerate(outcomes)):
            values = np.array([getattr(todo[i], knob) for i in mine])
            found = []
            for row in outcome[:, mine]:
                there = np.isfinite(row)
                ranks = rankdata(values[there]), rankdata(row[there])
                if there.sum() >= 3 and all(np.ptp(rank) > 0 for rank in ranks):
                    found.append(np.corrcoef(*ranks)[0, 1])
            if found:
                mean, ends = mean_interval(np.array(found))
                out[r, k, o] = mean, *np.clip(ends, -1.0, 1.0)
    return out

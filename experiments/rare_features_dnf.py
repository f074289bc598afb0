"""Does a traffic budget keep rare terms of a DNF that magnitude and random pruning lose at one density?

Source: arXiv 2510.01263, DNF tasks with rare features (p of about 0.11) and common ones (0.72): rare units'
traffic stays under tau, so they are never cut. Its set-up is not public; here a term is two independent
literals, at 1/3 each (1/9) or 0.85 (0.7225), and a network of two hidden ReLU layers learns, between which
links are cut while it goes on learning.

Every arm is one setting of Budgeted Broadcast (threshold rule or controller; SP-out, SP-in or both). Its
rivals train on the same examples from the same weights for as many steps, and reach, seed by seed, the very
density that the arm ends at, in as many refreshes: magnitude and random pruning, globally and with the same
degree for every receiving unit; and ``uniform``, the same fan-out (the whole number of links below the arm's
mean) for every sending unit, by magnitude, which has the broadcast view but no traffic.

A term is recognised as far as P(yes | only this term) - P(yes | no term), 0 for a network that always says
yes, which gets every rare example right. It is kept from a recognition of 0.9 on.

Levels: ``window``, tau in the geometric middle of [p_rare k, p_common k), where the theory says that rare
units are spared and common ones cut; ``strong``, ``severe``: lower budgets; ``floor``: every unit keeps a
link; ``idle`` (control): tau above all traffic, nothing may happen. Tasks: ``rare`` (six rare terms, one
common), ``list`` (seven probabilities), ``equal`` (control: seven equal ones, the first six called rare).

Time: 3 min on one core (CPU preset), no accelerator. What would count against the claim: a rare term that is
kept no more often than by magnitude pruning, or than by random pruning.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.records import Record
from bbtheory.simulate import BooleanRun, Pruning, Training, simulate_boolean
from bbtheory.tasks import BooleanTask, dnf, rare_and_common_dnf
from experiments.protocol import Progress

TASKS = ("rare", "list", "equal")
LEVELS = ("window", "strong", "severe", "floor", "idle")
RULES = ("threshold", "controller")
ACTUATORS = ("sp_out", "sp_in", "both")
METHODS = ("bb", "magnitude_global", "magnitude_unit", "random_global", "random_unit", "uniform", "none")
NUMBERS = (
    "density",
    "accuracy",
    "rare_accuracy",
    "rare_recognition",
    "common_recognition",
    "rare_kept",
    "common_kept",
    "rare_detectors",
    "common_detectors",
    "rare_on_rate",
    "common_on_rate",
    "rare_links",
    "common_links",
    "rare_under_tau",
    "common_under_tau",
)
N_TERMS = 7
N_RARE = 6
KEPT = 0.9
# the fall of a density counts as done within this share of the links
REACHED = 0.02
# a line so steep that every unit gets d0 links
STEEP = 1e9


@dataclasses.dataclass(frozen=True)
class Arm:
    """One setting of Budgeted Broadcast on one task."""

    task: str
    level: str
    rule: str
    actuator: str

    @property
    def name(self) -> str:
        """The arm in one word."""
        return f"{self.task}.{self.level}.{self.rule}.{self.actuator}"


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    levels : tuple of str
    probabilities : tuple of float
        Of the terms of ``list``, ascending.
    equal : float
        Of every term of ``equal``.
    width : int
        Of both hidden layers; fan-outs of the first.
    steps, batch : int
        Optimizer steps, examples a step.
    learning_rate : float
        Of Adam.
    taus : tuple of float
        Links per step, of strong, severe and floor.
    d0s : tuple of float
        Links, of window, strong, severe and floor.
    beta : float
        Nats per link, of the controller.
    interval : int
        Steps between refreshes.
    warmup : int
        Steps before the controller's first refresh, which cuts at once; the threshold rule cuts a link a
        refresh from the start.
    ema_decay : float
    least : float
        Correlation of being on with a term from which a unit detects it.
    seeds : tuple of int
    """

    levels: tuple[str, ...] = LEVELS
    probabilities: tuple[float, ...] = (0.03, 0.06, 0.09, 0.15, 0.25, 0.4, 0.6)
    equal: float = 0.2
    width: int = 12
    steps: int = 2500
    batch: int = 64
    learning_rate: float = 3e-3
    taus: tuple[float, ...] = (1.0, 0.7, 0.5)
    d0s: tuple[float, ...] = (5.0, 3.0, 1.0, 0.5)
    beta: float = 0.5
    interval: int = 50
    warmup: int = 300
    ema_decay: float = 0.99
    least: float = 0.4
    seeds: tuple[int, ...] = tuple(range(100))

    def __post_init__(self) -> None:
        for level in self.levels:
            validate.choice("levels", level, LEVELS)
        validate.array("probabilities", self.probabilities, "(0, 1)", shape=(N_TERMS,))
        validate.real("equal", self.equal, "(0, 1)")
        validate.integer("width", self.width, "[2, inf)")
        validate.array("taus", self.taus, "(0, inf)", shape=(3,))
        validate.array("d0s", self.d0s, shape=(4,))
        validate.real("beta", self.beta, "(0, inf)")
        for name in ("steps", "batch", "interval"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        validate.integer("warmup", self.warmup, "[0, inf)")
        validate.real("learning_rate", self.learning_rate, "(0, inf)")
        validate.real("ema_decay", self.ema_decay, "[0, 1)")
        validate.real("least", self.least, "(0, 1]")

    def tau(self, level: str) -> float:
        """Links per step at this level."""
        if level == "window":
            rare, _, common = rare_and_common_dnf(2, 1).term_probability
            return float(math.sqrt(rare * common) * self.width)
        # no unit has as much traffic as it has links
        return 2.0 * self.width if level == "idle" else self.taus[LEVELS.index(level) - 1]

    def task(self, name: str) -> BooleanTask:
        """Return the DNF of this name; its first six terms are its rare ones."""
        if name == "rare":
            return rare_and_common_dnf(N_RARE, N_TERMS - N_RARE)
        return dnf(self.probabilities if name == "list" else (self.equal,) * N_TERMS)


SMOKE = Config(levels=("severe", "idle"), steps=300, interval=25, warmup=100, seeds=(0,))
# settings, and the rule of the check, were chosen on seeds 0 to 23
CPU = Config(seeds=tuple(range(24, 48)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One seed."""

    KIND: ClassVar[str] = "rare_features_dnf_cell"

    numbers: np.ndarray
    terms: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All arms and their rivals, paired by seed.

    Parameters
    ----------
    arms : tuple of str
        task.level.rule.actuator
    tau : np.ndarray, shape (n_arms,)
        Links per step; NaN for the controller.
    methods : tuple of str
        bb is the arm, none a network that keeps all links.
    number_names : tuple of str
        density; accuracy; rare_accuracy: of examples whose only true term is rare, mean over rare terms;
        rare_recognition, common_recognition: P(yes | only this term) - P(yes | no term), means over terms;
        rare_kept, common_kept: share of terms recognised to 0.9; rare_detectors, common_detectors: units of
        the first hidden layer that detect such a term, and of these rare_on_rate, rare_links (share of
        their links left), rare_under_tau (share with on-rate x links of the unpruned layer <= tau: what the
        rule would spare); NaN where there are none.
    numbers : np.ndarray, shape (n_seeds, n_numbers, n_arms, n_methods)
    term_probability : np.ndarray, shape (n_arms, n_terms)
    term_recognition : np.ndarray, shape (n_arms, n_methods, n_terms)
        Mean over seeds.
    """

    KIND: ClassVar[str] = "rare_features_dnf"

    arms: tuple[str, ...]
    tau: np.ndarray
    methods: tuple[str, ...]
    number_names: tuple[str, ...]
    numbers: np.ndarray
    term_probability: np.ndarray
    term_recognition: np.ndarray

    def of(self, number: str, arm: str, method: str) -> np.ndarray:
        """Return a number of one arm under one method, (n_seeds,)."""
        at = self.number_names.index(number), self.arms.index(arm), self.methods.index(method)
        return self.numbers[:, at[0], at[1], at[2]]

    def interval(
        self, number: str, arm: str, method: str, less: str | None = None, level: float = 0.95
    ) -> tuple[float, float, float]:
        """Mean over seeds and its Student interval, of a number or of its paired difference from ``less``."""
        values = self.of(number, arm, method)
        if less is not None:
            values = values - self.of(number, arm, less)
        values = values[np.isfinite(values)]
        if values.size == 0:
            return math.nan, math.nan, math.nan
        mean, (low, high) = mean_interval(values, level)
        return float(mean), float(low), float(high)


def arms(config: Config) -> list[Arm]:
    """Return all arms: every rule and actuator on ``rare``; SP-out by the threshold rule elsewhere."""
    out = [
        Arm("rare", level, rule, actuator)
        for level in config.levels
        if level != "idle"
        for rule in RULES
        for actuator in ACTUATORS
    ]
    out += [Arm("rare", "idle", "threshold", "sp_out")] if "idle" in config.levels else []
    return out + [
        Arm(task, level, "threshold", "sp_out")
        for task in TASKS[1:]
        for level in config.levels
        if level in ("severe", "floor")
    ]


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Train the arms, and the rivals of each at its density, from one seed."""
    chosen = arms(config)
    progress.total(len(chosen))
    whole = {
        arm.task: _train(config, config.task(arm.task), Pruning(interval=config.interval)) for arm in chosen
    }
    numbers, terms = [], []
    for arm in chosen:
        found = _train(config, config.task(arm.task), bb_pruning(config, arm))
        runs = [found, *_rivals(config, found), whole[arm.task]]
        tau = config.tau(arm.level) if arm.rule == "threshold" else math.nan
        seen = [_look(config, run, tau) if run is not None else None for run in runs]
        nothing = np.full(len(NUMBERS), np.nan), np.full(N_TERMS, np.nan)
        numbers.append([(one or nothing)[0] for one in seen])
        terms.append([(one or nothing)[1] for one in seen])
        progress.tick()
    return Cell(np.moveaxis(np.array(numbers), -1, 0), np.array(terms))


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Put the seeds side by side."""
    chosen = arms(config)
    return Result(
        arms=tuple(arm.name for arm in chosen),
        tau=np.array([config.tau(arm.level) if arm.rule == "threshold" else math.nan for arm in chosen]),
        methods=METHODS,
        number_names=NUMBERS,
        numbers=np.stack([cell.numbers for cell in cells]),
        term_probability=np.array([config.task(arm.task).term_probability for arm in chosen]),
        term_recognition=np.mean([cell.terms for cell in cells], axis=0),
    )


def bb_pruning(config: Config, arm: Arm) -> Pruning:
    """Return how an arm prunes."""
    rule: dict[str, Any] = {"tau": config.tau(arm.level)}
    if arm.rule == "controller":
        d0 = config.d0s[LEVELS.index(arm.level)]
        rule = {"beta": config.beta, "d0": d0, "warmup": config.warmup}
    return Pruning(
        arm.rule,
        interval=config.interval,
        ema_decay=config.ema_decay,
        actuator=arm.actuator,
        min_degree=1 if arm.level == "floor" else 0,
        **rule,
    )


def reaching(found: BooleanRun) -> int:
    """Refreshes after which a run is, first, within 2 % of the links of the density it ends at."""
    refreshes = [found.pruning.refreshes_at(int(step)) for step in found.step]
    first = int(np.argmax(found.density_trace <= found.density + REACHED))
    return max(1, int(np.sum(refreshes[: first + 1])))


def _rivals(config: Config, found: BooleanRun) -> list[BooleanRun | None]:
    """Train the rivals of an arm; None where there is none, below a link per unit or in all."""
    ramp, warmup = reaching(found), found.pruning.warmup
    out: list[BooleanRun | None] = []
    for method in ("magnitude", "random"):
        for scope in ("global", "unit"):
            rival = Pruning(
                method,
                interval=config.interval,
                warmup=warmup,
                density=found.density,
                schedule="linear",
                ramp=ramp,
                scope=scope,
            ) if found.density > 0 else None  # fmt: skip
            out.append(_train(config, found.task, rival) if rival else None)
    fan_out = math.floor(found.density * config.width)
    alike = Pruning(
        "controller",
        interval=config.interval,
        # at once, when the arm has come half of its way
        warmup=warmup + ramp * config.interval // 2,
        beta=STEEP,
        d0=fan_out,
    )
    return [*out, _train(config, found.task, alike) if fan_out else None]


def _train(config: Config, task: BooleanTask, pruning: Pruning) -> BooleanRun:
    training = Training(
        hidden=(config.width, config.width),
        steps=config.steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
    )
    return simulate_boolean(task, training, pruning, seed=config.seeds[0])


def recognition(found: BooleanRun) -> np.ndarray:
    """P(yes | only this term) - P(yes | no term) of each term, exact, (n_terms,)."""
    table = found.task.truth_table()
    _, logit = found.activations(found.task.show(table.inputs).T)
    yes, p = logit > 0, table.probability
    only = table.terms & (table.terms.sum(axis=1, keepdims=True) == 1)
    none = ~table.label
    return (p * yes) @ only / (p @ only) - float(p @ (yes & none)) / float(p @ none)


def _look(config: Config, found: BooleanRun, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of a run, and the recognition of its terms."""
    seen = recognition(found)
    detectors = found.detectors()
    first = (detectors.layer == 0) & (detectors.correlation >= config.least)
    rare, common = first & (detectors.term < N_RARE), first & (detectors.term >= N_RARE)
    detecting = []
    for values in (
        detectors.on_rate,
        detectors.fan_out / config.width,
        np.where(np.isnan(tau), np.nan, detectors.on_rate * config.width <= tau),
    ):
        detecting += [float(values[of].mean()) if of.any() else math.nan for of in (rare, common)]
    numbers = [
        found.density,
        found.accuracy,
        float(found.final.only_accuracy[:N_RARE].mean()),
        float(seen[:N_RARE].mean()),
        float(seen[N_RARE:].mean()),
        float((seen[:N_RARE] >= KEPT).mean()),
        float((seen[N_RARE:] >= KEPT).mean()),
        float(rare.sum()),
        float(common.sum()),
        *detecting,
    ]
    return np.array(numbers), seen

"""How do the steps to fit a DNF grow with its width W, under Budgeted Broadcast and without it?

Source: arXiv 2510.01263 claims O(W log W) steps on DNF tasks (its theorem 10 and figure 4c, known second-
hand); what W is, is not known. Three readings: hidden units of the network, terms of the DNF, literals in
each term (the width of a DNF in logic). Rare terms have probability 1/9 and a common one 0.7225, whatever
the number of literals.

A network of two hidden ReLU layers learns from fresh examples; the links between its hidden layers are cut on
the way by the threshold rule (SP-out), and by its rivals to the same density, seed by seed, in as many
refreshes: magnitude, random, nothing. Steps to fit: until it classifies rightly with probability 0.99. A
control that must show nothing: tau above all traffic, the same network as without pruning.

The exponent b of steps proportional to (W ln W)^b is fitted to medians over seeds, its interval by resampling
seeds; and one-parameter laws (W ln W, W, W^2, constant) are ranked by their squared errors in ln(steps).
Seeds that never fit count as slower than all others; a width where half of them do not is left out.

Time: 4 min on one core (CPU preset), no accelerator. What would count against the claim: an interval of b
that excludes 1 in every reading, or the same growth without pruning.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.simulate import BooleanRun, Pruning, Training, simulate_boolean
from bbtheory.tasks import COMMON_LITERAL, RARE_LITERAL, BooleanTask, dnf
from experiments.protocol import Progress

READINGS = ("units", "terms", "literals")
METHODS = ("bb", "magnitude", "random", "none", "idle")
LAWS = ("W ln W", "W", "W^2", "constant")
N_BOOTSTRAP = 2000
FIT = 0.99
REACHED = 0.02


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    readings : tuple of str
    units, terms, literals : tuple of int
        W of each reading, ascending from 2 on; terms counts the rare ones and the common one.
    width, n_terms, n_literals : int
        What stays where it is not W.
    steps, batch : int
        Optimizer steps at most, examples a step.
    learning_rate : float
        Of Adam.
    tau_share : float
        tau over the units of a layer.
    refreshes : int
        In which the threshold rule could cut a unit's links.
    interval : int
        Steps between refreshes, and between two looks at the accuracy.
    ema_decay : float
    seeds : tuple of int
    """

    readings: tuple[str, ...] = READINGS
    units: tuple[int, ...] = (8, 12, 16, 24, 32, 48)
    terms: tuple[int, ...] = (2, 3, 4, 6, 8, 10)
    literals: tuple[int, ...] = (2, 3, 4, 5)
    width: int = 16
    n_terms: int = 5
    n_literals: int = 2
    steps: int = 6000
    batch: int = 64
    learning_rate: float = 3e-3
    tau_share: float = 0.07
    refreshes: int = 8
    interval: int = 25
    ema_decay: float = 0.99
    seeds: tuple[int, ...] = tuple(range(100))

    def __post_init__(self) -> None:
        for reading in self.readings:
            validate.choice("readings", reading, READINGS)
        for name in READINGS:
            widths = getattr(self, name)
            if len(widths) < 2 or min(widths) < 2 or list(widths) != sorted(set(widths)):
                raise ValueError(f"{name} must be two or more ascending widths from 2 on, got {widths}")
        for name in ("width", "n_terms"):
            validate.integer(name, getattr(self, name), "[2, inf)")
        for name in ("n_literals", "steps", "batch", "refreshes", "interval"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        validate.real("learning_rate", self.learning_rate, "(0, inf)")
        validate.real("tau_share", self.tau_share, "(0, inf)")
        validate.real("ema_decay", self.ema_decay, "[0, 1)")


SMOKE = Config(
    readings=("terms", "literals"),
    units=(8, 16),
    terms=(2, 3),
    literals=(2, 3),
    width=8,
    n_terms=2,
    steps=800,
    seeds=(0,),
)
CPU = Config(seeds=tuple(range(24)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One seed: per reading, steps to fit and density at the end, (n_widths, n_methods)."""

    KIND: ClassVar[str] = "dnf_steps_to_fit_cell"

    steps: tuple[np.ndarray, ...]
    density: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Steps to fit, and how they grow; tuples hold one array per reading.

    Parameters
    ----------
    readings, methods, laws : tuple of str
        idle is the threshold rule with tau above all traffic.
    widths : tuple of np.ndarray, (n_widths,)
        W.
    steps : tuple of np.ndarray, (n_seeds, n_widths, n_methods)
        To fit; infinite where that takes longer than the run.
    density : tuple of np.ndarray, (n_seeds, n_widths, n_methods)
        Of the links that may be cut, at the end.
    median : tuple of np.ndarray, (n_widths, n_methods, 3)
        Steps, with the 95 % interval over seeds.
    exponent : np.ndarray, shape (n_readings, n_methods, 3)
        b of steps ~ (W ln W)^b, with its 95 % interval; NaN with fewer than three widths.
    exponent_less : np.ndarray, shape (n_readings, n_methods, 3)
        b under bb less b under each method, paired by seed.
    best : np.ndarray, shape (n_readings, n_methods, n_laws)
        Share of resamples in which a law has the smallest error.
    error : np.ndarray, shape (n_readings, n_methods, n_laws)
        Root mean square error of ln(steps).
    """

    KIND: ClassVar[str] = "dnf_steps_to_fit"

    readings: tuple[str, ...]
    methods: tuple[str, ...]
    laws: tuple[str, ...]
    widths: tuple[np.ndarray, ...]
    steps: tuple[np.ndarray, ...]
    density: tuple[np.ndarray, ...]
    median: tuple[np.ndarray, ...]
    exponent: np.ndarray
    exponent_less: np.ndarray
    best: np.ndarray
    error: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Train under every method at every width of every reading, all from the same seed."""
    progress.total(sum(len(getattr(config, reading)) for reading in config.readings))
    steps, density = [], []
    for reading in config.readings:
        found = []
        for width in getattr(config, reading):
            sizes = {"units": config.width, "terms": config.n_terms, "literals": config.n_literals}
            found.append(_methods(config, **(sizes | {reading: width})))
            progress.tick()
        table = np.array([[(_fitted(r), r.density) for r in runs] for runs in found])
        steps.append(table[..., 0])
        density.append(table[..., 1])
    return Cell(tuple(steps), tuple(density))


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Put the seeds side by side and fit the growth."""
    widths = tuple(np.array(getattr(config, reading), np.float64) for reading in config.readings)
    steps = tuple(np.stack([cell.steps[i] for cell in cells]) for i in range(len(widths)))
    medians, exponents, less, best, errors = [], [], [], [], []
    for w, seen in zip(widths, steps, strict=True):
        rng = np.random.default_rng(0)
        drawn = rng.integers(len(seen), size=(N_BOOTSTRAP, len(seen)))
        # of an even number the larger middle: finite medians stay so, and none is made up
        central = np.stack([middle(seen[rows]) for rows in drawn])
        whole = middle(seen)
        medians.append(np.stack([whole, *np.quantile(central, [0.025, 0.975], axis=0, method="nearest")], -1))
        grown = growth(w, central)
        at = growth(w, whole)
        exponents.append(np.column_stack([at, interval_of(grown)]))
        less.append(np.column_stack([at[0] - at, interval_of(grown[:, :1] - grown)]))
        wrong = law_errors(w, central)
        winner = np.argmin(wrong, axis=-1)
        best.append(np.mean(winner[..., None] == np.arange(len(LAWS)), axis=0))
        errors.append(law_errors(w, whole))
    return Result(
        readings=config.readings,
        methods=METHODS,
        laws=LAWS,
        widths=widths,
        steps=steps,
        density=tuple(np.stack([cell.density[i] for cell in cells]) for i in range(len(widths))),
        median=tuple(medians),
        exponent=np.array(exponents),
        exponent_less=np.array(less),
        best=np.array(best),
        error=np.array(errors),
    )


def middle(steps: np.ndarray) -> np.ndarray:
    """Median over the first axis, the larger of two middle values; infinite where half never fit."""
    return np.sort(steps, axis=0)[steps.shape[0] // 2]


def growth(widths: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Exponent b of steps ~ (W ln W)^b, (..., n_methods), by least squares of the logarithms.

    Steps are (..., n_widths, n_methods). Infinite ones are left out; NaN with fewer than three widths.
    """
    finite = np.isfinite(steps)
    n = finite.sum(axis=-2, keepdims=True)
    x = np.broadcast_to(np.log(widths * np.log(widths))[:, None], steps.shape)
    y = np.log(np.where(finite, steps, 1.0))
    x, y = (
        np.where(finite, v - (v * finite).sum(axis=-2, keepdims=True) / np.maximum(n, 1), 0.0) for v in (x, y)
    )
    enough = n[..., 0, :] >= 3
    return np.where(enough, (x * y).sum(axis=-2) / np.where(enough, (x * x).sum(axis=-2), 1.0), np.nan)


def law_errors(widths: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Root mean square of ln(steps) about c times each law, (..., n_methods, n_laws).

    Steps are (..., n_widths, n_methods). Infinite ones are left out.
    """
    shapes = np.log([widths * np.log(widths), widths, widths**2, np.ones_like(widths)])
    finite = np.isfinite(steps)[..., None]
    off = np.log(np.where(finite, steps[..., None], 1.0)) - shapes.T[:, None, :]
    off = np.where(finite, off, 0.0)
    n = np.maximum(finite.sum(axis=-3), 1)
    off = np.where(finite, off - (off.sum(axis=-3) / n)[..., None, :, :], 0.0)
    return np.sqrt((off**2).sum(axis=-3) / n)


def interval_of(drawn: np.ndarray) -> np.ndarray:
    """95 % interval of resampled values, (n_methods, 2); NaN if any resample has none."""
    return np.quantile(drawn, [0.025, 0.975], axis=0).T


def _fitted(found: BooleanRun) -> float:
    step = found.steps_to_fit(accuracy=FIT)
    return math.inf if math.isnan(step) else step


def _methods(config: Config, units: int, terms: int, literals: int) -> list[BooleanRun]:
    """Train one network under each method, in the order of METHODS."""
    task = dnf((RARE_LITERAL**2,) * (terms - 1) + (COMMON_LITERAL**2,), n_literals=literals)

    def rule(tau: float) -> Pruning:
        return Pruning(
            "threshold",
            interval=config.interval,
            ema_decay=config.ema_decay,
            tau=tau,
            min_degree=1,
            cuts=max(1, -(-units // config.refreshes)),
        )

    found = _train(config, task, units, rule(config.tau_share * units))
    ramp = int(np.argmax(found.density_trace <= found.density + REACHED)) + 1
    rivals = [
        Pruning(method, interval=config.interval, density=found.density, schedule="linear", ramp=ramp)
        for method in ("magnitude", "random")
    ]
    others = [*rivals, Pruning(interval=config.interval), rule(2.0 * units)]
    return [found, *(_train(config, task, units, pruning) for pruning in others)]


def _train(config: Config, task: BooleanTask, units: int, pruning: Pruning) -> BooleanRun:
    training = Training(
        hidden=(units, units), steps=config.steps, batch=config.batch, learning_rate=config.learning_rate
    )
    return simulate_boolean(task, training, pruning, seed=config.seeds[0])

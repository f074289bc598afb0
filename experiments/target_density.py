"""Does a pressure that is steered end at the density that was asked for, and at what accuracy?

Source: LeNet-300-100 on MNIST, from --data-root or BBTHEORY_DATA; the smoke preset takes scikit-learn's
digits. Two rules of pressure for Hyperflux (arXiv 2504.05349), this project's feedback and the authors'
scheduler with their settings for this network, stand beside iterative magnitude pruning (10 % of the
remaining weights a round) and the dense network: the same weights, batches, optimizer steps and cosine for a
seed. All methods prune over the first two thirds of the steps, but for the authors' scheduler, which takes
half. Nothing is tuned for a density. The density is taken before and after `finish`.

Full is the authors' 60 epochs; the CPU preset has 12, and presence and its intervals five times as fast.

Time: 30 min on one core (CPU preset: 55 cells of 27 s of processor time, 25 of 14, 5 of 13, extrapolated from
three on a busy machine), no accelerator. What would count against it: a run of the feedback that ends more
than 2 % from its density, or more than one weight after `finish`; an accuracy below that of magnitude by an
interval that excludes 0.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import finite_mean, mean_low_high
from bbtheory.records import Record
from experiments._hyperflux import DECAY, PHASES, SCALER, STEP, Training, train
from experiments.protocol import Progress

if TYPE_CHECKING:
    from torch import nn

    from bbtheory.train import Pruner

HYPERFLUX = ("feedback", "authors")
METHODS = (*HYPERFLUX, "magnitude", "dense")
CLOSE = 0.02  # relative distance from the density that the feedback has to keep
_PRUNING = 2 / 3  # share of the steps after which the feedback begins to freeze and magnitude prunes no more
_INTERVALS = 300  # of the feedback
_KEPT = 0.9  # per round of iterative magnitude


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    data : {"mnist", "digits"}
    methods : tuple of str
    densities : tuple of float
        In (0, 1); the dense network is trained once.
    epochs, batch : int
    learning_rate : float
        Of Adam on weights at the start; it falls along a cosine to 1e-6.
    flow_rate : float
        Of Adam on presence.
    seeds : tuple of int
    """

    data: str = "mnist"
    methods: tuple[str, ...] = METHODS
    densities: tuple[float, ...] = (0.1, 0.05, 0.02, 0.01, 0.005)
    epochs: int = 60
    batch: int = 128
    learning_rate: float = 1e-3
    flow_rate: float = 1e-3
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        for method in self.methods:
            validate.choice("methods", method, METHODS)
        for density in self.densities:
            validate.real("densities", density, "(0, 1)")
        validate.real("flow_rate", self.flow_rate, "(0, inf)")


SMOKE = Config(data="digits", densities=(0.1,), epochs=8, batch=32, flow_rate=1e-2, seeds=(0,))
CPU = Config(epochs=12, flow_rate=5e-3)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One network.

    Parameters
    ----------
    density, accuracy : array (epochs,)
        After each epoch.
    reached : float
        Density after the last step.
    n_off : int
        Weights more than asked for, after `finish`.
    accuracy_finished : float
        After `finish`.
    layer_density : array (3,)
        After the last step.
    empty : tuple of str
        Layers without a weight.
    """

    KIND: ClassVar[str] = "target_density_cell"

    density: np.ndarray
    accuracy: np.ndarray
    reached: float
    n_off: int
    accuracy_finished: float
    layer_density: np.ndarray
    empty: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One method at one density over seeds; intervals are Student's, 95 %, differences paired by seed."""

    KIND: ClassVar[str] = "target_density_row"

    method: str
    wanted: float
    n: int
    off: float  # density reached / wanted - 1
    off_low: float
    off_high: float
    worst: float  # largest distance of a seed
    n_close: int  # seeds within 2 %
    n_off: int  # most weights off after finish
    accuracy: float  # after finish
    low: float
    high: float
    lost: float  # accuracy lost by finish
    less_magnitude: float
    less_magnitude_low: float
    less_magnitude_high: float
    less_dense: float
    less_dense_low: float
    less_dense_high: float
    fc1: float
    fc2: float
    fc3: float
    n_empty: int


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All methods and densities."""

    KIND: ClassVar[str] = "target_density"

    rows: tuple[Row, ...]


def cells(config: Config) -> list[Config]:
    """Return one setting per method, density and seed; the dense network has one density."""
    return [
        dataclasses.replace(config, methods=(method,), densities=(density,), seeds=(seed,))
        for method in config.methods
        for density in (config.densities if method != "dense" else config.densities[:1])
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network."""
    seed, density = config.seeds[0], config.densities[0]
    how = Training(config.data, config.epochs, config.batch, config.learning_rate, 1e-6, seed)
    trained = train(how, lambda model, n_steps: _pruner(model, n_steps, config), progress)
    pruner = trained.pruner
    reached, n_off, finished = 1.0, 0, float(trained.accuracy[-1])
    empty: tuple[str, ...] = ()
    if pruner is not None:
        reached = pruner.current_density
        pruner.finish()
        n_off = pruner.n_kept - round(density * pruner.n_weights)
        finished = trained.test(trained.model)["accuracy"]
        empty = tuple(name for name, weight in pruner.weights.items() if weight.n_kept == 0)
    return Cell(
        density=trained.density,
        accuracy=trained.accuracy,
        reached=reached,
        n_off=n_off,
        accuracy_finished=finished,
        layer_density=trained.layer_density[-1],
        empty=empty,
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and set methods against magnitude and dense."""
    found: dict[tuple[str, float], list[Cell]] = {}
    for setting, cell in zip(_cells(config), cells, strict=True):
        found.setdefault((setting.methods[0], setting.densities[0]), []).append(cell)
    rows = []
    for (method, density), group in found.items():
        wanted = 1.0 if method == "dense" else density
        off = np.array([cell.reached / wanted - 1.0 for cell in group])
        accuracy = _accuracy(group)
        magnitude = _accuracy(found.get(("magnitude", density), []) if method != "dense" else [])
        dense = _accuracy(found.get(("dense", config.densities[0]), []))
        layers = np.mean([cell.layer_density for cell in group], axis=0)
        rows.append(
            Row(
                method,
                wanted,
                len(group),
                *mean_low_high(off),
                worst=float(np.abs(off).max()),
                n_close=int((np.abs(off) <= CLOSE).sum()),
                n_off=max((cell.n_off for cell in group), key=abs),
                **_named("accuracy", "low", "high", values=accuracy),
                lost=finite_mean([cell.accuracy[-1] - cell.accuracy_finished for cell in group]),
                **_differences("less_magnitude", accuracy, magnitude),
                **_differences("less_dense", accuracy, dense),
                fc1=float(layers[0]),
                fc2=float(layers[1]),
                fc3=float(layers[2]),
                n_empty=sum(bool(cell.empty) for cell in group),
            )
        )
    return Result(rows=tuple(rows))


_cells = cells  # ``collect`` has the records of the cells under this name


def _pruner(model: nn.Module, n_steps: int, config: Config) -> Pruner | None:
    from bbtheory.train import Flow, FollowTrajectory, Hyperflux, Magnitude, SteerDensity

    method, density, seed = config.methods[0], config.densities[0], config.seeds[0]
    if method == "dense":
        return None
    if method == "magnitude":
        n_rounds = math.ceil(math.log(density) / math.log(_KEPT))
        every = max(int(_PRUNING * n_steps) // n_rounds, 1)
        return Magnitude(
            model, density, schedule="iterative", kept=_KEPT, interval=every, warmup=every, seed=seed
        )
    if method == "authors":
        n_intervals, rule = (
            sum(PHASES),
            FollowTrajectory(density, *PHASES, step=STEP, flow=SCALER, decay=DECAY),
        )
    else:
        n_intervals, pruning = _INTERVALS, round(_PRUNING * _INTERVALS)
        rule = SteerDensity(density, pruning, n_intervals - pruning)
    every = max(n_steps // n_intervals, 1)
    return Hyperflux(
        model, rule, interval=every, flow=Flow(lr=config.flow_rate), stop_when_empty=False, seed=seed
    )


def _accuracy(group: Sequence[Cell]) -> np.ndarray:
    return np.array([cell.accuracy_finished for cell in group])


def _named(*names: str, values: np.ndarray) -> dict[str, float]:
    return dict(zip(names, mean_low_high(values), strict=True))


def _differences(name: str, ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Return the mean difference and its interval; NaN where the others were not trained."""
    paired = ours - theirs if theirs.size else np.full(1, np.nan)
    return _named(name, f"{name}_low", f"{name}_high", values=paired)

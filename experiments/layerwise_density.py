"""Which layers keep their weights as pressure rises, beside pruning by magnitude at the same density?

Source: LeNet-300-100 on MNIST, from --data-root or BBTHEORY_DATA; the smoke preset takes scikit-learn's
digits. Under Hyperflux (arXiv 2504.05349) the pressure rises from 2^-6 to 2^8 in equal ratios, twice an
epoch, and one run passes through all densities; iterative magnitude pruning over all layers at once passes
through them in as many steps, and random pruning, which keeps layers alike, is the control. Densities of
layers are read off each run at the same densities of the network, along straight lines in logarithms.

One run serves all densities, so that its weights had less time at each than under a held pressure:
fixed_pressure_lenet has the densities of layers at the end of long runs.

Time: 9 min on one core (CPU preset: 5 cells of 45 s of processor time, 10 of 30, extrapolated from a busy
machine), no accelerator. What would count against a law of layers of its own: densities of layers under
Hyperflux that are those of magnitude.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import finite_mean, mean_low_high
from bbtheory.records import Record
from experiments._hyperflux import LAYERS, Training, train
from experiments.protocol import Progress

if TYPE_CHECKING:
    from torch import nn

    from bbtheory.train import Pruner

METHODS = ("hyperflux", "magnitude", "random")
_RAMP = (-6.0, 8.0)  # exponents of the first and the last pressure
_LEAST = 1e-3  # density at which rivals end


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    data : {"mnist", "digits"}
    methods : tuple of {"hyperflux", "magnitude", "random"}
    densities : tuple of float
        Of the network, at which layers are read off.
    epochs, batch : int
    learning_rate : float
        Of Adam on weights, held.
    flow_rate : float
        Of Adam on presence.
    seeds : tuple of int
    """

    data: str = "mnist"
    methods: tuple[str, ...] = METHODS
    densities: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
    epochs: int = 100
    batch: int = 128
    learning_rate: float = 1e-3
    flow_rate: float = 1e-3
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        for method in self.methods:
            validate.choice("methods", method, METHODS)
        for density in self.densities:
            validate.real("densities", density, "(0, 1)")
        validate.integer("epochs", self.epochs, "[2, inf)")
        validate.real("flow_rate", self.flow_rate, "(0, inf)")


SMOKE = Config(data="digits", densities=(0.5, 0.2), epochs=6, batch=64, flow_rate=2e-2, seeds=(0,))
CPU = Config(epochs=20, flow_rate=3e-3)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One run.

    Parameters
    ----------
    pressure, density, accuracy : array (epochs,)
        After each epoch; the pressure that has acted last, NaN for rivals.
    layer_density : array (epochs, 3)
    """

    KIND: ClassVar[str] = "layerwise_density_cell"

    pressure: np.ndarray
    density: np.ndarray
    accuracy: np.ndarray
    layer_density: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """Densities of layers where the network's is ``wanted``: means over ``n`` seeds, 95 % Student intervals.

    NaN where no run gets there.
    """

    KIND: ClassVar[str] = "layerwise_density_row"

    method: str
    wanted: float
    n: int
    n_there: int  # runs that pass through this density
    fc1: float
    fc1_low: float
    fc1_high: float
    fc2: float
    fc2_low: float
    fc2_high: float
    fc3: float
    fc3_low: float
    fc3_high: float
    accuracy: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All methods and densities."""

    KIND: ClassVar[str] = "layerwise_density"

    rows: tuple[Row, ...]


def cells(config: Config) -> list[Config]:
    """Return one setting per method and seed: a run passes through all densities."""
    return [
        dataclasses.replace(config, methods=(method,), seeds=(seed,))
        for method in config.methods
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network through all densities."""
    rate = config.learning_rate
    how = Training(config.data, config.epochs, config.batch, rate, rate, config.seeds[0])
    trained = train(how, lambda model, n_steps: _pruner(model, n_steps, config), progress)
    pressures = [pressure_in(2 * epoch, config.epochs) for epoch in range(1, config.epochs + 1)]
    return Cell(
        pressure=np.array(pressures if config.methods[0] == "hyperflux" else [np.nan] * config.epochs),
        density=trained.density,
        accuracy=trained.accuracy,
        layer_density=trained.layer_density,
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Read layers off at the same densities of the network, and average over seeds."""
    rows = []
    n = len(config.seeds)
    for i, method in enumerate(config.methods):
        group = cells[n * i : n * (i + 1)]
        read = [
            read_off(config.densities, cell.density, np.column_stack([cell.layer_density, cell.accuracy]))
            for cell in group
        ]
        for j, wanted in enumerate(config.densities):
            found = np.array([r[j] for r in read])
            layers = [value for k in range(len(LAYERS)) for value in mean_low_high(found[:, k])]
            there = int(np.isfinite(found[:, 0]).sum())
            rows.append(Row(method, wanted, n, there, *layers, accuracy=finite_mean(found[:, -1])))
    return Result(rows=tuple(rows))


def pressure_in(k: int, epochs: int) -> float:
    """Return the pressure in the k-th of two intervals an epoch, k from 1."""
    first, last = _RAMP
    return 2.0 ** (first + (last - first) * min((k - 1) / (2 * epochs - 1), 1.0))


def read_off(wanted: Sequence[float], density: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return columns of positive values where the density first falls to what is wanted; NaN if it does not.

    Straight lines in logarithms from one epoch to the next, the first from a full network; what is 0 stays 0.
    """
    out = np.full((len(wanted), values.shape[1]), np.nan)
    density = np.concatenate([[1.0], density])
    values = np.vstack([np.append(np.ones(len(LAYERS)), values[0, len(LAYERS) :]), values])
    for j, level in enumerate(wanted):
        below = np.flatnonzero(density <= level)
        if not below.size:
            continue
        k = int(below[0])
        start, end = density[k - 1], density[k]
        if end <= 0:
            continue
        share = np.log(start / level) / np.log(start / end)
        known = (values[k - 1] > 0) & (values[k] > 0)
        ratio = np.where(known, values[k], 1.0) / np.where(known, values[k - 1], 1.0)
        out[j] = np.where(known, values[k - 1] * ratio**share, values[k])
    return out


def _pruner(model: nn.Module, n_steps: int, config: Config) -> Pruner:
    from bbtheory.train import Flow, Hyperflux, Magnitude, Random

    method, seed = config.methods[0], config.seeds[0]
    if method == "hyperflux":
        return Hyperflux(
            model,
            lambda k: pressure_in(k, config.epochs),
            interval=n_steps // (2 * config.epochs),
            flow=Flow(lr=config.flow_rate),
            stop_when_empty=False,
            seed=seed,
        )
    every = max(n_steps // (2 * config.epochs), 1)
    kept = _LEAST ** (1.0 / (2 * config.epochs))
    rival = Magnitude if method == "magnitude" else Random
    return rival(model, _LEAST, schedule="iterative", kept=kept, interval=every, warmup=every, seed=seed)

"""How few weights can the last layer do with when it alone is pruned, and when all layers are?

Source: LeNet-300-100 on MNIST, from --data-root or BBTHEORY_DATA; the smoke preset takes scikit-learn's
digits. The experiment of the authors' code of Hyperflux (arXiv 2504.05349): only fc3, 100 inputs and 10
classes, may be pruned, and the pressure goes through 5^0, 5^1, ... Their pressure is divided by the number
of all weights, though fc3 alone feels it, so the push on a presence variable is gamma/266200. The second arm
prunes all layers under the same push: the difference in fc3 is what the full layers before it are worth.

Full is the authors' 10 epochs a level; the CPU preset has 4, and presence 2.5 times as fast.

Time: 12 min on one core (CPU preset: 5 cells of 55 s of processor time, 5 of 80, extrapolated from a busy
machine), no accelerator. What would count against layers that make up for a bottleneck: an accuracy that
falls as soon alone as among pruned layers, at the same number of weights of fc3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import finite_mean, mean_low_high
from bbtheory.records import Record
from experiments._hyperflux import Training, train
from experiments.protocol import Progress

if TYPE_CHECKING:
    from torch import nn

    from bbtheory.train import Pruner

ARMS = ("last_layer", "all_layers")
_GROWTH = 5.0  # of the pressure from level to level


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    data : {"mnist", "digits"}
    arms : tuple of {"last_layer", "all_layers"}
    n_levels : int
        Pressures 5^0, 5^1, ...
    epochs : int
        Per level.
    batch : int
    learning_rate : float
        Of Adam on weights, held.
    flow_rate : float
        Of Adam on presence.
    seeds : tuple of int
    """

    data: str = "mnist"
    arms: tuple[str, ...] = ARMS
    n_levels: int = 10
    epochs: int = 10
    batch: int = 128
    learning_rate: float = 1e-3
    flow_rate: float = 1e-3
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        for arm in self.arms:
            validate.choice("arms", arm, ARMS)
        validate.integer("n_levels", self.n_levels, "[1, 20]")
        validate.integer("epochs", self.epochs, "[1, inf)")
        validate.real("flow_rate", self.flow_rate, "(0, inf)")


SMOKE = Config(data="digits", n_levels=3, epochs=2, flow_rate=5e-2, seeds=(0,))
CPU = Config(n_levels=9, epochs=4, flow_rate=2.5e-3)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One network.

    Parameters
    ----------
    accuracy : array (n_levels,)
        At the end of each level, as all below.
    layer_density : array (n_levels, 3)
    n_read : array (n_levels,)
        Inputs of the last layer that it reads.
    n_mute : array (n_levels,)
        Classes without a weight.
    """

    KIND: ClassVar[str] = "bottleneck_cell"

    accuracy: np.ndarray
    layer_density: np.ndarray
    n_read: np.ndarray
    n_mute: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One arm under one pressure: means over ``n`` seeds, 95 % Student intervals."""

    KIND: ClassVar[str] = "bottleneck_row"

    arm: str
    pressure: float  # the authors': over the number of all weights
    n: int
    fc3_weights: float
    fc3_low: float
    fc3_high: float
    n_read: float
    n_mute: float
    accuracy: float
    low: float
    high: float
    fc1: float
    fc2: float
    fc3: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All arms and pressures."""

    KIND: ClassVar[str] = "bottleneck"

    rows: tuple[Row, ...]


def cells(config: Config) -> list[Config]:
    """Return one setting per arm and seed; a run goes through all pressures."""
    return [
        dataclasses.replace(config, arms=(arm,), seeds=(seed,))
        for arm in config.arms
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network through all pressures."""
    from bbtheory.train import Flow, Hyperflux

    n_epochs, seed, rate = config.n_levels * config.epochs, config.seeds[0], config.learning_rate

    def make(model: nn.Module, n_steps: int) -> Pruner:
        n_all = sum(p.numel() for name, p in model.named_parameters() if name.endswith("weight"))
        n_last = model.get_parameter("fc3.weight").numel()
        alone = config.arms[0] == "last_layer"
        share = n_last / n_all if alone else 1.0
        return Hyperflux(
            model,
            lambda k: share * _GROWTH ** min(k - 1, config.n_levels - 1),
            interval=n_steps // config.n_levels,
            flow=Flow(lr=config.flow_rate),
            layers=["fc3"] if alone else None,
            stop_when_empty=False,
            seed=seed,
        )

    def measure(model: nn.Module) -> dict[str, float]:
        present = model.get_parameter("fc3.weight") != 0
        return {"n_read": float(present.any(0).sum()), "n_mute": float((~present.any(1)).sum())}

    how = Training(config.data, n_epochs, config.batch, rate, rate, seed)
    trained = train(how, make, progress, measure)
    ends = np.arange(1, config.n_levels + 1) * config.epochs - 1
    return Cell(
        accuracy=trained.accuracy[ends],
        layer_density=trained.layer_density[ends],
        n_read=trained.run.metric("n_read")[ends],
        n_mute=trained.run.metric("n_mute")[ends],
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds."""
    rows = []
    n = len(config.seeds)
    for i, arm in enumerate(config.arms):
        group = cells[n * i : n * (i + 1)]
        for level in range(config.n_levels):
            layers = np.array([cell.layer_density[level] for cell in group])
            rows.append(
                Row(
                    arm,
                    _GROWTH**level,
                    n,
                    *mean_low_high(layers[:, 2] * 1000),  # 100 inputs, 10 classes
                    finite_mean([cell.n_read[level] for cell in group]),
                    finite_mean([cell.n_mute[level] for cell in group]),
                    *mean_low_high([cell.accuracy[level] for cell in group]),
                    *(float(x) for x in layers.mean(axis=0)),
                )
            )
    return Result(rows=tuple(rows))

"""How much of what Budgeted Broadcast loses at low density is lost to units that are never on?

Source: the network, data and training of lenet_density (LeNet-300-100, Fashion-MNIST; the smoke preset
takes digits). The rule of arXiv 2510.01263 gives the largest degrees to the units of the smallest on-rates,
dead ones included. Here units below an on-rate get an average degree instead; differences to the published
rule are paired, seed by seed. No line is sought: this is about accuracy.

Time: 15 min on one core (CPU preset, extrapolated from 5 s a cell), no accelerator. What would count
against silent units as the cause: an accuracy that does not rise with ``silent_below`` by an interval that
excludes 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import mean_low_high
from bbtheory.records import Record
from experiments import lenet_density
from experiments.lenet_density import Cell
from experiments.protocol import Progress

__all__ = ["CPU", "SMOKE", "Cell", "Config", "Result", "cells", "collect", "run"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; the others are those of lenet_density.

    Parameters
    ----------
    data : {"fashion_mnist", "mnist", "digits"}
    actuators : tuple of {"bb_in", "bb_out", "bb_both"}
    densities : tuple of float
    silent_below : tuple of float
        On-rates below which a unit gets an average degree, in [0, 0.5); 0 is the published rule. The others
        are compared with the first.
    epochs, interval, warmup : int
    seeds : tuple of int
    """

    data: str = "fashion_mnist"
    actuators: tuple[str, ...] = lenet_density.BALANCED
    densities: tuple[float, ...] = (0.3, 0.1, 0.05)
    silent_below: tuple[float, ...] = (0.0, 0.001, 0.01, 0.05)
    epochs: int = 20
    interval: int = 50
    warmup: int = 200
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        for actuator in self.actuators:
            validate.choice("actuators", actuator, lenet_density.BALANCED)
        for below in self.silent_below:
            validate.real("silent_below", below, "[0, 0.5)")


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """Accuracy on the test images under one setting, and how much more it is than at the first floor.

    Means over ``n`` seeds with 95 % intervals; ``density`` is reached, ``wanted`` asked for.
    """

    KIND: ClassVar[str] = "silent_units_row"

    actuator: str
    wanted: float
    silent_below: float
    density: float
    n: int
    accuracy: float
    low: float
    high: float
    more: float
    more_low: float
    more_high: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """What the sweep found."""

    KIND: ClassVar[str] = "silent_units"

    rows: tuple[Row, ...]


SMOKE = Config(
    data="digits",
    actuators=("bb_in",),
    densities=(0.3,),
    silent_below=(0.0, 0.01),
    epochs=2,
    interval=6,
    warmup=6,
    seeds=(0,),
)
CPU = Config(epochs=3)


def cells(config: Config) -> list[Config]:
    """Return one setting per actuator, density, floor and seed."""
    return [
        dataclasses.replace(
            config, actuators=(actuator,), densities=(density,), silent_below=(below,), seeds=(seed,)
        )
        for actuator in config.actuators
        for density in config.densities
        for below in config.silent_below
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network."""
    return lenet_density.run(_network(config), progress)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and compare with the first floor."""
    found: dict[tuple[str, float, float], list[Cell]] = {}
    for setting, cell in zip(_cells(config), cells, strict=True):
        found.setdefault((setting.actuators[0], setting.densities[0], setting.silent_below[0]), []).append(
            cell
        )
    rows = []
    for (actuator, density, below), group in found.items():
        accuracy = np.array([cell.accuracy for cell in group])
        first = np.array([cell.accuracy for cell in found[actuator, density, config.silent_below[0]]])
        reached = float(np.mean([cell.density for cell in group]))
        own = (*mean_low_high(accuracy), *mean_low_high(accuracy - first))
        rows.append(Row(actuator, density, below, reached, len(group), *own))
    return Result(rows=tuple(rows))


_cells = cells  # ``collect`` has the records of the cells under this name


def _network(config: Config) -> lenet_density.Config:
    return lenet_density.Config(
        data=config.data,
        methods=config.actuators[:1],
        densities=config.densities[:1],
        epochs=config.epochs,
        interval=config.interval,
        warmup=config.warmup,
        silent_below=config.silent_below[0],
        seeds=config.seeds[:1],
    )

"""Does the density that a held pressure leads to depend on the learning rate of the weights?

Source: the network, data and training of convergence_at_fixed_pressure (LeNet-300-100 on MNIST; the smoke
preset takes digits): Hyperflux (arXiv 2504.05349), presence by Adam at the authors' rate, gamma = 1, weights
by Adam at several rates that are held. Runs of a seed start from the same weights, so ratios are paired. On a
separable loss with weights at their optimum no rate of the weights enters; what a rate changes is due to
learning: absent weights do not learn, and gradient noise is larger at larger rates.

Time: 20 min on one core (CPU preset: 12 cells of 100 s of processor time, extrapolated from a busy machine),
no accelerator. What would count against independence: an interval of the ratio of densities, to that at the
first rate, that excludes 1 where neither drifts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import finite_mean, mean_low_high
from bbtheory.records import Record
from experiments import convergence_at_fixed_pressure
from experiments._hyperflux import by_row, drift, spread
from experiments.convergence_at_fixed_pressure import Cell, after_arrival, fit_course
from experiments.protocol import Progress

__all__ = ["CPU", "SMOKE", "Cell", "Config", "Result", "cells", "collect", "run"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; the others are those of convergence_at_fixed_pressure.

    Parameters
    ----------
    data : {"mnist", "digits"}
    pressure : float
    learning_rates : tuple of float
        Of the weights, held; the others are compared with the first.
    flow_rate : float
        Of Adam on presence.
    epochs, batch : int
    seeds : tuple of int
    """

    data: str = "mnist"
    pressure: float = 1.0
    learning_rates: tuple[float, ...] = (1e-3, 1e-4, 5e-3, 2e-2)
    flow_rate: float = 7.5e-4
    epochs: int = 300
    batch: int = 128
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        for rate in self.learning_rates:
            validate.real("learning_rates", rate, "(0, inf)")


SMOKE = Config(data="digits", learning_rates=(5e-3, 1e-3), flow_rate=2e-2, epochs=8, seeds=(0,))
CPU = Config(epochs=40)


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One learning rate over seeds; intervals are Student's, 95 %."""

    KIND: ClassVar[str] = "learning_rate_convergence_row"

    learning_rate: float
    n: int
    density: float  # at the end
    low: float
    high: float
    ratio: float  # to that at the first rate, paired by seed
    ratio_low: float
    ratio_high: float
    drift: float  # relative change over the last tenth of the epochs
    spread: float  # standard deviation there, relative
    limit: float  # of the course that AICc chooses; 0 where there is none
    courses: str
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    fc1: float
    fc2: float
    fc3: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All learning rates; ``course`` is the density after each epoch, (n_rates, n_seeds, epochs)."""

    KIND: ClassVar[str] = "learning_rate_convergence"

    pressure: float
    rows: tuple[Row, ...]
    course: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per learning rate and seed."""
    return [
        dataclasses.replace(config, learning_rates=(rate,), seeds=(seed,))
        for rate in config.learning_rates
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network under one pressure."""
    held = convergence_at_fixed_pressure.Config(
        data=config.data,
        pressure=config.pressure,
        flows=("adam",),
        schedules=("held",),
        learning_rate=config.learning_rates[0],
        adam_rate=config.flow_rate,
        epochs=config.epochs,
        batch=config.batch,
        seeds=config.seeds[:1],
    )
    return convergence_at_fixed_pressure.run(held, progress)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and compare with the first rate."""
    rows = []
    n = len(config.seeds)
    reference = np.array([cell.density[-1] for cell in cells[:n]])
    for i, rate in enumerate(config.learning_rates):
        group = cells[n * i : n * (i + 1)]
        last = np.array([cell.density[-1] for cell in group])
        fits = [fit_course(after_arrival(cell)) for cell in group]
        chosen = sorted({fit.chosen for fit in fits})
        layers = np.mean([cell.layer_density for cell in group], axis=0)
        rows.append(
            Row(
                rate,
                n,
                *mean_low_high(last),
                *mean_low_high(last / np.where(reference > 0, reference, np.nan)),
                finite_mean([drift(cell.density) for cell in group]),
                finite_mean([spread(cell.density) for cell in group]),
                finite_mean([fit.limit for fit in fits]),
                ", ".join(f"{sum(fit.chosen == c for fit in fits)} {c}" for c in chosen if c),
                *mean_low_high([cell.accuracy[-1] for cell in group]),
                fc1=float(layers[0]),
                fc2=float(layers[1]),
                fc3=float(layers[2]),
            )
        )
    return Result(config.pressure, tuple(rows), by_row([cell.density for cell in cells], n))

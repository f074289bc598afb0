"""How much of a small pressure's density is an artefact of Adam's eps, on a real network?

Source: LeNet-300-100 on MNIST, from --data-root or BBTHEORY_DATA; the smoke preset takes scikit-learn's
digits. Hyperflux (arXiv 2504.05349) under small held pressures, presence by Adam with its default eps of 1e-8
and with 1e-12; runs of a seed are otherwise the same. The push gamma/N is 9e-10 to 6e-8 here, as under
gamma = 0.02 to 1.4 on the 23.5 million weights of ResNet-50.

A weight whose input is background in all images is ``idle``: it feels the pressure alone, Adam moves its t by
rate/(1 + eps N/gamma) a step, and with t uniform in (0.2, 0.5) at the start that gives the delay exactly.
Others feel gradients too, and the noise of those in the root mean square may hide eps. adam_eps_toy has the
same on a loss that is solved.

Time: 25 min on one core (CPU preset: 18 cells of 80 s of processor time, extrapolated from a busy machine),
no accelerator. What would count against the theory (eps moves the time, not the equilibrium): idle weights
that leave at other times; densities that go on differing at the end, when idle weights are gone under both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import finite_mean, mean_low_high
from bbtheory.records import Record
from experiments._hyperflux import Training, by_row, drift, load, train
from experiments.protocol import Progress

if TYPE_CHECKING:
    from torch import nn

    from bbtheory.train import Pruner

_START = (0.2, 0.5)  # ends of the uniform draw of t


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    data : {"mnist", "digits"}
    exponents : tuple of int
        k of the pressures 2^k.
    eps : tuple of float
        Of Adam on presence; the others are compared with the last.
    epochs, batch : int
    learning_rate : float
        Of Adam on weights, held.
    flow_rate : float
    seeds : tuple of int
    """

    data: str = "mnist"
    exponents: tuple[int, ...] = (-12, -9, -6)
    eps: tuple[float, ...] = (1e-8, 1e-12)
    epochs: int = 200
    batch: int = 128
    learning_rate: float = 1e-3
    flow_rate: float = 7.5e-4
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        for exponent in self.exponents:
            validate.integer("exponents", exponent, "[-60, 60]")
        for eps in self.eps:
            validate.real("eps", eps, "(0, inf)")
        validate.real("flow_rate", self.flow_rate, "(0, inf)")


SMOKE = Config(data="digits", exponents=(-11,), epochs=10, flow_rate=1e-2, seeds=(0,))
CPU = Config(epochs=30)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One network.

    Parameters
    ----------
    density, accuracy : array (epochs,)
        After each epoch.
    idle : array (epochs,)
        Share of the weights with an input that is always 0 that are present.
    idle_predicted : array (epochs,)
    n_idle : int
    push : float
        gamma/N.
    """

    KIND: ClassVar[str] = "adam_eps_artefact_cell"

    density: np.ndarray
    accuracy: np.ndarray
    idle: np.ndarray
    idle_predicted: np.ndarray
    n_idle: int
    push: float


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One pressure and eps over seeds; intervals are Student's, 95 %, differences paired by seed."""

    KIND: ClassVar[str] = "adam_eps_artefact_row"

    pressure: float
    eps: float
    n: int
    delay: float  # 1 + eps N / gamma
    early: float  # density after a tenth of the epochs
    early_excess: float  # over that with the last eps
    early_low: float
    early_high: float
    density: float  # at the end
    excess: float
    low: float
    high: float
    drift: float
    n_idle: int
    idle_early: float
    idle_end: float
    idle_error: float  # largest distance of their share from the prediction, over epochs and seeds
    accuracy: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All pressures and eps; courses are (n_rows, n_seeds, epochs).

    Parameters
    ----------
    rows : tuple of Row
    course : array
        Density after each epoch.
    idle, idle_predicted : array
        Share of idle weights that are present.
    """

    KIND: ClassVar[str] = "adam_eps_artefact"

    rows: tuple[Row, ...]
    course: np.ndarray
    idle: np.ndarray
    idle_predicted: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per pressure, eps and seed."""
    return [
        dataclasses.replace(config, exponents=(exponent,), eps=(eps,), seeds=(seed,))
        for exponent in config.exponents
        for eps in config.eps
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network under one pressure."""
    from bbtheory.train import Flow, Hyperflux

    gamma, eps, seed, rate = 2.0 ** config.exponents[0], config.eps[0], config.seeds[0], config.learning_rate
    idle = (load(config.data, progress.data_root)[0] == 0).all(0)
    n_weights = 1
    length = 1

    def make(model: nn.Module, n_steps: int) -> Pruner:
        nonlocal n_weights, length
        length = n_steps // config.epochs
        flow = Flow(lr=config.flow_rate, eps=eps)
        flux = Hyperflux(
            model, gamma, interval=length, flow=flow, presence=_START, stop_when_empty=False, seed=seed
        )
        n_weights = flux.n_weights
        return flux

    def measure(model: nn.Module) -> dict[str, float]:
        return {"idle": float((model.get_parameter("fc1.weight")[:, idle] != 0).double().mean())}

    how = Training(config.data, config.epochs, config.batch, rate, rate, seed)
    trained = train(how, make, progress, measure)
    push = gamma / n_weights
    steps = length * np.arange(1, config.epochs + 1)
    return Cell(
        density=trained.density,
        accuracy=trained.accuracy,
        idle=trained.run.metric("idle"),
        idle_predicted=idle_share(steps, config.flow_rate, eps / push),
        n_idle=int(idle.sum()) * trained.model.get_parameter("fc1.weight").shape[0],
        push=push,
    )


def idle_share(steps: np.ndarray, rate: float, eps_over_push: float) -> np.ndarray:
    """Return the share of weights still present that feel a constant push, from t uniform in (0.2, 0.5).

    Adam's moments of a constant gradient g are g and g^2 once corrected for their bias, so that each step is
    rate g/(g + eps).
    """
    low, high = _START
    return np.clip((high - rate * steps / (1.0 + eps_over_push)) / (high - low), 0.0, 1.0)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and compare with the last eps."""
    rows = []
    n, n_eps = len(config.seeds), len(config.eps)
    early = max(config.epochs // 10, 1) - 1
    for i, setting in enumerate(_cells(config)[::n]):
        group = cells[n * i : n * (i + 1)]
        last = (i // n_eps + 1) * n_eps - 1
        reference = cells[n * last : n * (last + 1)]
        excess = np.array([a.density - b.density for a, b in zip(group, reference, strict=True)])
        rows.append(
            Row(
                2.0 ** setting.exponents[0],
                setting.eps[0],
                n,
                1.0 + setting.eps[0] / group[0].push,
                finite_mean([cell.density[early] for cell in group]),
                *mean_low_high(excess[:, early]),
                finite_mean([cell.density[-1] for cell in group]),
                *mean_low_high(excess[:, -1]),
                drift=finite_mean([drift(cell.density) for cell in group]),
                n_idle=group[0].n_idle,
                idle_early=finite_mean([cell.idle[early] for cell in group]),
                idle_end=finite_mean([cell.idle[-1] for cell in group]),
                idle_error=float(max(np.abs(cell.idle - cell.idle_predicted).max() for cell in group)),
                accuracy=finite_mean([cell.accuracy[-1] for cell in group]),
            )
        )
    courses = ([getattr(cell, name) for cell in cells] for name in ("density", "idle", "idle_predicted"))
    return Result(tuple(rows), *(by_row(course, n) for course in courses))


_cells = cells  # ``collect`` has the records of the cells under this name

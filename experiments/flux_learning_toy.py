"""Does the density under pressure depend on where the weights start, once they learn?

Source: the model of Hyperflux (arXiv 2504.05349), weights learning on a loss that lets them not interact
(`bbtheory.simulate.simulate_flux`), against this project's equilibrium of presence and weight. Weights start
at a part of their optimum with t near 0, learn by SGD with and without weight decay, and are counted.
Control: weights that start at their optimum without decay have no memory and follow the static law.

Time: 30 s on one core (CPU preset), no accelerator. What would count against the theory: a weight that starts
below gamma/F of its optimum and lives, or a presence off the equilibrium by more than its interval and the
size of a learning step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import solve_presence, validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.records import Record
from bbtheory.simulate import Optimizer, SolvableLoss, simulate_flux
from experiments.protocol import Progress

_EPOCH = 1000  # steps


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    ratios : tuple of float
        F/gamma, F at w = w*.
    starts : tuple of float
        w/w* before the first step.
    decays : tuple of float
        delta/lambda.
    n_copies : int
        Weights of each ratio.
    learning_step : float
        Learning rate of w times the curvature.
    pressure_step : float
        By which the pressure alone moves t per step; t starts between 0 and that.
    noise : float
        Standard deviation of the gradient noise on t, in units of the pressure's gradient, at w = w*.
    n_steps : int
        A third of them before measuring.
    seeds : tuple of int
        Starts and noise.
    """

    ratios: tuple[float, ...] = (1.05, 1.3, 1.6, 2.0, 3.0, 5.0, 10.0, 30.0)
    starts: tuple[float, ...] = (0.3, 0.6, 1.0)
    decays: tuple[float, ...] = (0.0, 0.05)
    n_copies: int = 25
    learning_step: float = 5e-4
    pressure_step: float = 1e-3
    noise: float = 0.0
    n_steps: int = 300_000
    seeds: tuple[int, ...] = tuple(range(40))

    def __post_init__(self) -> None:
        validate.array("ratios", self.ratios, "(1, inf)")
        validate.array("starts", self.starts)
        validate.array("decays", self.decays, "[0, inf)")
        validate.integer("n_copies", self.n_copies, "[1, inf)")
        validate.real("learning_step", self.learning_step, "(0, 0.1]")
        validate.real("pressure_step", self.pressure_step, "(0, inf)")
        validate.real("noise", self.noise, "[0, inf)")
        validate.integer("n_steps", self.n_steps, f"[{3 * _EPOCH}, inf)")


SMOKE = Config(ratios=(1.3, 3.0, 10.0), n_copies=5, learning_step=5e-3, n_steps=9_000, seeds=(0, 1))
CPU = Config(n_steps=90_000, seeds=tuple(range(20)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """Presence and w/w* at the end of one seed, mean over copies, (n_decays, n_starts, n_ratios)."""

    KIND: ClassVar[str] = "flux_learning_toy_cell"

    presence: np.ndarray
    weight: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Means over seeds, (n_decays, n_starts, n_ratios), 95 % Student intervals (2, ...), beside the theory.

    Parameters
    ----------
    n_seeds : int
    decays, starts, ratios : np.ndarray
        The axes.
    learning_step : float
        The theory is that of the limit 0.
    presence, presence_interval, weight, weight_interval : np.ndarray
        Fraction of time present; w/w* after the last step.
    predicted_presence, predicted_weight : np.ndarray
        Equilibrium from that start.
    static_law : np.ndarray, shape (n_ratios,)
        1 - gamma/F.
    """

    KIND: ClassVar[str] = "flux_learning_toy"

    n_seeds: int
    decays: np.ndarray
    starts: np.ndarray
    ratios: np.ndarray
    learning_step: float
    presence: np.ndarray
    presence_interval: np.ndarray
    weight: np.ndarray
    weight_interval: np.ndarray
    predicted_presence: np.ndarray
    predicted_weight: np.ndarray
    static_law: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Train one population per decay and start."""
    progress.total(len(config.decays) * len(config.starts))
    flux = np.repeat(config.ratios, config.n_copies)
    n, n_epochs = flux.size, config.n_steps // _EPOCH
    optimum = np.sqrt(4.0 * flux / n)  # curvature 1, pressure 1
    loss = SolvableLoss(np.ones(n), optimum, 4.0 * config.noise / (n * optimum))
    shape = len(config.decays), len(config.starts), len(config.ratios)
    presence, weight = np.empty(shape), np.empty(shape)
    for i, decay in enumerate(config.decays):
        for k, start in enumerate(config.starts):
            held = simulate_flux(
                loss,
                1.0,
                n_epochs=n_epochs,
                epoch_steps=_EPOCH,
                n_measured=n_epochs - n_epochs // 3,
                flow=Optimizer(learning_rate=config.pressure_step * n),
                learning=Optimizer(learning_rate=config.learning_step, weight_decay=decay),
                weight_start=start * optimum,
                presence_start=(0.0, config.pressure_step),
                seed=config.seeds[0],
            )
            presence[i, k] = held.presence.reshape(-1, config.n_copies).mean(axis=1)
            weight[i, k] = (held.weight / optimum).reshape(-1, config.n_copies).mean(axis=1)
            progress.tick()
    return Cell(presence=presence, weight=weight)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average the seeds and predict."""
    ratios = np.array(config.ratios)
    presence, presence_interval = mean_interval(np.array([cell.presence for cell in cells]))
    weight, weight_interval = mean_interval(np.array([cell.weight for cell in cells]))
    predicted = [
        [solve_presence(ratios, 1.0, weight_decay=decay, start=start) for start in config.starts]
        for decay in config.decays
    ]
    return Result(
        n_seeds=len(cells),
        decays=np.array(config.decays),
        starts=np.array(config.starts),
        ratios=ratios,
        learning_step=config.learning_step,
        presence=presence,
        presence_interval=presence_interval,
        weight=weight,
        weight_interval=weight_interval,
        predicted_presence=np.array([[p.presence for p in row] for row in predicted]),
        predicted_weight=np.array([[p.weight for p in row] for row in predicted]),
        static_law=1.0 - 1.0 / ratios,
    )

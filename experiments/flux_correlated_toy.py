"""How far does the duty-cycle law hold where features correlate, so that weights stand in for each other?

Source: the model of Hyperflux (arXiv 2504.05349) on a linear regression trained in minibatches with noisy
labels (`bbtheory.simulate.simulate_flux`), weights held at least squares. Neighbouring features correlate;
optima have random signs. Predicted twice: by the law of the fluxes that weights feel one at a time, and by
the quadratic programme that lets absent weights pull on each other. Control: the same samples with features
made exactly orthogonal must follow the first law.

Time: 1 min on one core (CPU preset), no accelerator. What would count against the theory: the control off the
law, or the quadratic programme off the density by more than the sampling error at any correlation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import density_under_pressure, power_spectrum, validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.records import Record
from bbtheory.simulate import FluxRun, Optimizer, RegressionLoss, draw_regression, simulate_flux
from bbtheory.theory.coupled_flux import solve_coupled_presence
from experiments.protocol import Progress

_EPOCH = 1000  # steps
_KAPPA = 0.25


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    correlations : tuple of float
        Of neighbouring features, rho^|j-k|.
    n_weights, n_samples, batch : int
    label_noise : float
        Standard deviation; the signal has variance 1 where features do not correlate.
    decay : float
        p of the power spectrum of fluxes where features do not correlate, in random order.
    n_left : tuple of float
        Fluxes of that spectrum above each pressure.
    pressure_step : float
        By which the pressure alone moves t per step.
    n_steps : int
        A quarter of them before measuring.
    seeds : tuple of int
        Data, minibatches, starts.
    """

    correlations: tuple[float, ...] = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
    n_weights: int = 40
    n_samples: int = 400
    batch: int = 16
    label_noise: float = 0.3
    decay: float = 1.0
    n_left: tuple[float, ...] = (40.0, 28.0, 20.0, 12.0, 6.0, 3.0)
    pressure_step: float = 3e-3
    n_steps: int = 400_000
    seeds: tuple[int, ...] = tuple(range(40))

    def __post_init__(self) -> None:
        validate.array("correlations", self.correlations, "(-1, 1)")
        validate.integer("n_weights", self.n_weights, "[2, inf)")
        validate.integer("n_samples", self.n_samples, f"({self.n_weights}, inf)")
        validate.integer("batch", self.batch, "[0, inf)")
        validate.real("label_noise", self.label_noise, "[0, inf)")
        validate.real("decay", self.decay, "(0, inf)")
        validate.array("n_left", self.n_left, "(0, inf)")
        validate.real("pressure_step", self.pressure_step, "(0, inf)")
        validate.integer("n_steps", self.n_steps, f"[{4 * _EPOCH}, inf)")


SMOKE = Config(correlations=(0.0, 0.8), n_left=(20.0, 6.0), n_steps=8_000, seeds=(0, 1))
CPU = Config(n_steps=60_000, seeds=tuple(range(20)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One seed; rows are the correlations and last the control, columns the pressures.

    Parameters
    ----------
    density, law_density, coupled_density : np.ndarray, shape (n_rows, n_pressures)
        Measured; from fluxes one at a time; from the quadratic programme.
    law_miss, coupled_miss : np.ndarray, shape (n_rows, n_pressures)
        Root mean square difference between a weight's presence and its prediction.
    """

    KIND: ClassVar[str] = "flux_correlated_toy_cell"

    density: np.ndarray
    law_density: np.ndarray
    coupled_density: np.ndarray
    law_miss: np.ndarray
    coupled_miss: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Means over seeds and 95 % Student intervals (2, ...); arrays (n_rows, n_pressures) as in `Cell`.

    Parameters
    ----------
    n_seeds, n_weights : int
    correlation : np.ndarray, shape (n_rows,)
        The last row is the control, NaN.
    n_left : np.ndarray, shape (n_pressures,)
        Fluxes above the pressure where features do not correlate.
    density, density_interval : np.ndarray
        Measured.
    law_density, coupled_density : np.ndarray
        Predicted.
    law_error, law_error_interval, coupled_error, coupled_error_interval : np.ndarray
        Measured less predicted density, seed by seed.
    law_miss, coupled_miss : np.ndarray
        Per weight.
    """

    KIND: ClassVar[str] = "flux_correlated_toy"

    n_seeds: int
    n_weights: int
    correlation: np.ndarray
    n_left: np.ndarray
    density: np.ndarray
    density_interval: np.ndarray
    law_density: np.ndarray
    coupled_density: np.ndarray
    law_error: np.ndarray
    law_error_interval: np.ndarray
    coupled_error: np.ndarray
    coupled_error_interval: np.ndarray
    law_miss: np.ndarray
    coupled_miss: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Train and predict one data set per correlation, and the control."""
    seed = config.seeds[0]
    rng = np.random.default_rng(seed)
    spectrum = rng.permutation(power_spectrum(config.n_weights, config.decay))
    spectrum /= spectrum.sum()
    optimum = np.sqrt(spectrum) * rng.choice([-1.0, 1.0], config.n_weights)
    progress.total(len(config.correlations) + 1)
    rows = []
    for correlation in (*config.correlations, None):
        loss = draw_regression(
            optimum,
            correlation=config.correlations[-1] if correlation is None else correlation,
            n_samples=config.n_samples,
            noise=config.label_noise,
            batch=config.batch,
            seed=seed,
        )
        rows.append(
            [
                _compare(loss if correlation is not None else _whitened(loss), g, config)
                for g in _pressures(config)
            ]
        )
        progress.tick()
    return Cell(*np.moveaxis(np.array(rows), -1, 0))


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average the seeds."""
    density = np.array([cell.density for cell in cells])
    law = np.array([cell.law_density for cell in cells])
    coupled = np.array([cell.coupled_density for cell in cells])
    mean, interval = mean_interval(density)
    law_error, law_interval = mean_interval(density - law)
    coupled_error, coupled_interval = mean_interval(density - coupled)
    return Result(
        n_seeds=len(cells),
        n_weights=config.n_weights,
        correlation=np.array([*config.correlations, np.nan]),
        n_left=np.array(config.n_left),
        density=mean,
        density_interval=interval,
        law_density=law.mean(axis=0),
        coupled_density=coupled.mean(axis=0),
        law_error=law_error,
        law_error_interval=law_interval,
        coupled_error=coupled_error,
        coupled_error_interval=coupled_interval,
        law_miss=np.mean([cell.law_miss for cell in cells], axis=0),
        coupled_miss=np.mean([cell.coupled_miss for cell in cells], axis=0),
    )


def _pressures(config: Config) -> np.ndarray:
    spectrum = power_spectrum(config.n_weights, config.decay)
    top = _KAPPA * config.n_weights / spectrum.sum()
    return top * np.array(config.n_left) ** -config.decay


def _whitened(loss: RegressionLoss) -> RegressionLoss:
    """The same labels, features with second moments exactly 1 and no correlation."""
    values, vectors = np.linalg.eigh(loss.gram)
    return RegressionLoss(loss.features @ (vectors / np.sqrt(values)) @ vectors.T, loss.targets, loss.batch)


def _compare(loss: RegressionLoss, gamma: float, config: Config) -> tuple[float, ...]:
    """Return density, both predictions, and both root mean square differences per weight."""
    held = _hold(loss, gamma, config)
    w, gram = loss.optimum, loss.gram
    coupled = solve_coupled_presence(gram, w, gamma)
    alone = np.maximum(0.0, 1.0 - gamma / coupled.flux)
    return (
        held.final_density,
        float(density_under_pressure(coupled.flux, gamma).density[0]),
        coupled.density,
        float(np.sqrt(np.mean((held.presence - alone) ** 2))),
        float(np.sqrt(np.mean((held.presence - coupled.presence) ** 2))),
    )


def _hold(loss: RegressionLoss, gamma: float, config: Config) -> FluxRun:
    n_epochs = config.n_steps // _EPOCH
    return simulate_flux(
        loss,
        gamma,
        n_epochs=n_epochs,
        epoch_steps=_EPOCH,
        n_measured=n_epochs - n_epochs // 4,
        flow=Optimizer(learning_rate=config.pressure_step * config.n_weights / gamma),
        seed=config.seeds[0],
    )

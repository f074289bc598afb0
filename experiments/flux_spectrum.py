"""Does a power spectrum of fluxes show the derived density law, and do optimizers keep the duty cycle?

Source: this project's theory of flux under pressure, for the model of Hyperflux (arXiv 2504.05349). First
part: the exact density of F_j = F_1 j^-p under many pressures; its log-log slope in the reference window
against the predicted finite-size exponent and against 1/p, and the density where its local exponent stops
growing against 1/(1 + 1/p). Second part, no formula in it: presence variables pushed down by the pressure
and up by their flux while absent are stepped with SGD, momentum and Adam, with and without gradient noise,
and the fraction of time each is present is counted.

Time: 2 min on one core (CPU preset), no accelerator. What would count against the theory: a slope further
from the prediction than the closed form's bound allows, a region that ends elsewhere, or a time-averaged
presence off max(0, 1 - gamma/F) by more than the count's own error for an optimizer that is linear in the
gradient. Adam is not; the theory says its absent fraction grows too large at large F/gamma.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import (
    PressureCurve,
    density_under_pressure,
    derive_power_law,
    power_spectrum,
    region_end_density,
    validate,
)
from bbtheory.records import Record
from experiments.protocol import Progress

OPTIMIZERS = ("sgd", "momentum", "adam")
WINDOW = (0.005, 0.5)  # density, the reference window of the pruning law
_POINTS = 400  # pressures per spectrum, evenly spaced in the logarithm
_PLATEAU = 0.99  # share of its final value at which the local exponent counts as arrived
_PER_ROUND = 1000  # steps between ticks


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    decays, sizes : tuple
        p and n of the spectra.
    n_fluxes : int
        Presence variables per optimizer and noise level; F/gamma evenly spaced in the logarithm.
    flux_low, flux_high : float
        Ends of F/gamma.
    noise : tuple of float
        Standard deviation of the gradient noise over the pressure.
    n_steps : int
        Steps; presence is counted over the second half.
    learning_rate : float
        Of the presence variables, the pressure gradient being 1; they start at 0.2 to 0.5.
    seeds : tuple of int
        Starts and noise.
    """

    decays: tuple[float, ...] = (0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0)
    sizes: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    n_fluxes: int = 301
    flux_low: float = 0.5
    flux_high: float = 1000.0
    noise: tuple[float, ...] = (0.0, 3.0)
    n_steps: int = 1_000_000
    learning_rate: float = 1e-3
    seeds: tuple[int, ...] = tuple(range(16))

    def __post_init__(self) -> None:
        validate.array("decays", self.decays, "(0, inf)")
        validate.array("sizes", self.sizes, "[200, inf)")
        validate.integer("n_fluxes", self.n_fluxes, "[2, inf)")
        validate.real("flux_low", self.flux_low, "(0, inf)")
        if validate.real("flux_high", self.flux_high, "(0, inf)") <= self.flux_low:
            raise ValueError(f"flux_high must be above flux_low = {self.flux_low}, got {self.flux_high}")
        validate.array("noise", self.noise, "[0, inf)")
        validate.integer("n_steps", self.n_steps, "[2, inf)")
        validate.real("learning_rate", self.learning_rate, "(0, inf)")


SMOKE = Config(decays=(0.8, 1.6), sizes=(1_000, 20_000), n_fluxes=31, n_steps=6_000, seeds=(0, 1))
CPU = Config(n_steps=120_000, seeds=tuple(range(8)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """Counted presence of one seed, (n_optimizers, n_noise, n_fluxes)."""

    KIND: ClassVar[str] = "flux_spectrum_cell"

    presence: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Measured and predicted, side by side.

    Parameters
    ----------
    decay, n_weights : np.ndarray, shape (n_spectra,)
        p and n; the rows of the six arrays that follow.
    window_exponent, predicted_exponent, limit_exponent : np.ndarray, shape (n_spectra,)
        Log-log slope of the exact density inside the window; of the closed form; 1/p.
    n_window : np.ndarray, shape (n_spectra,)
        Pressures inside the window.
    end_density, predicted_end : np.ndarray, shape (n_spectra,)
        Density where the local exponent comes within 1 percent of its plateau; 1/(1 + 1/p).
    optimizers : tuple of str
    noise : np.ndarray, shape (n_noise,)
    flux_ratio : np.ndarray, shape (n_fluxes,)
        F/gamma.
    presence, presence_stderr : np.ndarray, shape (n_optimizers, n_noise, n_fluxes)
        Fraction of time present: mean over seeds, and its standard error (0 for one seed).
    duty_cycle : np.ndarray, shape (n_fluxes,)
        max(0, 1 - gamma/F).
    density, density_stderr : np.ndarray, shape (n_optimizers, n_noise)
        Mean presence over all fluxes.
    predicted_density : float
        What the theory gives for these fluxes.
    largest_miss : np.ndarray, shape (n_optimizers, n_noise)
        Largest |presence - duty_cycle|.
    absent_ratio : np.ndarray, shape (n_optimizers, n_noise, 3)
        Counted over predicted absent fraction, mean over F/gamma within 25 percent of 10, 100 and 1000; NaN
        outside the fluxes of these settings.
    """

    KIND: ClassVar[str] = "flux_spectrum"

    decay: np.ndarray
    n_weights: np.ndarray
    window_exponent: np.ndarray
    predicted_exponent: np.ndarray
    limit_exponent: np.ndarray
    n_window: np.ndarray
    end_density: np.ndarray
    predicted_end: np.ndarray
    optimizers: tuple[str, ...]
    noise: np.ndarray
    flux_ratio: np.ndarray
    presence: np.ndarray
    presence_stderr: np.ndarray
    duty_cycle: np.ndarray
    density: np.ndarray
    density_stderr: np.ndarray
    predicted_density: float
    largest_miss: np.ndarray
    absent_ratio: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Step the presence variables of one seed with each optimizer."""
    progress.total(len(OPTIMIZERS) * (config.n_steps // _PER_ROUND))
    flux, noise = _fluxes(config), np.array(config.noise)[:, None]
    presence = []
    for optimizer in OPTIMIZERS:
        rng = np.random.default_rng(config.seeds[0])
        presence.append(_step(optimizer, flux, noise, config, rng, progress))
    return Cell(presence=np.array(presence))


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average the seeds and measure the spectra."""
    flux = _fluxes(config)
    each = np.array([cell.presence for cell in cells])
    presence, density = each.mean(axis=0), each.mean(axis=-1)
    theory = density_under_pressure(flux, 1.0)
    duty_cycle = np.maximum(0.0, 1.0 - 1.0 / flux)
    spectra = [_spectrum(p, n) for p in config.decays for n in config.sizes]
    columns = [np.array(column) for column in zip(*spectra, strict=True)]
    return Result(
        *columns,
        optimizers=OPTIMIZERS,
        noise=np.array(config.noise),
        flux_ratio=flux,
        presence=presence,
        presence_stderr=_stderr(each),
        duty_cycle=duty_cycle,
        density=density.mean(axis=0),
        density_stderr=_stderr(density),
        predicted_density=float(theory.density[0]),
        largest_miss=np.abs(presence - duty_cycle).max(axis=-1),
        absent_ratio=np.stack([_absent_ratio(presence, flux, at) for at in (10.0, 100.0, 1000.0)], axis=-1),
    )


def _fluxes(config: Config) -> np.ndarray:
    return np.geomspace(config.flux_low, config.flux_high, config.n_fluxes)


def _step(
    optimizer: str,
    flux: np.ndarray,
    noise: np.ndarray,
    config: Config,
    rng: np.random.Generator,
    progress: Progress,
) -> np.ndarray:
    """Return the counted presence (n_noise, n_fluxes), in units where the pressure's gradient is 1."""
    t = rng.uniform(0.2, 0.5, (noise.size, flux.size))
    first, second = np.zeros_like(t), np.zeros_like(t)
    count, counted = np.zeros_like(t), config.n_steps - config.n_steps // 2
    for k in range(1, config.n_steps + 1):
        present = t >= 0
        if k > config.n_steps - counted:
            count += present
        gradient = 1.0 - flux * ~present + noise * rng.standard_normal(t.shape)
        if optimizer == "sgd":
            t -= config.learning_rate * gradient
        elif optimizer == "momentum":
            first = 0.9 * first + gradient
            t -= 0.1 * config.learning_rate * first
        else:
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            t -= config.learning_rate * (first / (1 - 0.9**k)) / np.sqrt(second / (1 - 0.999**k))
        if k % _PER_ROUND == 0:
            progress.tick()
    return count / counted


def _spectrum(p: float, n: int) -> tuple[float, ...]:
    """Measure the exact curve of one spectrum; return the columns of `Result` in their order."""
    flux = power_spectrum(n, p)
    gamma = np.geomspace(0.02 * flux[-1], 0.999, _POINTS)
    curve = density_under_pressure(flux, gamma)
    inside = (curve.density > WINDOW[0]) & (curve.density <= WINDOW[1])
    law = derive_power_law(gamma[inside], n_weights=n, decay=p)
    slope = -np.polyfit(np.log(gamma[inside]), np.log(curve.density[inside]), 1)[0]
    density, local = _local_exponents(curve)
    plateau = np.median(local[(density > 0.05) & (density <= 0.3)])
    top, rising = _local_exponents(density_under_pressure(flux, np.geomspace(0.1, 10.0, _POINTS) * flux[-1]))
    end = top[np.argmax(rising >= _PLATEAU * plateau)]
    predicted_end = float(region_end_density(1.0 / p))
    return p, n, slope, law.window_exponent, law.exponent, int(inside.sum()), end, predicted_end


def _local_exponents(curve: PressureCurve) -> tuple[np.ndarray, np.ndarray]:
    """Return densities and local exponents halfway between points, by finite differences alone."""
    x, y = np.log(curve.pressure), np.log(curve.density)
    return np.exp(0.5 * (y[1:] + y[:-1])), -np.diff(y) / np.diff(x)


def _absent_ratio(presence: np.ndarray, flux: np.ndarray, at: float) -> np.ndarray:
    near = (flux > 0.75 * at) & (flux < 1.25 * at)
    if not near.any():
        return np.full(presence.shape[:-1], np.nan)
    return ((1.0 - presence[..., near]) * flux[near]).mean(axis=-1)


def _stderr(each: np.ndarray) -> np.ndarray:
    """Standard error of the mean over the first axis."""
    if each.shape[0] == 1:
        return np.zeros(each.shape[1:])
    return each.std(axis=0, ddof=1) / np.sqrt(each.shape[0])

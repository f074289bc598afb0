"""Does density under pressure follow mean max(0, 1 - gamma/F) where nothing knows that law?

Source: the model of Hyperflux (arXiv 2504.05349), trained on a loss whose weights do not interact
(`bbtheory.simulate.simulate_flux`), against this project's duty-cycle law. For power spectra of fluxes: the
density at many pressures and its log-log slope, with gradient noise; the density at which the first weight
dies, where the power law starts; the same under momentum and Adam; the pressure in stairs that double, and
set by the authors' schedulers, which aim at a target. Controls: a uniform spectrum has no power law; weights
paired at random with their optima do not follow the law of the paired ones; without pressure nothing goes.

Time: 4 min on one core (CPU preset), no accelerator. What would count against the law: a density off by more
than its sampling error, an exponent off 1/p by more than the finite-size term, a first death elsewhere than
at density p/(p+1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import density_under_pressure, derive_power_law, fit_power_law, power_spectrum, validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.records import Record
from bbtheory.schedules import sigmoid_trajectory, staircase_pressure
from bbtheory.simulate import FluxRun, Optimizer, PressureSchedule, SolvableLoss, simulate_flux
from experiments.protocol import Progress

OPTIMIZERS = ("sgd", "momentum", "adam")
RECURSIONS = ("follow", "ratchet")
WINDOW = (0.005, 0.5)  # density, the reference window of the pruning law
_STEP = 0.01  # by which the pressure alone moves t per step
_SLOW = 1e-3  # the same on the lowest stair
_MOMENTUM = 0.9
_FEWEST = 4.0  # fluxes above the largest pressure
_EPOCH = 1000  # steps, where the pressure does not change
_DEATH_GRID = 1.02  # factor between pressures around the first death
_N_DEATH = 15
_ADAM = 1e-3  # learning rate of the authors' presence variables
_NEAR_ZERO = 1e-16  # eps that does nothing


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    decays : tuple of float
        p of the spectra F_j = j^-p.
    n_weights : int
    n_pressures : int
        Evenly spaced in the logarithm, from a quarter of F_n to where 4 fluxes are left above.
    noise : float
        Standard deviation of the gradient noise on t, in units of the pressure's gradient.
    n_steps : int
        Per pressure, a quarter of them before measuring.
    stair_epochs, epoch_steps : int
        Epochs per doubling, and steps per epoch of all schedules.
    n_epochs : int
        Of the authors' schedulers.
    targets : tuple of float
        Densities they aim at.
    top : float
        F_1 of the scheduled runs (p = 1), which sets what their pressures mean.
    seeds : tuple of int
        Starts, noise, order of the spectrum.
    """

    decays: tuple[float, ...] = (0.8, 1.0, 1.5, 2.0)
    n_weights: int = 300
    n_pressures: int = 24
    noise: float = 1.0
    n_steps: int = 100_000
    stair_epochs: int = 20
    epoch_steps: int = 391
    n_epochs: int = 100
    targets: tuple[float, ...] = (0.3, 0.05, 0.01)
    top: float = 1000.0
    seeds: tuple[int, ...] = tuple(range(40))

    def __post_init__(self) -> None:
        validate.array("decays", self.decays, "(0, inf)")
        validate.integer("n_weights", self.n_weights, "[50, inf)")
        validate.integer("n_pressures", self.n_pressures, "[8, inf)")
        validate.real("noise", self.noise, "[0, inf)")
        validate.integer("n_steps", self.n_steps, f"[{4 * _EPOCH}, inf)")
        validate.integer("stair_epochs", self.stair_epochs, "[2, inf)")
        validate.integer("epoch_steps", self.epoch_steps, "[1, inf)")
        validate.integer("n_epochs", self.n_epochs, "[2, inf)")
        validate.array("targets", self.targets, "(0, 1)")
        validate.real("top", self.top, "(0, inf)")


SMOKE = Config(
    decays=(1.0,),
    n_weights=100,
    n_pressures=8,
    n_steps=8_000,
    stair_epochs=2,
    epoch_steps=100,
    n_epochs=20,
    targets=(0.3,),
    seeds=(0, 1),
)
CPU = Config(n_pressures=16, n_steps=16_000, stair_epochs=10, seeds=tuple(range(20)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """Densities of one seed.

    Parameters
    ----------
    density : np.ndarray, shape (n_optimizers, n_decays, n_pressures)
    death_density : np.ndarray, shape (n_decays,)
        Halfway between the last pressure at which every weight returns and the next.
    uniform_density : np.ndarray, shape (n_pressures,)
        Under SGD, fluxes evenly spaced.
    mispaired_density : np.ndarray, shape (n_pressures,)
        Under SGD, first decay, w* permuted against w.
    free_density : float
        Without pressure.
    stair_density : np.ndarray, shape (n_stairs,)
        Over the second half of each stair.
    scheduled : np.ndarray, shape (4, n_recursions, n_targets)
        Last pressure; density at the end; its ratio to the target; root mean square log-ratio of density and
        trajectory over the epochs.
    """

    KIND: ClassVar[str] = "flux_density_toy_cell"

    density: np.ndarray
    death_density: np.ndarray
    uniform_density: np.ndarray
    mispaired_density: np.ndarray
    free_density: float
    stair_density: np.ndarray
    scheduled: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Means over seeds with 95 % Student intervals, (2, ...), beside the law; NaN intervals for one seed.

    Parameters
    ----------
    n_weights, n_seeds : int
    decays : np.ndarray, shape (n_decays,)
    optimizers : tuple of str
    pressure, law_density : np.ndarray, shape (n_decays, n_pressures)
        gamma in units of F_1, and mean max(0, 1 - gamma/F).
    density, density_interval : np.ndarray, shape ([2,] n_optimizers, n_decays, n_pressures)
    exponent, exponent_interval : np.ndarray, shape ([2,] n_optimizers, n_decays)
        Log-log slope inside the window (where the law's density lies in it).
    predicted_exponent, limit_exponent : np.ndarray, shape (n_decays,)
        Slope of the closed form with its finite-size term at the same pressures; 1/p.
    death_density, death_interval : np.ndarray, shape ([2,] n_decays)
        Density at which the first weight dies, where the power law starts.
    predicted_death, limit_death : np.ndarray, shape (n_decays,)
        The closed form at gamma = F_n with its finite-size term; p/(p+1).
    fitted_break : np.ndarray, shape (n_decays,)
        Density at the upper break of three lines fitted to the mean curve under SGD.
    free_density, free_interval : float, np.ndarray
        Control: without pressure.
    uniform_pressure, uniform_law, uniform_density : np.ndarray, shape (n_pressures,)
        Control: evenly spaced fluxes.
    uniform_halves, uniform_halves_interval : np.ndarray, shape ([2,] 2)
        Log-log slopes of the control in the upper and lower half of the window.
    mispaired_density, mispaired_interval : np.ndarray, shape ([2,] n_pressures)
        Control: to compare with the law of the first decay.
    stair_pressure, stair_law, stair_density, stair_interval : np.ndarray, shape ([2,] n_stairs)
        Pressures that double, under SGD.
    recursions : tuple of str
    targets : np.ndarray, shape (n_targets,)
    final_pressure, final_density, target_ratio, tracking_error : np.ndarray, shape (n_recursions, n_targets)
        As in `Cell`, under Adam.
    target_ratio_interval : np.ndarray, shape (2, n_recursions, n_targets)
    final_law : np.ndarray, shape (n_recursions, n_targets)
        Density that the law gives for the mean last pressure.
    """

    KIND: ClassVar[str] = "flux_density_toy"

    n_weights: int
    n_seeds: int
    decays: np.ndarray
    optimizers: tuple[str, ...]
    pressure: np.ndarray
    law_density: np.ndarray
    density: np.ndarray
    density_interval: np.ndarray
    exponent: np.ndarray
    exponent_interval: np.ndarray
    predicted_exponent: np.ndarray
    limit_exponent: np.ndarray
    death_density: np.ndarray
    death_interval: np.ndarray
    predicted_death: np.ndarray
    limit_death: np.ndarray
    fitted_break: np.ndarray
    free_density: float
    free_interval: np.ndarray
    uniform_pressure: np.ndarray
    uniform_law: np.ndarray
    uniform_density: np.ndarray
    uniform_halves: np.ndarray
    uniform_halves_interval: np.ndarray
    mispaired_density: np.ndarray
    mispaired_interval: np.ndarray
    stair_pressure: np.ndarray
    stair_law: np.ndarray
    stair_density: np.ndarray
    stair_interval: np.ndarray
    recursions: tuple[str, ...]
    targets: np.ndarray
    final_pressure: np.ndarray
    final_density: np.ndarray
    target_ratio: np.ndarray
    tracking_error: np.ndarray
    target_ratio_interval: np.ndarray
    final_law: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Train all toys of one seed."""
    seed = config.seeds[0]
    rng = np.random.default_rng(seed)
    progress.total(len(config.decays) + 2)
    shape = len(OPTIMIZERS), len(config.decays), config.n_pressures
    density, death = np.empty(shape), np.empty(len(config.decays))
    for i, decay in enumerate(config.decays):
        flux = rng.permutation(power_spectrum(config.n_weights, decay))
        for k, gamma in enumerate(_pressures(config, decay)):
            for o, optimizer in enumerate(OPTIMIZERS):
                density[o, i, k] = _fixed(flux, gamma, optimizer, config.noise, config).final_density
        death[i] = _first_death(flux, rng.uniform(), config)
        progress.tick()
    uniform = _uniform(config)
    uniform_density = [
        _fixed(uniform, gamma, "sgd", config.noise, config).final_density
        for gamma in _uniform_pressures(config)
    ]
    flux = power_spectrum(config.n_weights, config.decays[0])
    mispaired = [
        _fixed(flux, gamma, "sgd", config.noise, config, rng.permutation(flux)).final_density
        for gamma in _pressures(config, config.decays[0])
    ]
    loss = _loss(flux, config.noise * flux[-1])
    # as noisy, and as fast, as at the pressure of the first death
    flow = Optimizer(learning_rate=_STEP * config.n_weights / flux[-1])
    free = simulate_flux(
        loss, 0.0, n_epochs=config.n_steps // _EPOCH, epoch_steps=_EPOCH, seed=seed, flow=flow
    )
    progress.tick()
    stairs, levels = _stairs(config)
    flow = Optimizer(learning_rate=_SLOW * config.n_weights / levels[0])
    spectrum = power_spectrum(config.n_weights, 1.0, top=config.top)
    climb = simulate_flux(
        _loss(spectrum), stairs, n_epochs=stairs.size, epoch_steps=config.epoch_steps, flow=flow, seed=seed
    )
    late = climb.density.reshape(-1, config.stair_epochs)[:, config.stair_epochs // 2 :]
    scheduled = np.array([[_scheduled(config, r, d) for d in config.targets] for r in RECURSIONS])
    progress.tick()
    return Cell(
        density=density,
        death_density=death,
        uniform_density=np.array(uniform_density),
        mispaired_density=np.array(mispaired),
        free_density=free.final_density,
        stair_density=late.mean(axis=1),
        scheduled=np.moveaxis(scheduled, -1, 0),
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average the seeds, fit the slopes, and set the law beside them."""
    density = np.array([cell.density for cell in cells])
    gamma = np.array([_pressures(config, decay) for decay in config.decays])
    fluxes = [power_spectrum(config.n_weights, decay) for decay in config.decays]
    law = np.array([density_under_pressure(f, g).density for f, g in zip(fluxes, gamma, strict=True)])
    inside = (law > WINDOW[0]) & (law <= WINDOW[1])
    slopes = np.stack([_slopes(gamma[i][m], density[:, :, i][..., m]) for i, m in enumerate(inside)], axis=-1)
    predicted = [
        derive_power_law(gamma[i][m], n_weights=config.n_weights, decay=config.decays[i]).window_exponent
        for i, m in enumerate(inside)
    ]
    mean, interval = mean_interval(density)
    exponent, exponent_interval = mean_interval(slopes)
    death, death_interval = mean_interval(np.array([cell.death_density for cell in cells]))
    free, free_interval = mean_interval(np.array([cell.free_density for cell in cells]))
    decays = np.array(config.decays)
    uniform = np.array([cell.uniform_density for cell in cells])
    uniform_gamma = _uniform_pressures(config)
    uniform_law = density_under_pressure(_uniform(config), uniform_gamma).density
    half = np.sqrt(WINDOW[0] * WINDOW[1])
    upper = (uniform_law > half) & (uniform_law <= WINDOW[1])
    lower = (uniform_law > WINDOW[0]) & (uniform_law <= half)
    halves = np.stack([_slopes(uniform_gamma[m], uniform[:, m]) for m in (upper, lower)], axis=-1)
    uniform_halves, halves_interval = mean_interval(halves)
    mispaired, mispaired_interval = mean_interval(np.array([cell.mispaired_density for cell in cells]))
    _, stair_pressure = _stairs(config)
    spectrum = power_spectrum(config.n_weights, 1.0, top=config.top)
    stair, stair_interval = mean_interval(np.array([cell.stair_density for cell in cells]))
    scheduled, scheduled_interval = mean_interval(np.array([cell.scheduled for cell in cells]))
    final_law = density_under_pressure(spectrum, scheduled[0]).density
    return Result(
        n_weights=config.n_weights,
        n_seeds=len(cells),
        decays=decays,
        optimizers=OPTIMIZERS,
        pressure=gamma,
        law_density=law,
        density=mean,
        density_interval=interval,
        exponent=exponent,
        exponent_interval=exponent_interval,
        predicted_exponent=np.array(predicted),
        limit_exponent=1.0 / decays,
        death_density=death,
        death_interval=death_interval,
        predicted_death=np.array([_death(config.n_weights, decay) for decay in config.decays]),
        limit_death=decays / (decays + 1.0),
        fitted_break=np.array([_fitted_break(g, d) for g, d in zip(gamma, mean[0], strict=True)]),
        free_density=float(free),
        free_interval=free_interval,
        uniform_pressure=uniform_gamma,
        uniform_law=uniform_law,
        uniform_density=uniform.mean(axis=0),
        uniform_halves=uniform_halves,
        uniform_halves_interval=halves_interval,
        mispaired_density=mispaired,
        mispaired_interval=mispaired_interval,
        stair_pressure=stair_pressure,
        stair_law=density_under_pressure(spectrum, stair_pressure).density,
        stair_density=stair,
        stair_interval=stair_interval,
        recursions=RECURSIONS,
        targets=np.array(config.targets),
        final_pressure=scheduled[0],
        final_density=scheduled[1],
        target_ratio=scheduled[2],
        tracking_error=scheduled[3],
        target_ratio_interval=scheduled_interval[:, 2],
        final_law=final_law.reshape(scheduled[0].shape),
    )


def _pressures(config: Config, decay: float) -> np.ndarray:
    return np.geomspace(0.25 * config.n_weights**-decay, _FEWEST**-decay, config.n_pressures)


def _uniform(config: Config) -> np.ndarray:
    return np.arange(1.0, config.n_weights + 1.0) / config.n_weights


def _uniform_pressures(config: Config) -> np.ndarray:
    """Pressures that leave densities evenly spaced in the logarithm, in the window and beyond.

    Of fluxes evenly spread over [0, 1] a density 1 - gamma + gamma ln gamma is left.
    """
    gamma = np.linspace(0.005, 0.92, 20 * config.n_pressures)
    left = np.log(1.0 - gamma + gamma * np.log(gamma))
    return np.interp(np.linspace(left[0], left[-1], config.n_pressures)[::-1], left[::-1], gamma[::-1])[::-1]


def _loss(flux: np.ndarray, noise: float = 0.0, optimum: np.ndarray | None = None) -> SolvableLoss:
    """Loss of these fluxes at w = w* = sqrt(4 F/N), curvature 1, and of that noise on t times N."""
    w = np.sqrt(4.0 * flux / flux.size)
    # noise on t is kappa w times that on the slope
    return SolvableLoss(np.ones_like(w), w if optimum is None else optimum, 4.0 * noise / (flux.size * w))


def _fixed(
    flux: np.ndarray,
    gamma: float,
    optimizer: str,
    noise: float,
    config: Config,
    paired: np.ndarray | None = None,
) -> FluxRun:
    """Hold one pressure; ``paired`` are the fluxes that belong to the optima, if not to the weights."""
    n = flux.size
    rate = _STEP * n / gamma
    flow = {
        "sgd": Optimizer(learning_rate=rate),
        "momentum": Optimizer(learning_rate=rate * (1.0 - _MOMENTUM), momentum=_MOMENTUM),
        "adam": Optimizer("adam", _STEP, eps=_NEAR_ZERO),
    }[optimizer]
    n_epochs = config.n_steps // _EPOCH
    w = np.sqrt(4.0 * flux / n)
    return simulate_flux(
        _loss(flux, noise * gamma, None if paired is None else np.sqrt(4.0 * paired / n)),
        gamma,
        n_epochs=n_epochs,
        epoch_steps=_EPOCH,
        n_measured=n_epochs - n_epochs // 4,
        flow=flow,
        weight_start=w,
        seed=config.seeds[0],
    )


def _first_death(flux: np.ndarray, offset: float, config: Config) -> float:
    """Density between the last pressure at which every weight returns and the next, without noise."""
    gamma = flux.min() * _DEATH_GRID ** (np.arange(_N_DEATH) - _N_DEATH // 2 + offset)
    before = np.nan
    for pressure in gamma:
        held = _fixed(flux, float(pressure), "sgd", 0.0, config)
        if (held.presence == 0).any():
            return 0.5 * (before + held.final_density)
        before = held.final_density
    return np.nan


def _death(n_weights: int, decay: float) -> float:
    """Density of the closed form at the smallest flux."""
    return float(derive_power_law(n_weights**-decay, n_weights=n_weights, decay=decay).density[0])


def _stairs(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Return the pressure of every epoch, and of every stair, from below F_n to 8 fluxes left."""
    first = int(np.floor(np.log2(config.top / config.n_weights))) - 1
    last = int(np.floor(np.log2(config.top / 8.0)))
    epochs = range(1, (last - first + 1) * config.stair_epochs + 1)
    pressure = [staircase_pressure(e, first=first, every=config.stair_epochs) for e in epochs]
    return np.array(pressure), 2.0 ** np.arange(first, last + 1)


def _scheduled(config: Config, recursion: str, target: float) -> tuple[float, float, float, float]:
    """Let a scheduler of the authors follow their trajectory, presence variables trained by Adam."""
    trajectory = sigmoid_trajectory(target, config.n_epochs)
    held = simulate_flux(
        _loss(power_spectrum(config.n_weights, 1.0, top=config.top)),
        PressureSchedule(trajectory, recursion),
        n_epochs=config.n_epochs,
        epoch_steps=config.epoch_steps,
        n_measured=1,
        flow=Optimizer("adam", _ADAM),
        seed=config.seeds[0],
    )
    aimed = np.array(trajectory[1:])
    # an empty network counts as one with half a weight
    reached = np.maximum(held.end_density, 0.5 / config.n_weights)
    error = np.sqrt(np.mean(np.log(reached / aimed) ** 2))
    end = float(held.end_density[-1])
    return float(held.pressure[-1]), end, end / target, float(error)


def _slopes(gamma: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Least-squares slopes of -ln density on ln gamma, over the last axis."""
    x = np.log(gamma)
    x -= x.mean()
    return -(np.log(density) @ x) / (x @ x)


def _fitted_break(gamma: np.ndarray, density: np.ndarray) -> float:
    if density.size < 12:
        return np.nan
    return float(fit_power_law(gamma, density, n_bootstrap=100).segments.break_densities[0])

"""Does Adam's eps change which density a pressure leads to, or only how long that takes?

Source: the setting of the Hyperflux code (arXiv 2504.05349), where Adam moves the presence variables and the
pressure's gradient gamma/N of a large network lies below Adam's default eps. The toy
(`bbtheory.simulate.simulate_flux`) has a loss whose weights do not interact, with and without gradient noise:
the step at which weights are first absent, the density after a short run and after a long one, over eps and
gamma/N. A second part counts the absent fraction of weights of large F/gamma, where Adam's second moment
forgets between two absences. Control: SGD knows no eps and stands beside every row.

Time: 2 min on one core (CPU preset), no accelerator. What would count against the theory: long runs that
settle at densities that differ with eps; a time to reach 0 that is not in proportion to eps plus the root
mean square gradient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import density_under_pressure, power_spectrum, validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.records import Record
from bbtheory.simulate import FluxRun, Optimizer, SolvableLoss, simulate_flux
from experiments.protocol import Progress

_EPOCH = 1000  # steps


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    eps : tuple of float
        Of Adam.
    shares : tuple of float
        gamma/N, the pressure's gradient.
    noise : tuple of float
        Standard deviation of the gradient noise on t over the pressure's gradient.
    n_weights, n_above : int
        Fluxes F_j ~ 1/j, and how many of them exceed the pressure.
    learning_rate : float
        Of t, which starts at ``start``.
    start : float
    n_short, n_long : int
        Steps of the two runs, the second half of each measured.
    ratios : tuple of float
        F/gamma of the second part.
    loose : float
        The larger eps of the second part over gamma/N; the smaller is nothing.
    n_copies : int
        Weights of each ratio.
    seeds : tuple of int
        Starts and noise.
    """

    eps: tuple[float, ...] = (1e-12, 1e-8, 1e-6)
    shares: tuple[float, ...] = (1e-9, 1e-7)
    noise: tuple[float, ...] = (0.0, 10.0)
    n_weights: int = 200
    n_above: int = 100
    learning_rate: float = 1e-2
    start: float = 0.5
    n_short: int = 4_000
    n_long: int = 1_000_000
    ratios: tuple[float, ...] = (10.0, 100.0, 1000.0)
    loose: float = 1e4
    n_copies: int = 40
    seeds: tuple[int, ...] = tuple(range(40))

    def __post_init__(self) -> None:
        validate.array("eps", self.eps, "(0, inf)")
        validate.array("shares", self.shares, "(0, inf)")
        validate.array("noise", self.noise, "[0, inf)")
        validate.integer("n_weights", self.n_weights, "[2, inf)")
        validate.integer("n_above", self.n_above, f"[1, {self.n_weights}]")
        validate.real("learning_rate", self.learning_rate, "(0, inf)")
        validate.real("start", self.start, "(0, inf)")
        validate.integer("n_short", self.n_short, f"[{2 * _EPOCH}, inf)")
        validate.integer("n_long", self.n_long, f"[{2 * _EPOCH}, inf)")
        validate.array("ratios", self.ratios, "(1, inf)")
        validate.real("loose", self.loose, "(0, inf)")
        validate.integer("n_copies", self.n_copies, "[1, inf)")


SMOKE = Config(
    eps=(1e-12, 1e-8),
    shares=(1e-9,),
    n_weights=50,
    n_above=20,
    n_short=2_000,
    n_long=16_000,
    n_copies=4,
    seeds=(0, 1),
)
CPU = Config(n_long=200_000, seeds=tuple(range(20)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One seed.

    Parameters
    ----------
    arrival : np.ndarray, shape (n_noise, n_shares, n_eps)
        Median step at which a weight is first absent in the long run; NaN if half of them never were.
    density : np.ndarray, shape (2, n_noise, n_shares, n_eps)
        Of the short and the long run.
    travelling : np.ndarray, shape (2, n_noise, n_shares, n_eps)
        Fraction of weights still on their way at the end.
    sgd_density : np.ndarray, shape (n_noise,)
        Control.
    excess : np.ndarray, shape (3, n_ratios)
        Absent fraction times F/gamma, less 1: Adam with hardly any eps, with a large one, and SGD.
    """

    KIND: ClassVar[str] = "adam_eps_toy_cell"

    arrival: np.ndarray
    density: np.ndarray
    travelling: np.ndarray
    sgd_density: np.ndarray
    excess: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Means over seeds and 95 % Student intervals (2, ...); arrays (n_noise, n_shares, n_eps).

    Parameters
    ----------
    n_seeds : int
    noise, shares, eps : np.ndarray
        The axes.
    arrival, arrival_interval : np.ndarray
        Median step of the first absence; NaN where the long run is too short.
    predicted_arrival : np.ndarray
        start (rms + eps)/(learning_rate gamma/N), rms the root mean square gradient of t, pressure and noise.
    n_short, n_long : int
        Steps.
    short_density, short_interval, short_travelling, long_density, long_interval, long_travelling : np.ndarray
        Density of the runs' second halves, and the fraction of weights that were on their way.
    sgd_density, sgd_interval : np.ndarray, shape ([2,] n_noise)
        Control, of a long run.
    law_density : float
        mean max(0, 1 - gamma/F).
    ratios : np.ndarray, shape (n_ratios,)
        F/gamma.
    optimizers : tuple of str
        Of the rows of ``excess``.
    excess, excess_interval : np.ndarray, shape ([2,] 3, n_ratios)
        By how much the absent fraction exceeds gamma/F, relative to it.
    """

    KIND: ClassVar[str] = "adam_eps_toy"

    n_seeds: int
    noise: np.ndarray
    shares: np.ndarray
    eps: np.ndarray
    arrival: np.ndarray
    arrival_interval: np.ndarray
    predicted_arrival: np.ndarray
    n_short: int
    n_long: int
    short_density: np.ndarray
    short_interval: np.ndarray
    short_travelling: np.ndarray
    long_density: np.ndarray
    long_interval: np.ndarray
    long_travelling: np.ndarray
    sgd_density: np.ndarray
    sgd_interval: np.ndarray
    law_density: float
    ratios: np.ndarray
    optimizers: tuple[str, ...]
    excess: np.ndarray
    excess_interval: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Train all toys of one seed."""
    axes = len(config.noise), len(config.shares), len(config.eps)
    progress.total(int(np.prod(axes)))
    arrival, density, travelling = np.empty(axes), np.empty((2, *axes)), np.empty((2, *axes))
    for at in np.ndindex(axes):
        noise, share, eps = config.noise[at[0]], config.shares[at[1]], config.eps[at[2]]
        flow = Optimizer("adam", config.learning_rate, eps=eps)
        for length, n_steps in enumerate((config.n_short, config.n_long)):
            held = _hold(_ratios(config), share, noise, flow, n_steps, config)
            density[(length, *at)] = held.final_density
            travelling[(length, *at)] = held.travelling.mean()
        first = np.where(held.arrival < 0, np.inf, held.arrival)
        arrival[at] = np.median(first) if np.isfinite(np.median(first)) else np.nan
        progress.tick()
    share = config.shares[0]
    sgd = Optimizer("sgd", config.learning_rate / share)
    plain = [_hold(_ratios(config), share, noise, sgd, config.n_long, config) for noise in config.noise]
    ratios = np.repeat(config.ratios, config.n_copies)
    tight = Optimizer("adam", config.learning_rate, eps=1e-9 * share)
    # at that eps Adam is SGD with momentum; a larger rate keeps the time to reach 0 the same
    loose = Optimizer("adam", config.learning_rate * config.loose, eps=config.loose * share)
    held = [_hold(ratios, share, 0.0, flow, config.n_long, config) for flow in (tight, loose, sgd)]
    excess = [((1.0 - run.presence) * ratios - 1.0).reshape(-1, config.n_copies).mean(axis=1) for run in held]
    return Cell(
        arrival=arrival,
        density=density,
        travelling=travelling,
        sgd_density=np.array([run.final_density for run in plain]),
        excess=np.array(excess),
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average the seeds."""
    arrival, arrival_interval = mean_interval(np.array([cell.arrival for cell in cells]))
    density, density_interval = mean_interval(np.array([cell.density for cell in cells]))
    travelling = np.mean([cell.travelling for cell in cells], axis=0)
    sgd, sgd_interval = mean_interval(np.array([cell.sgd_density for cell in cells]))
    excess, excess_interval = mean_interval(np.array([cell.excess for cell in cells]))
    noise, shares, eps = np.array(config.noise), np.array(config.shares), np.array(config.eps)
    size = np.sqrt(1.0 + noise[:, None, None] ** 2)  # root mean square gradient over that of the pressure
    return Result(
        n_seeds=len(cells),
        noise=noise,
        shares=shares,
        eps=eps,
        arrival=arrival,
        arrival_interval=arrival_interval,
        predicted_arrival=config.start / config.learning_rate * (size + eps / shares[:, None]),
        n_short=config.n_short,
        n_long=config.n_long,
        short_density=density[0],
        short_interval=density_interval[:, 0],
        short_travelling=travelling[0],
        long_density=density[1],
        long_interval=density_interval[:, 1],
        long_travelling=travelling[1],
        sgd_density=sgd,
        sgd_interval=sgd_interval,
        law_density=float(density_under_pressure(_ratios(config), 1.0).density[0]),
        ratios=np.array(config.ratios),
        optimizers=("adam", "adam, large eps", "sgd"),
        excess=excess,
        excess_interval=excess_interval,
    )


def _ratios(config: Config) -> np.ndarray:
    return power_spectrum(config.n_weights, 1.0, top=config.n_above + 0.5)


def _hold(
    ratios: np.ndarray, share: float, noise: float, flow: Optimizer, n_steps: int, config: Config
) -> FluxRun:
    """Hold one pressure on weights of these F/gamma."""
    n = ratios.size
    gamma = share * n
    optimum = np.sqrt(4.0 * gamma * ratios / n)  # curvature 1
    start = config.start
    return simulate_flux(
        SolvableLoss(np.ones(n), optimum, 4.0 * noise * share / optimum),
        gamma,
        n_epochs=n_steps // _EPOCH,
        epoch_steps=_EPOCH,
        flow=flow,
        # within 10 percent of each other, so that weights are not in step
        presence_start=(0.95 * start, 1.05 * start),
        seed=config.seeds[0],
    )

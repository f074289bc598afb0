"""How far must a traffic threshold lie above the traffic of the units it is to spare?

Source: the threshold rule of arXiv 2510.01263 on rare and common features (on-rates 1/9 and 0.7225 are this
project's reading of its 0.11 and 0.72). Without regrowth the rule is a ratchet: a unit is cut by the largest
estimate of its on-rate that it ever made, and an EMA of finite batches wanders. Units of one on-rate live
under thresholds of several margins over their true traffic; the margin needed is the one that spares all but
a given part of them.

Predicted, if the estimates of successive refreshes were independent, which they are not quite:

    1 + s (c + (c^2 - 1) skewness/6),    c = Phi^-1((1-q)^(1/n)),    s^2 = (1-a)/(a B) (1-d)/(1+d),

the normal quantile with Cornish and Fisher's correction, q the part of units that may be cut, n refreshes.
The skewness is that of a batch, (1-2a)/sqrt(B a (1-a)), times (1-d)^3/(1-d^3) ((1+d)/(1-d))^(3/2): rare
features need more than a normal variable would. Control that must show nothing: units that see their on-rate
exactly, at a margin of 1.

Time: 1 min on one core (CPU preset), no accelerator. What would count against the account: a needed margin
above the predicted one by more than its interval (correlated estimates can only need less), or links lost by
the control.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.records import Record
from bbtheory.simulate import Population, PopulationSettings, Threshold, simulate_population
from experiments.protocol import Progress

ROUNDING = 1e-9  # margin of the control: an average of equal numbers is off by some rounding


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_units : int
    on_rates : tuple of float
    ema_decays : tuple of float
        Per step.
    margins : tuple of float
        Threshold over true traffic, >= 1.
    spared : float
        Part of the units, in (0, 1), that the needed margin leaves untouched.
    fan_out : int
        Links of every unit at the start.
    interval, batch : int
        Steps between refreshes, samples a step.
    n_refreshes : int
    seeds : tuple of int
    """

    n_units: int = 1000
    on_rates: tuple[float, ...] = (1 / 9, 0.7225)
    ema_decays: tuple[float, ...] = (0.9, 0.98, 0.995)
    margins: tuple[float, ...] = (1.0, 1.05, 1.1, 1.2, 1.3, 1.5)
    spared: float = 0.99
    fan_out: int = 32
    interval: int = 25
    batch: int = 64
    n_refreshes: int = 200
    seeds: tuple[int, ...] = tuple(range(40))

    def __post_init__(self) -> None:
        validate.integer("n_units", self.n_units, "[1, inf)")
        for on_rate in self.on_rates:
            validate.real("on_rates", on_rate, "(0, 1)")
        for decay in self.ema_decays:
            validate.real("ema_decays", decay, "[0, 1)")
        for margin in self.margins:
            validate.real("margins", margin, "[1, inf)")
        validate.real("spared", self.spared, "(0, 1)")
        validate.integer("fan_out", self.fan_out, "[1, inf)")
        validate.integer("interval", self.interval, "[1, inf)")
        validate.integer("batch", self.batch, "[1, inf)")
        validate.integer("n_refreshes", self.n_refreshes, "[1, inf)")


SMOKE = Config(n_units=50, n_refreshes=40, margins=(1.0, 1.3), seeds=(0, 1))
CPU = Config(n_units=100, seeds=tuple(range(20)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """Units of every on-rate under one EMA.

    Parameters
    ----------
    lost : np.ndarray, shape (n_on_rates, n_margins)
        Part of all links that the rule has cut in the end.
    touched : np.ndarray, shape (n_on_rates, n_margins)
        Part of the units that have lost a link.
    highest : np.ndarray, shape (n_on_rates, n_units)
        Largest estimate that a unit left alone ever made at a refresh, over its on-rate.
    lost_exactly : np.ndarray, shape (n_on_rates,)
        Part of all links lost at a margin of 1 by units that see their on-rate exactly.
    """

    KIND: ClassVar[str] = "ratchet_margin_cell"

    lost: np.ndarray
    touched: np.ndarray
    highest: np.ndarray
    lost_exactly: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All units; an ``*_interval`` is Student's at 95 % over seeds, low and high along a new last axis.

    Parameters
    ----------
    ema_decays, on_rates, margins : np.ndarray
        The axes.
    n_seeds : int
    lost, touched : np.ndarray, shape (n_ema_decays, n_on_rates, n_margins)
        As in `Cell`, means over seeds.
    noise : np.ndarray, shape (n_ema_decays, n_on_rates)
        Predicted standard deviation of an estimate, over the on-rate.
    needed, predicted : np.ndarray, shape (n_ema_decays, n_on_rates)
        Margin that leaves all but the given part of the units untouched; mean over seeds.
    lost_exactly : np.ndarray, shape (n_ema_decays, n_on_rates)
        Of the control, the largest over seeds.
    """

    KIND: ClassVar[str] = "ratchet_margin"

    ema_decays: np.ndarray
    on_rates: np.ndarray
    margins: np.ndarray
    n_seeds: int
    lost: np.ndarray
    lost_interval: np.ndarray
    touched: np.ndarray
    touched_interval: np.ndarray
    noise: np.ndarray
    needed: np.ndarray
    needed_interval: np.ndarray
    predicted: np.ndarray
    lost_exactly: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per EMA and seed."""
    return [
        dataclasses.replace(config, ema_decays=(decay,), seeds=(seed,))
        for decay in config.ema_decays
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Let units of every on-rate live under every threshold."""
    rng = np.random.default_rng(config.seeds[0])
    decay = config.ema_decays[0]
    settings = PopulationSettings(
        actuator="sp_out",
        interval=config.interval,
        batch=config.batch,
        ema_decay=decay,
        burn_in=int(10 / (1.0 - decay)),  # the average has forgotten its start but for e^-10
        max_degree=float(config.fan_out),
    )
    exactly = dataclasses.replace(settings, batch=0)
    lost, touched, highest, lost_exactly = [], [], [], []
    for on_rate in config.on_rates:
        population = Population.at(np.full(config.n_units, on_rate), 32.0, config.fan_out, 0.0)
        traffic = population.on_rate.max() * config.fan_out

        def links_lost(
            margin: float,
            settings: PopulationSettings,
            population: Population = population,
            traffic: float = traffic,
        ) -> np.ndarray:
            rule = Threshold(margin * traffic)
            lived = simulate_population(population, rule, settings, config.n_refreshes, seed=rng)
            return 1.0 - lived.final.fan_out / config.fan_out

        found = np.array([links_lost(margin, settings) for margin in config.margins])
        lost.append(found.mean(axis=1))
        touched.append((found > 0).mean(axis=1))
        free = Threshold(2.0 * config.fan_out)  # above what a unit that is always on could send
        alone = simulate_population(population, free, settings, config.n_refreshes + 1, seed=rng)
        # the last estimate is read by no refresh
        highest.append(alone.estimate[:-1].max(axis=0) / on_rate)
        lost_exactly.append(links_lost(1.0 + ROUNDING, exactly).mean())
    return Cell(np.array(lost), np.array(touched), np.array(highest), np.array(lost_exactly))


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and find the margins that are needed."""
    from scipy.special import ndtri

    axes = (len(config.ema_decays), len(config.seeds))

    def gathered(values: list[np.ndarray]) -> np.ndarray:
        """Return (seed, EMA, ...)."""
        stacked = np.array(values)
        return np.moveaxis(stacked.reshape(*axes, *stacked.shape[1:]), 1, 0)

    numbers: dict[str, np.ndarray] = {}
    for name, values in {
        "lost": [cell.lost for cell in cells],
        "touched": [cell.touched for cell in cells],
        "needed": [np.quantile(cell.highest, config.spared, axis=1) for cell in cells],
    }.items():
        numbers[name], ends = mean_interval(gathered(values))
        numbers[f"{name}_interval"] = np.moveaxis(ends, 0, -1)
    decay, on_rate = np.array(config.ema_decays)[:, np.newaxis], np.array(config.on_rates)
    kept = (1.0 - decay) / (1.0 + decay)
    noise = np.sqrt((1.0 - on_rate) / (on_rate * config.batch) * kept)
    skewness = (1.0 - 2.0 * on_rate) / np.sqrt(config.batch * on_rate * (1.0 - on_rate))
    skewness = skewness * (1.0 - decay) ** 3 / (1.0 - decay**3) / kept**1.5
    quantile = ndtri(config.spared ** (1.0 / config.n_refreshes))
    return Result(
        ema_decays=np.array(config.ema_decays),
        on_rates=on_rate,
        margins=np.array(config.margins),
        n_seeds=len(config.seeds),
        noise=noise,
        predicted=1.0 + noise * (quantile + (quantile**2 - 1.0) * skewness / 6.0),
        lost_exactly=gathered([cell.lost_exactly for cell in cells]).max(axis=0),
        **numbers,
    )

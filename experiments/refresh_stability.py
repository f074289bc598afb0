"""At which refresh interval does a population under the degree rule start to oscillate, short or long?

Source: the degree controller of arXiv 2510.01263, whose dynamics its reviewers asked about; second-hand
accounts say that a too short interval makes it oscillate. Here units obey only the local rule: each is a sum
of k random inputs and a bias, on where that is positive; an EMA sees its activity in batches; every so many
steps its degree is set from the EMA's log-odds. The theory of the refresh map predicts the multiplier of a
deviation, the intervals at which it changes sign and stops decaying, noise and churn of masks.

A population first settles under an interval of one step, is then kicked (half of the units up, half down, so
that curvature cancels) and watched as the kick decays or grows, then left alone and measured. Variants: real
degrees; whole links; on-rates that take their time to follow the degree; and, as a control that must show no
oscillation at any interval, the same rule with the loop open: it sets the fan-out, which no on-rate feels.

Time: 7 min on one core (CPU preset), no accelerator. What would count against the map: a flip interval off by
more than 5 %, a population that oscillates at short intervals and settles at long ones, or one that
oscillates with its loop open.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import refresh_map, refresh_noise, stability_boundary, validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.records import Record
from bbtheory.simulate import (
    Controller,
    Population,
    PopulationSettings,
    PopulationState,
    simulate_population,
)
from bbtheory.theory.entropy import on_rate_from_log_odds
from experiments.protocol import Progress

VARIANTS = ("real", "whole", "slow", "open")
MIN_DEGREE, MAX_DEGREE = 1.0, 80.0
N_RESAMPLED = 1000  # draws of seeds that carry the interval of a flip: its ends to about 3 % of its width


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_units : int
    gains : tuple of float
        Loop gain every unit is built to have where the line crosses its response: some below 1, that no
        interval makes unstable, and some above.
    intervals : tuple of int
        Steps between refreshes.
    variants : tuple of str
        real (degrees), whole (links), slow (on-rates follow), open (loop).
    batch : int
        Samples a step.
    ema_decay : float
        Per step.
    beta, d0 : float
        The line: nats per link, links.
    recovery : float
        Steps in which a slow on-rate covers all but 1/e of its way.
    kick : float
        Displacement of the log-odds, nats.
    n_settling : int
        Steps before the kick; where a unit rests is its mean over the second half of them.
    n_watched : int
        Refreshes over which the kick is followed.
    n_measured, n_steps : int
        Refreshes, and steps, over which fluctuations are measured at least, after a tenth as many that are
        not.
    seeds : tuple of int
    """

    n_units: int = 1000
    gains: tuple[float, ...] = (0.5, 0.8, 2.0, 3.0)
    intervals: tuple[int, ...] = (1, 2, 5, 10, 15, 20, 25, 30, 40, 45, 50, 55, 60, 70, 90, 120)
    variants: tuple[str, ...] = VARIANTS
    batch: int = 64
    ema_decay: float = 0.98
    beta: float = 0.2
    d0: float = 20.0
    recovery: float = 20.0
    kick: float = 0.1
    n_settling: int = 4000
    n_watched: int = 4
    n_measured: int = 200
    n_steps: int = 2000
    seeds: tuple[int, ...] = tuple(range(40))

    def __post_init__(self) -> None:
        validate.integer("n_units", self.n_units, "[2, inf)")
        for gain in self.gains:
            validate.real("gains", gain, "(0, inf)")
        for interval in self.intervals:
            validate.integer("intervals", interval, "[1, inf)")
        for variant in self.variants:
            validate.choice("variants", variant, VARIANTS)
        validate.integer("batch", self.batch, "[1, inf)")
        validate.real("ema_decay", self.ema_decay, "[0, 1)")
        validate.real("beta", self.beta, "(0, inf)")
        validate.real("d0", self.d0)
        validate.real("recovery", self.recovery, "(0, inf)")
        validate.real("kick", self.kick, "(0, 1]")
        validate.integer("n_settling", self.n_settling, "[2, inf)")
        validate.integer("n_watched", self.n_watched, "[1, inf)")
        validate.integer("n_measured", self.n_measured, "[10, inf)")
        validate.integer("n_steps", self.n_steps, "[1, inf)")


SMOKE = Config(
    n_units=40,
    gains=(0.8, 2.0),
    intervals=(5, 15, 25, 40, 50, 60),
    n_measured=30,
    n_steps=300,
    n_settling=300,
    seeds=(0, 1),
)
CPU = Config(n_units=200, n_measured=60, seeds=tuple(range(20)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One population at every interval: what it did and, without noise or rounding, what the map says.

    Arrays have shape (n_intervals,).

    Parameters
    ----------
    growth : np.ndarray
        Factor by which a refresh multiplies the kick, its sign that of the first refresh.
    multiplier : np.ndarray
        Predicted, mean over units.
    autocorrelation : np.ndarray
        Of the log-odds estimates from refresh to refresh.
    noise, predicted_noise : np.ndarray
        Root mean square fluctuation of the log-odds estimates, nats.
    churn, predicted_churn : np.ndarray
        Links changed per unit and step.
    bias, predicted_bias : np.ndarray
        Mean degree above that at rest without noise, links.
    """

    KIND: ClassVar[str] = "refresh_stability_cell"

    growth: np.ndarray
    multiplier: np.ndarray
    autocorrelation: np.ndarray
    noise: np.ndarray
    predicted_noise: np.ndarray
    churn: np.ndarray
    predicted_churn: np.ndarray
    bias: np.ndarray
    predicted_bias: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All populations; arrays are (variant, gain, interval), means over seeds, and flips are (variant, gain).

    An ``*_interval`` holds low and high ends along a new last axis, at 95 % over seeds (Student's t of the
    mean, percentiles of resampled seeds for a flip), NaN for one seed.

    Parameters
    ----------
    variants, gains, intervals
        The axes.
    n_seeds : int
    growth, multiplier, autocorrelation, noise, predicted_noise, churn, predicted_churn, bias, predicted_bias
        As in `Cell`; predictions are those of the map, with real degrees and on-rates that follow at once.
    sign_flip : np.ndarray
        Interval at which the autocorrelation crosses 0; nan where it does not inside the range.
    predicted_sign_flip : np.ndarray, shape (n_gains,)
        Of a closed loop; an open one has none.
    growth_flip : np.ndarray
        Interval at which the kick neither grows nor decays; nan where it always decays.
    predicted_growth_flip : np.ndarray, shape (n_gains,)
        Of a closed loop; infinite where no interval is unstable.
    """

    KIND: ClassVar[str] = "refresh_stability"

    variants: tuple[str, ...]
    gains: np.ndarray
    intervals: np.ndarray
    n_seeds: int
    growth: np.ndarray
    growth_interval: np.ndarray
    multiplier: np.ndarray
    autocorrelation: np.ndarray
    autocorrelation_interval: np.ndarray
    noise: np.ndarray
    noise_interval: np.ndarray
    predicted_noise: np.ndarray
    churn: np.ndarray
    churn_interval: np.ndarray
    predicted_churn: np.ndarray
    bias: np.ndarray
    bias_interval: np.ndarray
    predicted_bias: np.ndarray
    sign_flip: np.ndarray
    sign_flip_interval: np.ndarray
    predicted_sign_flip: np.ndarray
    growth_flip: np.ndarray
    growth_flip_interval: np.ndarray
    predicted_growth_flip: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per variant, gain and seed."""
    return [
        dataclasses.replace(config, variants=(variant,), gains=(gain,), seeds=(seed,))
        for variant in config.variants
        for gain in config.gains
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Settle one population, then kick and measure it at every interval, and predict it."""
    variant, gain = config.variants[0], config.gains[0]
    # populations of different gain are different ones, also where the open loop does not feel it
    rng = np.random.default_rng([config.seeds[0], round(1000 * gain)])
    log_odds = rng.uniform(0.5, 3.0, config.n_units)
    on_rate = on_rate_from_log_odds(log_odds)
    degree = config.d0 + log_odds / config.beta
    slope = gain * config.beta * on_rate * (1.0 - on_rate)  # da/dk of this loop gain
    units = Population.at(on_rate, degree, degree, slope)
    rule = Controller(config.beta, config.d0)
    settings = PopulationSettings(
        actuator="sp_out" if variant == "open" else "sp_in",
        interval=1,
        batch=config.batch,
        ema_decay=config.ema_decay,
        min_degree=MIN_DEGREE,
        max_degree=MAX_DEGREE,
        whole=variant == "whole",
        recovery=config.recovery if variant == "slow" else 0.0,
    )
    start = PopulationState(on_rate, on_rate, 1.0, degree, degree, units.bias, config.beta)
    settling = simulate_population(units, rule, settings, config.n_settling, seed=rng, start=start)
    rest = settling.estimate[config.n_settling // 2 :].mean(axis=0)
    side = np.where(np.arange(config.n_units) % 2 == 0, 1.0, -1.0)
    # estimates displaced; the rule answers to them at its next refresh, which opens the run
    kicked = rest + side * config.kick * rest * (1.0 - rest)
    kicked_state = dataclasses.replace(settling.final, estimate=kicked)
    progress.total(len(config.intervals))
    measured = []
    for interval in config.intervals:
        n_measured = max(config.n_measured, -(-config.n_steps // interval))
        n_idle = n_measured // 10
        lived = simulate_population(
            units,
            rule,
            dataclasses.replace(settings, interval=interval),
            config.n_watched + n_idle + n_measured,
            seed=rng,
            start=kicked_state,
        )
        swing = (side * (lived.estimate[: config.n_watched] - rest) / (rest * (1.0 - rest))).mean(axis=1)
        rested = refresh_map(
            on_rate,
            response=None if variant == "open" else units.respond,
            actuator=settings.actuator,
            beta=config.beta,
            d0=config.d0,
            min_degree=MIN_DEGREE,
            max_degree=MAX_DEGREE,
            interval=interval,
            ema_decay=config.ema_decay,
        )
        expected = refresh_noise(rested, config.batch)
        chi = rested.on_rate * (1.0 - rested.on_rate)
        deviation = (lived.estimate[-n_measured - 1 :] - rest) / chi
        before, after = deviation[:-1], deviation[1:]
        variance = (after**2).mean(axis=0) - after.mean(axis=0) ** 2
        covariance = (after * before).mean(axis=0) - after.mean(axis=0) * before.mean(axis=0)
        # a mean over n refreshes takes a part (1 + rho)/n of the autocorrelation with it, to first order
        seen = float(covariance.sum() / variance.sum())
        degrees = (lived.fan_out if variant == "open" else lived.fan_in)[-n_measured:]
        measured.append(
            (
                math.copysign(
                    abs(swing[-1] / config.kick) ** (1.0 / config.n_watched), swing[0] / config.kick
                ),
                rested.multiplier.mean(),
                (n_measured * seen + 1.0) / (n_measured - 1.0),
                math.sqrt(variance.mean()),
                math.sqrt((expected.variance / chi**2).mean()),
                lived.churn[-n_measured:].mean() / interval,
                expected.churn_per_step / config.n_units,
                (degrees - rested.degree).mean(),
                expected.degree_bias.mean(),
            )
        )
        progress.tick()
    return Cell(*np.array(measured).T.copy())


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and read the flips off the curves."""
    axes = (len(config.variants), len(config.gains), len(config.seeds), len(config.intervals))

    def gathered(name: str) -> np.ndarray:
        """Return (seed, variant, gain, interval)."""
        return np.moveaxis(np.array([getattr(cell, name) for cell in cells]).reshape(axes), 2, 0)

    intervals = np.array(config.intervals, dtype=np.float64)
    numbers: dict[str, np.ndarray] = {}
    for name in ("growth", "autocorrelation", "noise", "churn", "bias"):
        numbers[name], ends = mean_interval(gathered(name))
        numbers[f"{name}_interval"] = np.moveaxis(ends, 0, -1)
    for name in ("multiplier", "predicted_noise", "predicted_churn", "predicted_bias"):
        numbers[name] = gathered(name).mean(axis=0)
    for name, source, level in (("sign_flip", "autocorrelation", 0.0), ("growth_flip", "growth", -1.0)):
        numbers[name], numbers[f"{name}_interval"] = _flips(intervals, gathered(source), level)
    slopes = np.array(config.gains) * config.beta
    return Result(
        variants=config.variants,
        gains=np.array(config.gains),
        intervals=intervals,
        n_seeds=len(config.seeds),
        predicted_sign_flip=stability_boundary(
            slopes, beta=config.beta, ema_decay=config.ema_decay, onset="oscillation"
        ),
        predicted_growth_flip=stability_boundary(slopes, beta=config.beta, ema_decay=config.ema_decay),
        **numbers,
    )


def _flips(intervals: np.ndarray, curves: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where the mean of curves (seed, variant, gain, interval) falls through a level, with intervals.

    An end is NaN where the flip is seen in less than 95 % of the resampled means.
    """

    def crossings(mean: np.ndarray) -> np.ndarray:
        return np.apply_along_axis(lambda y: _crossing(intervals, y, level), -1, mean)

    n = len(curves)
    flips = crossings(curves.mean(axis=0))
    ends = np.full((*flips.shape, 2), np.nan)
    if n > 1:
        drawn = np.random.default_rng(0).integers(n, size=(N_RESAMPLED, n))
        again = np.array([crossings(curves[draw].mean(axis=0)) for draw in drawn])
        seen = np.isfinite(again).mean(axis=0) >= 0.95
        ends[seen] = np.nanquantile(again[:, seen], [0.025, 0.975], axis=0).T
    return flips, ends


def _crossing(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """First x at which y falls through a level, between points of a curve that is smooth in x."""
    below = np.flatnonzero((y[:-1] > level) & (y[1:] <= level))
    if below.size == 0:
        return math.nan
    i = below[0]
    return float(x[i] + (x[i + 1] - x[i]) * (y[i] - level) / (y[i] - y[i + 1]))

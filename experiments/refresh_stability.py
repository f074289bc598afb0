"""At which refresh interval does a population under the degree rule start to oscillate, short or long?

Source: the degree controller of arXiv 2510.01263, whose dynamics its reviewers asked about; second-hand
accounts say that a too short interval makes it oscillate. Here units obey only the local rule: each is a sum
of k random inputs and a bias, on where that is positive; an EMA sees its activity in batches; every so many
steps its degree is set from the EMA's log-odds. The theory of the refresh map predicts the multiplier of a
deviation, the intervals at which it changes sign and stops decaying, noise and churn of masks.

A population first settles under an interval of one step, is then kicked (half of the units up, half down, so
that curvature cancels) and watched as the kick decays or grows, then left alone and measured. Variants: real
degrees; whole links; on-rates that take their time to follow the degree.

Time: 8 min on one core (CPU preset), no accelerator. What would count against the map: a flip interval off by
more than 5 %, or a population that oscillates at short intervals and settles at long ones.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numba import njit

from bbtheory import refresh_map, refresh_noise, stability_boundary, validate
from bbtheory.records import Record
from bbtheory.theory.entropy import on_rate_from_log_odds
from experiments.protocol import Progress

VARIANTS = ("real", "whole", "slow")
MIN_DEGREE, MAX_DEGREE = 1.0, 80.0


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_units : int
    gains : tuple of float
        Loop gain every unit is built to have where the line crosses its response: one below 1, that no
        interval makes unstable, and one above.
    intervals : tuple of int
        Steps between refreshes.
    variants : tuple of str
        real (degrees), whole (links), slow (on-rates follow).
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
        Steps before the kick.
    n_watched : int
        Refreshes over which the kick is followed.
    n_measured, n_steps : int
        Refreshes, and steps, over which fluctuations are measured at least, after a tenth as many that are
        not.
    seeds : tuple of int
    """

    n_units: int = 10_000
    gains: tuple[float, ...] = (0.8, 2.0)
    intervals: tuple[int, ...] = (1, 2, 5, 10, 15, 20, 25, 30, 40, 45, 50, 55, 60, 70, 90, 120)
    variants: tuple[str, ...] = VARIANTS
    batch: int = 64
    ema_decay: float = 0.98
    beta: float = 0.2
    d0: float = 20.0
    recovery: float = 20.0
    kick: float = 0.1
    n_settling: int = 1000
    n_watched: int = 4
    n_measured: int = 200
    n_steps: int = 2000
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

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
    n_units=60, intervals=(5, 15, 25, 40, 50, 60), n_measured=40, n_steps=500, n_settling=300, seeds=(0,)
)
CPU = Config(n_measured=60, seeds=(0,))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One population at one interval: what it did and, without noise or rounding, what the map says.

    Parameters
    ----------
    growth : float
        Factor by which a refresh multiplies the kick, its sign that of the first refresh.
    multiplier : float
        Predicted, mean over units.
    autocorrelation : float
        Of the log-odds estimates from refresh to refresh.
    noise, predicted_noise : float
        Root mean square fluctuation of the log-odds estimates, nats.
    churn, predicted_churn : float
        Links changed per unit and step.
    bias, predicted_bias : float
        Mean degree above that at rest without noise, links.
    sensitivity : float
        Fall of the log-odds per link at rest, mean over units, nats.
    """

    KIND: ClassVar[str] = "refresh_stability_cell"

    growth: float
    multiplier: float
    autocorrelation: float
    noise: float
    predicted_noise: float
    churn: float
    predicted_churn: float
    bias: float
    predicted_bias: float
    sensitivity: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All populations; arrays are (variant, gain, interval), means over seeds, and flips are (variant, gain).

    Parameters
    ----------
    variants, gains, intervals
        The axes.
    growth, multiplier, autocorrelation, noise, predicted_noise, churn, predicted_churn, bias, predicted_bias
        As in `Cell`; predictions are those of the map, with real degrees and on-rates that follow at once.
    sign_flip : np.ndarray
        Interval at which the autocorrelation crosses 0; nan where it does not inside the range.
    predicted_sign_flip : np.ndarray, shape (n_gains,)
    growth_flip : np.ndarray
        Interval at which the kick neither grows nor decays; nan where it always decays.
    predicted_growth_flip : np.ndarray, shape (n_gains,)
        Infinite where no interval is unstable.
    """

    KIND: ClassVar[str] = "refresh_stability"

    variants: tuple[str, ...]
    gains: np.ndarray
    intervals: np.ndarray
    growth: np.ndarray
    multiplier: np.ndarray
    autocorrelation: np.ndarray
    noise: np.ndarray
    predicted_noise: np.ndarray
    churn: np.ndarray
    predicted_churn: np.ndarray
    bias: np.ndarray
    predicted_bias: np.ndarray
    sign_flip: np.ndarray
    predicted_sign_flip: np.ndarray
    growth_flip: np.ndarray
    predicted_growth_flip: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per variant, gain, interval and seed."""
    return [
        dataclasses.replace(config, variants=(variant,), gains=(gain,), intervals=(interval,), seeds=(seed,))
        for variant in config.variants
        for gain in config.gains
        for interval in config.intervals
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Simulate one population at one interval, and predict it."""
    variant, interval, rng = config.variants[0], config.intervals[0], np.random.default_rng(config.seeds[0])
    log_odds = rng.uniform(0.5, 3.0, config.n_units)
    drive, bias = _units(log_odds, config.gains[0], config)

    def response(degree: np.ndarray) -> np.ndarray:
        from scipy.special import ndtr

        return ndtr(drive * np.sqrt(degree) + bias / np.sqrt(degree))

    rest = refresh_map(
        on_rate_from_log_odds(log_odds),
        response=response,
        beta=config.beta,
        d0=config.d0,
        min_degree=MIN_DEGREE,
        max_degree=MAX_DEGREE,
        interval=interval,
        ema_decay=config.ema_decay,
    )
    expected = refresh_noise(rest, config.batch)
    n_measured = max(config.n_measured, -(-config.n_steps // interval))
    swing, moments = _live(
        rng,
        drive,
        bias,
        rest.degree,
        config.beta,
        config.d0,
        config.ema_decay,
        interval,
        config.batch,
        math.exp(-1.0 / config.recovery) if variant == "slow" else 0.0,
        variant == "whole",
        config.kick,
        config.n_settling,
        config.n_watched,
        n_measured,
    )
    mean, before, square, product, churn, degree = moments
    chi = rest.on_rate * (1.0 - rest.on_rate)
    variance, covariance = (square - mean**2) / chi**2, (product - mean * before) / chi**2
    # a mean over n refreshes takes a part (1 + rho)/n of the autocorrelation with it, to first order
    seen = float(covariance.sum() / variance.sum())
    autocorrelation = (n_measured * seen + 1.0) / (n_measured - 1.0)
    ratio = np.abs(swing[-1] / swing[0]) ** (1.0 / config.n_watched)
    return Cell(
        growth=float(math.copysign(ratio, swing[1] / swing[0])),
        multiplier=float(rest.multiplier.mean()),
        autocorrelation=autocorrelation,
        noise=float(np.sqrt(variance.mean())),
        predicted_noise=float(np.sqrt((expected.variance / chi**2).mean())),
        churn=float(churn.mean() / interval),
        predicted_churn=expected.churn_per_step / config.n_units,
        bias=float((degree - rest.degree).mean()),
        predicted_bias=float(expected.degree_bias.mean()),
        sensitivity=float(rest.sensitivity.mean()),
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and read the flips off the curves."""
    axes = (len(config.variants), len(config.gains), len(config.intervals), len(config.seeds))

    def gathered(name: str) -> np.ndarray:
        return np.array([getattr(cell, name) for cell in cells]).reshape(axes).mean(axis=-1)

    intervals = np.array(config.intervals, dtype=np.float64)
    autocorrelation, growth = gathered("autocorrelation"), gathered("growth")
    slopes = gathered("sensitivity")[0, :, 0]
    line: dict[str, Any] = {"beta": config.beta, "ema_decay": config.ema_decay}
    names = (
        "multiplier",
        "noise",
        "predicted_noise",
        "churn",
        "predicted_churn",
        "bias",
        "predicted_bias",
    )
    return Result(
        variants=config.variants,
        gains=np.array(config.gains),
        intervals=intervals,
        growth=growth,
        autocorrelation=autocorrelation,
        sign_flip=np.apply_along_axis(lambda y: _crossing(intervals, y, 0.0), -1, autocorrelation),
        predicted_sign_flip=stability_boundary(slopes, onset="oscillation", **line),
        growth_flip=np.apply_along_axis(lambda y: _crossing(intervals, y, -1.0), -1, growth),
        predicted_growth_flip=stability_boundary(slopes, **line),
        **{name: gathered(name) for name in names},
    )


def _units(log_odds: np.ndarray, gain: float, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Mean input per link and bias, in standard deviations of a link, of units that meet the line there.

    On-rate Phi(z), z = drive sqrt(k) + bias/sqrt(k): k inputs of equal mean and variance, and a bias.
    """
    from scipy.special import ndtri

    k = config.d0 + log_odds / config.beta
    on_rate = on_rate_from_log_odds(log_odds)
    z = ndtri(on_rate)
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    rise = gain * config.beta * on_rate * (1.0 - on_rate) / density  # dz/dk
    drive = np.sqrt(k) * (rise + z / (2.0 * k))
    return drive, (z - drive * np.sqrt(k)) * np.sqrt(k)


def _crossing(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """First x at which y falls through a level, between points of a curve that is smooth in x."""
    below = np.flatnonzero((y[:-1] > level) & (y[1:] <= level))
    if below.size == 0:
        return math.nan
    i = below[0]
    return float(x[i] + (x[i + 1] - x[i]) * (y[i] - level) / (y[i] - y[i + 1]))


@njit(cache=True, error_model="numpy")
def _respond(degree: float, drive: float, bias: float) -> float:
    """Return the on-rate of a unit with this many links, Phi(drive sqrt(k) + bias/sqrt(k))."""
    root = math.sqrt(degree)
    return 0.5 * math.erfc(-(drive * root + bias / root) * math.sqrt(0.5))


@njit(cache=True, error_model="numpy")
def _follow_rule(estimate: float, beta: float, d0: float, whole: bool) -> float:
    """Return the degree that the rule sets; no activity seen is the rarest there is."""
    if estimate <= 0.0:
        return MAX_DEGREE
    if estimate >= 1.0:
        return MIN_DEGREE
    degree = min(max(d0 + math.log((1.0 - estimate) / estimate) / beta, MIN_DEGREE), MAX_DEGREE)
    return np.rint(degree) if whole else degree


@njit(cache=True, error_model="numpy")
def _live(
    rng: np.random.Generator,
    drive: np.ndarray,
    bias: np.ndarray,
    start: np.ndarray,
    beta: float,
    d0: float,
    decay: float,
    interval: int,
    batch: int,
    lag: float,
    whole: bool,
    kick: float,
    n_settling: int,
    n_watched: int,
    n_measured: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Let every unit live by the local rule alone.

    Returns
    -------
    swing : ndarray, (n_watched + 1,)
        Mean displacement of the log-odds at the kick and after each refresh, nats.
    moments : ndarray, (6, n_units)
        Means over the measured refreshes: estimate less that at rest, the same one refresh before, its
        square, the product of the two, number of links changed, degree.
    """
    swing = np.zeros(n_watched + 1)
    moments = np.zeros((6, drive.size))
    n_idle = n_measured // 10
    for i in range(drive.size):
        degree = start[i]
        on_rate = _respond(degree, drive[i], bias[i])
        rate, estimate, rest, side = on_rate, on_rate, 0.0, 1.0 if i % 2 == 0 else -1.0
        for refresh in range(-n_settling, n_watched + n_idle + n_measured):
            if refresh == 0:
                # where the unit rested, and the kick; the rule answers to it at once
                rest /= n_settling - n_settling // 2
                estimate = rest + side * kick * rest * (1.0 - rest)
                degree = _follow_rule(estimate, beta, d0, whole)
                on_rate = _respond(degree, drive[i], bias[i])
                swing[0] += kick / drive.size
            before, old = estimate, degree
            for _ in range(interval if refresh >= 0 else 1):
                rate = on_rate + lag * (rate - on_rate)
                estimate = decay * estimate + (1.0 - decay) * (rng.binomial(batch, rate) / batch)
            degree = _follow_rule(estimate, beta, d0, whole)
            on_rate = _respond(degree, drive[i], bias[i])
            if refresh < 0:
                if refresh >= -(n_settling - n_settling // 2):
                    rest += estimate
            elif refresh < n_watched:
                swing[refresh + 1] += side * (estimate - rest) / (rest * (1.0 - rest)) / drive.size
            elif refresh >= n_watched + n_idle:
                moments[0, i] += (estimate - rest) / n_measured
                moments[1, i] += (before - rest) / n_measured
                moments[2, i] += (estimate - rest) ** 2 / n_measured
                moments[3, i] += (estimate - rest) * (before - rest) / n_measured
                moments[4, i] += abs(degree - old) / n_measured
                moments[5, i] += degree / n_measured
    return swing, moments

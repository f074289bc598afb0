"""What a finite batch does to a refreshed population: noise of the estimates, of the degrees, of the masks.

With B independent samples a step, an on-rate is seen as a batch mean of variance a (1-a)/B. An EMA of decay d
alone keeps V = a (1-a)/B (1-d)/(1+d) of it; over an interval it takes up fresh noise V (1-M^2), M = d^Delta.
The refresh feeds it back. Around the fixed point, with full steps,

    Var(estimate) = V (1-M^2)/(1-x^2) = V / ((1+g) (1 - g (1-M)/(1+M))),     autocorrelation x = M - (1-M) g,

from one refresh to the next. With a step of a fraction p the estimate is an ARMA(2, 1) process and the degree
an AR(2) one; the formulas below hold for every p.

Masks. With scores that stand still a unit's sets of kept links are nested, so a refresh changes as many links
as its degree moves: E|k' - k| = sqrt(2/pi) sd(k' - k) for real degrees. Whole links change as many in an open
loop, whose units lie anywhere between two degrees; in a closed one (g > 0) some units flicker between two
(`RefreshMap.flickers`) and change more. Links that change place because weights learn are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.refresh import RefreshMap

# an estimate whose standard deviation exceeds this part of min(a, 1-a) reaches the ends of (0, 1) now and
# then, where the log-odds are no line: a normal variable falls 3 standard deviations below one time in 740
LINEAR_NOISE = 1.0 / 3.0
_MEAN_ABSOLUTE = math.sqrt(2.0 / math.pi)  # E|x| of a standard normal variable


@dataclass(frozen=True, eq=False)
class RefreshNoise(Record):
    """Fluctuations of a refreshed population at its fixed point, to first order in the noise.

    Infinite for an unstable unit, whose fluctuations grow until a clip stops them. A unit on a clip has an
    open loop and a degree that stands still (noise that takes it off the clip now and then is not counted).
    """

    KIND: ClassVar[str] = "refresh_noise"
    UNITS: ClassVar[Mapping[str, str]] = {
        name: name
        for name in (
            "on_rate",
            "open_variance",
            "variance",
            "autocorrelation",
            "degree_stddev",
            "degree_autocorrelation",
            "degree_bias",
            "churn",
        )
    }
    DERIVED: ClassVar[tuple[str, ...]] = ("churn_per_refresh", "churn_per_step", "churn_share", "n_noisy")

    batch: float
    """B, independent samples of every unit a step."""
    interval: int
    """Delta, steps between refreshes."""
    n_links: float
    """Links in the masks, sum of the degrees."""
    on_rate: np.ndarray
    """a at the fixed point, shape (n,)."""
    open_variance: np.ndarray
    """Variance of the estimate with degrees that stand still, a (1-a)/B (1-d)/(1+d)."""
    variance: np.ndarray
    """Variance of the estimate at a refresh."""
    autocorrelation: np.ndarray
    """Of the estimate from refresh to refresh; with full steps the multiplier."""
    degree_stddev: np.ndarray
    """Standard deviation of the degree, links."""
    degree_autocorrelation: np.ndarray
    """Of the degree from refresh to refresh; nan where it stands still."""
    degree_bias: np.ndarray
    """Mean degree minus that without noise, links, for log-odds that answer along a line."""
    churn: np.ndarray
    """Expected number of links that a refresh changes, per unit."""

    @cached_property
    def churn_per_refresh(self) -> float:
        """Links that a refresh changes in all masks, made and cut together."""
        return float(self.churn.sum())

    @property
    def churn_per_step(self) -> float:
        """The same per training step, links."""
        return self.churn_per_refresh / self.interval

    @property
    def churn_share(self) -> float:
        """Links that a refresh changes, as a part of all links; nan without links."""
        return self.churn_per_refresh / self.n_links if self.n_links > 0 else math.nan

    @property
    def n_noisy(self) -> int:
        """Stable units with an estimate so noisy (LINEAR_NOISE) that first order does not hold."""
        nearest = np.minimum(self.on_rate, 1.0 - self.on_rate)
        return int((np.isfinite(self.variance) & (np.sqrt(self.variance) > LINEAR_NOISE * nearest)).sum())


def refresh_noise(refresh: RefreshMap, batch: float) -> RefreshNoise:
    """Expected fluctuations of estimates, degrees and masks of a refreshed population.

    Parameters
    ----------
    refresh : RefreshMap
        The population at its fixed point.
    batch : float
        B > 0, independent samples of every unit a step (batch size times positions, as far as these are
        independent).

    Returns
    -------
    RefreshNoise

    Raises
    ------
    ValueError
        If the batch is not a finite number above 0.

    References
    ----------
    This project's derivation, ``derive_refresh_noise`` and ``derive_degree_bias``. Bias: E L(estimate) - L(a)
    is (1-2a) Var/(2 a^2 (1-a)^2) to second order, and as much of the opposite sign comes back, times g^2,
    from the on-rates' own curve; the loop divides the sum by 1 + g. With full steps that leaves 1 - g of it.

    Examples
    --------
    >>> from bbtheory import refresh_map
    >>> line = dict(beta=0.1, d0=10.0, max_degree=64.0, interval=50, ema_decay=0.98)
    >>> noise = refresh_noise(refresh_map([0.1, 0.3], gain=0.01, **line), 100)
    >>> noise.autocorrelation.round(3).tolist(), round(noise.churn_per_refresh, 2)
    ([-0.342, 0.061], 0.66)
    """
    batch = validate.real("batch", batch, "(0, inf)")
    a, g, stable = refresh.on_rate, refresh.loop_gain, refresh.margin > 0
    m, p, d = refresh.memory, refresh.step_fraction, refresh.ema_decay
    chi = a * (1.0 - a)
    alone = chi / batch * ((1.0 - d) / (1.0 + d))
    fresh = alone * (1.0 - m * m)
    # estimate' = trace estimate - product estimate_before + fresh' - q fresh (the roots are the multipliers)
    q = 1.0 - p
    trace, product = m + q - p * (1.0 - m) * np.where(stable, g, 0.0), m * q
    both = (1.0 + product) ** 2 - trace**2
    share = ((1.0 + product) * (1.0 + q * q) - 2.0 * q * trace) / ((1.0 - product) * both)
    variance = fresh * share
    autocorrelation = (trace - q / share) / (1.0 + product)
    # the degree follows (1 - trace L + product L^2) degree' = p slope fresh'
    spread = fresh * (p * p * (1.0 + product)) / ((1.0 - product) * both)
    repeat = trace / (1.0 + product)
    free = ~refresh.clipped
    slope = np.divide(1.0, refresh.beta * chi, out=np.zeros_like(chi), where=free)
    stddev = slope * np.sqrt(spread)
    curvature = np.divide(1.0 - 2.0 * a, 2.0 * chi * chi, out=np.zeros_like(chi), where=free)
    # noise of the estimate lifts the mean log-odds, noise of the degree the mean on-rate
    g = np.where(stable, g, 0.0)
    bias = curvature * (variance - g * g * spread) / (refresh.beta * (1.0 + g))

    def or_infinite(values: np.ndarray, beyond: float = math.inf) -> np.ndarray:
        return np.where(stable, values, beyond)

    return RefreshNoise(
        batch=batch,
        interval=refresh.interval,
        n_links=float(refresh.degree.sum()),
        on_rate=a,
        open_variance=alone,
        variance=or_infinite(variance),
        autocorrelation=or_infinite(autocorrelation, math.nan),
        degree_stddev=or_infinite(stddev),
        degree_autocorrelation=np.where(stable & free, repeat, math.nan),
        degree_bias=or_infinite(bias, math.nan),
        churn=or_infinite(_MEAN_ABSOLUTE * stddev * np.sqrt(2.0 * (1.0 - repeat))),
    )

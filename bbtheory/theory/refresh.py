"""A population under refresh: the map from one refresh to the next, and what it makes of a deviation.

The fixed point that this record holds is found in dynamics.py, the limits it is judged by are those of
refresh_stability.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory import refresh_stability as stability
from bbtheory.theory.refresh_line import BLOCK, blocks, line_target, log_odds_slope


@dataclass(frozen=True, eq=False)
class RefreshMap(Record):
    """A population at the fixed point of its refresh, and how it moves near it."""

    KIND: ClassVar[str] = "refresh_map"
    UNITS: ClassVar[Mapping[str, str]] = {
        name: name
        for name in (
            "on_rate",
            "degree",
            "loop_gain",
            "multiplier",
            "modulus",
            "margin",
            "clipped",
            "verdict",
        )
    }
    DERIVED: ClassVar[tuple[str, ...]] = (
        "memory",
        "gain_limit",
        "oscillation_gain",
        "density",
        "least_margin",
        "settling_steps",
        "n_clipped",
        "n_runaway",
        "n_flickering",
        "n_oscillating",
        "n_unstable",
        "population_verdict",
    )
    HIDDEN: ClassVar[tuple[str, ...]] = ("gain",)

    actuator: str
    """sp_in | sp_out | both."""
    beta: float
    """Slope of the balance, nats per link."""
    d0: float
    """Degree of a unit that is on half of the time, links."""
    min_degree: float
    max_degree: float
    interval: int
    """Delta, steps between refreshes."""
    ema_decay: float
    """d, per step."""
    step_fraction: float
    """p, the part of the way to its target that a refresh moves a degree."""
    kept_share: float
    """Part of the links a unit chooses that survives the other actuator; 1 with one actuator."""
    on_rate: np.ndarray
    """a_i at the fixed point, shape (n,)."""
    degree: np.ndarray
    """k_i at the fixed point, links, shape (n,)."""
    gain: np.ndarray
    """da_i/dk_i per link chosen, at the fixed point, shape (n,); 0 under sp_out."""
    residual: float
    """Largest distance of a degree from the line, links."""
    n_evaluations: int
    """Evaluations of the response it took."""
    status: str
    """converged | not_converged."""

    @property
    def memory(self) -> float:
        """M = d^Delta: what the EMA keeps of a deviation from one refresh to the next."""
        return self.ema_decay**self.interval

    @property
    def gain_limit(self) -> float:
        """Loop gain at which period 2 begins to grow, (1+M)(2-p)/((1-M) p)."""
        return float(stability.gain_limit(self.memory, self.step_fraction))

    @property
    def oscillation_gain(self) -> float:
        """Loop gain above which deviations change sign, (sqrt M - sqrt(1-p))^2/((1-M) p)."""
        return float(stability.oscillation_gain(self.memory, self.step_fraction))

    @property
    def density(self) -> float:
        """Mean degree / D at the fixed point."""
        return float(self.degree.mean() / self.max_degree)

    @cached_property
    def clipped(self) -> np.ndarray:
        """Units on m or D: there the degree does not answer, and the loop is open."""
        return (self.degree <= self.min_degree) | (self.degree >= self.max_degree)

    @property
    def sensitivity(self) -> np.ndarray:
        """Fall of the log-odds with each link chosen, (da/dk)/(a (1-a)), nats; 0 for a unit without."""
        return log_odds_slope(self.gain, self.on_rate)

    @cached_property
    def loop_gain(self) -> np.ndarray:
        """Loop gain g = (da/dk)/(beta a (1-a)); 0 on a clip."""
        gain = self.sensitivity
        gain /= self.beta
        gain[self.clipped] = 0.0
        return gain

    @cached_property
    def runaway(self) -> np.ndarray:
        """Units with g <= -1 were it not for a clip: what the refresh does to them feeds itself."""
        return self.sensitivity <= -self.beta

    @cached_property
    def flickers(self) -> np.ndarray:
        """Units that whole links give no rest: neither neighbour of the degree is its own target, rounded.

        The targets of n and n + 1 lie (1 + g) times as far from the degree on the other side, so with g > 0 a
        part g/(1+g) of the units, spread evenly over the fractions of a link, goes back and forth by one link
        for ever, at every interval.
        """
        part = self.degree - np.floor(self.degree)
        return (np.minimum(part, 1.0 - part) * (1.0 + self.loop_gain) > 0.5) & ~self.clipped

    @cached_property
    def multiplier(self) -> np.ndarray:
        """Real part of the leading multiplier of each unit: M - (1-M) g with full steps."""
        return stability.leading_multiplier(self.loop_gain, self.memory, self.step_fraction)

    @cached_property
    def modulus(self) -> np.ndarray:
        """Its modulus: what a refresh leaves of a deviation."""
        return stability.leading_modulus(self.loop_gain, self.memory, self.step_fraction)

    @cached_property
    def margin(self) -> np.ndarray:
        """Part of the admissible loop gain left unused; negative for an unstable unit."""
        return stability.gain_margin(self.loop_gain, self.memory, self.step_fraction)

    @property
    def least_margin(self) -> float:
        """Margin of the unit that is nearest to instability."""
        extremes = np.array([self.loop_gain.max(), self.loop_gain.min()])
        return float(stability.gain_margin(extremes, self.memory, self.step_fraction).min())

    @property
    def settling_steps(self) -> float:
        """Steps in which the slowest unit loses all but 1/e of a deviation; nan where one is unstable."""
        slowest = float(self.modulus.max())
        if slowest >= 1.0:
            return float("nan")
        return 0.0 if slowest == 0 else -self.interval / float(np.log(slowest))

    @cached_property
    def verdict(self) -> np.ndarray:
        """Stable | oscillating | unstable, of each unit."""
        names = np.array([stability.STABLE, stability.OSCILLATING, stability.UNSTABLE])
        return names[self._oscillating + 2 * self._unstable]

    @property
    def population_verdict(self) -> str:
        """That of the unit nearest to instability: one unstable unit makes the population so."""
        if self.n_unstable:
            return stability.UNSTABLE
        return stability.OSCILLATING if self.n_oscillating else stability.STABLE

    @cached_property
    def _unstable(self) -> np.ndarray:
        return self.margin <= 0

    @cached_property
    def _oscillating(self) -> np.ndarray:
        return (self.loop_gain > self.oscillation_gain) & ~self._unstable

    @property
    def n_clipped(self) -> int:
        """Units on m or D."""
        return int(self.clipped.sum())

    @property
    def n_runaway(self) -> int:
        """Units that only a clip can hold, or nothing."""
        return int(self.runaway.sum())

    @property
    def n_flickering(self) -> int:
        """Units that go back and forth by one link where links are whole."""
        return int(self.flickers.sum())

    @property
    def n_oscillating(self) -> int:
        """Units whose deviations change sign as they decay."""
        return int(self._oscillating.sum())

    @property
    def n_unstable(self) -> int:
        """Units whose deviations grow."""
        return int(self._unstable.sum())

    @property
    def jacobian(self) -> np.ndarray:
        """Derivative of the map at the fixed point in (estimate, degree) of each unit, shape (n, 2, 2)."""
        m, p = self.memory, self.step_fraction
        chi = self.on_rate * (1.0 - self.on_rate)
        free = ~self.clipped
        slope = -np.divide(1.0, self.beta * chi, out=np.zeros_like(chi), where=free)
        top = np.stack([np.full_like(chi, m), (1.0 - m) * self.gain], axis=-1)
        kept = np.stack([np.zeros_like(chi), np.full_like(chi, 1.0 - p)], axis=-1)
        return np.stack([top, kept + p * slope[:, None] * top], axis=-2)

    def advance(
        self,
        estimate: ArrayLike,
        degree: ArrayLike,
        on_rate: ArrayLike,
        out: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """One interval and the refresh at its end, without noise.

        Parameters
        ----------
        estimate, degree : array_like, (n,)
            EMA of the on-rates in [0, 1] and degrees >= 0 after the last refresh.
        on_rate : array_like, (n,)
            On-rates in [0, 1] during the interval, A(k) of these degrees.
        out : pair of ndarray of float64, (n,), optional
            Where to put the results; may be the arguments themselves.

        Returns
        -------
        estimate, degree : ndarray, (n,)

        Raises
        ------
        ValueError
            If a shape or a value is outside its domain.
        """
        shape, p, memory = self.on_rate.shape, self.step_fraction, self.memory
        old = validate.array("estimate", estimate, "[0, 1]", shape=shape)
        links = validate.array("degree", degree, "[0, inf)", shape=shape)
        rate = validate.array("on_rate", on_rate, "[0, 1]", shape=shape)
        new, moved = (np.empty(shape), np.empty(shape)) if out is None else out
        line = (self.beta, self.d0, self.min_degree, self.max_degree)
        scratch = np.empty(min(BLOCK, old.size))
        for at in blocks(old.size):
            seen = np.subtract(old[at], rate[at], out=new[at])
            seen *= memory
            seen += rate[at]
            if p == 1:
                line_target(seen, *line, out=moved[at])
            else:
                step = line_target(seen, *line, out=scratch[: seen.size])
                step -= links[at]
                step *= p
                np.add(links[at], step, out=moved[at])
        return new, moved

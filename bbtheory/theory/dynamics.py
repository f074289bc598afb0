"""The refresh of a population as a map: where it rests, and whether it settles, rings or runs away.

Every Delta steps each unit's degree is set from an average of its on-rate, and its on-rate answers to the
degree. With an EMA of decay d, M = d^Delta, and a step of a fraction p to the target on the balance line,

    estimate' = M estimate + (1-M) A(k),      k' = (1-p) k + p clip(d0 + L(estimate')/beta, m, D).

Actuators. SP-in sets the fan-in, to which the unit's own on-rate answers with da/dk: the loop is closed.
SP-out sets the fan-out; a unit's on-rate does not feel it, only units further on do. Both keeps the
intersection of the two masks: of the k links a unit chooses, the share that the units at their other ends
keep survives, and is held fixed here. What a unit does to units further on makes the Jacobian of a
feed-forward network triangular, so that its multipliers are still those of the units one by one;
`population_multipliers` takes any other coupling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError, Record
from bbtheory.theory import refresh_stability as stability
from bbtheory.theory.controller import degree_range
from bbtheory.theory.entropy import inactivity_log_odds
from bbtheory.theory.own_response import GivenResponse, LinearResponse, fixed_degree
from bbtheory.theory.population import spread

ACTUATORS = ("sp_in", "sp_out", "both")
# units handled at a time, so that what lies between two passes over them stays in the cache
_BLOCK = 8192


@dataclass(frozen=True, eq=False)
class RefreshMap(Record):
    """A population at the fixed point of its refresh, and how it moves near it."""

    KIND: ClassVar[str] = "refresh_map"
    UNITS: ClassVar[Mapping[str, str]] = {
        name: name
        for name in ("on_rate", "degree", "loop_gain", "multiplier", "modulus", "margin", "clipped", "verdict")
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

    @cached_property
    def sensitivity(self) -> np.ndarray:
        """(da/dk)/(a (1-a)), fall of the log-odds with each link chosen, nats; 0 for a unit without log-odds."""
        chi = self.on_rate * (1.0 - self.on_rate)
        return np.divide(self.gain, chi, out=np.zeros_like(chi), where=chi > 0)

    @cached_property
    def loop_gain(self) -> np.ndarray:
        """g = (da/dk)/(beta a (1-a)); 0 on a clip."""
        return np.where(self.clipped, 0.0, self.sensitivity / self.beta)

    @cached_property
    def runaway(self) -> np.ndarray:
        """Units with g <= -1 were it not for a clip: what the refresh does to them feeds itself."""
        return self.sensitivity <= -self.beta

    @cached_property
    def _leading(self) -> tuple[np.ndarray, np.ndarray]:
        return stability.leading_multiplier(self.loop_gain, self.memory, self.step_fraction)

    @property
    def multiplier(self) -> np.ndarray:
        """Real part of the leading multiplier of each unit: M - (1-M) g with full steps."""
        return self._leading[0]

    @property
    def modulus(self) -> np.ndarray:
        """Its modulus: what a refresh leaves of a deviation."""
        return self._leading[1]

    @cached_property
    def margin(self) -> np.ndarray:
        """Part of the admissible loop gain left unused; negative for an unstable unit."""
        return stability.gain_margin(self.loop_gain, self.memory, self.step_fraction)

    @property
    def least_margin(self) -> float:
        """Margin of the unit that is nearest to instability."""
        return float(self.margin.min())

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
    def n_oscillating(self) -> int:
        """Units whose deviations change sign as they decay."""
        return int(self._oscillating.sum())

    @property
    def n_unstable(self) -> int:
        """Units whose deviations grow."""
        return int(self._unstable.sum())

    @property
    def jacobian(self) -> np.ndarray:
        """Derivative of `advance` at the fixed point in (estimate, degree), (n, 2, 2), on-rates following degrees."""
        m, p = self.memory, self.step_fraction
        chi = self.on_rate * (1.0 - self.on_rate)
        free = ~self.clipped
        slope = -np.divide(1.0, self.beta * chi, out=np.zeros_like(chi), where=free)
        top = np.stack([np.full_like(chi, m), (1.0 - m) * self.gain], axis=-1)
        kept = np.stack([np.zeros_like(chi), np.full_like(chi, 1.0 - p)], axis=-1)
        return np.stack([top, kept + p * slope[:, None] * top], axis=-2)

    def target(self, estimate: np.ndarray) -> np.ndarray:
        """clip(d0 + L(estimate)/beta, m, D), links."""
        return _target(estimate, self.beta, self.d0, self.min_degree, self.max_degree)

    def advance(
        self, estimate: ArrayLike, degree: ArrayLike, on_rate: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """One interval and the refresh at its end, without noise.

        Parameters
        ----------
        estimate, degree : array_like, (n,)
            EMA of the on-rates in [0, 1] and degrees in [m, D] after the last refresh.
        on_rate : array_like, (n,)
            On-rates in [0, 1] during the interval, A(k) of these degrees.

        Returns
        -------
        estimate, degree : ndarray, (n,)

        Raises
        ------
        ValueError
            If a shape or a value is outside its domain.
        """
        seen = validate.array("estimate", estimate, "[0, 1]", shape=self.on_rate.shape)
        links = validate.array("degree", degree, "[0, inf)", shape=self.on_rate.shape)
        rate = validate.array("on_rate", on_rate, "[0, 1]", shape=self.on_rate.shape)
        new, moved = np.empty_like(seen), np.empty_like(seen)
        for start in range(0, seen.size, _BLOCK):
            at = slice(start, start + _BLOCK)
            new[at] = rate[at] + self.memory * (seen[at] - rate[at])
            target = self.target(new[at])
            moved[at] = target if self.step_fraction == 1 else links[at] + self.step_fraction * (target - links[at])
        return new, moved


def _target(estimate: np.ndarray, beta: float, d0: float, low: float, high: float) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.clip(d0 + inactivity_log_odds(estimate) / beta, low, high)


def refresh_map(
    on_rate: ArrayLike,
    *,
    beta: float,
    d0: float,
    max_degree: float,
    interval: int,
    ema_decay: float,
    min_degree: float = 0.0,
    gain: ArrayLike | None = None,
    degree: ArrayLike | None = None,
    response: Callable[[np.ndarray], np.ndarray] | None = None,
    actuator: str = "sp_in",
    step_fraction: float = 1.0,
    kept_share: float = 1.0,
) -> RefreshMap:
    """Find where a population's refresh rests, and how each unit moves near there.

    The fixed point a = A(k), k = clip(d0 + L(a)/beta, m, D); the loop gain g = (da/dk)/(beta a (1-a)); and
    the multiplier M - (1-M) g with M = ema_decay^interval (full steps), stable iff -1 < g < (1+M)/(1-M).

    Parameters
    ----------
    on_rate : array_like, (n,)
        On-rates in [0, 1]: measured ones, or those of `solve_equilibrium`. The reference point of a linear
        response, the start of the search for another one.
    beta, d0 : float
        The line: slope > 0 in nats per link, and degree at on-rate 1/2 in links.
    min_degree, max_degree : float
        0 <= m <= D, D > 0, links.
    interval : int
        Delta >= 1, steps between refreshes.
    ema_decay : float
        d in [0, 1), per step.
    gain : array_like, scalar or (n,), optional
        da/dk of each unit's on-rate to a surviving link of its own, of either sign: a linear response.
    degree : array_like, (n,), optional
        With ``gain``: the degrees >= 0 chosen when the on-rates were measured; the fixed point is then
        searched for. Left out, the on-rates are taken as those of the fixed point.
    response : callable, optional
        In place of ``gain``: takes the surviving degrees (n,) and returns the on-rates (n,), each unit's from
        its own degree alone. Of several fixed points the one is found toward which the refresh moves the
        units from ``on_rate``.
    actuator : {"sp_in", "sp_out", "both"}
        Whose degrees are set. Under sp_out no unit answers to its own fan-out: give neither gain nor response.
    step_fraction : float
        p in (0, 1], the part of the way to its target that a refresh moves a degree.
    kept_share : float
        With "both": part in (0, 1] of the links a unit chooses that survives the other actuator.

    Returns
    -------
    RefreshMap

    Raises
    ------
    ValueError
        If an argument is outside its domain or of the wrong shape, or arguments contradict each other.
    ConvergenceError
        If a response jumps across the line, so that no degree is a fixed point; ``error.record`` holds the
        nearest.

    References
    ----------
    This project's derivation, ``derive_refresh_multiplier``; rule and actuators: arXiv 2510.01263.

    Examples
    --------
    >>> r = refresh_map([0.1, 0.3], gain=0.01, beta=0.1, d0=10, max_degree=64, interval=50, ema_decay=0.98)
    >>> r.loop_gain.round(3).tolist(), r.population_verdict
    ([1.111, 0.476], 'oscillating')
    """
    a = validate.array("on_rate", on_rate, "[0, 1]")
    beta, d0 = validate.real("beta", beta, "(0, inf)"), validate.real("d0", d0)
    low, high = degree_range(min_degree, max_degree)
    delta = validate.integer("interval", interval, "[1, inf)")
    decay = validate.real("ema_decay", ema_decay, "[0, 1)")
    validate.choice("actuator", actuator, ACTUATORS)
    p = validate.real("step_fraction", step_fraction, "(0, 1]")
    share = validate.real("kept_share", kept_share, "(0, 1]")
    if actuator != "both" and share != 1:
        raise ValueError(f"kept_share must be 1 unless the actuator is both, got {share:g} with {actuator}")

    def result(
        a: np.ndarray, k: np.ndarray, gain: np.ndarray, residual: float, used: int, status: str
    ) -> RefreshMap:
        return RefreshMap(
            actuator, beta, d0, low, high, delta, decay, p, share, a, k, gain, residual, used, status
        )  # fmt: skip

    def target(a: np.ndarray) -> np.ndarray:
        return _target(a, beta, d0, low, high)

    if actuator == "sp_out":
        if gain is not None or response is not None or degree is not None:
            raise ValueError("gain, degree and response must not be given with sp_out: its loop is open")
        return result(a, _blockwise(target, a), np.broadcast_to(0.0, a.shape), 0.0, 0, "converged")
    if validate.exactly_one(gain=gain, response=response) == "gain":
        slope = share * spread("gain", gain, "(-inf, inf)", a.shape)  # type: ignore[arg-type]
        if degree is None:
            return result(a, _blockwise(target, a), slope, 0.0, 0, "converged")
        links = validate.array("degree", degree, "[0, inf)", shape=a.shape)
        respond = LinearResponse(a, links, slope)
    else:
        if degree is not None:
            raise ValueError("degree must not be given with response, which takes it as its argument")
        assert response is not None
        respond = GivenResponse(response, share)
    root = fixed_degree(respond, target, target(a), low, high)
    rested = respond(root.degree)
    # the line read at the found on-rates, so that units on a clip lie exactly on it
    k = target(rested)
    residual = float(np.max(np.abs(k - root.degree)))
    record = result(rested, k, respond.slope(k, low, high), residual, root.n_evaluations, "converged")
    if not root.closed or residual > _JUMP * high:
        unfinished = result(rested, k, record.gain, residual, root.n_evaluations, "not_converged")
        raise ConvergenceError(
            f"the response leaves the line {residual:.3g} links away after {root.n_evaluations} evaluations",
            unfinished,
        )
    return record

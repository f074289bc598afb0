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

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError
from bbtheory.theory.controller import degree_range
from bbtheory.theory.entropy import inactivity_log_odds
from bbtheory.theory.own_response import GivenResponse, LinearResponse, fixed_degree
from bbtheory.theory.population import spread
from bbtheory.theory.refresh import RefreshMap
from bbtheory.theory.refresh_line import line_target, log_odds_slope

ACTUATORS = ("sp_in", "sp_out", "both")
# a root within this part of the largest degree is a fixed point; farther off, the response jumps past it
_JUMP = 1e-6


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
        On-rates in [0, 1]: measured ones, or those of `solve_equilibrium`. The reference point of a gain, the
        start of the search under a response.
    beta, d0 : float
        The line: slope > 0 in nats per link, and degree at on-rate 1/2 in links.
    min_degree, max_degree : float
        0 <= m <= D, D > 0, links.
    interval : int
        Delta >= 1, steps between refreshes.
    ema_decay : float
        d in [0, 1), per step.
    gain : array_like, scalar or (n,), optional
        da/dk of each unit's on-rate to a surviving link of its own, of either sign; its log-odds go on along
        that line.
    degree : array_like, (n,), optional
        With ``gain``: the degrees >= 0 chosen when the on-rates were measured; the fixed point is then
        searched for. Left out, the on-rates are taken as those of the fixed point.
    response : callable, optional
        In place of ``gain``: takes the surviving degrees (n,) and returns the on-rates (n,), each unit's from
        its own degree alone. Of several fixed points the one is found toward which the refresh moves the
        units from ``on_rate``.
    actuator : {"sp_in", "sp_out", "both"}
        Whose degrees are set. Under sp_out no unit answers to its own: give neither gain nor response.
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
        return line_target(a, beta, d0, low, high)

    if actuator == "sp_out":
        if gain is not None or response is not None or degree is not None:
            raise ValueError("gain, degree and response must not be given with sp_out: its loop is open")
        return result(a, target(a), np.broadcast_to(0.0, a.shape), 0.0, 0, "converged")
    validate.exactly_one(gain=gain, response=response)
    if gain is not None:
        answer = spread("gain", gain, "(-inf, inf)", a.shape)
        answer = answer if share == 1 else share * answer
        if degree is None:
            return result(a, target(a), answer, 0.0, 0, "converged")
        links = validate.array("degree", degree, "[0, inf)", shape=a.shape)
        slope = log_odds_slope(answer, a)
        linear = LinearResponse(inactivity_log_odds(a), links, slope)
        k = linear.fixed_degree(beta, d0, low, high)
        rested = linear(k)
        residual = float(np.max(np.abs(target(rested) - k)))
        return result(rested, k, slope * rested * (1.0 - rested), residual, 0, "converged")
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

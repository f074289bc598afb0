"""How many links each actuator must cut to bring an over-budget unit back to the balance.

The residual r = L(a) - beta k of such a unit is below 0. SP-out raises it by beta a link. SP-in raises it by
dr_j = -lam(z) dz_j to first order, dz_j = dmu_j/s - z ds2_j/(2 s^2), where cutting link j takes
dmu_j = -w_j m_j and ds2_j = -2 w_j (C w)_j + w_j^2 C_jj (-w_j^2 v_j without correlations) from the moments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.gaussian import log_odds_change, log_odds_of, log_odds_slope, standardise
from bbtheory.theory.moments import DEFAULT_TERMS, LayerState, checked_terms, propagate
from bbtheory.theory.network import Network

ORDERS = ("weakest", "largest")
# a residual of n links, divided by beta, may land above n by rounding; that is not one more link
_WHOLE = 1e-9


@dataclass(frozen=True, eq=False)
class ActuatorPlan(Record):
    """Links to cut so that the residual of one unit, below 0, comes back to 0 or above.

    sp_out_cuts, sp_in_cuts_linear (first order) and sp_in_cuts (exact within the closure) are None where that
    actuator cannot do it; SP-in always leaves the unit one link. ``actuator`` is the one with fewer cuts
    ("sp_out" where equal: it leaves the on-rate alone), "none" where the residual is not below 0,
    "unreachable" where neither can. The arrays follow the incoming links in the order they are cut: gain to
    first order, and the residual after each cut by both forms (without its last link the unit
    is deterministic).
    """

    layer: int
    unit: int
    beta: float
    order: str
    on_rate: float
    fan_in: int
    fan_out: int
    residual: float
    sp_out_cuts: int | None
    sp_in_cuts_linear: int | None
    sp_in_cuts: int | None
    source: np.ndarray
    gain: np.ndarray
    residual_linear: np.ndarray
    residual_finite: np.ndarray

    KIND = "actuator_plan"
    UNITS: ClassVar[Mapping[str, str]] = {
        name: name
        for name in (
            "source",
            "gain",
            "residual_linear",
            "residual_finite",
        )
    }
    DERIVED = ("actuator", "cuts", "n_raising")

    @property
    def actuator(self) -> str:
        """Actuator that needs fewer cuts: sp_in, sp_out, none or unreachable."""
        if self.residual >= 0:
            return "none"
        if self.sp_out_cuts is None and self.sp_in_cuts is None:
            return "unreachable"
        if self.sp_in_cuts is None:
            return "sp_out"
        return "sp_in" if self.sp_out_cuts is None or self.sp_in_cuts < self.sp_out_cuts else "sp_out"

    @property
    def cuts(self) -> int | None:
        """Number of links that actuator cuts; None where neither can."""
        return {"sp_in": self.sp_in_cuts, "sp_out": self.sp_out_cuts, "none": 0}.get(self.actuator)

    @property
    def n_raising(self) -> int:
        """Incoming links whose cut raises the on-rate, so that it moves the residual the wrong way."""
        return int((self.gain < 0).sum())


def actuator_cuts(
    network: Network,
    layer: int,
    unit: int,
    *,
    beta: float,
    residual: float | None = None,
    order: str = "weakest",
    terms: int = DEFAULT_TERMS,
) -> ActuatorPlan:
    """Count the links that SP-out and SP-in must cut to bring the residual of a unit back to 0.

    SP-out: ceil(-r/beta). SP-in: the smallest n whose first n links, in the given order, bring
    L(Phi((mu + dmu)/sqrt(s^2 + ds^2))) - L(Phi(z)) to -r; to first order sum dr_j, which over-cuts where z
    falls faster than linearly.

    Parameters
    ----------
    network : Network
    layer, unit : int
    beta : float
        Price of a link, >= 0, nats per link.
    residual : float, optional
        Deviation to correct, nats; None: the unit's own L(a) - beta fan_out.
    order : {"weakest", "largest"}, optional
        Order of the SP-in cuts: smallest |w| first, what the pruning rule does, or largest dr_j first, the
        fewest to first order.
    terms : int, optional
        Terms of Mehler's series, used with an input covariance.

    Returns
    -------
    ActuatorPlan

    Raises
    ------
    ValueError
        If there is no such unit, the order is unknown, a number is outside its domain, or a covariance is
        singular along the weights of a unit.

    References
    ----------
    This project's derivation, ``derive_link_moments``; actuators SP-in and SP-out: arXiv 2510.01263.
    """
    validate.instance("network", network, Network)
    index = network.index(layer, unit)
    beta = validate.real("beta", beta, "[0, inf)")
    validate.choice("order", order, ORDERS)
    states = propagate(network, terms=checked_terms(terms))
    z, bias = states[layer].z[0][unit], network.biases[layer][unit]
    fan_out = int(network.fan_out[index])
    own = float(log_odds_of(z)) - beta * fan_out
    wanted = own if residual is None else validate.real("residual", residual)

    source, w = network.links_in(layer, unit)
    mean, covariance = _input_moments(network, states, layer, source)
    if covariance.ndim == 1:
        matrix = None
        taken = -w * w * covariance
    else:
        matrix = np.outer(w, w) * covariance
        taken = np.diagonal(matrix) - 2.0 * matrix.sum(1)
    gain = _link_gains(states[layer], unit, -w * mean, taken)
    place = np.argsort(np.abs(w) if order == "weakest" else -gain, kind="stable")
    source, w, mean, gain = source[place], w[place], mean[place], gain[place]

    # what is left after the first n cuts, summed from the far end so that nothing cancels
    mu = bias + _left(w * mean)
    if matrix is None:
        variance = _left(-taken[place])
    else:
        matrix = matrix[np.ix_(place, place)]
        corner = np.cumsum(np.cumsum(matrix[::-1, ::-1], axis=0), axis=1)
        variance = np.append(np.diagonal(corner)[::-1][1:], 0.0) if len(w) else np.empty(0)
    moved, _, _ = standardise(mu, np.maximum(variance, 0.0))
    finite = log_odds_of(moved) - beta * fan_out if residual is None else wanted + log_odds_change(z, moved)
    linear = wanted + np.cumsum(gain)
    return ActuatorPlan(
        layer=int(layer),
        unit=int(unit),
        beta=beta,
        order=order,
        on_rate=float(ndtr(z)),
        fan_in=len(w),
        fan_out=fan_out,
        residual=wanted,
        sp_out_cuts=_sp_out_cuts(wanted, beta, fan_out),
        sp_in_cuts_linear=_first_reached(wanted, linear),
        sp_in_cuts=_first_reached(wanted, finite),
        source=source,
        gain=gain,
        residual_linear=linear,
        residual_finite=finite,
    )


def _input_moments(
    network: Network, states: list[LayerState], layer: int, source: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance (or, without correlations, variance) of a unit's inputs."""
    if layer == 0:
        mean, spread, covariance = network.input_mean, network.input_variance, network.input_covariance
    else:
        below = states[layer - 1]
        mean, spread = below.mean[0], below.spread[0]
        covariance = None if below.covariance is None else below.covariance[0]
    return mean[source], spread[source] if covariance is None else covariance[np.ix_(source, source)]


def _link_gains(state: LayerState, unit: int, dmu: np.ndarray, dvariance: np.ndarray) -> np.ndarray:
    """Return dr = -lam(z) dz of cutting each incoming link alone; 0 for a unit without variance."""
    z, variance = state.z[0][unit], state.variance[0][unit]
    if variance <= 0:
        return np.zeros_like(dmu)
    return -log_odds_slope(z) * (dmu / np.sqrt(variance) - 0.5 * z * dvariance / variance)


def _left(parts: np.ndarray) -> np.ndarray:
    """Return what remains of a sum after its first 1, 2, ... n parts are taken."""
    return np.append(np.cumsum(parts[::-1])[::-1][1:], 0.0) if len(parts) else np.empty(0)


def _sp_out_cuts(residual: float, beta: float, fan_out: int) -> int | None:
    if residual >= 0:
        return 0
    if beta * fan_out * (1.0 + _WHOLE) < -residual:
        return None
    return math.ceil(-residual / beta * (1.0 - _WHOLE))


def _first_reached(residual: float, path: np.ndarray) -> int | None:
    if residual >= 0:
        return 0
    reached = np.flatnonzero(path[:-1] >= 0)  # the last link stays: a silenced unit is not a corrected one
    return int(reached[0]) + 1 if len(reached) else None

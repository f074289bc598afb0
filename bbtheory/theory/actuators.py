"""Gains of the two actuators at every unit, with their signs.

SP-out cuts a link that the unit drives: dr = +beta. SP-in cuts one that drives it: dr = -lam(z) dz,
lam = phi/(a (1-a)), so it raises the residual only where dz < 0. Cutting inhibition, or thinning a unit of
small bias that is mostly off, raises the on-rate instead. SP-in is the stronger one where -lam dz > beta.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.gaussian import log_odds_of, log_odds_slope
from bbtheory.theory.moments import DEFAULT_TERMS, checked_terms, propagate
from bbtheory.theory.network import Network


@dataclass(frozen=True, eq=False)
class ActuatorGains(Record):
    """What cutting one link does to each unit, averaged over its links: sign and strength of both actuators.

    sp_in_z_gain is dz per incoming link, sp_in_gain and sp_out_gain the changes of the residual per link
    (nats); stronger names the actuator with the larger positive gain, "none" where neither has a link to cut
    or raises the residual.
    """

    layer: np.ndarray
    unit: np.ndarray
    beta: float
    on_rate: np.ndarray
    fan_in: np.ndarray
    fan_out: np.ndarray
    residual: np.ndarray
    sp_in_z_gain: np.ndarray
    sp_in_gain: np.ndarray
    sp_out_gain: np.ndarray

    KIND = "actuator_gains"
    UNITS: ClassVar[Mapping[str, str]] = {
        name: name
        for name in (
            "layer",
            "unit",
            "on_rate",
            "fan_in",
            "fan_out",
            "residual",
            "sp_in_z_gain",
            "sp_in_gain",
            "sp_out_gain",
            "stronger",
        )
    }
    DERIVED = ("n_raised_by_sp_in",)

    @property
    def stronger(self) -> np.ndarray:
        """Name of the actuator that raises the residual more per link."""
        best = np.where(self.sp_in_gain > self.sp_out_gain, "sp_in", "sp_out")
        return np.where(np.maximum(self.sp_in_gain, self.sp_out_gain) > 0, best, "none")

    @property
    def n_raised_by_sp_in(self) -> int:
        """Number of units whose on-rate SP-in raises: there it makes an over-budget unit worse."""
        return int((self.sp_in_z_gain > 0).sum())


def actuator_gains(network: Network, *, beta: float, terms: int = DEFAULT_TERMS) -> ActuatorGains:
    """Gains of both actuators at every unit, per link and averaged over its links, to first order.

    dz = [ -(mu - b)/s + z (2 s^2 - sum_j w_j^2 C_jj)/(2 s^2) ] / fan_in,  dr = -lam(z) dz;  SP-out dr = beta.

    Parameters
    ----------
    network : Network
    beta : float
        Price of a link, >= 0, nats per link.
    terms : int, optional
        Terms of Mehler's series, used with an input covariance.

    Returns
    -------
    ActuatorGains

    Raises
    ------
    ValueError
        If beta is negative or not finite, or a covariance is singular along the weights of a unit.

    References
    ----------
    This project's derivation, ``derive_random_thinning``; actuators SP-in and SP-out: arXiv 2510.01263.
    """
    beta = validate.real("beta", beta, "[0, inf)")
    states = propagate(network, terms=checked_terms(terms))
    spread, pieces = network.input_variance, []
    for state, bias, links in zip(states, network.biases, network.links, strict=True):
        z, variance = state.z[0], state.variance[0]
        varies = variance > 0
        total = np.where(varies, variance, 1.0)
        dz = -(state.mu[0] - bias) / state.scale
        dz += np.where(varies, z, 0.0) * (2.0 * variance - links.squared @ spread) / (2.0 * total)
        pieces.append(np.where(varies, dz, 0.0))
        spread = state.spread[0]
    z = np.concatenate([s.z[0] for s in states])
    dz = np.concatenate(pieces) / np.maximum(network.fan_in, 1)
    slope = np.where(dz != 0, log_odds_slope(np.where(dz != 0, z, 0.0)), 0.0)
    return ActuatorGains(
        layer=network.layer,
        unit=network.unit,
        beta=beta,
        on_rate=ndtr(z),
        fan_in=network.fan_in,
        fan_out=network.fan_out,
        residual=log_odds_of(z) - beta * network.fan_out,
        sp_in_z_gain=dz,
        sp_in_gain=-slope * dz,
        sp_out_gain=np.where(network.fan_out > 0, beta, 0.0),
    )

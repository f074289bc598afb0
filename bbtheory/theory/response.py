"""Linear response of on-rates and residuals to SP-in and SP-out, unit by unit and through all layers.

The residual of the balance is r = L(a) - beta k with L(a) = ln((1-a)/a). A shock changes mu and s^2 of the
units it enters by

    dmu = -sum_R w m,      ds^2 = w'^T C w' - w^T C w      (-sum_R w^2 v for uncorrelated inputs),

and of all units behind them through the moments those pass on. The answer is linear in z = mu/s, not in a:

    dz = dmu/s - z ds^2/(2 s^2),    a' = Phi(z + dz),    dr = L(a') - L(a) - beta dk,

because for rare units the form linear in a can exceed a itself. Cutting link j -> i is SP-in for i and SP-out
for j: it takes one from k_j and, the closure being feed-forward, leaves a_j as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.closure import solve_closure
from bbtheory.theory.gaussian import log_odds_change, log_odds_slope
from bbtheory.theory.moments import DEFAULT_TERMS, checked_terms, propagate
from bbtheory.theory.network import Network
from bbtheory.theory.shock import Shock

# The neglected second order is then under a tenth of the linear answer; a choice, not a theorem.
LINEAR_LIMIT = 0.1


@dataclass(frozen=True, eq=False)
class Response(Record):
    """Answer of every unit to one shock: to first order, in full, and how far the first order can be trusted.

    z_change is dz; z_curvature the second-order term (1/2) d^2z along the shock, the estimated error of
    z + dz; *_linear come from z + dz, *_finite from the closure of the shocked network. residual_change is
    L(a') - L(a) - beta dk with a' linear in z. A unit without variance does not respond to first order.
    """

    layer: np.ndarray
    unit: np.ndarray
    beta: float
    on_rate: np.ndarray
    on_rate_linear: np.ndarray
    on_rate_finite: np.ndarray
    z: np.ndarray
    z_change: np.ndarray
    z_curvature: np.ndarray
    fan_out_change: np.ndarray
    residual_change: np.ndarray
    residual_change_finite: np.ndarray
    n_links: int
    covariance_error: float

    KIND = "response"
    UNITS: ClassVar[Mapping[str, str]] = {
        name: name
        for name in (
            "layer",
            "unit",
            "on_rate",
            "on_rate_linear",
            "on_rate_finite",
            "z",
            "z_change",
            "z_curvature",
            "fan_out_change",
            "residual_change",
            "residual_change_finite",
            "residual_change_error",
        )
    }
    DERIVED = ("relative_error", "linear_holds")

    @property
    def residual_change_error(self) -> np.ndarray:
        """Estimated error of residual_change, lam(z) |second-order term|, nats."""
        return np.where(self.z_curvature != 0, log_odds_slope(self.z) * np.abs(self.z_curvature), 0.0)

    @property
    def relative_error(self) -> float:
        """Second order over first, over all units (root sum of squares); grows in proportion to the shock."""
        first = float(np.sqrt(np.sum(self.z_change**2)))
        second = float(np.sqrt(np.sum(self.z_curvature**2)))
        return second / first if first > 0 else (float("inf") if second > 0 else 0.0)

    @property
    def linear_holds(self) -> bool:
        """Whether the second order is below a tenth of the first, so that the linear answer can be used."""
        return self.relative_error <= LINEAR_LIMIT


def respond(network: Network, shock: Shock, *, beta: float = 1.0, terms: int = DEFAULT_TERMS) -> Response:
    """Predict what a shock does to every on-rate and residual: linear in z, in full, and the linear error.

    dr = L(Phi(z + dz)) - L(Phi(z)) - beta dk, dz the derivative of the Gaussian closure along the straight
    path of moments (dmu, ds^2) whose end is the shocked network, through all layers.

    Parameters
    ----------
    network : Network
    shock : Shock
        Links to cut or weaken, on any units.
    beta : float, optional
        Price of a link, >= 0, nats per link; dr is linear in it, dL - beta dk.
    terms : int, optional
        Terms of Mehler's series, used with an input covariance.

    Returns
    -------
    Response

    Raises
    ------
    ValueError
        If the shock names a layer, unit or link that is not there, beta is negative or not finite, or a
        covariance is singular along the weights of a unit.

    References
    ----------
    This project's derivation, ``derive_gaussian_response``; actuators SP-in and SP-out: arXiv 2510.01263.
    """
    validate.instance("network", network, Network)
    validate.instance("shock", shock, Shock)
    beta = validate.real("beta", beta, "[0, inf)")
    changes = shock.changes(network)
    states = propagate(network, changes, degree=2, terms=checked_terms(terms))
    z, dz, bend = (np.concatenate([s.z[n] for s in states]) for n in range(3))
    after = solve_closure(shock.apply(network), terms=terms)
    dk = shock.fan_out_change(network)
    return Response(
        layer=network.layer,
        unit=network.unit,
        beta=beta,
        on_rate=ndtr(z),
        on_rate_linear=ndtr(z + dz),
        on_rate_finite=after.on_rate,
        z=z,
        z_change=dz,
        z_curvature=0.5 * bend,
        fan_out_change=dk,
        residual_change=log_odds_change(z, z + dz) - beta * dk,
        residual_change_finite=log_odds_change(z, after.z) - beta * dk,
        n_links=len(shock),
        covariance_error=max(after.covariance_error, *(s.remainder for s in states)),
    )

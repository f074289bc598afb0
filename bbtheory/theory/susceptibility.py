"""The linear response as an operator: products with vectors over all units, no matrix formed."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from bbtheory import validate
from bbtheory.theory.gaussian import density, log_odds_slope
from bbtheory.theory.moments import DEFAULT_TERMS, checked_terms
from bbtheory.theory.network import Network
from bbtheory.theory.tangent import CorrelatedTangent, Tangent

ACTUATORS = ("sp_in", "sp_out")
OUTPUTS = ("residual", "log_odds", "on_rate", "z")


class ResponseOperator(LinearOperator):
    """Linear map from the fraction of links cut at every unit to the response of every unit.

    y = R x: x_j is the fraction of unit j's incoming ("sp_in") or outgoing ("sp_out") links that is cut, each
    link adding x_j times the effect of its own cut; y_i is the response of z, the on-rate, the log-odds or
    the residual r = L(a) - beta k of unit i, through all layers. ``R @ x`` and ``R.T @ y`` each cost
    about two products with the weights; ``R @ numpy.eye(n)`` is the matrix. A unit without variance does not
    respond.

    Which links are cut matters beyond that mean: over random choices mu scatters with variance
    x sum_j w_j^2 m_j^2, and the average on-rate moves by a further -(z/2) phi(z) x sum_j w_j^2 m_j^2/s^2.

    Parameters
    ----------
    network : Network
    actuator : {"sp_in", "sp_out"}
    of : {"residual", "log_odds", "on_rate", "z"}, optional
        Which response; "residual" counts the links that units lose of their fan-out, too.
    beta : float, optional
        Price of a link, >= 0, nats per link.
    terms : int, optional
        Terms of Mehler's series, used with an input covariance.

    Raises
    ------
    ValueError
        If actuator or ``of`` is unknown, beta is negative or not finite, or a covariance is singular along
        the weights of a unit.

    References
    ----------
    This project's derivation; actuators SP-in and SP-out: arXiv 2510.01263.
    """

    def __init__(
        self,
        network: Network,
        actuator: str,
        *,
        of: str = "residual",
        beta: float = 1.0,
        terms: int = DEFAULT_TERMS,
    ):
        self.actuator = validate.choice("actuator", actuator, ACTUATORS)
        self.of = validate.choice("of", of, OUTPUTS)
        self.beta = validate.real("beta", beta, "[0, inf)")
        terms = checked_terms(terms)
        super().__init__(dtype=np.dtype(np.float64), shape=(network.n_units, network.n_units))
        self.network = network
        kind = Tangent if network.input_covariance is None else CorrelatedTangent
        self._tangent = kind(network, actuator, terms, counts=self.of == "residual")
        z = np.concatenate([s.z[0] for s in self._tangent.states])
        finite = np.isfinite(z)
        slope = np.where(finite, log_odds_slope(np.where(finite, z, 0.0)), 0.0)
        self._row = {"z": np.ones_like(z), "on_rate": density(z)}.get(self.of, -slope)

    def _matvec(self, x: Any) -> np.ndarray:
        dz, dk = self._tangent.push(np.asarray(x, dtype=np.float64).ravel())
        return self._row * dz - self.beta * dk if self.of == "residual" else self._row * dz

    def _rmatvec(self, x: Any) -> np.ndarray:
        y = np.asarray(x, dtype=np.float64).ravel()
        return self._tangent.pull(self._row * y, -self.beta * y)

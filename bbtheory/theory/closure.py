"""Gaussian moment closure: on-rates of a layered network from its weights and the moments of its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from bbtheory.records import Record
from bbtheory.theory.gaussian import log_odds_of
from bbtheory.theory.moments import DEFAULT_TERMS, checked_terms, propagate
from bbtheory.theory.network import Network


@dataclass(frozen=True, eq=False)
class Closure(Record):
    """On-rates and moments of every unit of a network under the Gaussian closure.

    Units are in the order of `Network.layer` and `Network.unit`. ``covariances`` holds the covariance of the
    outputs of each layer where an input covariance was given, else nothing; ``covariance_error`` bounds the
    truncation error of any of its entries made in one layer.
    """

    layer: np.ndarray
    unit: np.ndarray
    on_rate: np.ndarray
    z: np.ndarray
    pre_mean: np.ndarray
    pre_variance: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    fan_in: np.ndarray
    fan_out: np.ndarray
    terms: int
    covariance_error: float
    covariances: tuple[np.ndarray, ...]

    KIND = "closure"
    UNITS: ClassVar[Mapping[str, str]] = {
        name: name
        for name in (
            "layer",
            "unit",
            "on_rate",
            "fan_in",
            "fan_out",
            "traffic",
            "z",
            "pre_mean",
            "pre_variance",
            "mean",
            "variance",
        )
    }
    HIDDEN = ("covariances",)

    @property
    def traffic(self) -> np.ndarray:
        """Traffic a_i k_i of each unit, links per step."""
        return self.on_rate * self.fan_out

    @property
    def inactivity_log_odds(self) -> np.ndarray:
        """Log-odds of being silent, ln((1-a)/a), exact where the on-rate underflows; nats."""
        return log_odds_of(self.z)


def solve_closure(network: Network, *, terms: int = DEFAULT_TERMS) -> Closure:
    """Predict the on-rate of every unit from weights and input moments, a = Phi(mu/s).

    Correlations are carried where the network has an input covariance, else neglected (also those that
    shared inputs cause). What remains is the Gaussian assumption: sums of few, of heavy-tailed or of strongly
    dependent inputs are not Gaussian.

    Parameters
    ----------
    network : Network
    terms : int, optional
        Terms of Mehler's series for the covariance of hidden layers, >= 1.

    Returns
    -------
    Closure

    Raises
    ------
    ValueError
        If terms is outside 1 to 60, or a covariance is singular along the weights of a unit.

    References
    ----------
    This project's derivation (Gaussian closure, Mehler's series).
    """
    terms = checked_terms(terms)
    states = propagate(network, terms=terms)
    z = np.concatenate([s.z[0] for s in states])
    return Closure(
        layer=network.layer,
        unit=network.unit,
        on_rate=ndtr(z),
        z=z,
        pre_mean=np.concatenate([s.mu[0] for s in states]),
        pre_variance=np.concatenate([s.variance[0] for s in states]),
        mean=np.concatenate([s.mean[0] for s in states]),
        variance=np.concatenate([s.spread[0] for s in states]),
        fan_in=network.fan_in,
        fan_out=network.fan_out,
        terms=terms,
        covariance_error=max(s.remainder for s in states),
        covariances=tuple(s.covariance[0] for s in states if s.covariance is not None),
    )

"""First-order maps of the closure at one network: evenly spread cuts pushed forward, adjoints pulled back.

``push(x)`` takes the fraction of links cut at every unit (incoming for "sp_in", outgoing for "sp_out") to dz
of every unit, each link adding x times what cutting it alone does to the moments; ``pull`` is its transpose.
Per layer the plain map costs one product with the weights and one with their squares, the correlated one
W dC W^T.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bbtheory.theory.moments import LayerState, congruence, propagate
from bbtheory.theory.network import Network


class _Gains:
    """Derivatives of one layer's z and output moments by mu and s^2, and what its own shocks take away."""

    def __init__(self, state: LayerState, bias: np.ndarray, own_variance: np.ndarray):
        scale, squared = state.scale, state.scale**2
        varies = state.variance[0] > 0
        self.z_mu = np.where(varies, 1.0 / scale, 0.0)
        self.z_variance = np.where(varies, -0.5 * np.where(varies, state.z[0], 0.0) / squared, 0.0)
        self.mean_mu = state.c[1] / scale
        self.mean_variance = 0.5 * state.c[2] / squared
        self.spread_mu = state.b[1] / scale
        self.spread_variance = 0.5 * state.b[2] / squared
        self.drive = state.mu[0] - bias  # W m, which a cut of all links takes from mu
        self.own_variance = own_variance  # (W o W) v, s^2 without correlations
        self.mean, self.spread = state.mean[0], state.spread[0]


class Tangent:
    """The closure's linear map without correlations."""

    def __init__(self, network: Network, actuator: str, terms: int):
        self.network, self.actuator = network, actuator
        self.states = propagate(network, terms=terms)
        spreads = [network.input_variance, *(s.spread[0] for s in self.states)]
        self.gains = [
            _Gains(state, bias, links.squared @ spread)
            for state, bias, links, spread in zip(
                self.states, network.biases, network.links, spreads[:-1], strict=True
            )
        ]
        edges = network.offsets
        self.layers = [slice(int(a), int(b)) for a, b in pairwise(edges)]

    def push(self, x: np.ndarray) -> np.ndarray:
        """Return dz of every unit for the cut fractions x."""
        out = np.empty_like(x)
        mean = spread = np.empty(0)
        for layer, (here, g) in enumerate(zip(self.layers, self.gains, strict=True)):
            if layer == 0:
                mu, variance = np.zeros_like(g.mean), np.zeros_like(g.mean)
            else:
                mu, variance = (
                    self.network.links[layer].weight @ mean,
                    self.network.links[layer].squared @ spread,
                )
            if self.actuator == "sp_in":
                mu -= x[here] * g.drive
                variance -= x[here] * g.own_variance
            out[here] = g.z_mu * mu + g.z_variance * variance
            mean = g.mean_mu * mu + g.mean_variance * variance
            spread = g.spread_mu * mu + g.spread_variance * variance
            if self.actuator == "sp_out":
                mean -= x[here] * g.mean
                spread -= x[here] * g.spread
        return out

    def pull(self, y: np.ndarray) -> np.ndarray:
        """Return the adjoint of `push`: sum_i y_i dz_i by every cut fraction."""
        out = np.empty_like(y)
        mean, spread = np.zeros_like(self.gains[-1].mean), np.zeros_like(self.gains[-1].mean)
        for layer in range(len(self.layers) - 1, -1, -1):
            here, g = self.layers[layer], self.gains[layer]
            if self.actuator == "sp_out":
                out[here] = -(g.mean * mean + g.spread * spread)
            mu = g.z_mu * y[here] + g.mean_mu * mean + g.spread_mu * spread
            variance = g.z_variance * y[here] + g.mean_variance * mean + g.spread_variance * spread
            if self.actuator == "sp_in":
                out[here] = -(g.drive * mu + g.own_variance * variance)
            if layer > 0:
                mean = self.network.links[layer].weight.T @ mu
                spread = self.network.links[layer].squared.T @ variance
        return out


class _CrossGains:
    """Derivatives of the output covariance, dC = E o dSigma + H + H^T, H = F_mu o dmu + F_var o ds^2."""

    def __init__(self, state: LayerState, terms: int):
        assert state.sigma is not None  # states of a correlated network
        assert state.covariance is not None
        self.sigma, self.covariance = state.sigma[0], state.covariance[0]
        c, scale = state.c, state.scale
        rho = self.sigma / np.outer(scale, scale)
        self.by_sigma, self.by_mu, self.by_variance = (np.zeros_like(rho) for _ in range(3))
        power = np.ones_like(rho)  # rho^(k-1) / (k-1)!
        for k in range(1, terms + 1):
            self.by_sigma += power * np.outer(c[k], c[k])
            power = power * rho / k
            self.by_mu += power * np.outer(c[k + 1], c[k])
            self.by_variance += power * np.outer(c[k + 2], c[k])
        self.by_sigma /= np.outer(scale, scale)
        self.by_mu /= scale[:, None]
        self.by_variance *= 0.5 / scale[:, None] ** 2
        for matrix in (self.by_sigma, self.by_mu, self.by_variance):
            np.fill_diagonal(matrix, 0.0)  # the variances have their own, exact gains


def _add_diagonal(matrix: np.ndarray, values: np.ndarray) -> None:
    matrix[np.diag_indices_from(matrix)] += values


class CorrelatedTangent(Tangent):
    """The closure's linear map with covariances carried.

    A product w_ij w_kl of two links falls by the cuts of both, the square of one link by its own only: so the
    part (W o W) v of a variance falls half as fast as the rest.
    """

    def __init__(self, network: Network, actuator: str, terms: int):
        super().__init__(network, actuator, terms)
        self.cross = [_CrossGains(s, terms) for s in self.states]

    def push(self, x: np.ndarray) -> np.ndarray:
        """Return dz of every unit for the cut fractions x."""
        out = np.empty_like(x)
        mean = covariance = once = np.empty(0)
        for layer, (here, g, f) in enumerate(zip(self.layers, self.gains, self.cross, strict=True)):
            if layer == 0:
                mu, sigma = np.zeros_like(g.mean), np.zeros_like(f.sigma)
            else:
                w = self.network.links[layer].weight
                mu, sigma = w @ mean, congruence(w, covariance)
                _add_diagonal(sigma, self.network.links[layer].squared @ once)
            if self.actuator == "sp_in":
                mu -= x[here] * g.drive
                sigma -= (x[here][:, None] + x[here]) * f.sigma
                _add_diagonal(sigma, x[here] * g.own_variance)
            variance = np.diagonal(sigma)
            out[here] = g.z_mu * mu + g.z_variance * variance
            mean = g.mean_mu * mu + g.mean_variance * variance
            half = f.by_mu * mu[:, None] + f.by_variance * variance[:, None]
            covariance = f.by_sigma * sigma + half + half.T
            _add_diagonal(covariance, g.spread_mu * mu + g.spread_variance * variance)
            once = np.zeros_like(mean)
            if self.actuator == "sp_out":
                mean -= x[here] * g.mean
                covariance -= (x[here][:, None] + x[here]) * f.covariance
                once = x[here] * g.spread
        return out

    def pull(self, y: np.ndarray) -> np.ndarray:
        """Return the adjoint of `push`: sum_i y_i dz_i by every cut fraction."""
        out = np.empty_like(y)
        n = len(self.gains[-1].mean)
        mean, covariance, once = np.zeros(n), np.zeros((n, n)), np.zeros(n)
        for layer in range(len(self.layers) - 1, -1, -1):
            here, g, f = self.layers[layer], self.gains[layer], self.cross[layer]
            if self.actuator == "sp_out":
                out[here] = -g.mean * mean - 2.0 * (covariance * f.covariance).sum(1) + g.spread * once
            spread = np.diagonal(covariance)
            mu = g.z_mu * y[here] + g.mean_mu * mean + g.spread_mu * spread
            mu += 2.0 * (covariance * f.by_mu).sum(1)
            variance = g.z_variance * y[here] + g.mean_variance * mean + g.spread_variance * spread
            variance += 2.0 * (covariance * f.by_variance).sum(1)
            sigma = covariance * f.by_sigma
            _add_diagonal(sigma, variance)
            if self.actuator == "sp_in":
                out[here] = (
                    -g.drive * mu - 2.0 * (sigma * f.sigma).sum(1) + g.own_variance * np.diagonal(sigma)
                )
            if layer > 0:
                w = self.network.links[layer].weight
                mean, covariance = w.T @ mu, congruence(w.T, sigma)
                once = self.network.links[layer].squared.T @ np.diagonal(sigma)
        return out

"""First-order maps of the closure at one network: evenly spread cuts pushed forward, adjoints pulled back.

``push(x)`` takes the fraction of links cut at every unit (incoming for "sp_in", outgoing for "sp_out") to dz
and dk of every unit, each link adding x times what cutting it alone does to the moments; ``pull`` is its
transpose. Per layer the plain map takes one pass over the links, the correlated one W dC W^T.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bbtheory.theory.moments import LayerState, congruence, propagate
from bbtheory.theory.network import Network

# from here a compiled pass over the links saves more, in some hundred products, than loading numba costs
COMPILED_FROM = 1_000_000


class _Gains:
    """Derivatives of one layer's z and output moments by mu and s^2, and what its own shocks take away."""

    def __init__(self, state: LayerState, bias: np.ndarray, own_variance: np.ndarray):
        scale, squared = state.scale, state.scale**2
        varies = state.variance[0] > 0
        z = np.where(varies, state.z[0], 0.0)
        # rows: z, output mean, output variance
        self.by_mu = np.stack([varies / scale, state.c[1] / scale, state.b[1] / scale])
        self.by_variance = 0.5 * np.stack([-z * varies / squared, state.c[2] / squared, state.b[2] / squared])
        self.drive = state.mu[0] - bias  # W m, which a cut of all links takes from mu
        self.own_variance = own_variance  # (W o W) v, s^2 without correlations
        self.mean, self.spread = state.mean[0], state.spread[0]


class Tangent:
    """The closure's linear map without correlations.

    Parameters
    ----------
    network : Network
    actuator : {"sp_in", "sp_out"}
    terms : int
        Terms of Mehler's series.
    counts : bool
        Whether dk is wanted too; else it is 0.
    """

    def __init__(self, network: Network, actuator: str, terms: int, counts: bool):
        self.network, self.actuator, self.counts = network, actuator, counts
        self.states = propagate(network, terms=terms)
        spreads = [network.input_variance, *(s.spread[0] for s in self.states)]
        self.gains = [
            _Gains(state, bias, links.squared @ spread)
            for state, bias, links, spread in zip(
                self.states, network.biases, network.links, spreads[:-1], strict=True
            )
        ]
        self.layers = [slice(int(a), int(b)) for a, b in pairwise(network.offsets)]
        self.compiled = int(network.fan_in.sum()) >= COMPILED_FROM

    def push(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (dz, dk) of every unit for the cut fractions x."""
        dz, dk = np.empty_like(x), np.zeros_like(x)
        sp_in, counts_in = self.actuator == "sp_in", self.actuator == "sp_in" and self.counts
        mean = spread = np.empty(0)
        for layer, (here, g) in enumerate(zip(self.layers, self.gains, strict=True)):
            if layer == 0:
                mu, variance = np.zeros_like(g.mean), np.zeros_like(g.mean)
            else:
                cut = x[here] if counts_in else None
                mu, variance, lost = self.network.links[layer].push(mean, spread, cut, self.compiled)
                if lost is not None:
                    dk[self.layers[layer - 1]] = -lost
            if sp_in:
                mu -= x[here] * g.drive
                variance -= x[here] * g.own_variance
            dz[here], mean, spread = g.by_mu * mu + g.by_variance * variance
            if not sp_in:
                mean -= x[here] * g.mean
                spread -= x[here] * g.spread
        if self.counts and not sp_in:
            dk = -x * self.network.fan_out
        return dz, dk

    def pull(self, y: np.ndarray, lost: np.ndarray) -> np.ndarray:
        """Return the transpose of `push`: sum_i y_i dz_i + lost_i dk_i by every cut fraction."""
        out = np.empty_like(y)
        sp_in, counts_in = self.actuator == "sp_in", self.actuator == "sp_in" and self.counts
        mean, spread = np.zeros_like(self.gains[-1].mean), np.zeros_like(self.gains[-1].mean)
        for layer in range(len(self.layers) - 1, -1, -1):
            here, g = self.layers[layer], self.gains[layer]
            if not sp_in:
                out[here] = -(g.mean * mean + g.spread * spread)
            mu = g.by_mu[0] * y[here] + g.by_mu[1] * mean + g.by_mu[2] * spread
            variance = g.by_variance[0] * y[here] + g.by_variance[1] * mean + g.by_variance[2] * spread
            if sp_in:
                out[here] = -(g.drive * mu + g.own_variance * variance)
            if layer > 0:
                below = lost[self.layers[layer - 1]] if counts_in else None
                mean, spread, count = self.network.links[layer].pull(mu, variance, below, self.compiled)
                if count is not None:
                    out[here] -= count
        if self.counts and not sp_in:
            out -= lost * self.network.fan_out
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

    def __init__(self, network: Network, actuator: str, terms: int, counts: bool):
        super().__init__(network, actuator, terms, counts)
        self.cross = [_CrossGains(s, terms) for s in self.states]

    def push(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (dz, dk) of every unit for the cut fractions x."""
        dz, dk = np.empty_like(x), np.zeros_like(x)
        sp_in = self.actuator == "sp_in"
        mean = once = np.empty(0)
        covariance = np.empty((0, 0))
        for layer, (here, g, f) in enumerate(zip(self.layers, self.gains, self.cross, strict=True)):
            if layer == 0:
                mu, sigma = np.zeros_like(g.mean), np.zeros_like(f.sigma)
            else:
                links = self.network.links[layer]
                mu, own, lost = links.push(mean, once, x[here] if self.counts and sp_in else None, False)
                sigma = congruence(links.weight, covariance)
                _add_diagonal(sigma, own)
                if lost is not None:
                    dk[self.layers[layer - 1]] = -lost
            if sp_in:
                mu -= x[here] * g.drive
                sigma -= (x[here][:, None] + x[here]) * f.sigma
                _add_diagonal(sigma, x[here] * g.own_variance)
            variance = np.diagonal(sigma)
            dz[here], mean, spread = g.by_mu * mu + g.by_variance * variance
            half = f.by_mu * mu[:, None] + f.by_variance * variance[:, None]
            covariance = f.by_sigma * sigma + half + half.T
            _add_diagonal(covariance, spread)
            once = np.zeros_like(mean)
            if not sp_in:
                mean -= x[here] * g.mean
                covariance -= (x[here][:, None] + x[here]) * f.covariance
                once = x[here] * g.spread
        if self.counts and not sp_in:
            dk = -x * self.network.fan_out
        return dz, dk

    def pull(self, y: np.ndarray, lost: np.ndarray) -> np.ndarray:
        """Return the transpose of `push`: sum_i y_i dz_i + lost_i dk_i by every cut fraction."""
        out = np.empty_like(y)
        sp_in = self.actuator == "sp_in"
        n = len(self.gains[-1].mean)
        mean, covariance, once = np.zeros(n), np.zeros((n, n)), np.zeros(n)
        for layer in range(len(self.layers) - 1, -1, -1):
            here, g, f = self.layers[layer], self.gains[layer], self.cross[layer]
            if not sp_in:
                out[here] = -g.mean * mean - 2.0 * (covariance * f.covariance).sum(1) + g.spread * once
            given = np.stack([y[here], mean, np.diagonal(covariance)])
            mu = (g.by_mu * given).sum(0) + 2.0 * (covariance * f.by_mu).sum(1)
            variance = (g.by_variance * given).sum(0) + 2.0 * (covariance * f.by_variance).sum(1)
            sigma = covariance * f.by_sigma
            _add_diagonal(sigma, variance)
            own = np.diagonal(sigma)
            if sp_in:
                out[here] = -g.drive * mu - 2.0 * (sigma * f.sigma).sum(1) + g.own_variance * own
            if layer > 0:
                links = self.network.links[layer]
                below = lost[self.layers[layer - 1]] if self.counts and sp_in else None
                mean, once, count = links.pull(mu, own, below, False)
                covariance = congruence(links.weight.T, sigma)
                if count is not None:
                    out[here] -= count
        if self.counts and not sp_in:
            out -= lost * self.network.fan_out
        return out

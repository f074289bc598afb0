"""Moments carried through a layered network, with their derivatives along a path of networks.

Each pre-activation is taken as Gaussian (a sum of many inputs), u ~ N(mu, s^2), so a = Phi(mu/s):

    mu = W m + b,     s^2 = (W o W) v     or, with correlations,     Sigma = W C W^T,  s^2 = diag Sigma;

the activation turns mu and s^2 into the mean m and variance v that the next layer receives
(`bbtheory.theory.gaussian`), and Sigma into C by Mehler's series, each term positive semidefinite:

    C_ij = sum_{k=1..terms} rho_ij^k c_k(i) c_k(j) / k!,   i != j,   C_ii exact,

whose remainder is at most |rho_ij|^(terms+1) sqrt(R_i R_j), R_i = v_i - sum_k c_k(i)^2/k! (Cauchy-Schwarz).
All of it is computed on truncated Taylor series (jets) along a path of networks, W + e dW, so the value,
the linear response and its curvature come from one code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bbtheory import validate
from bbtheory.theory.gaussian import expand, standardise
from bbtheory.theory.links import Matrix
from bbtheory.theory.network import Network
from bbtheory.theory.shock import LayerChange

# terms of Mehler's series: with 10 the remainder is below 3e-4 of the variances for |rho| <= 0.6 and |z| <= 3
# (ReLU; 3e-6 GELU, 1.3e-3 step), 7e-3 at 0.8, 3e-2 at 0.9; it is bounded for the case at hand
DEFAULT_TERMS = 10
MOST_TERMS = 60  # beyond, He_k and k! have nothing left to say in float64
# w^T C w below this share of (sum_j |w_j| sqrt(C_jj))^2 is rounding of a sum that cancels
_CANCELLED = 1e-13


def checked_terms(terms: int) -> int:
    """Return the number of terms of Mehler's series, checked."""
    return validate.integer("terms", terms, f"[1, {MOST_TERMS}]")


@dataclass
class LayerState:
    """One layer along a path: jets (value, first, second derivative) stacked in front, (degree + 1, ...)."""

    mu: np.ndarray  # mean of the pre-activations
    variance: np.ndarray  # their variance s^2
    sigma: np.ndarray | None  # their covariance
    z: np.ndarray
    scale: np.ndarray
    c: np.ndarray  # Hermite coefficients at the base point
    b: np.ndarray  # those of the variance
    mean: np.ndarray  # mean of the outputs
    spread: np.ndarray  # variance of the outputs
    covariance: np.ndarray | None  # covariance of the outputs
    remainder: float  # bound on the truncation error of any entry of it


def congruence(weight: Matrix, covariance: np.ndarray) -> np.ndarray:
    """Return W C W^T of a symmetric C, W dense or sparse; symmetric to the last digit."""
    out = weight @ (weight @ covariance).T
    return 0.5 * (out + out.T)


def gaussian_jet(c: np.ndarray, k: int, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the jet of s^k E f^(k), given those of mu and s^2 in units of s and s^2 (derivatives only).

    The Hermite coefficients c are those at the base point; the factor s^k stays fixed along the path.
    """
    out = [c[k]]
    if len(p) > 0:
        out.append(c[k + 1] * p[0] + 0.5 * c[k + 2] * q[0])
    if len(p) > 1:
        out.append(
            c[k + 1] * p[1]
            + 0.5 * c[k + 2] * q[1]
            + c[k + 2] * p[0] ** 2
            + c[k + 3] * p[0] * q[0]
            + 0.25 * c[k + 4] * q[0] ** 2
        )
    return np.stack(out)


def _product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the jet of a product (Leibniz)."""
    return np.stack([sum(math.comb(n, k) * x[k] * y[n - k] for k in range(n + 1)) for n in range(len(x))])


def _carried(weight: Matrix, change: Matrix | None, jet: np.ndarray) -> np.ndarray:
    """Return the jet of (W + e dW) x(e)."""
    out = (weight @ jet.T).T
    if change is not None:
        for n in range(1, len(jet)):
            out[n] += n * (change @ jet[n - 1])
    return out


def _carried_covariance(weight: Matrix, change: Matrix | None, jet: np.ndarray) -> np.ndarray:
    """Return the jet of Sigma: the path runs straight from W C W^T to W' C W'^T, so its end is exact."""
    out = np.stack([congruence(weight, c) for c in jet])
    if change is not None:
        for n in range(1, len(jet)):
            cross = weight @ (change @ jet[n - 1]).T
            out[n] += n * (cross + cross.T + congruence(change, jet[n - 1]))
    return out


def _refuse_cancelled(layer: int, weight: Matrix, spread: np.ndarray, variance: np.ndarray) -> None:
    """Raise where correlated inputs cancel inside a unit: its variance is rounding, no response exists."""
    reach = (abs(weight) @ np.sqrt(spread)) ** 2
    lost = np.flatnonzero((variance <= _CANCELLED * reach) & (reach > 0))
    if len(lost):
        name = "input_covariance" if layer == 0 else f"the covariance of layer {layer - 1}"
        raise ValueError(
            f"{name} must not be singular along the weights of a unit, but the inputs of layer {layer} unit "
            f"{lost[0]} cancel (variance {variance[lost[0]]:.3g} where uncorrelated inputs give "
            f"{reach[lost[0]]:.3g} at most): merge dependent inputs or give input_variance"
        )


def propagate(
    network: Network,
    changes: Sequence[LayerChange | None] | None = None,
    *,
    degree: int = 0,
    terms: int = DEFAULT_TERMS,
) -> list[LayerState]:
    """Carry moments through the layers along the path of networks from 0 (as given) to 1 (changed).

    Parameters
    ----------
    network : Network
    changes : sequence of LayerChange or None, optional
        Additions to the weights of each layer; None: no path.
    degree : {0, 1, 2}
        Derivatives carried along the path.
    terms : int
        Terms of Mehler's series, >= 1; used only with an input covariance.
    """
    correlated = network.input_covariance is not None
    n = len(network.input_mean)
    mean, spread = np.zeros((degree + 1, n)), np.zeros((degree + 1, n))
    mean[0], spread[0] = network.input_mean, network.input_variance
    covariance = None
    if correlated:
        covariance = np.zeros((degree + 1, n, n))
        covariance[0] = network.input_covariance
    states = []
    for layer, links in enumerate(network.links):
        weight, squared = links.weight, links.squared
        change = changes[layer] if changes is not None else None
        mu = _carried(weight, None if change is None else change.weight, mean)
        mu[0] += network.biases[layer]
        if covariance is None:
            sigma, variance = None, _carried(squared, None if change is None else change.squared, spread)
        else:
            sigma = _carried_covariance(weight, None if change is None else change.weight, covariance)
            variance = np.stack([np.diagonal(s) for s in sigma])
            _refuse_cancelled(layer, weight, spread[0], variance[0])
            variance[0] = np.maximum(variance[0], 0.0)
        z, s, scale = standardise(mu[0], variance[0])
        highest = (terms if correlated else 0) + max(2 * degree, 2)
        c, b = expand(network.activations[layer], mu[0], variance[0], highest)
        p, q = mu[1:] / scale, variance[1:] / scale**2
        mean, spread = gaussian_jet(c, 0, p, q), gaussian_jet(b, 0, p, q)
        if degree == 2:
            spread[2] -= 2.0 * mean[1] ** 2
        remainder = 0.0
        if sigma is not None:
            covariance, remainder = _mehler(c, p, q, sigma / np.outer(scale, scale), spread, terms)
        states.append(
            LayerState(
                mu, variance, sigma, _jet_of_z(z, s, p, q), scale, c, b, mean, spread, covariance, remainder
            )
        )
    return states


def _jet_of_z(z: np.ndarray, s: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the jet of z = mu/s; a unit without variance does not move."""
    at = np.where(s > 0, z, 0.0)
    out = [z]
    if len(p) > 0:
        out.append(np.where(s > 0, p[0] - 0.5 * at * q[0], 0.0))
    if len(p) > 1:
        bend = p[1] - 0.5 * at * q[1] - p[0] * q[0] + 0.75 * at * q[0] ** 2
        out.append(np.where(s > 0, bend, 0.0))
    return np.stack(out)


def _mehler(
    c: np.ndarray, p: np.ndarray, q: np.ndarray, rho: np.ndarray, spread: np.ndarray, terms: int
) -> tuple[np.ndarray, float]:
    """Return the jet of the covariance of the outputs, and the bound on its truncation error."""
    total = np.zeros_like(rho)
    power = None
    left = spread[0].copy()
    for k in range(1, terms + 1):
        power = rho if power is None else _product(power, rho) / k
        g = gaussian_jet(c, k, p, q)
        total += _product(power, _product(g[:, :, None], g[:, None, :]))
        left -= c[k] ** 2 / math.factorial(k)
    largest = np.abs(rho[0])
    np.fill_diagonal(largest, 0.0)
    left = np.sqrt(np.maximum(left, 0.0))
    remainder = float((np.minimum(largest, 1.0) ** (terms + 1) * np.outer(left, left)).max())
    for t, v in zip(total, spread, strict=True):
        np.fill_diagonal(t, v)
    return total, remainder

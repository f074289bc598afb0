"""Gaussian expectations of activations, with all their derivatives, in closed form.

For a pre-activation u ~ N(mu, s^2) and an activation f the mean is M(mu, s^2) = E f(u). Moving mu
differentiates f, and a wider Gaussian obeys the heat equation:

    d^k M / d mu^k = E f^(k)(u),        d M / d s^2 = (1/2) E f''(u).

So one list, the Hermite coefficients c_k = s^k E f^(k)(u), holds the mean, its response to mu and to s^2
at every order, and the covariance of two units (Mehler: Cov = sum_k rho^k c_k(i) c_k(j) / k!).

A unit is on where its pre-activation is positive, so its on-rate is Phi(z), z = mu/s, for every activation.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr, owens_t

ACTIVATIONS = ("relu", "gelu", "step", "linear")

# the Gaussian density is exactly 0.0 in float64 beyond this, so polynomials times it may stop growing there
_FAR = 40.0
# below this standard deviation E f^2 - (E f)^2 of GELU cancels; the Hermite series has converged to the
# last digit there after _SERIES terms, since its terms fall faster than (s^2 / (1 + s^2))^k
_NARROW, _SERIES = 0.3, 16
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def density(z: np.ndarray) -> np.ndarray:
    """Standard normal density phi(z); 0 at z = +-inf."""
    z = np.clip(z, -_FAR, _FAR)
    return np.exp(-0.5 * z * z - _LOG_SQRT_2PI)


def standardise(mu: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return z = mu/s, s, and the scale of its Hermite coefficients: s, or 1 where s = 0.

    A unit without variance is always on (mu > 0, z = inf) or never (z = -inf).
    """
    s = np.sqrt(variance)
    varies = s > 0
    scale = np.where(varies, s, 1.0)
    with np.errstate(over="ignore"):  # s next to the smallest float64: the limit of no variance
        z = np.where(varies, mu / scale, np.where(mu > 0, np.inf, -np.inf))
    return z, s, scale


def log_odds_of(z: np.ndarray) -> np.ndarray:
    """Inactivity log-odds of the on-rate Phi(z), L = ln Phi(-z) - ln Phi(z), exact for rare units (nats)."""
    z = np.asarray(z, dtype=np.float64)
    return log_ndtr(-z) - log_ndtr(z)


def log_odds_change(z: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return L at the moved z minus L at z (nats); 0 for a unit that stays dead or saturated."""
    stays = z == moved
    return log_odds_of(np.where(stays, 0.0, moved)) - log_odds_of(np.where(stays, 0.0, z))


def log_odds_slope(z: np.ndarray) -> np.ndarray:
    """Fall of the log-odds with z, lam(z) = -dL/dz = phi(z) / (Phi(z) Phi(-z)), nats; inf at z = +-inf."""
    z = np.abs(np.asarray(z, dtype=np.float64))
    finite = np.isfinite(z)
    near = np.where(finite, z, 0.0)
    mills = math.sqrt(0.5 * math.pi) * erfcx(near / math.sqrt(2.0))  # Phi(-z)/phi(z), which never underflows
    return np.where(finite, 1.0 / (mills * ndtr(near)), np.inf)


def _hermite(z: np.ndarray, n: int) -> np.ndarray:
    """Return He_0 .. He_{n-1} of z (probabilists' polynomials), held fixed beyond the reach of phi."""
    z = np.clip(z, -_FAR, _FAR)
    out = np.ones((max(n, 2), *z.shape))
    out[1] = z
    for k in range(2, n):
        out[k] = z * out[k - 1] - (k - 1) * out[k - 2]
    return out


def _phi_derivatives(z: np.ndarray, n: int) -> np.ndarray:
    """Return the derivatives 0 .. n-1 of Phi at z: Phi, phi, -He_1 phi, He_2 phi, ..."""
    sign = (-1.0) ** np.arange(max(n - 1, 0)).reshape(-1, *[1] * z.ndim)
    return np.concatenate([ndtr(z)[None], sign * _hermite(z, n - 1)[: n - 1] * density(z)])[:n]


def _step(mu: np.ndarray, variance: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    z, _, _ = standardise(mu, variance)
    c = _phi_derivatives(z, max(order, 4) + 1)
    b = c[:5] * (1.0 - 2.0 * c[0])  # f^2 = f
    b[0] = c[0] * ndtr(-z)
    return c[: order + 1], b


def _relu(mu: np.ndarray, variance: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    z, s, scale = standardise(mu, variance)
    p = _phi_derivatives(z, max(order, 4))
    c = np.empty((max(order, 4) + 1, *z.shape))
    c[0] = np.maximum(mu * p[0] + s * p[1], 0.0)
    c[1] = scale * p[0]
    c[2:] = s * p[1:]
    on, off, phi, far = p[0], ndtr(-z), p[1], np.clip(z, -_FAR, _FAR)
    b = np.empty((5, *z.shape))
    # E f^2 - (E f)^2 sorted so that nothing large cancels on the always-on side
    b[0] = variance * np.maximum(far * far * on * off + on + far * phi * (off - on) - phi * phi, 0.0)
    b[1] = 2.0 * scale * c[0] * off
    b[2] = 2.0 * scale * scale * on - 2.0 * c[0] * c[2]
    b[3] = 2.0 * variance * phi - 2.0 * c[0] * c[3]
    b[4] = -2.0 * variance * far * phi - 2.0 * c[0] * c[4]
    return c[: order + 1], b


def _linear(mu: np.ndarray, variance: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    _, _, scale = standardise(mu, variance)
    c, b = np.zeros((max(order, 1) + 1, *mu.shape)), np.zeros((5, *mu.shape))
    c[0], c[1] = mu, scale
    b[0], b[2] = variance, 2.0 * scale * scale
    return c[: order + 1], b


def _gelu(mu: np.ndarray, variance: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    _, _, scale = standardise(mu, variance)
    n = max(order, _SERIES) + 1
    t = np.sqrt(1.0 + variance)
    h = mu / t
    p = _phi_derivatives(h, n + 2)  # p[k + 1]: k-th derivative of phi
    c = np.empty((n, *mu.shape))
    c[0] = mu * p[0] + variance / t * p[1]
    # E f' = Phi(h) + h phi(h)/t^2, then d/dmu = (1/t) d/dh, with h phi = -phi'
    for k in range(1, n):
        c[k] = (p[k - 1] - p[k + 1] / (t * t)) * t * (scale / t) ** k
    # E Phi(u)^2 =: g, by Owen's T; its derivatives from dg/dmu = (2/t) phi(h) Phi(h/q)
    q = np.sqrt(1.0 + 2.0 * variance)
    inner = _phi_derivatives(h / q, 6)
    g = np.empty((7, *mu.shape))
    g[0] = p[0] - 2.0 * owens_t(h, 1.0 / q)
    for k in range(6):
        g[k + 1] = sum(math.comb(k, j) * p[k - j + 1] * inner[j] / q**j for j in range(k + 1))
        g[k + 1] *= 2.0 / t ** (k + 1)
    # E u^2 Phi^2 = (mu^2 + s^2) g + 2 mu s^2 g' + s^4 g'' (Stein), differentiated by Leibniz
    b = np.empty((5, *mu.shape))
    for k in range(5):
        second = (mu * mu + variance) * g[k] + 2.0 * mu * variance * g[k + 1] + variance**2 * g[k + 2]
        if k >= 1:
            second = second + k * (2.0 * mu * g[k - 1] + 2.0 * variance * g[k])
        if k >= 2:
            second = second + k * (k - 1) * g[k - 2]
        b[k] = scale**k * second - (2.0 if k else 1.0) * c[0] * c[k]
    factorial = np.array([math.factorial(k) for k in range(1, _SERIES + 1)], dtype=np.float64)
    series = np.tensordot(1.0 / factorial, c[1 : _SERIES + 1] ** 2, 1)
    b[0] = np.where(variance < _NARROW**2, np.where(variance > 0, series, 0.0), np.maximum(b[0], 0.0))
    return c[: order + 1], b


_Expansion = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
_EXPANSIONS: dict[str, _Expansion] = {"relu": _relu, "gelu": _gelu, "step": _step, "linear": _linear}


def expand(
    activation: str, mu: np.ndarray, variance: np.ndarray, order: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hermite coefficients of an activation, c_k = s^k E f^(k)(u), and those of its variance.

    Parameters
    ----------
    activation : str
        "relu" u H(u), "gelu" u Phi(u), "step" H(u) or "linear" u.
    mu, variance : ndarray, any one shape
        Mean and variance (s^2 >= 0) of the pre-activation u. Where s = 0 the scale is 1: c_k = f^(k)(mu)
        for k <= 1 and, for GELU, above; the kinks of step and ReLU carry no weight there.
    order : int
        Highest k, >= 0.

    Returns
    -------
    c : ndarray (order + 1, ...)
        c_0 is the mean E f.
    b : ndarray (5, ...)
        b_k = s^k d^k/dmu^k E (f - c_0)^2 with c_0 held fixed: b_0 is the variance; d(variance)/dmu = b_1/s,
        d(variance)/ds^2 = b_2/(2 s^2).

    References
    ----------
    This project's derivation (rectified Gaussian: ``derive_rectified_moments``; Stein's lemma and Owen's
    T for GELU).
    """
    return _EXPANSIONS[activation](mu, variance, order)

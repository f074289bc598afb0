"""Continuous flux distributions whose density under pressure is known in closed form (duty-cycle law).

Each function returns s(gamma) = E[max(0, 1 - gamma/F)], gamma times the integral of P(F > x)/x^2 above gamma.
The density of a mixture of distributions is the mixture of their densities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate


def lognormal_density(pressure: ArrayLike, *, log_median: float, log_sd: float) -> np.ndarray:
    """Duty-cycle density of lognormal fluxes, s = Phi(d) - exp(ln gamma - mu + sigma^2/2) Phi(d - sigma).

    With d = (mu - ln gamma)/sigma.

    Parameters
    ----------
    pressure : array_like, any shape
        gamma > 0.
    log_median, log_sd : float
        mu, the mean of ln F, and sigma > 0, its standard deviation.

    Returns
    -------
    ndarray, same shape

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    This project's derivation.
    """
    from scipy.special import erfcx, ndtr

    gamma = validate.array("pressure", pressure, "(0, inf)", ndim=None)
    mu = validate.real("log_median", log_median)
    sigma = validate.real("log_sd", log_sd, "(0, inf)")
    d = (mu - np.log(gamma)) / sigma
    # phi(d - sigma)/phi(d) = exp(mu - ln gamma - sigma^2/2): both terms carry phi(d), and the difference of
    # their Mills ratios keeps its digits where the terms underflow
    root = np.sqrt(0.5)
    below = np.minimum(d, 0.0)
    mills = np.sqrt(np.pi / 2.0) * (erfcx(-below * root) - erfcx((sigma - below) * root))
    tail = np.exp(-0.5 * below**2) / np.sqrt(2.0 * np.pi) * mills
    above = np.maximum(d, 0.0)
    scaled = np.sqrt(np.pi / 2.0) * erfcx(np.maximum(sigma - above, 0.0) * root)
    far = ndtr(above - sigma) * np.exp(np.minimum(0.5 * sigma**2 - above * sigma, 0.0))
    near = np.exp(-0.5 * above**2) / np.sqrt(2.0 * np.pi) * scaled
    bulk = ndtr(above) - np.where(above > sigma, far, near)
    return np.where(d < 0, tail, bulk)


def broken_power_density(pressure: ArrayLike, *, edges: ArrayLike, exponents: ArrayLike) -> np.ndarray:
    """Duty-cycle density of fluxes with a piecewise power tail, P(F > x) ~ x^-a_k from edge x_k to x_(k+1).

    All fluxes are at least x_0. One exponent a is the continuous power spectrum of decay p = 1/a:
    s = (gamma/x_0)^-a/(1 + a) above x_0 and 1 - (gamma/x_0) a/(1 + a) below.

    Parameters
    ----------
    pressure : array_like, any shape
        gamma > 0.
    edges : array_like (k,)
        x_0 < x_1 < ..., > 0, same unit as the pressure; the last piece has no upper end.
    exponents : array_like (k,)
        a_k >= 0, the last one > 0; 0 is a gap without fluxes.

    Returns
    -------
    ndarray, same shape

    Raises
    ------
    ValueError
        If an argument is outside its domain, edges do not increase or lengths differ.

    References
    ----------
    This project's derivation.
    """
    gamma = validate.array("pressure", pressure, "(0, inf)", ndim=None)
    edges = validate.array("edges", edges, "(0, inf)")
    exponents = validate.array("exponents", exponents, "[0, inf)", shape=edges.shape)
    if np.any(np.diff(edges) <= 0):
        raise ValueError(f"edges must increase, got {edges.tolist()}")
    if exponents[-1] == 0:
        raise ValueError("exponents must end with a positive one: the tail must fall to 0")
    log_edges, x = np.log(edges), np.log(gamma)
    log_tail = np.append(0.0, -np.cumsum(exponents[:-1] * np.diff(log_edges)))
    # each piece adds gamma/x * P(F > x)/(1 + a), taken between its ends; below x_0 the tail is 1
    density = -np.expm1(np.minimum(x - log_edges[0], 0.0))
    ends = np.append(log_edges[1:], np.inf)
    for low, high, start, a in zip(log_edges, ends, log_tail, exponents, strict=True):
        here = np.clip(x, low, high)
        first = np.exp(np.minimum(x, here) - here + start - a * (here - low))
        width = (1.0 + a) * (high - here)
        density += np.where(x < high, first * -np.expm1(-width) / (1.0 + a), 0.0)
    return density

"""Loops of correlated binary units: covariance of two cut Gaussians, its inverse, sampling, the local rule.

With thresholds z, z' and latent correlation sin t the covariance of two units, each on where its Gaussian is
below its threshold, is (1/2 pi) int_0^t exp(-(z^2 + z'^2 - 2 z z' sin u)/(2 cos^2 u)) du (Sheppard 1899;
Drezner and Wesolowsky 1990): the covariance itself, so rare and weakly correlated units lose no digits.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_NODE, _WEIGHT = np.polynomial.legendre.leggauss(24)
_PANELS = 40  # each ends half as far from pi/2 as the one before: the last at correlation 1 - 4e-25
_NEWTON = 60


@njit(cache=True, error_model="numpy")
def panel(z, other, low, high):
    """Integrate the slope of the covariance from angle low to high, both inside [0, pi/2]."""
    half = 0.5 * (high - low)
    total = 0.0
    for m in range(_NODE.size):
        u = low + half * (1.0 + _NODE[m])
        # both terms stay finite as cos u falls to 0
        total += _WEIGHT[m] * math.exp(
            -0.5 * ((z - other) / math.cos(u)) ** 2 - z * other / (1.0 + math.sin(u))
        )
    return half * total / (2.0 * math.pi)


@njit(cache=True, error_model="numpy")
def pair_covariance(z, other, angle):
    """Return the covariance of two units whose latent correlation is sin(angle), angle in [-pi/2, pi/2]."""
    if angle < 0.0:
        return -pair_covariance(z, -other, -angle)
    total, low, distance = 0.0, 0.0, 0.5 * math.pi
    for _ in range(_PANELS):
        distance *= 0.5
        high = min(0.5 * math.pi - distance, angle)
        total += panel(z, other, low, high)
        low = high
        if low >= angle:
            break
    return total


@njit(cache=True, error_model="numpy")
def pair_angle(z, other, covariance):
    """Return the angle at which two units have a covariance, pi/2 at or beyond the largest there is."""
    if covariance < 0.0:
        return -pair_angle(z, -other, -covariance)
    low, distance = 0.0, 0.5 * math.pi
    missing = covariance
    for _ in range(_PANELS):
        distance *= 0.5
        high = 0.5 * math.pi - distance
        gain = panel(z, other, low, high)
        if gain >= missing:
            break
        missing -= gain
        low = high
    else:
        return 0.5 * math.pi
    # Newton's steps inside the panel, halving where one leaves the bracket
    start, below, above = low, low, high
    angle = low + (high - low) * (missing / gain) if gain > 0.0 else low
    for _ in range(_NEWTON):
        error = panel(z, other, start, angle) - missing
        if error > 0.0:
            above = angle
        else:
            below = angle
        c = math.cos(angle)
        slope = math.exp(-0.5 * ((z - other) / c) ** 2 - z * other / (1.0 + math.sin(angle))) / (
            2.0 * math.pi
        )
        new = angle - error / slope if slope > 0.0 else below
        if not below < new < above:
            new = 0.5 * (below + above)
        if abs(new - angle) <= 1e-16 + 2e-16 * angle:
            return new
        angle = new
    return angle


@njit(cache=True, error_model="numpy")
def pair_angles(z, covariance):
    """Return the latent angles of all pairs, (n, n), pi/2 on the diagonal."""
    n = z.size
    out = np.full((n, n), 0.5 * math.pi)
    for i in range(n):
        for j in range(i):
            out[i, j] = out[j, i] = pair_angle(z[i], z[j], covariance[i, j])
    return out


@njit(cache=True, error_model="numpy")
def normal_cdf(x):
    """Return the probability that a standard Gaussian is below x."""
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


@njit(cache=True, error_model="numpy")
def pair_covariances(z, latent):
    """Return the covariances of all pairs of cut Gaussians, (n, n), 0 on the diagonal."""
    n = z.size
    out = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            out[i, j] = out[j, i] = pair_covariance(z[i], z[j], math.asin(latent[i, j]))
    return out


@njit(cache=True, error_model="numpy")
def sample_one_factor(rng, z, shared, n_samples):
    """Sample units whose Gaussians are all equally correlated: given the shared one they are coins."""
    n_units = z.size
    out = np.empty((n_samples, n_units), dtype=np.bool_)
    on_rate = 0.0
    loading = math.sqrt(shared)
    own = max(math.sqrt(1.0 - shared), 1e-300)  # nothing of its own: a step, not 0/0
    for s in range(n_samples):
        common = loading * rng.standard_normal()
        for i in range(n_units):
            if i == 0 or z[i] != z[i - 1]:
                on_rate = normal_cdf((z[i] - common) / own)
            out[s, i] = rng.random() < on_rate
    return out


@njit(cache=True, error_model="numpy")
def follow_rule(estimate, degree, threshold_rule, beta, d0, tau, low, high):
    """Return the degree that the local rule sets for a unit seen on this often.

    The controller moves to the whole degree nearest to d0 + ln((1-a)/a)/beta; the threshold rule cuts links
    while traffic is above tau, and never grows one.
    """
    if threshold_rule:
        if estimate * degree > tau:
            degree = math.floor(tau / estimate)
        return max(degree, low)
    if estimate <= 0.0:
        return high
    if estimate >= 1.0:
        return low
    return min(max(np.rint(d0 + math.log((1.0 - estimate) / estimate) / beta), low), high)


@njit(cache=True, error_model="numpy")
def live(
    rng, factor, log_odds, sensitivity, degree, estimate, decay, batch, interval, n_refreshes,
    threshold_rule, beta, d0, tau, low, high,
):  # fmt: skip
    """Let units whose activity is correlated live by the local rule; they change ``degree`` and ``estimate``.

    Log-odds of silence fall by ``sensitivity`` per link above the degree a unit started from. Activity is a
    Gaussian with Cholesky ``factor``, each unit on where it is below the unit's quantile.

    Returns
    -------
    tuple of ndarray (n_refreshes, n_units)
        Degree and estimate after each refresh.
    """
    n = degree.size
    start = degree.copy()
    on_rate, source = np.empty(n), np.empty(n)
    degrees, estimates = np.empty((n_refreshes, n)), np.empty((n_refreshes, n))
    count = np.empty(n)
    for refresh in range(n_refreshes):
        for i in range(n):
            on_rate[i] = 1.0 / (1.0 + math.exp(log_odds[i] - sensitivity * (degree[i] - start[i])))
        for _ in range(interval):
            count[:] = 0.0
            for _ in range(batch):
                for i in range(n):
                    source[i] = rng.standard_normal()
                for i in range(n):
                    x = 0.0
                    for j in range(i + 1):
                        x += factor[i, j] * source[j]
                    if normal_cdf(x) < on_rate[i]:
                        count[i] += 1.0
            for i in range(n):
                estimate[i] = decay * estimate[i] + (1.0 - decay) * (count[i] / batch)
        for i in range(n):
            degree[i] = follow_rule(estimate[i], degree[i], threshold_rule, beta, d0, tau, low, high)
        degrees[refresh], estimates[refresh] = degree, estimate
    return degrees, estimates

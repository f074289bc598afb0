"""Definitions everything else speaks in: binary entropy, inactivity log-odds, coding entropy, traffic.

All accept scalars or arrays and are exact at both ends of [0, 1]. Natural logarithms, entropies in nats.
These are definitions, not solutions: simulations and trainers may import this module and no other of theory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate

# On the balance line L(a) = beta k a unit's traffic is a L(a)/beta: at most MAX_BALANCED_TRAFFIC/beta, where
# MAX_BALANCED_TRAFFIC = W(1/e), the root of w e^w = 1/e, reached at on-rate W/(1+W).
MAX_BALANCED_TRAFFIC = 0.278464542761073795
ON_RATE_OF_MAX_TRAFFIC = MAX_BALANCED_TRAFFIC / (1.0 + MAX_BALANCED_TRAFFIC)


def _xlogx(x: np.ndarray) -> np.ndarray:
    """Return x ln x with its limit 0 at x = 0."""
    positive = x > 0
    return x * np.log(np.where(positive, x, 1.0))


def binary_entropy(on_rate: ArrayLike) -> np.ndarray:
    """Entropy of a unit that is on a fraction of the time, h(a) = -a ln a - (1-a) ln(1-a).

    Parameters
    ----------
    on_rate : array_like, any shape
        a in [0, 1].

    Returns
    -------
    ndarray, same shape, nats

    Raises
    ------
    ValueError
        If an on-rate is outside [0, 1] or there is none.
    """
    a = validate.array("on_rate", on_rate, "[0, 1]", ndim=None)
    b = 1.0 - a
    # ln(1-a) from a itself: 1-a would lose the digits of a small on-rate
    return -_xlogx(a) - b * np.log1p(np.where(b > 0, -a, 0.0))


def inactivity_log_odds(on_rate: ArrayLike) -> np.ndarray:
    """Log-odds of being silent, L(a) = ln((1-a)/a): +inf for a dead unit (a = 0), -inf for a saturated one.

    Parameters
    ----------
    on_rate : array_like, any shape
        a in [0, 1].

    Returns
    -------
    ndarray, same shape, nats

    Raises
    ------
    ValueError
        If an on-rate is outside [0, 1] or there is none.
    """
    a = validate.array("on_rate", on_rate, "[0, 1]", ndim=None)
    with np.errstate(divide="ignore"):
        return np.log1p(-a) - np.log(a)


def on_rate_from_log_odds(log_odds: ArrayLike) -> np.ndarray:
    """On-rate of given inactivity log-odds, a = 1/(1 + e^x), the inverse of `inactivity_log_odds`.

    Overflow-free: beyond x = 745 the on-rate is below the smallest float64 and is 0.0.

    Parameters
    ----------
    log_odds : array_like, any shape
        x in [-inf, inf], nats.

    Returns
    -------
    ndarray, same shape
    """
    x = np.asarray(log_odds, dtype=np.float64)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, e, 1.0) / (1.0 + e)


def coding_entropy(on_rate: ArrayLike) -> float:
    """Entropy of a population of independent units, sum_i h(a_i); an upper bound if they are correlated.

    Parameters
    ----------
    on_rate : array_like, any shape
        a_i in [0, 1].

    Returns
    -------
    float, nats

    Raises
    ------
    ValueError
        If an on-rate is outside [0, 1] or there is none.
    """
    return float(binary_entropy(on_rate).sum())


def traffic(on_rate: ArrayLike, fan_out: ArrayLike) -> np.ndarray:
    """Traffic of each unit, t_i = a_i k_i: the links it drives times how often it drives them.

    Parameters
    ----------
    on_rate : array_like
        a_i in [0, 1].
    fan_out : array_like, broadcastable
        k_i >= 0, links.

    Returns
    -------
    ndarray, links per step

    Raises
    ------
    ValueError
        If a value is outside its domain or the shapes do not broadcast.
    """
    a = validate.array("on_rate", on_rate, "[0, 1]", ndim=None)
    k = validate.array("fan_out", fan_out, "[0, inf)", ndim=None)
    try:
        return a * k
    except ValueError:
        raise ValueError(f"fan_out must broadcast with on_rate {a.shape}, got shape {k.shape}") from None

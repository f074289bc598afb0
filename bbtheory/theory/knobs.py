"""What each knob of the refresh is set by, one quantity at a time; recommend.py puts them together."""

from __future__ import annotations

import math

import numpy as np

from bbtheory.theory.controller import match_density
from bbtheory.theory.entropy import on_rate_from_log_odds

# the flattest scale a line is given: one nat from the least to the largest degree
LEAST_RANGE = 1.0
# the search for a slope ends within this ratio; a slope is a choice, its third digit is not
_SLOPE_RATIO = 1.01
# what an estimate starts from before a unit was ever seen
INITIAL_ESTIMATE = 0.5


def least_slope(on_rate: np.ndarray, density: float, low: float, high: float, clipped_share: float) -> float:
    """Smallest beta at which the line that meets a density clips at most a share of the units.

    A smaller beta gives rare units more links, until the line runs into m and D and sorts units in two kinds.
    Units that are never or always on sit on a clip under every line and are not counted.

    Parameters
    ----------
    on_rate : ndarray, (n,)
    density : float
        Mean degree / D, reachable.
    low, high : float
        m and D, links.
    clipped_share : float
        In [0, 1).

    Returns
    -------
    float, nats per link
    """
    counted = (on_rate > 0) & (on_rate < 1)
    if not counted.any() or low == high:
        return LEAST_RANGE / max(high - low, 1.0)

    def clips_few(beta: float) -> bool:
        degree = match_density(on_rate, density, beta=beta, min_degree=low, max_degree=high).degree[counted]
        return float(((degree <= low) | (degree >= high)).mean()) <= clipped_share

    first = LEAST_RANGE / (high - low)
    if clips_few(first):
        return first
    # beyond this slope the units, whose log-odds differ by less than 1,500 nats, share one degree
    last = first
    while not clips_few(last):
        last *= 2.0
        if last > 1e4 * first:
            return first  # the density itself lies on a clip
    below = last / 2.0
    while last > _SLOPE_RATIO * below:
        middle = math.sqrt(below * last)
        below, last = (below, middle) if clips_few(middle) else (middle, last)
    return last


def line_threshold(beta: float, d0: float, low: float, high: float) -> float:
    """Smallest traffic threshold tau that no unit on the line k = clip(d0 + L(a)/beta, m, D) exceeds.

    The traffic a (d0 + L(a)/beta) is largest at a = y/(1+y) with y e^y = e^(beta d0 - 1), where it is y/beta;
    for d0 = 0 that is W(1/e)/beta. Where the line is clipped before, the clip's end holds the maximum.

    Parameters
    ----------
    beta : float
        Slope > 0, nats per link.
    d0 : float
        Links.
    low, high : float
        m and D, links; a unit that is always on keeps m links.

    Returns
    -------
    float, links per step

    References
    ----------
    This project's derivation, ``derive_line_threshold`` (d0 = 0: ``derive_maximum_traffic``).
    """
    from scipy.special import wrightomega

    y = float(wrightomega(beta * d0 - 1.0))
    if (1.0 + y) / beta > high:  # the maximum lies beyond D: the unit that just reaches D carries most
        most = high * float(on_rate_from_log_odds(beta * (high - d0)))
    elif (1.0 + y) / beta < low:
        most = 0.0
    else:
        most = y / beta
    return max(most, low)


def gaussian_gain(on_rate: np.ndarray, degree: np.ndarray, drive: float) -> np.ndarray:
    """Size of da/dk of a Gaussian unit that gains one of k links: phi(z) (drive + |z|/2)/k, z = Phi^-1(a).

    Its pre-activation has mean b + mu and standard deviation s, z = (b + mu)/s. With links alike mu grows as
    k and s as sqrt(k), so dz/dk = (mu/s - z/2)/k: between -(drive + |z|/2)/k and its opposite for every unit
    whose links carry |mu| <= drive s. Its sign depends on the weights.

    Parameters
    ----------
    on_rate : ndarray, (n,)
    degree : ndarray, (n,)
        k, links; fewer than one count as one.
    drive : float
        Largest |mu|/s.

    Returns
    -------
    ndarray, (n,)
        0 for a unit that is never or always on.

    References
    ----------
    This project's derivation, ``derive_random_thinning``.
    """
    from scipy.special import ndtri

    varies = (on_rate > 0) & (on_rate < 1)
    z = ndtri(np.where(varies, on_rate, 0.5))
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return np.where(varies, density * (drive + 0.5 * np.abs(z)), 0.0) / np.maximum(degree, 1.0)


def burn_in_steps(
    on_rate: np.ndarray,
    degree: np.ndarray,
    *,
    beta: float,
    d0: float,
    low: float,
    high: float,
    ema_decay: float,
    tolerance: float,
) -> int:
    """Steps until an EMA that starts at 1/2 places every unit within ``tolerance`` links of its degree.

    After t steps the mean estimate is a + d^t (1/2 - a); the line reads the degree from it, clips included.
    Units that are never or always on reach their clip in their own time and are not waited for.

    Parameters
    ----------
    on_rate, degree : ndarray, (n,)
        At the fixed point.
    beta, d0, low, high : float
        The line and its clips.
    ema_decay : float
        d in [0, 1).
    tolerance : float
        Links > 0.

    Returns
    -------
    int
    """
    below = on_rate < INITIAL_ESTIMATE
    # log-odds that place a unit just within tolerance, on the side from which its estimate comes; a unit on
    # the clip of that side is there from the start
    edge = beta * (degree + np.where(below, -tolerance, tolerance) - d0)
    waits = np.where(below, (edge > 0) & (degree > low), (edge < 0) & (degree < high))
    waits &= (on_rate > 0) & (on_rate < 1)
    if not waits.any():
        return 0
    if ema_decay == 0:
        return 1
    a = on_rate[waits]
    left = (on_rate_from_log_odds(edge[waits]) - a) / (INITIAL_ESTIMATE - a)
    return math.ceil(math.log(float(left.min())) / math.log(ema_decay))

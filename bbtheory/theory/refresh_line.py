"""The line that a refresh reads: degrees from estimates, and log-odds' answer to degrees, in blocks."""

from __future__ import annotations

import numpy as np

# units handled at a time, so that what lies between two passes over them stays in the cache
BLOCK = 16_384


def line_target(
    estimate: np.ndarray, beta: float, d0: float, low: float, high: float, out: np.ndarray | None = None
) -> np.ndarray:
    """clip(d0 + L(estimate)/beta, m, D) of each unit, links.

    The log-odds are one logarithm of a ratio: exact to a rounding of L in absolute terms, which is what a
    degree needs (`inactivity_log_odds` also keeps the relative digits of an L next to 0).
    """
    degree = np.empty(estimate.shape) if out is None else out
    with np.errstate(divide="ignore", over="ignore"):
        for at in blocks(degree.size):
            # in place: fresh memory for temporaries costs more than the logarithm
            k = np.subtract(1.0, estimate[at], out=degree[at])
            k /= estimate[at]
            np.log(k, out=k)
            k /= beta
            k += d0
            np.clip(k, low, high, out=k)
    return degree


def log_odds_slope(gain: np.ndarray, on_rate: np.ndarray) -> np.ndarray:
    """Return (da/dk)/(a (1-a)) of each unit, nats per link; 0 for a unit that is never or always on."""
    slope, chi = np.zeros(on_rate.shape), np.empty(min(BLOCK, on_rate.size))
    with np.errstate(over="ignore"):
        for at in blocks(slope.size):
            varies = np.subtract(1.0, on_rate[at], out=chi[: slope[at].size])
            varies *= on_rate[at]
            np.divide(gain[at], varies, out=slope[at], where=varies > 0)
    return slope


def blocks(n: int) -> list[slice]:
    """Cut n units into blocks."""
    return [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]

"""The hyperbola a k = tau, what a bare threshold on traffic leaves, as a likelihood of log-odds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bbtheory.fit.uncertainty import RELATIVE_FLOOR

# A spread of ln(a k) this many times its sample value is as good as infinite: keeps the search in float64.
_WIDEST = 20.0


@dataclass(frozen=True)
class Hyperbola:
    """The hyperbola of greatest likelihood."""

    log_tau: float
    log_tau_stderr: float  # NaN where the likelihood has no interior maximum
    log_likelihood: float  # of the log-odds given the fan-outs


def fit_hyperbola(on_rate: np.ndarray, fan_out: np.ndarray) -> Hyperbola:
    """Fit ln(a k) = ln tau + e, e normal with spread sigma, cut off where a would pass 1.

    The error is put into ln a and not into the log-odds ln(k/tau - 1), which the hyperbola does not have for
    k <= tau. As a density of the log-odds L, with d ln a = -(1 - a) dL,

        p(L | k) = (1 - a) N(ln(a k); ln tau, sigma^2) / Phi((ln k - ln tau)/sigma),

    a proper density for every k > 0, so its AICc compares with that of a line in L.

    Parameters
    ----------
    on_rate : ndarray (n,), in (0, 1)
    fan_out : ndarray (n,), > 0

    References
    ----------
    This project's derivation.
    """
    from scipy.optimize import minimize
    from scipy.special import log_ndtr

    log_k = np.log(fan_out)
    log_traffic = np.log(on_rate) + log_k
    low, high = float(log_traffic.min()), float(log_traffic.max())
    centre = float(log_traffic.mean())
    spread = max(float(log_traffic.std()), RELATIVE_FLOOR * max(1.0, abs(low), abs(high)))

    def negative(at: np.ndarray) -> tuple[float, np.ndarray]:
        """Return -ln L without its constant, and its gradient, at (ln tau, ln sigma)."""
        sigma = math.exp(at[1])
        z, room = (log_traffic - at[0]) / sigma, (log_k - at[0]) / sigma
        log_mass = log_ndtr(room)
        hazard = np.exp(-0.5 * room * room - log_mass) / math.sqrt(2.0 * math.pi)
        value = float(np.sum(0.5 * z * z + log_mass)) + z.size * at[1]
        gradient = np.array([-np.sum(z + hazard) / sigma, z.size - np.sum(z * z + hazard * room)])
        return value, gradient

    # L-BFGS-B gets variables of order one: tau in units of the spread
    bounds = [((low - centre) / spread, (high - centre) / spread), (-1.0, math.log(_WIDEST))]
    scale = np.array([spread, 1.0])
    origin = np.array([centre, math.log(spread)])

    def scaled(at: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = negative(origin + at * scale)
        return value, gradient * scale

    found = minimize(scaled, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds)
    best = origin + found.x * scale
    constant = float(np.sum(np.log1p(-on_rate))) - 0.5 * on_rate.size * math.log(2.0 * math.pi)
    interior = all(a < value < b for value, (a, b) in zip(found.x, bounds, strict=True))
    stderr = spread * _stderr(scaled, found.x) if interior else math.nan
    return Hyperbola(float(best[0]), stderr, constant - float(found.fun))


def _stderr(scaled: Callable[[np.ndarray], tuple[float, np.ndarray]], at: np.ndarray) -> float:
    """Return the standard error of the first variable from the curvature of -ln L."""
    step = 1e-4
    moves = np.eye(2) * step
    curvature = np.array([(scaled(at + m)[1] - scaled(at - m)[1]) / (2.0 * step) for m in moves])
    det = curvature[0, 0] * curvature[1, 1] - curvature[0, 1] * curvature[1, 0]
    return math.sqrt(curvature[1, 1] / det) if det > 0 and curvature[1, 1] > 0 else math.nan

"""Closed forms of the selectivity-audience balance, L(a) = beta k, and of the threshold rule beside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.theory.entropy import MAX_BALANCED_TRAFFIC, on_rate_from_log_odds


def balanced_on_rate(fan_out: ArrayLike, beta: float, d0: float = 0.0) -> np.ndarray:
    """On-rate on the balance line, a(k) = 1/(1 + exp(beta (k - d0))).

    Parameters
    ----------
    fan_out : array_like, any shape
        k >= 0, links.
    beta : float
        Slope >= 0, nats per link.
    d0 : float
        Degree of a unit that is on half of the time, links.

    Returns
    -------
    ndarray, same shape

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263, the selectivity-audience balance (``derive_balance``).
    """
    k = validate.array("fan_out", fan_out, "[0, inf)", ndim=None)
    beta, d0 = validate.real("beta", beta, "[0, inf)"), validate.real("d0", d0)
    return on_rate_from_log_odds(beta * (k - d0))


def threshold_for_beta(beta: float) -> float:
    """Traffic threshold tau that no unit on the balance line of slope beta exceeds, tau = W(1/e)/beta.

    On the line t = a L(a)/beta, whose maximum W(1/e)/beta = 0.27846/beta lies at a = W/(1+W) = 0.21781.

    Parameters
    ----------
    beta : float
        Slope > 0, nats per link.

    Returns
    -------
    float, links per step

    Raises
    ------
    ValueError
        If beta is not a finite number above 0.

    References
    ----------
    This project's derivation, ``derive_maximum_traffic``.
    """
    return MAX_BALANCED_TRAFFIC / validate.real("beta", beta, "(0, inf)")


def beta_for_threshold(threshold: float) -> float:
    """Slope of the steepest-audience line that a traffic threshold never cuts, beta = W(1/e)/tau.

    Parameters
    ----------
    threshold : float
        tau > 0, links per step.

    Returns
    -------
    float, nats per link

    Raises
    ------
    ValueError
        If the threshold is not a finite number above 0.
    """
    return MAX_BALANCED_TRAFFIC / validate.real("threshold", threshold, "(0, inf)")


def threshold_degree(on_rate: ArrayLike, threshold: float, max_degree: float) -> np.ndarray:
    """Degree at which the threshold rule alone stops cutting, k_i = min(k_max, floor(tau/a_i)): a hyperbola.

    Parameters
    ----------
    on_rate : array_like, any shape
        a in [0, 1]; a dead unit keeps all its links.
    threshold : float
        tau > 0, links per step; links are cut while a k > tau.
    max_degree : float
        k_max > 0, the links a unit starts with.

    Returns
    -------
    ndarray of float, same shape, links

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263 (the rule); its fixed point is this project's
    derivation, ``derive_threshold_degree``.
    """
    a = validate.array("on_rate", on_rate, "[0, 1]", ndim=None)
    tau = validate.real("threshold", threshold, "(0, inf)")
    top = validate.real("max_degree", max_degree, "(0, inf)")
    with np.errstate(divide="ignore", over="ignore"):
        return np.minimum(top, np.floor(tau / a))

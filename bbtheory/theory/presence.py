"""Presence under pressure while the weights learn: weight decay, death at a fold, memory of the past.

Loss 1/2 lambda (theta - w*)^2 with theta = w H(t), pressure gamma on t, decay delta on w. In units u = w/w*,
with F the flux at w = w* and r = delta/lambda, t moves with F u (1 - u H(t)) - gamma and u with
H(t) (1 - u) - r u. While t slides on 0 the weight is present a fraction P of the time:

    F u (1 - P u) = gamma,    u = P/(P + r),    that is    (u - g)(1 - u) = r u^3,    g = gamma/F.

The cubic has two roots in (g, 1) up to a fold g_c(r): the upper one is stable, the lower one, u_1, divides
weights that recover from weights that die. An absent weight does not learn, so death is for good.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError, Record

# Newton halves the distance to a double root at worst: 26 steps reach sqrt(float64 eps), all it can resolve
_MAX_STEPS = 100


@dataclass(frozen=True, eq=False)
class Presence(Record):
    """Where each weight and its presence variable settle under one pressure.

    Attributes
    ----------
    pressure : float
        gamma.
    flux, weight_decay, start : ndarray (n,)
        F at w = w*; r = delta/lambda; w/w* when the presence variable first reached 0.
    presence : ndarray (n,)
        P in [0, 1], the fraction of time the weight is present.
    weight : ndarray (n,)
        w/w* at equilibrium; of an absent weight 0 with decay, its last value without.
    threshold : ndarray (n,)
        u_1: a weight that starts at or below it dies; infinite where every start dies.
    state : ndarray (n,) of str
        "absent", "sliding" or "present" (for good: its presence variable grows without limit).
    residual : float
        Largest |F u (1 - P u)/gamma - 1| and |P (1 - u) - r u| over sliding weights, 0 without any.
    status : str
        "converged".
    """

    KIND: ClassVar[str] = "presence"
    UNITS: ClassVar = {
        "flux": "flux",
        "weight_decay": "weight_decay",
        "start": "start",
        "presence": "presence",
        "weight": "weight",
        "threshold": "threshold",
        "state": "state",
    }
    DERIVED: ClassVar = ("density",)

    pressure: float
    flux: np.ndarray
    weight_decay: np.ndarray
    start: np.ndarray
    presence: np.ndarray
    weight: np.ndarray
    threshold: np.ndarray
    state: np.ndarray
    residual: float
    status: str

    @cached_property
    def density(self) -> float:
        """Mean presence, the expected density at a moment."""
        return float(self.presence.mean())


def collapse_ratio(weight_decay: ArrayLike) -> np.ndarray:
    """Largest pressure a learning weight survives, in units of its flux: g_c(r), 1 without decay.

    At the fold P^3 + 3 r P^2 - r P - r^2 = 0 and g_c = P (P + r - P^2)/(P + r)^2; for r > 1 + sqrt 2 the fold
    lies beyond P = 1 and g_c = r/(1 + r)^2. Near r = 0, g_c = 1 - 2 sqrt(r).

    Parameters
    ----------
    weight_decay : array_like, any shape
        r = delta/lambda >= 0: the decay over the curvature of the loss.

    Returns
    -------
    ndarray, same shape

    Raises
    ------
    ValueError
        If r is negative or not finite.

    References
    ----------
    This project's derivation, ``derive_weight_decay_presence``.
    """
    r = validate.array("weight_decay", weight_decay, "[0, inf)", ndim=None)
    # from sqrt(r) the cubic is convex and the steps decrease to its one positive root
    present = np.sqrt(r)
    for _ in range(_MAX_STEPS):
        value = present**3 + 3.0 * r * present**2 - r * present - r**2
        slope = 3.0 * present**2 + 6.0 * r * present - r
        step = np.where(slope > 0, value / np.where(slope > 0, slope, 1.0), 0.0)
        lower = np.minimum(present, present - step)
        if np.array_equal(lower, present):
            break
        present = lower
    present = np.minimum(present, 1.0)
    total = present + r
    return np.where(r > 0, present * (total - present**2) / np.where(r > 0, total, 1.0) ** 2, 1.0)


def permanence_ratio(weight_decay: ArrayLike) -> np.ndarray:
    """Pressure below which a weight, once alive, is present for good, in units of its flux: r/(1 + r)^2.

    There the decayed weight u = 1/(1 + r) keeps a pull F u (1 - u) that exceeds the pressure.

    Parameters
    ----------
    weight_decay : array_like, any shape
        r = delta/lambda >= 0.

    Returns
    -------
    ndarray, same shape

    Raises
    ------
    ValueError
        If r is negative or not finite.

    References
    ----------
    This project's derivation, ``derive_weight_decay_presence``.
    """
    r = validate.array("weight_decay", weight_decay, "[0, inf)", ndim=None)
    return r / (1.0 + r) ** 2


def solve_presence(
    flux: ArrayLike, pressure: float, *, weight_decay: ArrayLike = 0.0, start: ArrayLike = 1.0
) -> Presence:
    """Presence and weight at equilibrium, F u (1 - P u) = gamma and u = P/(P + r), from a given start.

    Without decay and from ``start`` = 1 this is the duty-cycle law P = 1 - gamma/F. The weight is taken to
    change little during one cycle of its presence variable.

    Parameters
    ----------
    flux : array_like (n,)
        F_j >= 0, the flux at w = w*; same unit as the pressure.
    pressure : float
        gamma >= 0.
    weight_decay : array_like (n,) or float
        r = delta/lambda_j >= 0.
    start : array_like (n,) or float
        w/w* at the moment the presence variable first reaches 0: 1 after dense training; a negative one
        points the wrong way.

    Returns
    -------
    Presence

    Raises
    ------
    ValueError
        If an argument is outside its domain or the lengths differ.
    ConvergenceError
        If Newton's iteration does not settle; carries the record.

    References
    ----------
    This project's derivation, ``derive_weight_decay_presence``; Hyperflux (arXiv 2504.05349) for the model.
    """
    flux = validate.array("flux", flux, "[0, inf)")
    pressure = validate.real("pressure", pressure, "[0, inf)")
    r = _each("weight_decay", weight_decay, "[0, inf)", flux.size)
    start = _each("start", start, "(-inf, inf)", flux.size)
    with np.errstate(divide="ignore", over="ignore"):
        g = np.where(flux > 0, pressure / np.where(flux > 0, flux, 1.0), np.inf)
    can_live = g <= collapse_ratio(r)
    threshold = np.full(flux.size, np.inf)
    upper = np.full(flux.size, np.nan)
    lower, top, settled = _roots(g[can_live], r[can_live])
    threshold[can_live], upper[can_live] = lower, top
    living = start > threshold
    for_good = living & (g <= permanence_ratio(r))
    sliding = living & ~for_good
    weight = np.where(r > 0, 0.0, np.minimum(start, np.where(start > g, g, start)))
    weight[for_good] = 1.0 / (1.0 + r[for_good])
    weight[sliding] = upper[sliding]
    presence = np.where(for_good, 1.0, 0.0)
    u, gs, rs = weight[sliding], g[sliding], r[sliding]
    p = presence[sliding] = np.clip((u - gs) / u**2, 0.0, 1.0)
    residual = 0.0
    if u.size:
        residual = float(
            max(np.abs(u * (1.0 - p * u) / gs - 1.0).max(), np.abs(p * (1.0 - u) - rs * u).max())
        )
    state = np.full(flux.size, "absent", dtype="U7")
    state[sliding], state[for_good] = "sliding", "present"
    record = Presence(
        pressure=pressure,
        flux=flux,
        weight_decay=r,
        start=start,
        presence=presence,
        weight=weight,
        threshold=threshold,
        state=state,
        residual=residual,
        status="converged" if settled else "not_converged",
    )
    if not settled:
        raise ConvergenceError(f"the presence of some weight did not settle in {_MAX_STEPS} steps", record)
    return record


def _each(name: str, value: ArrayLike, domain: str, n: int) -> np.ndarray:
    if np.ndim(value) == 0:
        return np.full(n, validate.real(name, value, domain))
    return validate.array(name, value, domain, shape=(n,))


def _roots(g: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Roots u_1 <= u_2 in [g, 1] of h(u) = (u - g)(1 - u) - r u^3, which is concave for u >= 0.

    From g and from 1, where h <= 0, Newton's steps run monotonically to the roots on either side of the
    maximum of h; near the fold, where rounding may leave no root, they stop at the maximum.
    """
    peak = (1.0 + g) / (1.0 + np.sqrt(1.0 + 3.0 * r * (1.0 + g)))
    low, high = g.copy(), np.ones_like(g)
    for _ in range(_MAX_STEPS):
        new_low = np.minimum(np.maximum(low, _newton(low, g, r)), peak)
        new_high = np.maximum(np.minimum(high, _newton(high, g, r)), peak)
        if np.array_equal(new_low, low) and np.array_equal(new_high, high):
            return low, high, True
        low, high = new_low, new_high
    return low, high, False


def _newton(u: np.ndarray, g: np.ndarray, r: np.ndarray) -> np.ndarray:
    slope = 1.0 + g - 2.0 * u - 3.0 * r * u**2
    value = (u - g) * (1.0 - u) - r * u**3
    return u - np.where(slope != 0, value / np.where(slope != 0, slope, 1.0), 0.0)

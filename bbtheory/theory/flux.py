"""Density under pressure: which weights a constant pressure removes, given the flux each feels when absent.

A weight of a model trained with pressure gamma on its presence variable t (present for t >= 0) has dt/dtau
proportional to F - gamma while absent and to -gamma while present, where F is its flux: the pull to bring it
back, times the number of weights. For F > gamma t slides on 0 and the weight is present a fraction
1 - gamma/F of the time (the duty-cycle law); for F <= gamma it is gone. A saliency compared with a threshold,
as in magnitude pruning, follows the hard law s = P(F > gamma) instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record

LAWS = ("duty_cycle", "threshold")
_TINY = float(np.finfo(np.float64).tiny)  # 1/F overflows for a smaller flux, which counts as none


@dataclass(frozen=True, eq=False)
class PressureCurve(Record):
    """Density of a set of weights at each of several pressures.

    Attributes
    ----------
    law : str
        "duty_cycle" or "threshold".
    n_weights : int
        Weights in the set.
    pressure : ndarray (m,)
        gamma, as given.
    density : ndarray (m,)
        s(gamma) in [0, 1].
    alive : ndarray (m,)
        P(F > gamma), the part of the weights that keep returning; equal to ``density`` under "threshold".
    slope : ndarray (m,)
        ds/dgamma from the right under "duty_cycle", -mean(1/F over F > gamma); NaN under "threshold", whose
        curve is a staircase.
    status : str
        "collapsed" if some pressure leaves no weight, else "alive".
    """

    KIND: ClassVar[str] = "pressure_curve"
    UNITS: ClassVar = {
        "pressure": "pressure",
        "density": "density",
        "alive": "alive",
        "exponent": "exponent",
    }
    HIDDEN: ClassVar = ("slope",)

    law: str
    n_weights: int
    pressure: np.ndarray
    density: np.ndarray
    alive: np.ndarray
    slope: np.ndarray
    status: str

    @cached_property
    def exponent(self) -> np.ndarray:
        """Local exponent -d ln s/d ln gamma = P(F > gamma)/s - 1 (duty-cycle law); NaN where s = 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.density > 0, -self.pressure * self.slope / self.density, np.nan)


def density_under_pressure(flux: ArrayLike, pressure: ArrayLike, *, law: str = "duty_cycle") -> PressureCurve:
    """Density that a constant pressure leaves, s(gamma) = mean_j max(0, 1 - gamma/F_j), or P(F > gamma).

    One sort and one pass for any number of pressures. Written as a sum of non-negative terms from the
    largest pressure down, so that small densities keep their relative accuracy.

    Parameters
    ----------
    flux : array_like (n,)
        F_j, finite; a weight with F_j <= 0 never returns. Same unit as the pressure.
    pressure : array_like (m,) or float
        gamma >= 0, in any order. At gamma = 0 the limit from above is meant: s = P(F > 0).
    law : {"duty_cycle", "threshold"}
        Time average of a presence variable that slides on its threshold, or a hard threshold on F.

    Returns
    -------
    PressureCurve

    Raises
    ------
    ValueError
        If an argument is empty, not finite, negative (pressure), or the law is unknown.

    References
    ----------
    Hyperflux (arXiv 2504.05349) for flux and pressure; the duty-cycle law is this project's
    derivation, ``derive_duty_cycle``.
    """
    flux = validate.array("flux", flux)
    pressure = validate.array("pressure", pressure, "[0, inf)", ndim=None).ravel()
    law = validate.choice("law", law, LAWS)
    n = flux.size
    ordered = flux if np.all(flux[:-1] <= flux[1:]) else np.sort(flux)
    order = np.argsort(pressure)
    gamma = pressure[order]
    start = np.searchsorted(ordered, np.maximum(gamma, _TINY), side="right")
    alive = (n - start) / n
    density, slope = alive, np.full(gamma.size, np.nan)
    if law == "duty_cycle":
        density, slope = _duty_cycle(ordered, gamma, start)
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    return PressureCurve(
        law=law,
        n_weights=n,
        pressure=pressure,
        density=density[back],
        alive=alive[back],
        slope=slope[back],
        status="collapsed" if start[-1] == n else "alive",
    )


def _duty_cycle(flux: np.ndarray, gamma: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return s and ds/dgamma for sorted fluxes and pressures; flux[start[k]:] are those above gamma[k].

    With R_k = sum over F > gamma_k of 1/F,
    n s_k = n s_(k+1) + (gamma_(k+1) - gamma_k) R_(k+1)
            + sum over gamma_k < F <= gamma_(k+1) of (F - gamma_k)/F,
    without a negative term.
    """
    n, m = flux.size, gamma.size
    counts = np.diff(start, append=n)
    above = flux[start[0] :]
    filled = counts > 0
    first = (start - start[0])[filled]
    inverse = np.zeros(m)
    lift = np.zeros(m)
    if above.size:
        inverse[filled] = np.add.reduceat(1.0 / above, first)
        lift[filled] = np.add.reduceat((above - np.repeat(gamma, counts)) / above, first)
    total_inverse = np.cumsum(inverse[::-1])[::-1]
    lift[:-1] += np.diff(gamma) * total_inverse[1:]
    return np.cumsum(lift[::-1])[::-1] / n, -total_inverse / n


def converged_pressure(
    *, n_weights: int, n_steps: int, learning_rate: float, start: float = 0.5, eps: float = 1e-8
) -> float:
    """Smallest pressure at which Adam can bring a presence variable to 0 within a run, without any flux.

    The pressure gradient gamma/N moves t by lr (gamma/N)/(gamma/N + eps) per step, so that
    gamma = eps N t_0/(lr n_steps - t_0). Below it a measured density says how long the run was, not where
    its equilibrium lies; gradient noise only slows the descent, so above it convergence is not assured.

    Parameters
    ----------
    n_weights : int
        N >= 1, the weights the pressure is averaged over.
    n_steps : int
        Optimizer steps at this pressure, >= 1.
    learning_rate : float
        Of the presence variables, > 0.
    start : float
        Largest initial t_0 > 0; 0.5 in the authors' code.
    eps : float
        Adam's eps >= 0.

    Returns
    -------
    float
        gamma; infinite if even a full step each time does not cover t_0.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    This project's derivation, for the settings of the Hyperflux code (arXiv 2504.05349).
    """
    n_weights = validate.integer("n_weights", n_weights, "[1, inf)")
    n_steps = validate.integer("n_steps", n_steps, "[1, inf)")
    start = validate.real("start", start, "(0, inf)")
    reach = validate.real("learning_rate", learning_rate, "(0, inf)") * n_steps
    eps = validate.real("eps", eps, "[0, inf)")
    return eps * n_weights * start / (reach - start) if reach > start else float("inf")

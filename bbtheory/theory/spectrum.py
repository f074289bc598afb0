"""Spectra and exponents: which density law a distribution of fluxes or saliencies implies.

A power spectrum F_j = F_1 j^-p gives, under the duty-cycle law, a density s ~ gamma^(-1/p) between two ends:
below gamma = F_n every weight keeps returning and s is linear in gamma, above F_1 nothing is left. With
J = (F_1/gamma)^(1/p) the number of fluxes above gamma, n s = J p/(p+1) - 1/2 + o(1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record

_THIRD_ORDER = np.sqrt(3.0) / 108.0  # twice max |B_3(x)|/3!, the first neglected Euler-Maclaurin term


def power_spectrum(n_weights: int, decay: float, *, top: float = 1.0) -> np.ndarray:
    """Power spectrum of fluxes, F_j = F_1 j^-p for j = 1..n.

    Parameters
    ----------
    n_weights : int
        n >= 1.
    decay : float
        p > 0.
    top : float
        F_1 > 0.

    Returns
    -------
    ndarray (n,), decreasing

    Raises
    ------
    ValueError
        If an argument is outside its domain or F_n underflows.
    """
    n, p, top, _ = _spectrum(n_weights, decay, top)
    return top * np.arange(1.0, n + 1.0) ** -p


def _spectrum(n_weights: int, decay: float, top: float) -> tuple[int, float, float, float]:
    """Return clean (n, p, F_1, F_n)."""
    n = validate.integer("n_weights", n_weights, "[1, inf)")
    p = validate.real("decay", decay, "(0, inf)")
    top = validate.real("top", top, "(0, inf)")
    least = top * float(n) ** -p
    if least < np.finfo(np.float64).tiny:
        raise ValueError(f"decay must leave F_n = top n^-decay a normal float64 at n = {n}, got {decay!r}")
    return n, p, top, least


@dataclass(frozen=True, eq=False)
class PowerLaw(Record):
    """Duty-cycle density of a power spectrum in closed form, with the bound of what the form neglects.

    Attributes
    ----------
    n_weights, decay, top
        The spectrum F_j = top j^-decay, j = 1..n_weights.
    exponent : float
        alpha_0 = 1/p, the exponent for J >> 1.
    prefactor : float
        c of s = c gamma^-alpha_0: p/(p+1) F_n^(1/p), infinite beyond float64; a hard threshold has F_n^(1/p).
    low_edge, high_edge : float
        Pressures F_n and F_1 between which the law holds.
    edge_density : float
        1/(1 + alpha_0) = p/(p+1), the density at F_n up to 1/(2n).
    pressure, density, local_exponent : ndarray (m,)
        gamma; the closed form; -d ln s/d ln gamma of the closed form (NaN where it gives no weight).
    density_bound : ndarray (m,)
        Rigorous bound on |exact sum - density|, the o(1)/n of the closed form.
    """

    KIND: ClassVar[str] = "power_law"
    UNITS: ClassVar = {
        "pressure": "pressure",
        "density": "density",
        "density_bound": "density_bound",
        "local_exponent": "local_exponent",
    }
    DERIVED: ClassVar = ("window_exponent",)

    n_weights: int
    decay: float
    top: float
    exponent: float
    prefactor: float
    low_edge: float
    high_edge: float
    edge_density: float
    pressure: np.ndarray
    density: np.ndarray
    density_bound: np.ndarray
    local_exponent: np.ndarray

    @cached_property
    def window_exponent(self) -> float:
        """Exponent a log-log line through these pressures shows; NaN for fewer than two with a density."""
        used = self.density > 0
        x = np.log(self.pressure[used])
        if np.unique(x).size < 2:
            return float("nan")
        x -= x.mean()
        return float(-(x @ np.log(self.density[used])) / (x @ x))


def derive_power_law(pressure: ArrayLike, *, n_weights: int, decay: float, top: float = 1.0) -> PowerLaw:
    """Density of a power spectrum under pressure, n s = J p/(p+1) - 1/2 with J = (F_1/gamma)^(1/p).

    Below F_n, where J would exceed n, s = 1 - (gamma/F_n) [1/(p+1) + 1/(2n)]; above F_1, s = 0. The local
    exponent is (1/p)/(1 - (p+1)/(2pJ)) in the power-law region.

    Parameters
    ----------
    pressure : array_like (m,) or float
        gamma > 0.
    n_weights, decay, top
        As `power_spectrum`.

    Returns
    -------
    PowerLaw

    Raises
    ------
    ValueError
        If an argument is outside its domain or F_n underflows.

    References
    ----------
    This project's derivation, ``derive_flux_exponent`` (Euler-Maclaurin summation of the duty-cycle law).
    """
    n, p, top, low_edge = _spectrum(n_weights, decay, top)
    gamma = validate.array("pressure", pressure, "(0, inf)", ndim=None).ravel()
    with np.errstate(over="ignore"):
        prefactor = float(p / (p + 1.0) * np.float64(low_edge) ** (1.0 / p))
        index = np.minimum((top / gamma) ** (1.0 / p), n)
    inside = gamma >= low_edge
    # below F_n the same sum over all n weights, with gamma/F_n in place of (J/J)^p = 1
    share = np.where(inside, 1.0, gamma / low_edge)
    cut = np.where(inside, index / (p + 1.0) + 0.5, share * (n / (p + 1.0) + 0.5))
    density = np.where(gamma < top, np.maximum(np.where(inside, index, n) - cut, 0.0), 0.0) / n
    fall = np.where(inside, index / (p + 1.0), cut) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        local = np.where(density > 0, fall / density, np.nan)
    return PowerLaw(
        n_weights=n,
        decay=p,
        top=top,
        exponent=1.0 / p,
        prefactor=prefactor,
        low_edge=low_edge,
        high_edge=top,
        edge_density=p / (p + 1.0),
        pressure=gamma,
        density=density,
        density_bound=np.where(gamma < top, share * _neglected(index, p), 0.0) / n,
        local_exponent=local,
    )


def _neglected(index: np.ndarray, p: float) -> np.ndarray:
    """Bound |n s - (J p/(p+1) - 1/2)| for J >= 1.

    The summand f(x) = 1 - (x/J)^p falls to 0 at J and f' has total variation 2p/J with the kink there; for
    p >= 1 a first Euler-Maclaurin step with the periodic B_2 centred in its range [-1/12, 1/6] leaves at most
    p/(8J). For p < 1, f' is unbounded at 0; instead, up to the third order,
    sum j^p = zeta(-p) + J^(p+1)/(p+1) - B_1 J^p + p B_2 J^(p-1)/2. A form cut at 0 is nearer only.
    """
    if p >= 1.0:
        return p / (8.0 * index)
    from scipy.special import zeta

    return abs(float(zeta(-p))) * index**-p + p / (12.0 * index) + _THIRD_ORDER * p * (1.0 - p) / index**2


def region_end_density(exponent: ArrayLike) -> np.ndarray:
    """Density at which the power law starts under the duty-cycle law: 1/(1 + alpha_0), where gamma = F_n.

    A prediction that can fail: at larger densities s is linear in the pressure. A fixed edge of one half is
    wrong for alpha_0 > 1, where the power law starts below it.

    Parameters
    ----------
    exponent : array_like, any shape
        alpha_0 > 0.

    Returns
    -------
    ndarray, same shape

    Raises
    ------
    ValueError
        If an exponent is not positive and finite.

    References
    ----------
    This project's derivation, ``derive_region_end``.
    """
    return 1.0 / (1.0 + validate.array("exponent", exponent, "(0, inf)", ndim=None))


def largest_exponent(density: ArrayLike) -> np.ndarray:
    """Largest local exponent any flux spectrum can show at a density under the duty-cycle law: (1 - s)/s.

    Since P(F > gamma) = s (1 + alpha) is at most 1. A power spectrum meets it at the end of its region.

    Parameters
    ----------
    density : array_like, any shape
        s in (0, 1].

    Returns
    -------
    ndarray, same shape

    Raises
    ------
    ValueError
        If a density is outside (0, 1].

    References
    ----------
    This project's derivation, ``derive_spectrum_tail``.
    """
    density = validate.array("density", density, "(0, 1]", ndim=None)
    return (1.0 - density) / density

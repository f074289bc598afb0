"""Which correlations binary units can have, and the Gaussian correlations behind them."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.simulate.correlated_kernel import pair_angles, pair_covariances

_ROUNDING = 1e-12  # relative to a bound, by which a correlation computed as the bound itself may pass it
_SINGULAR = 1e-10  # smallest eigenvalue lost to the rounding of the latent correlations
_BISECTIONS = 40


def correlation_bounds(on_rate: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest correlation that each pair of binary units can have.

    From max(0, a_i + a_j - 1) <= P(both on) <= min(a_i, a_j): a unit of other on-rate cannot follow closely.

    Parameters
    ----------
    on_rate : array_like (n,)
        a_i in (0, 1).

    Returns
    -------
    tuple of ndarray (n, n)
        Lowest and highest rho_ij; 1 on the diagonals.

    Raises
    ------
    ValueError
        If an on-rate is outside (0, 1) or there is none.

    References
    ----------
    Frechet (1951); Prentice, Biometrics 44 (1988) 1033.
    """
    a = validate.array("on_rate", on_rate, "(0, 1)")
    validate.room("on_rate", f"{a.size} units", a.size**2)
    odds = np.sqrt(a / (1.0 - a))
    with np.errstate(over="ignore", divide="ignore"):  # the other of the two bounds is the one
        product, ratio = np.outer(odds, odds), np.outer(odds, 1.0 / odds)
        low = -np.minimum(product, 1.0 / product)
    high = np.minimum(ratio, ratio.T)
    np.fill_diagonal(low, 1.0)
    np.fill_diagonal(high, 1.0)
    return low, high


def latent_correlation(on_rate: ArrayLike, correlation: ArrayLike) -> np.ndarray:
    """Correlations of the Gaussians that, cut at the units' quantiles, give binary units a correlation.

    Solves P(x_i < z_i, x_j < z_j; r_ij) = a_i a_j + rho_ij sqrt(chi_i chi_j) for every pair, z = Phi^-1(a).

    Parameters
    ----------
    on_rate : array_like (n,)
        a_i in (0, 1).
    correlation : float or array_like (n, n)
        rho_ij of the binary units: one for all pairs, or a symmetric matrix with unit diagonal.

    Returns
    -------
    ndarray (n, n)
        r_ij, 1 on the diagonal, positive semi-definite.

    Raises
    ------
    ValueError
        If no pair of binary units can have a correlation (the message says which it can), or all pairs can
        but a cut Gaussian cannot have them together (the message says how far they must be scaled down).
        Another code may still have them.

    References
    ----------
    Emrich and Piedmonte, Am. Stat. 45 (1991) 302; Macke et al., Neural Comput. 21 (2009) 397.
    """
    a = validate.array("on_rate", on_rate, "(0, 1)")
    rho = correlation_matrix(a, correlation)
    z = quantile(a)
    sd = np.sqrt(a * (1.0 - a))
    scale = np.outer(sd, sd)
    latent = np.sin(pair_angles(z, rho * scale))
    smallest = float(np.linalg.eigvalsh(latent)[0])
    if smallest < -_SINGULAR:
        low, high = 0.0, 1.0
        apart = rho - np.eye(a.size)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            matrix = np.sin(pair_angles(z, middle * apart * scale))
            if np.linalg.eigvalsh(matrix)[0] < 0:
                high = middle
            else:
                low = middle
        raise ValueError(
            "correlation must be one that cut Gaussians can have, got one that asks for a smallest "
            f"eigenvalue of {smallest:.3g}: {low:.4g} times these correlations can be reached"
        )
    return latent


def cut_correlation(on_rate: ArrayLike, latent: ArrayLike) -> np.ndarray:
    """Correlations of binary units cut from Gaussians of given correlations; inverse of `latent_correlation`.

    Parameters
    ----------
    on_rate : array_like (n,)
        a_i in (0, 1).
    latent : float or array_like (n, n)
        r_ij of the Gaussians: one for all pairs, or a symmetric matrix with unit diagonal. That it is
        positive semi-definite is not checked: pairs are computed one by one.

    Returns
    -------
    ndarray (n, n)
        rho_ij, 1 on the diagonal.

    Raises
    ------
    ValueError
        If an on-rate or a correlation is outside its domain, or ``latent`` is no such matrix.
    """
    a = validate.array("on_rate", on_rate, "(0, 1)")
    r = _square("latent", latent, a.size)
    sd = np.sqrt(a * (1.0 - a))
    rho = pair_covariances(quantile(a), r) / np.outer(sd, sd)
    np.fill_diagonal(rho, 1.0)
    return rho


def quantile(on_rate: np.ndarray) -> np.ndarray:
    """Return z_i = Phi^-1(a_i), below which a standard Gaussian is a fraction a_i of the time."""
    return np.array([NormalDist().inv_cdf(a) for a in on_rate.tolist()])


def _square(name: str, value: ArrayLike, n: int) -> np.ndarray:
    matrix = validate.array(name, value, "[-1, 1]", ndim=None)
    validate.room("on_rate", f"{n} units", n * n)
    if matrix.ndim == 0:
        return np.where(np.eye(n, dtype=bool), 1.0, float(matrix))
    if matrix.shape != (n, n):
        raise ValueError(f"{name} must be a number or have shape {(n, n)}, got {matrix.shape}")
    if (matrix != matrix.T).any():
        i, j = (int(x) for x in np.argwhere(matrix != matrix.T)[0])
        raise ValueError(
            f"{name} must be symmetric, got {matrix[i, j]:.9g} at {(i, j)} and {matrix[j, i]:.9g} at {(j, i)}"
        )
    if (np.diagonal(matrix) != 1).any():
        raise ValueError(f"{name} must have a unit diagonal, got {np.diagonal(matrix).min():.9g} on it")
    return matrix


def correlation_matrix(a: np.ndarray, correlation: ArrayLike) -> np.ndarray:
    """Return a correlation matrix that every pair of units can have, or raise ValueError."""
    rho = _square("correlation", correlation, a.size)
    low, high = correlation_bounds(a)
    bad = np.argwhere((rho < low - _ROUNDING * np.abs(low)) | (rho > high + _ROUNDING * np.abs(high)))
    if bad.size:
        i, j = (int(x) for x in bad[0])
        raise ValueError(
            f"correlation of units {i} and {j} must be in [{low[i, j]:.9g}, {high[i, j]:.9g}], "
            f"all that on-rates {a[i]:.9g} and {a[j]:.9g} allow, got {rho[i, j]:.9g}"
        )
    return rho

"""Correlated binary units, sampled exactly: cut Gaussians of any number, or a few units state by state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.simulate.correlated_kernel import sample_one_factor
from bbtheory.simulate.latent import correlation_matrix, latent_correlation, quantile

ENERGIES = "[-1e100, 1e100]"  # sums of which are finite
MAX_UNITS = 20  # 2^20 states
_CHUNK = 1 << 22  # Gaussians held at once
_ROUNDING = 1e-13  # of latent correlations that are equal but were solved for one by one
_SUM = 1e-9  # by which probabilities given in decimals may miss 1


@dataclass(frozen=True, eq=False)
class CorrelatedActivity(Record):
    """Independent samples of correlated binary units.

    Attributes
    ----------
    samples : ndarray of bool (n_samples, n_units)
    on_rate : ndarray (n_units,)
        Of the distribution the samples come from.
    correlation : ndarray (n_units, n_units)
        Of that distribution; NaN for units that never change.
    method : str
        ``"one_factor"`` (Gaussians all equally correlated), ``"gaussian"`` or ``"table"``.
    seed : int
    """

    KIND: ClassVar[str] = "correlated_activity"
    UNITS: ClassVar[dict[str, str]] = {"on_rate": "on_rate"}
    DERIVED: ClassVar[tuple[str, ...]] = ("n_samples",)
    HIDDEN: ClassVar[tuple[str, ...]] = ("samples", "correlation")

    samples: np.ndarray
    on_rate: np.ndarray
    correlation: np.ndarray
    method: str
    seed: int

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.samples)


def simulate_correlated(
    on_rate: ArrayLike, correlation: ArrayLike, n_samples: int, *, seed: int = 0
) -> CorrelatedActivity:
    """Sample binary units of given on-rates and correlations: Gaussians, each cut at its unit's quantile.

    h_i = [x_i < Phi^-1(a_i)], x ~ N(0, R), R from `latent_correlation`. On-rates and pair correlations are
    exact; correlations of three and more units are those of the Gaussian, not of the maximum-entropy code.

    Parameters
    ----------
    on_rate : array_like (n,)
        a_i in (0, 1).
    correlation : float or array_like (n, n)
        rho_ij of the binary units: one for all pairs, or a symmetric matrix with unit diagonal. Where all
        Gaussians are equally correlated (units of one on-rate and one correlation >= 0) units are sampled
        one by one given the Gaussian they share.
    n_samples : int >= 1
    seed : int >= 0

    Returns
    -------
    CorrelatedActivity

    Raises
    ------
    ValueError
        If an argument is outside its domain, or the correlations cannot be reached; see `latent_correlation`.

    References
    ----------
    Emrich and Piedmonte, Am. Stat. 45 (1991) 302; Macke et al., Neural Comput. 21 (2009) 397.

    Examples
    --------
    >>> from bbtheory.simulate import simulate_correlated
    >>> found = simulate_correlated([0.1, 0.1, 0.1], 0.3, 1000)
    >>> found.samples.shape, found.method
    ((1000, 3), 'one_factor')
    """
    a = validate.array("on_rate", on_rate, "(0, 1)")
    n_samples = validate.integer("n_samples", n_samples, "[1, inf)")
    validate.room("n_samples", n_samples, n_samples * a.size)
    rng = np.random.default_rng(validate.integer("seed", seed, "[0, inf)"))
    rho = correlation_matrix(a, correlation)
    pairs = rho[np.triu_indices(a.size, 1)]
    z = quantile(a)
    alike = a.size > 1 and a.min() == a.max() and pairs.min() == pairs.max() and pairs[0] >= 0
    # one pair stands for all; of n units there are n^2/2
    latent = latent_correlation(a[:2], pairs[0]) if alike else latent_correlation(a, rho)
    shared = latent[np.triu_indices(len(latent), 1)]
    one_factor = shared.size > 0 and shared.min() >= 0 and np.ptp(shared) <= _ROUNDING
    if one_factor:
        samples = sample_one_factor(rng, z, min(float(shared[0]), 1.0), n_samples)
    else:
        factor = gaussian_factor(latent)
        samples = np.empty((n_samples, a.size), dtype=bool)
        step = max(1, _CHUNK // a.size)
        for start in range(0, n_samples, step):
            part = samples[start : start + step]
            np.less(rng.standard_normal(part.shape) @ factor.T, z, out=part)
    return CorrelatedActivity(samples, a, rho, "one_factor" if one_factor else "gaussian", int(seed))


def gaussian_factor(latent: np.ndarray) -> np.ndarray:
    """Return lower-triangular F with F F' = latent, also where that is singular."""
    values, vectors = np.linalg.eigh(latent)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    # F F' = root root', so F is the R of root' = QR, transposed, with signs as in Cholesky's
    r = np.asarray(np.linalg.qr(root.T, mode="r"))
    return r.T * np.where(np.diagonal(r) < 0, -1.0, 1.0)


def pattern_probability(field: ArrayLike, coupling: ArrayLike) -> np.ndarray:
    """Probabilities of all states of coupled units, p(h) = exp(sum_i f_i h_i + sum_{i<j} J_ij h_i h_j)/Z.

    Parameters
    ----------
    field : array_like (n,), nats
        f_i, n <= 20.
    coupling : array_like (n, n), nats
        J_ij, symmetric with zero diagonal.

    Returns
    -------
    ndarray (2^n,)
        State s has unit i on where bit i of s is 1.

    Raises
    ------
    ValueError
        If there are more than 20 units, a value is beyond 1e100, or ``coupling`` is no such matrix.

    References
    ----------
    Schneidman, Berry, Segev and Bialek, Nature 440 (2006) 1007.
    """
    f = validate.array("field", field, ENERGIES)
    n = f.size
    if n > MAX_UNITS:
        raise ValueError(f"field must have at most {MAX_UNITS} units to be enumerated, got {n}")
    J = validate.array("coupling", coupling, ENERGIES, shape=(n, n))
    if (J != J.T).any() or np.diagonal(J).any():
        raise ValueError("coupling must be symmetric with a zero diagonal")
    energy = np.zeros(1 << n)
    states = np.arange(1 << n)
    for i in range(n):
        on_i = (states >> i) & 1
        gain = np.full(1 << n, f[i])
        for j in range(i):
            gain += J[i, j] * ((states >> j) & 1)
        energy += on_i * gain
    p = np.exp(energy - energy.max())
    return p / p.sum()


def simulate_patterns(probability: ArrayLike, n_samples: int, *, seed: int = 0) -> CorrelatedActivity:
    """Sample binary units from the probabilities of all their states.

    Parameters
    ----------
    probability : array_like (2^n,), >= 0
        Of each state, sum 1; state s has unit i on where bit i of s is 1. n <= 20.
    n_samples : int >= 1
    seed : int >= 0

    Returns
    -------
    CorrelatedActivity

    Raises
    ------
    ValueError
        If the probabilities are not 2, 4, 8, ... or do not sum to 1, or an argument is outside its domain.
    """
    p = validate.array("probability", probability, "[0, 1]")
    n = p.size.bit_length() - 1
    if p.size != 1 << n or not 1 <= n <= MAX_UNITS:
        raise ValueError(f"probability must have 2^n values, n from 1 to {MAX_UNITS}, got {p.size}")
    total = float(p.sum())
    if abs(total - 1.0) > _SUM:
        raise ValueError(f"probability must sum to 1, got {total:.9g}")
    p = p / total
    n_samples = validate.integer("n_samples", n_samples, "[1, inf)")
    validate.room("n_samples", n_samples, n_samples * n)
    rng = np.random.default_rng(validate.integer("seed", seed, "[0, inf)"))
    below = np.cumsum(p)
    # rounding of the sum must not let a state that cannot be follow the last that can
    below[np.flatnonzero(p)[-1] :] = 1.0
    state = np.searchsorted(below, rng.random(n_samples), side="right")
    cells = np.arange(p.size)
    bits = (((cells[:, None] >> np.arange(n)) & 1) == 1).astype(np.float64)
    a = p @ bits
    covariance = (bits * p[:, None]).T @ bits - np.outer(a, a)
    variance = np.maximum(np.diagonal(covariance), 0.0)
    scale = np.sqrt(np.outer(variance, variance))
    rho = np.full((n, n), np.nan)
    np.divide(covariance, scale, out=rho, where=scale > 0)
    samples = ((state[:, None] >> np.arange(n)) & 1) == 1
    return CorrelatedActivity(samples, a, rho, "table", int(seed))

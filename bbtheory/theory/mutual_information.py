"""Mutual information between a small binary code and its noisy linear outputs: quadrature or Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.binary_code import BinaryCode

# Trapezoidal grid in units of the noise. For a mixture of Gaussians the rule converges geometrically: the
# integrand's nearest singularities are zeros of p(y) at height pi/(distance of the means) > 0.
_STEP = 1 / 8
_REACH = 9.0  # beyond, a Gaussian holds 2e-19
_MAX_WORK = 4e7  # exponentials of the grid; some 1 s
_CHUNK = 2_000_000  # exponentials held at once, 16 MB
_RANK = 1e-12  # of the largest singular value, times the larger dimension: below, it is rounding
_SAME = 1e-9  # of the largest output: means closer than this are one


@dataclass(frozen=True, eq=False)
class MutualInformation(Record):
    """Mutual information between a binary code and its noisy outputs.

    Attributes
    ----------
    information : float, nats
        I(h; y).
    error : float, nats
        Quadrature: difference to the same rule with twice the step, far above the true error. Monte Carlo:
        the standard error.
    method : str
        ``"quadrature"`` or ``"monte_carlo"``.
    n_dimensions : int
        Dimensions of y that depend on h: the rank of the weights.
    n_means : int
        Distinct mean outputs.
    n_points : int
        Points of the grid, or samples.
    """

    KIND: ClassVar[str] = "mutual_information"

    information: float
    error: float
    method: str
    n_dimensions: int
    n_means: int
    n_points: int


def mutual_information(
    code: BinaryCode,
    weight: ArrayLike,
    *,
    noise_sd: float,
    n_samples: int = 10_000,
    seed: int = 0,
) -> MutualInformation:
    """Mutual information I(h; y) of y = W h + n, n ~ N(0, sigma^2 1), for a code over 2^n states.

    I = sum_s p_s E_n ln[phi(n)/sum_t p_t phi(n + (W h_s - W h_t)/sigma)]. Outputs are first projected on the
    range of W, states of equal mean output are merged. In one to three dimensions the integral over y is a
    trapezoidal sum where it costs at most 4e7 exponentials; otherwise states and noise are sampled, each
    noise with its negative, which removes the part linear in it, and -ln p_s, whose mean is known, as control
    variate.

    Parameters
    ----------
    code : BinaryCode
    weight : array_like (n_out, n)
        W, column i the outgoing weights of unit i.
    noise_sd : float, in [1e-100, 1e100]
        sigma, in the unit of W h.
    n_samples : int, >= 2
        Samples of the Monte Carlo estimate, which costs 2 n_samples 2^n exponentials.
    seed : int, >= 0

    Returns
    -------
    MutualInformation

    Raises
    ------
    ValueError
        If an argument is outside its domain or the columns of ``weight`` are not the units of ``code``.

    References
    ----------
    Cover and Thomas (2006), section 8; this project's choice of quadrature.
    """
    W = outgoing_weights(weight, code.n_units)
    sigma = validate.real("noise_sd", noise_sd, "[1e-100, 1e100]")
    samples = validate.integer("n_samples", n_samples, "[2, inf)")
    validate.integer("seed", seed, "[0, inf)")
    p, means = _mixture(code, W / sigma)
    d = means.shape[1]
    if d == 0 or p.size == 1:
        return MutualInformation(0.0, 0.0, "quadrature", d, p.size, 0)
    lengths = np.ptp(means, axis=0) + 2.0 * _REACH
    points = float(np.prod(np.ceil(lengths / _STEP) + 1))
    if d <= 3 and points * p.size <= _MAX_WORK:
        value, error, n_points = _quadrature(p, means)
        return MutualInformation(value, error, "quadrature", d, p.size, n_points)
    value, error = _monte_carlo(p, means, samples, np.random.default_rng(seed))
    return MutualInformation(value, error, "monte_carlo", d, p.size, samples)


def outgoing_weights(weight: ArrayLike, n_units: int) -> np.ndarray:
    """Return ``weight`` as a float array (n_out, n_units) or raise ValueError."""
    W = validate.array("weight", weight, ndim=2)
    if W.shape[1] != n_units:
        raise ValueError(f"weight must have one column for each of {n_units} units, got shape {W.shape}")
    return W


def _mixture(code: BinaryCode, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and mean outputs (in units of the noise, coordinates in the range of W)."""
    _, singular, right = np.linalg.svd(W, full_matrices=False)
    rank = int((singular > _RANK * max(W.shape) * singular.max(initial=0.0)).sum())
    columns = (singular[:rank, None] * right[:rank]).T  # (n, rank)
    means = np.zeros((1, rank))
    for column in columns:
        means = np.concatenate([means, means + column])
    likely = code.probability > 0
    p, means = code.probability[likely], means[likely]
    scale = np.abs(means).max(initial=0.0)
    if rank and scale > 0:
        _, first, same = np.unique(
            np.round(means / (_SAME * scale)), axis=0, return_index=True, return_inverse=True
        )
        p, means = np.bincount(same.ravel(), weights=p), means[first]
    return p, means


def _log_ratios(y: np.ndarray, p: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return -|y - mean_s|^2/2, shape (len(y), S), and the log of its average over p."""
    exponent = np.zeros((len(y), p.size))
    for axis in range(y.shape[1]):
        exponent -= 0.5 * (y[:, axis, None] - means[:, axis]) ** 2
    top = exponent.max(axis=1)
    average = np.exp(exponent - top[:, None]) @ p
    return exponent, top + np.log(average)


def _quadrature(p: np.ndarray, means: np.ndarray) -> tuple[float, float, int]:
    d = means.shape[1]
    axes = [
        np.arange(lo - _REACH, hi + _REACH + _STEP, _STEP)
        for lo, hi in zip(means.min(axis=0), means.max(axis=0), strict=True)
    ]
    shape = tuple(len(axis) for axis in axes)
    total = int(np.prod(shape))
    fine = coarse = 0.0
    rows = max(1, _CHUNK // p.size)
    for start in range(0, total, rows):
        index = np.unravel_index(np.arange(start, min(total, start + rows)), shape)
        y = np.stack([axis[i] for axis, i in zip(axes, index, strict=True)], axis=1)
        exponent, log_average = _log_ratios(y, p, means)
        integrand = (np.exp(exponent) * (exponent - log_average[:, None])) @ p
        fine += float(integrand.sum())
        coarse += float(integrand[np.all([i % 2 == 0 for i in index], axis=0)].sum())
    cell = (_STEP / np.sqrt(2.0 * np.pi)) ** d
    value = fine * cell
    return value, abs(coarse * cell * 2**d - value), total


def _monte_carlo(
    p: np.ndarray, means: np.ndarray, n_samples: int, rng: np.random.Generator
) -> tuple[float, float]:
    state = rng.choice(p.size, size=n_samples, p=p / p.sum())
    noise = rng.standard_normal((n_samples, means.shape[1]))
    value = np.zeros(n_samples)
    rows = max(1, _CHUNK // p.size)
    for start in range(0, n_samples, rows):
        part = slice(start, start + rows)
        for sign in (1.0, -1.0):
            y = means[state[part]] + sign * noise[part]
            own = -0.5 * (noise[part] ** 2).sum(axis=1)
            value[part] += 0.5 * (own - _log_ratios(y, p, means)[1])
    surprise = -np.log(p)
    known = surprise[state] - float(p @ surprise)  # of mean zero; at low noise the value itself
    spread = float(known @ known)
    if spread > 0:
        value -= (value - value.mean()) @ known / spread * known
    return float(value.mean()), float(value.std(ddof=1) / np.sqrt(n_samples))

"""The pairwise maximum-entropy code: by enumeration from fields and couplings, and back from its moments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError
from bbtheory.theory.binary_code import MAX_UNITS, BinaryCode, at_most
from bbtheory.theory.entropy import inactivity_log_odds
from bbtheory.theory.pair_statistics import pair_statistics, symmetric

MAX_MATCHED = 12  # the Newton matrix of 78 moments over 4096 states: some 10 ms a step

_MATCHED = 1e-12  # largest relative error of a matched moment; rounding leaves some 1e-14
_SINGULAR = 1e-9  # smallest eigenvalue of the moments' correlations: below, a state is as good as impossible
_MAX_STEPS = 100


@dataclass(frozen=True, eq=False)
class PairwiseCode(BinaryCode):
    """The pairwise maximum-entropy code p(h) = exp(sum_i f_i h_i + sum_{i<j} J_ij h_i h_j)/Z.

    Attributes
    ----------
    field : ndarray (n,), nats
        f_i; -beta k_i under a traffic budget.
    coupling : ndarray (n, n), nats
        J_ij, the multiplier of the co-activation of i and j; zero diagonal.
    log_partition : float
        ln Z.
    """

    KIND: ClassVar[str] = "pairwise_code"
    DERIVED: ClassVar[tuple[str, ...]] = ("n_units", "entropy")

    field: np.ndarray
    coupling: np.ndarray
    log_partition: float


def pairwise_code(field: ArrayLike, coupling: ArrayLike) -> PairwiseCode:
    """Enumerate the pairwise maximum-entropy code p(h) = exp(sum_i f_i h_i + sum_{i<j} J_ij h_i h_j)/Z.

    It has the largest entropy of all codes with its on-rates and co-activations; with f_i = -beta k_i it
    solves max H(h) - beta sum_i a_i k_i at its co-activations. Energies are built by doubling: the states in
    which unit m is on are those in which it is off, plus f_m + sum_{j<m} J_mj h_j, itself built by doubling,
    so n = 20 costs some 3 2^n additions and 2^n exponentials.

    Parameters
    ----------
    field : array_like (n,), nats
        f_i, finite; n <= 20.
    coupling : array_like (n, n), nats
        J_ij, symmetric with a zero diagonal.

    Returns
    -------
    PairwiseCode

    Raises
    ------
    ValueError
        If ``coupling`` does not match ``field``, is not symmetric or has a diagonal, a number is not finite,
        or there are more than 20 units.

    References
    ----------
    Jaynes (1957); Schneidman, Berry, Segev and Bialek (2006).
    """
    f = validate.array("field", field)
    at_most("field", f.size, MAX_UNITS)
    J = coupling_matrix(coupling, f.size)
    return _enumerate(f, J)


def _enumerate(f: np.ndarray, J: np.ndarray) -> PairwiseCode:
    n = f.size
    energy = np.zeros(2**n)
    gain = np.empty(2 ** (n - 1))
    for m in range(n):
        gain[0] = f[m]
        for j in range(m):
            np.add(gain[: 2**j], J[m, j], out=gain[2**j : 2 ** (j + 1)])
        np.add(energy[: 2**m], gain[: 2**m], out=energy[2**m : 2 ** (m + 1)])
    top = float(energy.max())
    energy -= top
    p = np.exp(energy, out=energy)
    z = float(p.sum())
    p /= z
    return PairwiseCode(probability=p, field=f, coupling=J, log_partition=top + float(np.log(z)))


def match_code(
    on_rate: ArrayLike,
    *,
    coactivation: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    correlation: ArrayLike | None = None,
) -> PairwiseCode:
    """Find the pairwise maximum-entropy code that has given on-rates and pair statistics.

    Newton's method on the concave dual sum_i f_i a_i + sum_{i<j} J_ij q_ij - ln Z(f, J), whose gradient is
    the error of the moments and whose Hessian is minus their covariance matrix.

    Parameters
    ----------
    on_rate : array_like (n,)
        a_i in (0, 1), n <= 12.
    coactivation, covariance, correlation : array_like (n, n)
        Exactly one of them; see `pair_statistics`.

    Returns
    -------
    PairwiseCode

    Raises
    ------
    ValueError
        If no binary code has these statistics (see `pair_statistics`), or there are more than 12 units.
    ConvergenceError
        If the moments lie on or next to the boundary of the possible: some states then have probability 0
        and the couplings are infinite. ``record`` is the last code.
    """
    statistics = pair_statistics(
        on_rate, coactivation=coactivation, covariance=covariance, correlation=correlation
    )
    a, q = statistics.on_rate, statistics.coactivation
    n = a.size
    at_most("on_rate", n, MAX_MATCHED)
    features = state_features(n)
    pairs = np.triu_indices(n, 1)
    target = np.concatenate([a, q[pairs]])
    x = np.concatenate([-inactivity_log_odds(a), np.zeros(pairs[0].size)])
    # a co-activation of 0 is not met relatively; chi is the scale on which pairs vary
    scale = np.concatenate([np.minimum(a, 1 - a), np.maximum(q, 1e-3 * np.outer(a, a))[pairs]])
    p, dual = _distribution(features, x, target)
    error = np.inf
    interior = False
    for _ in range(_MAX_STEPS):
        moment = p @ features
        gap = target - moment
        last, error = error, float(np.abs(gap / scale).max())
        centred = features - moment
        fisher = (centred * p[:, None]).T @ centred
        unit = np.sqrt(np.diagonal(fisher))
        fisher /= np.outer(unit, unit)
        interior = bool(np.linalg.eigvalsh(fisher)[0] > _SINGULAR)
        # stop within tolerance once no longer improving, or on the way to infinite couplings
        if not interior or (error <= _MATCHED and error >= last / 2):
            break
        step = np.linalg.solve(fisher, gap / unit) / unit
        t = 1.0
        trial, value = _distribution(features, x + step, target)
        # near the optimum the dual no longer resolves a step that still improves the moments
        while value < dual - 1e-12 * max(1.0, abs(dual)) and t > 1e-10:
            t /= 2
            trial, value = _distribution(features, x + t * step, target)
        x, p, dual = x + t * step, trial, value
    code = _enumerate(x[:n].copy(), square(x[n:], n))
    if error > _MATCHED or not interior:
        raise ConvergenceError(
            f"the couplings grow without bound (moments met to {error:.3g} relative): these statistics are "
            "on or next to the boundary of what a binary code can have",
            code,
        )
    return code


@cache
def state_features(n: int) -> np.ndarray:
    """Return h_i and h_i h_j (i < j) of every state, shape (2^n, n (n+1)/2), read-only."""
    states = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
    rows, columns = np.triu_indices(n, 1)
    features = np.hstack([states, states[:, rows] * states[:, columns]])
    features.flags.writeable = False
    return features


def square(pairs: np.ndarray, n: int) -> np.ndarray:
    """Return the values of all pairs i < j as a symmetric (n, n) matrix with zero diagonal."""
    matrix = np.zeros((n, n))
    matrix[np.triu_indices(n, 1)] = pairs
    return matrix + matrix.T


def _distribution(features: np.ndarray, x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    energy = features @ x
    top = energy.max()
    p = np.exp(energy - top)
    z = p.sum()
    return p / z, float(x @ target - top - np.log(z))


def coupling_matrix(coupling: ArrayLike, n: int) -> np.ndarray:
    """Return ``coupling`` as a symmetric (n, n) array with zero diagonal or raise ValueError."""
    J = symmetric("coupling", coupling, n)
    if np.diagonal(J).any():
        i = int(np.flatnonzero(np.diagonal(J))[0])
        raise ValueError(f"coupling must have a zero diagonal, got {J[i, i]:.9g} at {i}")
    return J

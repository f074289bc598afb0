"""Pair statistics of binary units: co-activations, covariances, correlations, and which of them can exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record

HOLDS = ("coactivation", "covariance", "correlation")

MAX_FULL_CHECK = 10  # units: a linear program over 2^10 states takes some 0.1 s
_SYMMETRY = 1e-10  # relative: what rounding leaves between M_ij and M_ji
_DIAGONAL = 1e-8  # a diagonal restates the on-rates; more than this is another normalisation
_BOUND = 1e-12  # rounding of q_ij = C_ij + a_i a_j at a bound
_EIGENVALUE = 1e-10  # per unit: rounding of the smallest eigenvalue of a correlation matrix
_SLACK = 1e-8  # above the tolerance of 1e-10 the linear program is solved to


@dataclass(frozen=True, eq=False)
class PairStatistics(Record):
    """On-rates and pair statistics that passed `pair_statistics`, in all three forms.

    Attributes
    ----------
    on_rate : ndarray (n,), in (0, 1)
    coactivation : ndarray (n, n)
        q_ij = E[h_i h_j]; q_ii = a_i.
    covariance : ndarray (n, n)
        C_ij = q_ij - a_i a_j; C_ii = chi_i = a_i (1 - a_i).
    correlation : ndarray (n, n)
        rho_ij = C_ij / sqrt(chi_i chi_j).
    checked : str
        ``"full"``: a code with these statistics exists; ``"pairs"``: every pair can exist by itself and the
        covariance is positive semi-definite, which does not yet imply a code of all units.
    """

    KIND: ClassVar[str] = "pair_statistics"
    UNITS: ClassVar[Mapping[str, str]] = {"on_rate": "on_rate"}

    on_rate: np.ndarray
    coactivation: np.ndarray
    covariance: np.ndarray
    correlation: np.ndarray
    checked: str


def pair_statistics(
    on_rate: ArrayLike,
    *,
    coactivation: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    correlation: ArrayLike | None = None,
) -> PairStatistics:
    """Check that binary units can have these pair statistics, and return all three forms of them.

    Each pair must obey the Frechet bounds max(0, a_i + a_j - 1) <= q_ij <= min(a_i, a_j). All pairs together
    must be moments of one distribution over the 2^n states: decided by a linear program for n <= 10, beyond
    that only the necessary condition of a positive semi-definite covariance is checked.

    Parameters
    ----------
    on_rate : array_like (n,)
        a_i in (0, 1); a unit that never changes has no correlation.
    coactivation, covariance, correlation : array_like (n, n)
        Exactly one of them, symmetric, with its own diagonal: a_i, a_i (1 - a_i), 1.

    Returns
    -------
    PairStatistics

    Raises
    ------
    ValueError
        If none or several matrices are given; a matrix is not symmetric, has another diagonal or a value
        that is no number; or no binary code has these statistics. The message names the pair: the one
        furthest outside its bounds or, where every pair can exist by itself, the one to be moved most.

    References
    ----------
    Frechet (1951) for the bounds of one pair; the linear program is the correlation polytope of Pitowsky
    (1991).
    """
    a = validate.array("on_rate", on_rate, "(0, 1)")
    n = a.size
    given = {"coactivation": coactivation, "covariance": covariance, "correlation": correlation}
    name = validate.exactly_one(**given)
    matrix = symmetric(name, given[name], n)
    chi = a * (1.0 - a)
    sd = np.sqrt(chi)
    independent = np.outer(a, a)
    scale = np.outer(sd, sd)
    diagonal = {"coactivation": a, "covariance": chi, "correlation": np.ones(n)}[name]
    off = np.abs(np.diagonal(matrix) - diagonal)
    if off.max() > _DIAGONAL:
        i = int(off.argmax())
        expected = {"coactivation": "its on-rate", "covariance": "a (1 - a)", "correlation": "1"}[name]
        raise ValueError(
            f"{name} must have {expected} = {diagonal[i]:.9g} on its diagonal, got {matrix[i, i]:.9g} at {i}"
        )
    if name == "coactivation":
        c = matrix - independent
    else:
        c = matrix * scale if name == "correlation" else matrix
    statistics = statistics_from_covariance(a, c)
    q = statistics.coactivation
    forms = {
        "coactivation": (0.0, 1.0),
        "covariance": (independent, 1.0),
        "correlation": (independent, scale),
    }
    shift, unit = (np.broadcast_to(x, (n, n)) for x in forms[name])
    _check_pairs(name, a, q, shift, unit)
    if 2 < n <= MAX_FULL_CHECK:
        _check_all(name, a, q, unit)
    elif n > 2:
        smallest = float(np.linalg.eigvalsh(statistics.correlation)[0])
        if smallest < -_EIGENVALUE * n:
            raise ValueError(
                f"{name} must be positive semi-definite, got {smallest:.6g} as the smallest eigenvalue of "
                "the correlations: each pair can exist, but no code has them all"
            )
    return statistics


def statistics_from_covariance(a: np.ndarray, covariance: np.ndarray) -> PairStatistics:
    """Return all forms of covariances known to be possible; the diagonal is not read."""
    chi = a * (1.0 - a)
    sd = np.sqrt(chi)
    c = np.array(covariance, dtype=np.float64)
    q = c + np.outer(a, a)
    rho = c / np.outer(sd, sd)
    for matrix, diagonal in ((c, chi), (q, a), (rho, 1.0)):
        np.fill_diagonal(matrix, diagonal)
    checked = "full" if a.size <= MAX_FULL_CHECK else "pairs"
    return PairStatistics(on_rate=a, coactivation=q, covariance=c, correlation=rho, checked=checked)


def symmetric(name: str, value: ArrayLike | None, n: int) -> np.ndarray:
    """Return ``value`` as an exactly symmetric (n, n) array of finite numbers or raise ValueError."""
    matrix = validate.array(name, value, shape=(n, n))
    gap = np.abs(matrix - matrix.T)
    if gap.max() > _SYMMETRY * max(1.0, float(np.abs(matrix).max())):
        i, j = (int(x) for x in np.unravel_index(gap.argmax(), gap.shape))
        raise ValueError(
            f"{name} must be symmetric, got {matrix[i, j]:.9g} at ({i}, {j}) and "
            f"{matrix[j, i]:.9g} at ({j}, {i})"
        )
    return (matrix + matrix.T) / 2.0


def _check_pairs(name: str, a: np.ndarray, q: np.ndarray, shift: np.ndarray, unit: np.ndarray) -> None:
    """Frechet bounds of every pair; ``shift`` and ``unit`` turn q back into the quantity called ``name``."""
    low = np.maximum(0.0, a[:, None] + a - 1.0)
    high = np.minimum(a[:, None], a)
    outside = np.maximum(low - q, q - high)
    np.fill_diagonal(outside, 0.0)
    if outside.max() > _BOUND:
        i, j = (int(x) for x in np.unravel_index(outside.argmax(), outside.shape))
        lo, hi, got = ((float(x[i, j]) - shift[i, j]) / unit[i, j] for x in (low, high, q))
        raise ValueError(
            f"{name} must be one that binary units can have: units {i} and {j} with on-rates {a[i]:.6g} and "
            f"{a[j]:.6g} can only have {lo:.6g} to {hi:.6g}, got {got:.6g}"
        )


def _check_all(name: str, a: np.ndarray, q: np.ndarray, unit: np.ndarray) -> None:
    """Linear program over the 2^n states: the least total change of co-activations that a code can have."""
    rows, columns = np.triu_indices(a.size, 1)
    m = rows.size
    pairs = np.hstack([np.eye(m), -np.eye(m)])
    x = _state_program(a, q, pairs, np.ones(2 * m))
    if x is not None and x.sum() > _SLACK:
        move = x[m:] - x[:m]  # from the given q to a code's
        worst = int(np.abs(move).argmax())
        i, j = int(rows[worst]), int(columns[worst])
        raise ValueError(
            f"{name} must be one that a binary code can have: each pair can exist, but not all at once; "
            f"moving units {i} and {j} by {move[worst] / unit[i, j]:+.6g} is the largest of the least changes"
        )


def highest_scale(a: np.ndarray, direction: np.ndarray) -> float:
    """Return the largest r at which units can have the covariances r direction_ij (some of them not 0).

    By a linear program over the states for n <= 10; beyond, from the bounds of single pairs and a positive
    semi-definite covariance, so that it may be too large.
    """
    rows, columns = np.triu_indices(a.size, 1)
    if a.size <= MAX_FULL_CHECK:
        independent = np.outer(a, a)
        # sum_s p_s h_i h_j - r direction_ij = a_i a_j
        x = _state_program(a, independent, -direction[rows, columns][:, None], np.array([-1.0]))
        if x is not None:
            return float(x[0])
    c = direction[rows, columns]
    low, high = np.maximum(0.0, a[rows] + a[columns] - 1.0), np.minimum(a[rows], a[columns])
    room = np.where(c > 0, high - a[rows] * a[columns], a[rows] * a[columns] - low)
    pairs = float((room[c != 0] / np.abs(c[c != 0])).min())
    sd = np.sqrt(a * (1.0 - a))
    return min(pairs, -1.0 / float(np.linalg.eigvalsh(direction / np.outer(sd, sd))[0]))


def _state_program(a: np.ndarray, q: np.ndarray, extra: np.ndarray, cost: np.ndarray) -> np.ndarray | None:
    """Minimise cost . x over x >= 0 and codes with on-rates a and co-activations q - extra x, or None."""
    from scipy.optimize import linprog

    n = a.size
    rows, columns = np.triu_indices(n, 1)
    states = (np.arange(2**n) >> np.arange(n)[:, None]) & 1
    moments = np.vstack([np.ones(2**n), states, states[rows] * states[columns]])
    solution = linprog(
        np.concatenate([np.zeros(2**n), cost]),
        A_eq=np.hstack([moments, np.vstack([np.zeros((1 + n, cost.size)), extra])]),
        b_eq=np.concatenate([[1.0], a, q[rows, columns]]),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    return solution.x[2**n :] if solution.status == 0 else None

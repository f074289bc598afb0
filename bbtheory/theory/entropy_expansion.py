"""The entropy of correlated units: its expansion in the correlations, and exact pairs plus Gaussian loops.

Both are of the largest entropy that on-rates and pair correlations allow, that of the pairwise
maximum-entropy code. With chi_i = a_i (1-a_i), z_i = (h_i - a_i)/sqrt(chi_i), g_i = E z_i^3 =
(1-2a_i)/sqrt(chi_i), and rho the matrix of correlations with a zero diagonal,

S = sum_i h(a_i) + S_2 + S_3 + S_4 + S_5 + O(rho^6),
S_m = (-1)^(m+1)/(m (m-1)) sum_{i<j} E z_i^m E z_j^m rho_ij^m          each pair by itself
      + (-1)^(m+1)/(2m) [tr rho^m less its share of single pairs]       the loops of Gaussian variables
      - [m = 5] 1/2 sum_{i<j} g_i g_j rho_ij sum_k rho_ik^2 rho_jk^2    the first loops that feel the
      skewness.

It is the least of KL(p | independent) = E[f^2/2 - f^3/6 + f^4/12 - f^5/20 + ...] for p = prod_i p_i (1 + f),
where f holds sum_{i<j} rho_ij z_i z_j and free third and higher moments, of order rho^2 and up. Pairs and
loops both sum to closed forms: S = sum_i h(a_i) + sum_{i<j} [S_ij - h(a_i) - h(a_j) - 1/2 ln(1 - rho_ij^2)] +
1/2 ln det R + O(rho^5), with S_ij the entropy of units i and j and R = 1 + rho.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bbtheory.records import Record
from bbtheory.theory.entropy import coding_entropy
from bbtheory.theory.pair_statistics import pair_statistics

_RULED_OUT = 1e-12  # of the probability that a joint state has if units are independent


class Order(NamedTuple):
    """One order of the entropy with its derivatives."""

    value: float
    by_skewness: np.ndarray  # dS/dg_i at fixed rho, (n,)
    by_correlation: np.ndarray  # dS/drho_ij at fixed g, (n, n), zero diagonal


@dataclass(frozen=True, eq=False)
class EntropyExpansion(Record):
    """Largest entropy of binary units of given on-rates and pair correlations.

    Attributes
    ----------
    on_rate : ndarray (n,)
    orders : ndarray (6,), nats
        Terms of order rho^0 to rho^5; order 0 is the coding entropy of independent units, order 1 is zero.
    pairs : float, nats
        Exact entropy of every pair minus that of independent units, summed over pairs.
    loops : float, nats
        1/2 ln det R - 1/2 sum_{i<j} ln(1 - rho_ij^2); -inf where R is singular.
    skewed_loops : float, nats
        The part of order 5 that neither holds: the first error of exact pairs plus Gaussian loops.
    expansion_ratio : float
        The series needs it to be well below 1; the largest of the values that `expansion_ratio` describes.
    """

    KIND: ClassVar[str] = "entropy_expansion"
    UNITS: ClassVar[Mapping[str, str]] = {"on_rate": "on_rate"}
    DERIVED: ClassVar[tuple[str, ...]] = (
        "series",
        "series_error_estimate",
        "resummed",
        "resummed_error_estimate",
    )

    on_rate: np.ndarray
    orders: np.ndarray
    pairs: float
    loops: float
    skewed_loops: float
    expansion_ratio: float

    @property
    def series(self) -> float:
        """Entropy through order rho^4, nats; its error is of order rho^5."""
        return float(self.orders[:5].sum())

    @property
    def series_error_estimate(self) -> float:
        """Magnitude of the first order that `series` leaves out, nats."""
        return float(abs(self.orders[5]))

    @property
    def resummed(self) -> float:
        """Entropy with exact pairs and Gaussian loops, nats; error of order rho^5, none for two units."""
        return float(self.orders[0] + self.pairs + self.loops)

    @property
    def resummed_error_estimate(self) -> float:
        """Magnitude of the first order that `resummed` leaves out, nats."""
        return abs(self.skewed_loops)


def entropy_expansion(
    on_rate: ArrayLike,
    *,
    coactivation: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    correlation: ArrayLike | None = None,
) -> EntropyExpansion:
    """Entropy of correlated units, S = sum_i h(a_i) - 1/2 sum_{i<j} rho_ij^2 + S_3 + S_4 + S_5 + O(rho^6).

    Given order by order and with pairs and loops summed to all orders (module docstring); costs a few n x n
    matrix products and one determinant.

    Parameters
    ----------
    on_rate : array_like (n,)
        a_i in (0, 1).
    coactivation, covariance, correlation : array_like (n, n)
        Exactly one of them; see `pair_statistics`.

    Returns
    -------
    EntropyExpansion

    Raises
    ------
    ValueError
        If no binary code has these statistics; see `pair_statistics`.

    References
    ----------
    This project's derivation (module docstring; ``derive_pair_entropy``, and through rho^3
    ``derive_triple_entropy``). Exact pairs plus Gaussian loops give the couplings of Sessak
    and Monasson (2009), whose expansion is the inverse of this one.
    """
    s = pair_statistics(on_rate, coactivation=coactivation, covariance=covariance, correlation=correlation)
    g = skewness(s.on_rate)
    rho = off_diagonal(s.correlation)
    c = off_diagonal(s.covariance)
    orders = entropy_orders(g, rho)
    return EntropyExpansion(
        on_rate=s.on_rate,
        orders=np.array([coding_entropy(s.on_rate), 0.0, *(o.value for o in orders)]),
        pairs=exact_pairs(s.on_rate, c).entropy,
        loops=gaussian_loops(rho).value,
        skewed_loops=skewed_loops(g, rho).value,
        expansion_ratio=float(expansion_ratio(s.on_rate, c).max()),
    )


def skewness(a: np.ndarray) -> np.ndarray:
    """Third standardised moment of a binary unit, g = (1-2a)/sqrt(a(1-a))."""
    return (1.0 - 2.0 * a) / np.sqrt(a * (1.0 - a))


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """Return a copy with a zero diagonal."""
    out = np.array(matrix, dtype=np.float64)
    np.fill_diagonal(out, 0.0)
    return out


def expansion_ratio(a: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return, per unit, what must be small for the series: the larger of two numbers, shape (n,).

    max_j |C_ij| over the least likely joint state of i and j if independent: the logarithms of a pair's
    entropy are singular where a joint state gets probability 0, so the series of a pair converges exactly
    below 1. For two rare units this is |rho_ij|/sqrt(a_i a_j).
    sum_j |rho_ij|: the series of ln det R converges where the largest of these is below 1.
    """
    rare = np.minimum(a, 1.0 - a)
    sd = np.sqrt(a * (1.0 - a))
    size = np.abs(covariance)
    return np.maximum(np.max(size / np.outer(rare, rare), axis=1), (size / np.outer(sd, sd)).sum(axis=1))


def entropy_orders(g: np.ndarray, rho: np.ndarray) -> tuple[Order, Order, Order, Order]:
    """Return S_2 to S_5 with their derivatives; ``rho`` has a zero diagonal."""
    moments = (np.ones_like(g), g, 1.0 + g**2, g**3 + 2.0 * g)  # E z^2 to E z^5
    slopes = (np.zeros_like(g), np.ones_like(g), 2.0 * g, 3.0 * g**2 + 2.0)  # their derivatives by g
    orders = []
    walks = rho  # rho^(m-1) as a matrix power, elementwise below
    elementwise = rho
    for m, moment, slope in zip(range(2, 6), moments, slopes, strict=True):
        sign = (-1.0) ** (m + 1)
        both = np.outer(moment, moment)
        power = elementwise * rho
        value = sign / (m * (m - 1)) * (both * power).sum() / 2.0
        by_skewness = sign / (m * (m - 1)) * slope * (power @ moment)
        by_correlation = sign / (m - 1) * both * elementwise
        if m > 2:  # order 2 is all pairs
            share = 1.0 if m == 4 else 0.0  # tr rho^m has pairs in it where m is even
            value += sign / (2 * m) * ((walks * rho).sum() - share * power.sum())
            by_correlation = by_correlation + sign * (walks - share * elementwise)
        orders.append(Order(float(value), by_skewness, off_diagonal(by_correlation)))
        walks, elementwise = walks @ rho, power
    last, skewed = orders[3], skewed_loops(g, rho)
    orders[3] = Order(*(x + y for x, y in zip(last, skewed, strict=True)))
    return orders[0], orders[1], orders[2], orders[3]


def skewed_loops(g: np.ndarray, rho: np.ndarray) -> Order:
    """Return -1/2 sum_{i<j} g_i g_j rho_ij sum_k rho_ik^2 rho_jk^2 with its derivatives."""
    square = rho**2
    common = square @ square
    weight = np.outer(g, g) * rho
    product = weight @ square
    return Order(
        float(-(weight * common).sum() / 4.0),
        -0.5 * (rho * common) @ g,
        off_diagonal(-0.5 * np.outer(g, g) * common - rho * (product + product.T)),
    )


def gaussian_loops(rho: np.ndarray) -> Order:
    """Return 1/2 ln det R - 1/2 sum_{i<j} ln(1 - rho_ij^2) and its derivatives; infinite if R is singular."""
    n = rho.shape[0]
    R = rho + np.eye(n)
    try:
        factor = np.linalg.cholesky(R)
    except np.linalg.LinAlgError:
        return Order(-np.inf, np.zeros(n), np.full((n, n), np.nan))
    value = np.log(np.diagonal(factor)).sum() - 0.25 * np.log1p(-(rho**2)).sum()
    slope = np.linalg.inv(R) + rho / (1.0 - rho**2)
    return Order(float(value), np.zeros(n), off_diagonal(slope))


class ExactPairs(NamedTuple):
    """What every pair adds if it were alone, exactly; matrices have a zero diagonal."""

    entropy: float  # sum_{i<j} of H(h_i, h_j) - h(a_i) - h(a_j)
    coupling: np.ndarray  # J_ij = ln(p11 p00/(p10 p01))
    field: np.ndarray  # ln(p00/p10) - L(a_i): how far j moves the field of i from that of a lone unit


def exact_pairs(a: np.ndarray, covariance: np.ndarray) -> ExactPairs:
    """Return entropy, couplings and field shifts of all pairs; infinite where a joint state is ruled out."""
    off = 1.0 - a
    n = a.size
    both = _log1p(covariance / np.outer(a, a))
    neither = _log1p(covariance / np.outer(off, off))
    first = _log1p(-covariance / np.outer(a, off))  # i on, j off
    second = first.T
    probability = [np.outer(a, a) + covariance, np.outer(off, off) + covariance]
    probability += [np.outer(a, off) - covariance, np.outer(off, a) - covariance]
    information = np.zeros((n, n))
    for p, log in zip(probability, (both, neither, first, second), strict=True):
        information += np.maximum(p, 0.0) * np.where(np.isinf(log), 0.0, log)
    # a ruled-out state makes some of these infinite, two of opposite sign undefined
    with np.errstate(invalid="ignore"):
        coupling = off_diagonal(both + neither - first - second)
        field = off_diagonal(neither - first)
    return ExactPairs(-float(information.sum()) / 2.0, coupling, field)


def _log1p(ratio: np.ndarray) -> np.ndarray:
    """ln(1 + ratio), -inf for a joint state whose probability is 0 up to rounding."""
    with np.errstate(divide="ignore"):
        return np.log1p(np.where(ratio < -1.0 + _RULED_OUT, -1.0, ratio))

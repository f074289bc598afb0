"""The selectivity-audience balance of correlated units: L(a_i) = beta k_i + shift_i.

Units maximise their joint entropy under a traffic budget, max S - beta sum_i a_i k_i, where S is the largest
entropy that on-rates and pair statistics allow. What is held fixed while on-rates adjust decides the shift:

co-activations q_ij   shift_i = -sum_j rho_ij a_j / sqrt(chi_i chi_j) + O(rho^2)
covariances C_ij      shift_i = -(1-2a_i)/(2 chi_i) sum_j rho_ij^2 + O(rho^3)
correlations rho_ij   shift_i = sum_j g_j rho_ij^3 / (12 chi_i^(3/2)) + O(rho^4)

with chi_i = a_i (1-a_i), g_i = (1-2a_i)/sqrt(chi_i). Only the first problem is known to be concave: with
covariances or correlations held these are conditions of stationarity, and a solution need not be the maximum.
No exception is known with covariances; with correlations there are some among very rare, strongly correlated
units (`entropy_curvature`: on-rates of 1e-4 with rho = 0.58).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.entropy import inactivity_log_odds
from bbtheory.theory.entropy_expansion import (
    Order,
    entropy_orders,
    exact_pairs,
    expansion_ratio,
    gaussian_loops,
    off_diagonal,
    skewed_loops,
    skewness,
)
from bbtheory.theory.pair_statistics import HOLDS, PairStatistics, pair_statistics
from bbtheory.theory.pairwise import match_code

METHODS = ("resummed", "series", "exact")
LEADING_ORDER: Mapping[str, int] = {"coactivation": 1, "covariance": 2, "correlation": 3}
# S through order 5 gives the shift through order 5, or 4 where its derivatives by rho enter an order lower
KNOWN_ORDER: Mapping[str, int] = {"coactivation": 4, "covariance": 5, "correlation": 5}

# Over random codes of 2 to 6 units with on-rates from 0.005 to 0.45 (experiments/correlation_order.py): up to
# this ratio the error of a series exceeds 1.3 times its estimate in less than 1 % of units; and where its
# estimate is at most this share of the shift, a resummed shift is wrong by more than 10 % in less than 1 %.
_TRUSTED_RATIO = 0.5
TRUSTED_ERROR = 0.25


@dataclass(frozen=True, eq=False)
class BalanceShift(Record):
    """How far correlation moves each unit off the balance line, shift_i = L(a_i) - beta k_i.

    Attributes
    ----------
    on_rate : ndarray (n,)
    shift : ndarray (n,), nats
        The corrected balance is L(a_i) = beta k_i + shift_i.
    error_estimate : ndarray (n,), nats
        Series: sum of the magnitudes of the known orders left out. Resummed: magnitude of the first loops
        left out. Exact: 0.
    expansion_ratio : ndarray (n,)
        What must be small for the series: the larger of max_j |C_ij|/(min(a_i, 1-a_i) min(a_j, 1-a_j)),
        beyond 1 of which the series of a pair diverges, and sum_j |rho_ij|.
    valid : ndarray of bool (n,)
        Series: the expansion ratio is at most 1/2, so that the error estimate can be trusted. Resummed: the
        error estimate is at most 1/4 of the shift. Exact: true.
    hold : str
        What is held fixed: ``"coactivation"``, ``"covariance"`` or ``"correlation"``.
    method : str
    order : int
        The shift is complete through this order of rho; 0 if exact.
    """

    KIND: ClassVar[str] = "balance_shift"
    UNITS: ClassVar[Mapping[str, str]] = {
        "on_rate": "on_rate",
        "shift": "shift",
        "error_estimate": "error_estimate",
        "expansion_ratio": "expansion_ratio",
        "valid": "valid",
        "corrected_log_odds": "corrected_log_odds",
    }

    on_rate: np.ndarray
    shift: np.ndarray
    error_estimate: np.ndarray
    expansion_ratio: np.ndarray
    valid: np.ndarray
    hold: str
    method: str
    order: int

    @property
    def corrected_log_odds(self) -> np.ndarray:
        """L(a_i) - shift_i, nats: proportional to fan-out, with slope beta, on the corrected line."""
        return inactivity_log_odds(self.on_rate) - self.shift


def balance_shift(
    on_rate: ArrayLike,
    *,
    hold: str,
    coactivation: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    correlation: ArrayLike | None = None,
    method: str = "resummed",
    order: int | None = None,
) -> BalanceShift:
    """Shift of the balance line by correlation, L(a_i) = beta k_i + shift_i, at given on-rates.

    shift_i = -d(S - sum_j h(a_j))/da_i at fixed ``hold``: neither fan-outs nor beta enter, so the line is
    corrected before it is fitted.

    Parameters
    ----------
    on_rate : array_like (n,)
        a_i in (0, 1).
    hold : {"coactivation", "covariance", "correlation"}
        What stays fixed while on-rates adjust to the budget. With co-activations held, the entropy is concave
        and the balance marks its maximum; with covariances or correlations it need not be concave, and the
        balance is a condition of stationarity only.
    coactivation, covariance, correlation : array_like (n, n)
        The pair statistics in any one form; see `pair_statistics`.
    method : {"resummed", "series", "exact"}
        Resummed: every pair exactly and the loops of Gaussian variables, right for rare units too; error of
        order rho^5 (co-activations held: rho^4), none for two units. Series: powers of rho through ``order``.
        Exact: from the pairwise maximum-entropy code by enumeration, n <= 12.
    order : int, optional
        Highest order of a series: 1 to 3 with co-activations held, else 1 to 4. Default: the leading
        correction, of order 1, 2, 3 in the order of ``hold`` above, whose error is of order 2, 3, 4.

    Returns
    -------
    BalanceShift

    Raises
    ------
    ValueError
        If no binary code has these statistics (see `pair_statistics`), a name is unknown, the order is not
        known, ``order`` is given without a series, or (resummed) the statistics are on the boundary of the
        possible, where the shift is infinite.
    ConvergenceError
        If ``method="exact"`` does not find the code; see `match_code`.

    References
    ----------
    This project's derivation, ``derive_correlation_corrections`` (leading orders);
    `bbtheory.theory.entropy_expansion` states the entropy it differentiates.
    """
    statistics = pair_statistics(
        on_rate, coactivation=coactivation, covariance=covariance, correlation=correlation
    )
    order = checked_order(hold, method, order)
    return shift_of(statistics, hold, method, order)


def checked_order(hold: str, method: str, order: int | None) -> int:
    """Return the order through which the shift is complete; ValueError for an unknown name or order."""
    validate.choice("hold", hold, HOLDS)
    validate.choice("method", method, METHODS)
    if method == "series":
        highest = KNOWN_ORDER[hold] - 1  # the next one is the error estimate
        return validate.integer("order", LEADING_ORDER[hold] if order is None else order, f"[1, {highest}]")
    if order is not None:
        raise ValueError(f"order must be None unless method is series, got {order!r} with method {method!r}")
    # what is left out, S_5, enters with co-activations held an order lower
    return 0 if method == "exact" else KNOWN_ORDER[hold] - 1


def shift_of(s: PairStatistics, hold: str, method: str, order: int) -> BalanceShift:
    """Return what `balance_shift` does for arguments that passed its checks."""
    a = s.on_rate
    c, rho = off_diagonal(s.covariance), off_diagonal(s.correlation)
    ratio = expansion_ratio(a, c)
    if method == "exact":
        code = match_code(a, covariance=s.covariance)
        shift = inactivity_log_odds(a) + code.field + (code.coupling * held_slope(a, rho, hold)).sum(axis=1)
        error = np.zeros_like(a)
        valid = np.ones(a.shape, dtype=bool)
    elif method == "series":
        terms = _series(a, rho, hold)
        shift = terms[:order].sum(axis=0)
        error = np.abs(terms[order:]).sum(axis=0)
        valid = ratio <= _TRUSTED_RATIO
    else:
        pairs, loops = exact_pairs(a, c), gaussian_loops(rho)
        _check_inside(pairs.coupling, loops, rho)
        shift = (pairs.coupling * held_slope(a, rho, hold) - pairs.field).sum(axis=1)
        shift += _part(loops, a, rho, hold)
        error = np.abs(_part(skewed_loops(skewness(a), rho), a, rho, hold))
        valid = error <= TRUSTED_ERROR * np.abs(shift)
    return BalanceShift(
        on_rate=a,
        shift=shift,
        error_estimate=error,
        expansion_ratio=ratio,
        valid=valid,
        hold=hold,
        method=method,
        order=order,
    )


def _check_inside(coupling: np.ndarray, loops: Order, rho: np.ndarray) -> None:
    infinite = np.argwhere(~np.isfinite(coupling))
    if infinite.size:
        i, j = (int(x) for x in infinite[0])
        raise ValueError(
            "the pair statistics must be inside the possible, got some on its boundary, where the shift is "
            f"infinite: units {i} and {j} with correlation {rho[i, j]:.9g}"
        )
    if not np.isfinite(loops.value):
        raise ValueError("the correlations must be positive definite, got a singular matrix")


def held_slope(a: np.ndarray, rho: np.ndarray, hold: str) -> np.ndarray:
    """Return dq_ij/da_i with the quantity ``hold`` fixed, shape (n, n), zero diagonal."""
    if hold == "coactivation":
        return np.zeros_like(rho)
    slope = np.broadcast_to(a, rho.shape)
    if hold == "correlation":
        sd = np.sqrt(a * (1.0 - a))
        slope = slope + rho * np.outer((1.0 - 2.0 * a) / (2.0 * sd), sd)
    return off_diagonal(slope)


def _by_order(s: Order, a: np.ndarray, rho: np.ndarray, hold: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the shift of one part of the entropy, split by whether it keeps or lowers the order of rho."""
    chi = a * (1.0 - a)
    sd = np.sqrt(chi)
    same = s.by_skewness / (2.0 * chi * sd)  # dg_i/da_i = -1/(2 chi^(3/2))
    if hold != "correlation":
        # at fixed C_ij the correlation moves with chi_i
        same = same + (1.0 - 2.0 * a) / (2.0 * chi) * (rho * s.by_correlation).sum(axis=1)
    if hold != "coactivation":
        return same, np.zeros_like(a)
    # at fixed q_ij a change of a_i also changes C_ij, by -a_j
    return same, (s.by_correlation / np.outer(sd, sd)) @ a


def _part(s: Order, a: np.ndarray, rho: np.ndarray, hold: str) -> np.ndarray:
    same, lower = _by_order(s, a, rho, hold)
    return same + lower


def _series(a: np.ndarray, rho: np.ndarray, hold: str) -> np.ndarray:
    """Return the shift order by order from rho^1 on, shape (KNOWN_ORDER[hold], n)."""
    terms = np.zeros((5, a.size))
    for m, order in enumerate(entropy_orders(skewness(a), rho), start=2):
        same, lower = _by_order(order, a, rho, hold)
        terms[m - 1] += same
        terms[m - 2] += lower
    return terms[: KNOWN_ORDER[hold]]

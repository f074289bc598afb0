"""How much correlation the balance line bears: the level at which it moves by a given amount."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.correlated import BalanceShift, checked_order, shift_of
from bbtheory.theory.entropy_expansion import off_diagonal
from bbtheory.theory.pair_statistics import highest_scale, statistics_from_covariance, symmetric

_SCAN = 61  # points of the geometric scan for the first crossing, a factor of 1.26 apart
_LOWEST = 1e-6  # of the highest level, where the scan starts unless the shift is large there, too
_INSIDE = 1.0 - 1e-6  # the highest level is on the boundary of the possible, where couplings are infinite
_RELATIVE = 1e-12  # of the level, at which the search stops


@dataclass(frozen=True, eq=False)
class CorrelationLevel(Record):
    """The correlation at which the balance line first moves by a given amount.

    Attributes
    ----------
    level : float
        r at which max_i |shift_i| first reaches ``amount``, with rho_ij = r pattern_ij; NaN if it never does.
    amount : float, nats
    unit : int
        The unit that moves furthest at that level.
    highest_level : float
        Largest r at which a binary code exists (n <= 10), or at which every pair can exist and the
        correlation matrix is positive semi-definite.
    status : str
        ``"reached"`` or ``"not_reached"``.
    balance : BalanceShift
        The shift at that level, or at the highest one if ``amount`` is not reached, with its error and
        validity.
    """

    KIND: ClassVar[str] = "correlation_level"

    level: float
    amount: float
    unit: int
    highest_level: float
    status: str
    balance: BalanceShift


def correlation_level(
    on_rate: ArrayLike,
    amount: float,
    *,
    hold: str,
    pattern: ArrayLike | None = None,
    method: str = "resummed",
    order: int | None = None,
) -> CorrelationLevel:
    """Find the smallest r with max_i |shift_i| = amount for correlations rho_ij = r pattern_ij.

    To leading order, for n like units all equally correlated, r = amount chi/(a (n-1)) with co-activations
    held, r^2 = 2 chi amount/(|1-2a| (n-1)) with covariances, r^3 = 12 chi^2 amount/(|1-2a| (n-1)) with
    correlations.

    Parameters
    ----------
    on_rate : array_like (n,)
        a_i in (0, 1), n >= 2.
    amount : float, > 0, nats
        Shift of L(a_i); beta times it is the error made in fan-out.
    hold : {"coactivation", "covariance", "correlation"}
        See `balance_shift`.
    pattern : array_like (n, n), optional
        Symmetric; only its ratios off the diagonal matter, the diagonal is not read. Default: all pairs
        alike.
    method, order
        See `balance_shift`.

    Returns
    -------
    CorrelationLevel

    Raises
    ------
    ValueError
        If an argument is outside its domain, ``pattern`` is not symmetric or has nothing off its diagonal.
    ConvergenceError
        If ``method="exact"`` does not find a code; see `match_code`.

    References
    ----------
    This project's derivation.
    """
    a = validate.array("on_rate", on_rate, "(0, 1)")
    n = a.size
    if n < 2:
        raise ValueError(f"on_rate must have at least 2 units to be correlated, got {n}")
    amount = validate.real("amount", amount, "(0, inf)")
    weight = off_diagonal(np.ones((n, n)) if pattern is None else symmetric("pattern", pattern, n))
    if not weight.any():
        raise ValueError("pattern must have a value other than 0 off its diagonal, got none")
    order = checked_order(hold, method, order)
    sd = np.sqrt(a * (1.0 - a))
    direction = weight * np.outer(sd, sd)
    highest = highest_scale(a, direction)

    def balance(level: float) -> BalanceShift:
        return shift_of(statistics_from_covariance(a, level * direction), hold, method, order)

    def excess(level: float) -> float:
        return float(np.abs(balance(level).shift).max()) - amount

    below = highest * _LOWEST
    while excess(below) >= 0:
        below *= _LOWEST
    level = np.nan
    for above in np.geomspace(below, highest * _INSIDE, _SCAN):
        if excess(above) >= 0:
            level = _root(excess, below, above)
            break
        below = above
    reached = np.isfinite(level)
    found = balance(level if reached else highest * _INSIDE)
    return CorrelationLevel(
        level=float(level),
        amount=amount,
        unit=int(np.abs(found.shift).argmax()),
        highest_level=highest,
        status="reached" if reached else "not_reached",
        balance=found,
    )


def _root(excess: Callable[[float], float], below: float, above: float) -> float:
    from scipy.optimize import brentq

    root: Any = brentq(excess, below, above, xtol=_RELATIVE * above)  # a number, without full_output
    return float(root)

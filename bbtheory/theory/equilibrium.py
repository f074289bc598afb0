"""The equilibrium of one traffic budget: which on-rates carry the most entropy for the links they drive.

    max over a of sum_i h(a_i)   subject to   sum_i c_i k_i a_i <= T,   lo_i <= a_i <= hi_i

h is concave and the budget linear, so the point where L(a_i) = beta c_i k_i (the selectivity-audience
balance), clipped to the bounds, with beta >= 0 and beta (T - traffic) = 0, is the optimum for these fan-outs.
It is not a joint optimum in fan-outs and on-rates: entropy does not depend on k, and a link costs beta a_i.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError, InfeasibleError, Record
from bbtheory.theory import dual
from bbtheory.theory.entropy import binary_entropy, inactivity_log_odds
from bbtheory.theory.population import Population, check_population, inner_product

CONVERGED, NOT_BINDING, INFEASIBLE, UNCONVERGED = (
    "converged",
    "budget_not_binding",
    "infeasible",
    "not_converged",
)


@dataclass(frozen=True, eq=False)
class Residuals(Record):
    """How far a solution is from the optimality conditions."""

    KIND: ClassVar[str] = "residuals"

    stationarity: float
    """max |L(a) - x| / max(1, x), x = beta c k, over free units whose on-rate is a normal float64; a unit on
    a bound counts only where its log-odds lie on the wrong side of x."""
    budget: float
    """|traffic - T| / T where the budget binds, else its excess max(0, traffic - T) / T."""


@dataclass(frozen=True, eq=False)
class Equilibrium(Record):
    """The on-rates that a traffic budget implies, with the proof that they are optimal."""

    KIND: ClassVar[str] = "equilibrium"
    UNITS: ClassVar[Mapping[str, str]] = {
        "fan_out": "fan_out",
        "count": "count",
        "on_rate": "on_rate",
        "traffic": "unit_traffic",
    }
    DERIVED: ClassVar[tuple[str, ...]] = (
        "traffic",
        "coding_entropy",
        "n_units",
        "n_silent",
        "n_underflow",
        "price_of_traffic",
        "dtraffic_dbeta",
        "residuals",
    )
    HIDDEN: ClassVar[tuple[str, ...]] = ("cost", "lower", "upper")

    fan_out: np.ndarray
    """k_i, links, shape (n,)."""
    count: np.ndarray
    """How many units each row stands for, shape (n,)."""
    cost: np.ndarray
    """c_i, traffic per event and link, shape (n,)."""
    lower: np.ndarray
    """lo_i, shape (n,)."""
    upper: np.ndarray
    """hi_i, shape (n,)."""
    on_rate: np.ndarray
    """a_i, shape (n,)."""
    beta: float
    """Multiplier of the budget, nats per unit of traffic; the slope of the balance, nats per link."""
    budget: float
    """T; where beta was given, the traffic it implies."""
    status: str
    """converged | budget_not_binding | infeasible | not_converged."""
    n_iterations: int
    """Passes over the population."""

    @cached_property
    def log_odds_demanded(self) -> np.ndarray:
        """x_i = beta c_i k_i, nats: L(a_i) of every free unit, exact also where a_i underflows."""
        with np.errstate(over="ignore", invalid="ignore"):  # infinite prices; undefined where infeasible
            return self.beta * self._population.price

    @cached_property
    def inactivity_log_odds(self) -> np.ndarray:
        """L(a_i), nats: x_i for free units, the log-odds of the bound for units on one."""
        x = self.log_odds_demanded
        low, high = inactivity_log_odds(self.upper), inactivity_log_odds(self.lower)
        return np.clip(x, low, high)

    @cached_property
    def unit_traffic(self) -> np.ndarray:
        """t_i = c_i k_i a_i of one unit of each row."""
        return self._population.price * self.on_rate

    @cached_property
    def traffic(self) -> float:
        """sum_i count_i t_i."""
        return inner_product(self._population.weight, self.on_rate)

    @cached_property
    def coding_entropy(self) -> float:
        """sum_i count_i h(a_i), nats."""
        return float((self.count * binary_entropy(self.on_rate)).sum())

    @property
    def n_units(self) -> int:
        """Number of units, multiplicities counted."""
        return self._population.n_units

    @property
    def n_silent(self) -> int:
        """Units without an audience or at no cost: they pay nothing and sit at 1/2."""
        return int(self.count[self._population.price == 0].sum())

    @property
    def n_underflow(self) -> int:
        """Units whose on-rate is positive in theory and below the smallest float64, so 0.0 here."""
        return int(self.count[(self.on_rate == 0) & (self.upper > 0)].sum())

    @property
    def price_of_traffic(self) -> float:
        """dH/dT = beta, nats per unit of traffic: what one more unit of budget buys."""
        return self.beta

    @cached_property
    def dtraffic_dbeta(self) -> float:
        """dT/dbeta = -sum_i count_i (c_i k_i)^2 a_i (1 - a_i) over the units on no bound."""
        chi = self.on_rate * (1.0 - self.on_rate)
        p = self._population
        return -inner_product(p.weight, p.price * np.where(self._free, chi, 0.0))

    @cached_property
    def residuals(self) -> Residuals:
        """Distance from the optimality conditions, computed from the on-rates alone."""
        a, x = self.on_rate, self.log_odds_demanded
        normal = (a >= np.finfo(np.float64).tiny) & (a < 1)
        with np.errstate(invalid="ignore"):  # infinite beta of an infeasible budget: undefined, so nan
            gap = inactivity_log_odds(a) - x
            # on the lower bound the price may exceed L(a), on the upper bound it may fall short of it
            wrong = np.maximum(np.where(a <= self.lower, gap, -gap), 0.0)
            gap = np.where(self._free, np.where(normal, np.abs(gap), 0.0), wrong)
            gap = np.where(self.lower == self.upper, 0.0, gap)
            stationarity = float(np.max(gap / np.maximum(1.0, x)))
        return Residuals(stationarity, self.budget_residual)

    @cached_property
    def budget_residual(self) -> float:
        """`Residuals.budget` alone, which costs one product in place of a logarithm a unit."""
        # a budget of 0 is what a given beta implies where all on-rates underflow
        excess = (self.traffic - self.budget) / self.budget if self.budget > 0 else 0.0
        return abs(excess) if self.beta > 0 else max(excess, 0.0)

    @cached_property
    def _population(self) -> Population:
        return Population(self.fan_out, self.count, self.cost, self.lower, self.upper)

    @cached_property
    def _free(self) -> np.ndarray:
        """Units strictly inside their bounds; a bound at 0 or 1 is never reached by a finite price."""
        return ((self.on_rate > self.lower) | (self.lower == 0)) & (
            (self.on_rate < self.upper) | (self.upper == 1)
        )


def solve_equilibrium(
    fan_out: ArrayLike,
    *,
    beta: float | None = None,
    budget: float | None = None,
    count: ArrayLike | None = None,
    cost: ArrayLike = 1.0,
    lower: ArrayLike = 0.0,
    upper: ArrayLike = 1.0,
) -> Equilibrium:
    """Solve for the on-rates of highest coding entropy under one traffic budget.

    max sum_i h(a_i) subject to sum_i c_i k_i a_i <= T and lo_i <= a_i <= hi_i, whose solution is
    a_i = clip(1/(1 + exp(beta c_i k_i)), lo_i, hi_i).

    Parameters
    ----------
    fan_out : array_like, (n,)
        k_i >= 0, links. A unit with k = 0 pays nothing and sits at 1/2. The record keeps the array, it does
        not copy it: hand over a copy if you will change it.
    beta : float, optional
        Multiplier >= 0 in nats per link (at cost 1); the budget it implies is returned.
    budget : float, optional
        T > 0, in units of on-rate times links; its multiplier is found. Exactly one of beta, budget.
    count : array_like of int, (n,), optional
        How many units each row stands for (default 1 each).
    cost : array_like, scalar or (n,)
        c_i >= 0, traffic per event and link.
    lower, upper : array_like, scalar or (n,)
        Bounds on the on-rates, 0 <= lo_i <= hi_i <= 1.

    Returns
    -------
    Equilibrium
        Status budget_not_binding where T is at least the traffic of the unpriced population
        (sum k/2 without bounds): beta 0, on-rates 1/2.

    Raises
    ------
    ValueError
        If an argument is empty, not finite, of the wrong shape or outside its domain; if all prices are 0.
    InfeasibleError
        (a ValueError) If the budget is below the traffic of the lower bounds.
    ConvergenceError
        If the search ends before its tolerance; ``error.record`` is the unfinished equilibrium.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263, the selectivity-audience balance; derivation of the KKT point:
    this project's ``derive_balance``.

    Examples
    --------
    >>> e = solve_equilibrium([1, 2, 4], beta=0.5)
    >>> e.on_rate.round(4).tolist()
    [0.3775, 0.2689, 0.1192]
    >>> round(solve_equilibrium([1, 2, 4], budget=e.traffic).beta, 12)
    0.5
    """
    given = validate.exactly_one(beta=beta, budget=budget)
    population = check_population(fan_out, count=count, cost=cost, lower=lower, upper=upper)
    counted = population.counted()
    solved, row = (population, None) if counted is None else counted
    solved.check_prices()

    def result(a: np.ndarray, beta: float, budget: float, status: str, used: int) -> Equilibrium:
        p, a = population, a if row is None else a[row][population.fan_out]
        return Equilibrium(p.fan_out, p.count, p.cost, p.lower, p.upper, a, beta, budget, status, used)

    if given == "beta":
        beta = validate.real("beta", beta, "[0, inf)")
        on_rate = dual.on_rate_at(solved, beta)
        return result(on_rate, beta, inner_product(solved.weight, on_rate), CONVERGED, 1)

    budget = validate.real("budget", budget, "(0, inf)")
    solved.check_budget(budget)
    unpriced, least = float(solved.traffic_at_zero), float(solved.traffic_at_lower)
    if unpriced <= budget:
        warnings.warn(
            f"the budget {budget:g} does not bind: without it the population carries {unpriced:g}",
            stacklevel=2,
        )
        return result(dual.on_rate_at(solved, 0.0), 0.0, budget, NOT_BINDING, 1)
    if least > budget * (1.0 + dual.SUM_TOLERANCE):  # equality within rounding is met by the bounds
        raise InfeasibleError(
            f"budget must be at least {least:g}, the traffic of the lower bounds, got {budget:g}",
            result(solved.lower, np.inf, budget, INFEASIBLE, 1),
        )
    root, on_rate, converged, used = dual.search(solved, budget)
    record = result(on_rate, root, budget, CONVERGED if converged else UNCONVERGED, used)
    if not converged:
        raise ConvergenceError(
            f"beta = {root:g} misses the budget by {record.residuals.budget:.1e} of it after {used} passes",
            record,
        )
    return record

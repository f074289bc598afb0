"""Several traffic budgets at once, one multiplier each: the general form of the equilibrium.

    max over a of sum_i h(a_i)   subject to   C a <= T,   lo <= a <= hi

Its dual is smooth and convex in beta >= 0: with prices x = C^T beta,

    g(beta) = beta.T + sum_i max over lo_i <= a <= hi_i of [h(a) - x_i a],   grad g = T - C a.

The maximiser is a_i = clip(1/(1+e^x_i), lo_i, hi_i) inside the maximum: solving without bounds and clipping
afterwards breaks the budgets. Each Newton step of the dual is a non-negative least-squares problem.
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
from bbtheory.theory.equilibrium import CONVERGED, INFEASIBLE, NOT_BINDING, UNCONVERGED, Residuals
from bbtheory.theory.population import spread

MAX_ITERATIONS = 500
# a step is taken if it lowers the dual by this share of what its slope promises (Armijo)
SUFFICIENT_DECREASE = 1e-4
# the dual is flat where all units of a budget sit on bounds: there the ridge makes a step of the multiplier's
# own size; it falls with the residual, so convergence stays quadratic, down to what a factorisation needs
SMALLEST_RIDGE = 1e-13
# a multiplier that moves no unit's log-odds by more than this is what rounding left of a loose budget
NO_PRICE = 1e-14


@dataclass(frozen=True, eq=False)
class BudgetsEquilibrium(Record):
    """The on-rates that several traffic budgets imply."""

    KIND: ClassVar[str] = "budgets"
    UNITS: ClassVar[Mapping[str, str]] = {"price": "price", "on_rate": "on_rate"}
    DERIVED: ClassVar[tuple[str, ...]] = ("traffic", "binding", "coding_entropy", "residuals")
    HIDDEN: ClassVar[tuple[str, ...]] = ("costs", "lower", "upper")

    costs: np.ndarray
    """C, traffic of each budget per unit of on-rate, shape (n_budgets, n_units)."""
    lower: np.ndarray
    """lo_i, shape (n_units,)."""
    upper: np.ndarray
    """hi_i, shape (n_units,)."""
    on_rate: np.ndarray
    """a_i, shape (n_units,)."""
    beta: np.ndarray
    """One multiplier per budget, nats per unit of its traffic, shape (n_budgets,)."""
    budgets: np.ndarray
    """T, shape (n_budgets,)."""
    status: str
    """converged | budget_not_binding (no budget binds) | infeasible | not_converged."""
    n_iterations: int
    """Newton steps of the dual."""

    @cached_property
    def price(self) -> np.ndarray:
        """x_i = sum_r beta_r C_ri, nats: the inactivity log-odds of every free unit, shape (n_units,)."""
        return self.beta @ self.costs

    @cached_property
    def traffic(self) -> np.ndarray:
        """C a, shape (n_budgets,)."""
        return self.costs @ self.on_rate

    @property
    def binding(self) -> np.ndarray:
        """Which budgets have a price, shape (n_budgets,)."""
        return self.beta > 0

    @cached_property
    def coding_entropy(self) -> float:
        """sum_i h(a_i), nats."""
        return float(binary_entropy(self.on_rate).sum())

    @cached_property
    def dtraffic_dbeta(self) -> np.ndarray:
        """d(C a)/d beta = -C diag(a(1-a)) C^T over the units on no bound, shape (n_budgets, n_budgets)."""
        free = (self.on_rate > self.lower) & (self.on_rate < self.upper)
        return -(self.costs * np.where(free, self.on_rate * (1 - self.on_rate), 0.0)) @ self.costs.T

    @cached_property
    def residuals(self) -> Residuals:
        """The worst unit's stationarity and the worst budget's residual, from the on-rates alone."""
        a, x = self.on_rate, self.price
        with np.errstate(invalid="ignore"):
            gap = inactivity_log_odds(a) - x
            at_lower, at_upper = a <= self.lower, a >= self.upper
            gap = np.where(at_lower, np.maximum(gap, 0.0), np.where(at_upper, np.minimum(gap, 0.0), gap))
            gap = np.where((self.lower == self.upper) | (a < np.finfo(np.float64).tiny), 0.0, gap)
            stationarity = float(np.max(np.abs(gap) / np.maximum(1.0, x)))
        excess = (self.traffic - self.budgets) / self.budgets
        return Residuals(stationarity, float(np.where(self.binding, np.abs(excess), excess).clip(0).max()))


def solve_budgets(
    costs: ArrayLike,
    budgets: ArrayLike,
    *,
    lower: ArrayLike = 0.0,
    upper: ArrayLike = 1.0,
) -> BudgetsEquilibrium:
    """Solve for the on-rates of highest coding entropy under several traffic budgets.

    max sum_i h(a_i) subject to C a <= T and lo <= a <= hi; one multiplier beta_r >= 0 per row of C.

    Parameters
    ----------
    costs : array_like, (n_budgets, n_units)
        C_ri >= 0: what unit i pays into budget r per unit of on-rate (its fan-out into layer r, say). Every
        row needs a unit that pays.
    budgets : array_like, (n_budgets,)
        T_r > 0.
    lower, upper : array_like, scalar or (n_units,)
        Bounds on the on-rates, 0 <= lo_i <= hi_i <= 1.

    Returns
    -------
    BudgetsEquilibrium
        Budgets that do not bind have multiplier 0. Where rows of C depend on each other the on-rates are
        unique and the multipliers are not.

    Raises
    ------
    ValueError
        If an argument is empty, not finite, of the wrong shape or outside its domain.
    InfeasibleError
        (a ValueError) If the lower bounds alone break a budget.
    ConvergenceError
        If Newton's iteration ends before its tolerance; ``error.record`` is the unfinished result.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263, for one budget; the general form is this project's
    derivation, ``derive_bounded_balance``.

    Examples
    --------
    >>> e = solve_budgets([[1, 2, 0], [0, 1, 3]], [0.5, 0.5])
    >>> (e.traffic.round(12).tolist(), e.binding.tolist())
    ([0.5, 0.5], [True, True])
    """
    c = validate.array("costs", costs, "[0, inf)", ndim=2)
    target = validate.array("budgets", budgets, "(0, inf)", shape=c.shape[:1])
    n = c.shape[1:]
    lo, hi = spread("lower", lower, "[0, 1]", n), spread("upper", upper, "[0, 1]", n)
    if (lo > hi).any():
        at = int(np.flatnonzero(lo > hi)[0])
        raise ValueError(f"lower must not exceed upper, got {lo[at]} > {hi[at]} at index {at}")
    if (c.max(axis=1) == 0).any():
        row = int(np.flatnonzero(c.max(axis=1) == 0)[0])
        raise ValueError(f"costs must have a unit that pays in every row, got only zeros in row {row}")

    def result(a: np.ndarray, beta: np.ndarray, status: str, used: int) -> BudgetsEquilibrium:
        return BudgetsEquilibrium(c, lo, hi, a, beta, target, status, used)

    least = c @ lo
    broken = np.flatnonzero(least > target * (1.0 + dual.SUM_TOLERANCE))
    if broken.size:
        row = int(broken[0])
        raise InfeasibleError(
            f"budgets must be at least the traffic of the lower bounds, {least[row]:g} in row {row}, "
            f"got {target[row]:g}",
            result(lo, np.full(len(target), np.nan), INFEASIBLE, 0),
        )
    unpriced = np.clip(np.full(n, 0.5), lo, hi)
    if (c @ unpriced <= target).all():
        warnings.warn("no budget binds: the unpriced population meets all of them", stacklevel=2)
        return result(unpriced, np.zeros(len(target)), NOT_BINDING, 0)
    shares = c / target[:, None]  # in shares of each budget all targets are 1
    beta, on_rate, converged, used = _newton(shares, lo, hi)
    record = result(on_rate, beta / target, CONVERGED if converged else UNCONVERGED, used)
    if not converged:
        raise ConvergenceError(
            f"the worst budget is missed by {record.residuals.budget:.1e} of it after {used} Newton steps",
            record,
        )
    return record


def _newton(
    shares: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool, int]:
    """Minimise the dual of shares @ a <= 1 over beta >= 0."""
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    def at(beta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, float]:
        """Dual, on-rates, slope and the worst violation of the optimality conditions."""
        x = beta @ shares
        a = dual.bounded_on_rate(x, 1.0, lower, upper)
        slope = 1.0 - shares @ a
        worst = np.where(beta > 0, np.abs(slope), np.maximum(-slope, 0.0)).max()
        return float(beta.sum() + (binary_entropy(a) - x * a).sum()), a, slope, float(worst)

    largest = shares.max(axis=1)
    beta = alone = _alone(shares, lower, upper)
    value, a, slope, worst = at(beta)
    for iteration in range(MAX_ITERATIONS + 1):
        chi = np.where((a > lower) & (a < upper), a * (1.0 - a), 0.0)
        curvature = (shares * chi) @ shares.T
        # as in dual.py: the rounding of the sum, and of beta itself
        if worst <= dual.SUM_TOLERANCE + dual.BETA_TOLERANCE * float((curvature @ beta).max()):
            return beta, a, True, iteration
        ridge = worst / np.maximum(beta, np.maximum(alone, alone.max() * SMALLEST_RIDGE))
        # the model slope.(b - beta) + (b - beta) H (b - beta)/2 over b >= 0 as a least-squares problem, in
        # units of b that make the diagonal of H one
        unit = 1.0 / np.sqrt(np.diag(curvature) + ridge)
        scaled = unit[:, None] * (curvature + np.diag(ridge)) * unit
        scaled += SMALLEST_RIDGE * np.eye(len(unit))
        factor = np.linalg.cholesky(scaled).T
        goal = factor @ (beta / unit) - solve_triangular(factor.T, unit * slope, lower=True)
        priced = nnls(factor, goal)[0] > 0
        # which budgets bind is now known; their step from the slope itself keeps digits that goal has lost
        step = -beta / unit
        rest = (unit * slope + scaled[:, ~priced] @ step[~priced])[priced]
        step[priced] = -np.linalg.solve(scaled[np.ix_(priced, priced)], rest)
        direction = unit * step
        promised, length = float(slope @ direction), 1.0
        while length > 1e-9:
            trial = np.maximum(beta + length * direction, 0.0)
            trial[trial * largest < NO_PRICE] = 0.0
            found = at(trial)
            # where the dual no longer tells points apart, the conditions still do
            lower_dual = found[0] < value + SUFFICIENT_DECREASE * length * promised
            if lower_dual or (abs(promised) < 1e-9 * abs(value) and found[3] < worst):
                break
            length *= 0.5
        else:
            return beta, a, False, iteration
        beta, (value, a, slope, worst) = trial, found
    return beta, a, False, MAX_ITERATIONS


def _alone(shares: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return the multiplier each budget would have without the others: exact where no unit pays into two."""
    largest = shares.max(axis=1)
    y = shares / largest[:, None]
    binds = (shares @ np.clip(0.5, lower, upper) > 1.0) & (shares @ lower < 1.0)
    beta = np.zeros(len(shares))
    if binds.any():
        rows = [np.broadcast_to(bound, y.shape)[binds] for bound in (lower, upper)]
        beta[binds] = dual.solve_rows(y[binds], 1.0 / largest[binds], None, *rows).beta / largest[binds]
    return beta

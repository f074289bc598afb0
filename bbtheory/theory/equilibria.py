"""Many equilibria at once: one population per row, each with its own traffic budget or multiplier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError, Record
from bbtheory.theory import dual
from bbtheory.theory.entropy import binary_entropy
from bbtheory.theory.equilibrium import (
    CONVERGED,
    INFEASIBLE,
    NOT_BINDING,
    UNCONVERGED,
    Equilibrium,
)
from bbtheory.theory.population import Population, check_population


@dataclass(frozen=True, eq=False)
class Equilibria(Record):
    """The on-rates that many traffic budgets imply; row p is population p."""

    KIND: ClassVar[str] = "equilibria"
    UNITS: ClassVar[Mapping[str, str]] = {
        "population": "_population_of_unit",
        "fan_out": "_fan_outs",
        "on_rate": "_on_rates",
    }
    DERIVED: ClassVar[tuple[str, ...]] = ("traffic", "coding_entropy", "budget_residual")
    HIDDEN: ClassVar[tuple[str, ...]] = ("fan_out", "on_rate", "cost", "lower", "upper")

    fan_out: np.ndarray
    """k_pi, links, shape (n_populations, n_units)."""
    cost: np.ndarray
    """c_pi, traffic per event and link, same shape."""
    lower: np.ndarray
    """lo_pi, same shape."""
    upper: np.ndarray
    """hi_pi, same shape."""
    on_rate: np.ndarray
    """a_pi, same shape; the lower bounds where a budget is infeasible."""
    beta: np.ndarray
    """Multipliers, nats per unit of traffic, shape (n_populations,); inf where a budget is infeasible."""
    budget: np.ndarray
    """T_p; where beta was given, the traffic it implies."""
    status: np.ndarray
    """converged | budget_not_binding | infeasible | not_converged, one text per population."""
    n_iterations: int
    """Passes over the population that took most."""

    @cached_property
    def traffic(self) -> np.ndarray:
        """sum_i c_pi k_pi a_pi, shape (n_populations,)."""
        return np.vecdot(self._population.price, self.on_rate)

    @cached_property
    def coding_entropy(self) -> np.ndarray:
        """sum_i h(a_pi), nats, shape (n_populations,)."""
        return binary_entropy(self.on_rate).sum(axis=1)

    @cached_property
    def budget_residual(self) -> np.ndarray:
        """|traffic - T| / T where the budget binds, else its excess, shape (n_populations,)."""
        spent = self.budget > 0  # where not, all on-rates underflow at the beta given
        excess = np.where(spent, self.traffic - self.budget, 0.0) / np.where(spent, self.budget, 1.0)
        return np.where(self.beta > 0, np.abs(excess), np.maximum(excess, 0.0))

    def __len__(self) -> int:
        return len(self.beta)

    def __getitem__(self, population: int) -> Equilibrium:
        """One population as an `Equilibrium`, with its residuals and derivatives."""
        p = range(len(self))[population]
        return Equilibrium(
            self.fan_out[p],
            np.broadcast_to(np.int64(1), self.fan_out[p].shape),
            self.cost[p],
            self.lower[p],
            self.upper[p],
            self.on_rate[p],
            float(self.beta[p]),
            float(self.budget[p]),
            str(self.status[p]),
            self.n_iterations,
        )

    @cached_property
    def _population(self) -> Population:
        one = np.broadcast_to(np.int64(1), self.fan_out.shape)
        return Population(self.fan_out, one, self.cost, self.lower, self.upper)

    @property
    def _population_of_unit(self) -> np.ndarray:
        return np.repeat(np.arange(len(self)), self.fan_out.shape[1])

    @property
    def _fan_outs(self) -> np.ndarray:
        return self.fan_out.ravel()

    @property
    def _on_rates(self) -> np.ndarray:
        return self.on_rate.ravel()


def solve_equilibria(
    fan_out: ArrayLike,
    *,
    beta: ArrayLike | None = None,
    budget: ArrayLike | None = None,
    cost: ArrayLike = 1.0,
    lower: ArrayLike = 0.0,
    upper: ArrayLike = 1.0,
) -> Equilibria:
    """Solve `solve_equilibrium` for every row of a two-dimensional array of fan-outs.

    Parameters
    ----------
    fan_out : array_like, (n_populations, n_units)
        k_pi >= 0, links; every row needs a unit that pays. Kept, not copied.
    beta : array_like, scalar or (n_populations,), optional
        Multipliers >= 0, nats per link (at cost 1).
    budget : array_like, scalar or (n_populations,), optional
        T_p > 0. Exactly one of beta, budget.
    cost, lower, upper : array_like, scalar, (n_units,) or (n_populations, n_units)
        Traffic per event and link >= 0; bounds on on-rates in [0, 1].

    Returns
    -------
    Equilibria
        A budget that does not bind or is infeasible is said in that row's status and stops no other row.

    Raises
    ------
    ValueError
        If an argument is empty, not finite, of the wrong shape or outside its domain.
    ConvergenceError
        If a search ends before its tolerance; ``error.record`` is the unfinished result.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263, the selectivity-audience balance.

    Examples
    --------
    >>> solve_equilibria([[1, 2, 4], [8, 8, 8]], budget=1.0).status.tolist()
    ['converged', 'converged']
    """
    given = validate.exactly_one(beta=beta, budget=budget)
    population = check_population(fan_out, cost=cost, lower=lower, upper=upper, ndim=2)
    population.check_prices()
    rows = len(population.fan_out)

    def per_row(name: str, value: ArrayLike | None, domain: str) -> np.ndarray:
        checked = validate.array(name, value, domain, ndim=None)
        if checked.shape not in ((), (rows,)):
            raise ValueError(f"{name} must be a number or have shape ({rows},), got shape {checked.shape}")
        return np.broadcast_to(checked, (rows,)).copy()

    def result(on_rate, beta, budget, status, used) -> Equilibria:
        p = population
        return Equilibria(p.fan_out, p.cost, p.lower, p.upper, on_rate, beta, budget, status, used)

    if given == "beta":
        multiplier = per_row("beta", beta, "[0, inf)")
        on_rate = dual.bounded_on_rate(population.price, multiplier[:, None], *population.bounds)
        carried = np.vecdot(population.price, on_rate)
        return result(on_rate, multiplier, carried, np.full(rows, CONVERGED), 1)

    target = per_row("budget", budget, "(0, inf)")
    population.check_budget(target)
    idle = population.traffic_at_zero <= target
    infeasible = population.traffic_at_lower > target * (1.0 + dual.SUM_TOLERANCE)
    binding = ~(idle | infeasible)
    on_rate, root, converged, used = dual.search_rows(population, target, binding)
    if idle.any():
        on_rate[idle] = np.clip(0.5, population.lower[idle], population.upper[idle])
    if infeasible.any():
        on_rate[infeasible] = population.lower[infeasible]
    root[infeasible] = np.inf
    status = np.select(
        [idle, infeasible, converged], [NOT_BINDING, INFEASIBLE, CONVERGED], default=UNCONVERGED
    )
    record = result(on_rate, root, target, status, used)
    if (status == UNCONVERGED).any():
        worst = int(np.flatnonzero(status == UNCONVERGED)[0])
        raise ConvergenceError(f"population {worst} misses its budget after {used} passes", record)
    return record

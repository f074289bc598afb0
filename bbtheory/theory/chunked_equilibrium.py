"""The equilibrium of one traffic budget shared by more units than memory holds, 10^9 and beyond.

The same problem and answer as `solve_equilibrium`; the fan-outs are read chunk by chunk. Its multiplier beta
says it all: every on-rate is clip(1/(1 + exp(beta k))). Whole fan-outs of not too many values are counted in
one pass and solved exactly, once per value. Others are read three times: once for their sum and a sample,
whose root is within about 1/sqrt(sample) of theirs; once for the exact moments there, from which one
fourth-order step reaches rounding; once to certify it.
"""

from __future__ import annotations

import math
import os
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError, InfeasibleError, Record
from bbtheory.theory import dual
from bbtheory.theory.chunk_census import Census
from bbtheory.theory.chunk_search import ChunkSearch
from bbtheory.theory.chunks import Chunks, writing
from bbtheory.theory.entropy import coding_entropy
from bbtheory.theory.equilibrium import (
    CONVERGED,
    INFEASIBLE,
    NOT_BINDING,
    UNCONVERGED,
    Equilibrium,
    Residuals,
    solve_equilibrium,
)
from bbtheory.theory.population import check_population


@dataclass(frozen=True, eq=False)
class ChunkedEquilibrium(Record):
    """What a traffic budget implies for a population too large for memory, proved optimal."""

    KIND: ClassVar[str] = "chunked_equilibrium"
    DERIVED: ClassVar[tuple[str, ...]] = ("price_of_traffic",)

    beta: float
    """Multiplier of the budget, nats per unit of traffic; the slope of the balance, nats per link."""
    budget: float
    """T; where beta was given, the traffic it implies."""
    traffic: float
    """sum_i k_i a_i."""
    coding_entropy: float
    """sum_i h(a_i), nats."""
    dtraffic_dbeta: float
    """dT/dbeta = -sum_i k_i^2 a_i (1 - a_i) over the units on no bound."""
    n_units: int
    n_silent: int
    """Units without an audience: they pay nothing and sit at 1/2."""
    n_underflow: int
    """Units whose on-rate is positive in theory and below the smallest float64, so 0.0 here."""
    least_fan_out: float
    mean_fan_out: float
    largest_fan_out: float
    lower: float
    """Least on-rate a unit may have."""
    upper: float
    """Largest on-rate a unit may have."""
    residuals: Residuals
    """Distance from the optimality conditions, over all units."""
    status: str
    """converged | budget_not_binding | infeasible | not_converged."""
    n_distinct: int
    """Distinct fan-outs, each solved once; 0 where they were not counted."""
    n_passes: int
    """How often the fan-outs were read."""

    @property
    def price_of_traffic(self) -> float:
        """dH/dT = beta, nats per unit of traffic: what one more unit of budget buys."""
        return self.beta

    def on_rate(self, fan_out: ArrayLike) -> np.ndarray:
        """On-rates of units of these fan-outs, clip(1/(1 + exp(beta k)), lower, upper).

        Raises
        ------
        ValueError
            If a fan-out is negative or not finite.
        """
        k = validate.array("fan_out", fan_out, "[0, inf)", ndim=None)
        return np.clip(dual.bounded_on_rate(k, self.beta), self.lower, self.upper)


def solve_chunked(
    fan_out: Any,
    *,
    beta: float | None = None,
    budget: float | None = None,
    lower: float = 0.0,
    upper: float = 1.0,
    output: str | os.PathLike[str] | None = None,
) -> ChunkedEquilibrium:
    """Solve for the on-rates of highest coding entropy under one traffic budget, chunk by chunk.

    max sum_i h(a_i) subject to sum_i k_i a_i <= T and lo <= a_i <= hi, whose solution is
    a_i = clip(1/(1 + exp(beta k_i)), lo, hi). Memory does not grow with the population.

    Parameters
    ----------
    fan_out : path, array_like or Chunks, (n,)
        k_i >= 0, links; with unit costs, c_i k_i. A .npy file, or an array that NumPy reads in slices: see
        `Chunks`. It is read one to four times.
    beta : float, optional
        Multiplier >= 0 in nats per link; the budget it implies is returned.
    budget : float, optional
        T > 0, in units of on-rate times links; its multiplier is found. Exactly one of beta, budget.
    lower, upper : float
        Bounds on the on-rates, 0 <= lo <= hi <= 1.
    output : path, optional
        A .npy file for the on-rates, 8 bytes a unit; without it none are kept.

    Returns
    -------
    ChunkedEquilibrium
        Status budget_not_binding where T is at least the traffic of the unpriced population
        (sum k/2 without bounds): beta 0, on-rates 1/2.

    Raises
    ------
    ValueError
        If an argument is empty, not finite, of more than one axis or outside its domain; if all fan-outs are
        0; if a file is no .npy file; if output does not end in .npy or is the file that is read.
    InfeasibleError
        (a ValueError) If the budget is below the traffic of the lower bounds.
    ConvergenceError
        If the search ends before its tolerance; ``error.record`` is the unfinished equilibrium.
    OSError
        If a file cannot be read or written; no unfinished file is left.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263, the selectivity-audience balance; derivation of the KKT point:
    this project's ``derive_balance``.

    Examples
    --------
    >>> e = solve_chunked([1, 2, 4], beta=0.5)
    >>> e.on_rate([1, 2, 4]).round(4).tolist()
    [0.3775, 0.2689, 0.1192]
    >>> round(solve_chunked([1.0, 2.0, 4.0], budget=e.traffic).beta, 12)
    0.5
    """
    chunks = fan_out if isinstance(fan_out, Chunks) else Chunks(fan_out)
    if validate.exactly_one(beta=beta, budget=budget) == "beta":
        beta = validate.real("beta", beta, "[0, inf)")
    else:
        budget = validate.real("budget", budget, "(0, inf)")
    lower, upper = validate.real("lower", lower, "[0, 1]"), validate.real("upper", upper, "[0, 1]")
    if output is not None and chunks.path and os.path.exists(output) and chunks.path.samefile(output):
        raise ValueError(f"output must not be the file that is read, got {os.fspath(output)!r}")
    with nullcontext() if output is None else writing(output, chunks.size) as write:
        census = Census(chunks)
        # the extremes stand for all in what is asked of fan-outs, bounds and budgets
        ends = check_population([census.least, census.largest], lower=lower, upper=upper)
        ends.check_prices()
        if census.total == np.inf:
            raise ValueError("fan_out must have a finite sum, got one that overflows")
        if budget is not None:
            ends.check_budget(budget)
        if census.counts is not None:
            return _solve_counted(chunks, census.counts, beta, budget, lower, upper, write)
        return _solve_read(chunks, census, beta, budget, lower, upper, write)


def _solve_counted(
    chunks: Chunks,
    counts: np.ndarray,
    beta: float | None,
    budget: float | None,
    lower: float,
    upper: float,
    write: Any,
) -> ChunkedEquilibrium:
    """Solve once per distinct fan-out."""
    distinct = np.flatnonzero(counts)

    def result(e: Equilibrium) -> ChunkedEquilibrium:
        return ChunkedEquilibrium(
            beta=e.beta,
            budget=e.budget,
            traffic=e.traffic,
            coding_entropy=e.coding_entropy,
            dtraffic_dbeta=e.dtraffic_dbeta,
            n_units=e.n_units,
            n_silent=e.n_silent,
            n_underflow=e.n_underflow,
            least_fan_out=float(distinct[0]),
            mean_fan_out=float(distinct @ counts[distinct]) / e.n_units,
            largest_fan_out=float(distinct[-1]),
            lower=lower,
            upper=upper,
            residuals=e.residuals,
            status=e.status,
            n_distinct=distinct.size,
            n_passes=chunks.n_passes,
        )

    try:
        e = solve_equilibrium(
            distinct, count=counts[distinct], beta=beta, budget=budget, lower=lower, upper=upper
        )
    except (ConvergenceError, InfeasibleError) as error:
        if isinstance(error.record, Equilibrium):
            error.record = result(error.record)
        raise
    if write is not None:
        on_rate = np.zeros(counts.size)
        on_rate[distinct] = e.on_rate
        for part in chunks:
            write(on_rate[part])
    return result(e)


def _solve_read(
    chunks: Chunks,
    census: Census,
    beta: float | None,
    budget: float | None,
    lower: float,
    upper: float,
    write: Any,
) -> ChunkedEquilibrium:
    """Solve by reading all fan-outs at each step."""
    search = ChunkSearch(chunks, census, lower, upper, write)

    def record(**fields: Any) -> ChunkedEquilibrium:
        return ChunkedEquilibrium(
            n_units=chunks.size,
            n_silent=census.n_silent,
            least_fan_out=census.least,
            mean_fan_out=census.total / chunks.size,
            largest_fan_out=census.largest,
            lower=lower,
            upper=upper,
            n_distinct=0,
            n_passes=chunks.n_passes,
            **fields,
        )

    def result(beta: float, budget: float | None, status: str) -> ChunkedEquilibrium:
        found = search.certify(beta)
        budget = found.traffic if budget is None else budget
        # a budget of 0 is what a given beta implies where all on-rates underflow
        excess = (found.traffic - budget) / budget if budget > 0 else 0.0
        return record(
            beta=beta,
            budget=budget,
            traffic=found.traffic,
            coding_entropy=found.coding_entropy,
            dtraffic_dbeta=-found.slope,
            n_underflow=found.n_underflow if upper > 0 else 0,
            residuals=Residuals(found.stationarity, abs(excess) if beta > 0 else max(excess, 0.0)),
            status=status,
        )

    if budget is None:
        assert beta is not None
        return result(beta, None, CONVERGED)
    unpriced, least = census.total * min(max(0.5, lower), upper), census.total * lower
    if unpriced <= budget:
        warnings.warn(
            f"the budget {budget:g} does not bind: without it the population carries {unpriced:g}",
            stacklevel=3,
        )
        return result(0.0, budget, NOT_BINDING)
    if least > budget * (1.0 + dual.SUM_TOLERANCE):
        everyone_least = record(
            beta=math.inf,
            budget=budget,
            traffic=least,
            coding_entropy=chunks.size * coding_entropy(lower),
            dtraffic_dbeta=0.0,
            n_underflow=0,
            residuals=Residuals(math.nan, (least - budget) / budget),
            status=INFEASIBLE,
        )
        raise InfeasibleError(
            f"budget must be at least {least:g}, the traffic of the lower bounds, got {budget:g}",
            everyone_least,
        )
    root, converged, used = search.root(budget)
    solved = result(root, budget, CONVERGED if converged else UNCONVERGED)
    if not converged:
        raise ConvergenceError(
            f"beta = {root:g} misses the budget by {solved.residuals.budget:.1e} of it after {used} passes",
            solved,
        )
    return solved

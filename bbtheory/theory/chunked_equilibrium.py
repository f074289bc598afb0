"""The equilibrium of one traffic budget shared by more units than memory holds, 10^9 and beyond.

The same problem and answer as `solve_equilibrium`; the fan-outs are read chunk by chunk. Its multiplier beta
says it all: every on-rate is clip(1/(1 + exp(beta k))). Whole fan-outs of not too many values are counted in
one pass and solved exactly, once per value. Others are read three times: once for their sum and a sample, whose
root is within about 1/sqrt(sample) of theirs; once for the exact moments there, from which one fourth-order
step reaches rounding; once to certify it.
"""

from __future__ import annotations

import math
import os
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError, InfeasibleError, Record
from bbtheory.theory import dual
from bbtheory.theory.chunks import SIZE, Chunks, writing
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

# whole fan-outs up to here are counted: 8 MB of counts
LARGEST_COUNTED = 2**20
# one unit in this many is in the sample, whose solution then costs less than half a pass ...
_SAMPLED = 16
# ... and no more units than give beta to 1e-3, from where a step of order four reaches rounding
_SAMPLE = 2**22
# a relative step of beta below this is likely to be the last: the pass after it computes the certificate too
_LAST_STEP = 5e-3


@dataclass(frozen=True, eq=False)
class ChunkedEquilibrium(Record):
    """What a traffic budget implies for a population that stays on disk, with the proof that it is optimal."""

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
        census = _Census(chunks)
        # the extremes stand for all in what is asked of fan-outs, bounds and budgets
        ends = check_population([census.least, census.largest], lower=lower, upper=upper)
        ends.check_prices()
        if census.total == np.inf:
            raise ValueError("fan_out must have a finite sum, got one that overflows")
        if budget is not None:
            ends.check_budget(budget)
        if census.counts is not None:
            return _solve_counted(chunks, census.counts, beta, budget, lower, upper, write)
        return _Search(chunks, census, lower, upper, write).solve(beta, budget)


class _Census:
    """What one pass tells of a population: sum, extremes, silent units, a sample, and counts where it has few."""

    def __init__(self, chunks: Chunks):
        from bbtheory.theory import chunk_kernel

        stride = max(1, min(_SAMPLED, chunks.size // _SAMPLED), chunks.size // _SAMPLE)
        counts = np.zeros(LARGEST_COUNTED + 1, np.int64) if chunks.dtype.kind in "iu" else None
        whole = np.empty(SIZE, np.int64)
        sums, sample, seen = [], [], 0
        self.least, self.largest, self.n_silent = np.inf, 0.0, 0
        for part, cost in chunks.with_costs():
            least, largest = part.min(), part.max()
            if not (least >= 0 and largest < np.inf):
                at = int(np.flatnonzero(~((part >= 0) & (part < np.inf)))[0])
                raise ValueError(
                    f"{chunks.name} must be finite numbers in [0, inf), got {part[at]} at index {seen + at}"
                )
            self.least, self.largest = min(self.least, float(least)), max(self.largest, float(largest))
            if counts is not None and largest <= LARGEST_COUNTED:
                np.copyto(whole[: part.size], part, casting="unsafe")
                chunk_kernel.count(whole[: part.size], counts)
            else:
                counts = None
            with np.errstate(over="ignore"):
                sums.append(float(cost.sum()))
            sample.append(cost[-seen % stride :: stride].copy())
            self.n_silent += part.size - int(np.count_nonzero(part))
            seen += part.size
        self.counts, self.sample = counts, np.concatenate(sample)
        try:
            self.total = math.fsum(sums)
        except OverflowError:
            self.total = math.inf


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
        assert isinstance(error.record, Equilibrium)
        error.record = result(error.record)
        raise
    if write is not None:
        on_rate = np.zeros(counts.size)
        on_rate[distinct] = e.on_rate
        for part in chunks:
            write(on_rate[part])
    return result(e)


class _Certificate(NamedTuple):
    """Sums over all units at one multiplier, of scaled costs."""

    beta: float
    traffic: float
    slope: float
    entropy: float
    n_underflow: int
    stationarity: float


class _Search:
    """The search for the multiplier of fan-outs that are read anew at each step."""

    def __init__(self, chunks: Chunks, census: _Census, lower: float, upper: float, write: Any):
        self.chunks, self.census, self.bounds, self.write = chunks, census, (lower, upper), write
        self.scale = 1.0 / census.largest
        self.certificate: _Certificate | None = None
        self._last = math.inf

    def solve(self, beta: float | None, budget: float | None) -> ChunkedEquilibrium:
        lower, upper = self.bounds
        if budget is None:
            assert beta is not None
            return self._result(beta / self.scale, None, CONVERGED)
        total = self.census.total
        unpriced, least = total * min(max(0.5, lower), upper), total * lower
        if unpriced <= budget:
            warnings.warn(
                f"the budget {budget:g} does not bind: without it the population carries {unpriced:g}",
                stacklevel=3,
            )
            return self._result(0.0, budget, NOT_BINDING)
        if least > budget * (1.0 + dual.SUM_TOLERANCE):
            raise InfeasibleError(
                f"budget must be at least {least:g}, the traffic of the lower bounds, got {budget:g}",
                self._infeasible(budget, least),
            )
        target = np.array([budget * self.scale])
        high = dual.bracket(float(self.chunks.size), target, least * self.scale)
        found = dual.find_roots(self._measure, target, np.array([self._guess(budget)]), high)
        record = self._result(
            float(found.beta[0]), budget, CONVERGED if found.converged[0] else UNCONVERGED
        )
        if not found.converged[0]:
            raise ConvergenceError(
                f"beta = {record.beta:g} misses the budget by {record.residuals.budget:.1e} of it "
                f"after {found.n_iterations} passes",
                record,
            )
        return record

    def _guess(self, budget: float) -> float:
        """Solve for the sample's share of the budget; share by fan-outs, so that it scatters little."""
        total, sample = self.census.total, self.census.sample
        part = float(sample.sum())
        if part == 0:
            return float(dual.first_guess(self.chunks.size, total * self.scale, 0.5 * budget * self.scale))
        lower, upper = self.bounds
        root = dual.search(check_population(sample, lower=lower, upper=upper), budget * (part / total))[0]
        return root / self.scale

    def _measure(self, rows: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, ...]:
        """Moments of the traffic for `dual.find_roots`; of what is likely the last call, the certificate too."""
        from bbtheory.theory import chunk_kernel

        at = float(beta[0])
        near = abs(at - self._last) <= _LAST_STEP * at
        self._last = at
        if near and self.write is None:
            return self._certify(at)
        sums = [
            chunk_kernel.measure_chunk(cost, self.scale, at, *self.bounds)
            for _, cost in self.chunks.with_costs()
        ]
        return tuple(np.array([math.fsum(column)]) for column in zip(*sums, strict=True))

    def _certify(self, beta: float) -> tuple[np.ndarray, ...]:
        """Compute all on-rates, what proves them, and the moments; write them where that is asked for."""
        from bbtheory.theory import chunk_kernel

        on_rate = np.empty(SIZE)
        sums = []
        for _, cost in self.chunks.with_costs():
            out = on_rate[: cost.size]
            sums.append(chunk_kernel.certify_chunk(cost, self.scale, beta, *self.bounds, out))
            if self.write is not None:
                self.write(out)
        *moments, entropy, n_underflow, stationarity = zip(*sums, strict=True)
        s, s1, s2, s3 = (math.fsum(column) for column in moments)
        self.certificate = _Certificate(
            beta, s, s1, math.fsum(entropy), sum(n_underflow), float(np.max(stationarity))
        )
        return tuple(np.array([moment]) for moment in (s, s1, s2, s3))

    def _result(self, beta: float, budget: float | None, status: str) -> ChunkedEquilibrium:
        """Return the answer at a multiplier of the scaled costs."""
        if self.certificate is None or self.certificate.beta != beta:
            self._certify(beta)
        found = self.certificate
        assert found is not None
        largest = self.census.largest
        traffic = found.traffic * largest
        budget = traffic if budget is None else budget
        # a budget of 0 is what a given beta implies where all on-rates underflow
        excess = (traffic - budget) / budget if budget > 0 else 0.0
        return self._record(
            beta=beta * self.scale,
            budget=budget,
            traffic=traffic,
            coding_entropy=found.entropy,
            dtraffic_dbeta=-found.slope * largest * largest,
            n_underflow=found.n_underflow if self.bounds[1] > 0 else 0,
            residuals=Residuals(found.stationarity, abs(excess) if beta > 0 else max(excess, 0.0)),
            status=status,
        )

    def _infeasible(self, budget: float, traffic: float) -> ChunkedEquilibrium:
        """Return all units on their lower bound, the point that breaks the budget least."""
        return self._record(
            beta=math.inf,
            budget=budget,
            traffic=traffic,
            coding_entropy=self.chunks.size * coding_entropy(self.bounds[0]),
            dtraffic_dbeta=0.0,
            n_underflow=0,
            residuals=Residuals(math.nan, (traffic - budget) / budget),
            status=INFEASIBLE,
        )

    def _record(self, **fields: Any) -> ChunkedEquilibrium:
        return ChunkedEquilibrium(
            n_units=self.chunks.size,
            n_silent=self.census.n_silent,
            least_fan_out=self.census.least,
            mean_fan_out=self.census.total / self.chunks.size,
            largest_fan_out=self.census.largest,
            lower=self.bounds[0],
            upper=self.bounds[1],
            n_distinct=0,
            n_passes=self.chunks.n_passes,
            **fields,
        )

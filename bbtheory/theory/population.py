"""The population of an equilibrium: checked fan-outs, costs, bounds, and what its budget must meet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate

# the smallest budget, as a share of the largest c_i k_i or in itself, whose traffic is normal float64 numbers
SMALLEST_BUDGET = 1e-290
# from here counting equal fan-outs costs less than an exponential for each
COUNTED_FROM = 1_000
# units per partial sum
BLOCK = 4096


@dataclass(frozen=True)
class Population:
    """Fan-outs with their costs and bounds; rows of two-dimensional arrays are populations.

    Arrays are kept, not copied, and scalars are spread without memory: at a million units an allocation costs
    more than the exponentials.
    """

    fan_out: np.ndarray
    count: np.ndarray
    cost: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @cached_property
    def price(self) -> np.ndarray:
        """c_i k_i, traffic per unit of on-rate."""
        if is_constant(self.cost, 1.0):
            return self.fan_out.astype(np.float64, copy=False)
        return self.cost * self.fan_out

    @cached_property
    def multiplicity(self) -> np.ndarray | None:
        """The counts, or None where every row is one unit."""
        return None if is_constant(self.count, 1) else self.count

    @cached_property
    def n_units(self) -> int:
        """Units of each population, multiplicities counted."""
        return self.fan_out.shape[-1] if self.multiplicity is None else int(self.count.sum())

    @cached_property
    def weight(self) -> np.ndarray:
        """count_i c_i k_i."""
        return self.price if self.multiplicity is None else self.price * self.multiplicity

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
        """The bounds on on-rates, or (None, None) where they restrict nothing."""
        free = is_constant(self.lower, 0.0) and is_constant(self.upper, 1.0)
        return (None, None) if free else (self.lower, self.upper)

    @property
    def contiguous_bounds(self) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
        """`bounds` for compiled code, which is fast on contiguous arrays only."""
        lower, upper = self.bounds
        if lower is None or upper is None:
            return None, None
        return np.ascontiguousarray(lower), np.ascontiguousarray(upper)

    @cached_property
    def total(self) -> np.ndarray:
        """sum_i count_i c_i k_i of each population."""
        return self.weight.sum(axis=-1)

    @cached_property
    def largest(self) -> np.ndarray:
        """Max c_i k_i of each population."""
        return self.price.max(axis=-1)

    @cached_property
    def traffic_at_zero(self) -> np.ndarray:
        """Traffic at beta = 0, where every unit is as near 1/2 as its bounds let it."""
        if self.bounds[0] is None:
            return 0.5 * self.total
        return (self.weight * np.clip(0.5, self.lower, self.upper)).sum(axis=-1)

    @cached_property
    def traffic_at_lower(self) -> np.ndarray:
        """Traffic of the lower bounds, the least any on-rates can carry."""
        if self.bounds[0] is None:
            return np.zeros(self.price.shape[:-1])
        return (self.weight * self.lower).sum(axis=-1)

    def check_prices(self) -> None:
        """Refuse prices that overflow and populations in which nobody pays."""
        with np.errstate(over="ignore"):
            good = (self.total < np.inf) & (self.largest > SMALLEST_BUDGET)
        if good.all():
            return
        if not (self.total < np.inf).all():
            raise ValueError("fan_out times cost must have a finite sum, got one that overflows")
        where = "" if self.price.ndim == 1 else f" in population {int(np.flatnonzero(~good)[0])}"
        raise ValueError(
            f"fan_out must hold a unit that drives links at a cost, got only zeros{where} "
            f"(prices below {SMALLEST_BUDGET:g} count as such)"
        )

    def check_budget(self, budget: np.ndarray | float) -> None:
        """Refuse a budget that float64 on-rates cannot spend."""
        if (SMALLEST_BUDGET * np.maximum(self.largest, 1.0) > budget).any():
            raise ValueError(
                f"budget must be at least {SMALLEST_BUDGET:g}, and of the largest fan_out times cost "
                f"(on-rates underflow below), got {float(np.min(budget)):g}"
            )

    def counted(self) -> tuple[Population, np.ndarray] | None:
        """Return one row per distinct fan-out and where each unit's row is, where that is fewer rows.

        Only for integer fan-outs that all else treats alike, and of which there are about as many as units.
        """
        alike = self.multiplicity is None and self.bounds[0] is None and is_constant(self.cost)
        if not (alike and self.fan_out.dtype == np.int64 and self.fan_out.ndim == 1):
            return None
        if self.fan_out.size < COUNTED_FROM or int(self.fan_out.max()) > self.fan_out.size:
            return None
        occurrences = np.bincount(self.fan_out)
        distinct = np.flatnonzero(occurrences)
        row = np.zeros(occurrences.size, dtype=np.int64)
        row[distinct] = np.arange(distinct.size)
        parts = [
            np.broadcast_to(values.flat[0], distinct.shape) for values in (self.cost, self.lower, self.upper)
        ]
        return Population(distinct, occurrences[distinct], *parts), row


def inner_product(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of x_i y_i to a few units in the last place; one long sum of a million can be off by 1e-12."""
    length = 2 * BLOCK  # longer products would start BLAS threads, which cost more than they save
    return math.fsum(float(np.dot(x[i : i + length], y[i : i + length])) for i in range(0, x.size, length))


def is_constant(values: np.ndarray, value: float | None = None) -> bool:
    """Whether an array repeats one value (this value, if given) by its strides alone."""
    return values.strides == (0,) * values.ndim and (value is None or bool(values.flat[0] == value))


@lru_cache(maxsize=256)
def _constant(value: float, shape: tuple[int, ...]) -> np.ndarray:
    """Return a read-only array that repeats a number; it holds one."""
    return np.broadcast_to(np.float64(value), shape)


@lru_cache(maxsize=64)
def _once(shape: tuple[int, ...]) -> np.ndarray:
    """Return the counts of a population without multiplicities."""
    return np.broadcast_to(np.int64(1), shape)


def spread(name: str, value: ArrayLike, domain: str, shape: tuple[int, ...]) -> np.ndarray:
    """Check a number, or an array of the population's shape (or of one row), and spread it to that shape."""
    if isinstance(value, (int, float)):
        return _constant(validate.real(name, value, domain), shape)
    given = validate.array(name, value, domain, ndim=None)
    if given.ndim and given.shape not in (shape, shape[-1:]):
        raise ValueError(f"{name} must be a number or have shape {shape}, got shape {given.shape}")
    return np.broadcast_to(given, shape)


def check_population(
    fan_out: ArrayLike,
    *,
    count: ArrayLike | None = None,
    cost: ArrayLike = 1.0,
    lower: ArrayLike = 0.0,
    upper: ArrayLike = 1.0,
    ndim: int = 1,
) -> Population:
    """Check the arguments every equilibrium shares; raise ValueError naming the one that is wrong."""
    k = validate.array("fan_out", fan_out, "[0, inf)", ndim=ndim, keep_integers=True)
    n = _once(k.shape)
    if count is not None:
        n = validate.array("count", count, "[1, 1e15]", shape=k.shape, keep_integers=True)
        if n.dtype != np.int64:
            raise ValueError(f"count must be integers, got dtype {n.dtype}")
    c = spread("cost", cost, "[0, inf)", k.shape)
    lo, hi = spread("lower", lower, "[0, 1]", k.shape), spread("upper", upper, "[0, 1]", k.shape)
    population = Population(k, n, c, lo, hi)
    if population.bounds[0] is not None and (lo > hi).any():
        at = int(np.flatnonzero((lo > hi).ravel())[0])
        raise ValueError(f"lower must not exceed upper, got {lo.flat[at]} > {hi.flat[at]} at index {at}")
    return population

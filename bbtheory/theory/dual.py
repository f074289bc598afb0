"""The dual of one traffic budget: the multiplier beta at which a population spends exactly its budget.

For costs c_i >= 0 (traffic per unit of on-rate) the traffic S(beta) = sum_i c_i a_i, with the on-rates
a_i = clip(1/(1+e^(beta c_i)), lo_i, hi_i), falls with beta, so S(beta) = T has one root. It is found by
Householder's fourth-order step on ln S(beta) - ln T, kept inside a bracket. Costs are scaled by their
largest, y = c/max c, so that powers of them neither overflow nor vanish; beta here is the multiplier of y.
Rows are populations: ``y`` is (n_populations, n_units). This file is numpy; dual_kernel.py is the same search
fused into one compiled loop, for populations large enough to pay for loading numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bbtheory.theory.entropy import MAX_BALANCED_TRAFFIC
from bbtheory.theory.population import Population

# from here the compiled search repays loading numba (about 0.5 s once) within a handful of calls
COMPILED_FROM = 10_000
MAX_ITERATIONS = 400
# steps that creep along a flat stretch give way, every second time, to halving the bracket in the logarithm
PATIENCE = 20
# a budget is met to the rounding of a sum over many units (measured below 1e-14 at 1e6 units) ...
SUM_TOLERANCE = 2e-14
# ... plus what rounding beta to float64 leaves: relative traffic moves by (d ln S/d ln beta) eps
BETA_TOLERANCE = 2 * np.finfo(np.float64).eps


class DualRoot(NamedTuple):
    """Multipliers of the scaled costs, one per population."""

    beta: np.ndarray
    converged: np.ndarray
    n_iterations: int


def bounded_on_rate(
    price: np.ndarray,
    beta: float | np.ndarray = 1.0,
    lower: np.ndarray | None = None,
    upper: np.ndarray | None = None,
) -> np.ndarray:
    """Maximiser of h(a) - x a over [lower, upper] for x = beta price >= 0: clip(e^-x/(1+e^-x))."""
    with np.errstate(over="ignore"):  # an infinite price leaves an on-rate of 0, or the lower bound
        e = np.exp(-(beta * price))
    a = e / (1.0 + e)
    return a if lower is None or upper is None else np.clip(a, lower, upper)


def moments(
    y: np.ndarray,
    beta: np.ndarray,
    count: np.ndarray | None,
    lower: np.ndarray | None,
    upper: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Traffic S and the sizes of its first three derivatives in beta, S' = -s1, S'' = s2, S''' = -s3."""
    e = np.exp(-beta[:, None] * y)
    a = e / (1.0 + e)
    chi = a * (1.0 - a)
    weight = y if count is None else y * count
    if lower is not None and upper is not None:
        chi = np.where((a > lower) & (a < upper), chi, 0.0)  # a unit on a bound does not respond
        s = (weight * np.clip(a, lower, upper)).sum(axis=1)
    else:
        s = (weight * a).sum(axis=1)
    d = weight * y * chi
    s1 = d.sum(axis=1)
    d *= y
    s2 = (d * (1.0 - 2.0 * a)).sum(axis=1)
    d *= y
    return s, s1, s2, (d * (1.0 - 6.0 * chi)).sum(axis=1)


def step(s, s1, s2, s3, target):
    """Return Householder's step in beta on g = ln(S/T): for scalars, arrays and compiled code alike."""
    g = np.log(s / target)
    g1 = -s1 / s
    g2 = s2 / s - g1 * g1
    g3 = -s3 / s - 3.0 * g1 * s2 / s + 2.0 * g1 * g1 * g1
    return -g * (g1 * g1 - 0.5 * g * g2) / (g1 * g1 * g1 - g * g1 * g2 + g * g * g3 / 6.0)


def bracket(n_units, target, floor):
    """Return a beta beyond the root: one unit's traffic above its floor is at most W(1/e)/beta."""
    # target - floor is exact zero when the budget just meets the lower bounds; keep the bracket finite
    return MAX_BALANCED_TRAFFIC * n_units / np.maximum(target - floor, 1e-16 * target)


def first_guess(n_units, total, target):
    """Return the root for equal costs of the same mean: L(T/sum y)/mean y."""
    share = target / total
    return np.log((1.0 - share) / share) * n_units / total


def solve_rows(
    y: np.ndarray,
    target: np.ndarray,
    count: np.ndarray | None = None,
    lower: np.ndarray | None = None,
    upper: np.ndarray | None = None,
) -> DualRoot:
    """Find S(beta) = target for every row whose budget binds (target below S(0), not below the lower bounds).

    Parameters
    ----------
    y : (n_populations, n_units) costs in [0, 1], the largest of each row 1
    target : (n_populations,) scaled budgets > 0
    count : (n_units,) multiplicities, or None
    lower, upper : bounds on on-rates, (n_units,) or the shape of y, both or none
    """
    weight = y if count is None else y * count
    n_units = np.broadcast_to(y.shape[1] if count is None else count.sum(), target.shape)
    floor = np.zeros_like(target) if lower is None else (weight * lower).sum(axis=1)
    total = weight.sum(axis=1)
    with np.errstate(all="ignore"):
        guess = first_guess(n_units, total, np.minimum(target, 0.499 * total))

    def measure(rows: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, ...]:
        bounds = [b if b is None or b.ndim < 2 else b[rows] for b in (lower, upper)]
        return moments(y[rows], beta, count, *bounds)

    return find_roots(measure, target, guess, bracket(n_units, target, floor))


def find_roots(
    measure: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]],
    target: np.ndarray,
    guess: np.ndarray,
    high: np.ndarray,
) -> DualRoot:
    """Find S(beta) = target in (0, high) for every row; each row's root is where it was last measured.

    Parameters
    ----------
    measure : callable
        (rows, their betas) -> `moments` of these rows.
    target : (n_rows,) scaled budgets > 0
    guess : (n_rows,) where to start
    high : (n_rows,) betas beyond the roots
    """
    low, high = np.zeros_like(target), high.copy()
    beta = np.clip(guess, 0.0, high)
    converged = np.zeros(target.shape, dtype=bool)
    active = np.arange(target.size)
    iteration = 0
    while active.size and iteration < MAX_ITERATIONS:
        iteration += 1
        here, goal = beta[active], target[active]
        s, s1, s2, s3 = measure(active, here)
        excess = s - goal
        done = np.abs(excess) <= goal * SUM_TOLERANCE + here * s1 * BETA_TOLERANCE
        low[active] = np.where(excess > 0, here, low[active])
        high[active] = np.where(excess < 0, here, high[active])
        with np.errstate(all="ignore"):  # a step from a flat or vanished S is nan or inf and is not taken
            new = here + step(s, s1, s2, s3, goal)
        lo, hi = low[active], high[active]
        inside = (new > lo) & (new < hi) & (iteration < PATIENCE or iteration % 2 == 0)
        halfway = np.where(lo > 0, np.sqrt(lo) * np.sqrt(hi), 1e-3 * hi)
        new = np.where(inside, new, halfway)
        beta[active] = np.where(done, here, new)
        converged[active] = done
        active = active[~done]
    return DualRoot(beta, converged, iteration)


def on_rate_at(population: Population, beta: float) -> np.ndarray:
    """On-rates at a given multiplier."""
    price = population.price
    if price.size < COMPILED_FROM:
        return bounded_on_rate(price, beta, *population.bounds)
    from bbtheory.theory import dual_kernel

    lower, upper = population.contiguous_bounds
    on_rate = np.empty_like(price)
    dual_kernel.fill_on_rate(price, beta, lower, upper, on_rate)
    return on_rate


def search(population: Population, budget: float) -> tuple[float, np.ndarray, bool, int]:
    """Find a binding budget's beta and on-rates, in numpy or, where it pays, compiled."""
    price, count = population.price, population.multiplicity
    scale = 1.0 / float(population.largest)
    if price.size >= COMPILED_FROM:
        from bbtheory.theory import dual_kernel

        lower, upper = population.contiguous_bounds
        on_rate = np.empty_like(price)
        n_units = float(population.n_units)
        total, floor = float(population.total), float(population.traffic_at_lower)
        root, converged, used, _ = dual_kernel.solve_population(
            price, scale, budget, n_units, total, floor, count, lower, upper, 1.0, on_rate
        )
        return root, on_rate, converged, used
    bounds = population.bounds
    found = solve_rows((price * scale)[None], np.array([budget * scale]), count, *bounds)
    beta = float(found.beta[0]) * scale
    return beta, bounded_on_rate(price, beta, *bounds), bool(found.converged[0]), found.n_iterations


def search_rows(
    population: Population, budget: np.ndarray, binding: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """On-rates, multipliers and convergence of the rows whose budget binds; zeros elsewhere."""
    price, scale = population.price, 1.0 / population.largest
    if price.size >= COMPILED_FROM:
        from bbtheory.theory import dual_kernel

        root, converged = np.zeros(len(price)), np.zeros(len(price), dtype=bool)
        on_rate = np.empty_like(price)
        lower, upper = population.contiguous_bounds
        total, floor = population.total, population.traffic_at_lower
        used = dual_kernel.solve_populations(
            price, scale, budget, total, floor, binding, lower, upper, on_rate, root, converged
        )
        return on_rate, root, converged, used
    rows = np.flatnonzero(binding)
    lower, upper = population.bounds
    found = solve_rows(
        price[rows] * scale[rows, None],
        budget[rows] * scale[rows],
        None,
        None if lower is None else lower[rows],
        None if upper is None else upper[rows],
    )
    root, converged = np.zeros(len(price)), np.zeros(len(price), dtype=bool)
    root[rows], converged[rows] = found.beta * scale[rows], found.converged
    on_rate = bounded_on_rate(price, root[:, None], *population.bounds)
    return on_rate, root, converged, found.n_iterations

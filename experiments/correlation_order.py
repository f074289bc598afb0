"""How far, and to what order in the correlations, is the corrected balance of correlated units right?

Source: this project's expansion of the balance L(a_i) = beta k_i + shift_i of correlated units, whose error
should be of order rho^2, rho^3, rho^4 for co-activations, covariances, correlation coefficients held fixed
(leading correction each), and whose series should fail for rare units beyond |rho| of about a/(1-a). The
truth is the optimum itself: the distribution over all states that maximises the entropy under a traffic
budget and the held statistics, found for 3 to 6 units by an optimiser that knows of no fields, couplings or
balance.

Time: 3 minutes on one core (CPU preset), no accelerator. What would count against it: a measured order below
the stated one; an optimum that does not lie on the exact line; an error beyond its estimate where that is
trusted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.records import ConvergenceError, Record
from bbtheory.theory.binary_code import independent_code
from bbtheory.theory.correlated import KNOWN_ORDER, BalanceShift, balance_shift
from bbtheory.theory.correlated_optimum import solve_correlated
from bbtheory.theory.correlation_level import correlation_level
from bbtheory.theory.entropy import inactivity_log_odds, on_rate_from_log_odds
from bbtheory.theory.pair_statistics import HOLDS
from bbtheory.theory.pairwise import square
from experiments.protocol import Progress

LINES = ("plain", "order_1", "order_2", "order_3", "order_4", "resummed")
THRESHOLDS = (0.1, 0.5)
RATIOS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, np.inf)

_SCAN = 40  # correlations tried in search of the first failure


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    sizes : tuple of int
        Numbers of units.
    beta : float
        Price of traffic, nats per link; fan-outs are drawn so that on-rates lie around 0.25.
    levels : tuple of float
        Correlations at which the order is measured; those of the pairs are -1 to 1 times these.
    on_rates : tuple of float
        Mean on-rates at which the range of the series is measured, units within 20 % of each other, equally
        correlated.
    n_codes : int
        Random codes per seed that test the error estimates.
    seeds : tuple of int
        One population of each size per seed.
    """

    sizes: tuple[int, ...] = (3, 4, 5, 6)
    beta: float = 0.3
    levels: tuple[float, ...] = (0.002, 0.004, 0.008, 0.016)
    on_rates: tuple[float, ...] = (0.3, 0.1, 0.03, 0.01, 0.003)
    n_codes: int = 1000
    seeds: tuple[int, ...] = tuple(range(32))

    def __post_init__(self) -> None:
        for n in self.sizes:
            validate.integer("sizes", n, "[2, 8]")
        validate.real("beta", self.beta, "(0, inf)")
        if len(self.levels) < 2:
            raise ValueError(f"levels must be at least two to measure an order, got {self.levels}")
        for level in self.levels:
            validate.real("levels", level, "(0, 0.1]")
        for on_rate in self.on_rates:
            validate.real("on_rates", on_rate, "(0, 0.4]")
        validate.integer("n_codes", self.n_codes, "[10, inf)")


SMOKE = Config(sizes=(3,), levels=(0.004, 0.016), on_rates=(0.03,), n_codes=40, seeds=(0,))
CPU = Config(n_codes=250, seeds=tuple(range(6)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One seed; axes as in `Result`."""

    KIND: ClassVar[str] = "correlation_order_cell"

    slope: np.ndarray
    gap: np.ndarray
    breakdown: np.ndarray
    trust: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Orders, ranges and the reach of the error estimates.

    Parameters
    ----------
    holds, lines : tuple of str
        What is held fixed; the plain line L(a) = beta k, the series through each order, and the resummed
        line.
    sizes : np.ndarray, shape (n_sizes,)
    slope : np.ndarray, shape (n_holds, n_lines, n_sizes, n_seeds)
        Slope of the log of the rms error of the line at the optimum against that of the correlation; NaN
        where a line is not defined.
    slope_stated : np.ndarray, shape (n_holds, n_lines)
        The order that theory states.
    gap : np.ndarray, shape (n_holds, n_sizes, n_seeds), nats
        Largest difference of L(a_i) between the general optimiser and the stationary point of the theory.
    on_rates : np.ndarray, shape (n_rates,)
    thresholds : np.ndarray, shape (n_thresholds,)
        Relative errors of the shift.
    breakdown : np.ndarray, shape (n_holds, 2, n_rates, n_sizes, n_thresholds, n_seeds)
        The correlation from which the relative error of the leading correction (first) or the resummed line
        (second) exceeds the threshold; NaN where it never does.
    ratio_edges : np.ndarray
        Bins of the expansion ratio.
    n_units : np.ndarray, shape (n_holds, n_bins)
        Units of random codes in each bin.
    error_median, error_90 : np.ndarray, shape (n_holds, 2, n_bins)
        Quantiles of the relative error of the leading correction and of the resummed line.
    coverage_99 : np.ndarray, shape (n_holds, 2, n_bins)
        99 % quantile of the error over its estimate.
    """

    KIND: ClassVar[str] = "correlation_order"

    holds: tuple[str, ...]
    lines: tuple[str, ...]
    sizes: np.ndarray
    slope: np.ndarray
    slope_stated: np.ndarray
    gap: np.ndarray
    on_rates: np.ndarray
    thresholds: np.ndarray
    breakdown: np.ndarray
    ratio_edges: np.ndarray
    n_units: np.ndarray
    error_median: np.ndarray
    error_90: np.ndarray
    coverage_99: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Measure orders, ranges and estimates on the populations of one seed."""
    rng = np.random.default_rng(config.seeds[0])
    progress.total(2 * len(config.sizes) + 1)
    slopes, gaps, ranges = [], [], []
    for n in config.sizes:
        slope, gap = _orders(n, config, rng)
        slopes.append(slope)
        gaps.append(gap)
        progress.tick()
    for n in config.sizes:
        spread = rng.uniform(0.8, 1.2, n)
        ranges.append([[_breakdown(a * spread, hold) for a in config.on_rates] for hold in HOLDS])
        progress.tick()
    trust = _random_codes(config.n_codes, rng)
    progress.tick()
    return Cell(
        slope=np.moveaxis(np.array(slopes), 0, -1),
        gap=np.moveaxis(np.array(gaps), 0, -1),
        breakdown=np.transpose(np.array(ranges), (1, 3, 2, 0, 4)),
        trust=trust,
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Gather the seeds and bin the random codes."""
    rows = np.concatenate([cell.trust for cell in cells])
    bins = len(RATIOS) - 1
    count = np.zeros((len(HOLDS), bins), dtype=np.int64)
    median, upper, cover = (np.full((len(HOLDS), 2, bins), np.nan) for _ in range(3))
    for h in range(len(HOLDS)):
        for b in range(bins):
            part = rows[(rows[:, 0] == h) & (rows[:, 1] >= RATIOS[b]) & (rows[:, 1] < RATIOS[b + 1])]
            count[h, b] = len(part)
            for line, (error, estimate) in enumerate(((3, 4), (5, 6))):
                if len(part):
                    relative = part[:, error] / part[:, 2]
                    median[h, line, b], upper[h, line, b] = np.quantile(relative, (0.5, 0.9))
                known = part[part[:, estimate] > 0]  # two units have no loops to estimate
                if len(known):
                    cover[h, line, b] = np.quantile(known[:, error] / known[:, estimate], 0.99)
    return Result(
        holds=HOLDS,
        lines=LINES,
        sizes=np.array(config.sizes),
        slope=np.stack([cell.slope for cell in cells], axis=-1),
        slope_stated=np.array(
            [[1, 2, 3, 4, np.nan, 4], [2, 2, 3, 4, 5, 5], [3, 3, 3, 4, 5, 5]], dtype=np.float64
        ),
        gap=np.stack([cell.gap for cell in cells], axis=-1),
        on_rates=np.array(config.on_rates),
        thresholds=np.array(THRESHOLDS),
        breakdown=np.stack([cell.breakdown for cell in cells], axis=-1),
        ratio_edges=np.array(RATIOS),
        n_units=count,
        error_median=median,
        error_90=upper,
        coverage_99=cover,
    )


def general_optimum(
    fan_out: np.ndarray, budget: float, held: np.ndarray, hold: str
) -> tuple[np.ndarray, float]:
    """Maximise the entropy over all 2^n state probabilities under a budget and held pair statistics.

    Sequential quadratic programming on the probabilities themselves: nothing of the theory but its question.

    Parameters
    ----------
    fan_out : ndarray (n,)
    budget : float
        Largest traffic; it must bind.
    held : ndarray (n (n-1)/2,)
        Co-activations, covariances or correlations of the pairs i < j.
    hold : str

    Returns
    -------
    tuple of ndarray (n,) and float
        On-rates and entropy of the optimum.
    """
    from scipy.optimize import minimize

    n = fan_out.size
    rows, columns = np.triu_indices(n, 1)
    states = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
    both = states[:, rows] * states[:, columns]

    def constraints(p: np.ndarray) -> np.ndarray:
        a, q = p @ states, p @ both
        c = q - a[rows] * a[columns]
        chi = a * (1.0 - a)
        scale = np.sqrt(chi[rows] * chi[columns])
        error = {"coactivation": q - held, "covariance": c - held, "correlation": c - held * scale}[hold]
        return np.concatenate([[p.sum() - 1.0], error, [(budget - a @ fan_out) / fan_out.sum()]])

    def gradients(p: np.ndarray) -> np.ndarray:
        a = p @ states
        out = both.T.copy()
        if hold != "coactivation":
            out -= a[columns, None] * states.T[rows] + a[rows, None] * states.T[columns]
        if hold == "correlation":
            sd = np.sqrt(a * (1.0 - a))
            slope = (1.0 - 2.0 * a) / (2.0 * sd)
            out -= (held * slope[rows] * sd[columns])[:, None] * states.T[rows]
            out -= (held * slope[columns] * sd[rows])[:, None] * states.T[columns]
        return np.vstack([np.ones(2**n), out, -(states @ fan_out) / fan_out.sum()])

    start = independent_code(np.full(n, budget / fan_out.sum())).probability
    found = minimize(
        lambda p: float(p @ np.log(p)),
        start,
        jac=lambda p: np.log(p) + 1.0,
        bounds=[(1e-14, 1.0)] * 2**n,
        constraints={"type": "eq", "fun": constraints, "jac": gradients},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    p = found.x
    return p @ states, float(-(p @ np.log(p)))


def _orders(n: int, config: Config, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (n_holds, n_lines) and gaps (n_holds,) of one population."""
    fan_out = rng.uniform(1.0, 6.0, n)
    pattern = rng.uniform(-1.0, 1.0, n * (n - 1) // 2)
    rows, columns = np.triu_indices(n, 1)
    a = on_rate_from_log_odds(config.beta * fan_out)
    slope = np.full((len(HOLDS), len(LINES)), np.nan)
    gap = np.zeros(len(HOLDS))
    for h, hold in enumerate(HOLDS):
        errors = []
        for level in config.levels:
            sd = np.sqrt(a * (1.0 - a))
            held = level * pattern
            if hold != "correlation":
                held = held * sd[rows] * sd[columns]
            if hold == "coactivation":
                held = held + a[rows] * a[columns]
            given: dict[str, Any] = {hold: square(held, n) + np.eye(n)}
            optimum = solve_correlated(fan_out, beta=config.beta, **given)
            general, _ = general_optimum(fan_out, optimum.traffic, held, hold)
            # the general optimiser is good to some 1e-9, the stationary point to 1e-14: errors are taken at
            # the latter
            gap[h] = max(
                gap[h],
                np.abs(inactivity_log_odds(general) - inactivity_log_odds(optimum.on_rate)).max(),
            )
            lines = [np.zeros(n)]
            for order in range(1, 5):
                if order < KNOWN_ORDER[hold]:
                    lines.append(_shift(optimum.on_rate, optimum.coactivation, hold, "series", order).shift)
            known = len(lines)
            lines.append(_shift(optimum.on_rate, optimum.coactivation, hold, "resummed", None).shift)
            errors.append([np.sqrt(np.mean((line - optimum.shift) ** 2)) for line in lines])
        fitted = np.polyfit(np.log(config.levels), np.log(errors), 1)[0]
        slope[h, :known] = fitted[:-1]
        slope[h, -1] = fitted[-1]
    return slope, gap


def _shift(a: np.ndarray, q: np.ndarray, hold: str, method: str, order: int | None) -> BalanceShift:
    return balance_shift(a, hold=hold, coactivation=q, method=method, order=order)


def _breakdown(a: np.ndarray, hold: str) -> np.ndarray:
    """First correlation at which each line's relative error passes each threshold, (2, n_thresholds)."""
    n = a.size
    highest = correlation_level(a, 1.0, hold=hold, method="series").highest_level
    levels = np.geomspace(1e-3 * a.mean(), 0.99 * highest, _SCAN)
    relative = []
    for level in levels:
        matrix = np.eye(n) + level * (1.0 - np.eye(n))
        exact, series, resummed = (
            balance_shift(a, hold=hold, correlation=matrix, method=m).shift
            for m in ("exact", "series", "resummed")
        )
        size = np.abs(exact).max()
        relative.append([np.abs(series - exact).max() / size, np.abs(resummed - exact).max() / size])
    out = np.full((2, len(THRESHOLDS)), np.nan)
    for line in range(2):
        error = np.array(relative)[:, line]
        for t, threshold in enumerate(THRESHOLDS):
            over = np.flatnonzero(error > threshold)
            if over.size:
                out[line, t] = levels[over[0]]
    return out


def _random_codes(n_codes: int, rng: np.random.Generator) -> np.ndarray:
    """Rows (hold, expansion ratio, |shift|, series error, its estimate, resummed error, its estimate)."""
    rows = []
    for _ in range(n_codes):
        n = int(rng.integers(2, 7))
        a = rng.choice([0.01, 0.03, 0.1, 0.3]) * rng.uniform(0.5, 1.5, n)
        low = -1.0 if rng.random() < 0.3 else 0.0
        level = 10.0 ** rng.uniform(-3.0, -0.3)
        matrix = np.eye(n) + square(level * rng.uniform(low, 1.0, n * (n - 1) // 2), n)
        try:
            for h, hold in enumerate(HOLDS):
                exact, series, resummed = (
                    balance_shift(a, hold=hold, correlation=matrix, method=m)
                    for m in ("exact", "series", "resummed")
                )
                rows.append(
                    np.column_stack(
                        [
                            np.full(n, h),
                            exact.expansion_ratio,
                            np.abs(exact.shift),
                            np.abs(series.shift - exact.shift),
                            series.error_estimate,
                            np.abs(resummed.shift - exact.shift),
                            resummed.error_estimate,
                        ]
                    )
                )
        except (ValueError, ConvergenceError):
            continue  # no binary code has these correlations
    return np.concatenate(rows)

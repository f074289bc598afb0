"""Does the balance survive correlated activity, and does the entropy of patterns stay a sum over units?

Source: arXiv 2510.01263 derives L(a) = beta k for units that are weakly correlated, H(h) ~ sum_i h(a_i)
(assumption A2), and leaves strong correlations open. Five answers against the mean correlation of the pairs:

rule       units set their degrees by the local rule (controller; threshold) from finite batches of correlated
           activity; the line through fresh measurements. The rule sees each unit alone, so nothing should
           move but the scatter: units err together, and a fit that takes them for independent is too sure.
coupled    units coupled to each other pay a price per link and are sampled from their states; the line moves,
           by what theory predicts for co-activations held fixed.
optimum    the best on-rates under a budget with co-activations, covariances or correlations held; the line
           through them, and what on-rates on the plain line cost in entropy.
patterns   the entropy of patterns against the sum of unit entropies, counted for small populations.
large      the same for large ones of equal units, whose patterns of one count are equally likely, so that
           the counts tell their entropy.

Controls: correlation 0, where nothing may move; shuffled degrees, which may show no line.

Time: 2 min on one core (CPU preset), no accelerator. What would count against robustness: a slope off beta by
more than its error at weak correlation (up to 0.1), the threshold rule's hyperbola turned into a line, or an
optimum whose slope is off by more than 10 %; against this project's corrections: a coupled line off the
predicted one by more than its error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory import balance_shift, fit_balance, match_code, solve_correlated, solve_coupled, validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.measure import measure_activity, measure_coding
from bbtheory.records import ConvergenceError, Record
from bbtheory.simulate import (
    cut_correlation,
    pattern_probability,
    simulate_correlated,
    simulate_correlated_balance,
    simulate_patterns,
)
from bbtheory.theory.entropy import binary_entropy, inactivity_log_odds, on_rate_from_log_odds
from bbtheory.theory.pair_statistics import HOLDS
from experiments.protocol import Progress

RULES = ("controller", "threshold")
RULE_NUMBERS = (
    "slope",
    "intercept",
    "deviation",
    "covered",
    "r_squared",
    "expected_verdict",
    "shuffled_none",
)
COUPLED_NUMBERS = (
    "slope",
    "intercept",
    "deviation",
    "slope_predicted",
    "intercept_predicted",
    "deviation_predicted",
    "slope_corrected",
    "deviation_corrected",
)
OPTIMUM_NUMBERS = ("slope_ratio", "intercept", "deviation", "deviation_corrected", "regret")
LARGE_NUMBERS = ("share",)
PATTERN_NUMBERS = ("share", "share_null", "coding_entropy", "pattern_entropy")


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    correlations : tuple of float
        Mean correlation over pairs, increasing from 0; the first is the control.
    n_units, n_coupled, n_optimum : int
        Units under the rule, coupled units, and units of the exact optimum.
    sizes : tuple of int
        Populations whose patterns are counted.
    large_sizes : tuple of int
        Populations of equal units, told by how many are on.
    beta : float, nats per link, and d0 : float, links
        The line.
    tau : float
        Of the threshold rule, links per step.
    sensitivity : float
        Nats per link by which a controlled unit's log-odds fall as it gains links.
    batch, interval, n_refreshes : int
        Samples a step, steps a refresh, refreshes.
    n_samples, n_patterns, n_large : int
        Fresh samples for on-rates under the rule, for patterns and coupled units, and for large populations.
    seeds : tuple of int
    """

    correlations: tuple[float, ...] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
    n_units: int = 48
    n_coupled: int = 10
    n_optimum: int = 6
    sizes: tuple[int, ...] = (4, 8, 12)
    large_sizes: tuple[int, ...] = (16, 64, 256)
    beta: float = 0.2
    d0: float = 4.0
    tau: float = 1.5
    sensitivity: float = 0.1
    batch: int = 64
    interval: int = 50
    n_refreshes: int = 12
    n_samples: int = 4000
    n_patterns: int = 100_000
    n_large: int = 20_000
    seeds: tuple[int, ...] = tuple(range(100))

    def __post_init__(self) -> None:
        if (
            not self.correlations
            or self.correlations[0] != 0
            or list(self.correlations) != sorted(set(self.correlations))
        ):
            raise ValueError(f"correlations must increase from 0, got {self.correlations}")
        for level in self.correlations:
            validate.real("correlations", level, "[0, 0.4]")
        validate.integer("n_units", self.n_units, "[20, inf)")
        validate.integer("n_coupled", self.n_coupled, "[5, 16]")
        validate.integer("n_optimum", self.n_optimum, "[3, 8]")
        for n in self.sizes:
            validate.integer("sizes", n, "[2, 16]")
        for n in self.large_sizes:
            validate.integer("large_sizes", n, "[2, 1024]")
        validate.real("beta", self.beta, "(0, inf)")
        validate.real("d0", self.d0)
        validate.real("tau", self.tau, "(0, inf)")
        validate.real("sensitivity", self.sensitivity, "[0, inf)")
        for name in ("batch", "interval", "n_refreshes"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        for name in ("n_samples", "n_patterns", "n_large"):
            validate.integer(name, getattr(self, name), "[100, inf)")


SMOKE = Config(
    correlations=(0.0, 0.1),
    n_units=24,
    n_coupled=6,
    n_optimum=3,
    sizes=(4,),
    interval=20,
    n_refreshes=4,
    n_samples=500,
    n_patterns=3000,
    large_sizes=(16,),
    n_large=1000,
    seeds=(0,),
)
CPU = Config(seeds=tuple(range(24)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One seed; axes as in `Result`, without seeds."""

    KIND: ClassVar[str] = "correlation_robustness_cell"

    rule: np.ndarray
    coupled: np.ndarray
    optimum: np.ndarray
    patterns: np.ndarray
    large: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Lines, entropies and their errors against the mean correlation of the pairs; seeds are the last axis.

    Numbers of one part share an array whose first axis is named beside it. Slopes are in nats per link,
    intercepts, deviations (rms distance of L(a) from the plain line beta (k - d0), or beta k) and entropies
    in nats.

    Parameters
    ----------
    correlations : np.ndarray, shape (n_levels,)
    beta, d0, tau : float
    rules, holds, sizes
        Axes.
    rule_numbers : tuple of str
        slope, intercept, deviation, r_squared of the line through fresh measurements; covered: beta lies in
        the fit's 95 % interval; expected_verdict: the fit says balanced (controller) or hyperbolic
        (threshold); shuffled_none: it finds no line in shuffled degrees.
    rule : np.ndarray, shape (n_numbers, n_rules, n_levels, n_seeds)
    coupled_numbers : tuple of str
        slope, intercept, deviation: measured; ``*_predicted``: of the exact on-rates of coupled units;
        ``*_corrected``: after subtracting the shift that theory computes from measured on-rates and
        correlations. NaN where couplings cannot make units so correlated without switching all of them on.
    coupled : np.ndarray, shape (n_numbers, n_levels, n_seeds)
    optimum_numbers : tuple of str
        slope_ratio: slope over the multiplier of the budget; regret: entropy lost on the plain line, a share
        of the best.
    optimum : np.ndarray, shape (n_numbers, n_holds, n_levels, n_seeds)
    pattern_numbers : tuple of str
        share: (sum h - H)/sum h; share_null: the same of shuffled samples.
    patterns : np.ndarray, shape (n_numbers, n_sizes, n_levels, n_seeds)
    large_sizes : np.ndarray
    large_numbers : tuple of str
    large : np.ndarray, shape (n_numbers, n_large_sizes, n_levels, n_seeds)
    """

    KIND: ClassVar[str] = "correlation_robustness"

    correlations: np.ndarray
    beta: float
    d0: float
    tau: float
    rules: tuple[str, ...]
    holds: tuple[str, ...]
    sizes: np.ndarray
    rule_numbers: tuple[str, ...]
    rule: np.ndarray
    coupled_numbers: tuple[str, ...]
    coupled: np.ndarray
    optimum_numbers: tuple[str, ...]
    optimum: np.ndarray
    pattern_numbers: tuple[str, ...]
    patterns: np.ndarray
    large_sizes: np.ndarray
    large_numbers: tuple[str, ...]
    large: np.ndarray

    def interval(self, part: str, number: str) -> np.ndarray:
        """Mean over seeds and its 95 % interval, last axis (mean, low, high), of a number of a part."""
        values = getattr(self, part)[getattr(self, f"{part.removesuffix('s')}_numbers").index(number)]
        return _with_interval(values)


def _with_interval(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis and its 95 % interval, (..., 3)."""
    mean, (low, high) = mean_interval(np.moveaxis(values, -1, 0))
    return np.stack([mean, low, high], axis=-1)


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Measure all parts for one seed: units stay the same from one correlation to the next."""
    seed = config.seeds[0]
    levels = config.correlations
    progress.total(5 * len(levels))
    parts: dict[str, Any] = {}
    for part, measure in (
        ("rule", _rule),
        ("coupled", _coupled),
        ("optimum", _optimum),
        ("patterns", _patterns),
        ("large", _large),
    ):
        found = []
        for i, level in enumerate(levels):
            found.append(measure(config, level, seed, 1000 * seed + i))
            progress.tick()
        parts[part] = np.stack(found, axis=-1)
    return Cell(**parts)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Put the seeds side by side."""
    return Result(
        correlations=np.array(config.correlations),
        beta=config.beta,
        d0=config.d0,
        tau=config.tau,
        rules=RULES,
        holds=HOLDS,
        sizes=np.array(config.sizes),
        rule_numbers=RULE_NUMBERS,
        rule=np.stack([cell.rule for cell in cells], axis=-1),
        coupled_numbers=COUPLED_NUMBERS,
        coupled=np.stack([cell.coupled for cell in cells], axis=-1),
        optimum_numbers=OPTIMUM_NUMBERS,
        optimum=np.stack([cell.optimum for cell in cells], axis=-1),
        pattern_numbers=PATTERN_NUMBERS,
        patterns=np.stack([cell.patterns for cell in cells], axis=-1),
        large_sizes=np.array(config.large_sizes),
        large_numbers=LARGE_NUMBERS,
        large=np.stack([cell.large for cell in cells], axis=-1),
    )


def _increasing_root(f: Callable[[float], float], level: float, high: float) -> float:
    """Solve f(x) = level for f that rises from 0 at 0."""
    from scipy.optimize import brentq

    if level <= 0:
        return 0.0
    root: Any = brentq(lambda x: f(x) - level, 0.0, high, xtol=1e-10)  # a number, without full_output
    return float(root)


def _mean_pair(matrix: np.ndarray) -> float:
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def _correlation(on_rate: np.ndarray, level: float) -> np.ndarray:
    """Correlations, level in the mean, of units that share one Gaussian: such as they can all have."""
    shared = _increasing_root(lambda r: _mean_pair(cut_correlation(on_rate, r)), level, 0.98)
    return cut_correlation(on_rate, shared)


def _rule(config: Config, level: float, seed: int, noise_seed: int) -> np.ndarray:
    """Numbers of the line under both rules, (n_numbers, n_rules)."""
    rng = np.random.default_rng((seed, 0))
    on_rate = on_rate_from_log_odds(rng.uniform(0.2, 3.0, config.n_units))
    out = []
    for rule, expected in zip(RULES, ("balanced", "hyperbolic"), strict=True):
        lived = simulate_correlated_balance(
            on_rate,
            _correlation(on_rate, level),
            rule=rule,
            beta=config.beta,
            d0=config.d0,
            tau=config.tau,
            # the threshold rule's hyperbola is stated for units that do not feel their degree
            sensitivity=config.sensitivity if rule == "controller" else 0.0,
            batch=config.batch,
            interval=config.interval,
            n_refreshes=config.n_refreshes,
            seed=noise_seed,
        )
        final = cut_correlation(lived.on_rate, lived.latent_correlation)
        fresh = simulate_correlated(lived.on_rate, final, config.n_samples, seed=noise_seed + 500)
        seen = measure_activity(fresh.samples).on_rate
        settings: dict[str, Any] = {"min_degree": 0, "max_degree": 64, "n_permutations": 999}
        line = fit_balance(seen, lived.degree, **settings).groups[0]
        null = fit_balance(seen, rng.permutation(lived.degree), **settings).groups[0]
        used = (seen > 0) & (seen < 1)
        target = config.beta * (lived.degree - config.d0)[used]
        out.append(
            [
                line.slope,
                line.intercept,
                np.sqrt(np.mean((inactivity_log_odds(seen[used]) - target) ** 2)),
                float(line.slope_interval[0] <= config.beta <= line.slope_interval[1]),
                line.r_squared,
                float(line.verdict == expected),
                float(null.verdict == "none"),
            ]
        )
    return np.array(out).T


def _line(fan_out: np.ndarray, log_odds: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept of the least-squares line."""
    slope, intercept = np.polyfit(fan_out, log_odds, 1)
    return float(slope), float(intercept)


def _off(log_odds: np.ndarray, target: np.ndarray) -> float:
    return float(np.sqrt(np.mean((log_odds - target) ** 2)))


def _coupled(config: Config, level: float, seed: int, noise_seed: int) -> np.ndarray:
    """Numbers of coupled units at a price, sampled from their states, (n_numbers,)."""
    n, beta = config.n_coupled, config.beta
    rng = np.random.default_rng((seed, 1))
    fan_out = rng.uniform(1.0, 15.0, n)
    pattern = np.triu(rng.uniform(0.5, 1.5, (n, n)), 1)
    pattern += pattern.T
    states = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1

    def mean_correlation(strength: float) -> float:
        p = pattern_probability(-beta * fan_out, strength * pattern)
        return measure_coding(states, weights=p).mean_abs_correlation

    enough = _steep_end(mean_correlation, level)
    if np.isnan(enough):
        return np.full(len(COUPLED_NUMBERS), np.nan)
    strength = _increasing_root(mean_correlation, level, enough)
    coupling = strength * pattern
    drawn = simulate_patterns(
        pattern_probability(-beta * fan_out, coupling), config.n_patterns, seed=noise_seed
    )
    seen = measure_activity(drawn.samples).on_rate
    log_odds, plain = inactivity_log_odds(seen), beta * fan_out
    line = fit_balance(seen, fan_out, n_permutations=99).groups[0]
    exact = inactivity_log_odds(solve_coupled(fan_out, coupling, beta=beta).on_rate)
    measured = np.corrcoef(drawn.samples.T)
    # corrcoef leaves some 1e-16 of asymmetry
    measured = np.triu(measured, 1) + np.triu(measured, 1).T + np.eye(n)
    corrected = balance_shift(seen, hold="coactivation", correlation=measured).corrected_log_odds
    return np.array(
        [
            line.slope,
            line.intercept,
            _off(log_odds, plain),
            *_line(fan_out, exact),
            _off(exact, plain),
            _line(fan_out, corrected)[0],
            _off(corrected, plain),
        ]
    )


def _steep_end(f: Callable[[float], float], level: float) -> float:
    """First strength at which f has passed the level, NaN if none: it falls again where all units are on."""
    strength = 0.02
    found = f(strength)
    while found < level:
        strength, before = 1.25 * strength, found
        found = f(strength)
        if found < before:
            return np.nan
    return strength


def _optimum(config: Config, level: float, seed: int, noise_seed: int) -> np.ndarray:
    """Numbers of the exact optimum at the traffic of the plain line, (n_numbers, n_holds)."""
    n, beta = config.n_optimum, config.beta
    rng = np.random.default_rng((seed, 2))
    fan_out = np.linspace(1.0, 11.0, n) + rng.uniform(-0.8, 0.8, n)
    plain = on_rate_from_log_odds(beta * fan_out)
    correlation = _correlation(plain, level)
    sd = np.sqrt(plain * (1.0 - plain))
    covariance = correlation * np.outer(sd, sd)
    held = {
        "correlation": correlation,
        "covariance": covariance,
        "coactivation": covariance + np.outer(plain, plain),
    }
    # the code of largest entropy with on-rates on the plain line and these pairs
    on_line = match_code(plain, covariance=covariance).entropy
    out = []
    for hold in HOLDS:
        given: dict[str, Any] = {hold: held[hold]}
        try:
            best = solve_correlated(fan_out, budget=float(plain @ fan_out), **given)
        except ConvergenceError:
            out.append([np.nan] * len(OPTIMUM_NUMBERS))
            continue
        log_odds = inactivity_log_odds(best.on_rate)
        shift = balance_shift(best.on_rate, hold=hold, coactivation=best.coactivation)
        slope, intercept = _line(fan_out, log_odds)
        out.append(
            [
                slope / best.beta,
                intercept,
                _off(log_odds, best.beta * fan_out),
                _off(shift.corrected_log_odds, best.beta * fan_out),
                (best.entropy - on_line) / best.entropy,
            ]
        )
    return np.array(out).T


def _patterns(config: Config, level: float, seed: int, noise_seed: int) -> np.ndarray:
    """Entropies of cut Gaussians, (n_numbers, n_sizes)."""
    rng = np.random.default_rng((seed, 3))
    out = []
    for n in config.sizes:
        on_rate = on_rate_from_log_odds(rng.uniform(0.2, 3.0, n))
        drawn = simulate_correlated(
            on_rate, _correlation(on_rate, level), config.n_patterns, seed=noise_seed + n
        )
        coding = measure_coding(drawn.samples, n_shuffles=2)
        whole = coding.coding_entropy
        out.append([coding.redundancy / whole, coding.redundancy_null / whole, whole, coding.pattern_entropy])
    return np.array(out).T


def _large(config: Config, level: float, seed: int, noise_seed: int) -> np.ndarray:
    """Entropies of equal units, (n_numbers, n_sizes): H = H(count) + mean ln binom(n, count)."""
    from scipy.special import gammaln

    rng = np.random.default_rng((seed, 4))
    out = []
    for n in config.large_sizes:
        on_rate = np.full(n, on_rate_from_log_odds(rng.uniform(0.2, 3.0)))
        drawn = simulate_correlated(on_rate, level, config.n_large, seed=noise_seed + n)
        share = np.bincount(drawn.samples.sum(axis=1), minlength=n + 1) / config.n_large
        count = np.flatnonzero(share)
        p = share[count]
        of_count = -(p @ np.log(p)) + (count.size - 1) / (2.0 * config.n_large)
        entropy = of_count + p @ (gammaln(n + 1) - gammaln(count + 1) - gammaln(n - count + 1))
        # at the on-rate of these samples, so that its error cancels
        whole = n * float(binary_entropy(p @ count / n))
        out.append([(whole - entropy) / whole])
    return np.array(out).T

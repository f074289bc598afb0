"""Do local rules bring a population to the balance that the theory predicts, and which rule to which law?

Source: arXiv 2510.01263, which states a threshold rule (cut the weakest link while a k > tau), a degree
controller, and the balance log((1-a)/a) = beta k of a traffic budget, but not which of the rules leads there.
Here units obey one rule each way and see their on-rates through an EMA of finite batches:

controller_in, controller_out    the controller on fan-in, to which on-rates answer, and on fan-out
threshold_out, threshold_regrow  the threshold on fan-out, as a ratchet and with regrowth from the full row
threshold_in                     the threshold on fan-in, which lowers the on-rates of given audiences
price_on_rate, price_degree      a price of traffic, raised until a total budget is met: nobody chooses beta

The theory predicts the controller's fixed point (refresh_map, with the bias that noise gives it), the
threshold's hyperbola (threshold_degree) and the price (solve_equilibrium; for degrees, the slope at which
they meet the budget). `fit_balance` judges what each population shows, and the same with degrees shuffled.
The controller sets real degrees, since rounding moves the mean of some hundred degrees more than noise does.

Time: 2 min on one core (CPU preset), no accelerator. What would count against the theory: a controller off
its fixed point by more than 3 standard errors, a price off the multiplier, a budget not met. Against the
threshold as a way to the balance: units on a hyperbola. Against the judge: a law seen in shuffled units.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory import (
    RefreshMap,
    fit_balance,
    inactivity_log_odds,
    refresh_map,
    refresh_noise,
    solve_equilibrium,
    target_degree,
    threshold_degree,
    validate,
)
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.records import Record
from bbtheory.simulate import (
    Controller,
    Population,
    PopulationRun,
    PopulationSettings,
    PriceAdjustment,
    Threshold,
    simulate_population,
)
from bbtheory.theory.entropy import on_rate_from_log_odds
from experiments.protocol import Progress

MIN_DEGREE, MAX_DEGREE = 1.0, 64.0
STEP = 0.05  # links, of second differences: truncation and rounding below 1e-6 of the curvature
LOG_ODDS = (0.3, 4.0)  # nats: on-rates over more than a decade, where a line and a hyperbola part


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_units : int
    cases : tuple of str
        Names of rules, see above.
    beta, d0 : float
        The controller's line: nats per link, links.
    loop_gain : float
        Answer of an on-rate to its own fan-in where the line crosses it, as a loop gain.
    threshold : float
        tau, links per step.
    budget_share : float
        Budget of a price, as a part of the traffic of units that are on half of the time (price_on_rate) or
        of units with all their links (price_degree).
    rate : float
        Of the price, see `PriceAdjustment`.
    interval, batch : int
        Steps between refreshes, samples a step.
    ema_decay : float
        Per step.
    n_settling, n_measured : int
        Refreshes.
    seeds : tuple of int
    """

    n_units: int = 1000
    cases: tuple[str, ...] = (
        "controller_in",
        "controller_out",
        "threshold_out",
        "threshold_regrow",
        "threshold_in",
        "price_on_rate",
        "price_degree",
    )
    beta: float = 0.08
    d0: float = 4.0
    loop_gain: float = 0.8
    threshold: float = 2.0
    budget_share: float = 0.2
    rate: float = 0.02
    interval: int = 50
    batch: int = 256
    ema_decay: float = 0.98
    n_settling: int = 400
    n_measured: int = 200
    seeds: tuple[int, ...] = tuple(range(40))

    def __post_init__(self) -> None:
        validate.integer("n_units", self.n_units, "[20, inf)")
        for case in self.cases:
            validate.choice("cases", case, RULES)
        for name in ("beta", "loop_gain", "threshold", "rate"):
            validate.real(name, getattr(self, name), "(0, inf)")
        validate.real("d0", self.d0)
        validate.real("budget_share", self.budget_share, "(0, 1)")
        validate.integer("interval", self.interval, "[1, inf)")
        validate.integer("batch", self.batch, "[1, inf)")
        validate.real("ema_decay", self.ema_decay, "[0, 1)")
        validate.integer("n_settling", self.n_settling, "[1, inf)")
        validate.integer("n_measured", self.n_measured, "[2, inf)")


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One population under one rule: where it came to rest, and what was predicted. NaN: does not apply.

    Parameters
    ----------
    on_rate, degree : np.ndarray, shape (n_units,)
        Means over the measured refreshes; the degree that the rule sets, or the audience that it answers to.
    predicted_degree : np.ndarray, shape (n_units,)
        Of the theory without noise, for these units.
    degree_error : float
        Mean degree above the predicted one, links.
    predicted_degree_error : float
        The same as far as noise explains it, links.
    log_odds_error : float
        Mean log-odds above those predicted, nats.
    scatter : float
        Root mean square distance of the log-odds from the law that the rule should reach, nats.
    slope : float
        Fitted slope, nats per link.
    lead : float
        AICc of the hyperbola less that of the line: above 0 the line describes the units better.
    verdict, shuffled_verdict : str
        Of `fit_balance` on the units, and on the same with degrees shuffled.
    price, predicted_price : float
        Mean slope in force, nats per link.
    traffic_ratio : float
        Traffic over its budget.
    churn : float
        Links changed per unit and refresh.
    """

    KIND: ClassVar[str] = "population_balance_cell"

    on_rate: np.ndarray
    degree: np.ndarray
    predicted_degree: np.ndarray
    degree_error: float
    predicted_degree_error: float
    log_odds_error: float
    scatter: float
    slope: float
    lead: float
    verdict: str
    shuffled_verdict: str
    price: float
    predicted_price: float
    traffic_ratio: float
    churn: float


# numbers of a cell that a result averages over seeds
AVERAGED = (
    "degree_error",
    "predicted_degree_error",
    "log_odds_error",
    "scatter",
    "slope",
    "lead",
    "price",
    "price_error",
    "traffic_ratio",
    "churn",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All rules; numbers as in `Cell`, shape (n_cases,), means over seeds.

    An ``*_interval``, shape (n_cases, 2), is Student's 95 % interval of the mean over seeds.

    Parameters
    ----------
    cases : tuple of str
    n_seeds : int
    verdicts, shuffled_verdicts : tuple of tuple of str
        By case and seed.
    price_error : np.ndarray
        Price over the predicted one, less 1.
    surprise : np.ndarray
        Degree error less what noise explains, in standard errors of its mean over seeds.
    on_rate, degree, predicted_degree : np.ndarray, shape (n_cases, n_units)
        Units of the first seed.
    """

    KIND: ClassVar[str] = "population_balance"

    cases: tuple[str, ...]
    n_seeds: int
    verdicts: tuple[tuple[str, ...], ...]
    shuffled_verdicts: tuple[tuple[str, ...], ...]
    degree_error: np.ndarray
    degree_error_interval: np.ndarray
    predicted_degree_error: np.ndarray
    predicted_degree_error_interval: np.ndarray
    log_odds_error: np.ndarray
    log_odds_error_interval: np.ndarray
    scatter: np.ndarray
    scatter_interval: np.ndarray
    slope: np.ndarray
    slope_interval: np.ndarray
    lead: np.ndarray
    lead_interval: np.ndarray
    price: np.ndarray
    price_interval: np.ndarray
    price_error: np.ndarray
    price_error_interval: np.ndarray
    traffic_ratio: np.ndarray
    traffic_ratio_interval: np.ndarray
    churn: np.ndarray
    churn_interval: np.ndarray
    surprise: np.ndarray
    on_rate: np.ndarray
    degree: np.ndarray
    predicted_degree: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per case and seed."""
    return [
        dataclasses.replace(config, cases=(case,), seeds=(seed,))
        for case in config.cases
        for seed in config.seeds
    ]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one rule made of a population, before it is judged; fields as in `Cell`."""

    run: PopulationRun
    on_rate: np.ndarray
    degree: np.ndarray
    predicted_degree: np.ndarray
    law: np.ndarray  # log-odds that the rule should reach with these degrees
    log_odds: np.ndarray  # those predicted for these units
    noise_error: float = math.nan
    min_degree: float | None = None
    max_degree: float | None = None
    predicted_price: float = math.nan
    budget: float = math.nan


def _live(
    config: Config, population: Population, rule: Controller | Threshold | PriceAdjustment, actuator: str,
    rng: np.random.Generator,
) -> PopulationRun:  # fmt: skip
    settings = PopulationSettings(
        actuator=actuator,
        interval=config.interval,
        batch=config.batch,
        ema_decay=config.ema_decay,
        min_degree=MIN_DEGREE,
        max_degree=MAX_DEGREE,
        whole=not isinstance(rule, Controller),
    )
    return simulate_population(population, rule, settings, config.n_settling + config.n_measured, seed=rng)


def _controlled(config: Config, actuator: str, rng: np.random.Generator) -> Outcome:
    log_odds = rng.uniform(*LOG_ODDS, config.n_units)
    on_rate, rest = on_rate_from_log_odds(log_odds), config.d0 + log_odds / config.beta
    gain = config.loop_gain * config.beta * on_rate * (1.0 - on_rate)
    population = Population.at(on_rate, rest, MAX_DEGREE, gain)
    if actuator == "sp_in":  # all links to begin with, at whatever on-rate they make
        population = dataclasses.replace(population, fan_in=np.full(config.n_units, MAX_DEGREE))
    run = _live(config, population, Controller(config.beta, config.d0), actuator, rng)
    response = population.respond if actuator == "sp_in" else None
    rested = refresh_map(
        on_rate,
        response=response,
        actuator=actuator,
        beta=config.beta,
        d0=config.d0,
        min_degree=MIN_DEGREE,
        max_degree=MAX_DEGREE,
        interval=config.interval,
        ema_decay=config.ema_decay,
    )
    trace = run.fan_in if actuator == "sp_in" else run.fan_out
    degree = trace[-config.n_measured :].mean(axis=0)
    return Outcome(
        run=run,
        on_rate=run.on_rate[-config.n_measured :].mean(axis=0),
        degree=degree,
        predicted_degree=rested.degree,
        law=config.beta * (degree - config.d0),
        log_odds=inactivity_log_odds(rested.on_rate),
        noise_error=float(_noise_error(rested, config.batch, response).mean()),
        min_degree=MIN_DEGREE,
        max_degree=MAX_DEGREE,
    )


def _noise_error(
    rest: RefreshMap, batch: int, response: Callable[[np.ndarray], np.ndarray] | None
) -> np.ndarray:
    """Degree that noise adds, to second order: `refresh_noise` with the curvature of the response itself.

    Noise of an estimate lifts the mean of its log-odds; noise of the degree moves the mean on-rate by A''/2
    times its variance, where refresh_noise takes the A'' of log-odds that answer along a line.
    """
    noise = refresh_noise(rest, batch)
    if response is None:
        return noise.degree_bias
    k, chi = rest.degree, rest.on_rate * (1.0 - rest.on_rate)
    around = response(k + STEP) - 2.0 * response(k) + response(k - STEP)
    lifted = (1.0 - 2.0 * rest.on_rate) * noise.variance / chi - around / STEP**2 * noise.degree_stddev**2
    return lifted / (2.0 * chi * rest.beta * (1.0 + rest.loop_gain))


def _cut_out(config: Config, regrow: bool, rng: np.random.Generator) -> Outcome:
    on_rate = on_rate_from_log_odds(rng.uniform(*LOG_ODDS, config.n_units))
    population = Population.at(on_rate, MAX_DEGREE, MAX_DEGREE, 0.0)
    run = _live(config, population, Threshold(config.threshold, regrow), "sp_out", rng)
    degree = run.fan_out[-config.n_measured :].mean(axis=0)
    return Outcome(
        run=run,
        on_rate=on_rate,
        degree=degree,
        predicted_degree=threshold_degree(on_rate, config.threshold, MAX_DEGREE),
        law=inactivity_log_odds(np.minimum(config.threshold / degree, 1.0)),
        log_odds=inactivity_log_odds(on_rate),
        max_degree=MAX_DEGREE,
    )


def _cut_in(config: Config, rng: np.random.Generator) -> Outcome:
    # audiences that all units are too active for, so that the rule has something to do at each
    audience = rng.uniform(1.2 * config.threshold / on_rate_from_log_odds(LOG_ODDS[0]), 64.0, config.n_units)
    audience = np.rint(audience)
    on_rate = np.full(config.n_units, on_rate_from_log_odds(LOG_ODDS[0]))
    population = Population.at(on_rate, MAX_DEGREE, audience, 0.02 * on_rate)
    run = _live(config, population, Threshold(config.threshold), "sp_in", rng)
    law = inactivity_log_odds(config.threshold / audience)
    return Outcome(
        run=run,
        on_rate=run.on_rate[-config.n_measured :].mean(axis=0),
        degree=audience,
        predicted_degree=audience,
        law=law,
        log_odds=law,
    )


def _price_on_rate(config: Config, rng: np.random.Generator) -> Outcome:
    audience = rng.integers(4, int(MAX_DEGREE) + 1, config.n_units).astype(np.float64)
    budget = config.budget_share * 0.5 * audience.sum()
    population = Population.at(np.full(config.n_units, 0.3), MAX_DEGREE, audience, 0.0)
    rule = PriceAdjustment(budget, answer="on_rate", rate=config.rate)
    run = _live(config, population, rule, "sp_out", rng)
    equilibrium = solve_equilibrium(audience, budget=budget)
    return Outcome(
        run=run,
        on_rate=run.on_rate[-config.n_measured :].mean(axis=0),
        degree=audience,
        predicted_degree=audience,
        law=equilibrium.beta * audience,
        log_odds=equilibrium.beta * audience,
        predicted_price=float(equilibrium.beta),
        budget=budget,
    )


def _price_degree(config: Config, rng: np.random.Generator) -> Outcome:
    from scipy.optimize import brentq

    on_rate = on_rate_from_log_odds(rng.uniform(*LOG_ODDS, config.n_units))
    budget = config.budget_share * MAX_DEGREE * on_rate.sum()

    def degrees(beta: float) -> np.ndarray:
        return target_degree(on_rate, beta=beta, d0=config.d0, min_degree=MIN_DEGREE, max_degree=MAX_DEGREE)

    # between slopes that put every unit on a clip
    beta: Any = brentq(lambda b: float(on_rate @ degrees(b)) - budget, 1e-3, 1e2)
    population = Population.at(on_rate, MAX_DEGREE, MAX_DEGREE, 0.0)
    rule = PriceAdjustment(budget, answer="degree", rate=config.rate, d0=config.d0)
    run = _live(config, population, rule, "sp_out", rng)
    degree = run.fan_out[-config.n_measured :].mean(axis=0)
    return Outcome(
        run=run,
        on_rate=on_rate,
        degree=degree,
        predicted_degree=degrees(float(beta)),
        law=beta * (degree - config.d0),
        log_odds=inactivity_log_odds(on_rate),
        min_degree=MIN_DEGREE,
        max_degree=MAX_DEGREE,
        predicted_price=float(beta),
        budget=budget,
    )


RULES: dict[str, Callable[[Config, np.random.Generator], Outcome]] = {
    "controller_in": lambda config, rng: _controlled(config, "sp_in", rng),
    "controller_out": lambda config, rng: _controlled(config, "sp_out", rng),
    "threshold_out": lambda config, rng: _cut_out(config, False, rng),
    "threshold_regrow": lambda config, rng: _cut_out(config, True, rng),
    "threshold_in": _cut_in,
    "price_on_rate": _price_on_rate,
    "price_degree": _price_degree,
}


def run(config: Config, progress: Progress) -> Cell:
    """Let one population live by one rule, and judge where it came to rest."""
    rng = np.random.default_rng(config.seeds[0])
    found = RULES[config.cases[0]](config, rng)
    clips: dict[str, Any] = {"min_degree": found.min_degree, "max_degree": found.max_degree}
    (fit,) = fit_balance(found.on_rate, found.degree, **clips).groups
    (shuffled,) = fit_balance(found.on_rate, rng.permutation(found.degree), **clips).groups
    scores = {score.model: score.aicc for score in fit.comparison}
    log_odds = inactivity_log_odds(found.on_rate)
    low, high = found.min_degree or 0.0, found.max_degree or math.inf
    free = (found.degree > low) & (found.degree < high)
    measured = slice(-config.n_measured, None)
    traffic = found.run.traffic[measured].sum(axis=1).mean()
    price = float(found.run.beta[measured].mean())
    return Cell(
        on_rate=found.on_rate,
        degree=found.degree,
        predicted_degree=found.predicted_degree,
        degree_error=float((found.degree - found.predicted_degree).mean()),
        predicted_degree_error=found.noise_error,
        log_odds_error=float((log_odds - found.log_odds).mean()),
        scatter=float(np.sqrt(((log_odds - found.law)[free] ** 2).mean())),
        slope=fit.slope,
        lead=scores["hyperbola"] - scores["line"],
        verdict=fit.verdict,
        shuffled_verdict=shuffled.verdict,
        price=price,
        predicted_price=found.predicted_price,
        traffic_ratio=float(traffic / found.budget),
        churn=float(found.run.churn[measured].mean()),
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds."""
    axes = len(config.cases), len(config.seeds)

    def gathered(name: str) -> np.ndarray:
        """Return (seed, case)."""
        if name == "price_error":
            return gathered("price") / gathered("predicted_price") - 1.0
        return np.array([getattr(cell, name) for cell in cells]).reshape(axes).T

    def by_case(name: str) -> tuple[tuple[str, ...], ...]:
        words = [getattr(cell, name) for cell in cells]
        return tuple(tuple(words[i * axes[1] : (i + 1) * axes[1]]) for i in range(axes[0]))

    numbers: dict[str, np.ndarray] = {}
    for name in AVERAGED:
        numbers[name], ends = mean_interval(gathered(name))
        numbers[f"{name}_interval"] = ends.T
    unexplained = gathered("degree_error") - gathered("predicted_degree_error")
    with np.errstate(invalid="ignore", divide="ignore"):  # one seed has no standard error
        stderr = unexplained.std(axis=0) / math.sqrt(max(axes[1] - 1, 1))
        numbers["surprise"] = np.where(stderr > 0, unexplained.mean(axis=0) / stderr, math.nan)
    first = cells[:: axes[1]]
    return Result(
        cases=config.cases,
        n_seeds=axes[1],
        verdicts=by_case("verdict"),
        shuffled_verdicts=by_case("shuffled_verdict"),
        **numbers,
        **{
            name: np.array([getattr(cell, name) for cell in first])
            for name in ("on_rate", "degree", "predicted_degree")
        },
    )


SMOKE = Config(n_units=60, n_settling=120, n_measured=60, seeds=(0, 1))
CPU = Config(n_units=200, seeds=tuple(range(20)))

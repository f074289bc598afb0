"""A population of units that obey a local rule under a traffic budget, and what becomes of it in time.

The plant, all that a link does here: a unit is on where the sum of its inputs and a bias is positive. Over
many inputs, each of mean ``drive`` and variance 1, that sum is Gaussian, so that with f of them

    a = Phi(drive sqrt(f) + bias/sqrt(f)).

Fan-in links move the on-rate along this curve, up or down by its signs. Fan-out links move the traffic a k
and leave the on-rate alone. Links are alike, so the weakest is any one of them.

In each refresh every unit reads the average of its activity, follows the rule, and lives for an interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.simulate.population_rules import (
    DEGREES,
    Controller,
    PopulationSettings,
    PriceAdjustment,
    Rule,
    Threshold,
)
from bbtheory.simulate.population_run import PopulationRun, PopulationState

FINITE = "[-1e100, 1e100]"  # far from where products with a root of links overflow


@dataclass(frozen=True, eq=False)
class Population(Record):
    """Units as they start.

    Parameters
    ----------
    drive : np.ndarray, shape (n,)
        Mean of an input, in standard deviations of an input.
    bias : np.ndarray, shape (n,)
        In the same unit.
    fan_in, fan_out : np.ndarray, shape (n,)
        Links, 0 to 1e6.

    Raises
    ------
    ValueError
        If an array is empty, of another shape than ``drive``, or outside its domain.
    """

    KIND: ClassVar[str] = "population"

    drive: np.ndarray
    bias: np.ndarray
    fan_in: np.ndarray
    fan_out: np.ndarray

    def __post_init__(self) -> None:
        drive = validate.array("drive", self.drive, FINITE)
        clean = {"drive": drive, "bias": validate.array("bias", self.bias, FINITE, shape=drive.shape)}
        for name in ("fan_in", "fan_out"):
            clean[name] = validate.array(name, getattr(self, name), DEGREES, shape=drive.shape)
        for name, value in clean.items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    @classmethod
    def at(cls, on_rate: ArrayLike, fan_in: ArrayLike, fan_out: ArrayLike, gain: ArrayLike) -> Self:
        """Build units that have these on-rates with this fan-in, and answer to one link more by ``gain``.

        Parameters
        ----------
        on_rate : array_like, (n,)
            a in (0, 1).
        fan_in : array_like, scalar or (n,)
            Links, 1e-6 to 1e6.
        fan_out : array_like, scalar or (n,)
            Links, 0 to 1e6.
        gain : array_like, scalar or (n,)
            da/df per link, of either sign; not so large that the drive it takes overflows.

        Returns
        -------
        Population

        Raises
        ------
        ValueError
            If an argument is outside its domain or of another shape than ``on_rate``.
        """
        a = validate.array("on_rate", on_rate, "(0, 1)")
        f = _spread("fan_in", fan_in, "[1e-6, 1e6]", a.shape)
        k = _spread("fan_out", fan_out, DEGREES, a.shape)
        rise = _spread("gain", gain, "(-inf, inf)", a.shape)
        z = np.array([NormalDist().inv_cdf(each) for each in a])
        density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        # z = drive sqrt(f) + bias/sqrt(f), dz/df = (drive - bias/f)/(2 sqrt(f))
        root = np.sqrt(f)
        with np.errstate(over="ignore"):
            drive = root * rise / density + z / (2.0 * root)
        if not (np.abs(drive) < 1e90).all():
            raise ValueError(f"gain must be one that a finite drive can have, got {np.abs(rise).max():g}")
        return cls(drive, (z - drive * root) * root, f, k)

    @cached_property
    def on_rate(self) -> np.ndarray:
        """a_i with the fan-ins of the start, shape (n,)."""
        return self.respond(self.fan_in)

    def respond(self, fan_in: ArrayLike) -> np.ndarray:
        """On-rates with other fan-ins, Phi(drive sqrt(f) + bias/sqrt(f)); without inputs the bias decides.

        Parameters
        ----------
        fan_in : array_like, (n,)
            Links >= 0.

        Returns
        -------
        ndarray, (n,)

        Raises
        ------
        ValueError
            If fan_in is of another shape or has a value outside its domain.
        """
        from bbtheory.simulate.population_kernel import respond_all

        f = validate.array("fan_in", fan_in, DEGREES, shape=self.drive.shape)
        out = np.empty_like(f)
        respond_all(f, self.drive, self.bias, out)
        return out


def simulate_population(
    population: Population,
    rule: Rule,
    settings: PopulationSettings,
    n_refreshes: int,
    *,
    seed: int | np.random.Generator,
    start: PopulationState | None = None,
) -> PopulationRun:
    """Let a population live by a local rule; no unit, and nothing here, knows an equilibrium.

    Parameters
    ----------
    population : Population
    rule : Threshold, Controller or PriceAdjustment
    settings : PopulationSettings
    n_refreshes : int
        >= 1; with the number of units, traces of at most 1e9 values each.
    seed : int >= 0 or numpy.random.Generator
        A generator goes on from where it stands.
    start : PopulationState, optional
        A state to go on from, ``run.final`` for instance, without burn-in; left out, the population as it
        starts, its averages empty.

    Returns
    -------
    PopulationRun

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or outside its domain, a state has another number of units, the
        first refresh would read averages that are empty, or a kept_share goes with a rule that sets no
        degrees.

    References
    ----------
    Rules and actuators: Budgeted Broadcast, arXiv 2510.01263; the plant: this project's.

    Examples
    --------
    >>> units = Population.at([0.05, 0.2, 0.4], fan_in=32, fan_out=64, gain=0.01)
    >>> run = simulate_population(units, Threshold(4.1), PopulationSettings(batch=0), 10, seed=0)
    >>> run.fan_out[-1].tolist()
    [64.0, 20.0, 10.0]
    """
    from bbtheory.simulate import population_kernel as kernel

    validate.instance("population", population, Population)
    validate.instance("settings", settings, PopulationSettings)
    n_refreshes = validate.integer("n_refreshes", n_refreshes, "[1, inf)")
    validate.room("n_refreshes", n_refreshes, n_refreshes * population.drive.size)
    rng = seed
    if not isinstance(rng, np.random.Generator):
        rng = np.random.default_rng(validate.integer("seed", seed, "[0, inf)"))
    code, goal, d0, price_rate, answer_rate, beta = _parameters(rule)
    if settings.kept_share != 1 and code not in (kernel.SET_DEGREE, kernel.PRICED_DEGREE):
        raise ValueError(
            f"kept_share must be 1 under a rule that sets no degrees, got {settings.kept_share:g}"
        )
    burn_in = settings.burn_in if start is None else 0
    if start is None:
        empty = np.zeros(population.drive.size)
        start = PopulationState(
            population.on_rate, empty, 0.0, population.fan_in, population.fan_out, population.bias, beta
        )
    _check_state(start, population.drive.size, burn_in)
    if isinstance(rule, PriceAdjustment):
        beta = start.beta
        validate.real("start.beta", beta, "[0, inf)" if rule.answer == "on_rate" else "(0, inf)")
    now = [x.copy() for x in (start.on_rate, start.estimate, start.fan_in, start.fan_out, start.bias)]
    on_rate, estimate, fan_in, fan_out, bias = now
    weight, price = np.array([start.ema_weight]), np.array([beta])
    on_rates, estimates, fan_ins, fan_outs = np.empty((4, n_refreshes, fan_in.size))
    betas = np.empty(n_refreshes)
    kernel.evolve(
        rng, population.drive, on_rate, estimate, weight, fan_in, fan_out, bias, price,
        code, goal, d0, price_rate, answer_rate, settings.actuator != "sp_out", settings.actuator != "sp_in",
        float(settings.min_degree), float(settings.max_degree), settings.whole, float(settings.kept_share),
        settings.interval, settings.batch, float(settings.ema_decay),
        math.exp(-1.0 / settings.recovery) if settings.recovery > 0 else 0.0, burn_in,
        on_rates, estimates, fan_ins, fan_outs, betas,
    )  # fmt: skip
    final = PopulationState(on_rate, estimate, float(weight[0]), fan_in, fan_out, bias, float(price[0]))
    return PopulationRun(settings, start, final, on_rates, estimates, fan_ins, fan_outs, betas)


def _parameters(rule: Rule) -> tuple[int, float, float, float, float, float]:
    """Return code, threshold or budget, d0, rate, answer rate, first slope of a rule."""
    from bbtheory.simulate import population_kernel as kernel

    if isinstance(rule, Threshold):
        code = kernel.REGROW if rule.regrow else kernel.CUT
        return code, float(rule.threshold), 0.0, 0.0, 0.0, math.nan
    if isinstance(rule, Controller):
        return kernel.SET_DEGREE, 0.0, float(rule.d0), 0.0, 0.0, float(rule.beta)
    if isinstance(rule, PriceAdjustment):
        code = kernel.PRICED_ON_RATE if rule.answer == "on_rate" else kernel.PRICED_DEGREE
        ascent = float(rule.rate), float(rule.answer_rate)
        return code, float(rule.budget), float(rule.d0), *ascent, float(rule.first_price)
    raise ValueError(f"rule must be a Threshold, Controller or PriceAdjustment, got {type(rule).__name__}")


def _check_state(start: PopulationState, n: int, burn_in: int) -> None:
    validate.instance("start", start, PopulationState)
    for name, domain in (
        ("on_rate", "[0, 1]"),
        ("estimate", "[0, 1]"),
        ("fan_in", DEGREES),
        ("fan_out", DEGREES),
        ("bias", FINITE),
    ):
        validate.array(f"start.{name}", getattr(start, name), domain, shape=(n,))
    if validate.real("start.ema_weight", start.ema_weight, "[0, 1]") == 0 and burn_in == 0:
        raise ValueError("burn_in must be at least 1 where the averages start empty, got 0")


def _spread(name: str, value: ArrayLike, domain: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return one value for each unit."""
    if np.ndim(value) == 0:
        return np.full(shape, validate.real(name, value, domain))
    return validate.array(name, value, domain, shape=shape)

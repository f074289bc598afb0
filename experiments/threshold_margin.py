"""How far above the traffic of rare units must tau lie, so that noise in their on-rates costs them no links?

Source: arXiv 2510.01263 (rare units stay under tau, so they are never cut); the margin is this project's
question. Units here detect a term perfectly: on with the term's probability, independently from example to
example. Each averages its on-rate (EMA, corrected for its start) and obeys the threshold rule, a k > tau,
with tau = margin p_rare k: as a ratchet, where a link once cut stays cut, and with regrowth. Units whose
term is common meet the same tau.

Prediction (this project's derivation): the EMA is a mean of n = batch (1+M)/(1-M) examples, M the decay, so
that its relative deviation is s = sqrt((1-p)/(p n)); over R refreshes a unit loses nothing with probability
at least 1 - q if the margin is 1 + z s, z the upper q/R quantile of a Gaussian, corrected for skewness
(Cornish and Fisher). It is a bound: successive refreshes see much the same average.

Controls: tau above everything, where nothing may be lost; no averaging noise left to speak of (the longest
memory), where the margin must go to 1 with s.

Time: 70 s on one core (CPU preset), no accelerator. What would count against the margin: more than a share q
of the units that lose a link at 1 + z s, or none at p_rare k itself.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.records import Record
from bbtheory.tasks import COMMON_LITERAL, RARE_LITERAL
from experiments.protocol import Progress

RULES = ("ratchet", "regrowth")
# terms of two literals, and the on-rates of their perfect detectors
P_RARE, P_COMMON = RARE_LITERAL**2, COMMON_LITERAL**2


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    margins : tuple of float
        tau/(p_rare k); the last lies above everything and is the control.
    ema_decays : tuple of float
        Per step.
    batches : tuple of int
        Examples a step.
    n_links : int
        k.
    interval : int
        Steps between refreshes.
    n_refreshes : int
    memories : float
        Lengths of the EMA's memory, 1/(1 - decay), before the first refresh.
    cuts : int
        Links a unit may lose, or gain, in one refresh.
    risk : float
        q of the predicted margin.
    n_units : int
        Of each kind, in one seed.
    seeds : tuple of int
    """

    margins: tuple[float, ...] = (1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 9.0)
    ema_decays: tuple[float, ...] = (0.9, 0.97, 0.99, 0.997)
    batches: tuple[int, ...] = (32, 128, 512)
    n_links: int = 64
    interval: int = 10
    n_refreshes: int = 200
    memories: float = 5.0
    cuts: int = 1
    risk: float = 0.05
    n_units: int = 200
    seeds: tuple[int, ...] = tuple(range(100))

    def __post_init__(self) -> None:
        margins = validate.array("margins", self.margins, "(0, inf)")
        # a common unit has up to 9 times the rare unit's on-rate
        if margins.size < 2 or (np.diff(margins) <= 0).any() or margins[-1] * P_RARE < 1 - 1e-9:
            raise ValueError(f"margins must ascend to one above all traffic (9 or more), got {self.margins}")
        validate.array("ema_decays", self.ema_decays, "[0, 1)")
        for batch in self.batches:
            validate.integer("batches", batch, "[1, inf)")
        for name in ("n_links", "interval", "n_refreshes", "cuts", "n_units"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        validate.real("memories", self.memories, "[0, inf)")
        validate.real("risk", self.risk, "(0, 1)")


SMOKE = Config(
    margins=(1.0, 1.3, 9.0), ema_decays=(0.9, 0.99), batches=(32,), n_units=20, n_refreshes=50, seeds=(0,)
)
CPU = Config(seeds=tuple(range(24)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One seed; axes as in `Result`, without the intervals."""

    KIND: ClassVar[str] = "threshold_margin_cell"

    lost: np.ndarray
    common_excess: np.ndarray
    any_lost: np.ndarray
    highest: np.ndarray
    deviation: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Links that rare units lose against the margin; arrays (n_decays, n_batches) and as said.

    Last axes of length 3 are mean over seeds, low and high of its 95 % interval.

    Parameters
    ----------
    margins, ema_decays, batches, rules
        Axes.
    n_links, n_refreshes : int
    risk : float
    effective : np.ndarray
        Examples that the EMA is a mean of.
    deviation : np.ndarray, (..., 3)
        Relative standard deviation of the EMA at the last refresh, seen over units.
    predicted_deviation : np.ndarray
    lost : np.ndarray, shape (n_decays, n_batches, n_rules, n_margins, 3)
        Share of their links that rare units have lost at the end.
    common_excess : np.ndarray, shape (n_decays, n_batches, n_rules, n_margins, 3)
        Links of common units at the end beyond min(k, floor(tau/p_common)).
    any_lost : np.ndarray, (..., 3)
        Share of rare units that ever lose a link at the predicted margin.
    predicted_margin : np.ndarray
    needed_margin : np.ndarray, (..., 3)
        Margin at which a share ``risk`` of the rare units lose a link.
    """

    KIND: ClassVar[str] = "threshold_margin"

    margins: np.ndarray
    ema_decays: np.ndarray
    batches: np.ndarray
    rules: tuple[str, ...]
    n_links: int
    n_refreshes: int
    risk: float
    effective: np.ndarray
    deviation: np.ndarray
    predicted_deviation: np.ndarray
    lost: np.ndarray
    common_excess: np.ndarray
    any_lost: np.ndarray
    predicted_margin: np.ndarray
    needed_margin: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Let rare and common units live under every EMA and every tau; the noise is the same for all taus."""
    progress.total(len(config.ema_decays) * len(config.batches))
    found: dict[str, list] = {field.name: [] for field in dataclasses.fields(Cell)}
    for decay in config.ema_decays:
        for batch in config.batches:
            rng = np.random.default_rng((config.seeds[0], round(1e6 * decay), batch))
            rare = estimates(rng, P_RARE, decay, batch, config)
            common = estimates(rng, P_COMMON, decay, batch, config)
            taus = np.array(config.margins) * P_RARE * config.n_links
            start = config.n_links
            lost, excess = [], []
            for regrow in (False, True):
                ends = [degrees_left(rare, start, tau, config.cuts, regrow) for tau in taus]
                lost.append([1.0 - end.mean() / start for end in ends])
                ends = [degrees_left(common, start, tau, config.cuts, regrow) for tau in taus]
                rest = np.minimum(start, np.floor(taus / P_COMMON))
                excess.append([end.mean() - r for end, r in zip(ends, rest, strict=True)])
            highest = rare.max(axis=0) / P_RARE
            margin = sufficient_margin(P_RARE, decay, batch, config.n_refreshes, config.risk)
            found["lost"].append(lost)
            found["common_excess"].append(excess)
            found["any_lost"].append((highest > margin).mean())
            found["highest"].append(np.quantile(highest, 1.0 - config.risk))
            found["deviation"].append(np.sqrt(np.mean((rare[-1] / P_RARE - 1.0) ** 2)))
            progress.tick()
    shape = len(config.ema_decays), len(config.batches)
    return Cell(**{name: np.array(v).reshape(*shape, *np.shape(v)[1:]) for name, v in found.items()})


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds."""

    def gathered(name: str) -> np.ndarray:
        mean, (low, high) = mean_interval(np.stack([getattr(cell, name) for cell in cells]))
        return np.stack([mean, low, high], axis=-1)

    decay, batch = np.meshgrid(config.ema_decays, config.batches, indexing="ij")
    effective = effective_examples(decay, batch)
    margin = [
        [sufficient_margin(P_RARE, m, b, config.n_refreshes, config.risk) for b in config.batches]
        for m in config.ema_decays
    ]
    return Result(
        margins=np.array(config.margins),
        ema_decays=np.array(config.ema_decays),
        batches=np.array(config.batches),
        rules=RULES,
        n_links=config.n_links,
        n_refreshes=config.n_refreshes,
        risk=config.risk,
        effective=effective,
        deviation=gathered("deviation"),
        predicted_deviation=np.sqrt((1.0 - P_RARE) / (P_RARE * effective)),
        lost=gathered("lost"),
        common_excess=gathered("common_excess"),
        any_lost=gathered("any_lost"),
        predicted_margin=np.array(margin),
        needed_margin=gathered("highest"),
    )


def effective_examples(decay: float | np.ndarray, batch: float | np.ndarray) -> np.ndarray:
    """Examples whose plain mean has the variance of the EMA, batch (1 + M)/(1 - M)."""
    return np.asarray(batch * (1.0 + decay) / (1.0 - decay))


def sufficient_margin(on_rate: float, decay: float, batch: int, n_refreshes: int, risk: float) -> float:
    """Return the tau/(a k) at which at most a share ``risk`` of units lose a link in so many refreshes."""
    from scipy.special import ndtri

    z = float(-ndtri(risk / n_refreshes))
    p, rest = on_rate, 1.0 - decay
    # third and second cumulant of sum (1-M) M^j x_j, x_j a batch's share: skewness of the average
    third = p * (1.0 - p) * (1.0 - 2.0 * p) / batch**2 * rest**3 / (1.0 - decay**3)
    variance = p * (1.0 - p) / batch * rest**2 / (1.0 - decay**2)
    skewness = third / variance**1.5
    return 1.0 + (z + skewness * (z * z - 1.0) / 6.0) * math.sqrt(variance) / p


def estimates(
    rng: np.random.Generator, on_rate: float, decay: float, batch: int, config: Config
) -> np.ndarray:
    """Averages of the on-rate that perfect detectors act on, (n_refreshes, n_units)."""
    waiting = max(1, math.ceil(config.memories / (1.0 - decay)))
    average = np.zeros(config.n_units)
    out = []
    for step in range(1, waiting + config.interval * (config.n_refreshes - 1) + 1):
        average = decay * average + (1.0 - decay) * rng.binomial(batch, on_rate, config.n_units) / batch
        if step >= waiting and (step - waiting) % config.interval == 0:
            out.append(average / (1.0 - decay**step))
    return np.array(out)


def degrees_left(on_rate: np.ndarray, start: int, tau: float, cuts: int, regrow: bool) -> np.ndarray:
    """Links left of units after the threshold rule has acted on each row of estimates, (n_units,)."""
    degree = np.full(on_rate.shape[1], start)
    for a in on_rate:
        falling = a * degree > tau
        # as many links as a k <= tau allows; a unit that was never on may keep all
        allowed = np.where(a * start > tau, np.floor(tau / np.where(a > 0, a, 1.0)), start).astype(np.int64)
        # tau/a may round up to a whole number that a k > tau still holds for
        allowed -= a * allowed > tau
        step = np.clip(allowed - degree, -cuts, cuts)
        degree = degree + np.where(falling, np.minimum(step, 0), np.maximum(step, 0) if regrow else 0)
    return degree

"""How long does the refresh map of a million units take, beside passes of np.exp over as many numbers?

Source: none, these are this project's own functions through their public names, argument checks included. The
peer is one pass of np.exp into an array that is there already. One step of the map needs the log-odds of
every unit, which are two logarithms, ln(1-a) and ln(a).

Time: 1 min on one core (CPU preset), no accelerator. What would count against it, on one thread: more than 3
np.exp passes for each of the two logarithms of a step of the map (ratio below 0.167).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bbtheory import recommend, refresh_map, refresh_noise, validate
from bbtheory.records import Record
from experiments._timing import Row, interleaved
from experiments.protocol import Progress

LINE: dict[str, Any] = {"beta": 0.05, "d0": 20.0, "max_degree": 256.0, "interval": 50, "ema_decay": 0.98}


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_units : int
        Units of the large population.
    n_layer : int
        Units that knobs are recommended for.
    n_repeats : int
        Timed pairs of ours and peer.
    seeds : tuple of int
        The first draws the on-rates.
    """

    n_units: int = 1_000_000
    n_layer: int = 4096
    n_repeats: int = 31
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        validate.integer("n_units", self.n_units, "[1, inf)")
        validate.integer("n_layer", self.n_layer, "[1, inf)")
        validate.integer("n_repeats", self.n_repeats, "[7, inf)")


SMOKE = Config(n_units=20_000, n_layer=100, n_repeats=7)
CPU = Config(n_repeats=15)


@dataclass(frozen=True, eq=False)
class Result(Record):
    """Timings."""

    KIND: ClassVar[str] = "bench_dynamics"

    rows: tuple[Row, ...]


def run(config: Config, progress: Progress) -> Result:
    """Time every case."""
    cases = [*_cases(config, np.random.default_rng(config.seeds[0]))]
    progress.total(len(cases))
    rows = []
    for case, ours in cases:
        x = -np.random.default_rng(config.seeds[0]).exponential(size=config.n_units)
        out = np.empty_like(x)
        rows.append(
            interleaved(case, ours, "np.exp", lambda x=x, out=out: np.exp(x, out=out), config.n_repeats)
        )
        progress.tick()
    return Result(rows=tuple(rows))


def _cases(config: Config, rng: np.random.Generator) -> Iterator[tuple[str, Callable[[], Any]]]:
    on_rate = 1.0 / (1.0 + np.exp(rng.normal(1.5, 1.0, config.n_units)))
    gain = rng.normal(0.0, 0.02, config.n_units) * on_rate * (1.0 - on_rate)
    rest = refresh_map(on_rate, gain=gain, **LINE)
    estimate, degree = on_rate.copy(), rest.degree.copy()
    n = f"{config.n_units:,} units"
    yield (
        f"{n}, one step of the map, in place",
        lambda: rest.advance(estimate, degree, on_rate, out=(estimate, degree)),
    )
    yield f"{n}, one step of the map", lambda: rest.advance(estimate, degree, on_rate)
    yield (
        f"{n}, fixed point, multipliers and margins from gains",
        lambda: _all(refresh_map(on_rate, gain=gain, **LINE)),
    )
    yield f"{n}, noise and churn", lambda: refresh_noise(rest, 128).churn_per_step
    layer = on_rate[: config.n_layer]
    yield (
        f"{layer.size:,} units, recommended knobs",
        lambda: recommend(layer, 0.3, 128, max_degree=1024),
    )


def _all(found: Any) -> Any:
    return found.multiplier, found.least_margin

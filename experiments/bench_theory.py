"""How long do the theory's functions take on a million units, beside the simplest way to the same numbers?

Source: none, these are this project's own functions through their public names, checks included. Each case
times ours and its peer in turn, at least 7 times, in one process on one thread, and gives the ratio
peer/ours of each pair: its median, smallest and largest.

Time: 1 min on one core (CPU preset), no accelerator. What would count against a case: a ratio below 1 where
the peer does the same work; a peer named "floor" does a part that cannot be avoided, and its ratio is below
1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from bbtheory import density_under_pressure, solve_presence, validate
from bbtheory.records import Record
from experiments._timing import Row, interleaved
from experiments.protocol import Progress

Case = tuple[str, Callable[[], Any], str, Callable[[], Any]]


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_units : int
        Weights, or units, of each case.
    n_repeats : int
        Timed pairs of ours and peer, after one that is not timed.
    seeds : tuple of int
        The first draws the inputs.
    """

    n_units: int = 1_000_000
    n_repeats: int = 15
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        validate.integer("n_units", self.n_units, "[100, inf)")
        validate.integer("n_repeats", self.n_repeats, "[7, inf)")


SMOKE = Config(n_units=10_000, n_repeats=7)
CPU = Config(n_repeats=7)


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Timings.

    Parameters
    ----------
    n_units : int
    rows : tuple of Row
        One per case.
    """

    KIND: ClassVar[str] = "bench_theory"

    n_units: int
    rows: tuple[Row, ...]


def run(config: Config, progress: Progress) -> Result:
    """Time every case."""
    rng = np.random.default_rng(config.seeds[0])
    cases = [*_flux_cases(config.n_units, rng)]
    progress.total(len(cases))
    rows = []
    for case, ours, peer, theirs in cases:
        rows.append(interleaved(case, ours, peer, theirs, config.n_repeats))
        progress.tick()
    return Result(n_units=config.n_units, rows=tuple(rows))


def _flux_cases(n: int, rng: np.random.Generator) -> Iterator[Case]:
    """Density under pressure, and the presence of learning weights."""
    flux = np.exp(2.0 * rng.standard_normal(n))
    many, few = np.geomspace(1e-3, 1e3, 1000), np.geomspace(1e-3, 1e3, 100)
    yield (
        "density, 100 pressures",
        lambda: density_under_pressure(flux, few),
        "numpy mean per pressure",
        lambda: [np.maximum(0.0, 1.0 - p / flux).mean() for p in few],
    )
    yield (
        "density, 1000 pressures",
        lambda: density_under_pressure(flux, many),
        "floor: np.sort of the fluxes",
        lambda: np.sort(flux),
    )
    yield (
        "presence with weight decay",
        lambda: solve_presence(flux, 1.0, weight_decay=0.05),
        "floor: np.exp of the fluxes",
        lambda: np.exp(-flux),
    )

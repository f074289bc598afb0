"""What does a product with the linear response of a whole network cost, beside a product with its weights?

Source: none, these are this project's own functions through their public names, checks included. Each case
times ours and its peer in turn, at least 7 times, in one process on one thread, and gives the ratio peer/ours
of each pair: its median, smallest and largest. The peer is one matrix-vector product of every weight matrix
behind the first layer (the first is fed by the fixed input and enters no response). Dense: a million weights;
sparse: a million units, ten links each.

Time: 1 min on one core (CPU preset), no accelerator. What would count against the claim: a ratio below 1/3
for a product ("push" R x, "pull" R^T y). Building the operator and one full `respond` are timed beside them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array

from bbtheory import Network, ResponseOperator, Shock, respond, validate
from bbtheory.records import Record
from experiments._timing import Row, interleaved
from experiments.protocol import Progress

Case = tuple[str, Callable[[], Any], str, Callable[[], Any]]


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_weights : int
        Weights of the dense network behind its first layer, in four equal square matrices.
    n_units : int
        Units of the sparse network, in ten equal layers.
    fan_in : int
        Links into each unit of the sparse network.
    n_repeats : int
        Timed pairs of ours and peer, after one that is not timed.
    seeds : tuple of int
        The first draws the weights.
    """

    n_weights: int = 1_000_000
    n_units: int = 1_000_000
    fan_in: int = 10
    n_repeats: int = 31
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        validate.integer("n_weights", self.n_weights, "[400, inf)")
        validate.integer("n_units", self.n_units, "[100, inf)")
        validate.integer("fan_in", self.fan_in, "[1, 1000]")
        validate.integer("n_repeats", self.n_repeats, "[7, inf)")


SMOKE = Config(n_weights=10_000, n_units=10_000, n_repeats=7)
CPU = Config()


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Timings.

    Parameters
    ----------
    rows : tuple of Row
        One per case.
    """

    KIND: ClassVar[str] = "bench_response"

    rows: tuple[Row, ...]


def run(config: Config, progress: Progress) -> Result:
    """Time every case."""
    rng = np.random.default_rng(config.seeds[0])
    networks = {"dense": dense_network(config, rng), "sparse": sparse_network(config, rng)}
    progress.total(len(networks))
    rows = []
    for name, network in networks.items():
        for case, ours, peer, theirs in _cases(name, network, rng):
            rows.append(interleaved(case, ours, peer, theirs, config.n_repeats))
        progress.tick()
    return Result(rows=tuple(rows))


def dense_network(config: Config, rng: np.random.Generator) -> Network:
    """Return a dense ReLU network with the wanted weights behind its first layer."""
    n = round((config.n_weights / 4) ** 0.5)
    weights = [rng.normal(0, n**-0.5, (n, n)) for _ in range(5)]
    return Network(weights, np.zeros(n), np.ones(n))


def sparse_network(config: Config, rng: np.random.Generator) -> Network:
    """Return a sparse ReLU network with the wanted units."""
    n = config.n_units // 10
    weights = []
    for _ in range(10):
        indices = rng.integers(0, n, n * config.fan_in)
        starts = np.arange(0, len(indices) + 1, config.fan_in)
        weights.append(
            csr_array((rng.normal(0, config.fan_in**-0.5, len(indices)), indices, starts), shape=(n, n))
        )
    return Network(weights, np.zeros(n), np.ones(n))


def _cases(name: str, network: Network, rng: np.random.Generator) -> Iterator[Case]:
    weights = [links.weight for links in network.links[1:]]
    forward = [rng.normal(size=w.shape[1]) for w in weights]
    back = [rng.normal(size=w.shape[0]) for w in weights]
    x = rng.normal(size=network.n_units)

    def products() -> list[Any]:
        return [w @ v for w, v in zip(weights, forward, strict=True)]

    def transposed() -> list[Any]:
        return [w.T @ v for w, v in zip(weights, back, strict=True)]

    for actuator in ("sp_in", "sp_out"):
        for of in ("on_rate", "residual"):
            operator = ResponseOperator(network, actuator, of=of)
            label = f"{name} {actuator} {of}"
            yield f"{label} push", lambda r=operator: r @ x, "W v", products
            yield f"{label} pull", lambda r=operator: r.T @ x, "W^T v", transposed
    yield f"{name} build", lambda: ResponseOperator(network, "sp_in"), "W v", products
    shock = Shock.sp_in(network, 1, 0)
    yield f"{name} respond", lambda: respond(network, shock), "W v", products

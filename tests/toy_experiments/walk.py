"""Does a random walk that was cut off go on where it was?

A sweep over seeds that saves its state at every step; TOY_NAP makes a step last that many seconds.
"""

from __future__ import annotations

import dataclasses
import os
import time

import numpy as np

from bbtheory.records import Record


@dataclasses.dataclass(frozen=True)
class Config:
    n_steps: int = 5
    seeds: tuple[int, ...] = (0, 1, 2, 3)


SMOKE = Config(seeds=(0, 1))
CPU = Config(n_steps=100)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    seed: int
    path: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    paths: np.ndarray
    final: np.ndarray
    nothing: float = float("nan")


def cells(config):
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config, progress):
    rng = np.random.default_rng(config.seeds[0])
    path = [0.0]
    state = progress.restore()
    if state is not None:
        path = state["path"].tolist()
        rng.bit_generator.state = state["rng"]
    progress.total(config.n_steps)
    progress.tick(len(path) - 1)
    while len(path) <= config.n_steps:
        time.sleep(float(os.environ.get("TOY_NAP", "0")))
        path.append(path[-1] + rng.standard_normal())
        progress.save({"path": np.array(path), "rng": rng.bit_generator.state})
        progress.tick()
    return Cell(config.seeds[0], np.array(path))


def collect(config, cells):
    assert tuple(cell.seed for cell in cells) == config.seeds
    return Result(np.array([c.path for c in cells]), np.array([c.path[-1] for c in cells]))

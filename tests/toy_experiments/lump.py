"""Is a run in one piece kept?"""

import dataclasses

import numpy as np

from bbtheory.records import Record


@dataclasses.dataclass(frozen=True)
class Config:
    n: int = 3
    seeds: tuple[int, ...] = (7,)


SMOKE = CPU = Config(n=2)


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    rows: tuple[dict, ...]
    values: np.ndarray


def run(config, progress):
    rng = np.random.default_rng(config.seeds[0])
    return Result(
        tuple({"case": f"size {k}", "ratio": k / 3} for k in range(config.n)), rng.standard_normal(1000)
    )

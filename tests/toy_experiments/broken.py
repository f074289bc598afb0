"""What becomes of the others when one cell fails?

Where TOY_EXIT is set it ends its process.
"""

import dataclasses
import os

from bbtheory.records import Record


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: tuple[int, ...] = (0, 1, 2)


SMOKE = CPU = Config()


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    seeds: tuple[int, ...]


def cells(config):
    return [Config((seed,)) for seed in config.seeds]


def run(config, progress):
    if config.seeds == (1,) and os.environ.get("TOY_EXIT"):
        os._exit(1)
    if config.seeds == (1,):
        raise ZeroDivisionError("this cell\nalways fails")
    return Result(config.seeds)


def collect(config, cells):
    return Result(tuple(cell.seeds[0] for cell in cells))

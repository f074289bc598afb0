"""What becomes of the others when one cell fails?"""

import dataclasses

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
    if config.seeds == (1,):
        raise ZeroDivisionError("this cell\nalways fails")
    return Result(config.seeds)


def collect(config, cells):
    return Result(tuple(cell.seeds[0] for cell in cells))

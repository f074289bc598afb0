"""What becomes of an experiment whose peer is missing? TOY_PEER makes it present."""

import dataclasses
import os

from bbtheory.records import Record
from experiments.protocol import NotRun


@dataclasses.dataclass(frozen=True)
class Config:
    size: int = 1


SMOKE = CPU = Config()


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    size: int


def run(config, progress):
    if "TOY_PEER" not in os.environ:
        raise NotRun("a peer")
    return Result(config.size)

"""Runs cells, settings in and a record out: here, or in processes of this machine."""

from __future__ import annotations

import datetime
import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bbtheory.archive import OK, seeds_of
from bbtheory.catalog import Catalog
from bbtheory.cli import hides_interrupt
from bbtheory.provenance import provenance
from bbtheory.records import Record
from bbtheory.storage import atomic, read_npz, restore, store
from experiments.protocol import NotRun, Progress

STOPPED = "stopped"
FAILED = "failed: "


@dataclass(frozen=True)
class Task:
    """One cell to run, and the place of its record."""

    package: str
    experiment: str
    config: Any
    path: Path
    data_root: Path | None
    seconds_left: float

    @property
    def state(self) -> Path:
        """The file that a run which is cut off goes on from."""
        return self.path.with_suffix(".state.npz")


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its record, or the reason why there is none."""

    task: Task
    status: str
    result: Record | None
    provenance: dict[str, Any]


class _OutOfTime(BaseException):
    """Ends a cell at its first saved state past the time limit; no Exception, so no ``run`` catches it."""


class SavedProgress(Progress):
    """Progress whose state lies in a file, and which tells ``on_share`` the share of the run that is done."""

    def __init__(self, task: Task, on_share: Callable[[float], object] = lambda share: None):
        super().__init__(task.data_root)
        self._state, self._on_share = task.state, on_share
        self._start = time.monotonic()
        self._deadline = self._start + task.seconds_left
        self._total = 0

    @property
    def seconds(self) -> float:
        """Time this cell has taken, that of the runs it goes on from included."""
        return time.monotonic() - self._start

    def restore(self) -> dict[str, Any] | None:
        if not self._state.exists():
            return None
        try:
            arrays = read_npz(self._state)
            self._start -= float(arrays.pop("$seconds"))
            return restore(dict[str, Any], json.loads(str(arrays.pop("$json"))), arrays)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self._state} must be a saved state (--force starts anew): {error}") from None

    def save(self, state: Mapping[str, Any]) -> None:
        arrays: dict[str, Any] = {}
        text = json.dumps(store(state, arrays), allow_nan=False)
        self._state.parent.mkdir(parents=True, exist_ok=True)
        with atomic(self._state) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays, **{"$json": text, "$seconds": self.seconds})
        if time.monotonic() > self._deadline:
            raise _OutOfTime

    def total(self, n: int) -> None:
        self._total = n

    def tick(self, k: int = 1) -> None:
        if self._total:
            self._on_share(k / self._total)


def run_cell(task: Task, on_share: Callable[[float], object] = lambda share: None) -> Outcome:
    """Run one cell; whatever goes wrong in it is its status."""
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    progress = SavedProgress(task, on_share)
    result = None
    try:
        module = Catalog(task.package).load(task.experiment)
        result = module.run(task.config, progress)
        if not isinstance(result, cell_type(module)):
            raise TypeError(f"run must return a {cell_type(module).__name__}, got {type(result).__name__}")
        status = OK
    except NotRun as missing:
        status = f"not run: {missing}"
    except _OutOfTime:
        status = STOPPED
    except Exception as error:
        if hides_interrupt(error):
            raise KeyboardInterrupt from None
        status = FAILED + explain(error)
    origin = provenance(task.config, date=date, seconds=round(progress.seconds, 3))
    return Outcome(task, status, result, origin)


def cell_type(module: ModuleType) -> type[Record]:
    """Return the record that an experiment's ``run`` makes."""
    return getattr(module, "Cell", module.Result) if hasattr(module, "cells") else module.Result


def explain(error: Exception) -> str:
    """Return an exception as one line with the place it came from."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {' '.join(str(error).split())} ({Path(place.filename).name}:{place.lineno})"
    )


def describe(task: Task) -> str:
    """Return which cell of its experiment a task is, for people."""
    seeds = seeds_of(task.config)
    return f"cell {task.path.stem}" + (f", seeds {', '.join(map(str, seeds))}" if seeds else "")


def spread(tasks: Iterator[Task], jobs: int, on_share: Callable[[float], object]) -> Iterator[Outcome]:
    """Yield the outcome of each task as it ends; tasks are drawn one by one as processes become free."""
    if jobs > 1:
        from joblib import Parallel, delayed

        workers: Any = Parallel(
            jobs,
            pre_dispatch="n_jobs",
            batch_size=1,  # pyright: ignore[reportArgumentType]  # an integer, says joblib's manual
            return_as="generator_unordered",
        )
        yield from workers(delayed(run_cell)(task) for task in tasks)
    else:
        for task in tasks:
            yield run_cell(task, on_share)

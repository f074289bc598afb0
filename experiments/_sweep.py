"""One experiment under one preset: which cells are missing, what is kept, and the record they make."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from bbtheory import archive
from bbtheory.archive import OK, Archived
from bbtheory.catalog import Catalog
from bbtheory.provenance import provenance
from bbtheory.records import Record
from experiments._cells import FAILED, STOPPED, Outcome, Task, cell_type, describe, spread


class UnfinishedError(Exception):
    """The time limit came before the last cell; a later run goes on from there."""


class FailedError(Exception):
    """There is no record; finished cells are kept."""


@dataclass(frozen=True)
class Means:
    """What a run may use; ``deadline`` is a time of time.monotonic()."""

    results: Path
    data_root: Path | None
    jobs: int
    cluster: str | None
    deadline: float


class Sweep:
    """One experiment, its settings under a preset, and the place of their record."""

    def __init__(self, catalog: Catalog, name: str, preset: str, means: Means):
        self.catalog, self.name, self.preset, self.means = catalog, name, preset, means
        self.module: ModuleType = catalog.load(name)
        self.config: Any = archive.settings(self.module, preset)
        self.path = archive.record_path(means.results, name, preset, self.config)
        self.folder = self.path.with_suffix(".cells")
        self.is_cut = hasattr(self.module, "cells")

    def run(self, force: bool = False) -> str:
        """Make the record unless it is there; return its status.

        Raises
        ------
        FailedError
            If a cell failed, or a record is there that only ``force`` may replace: unreadable, or with seeds
            that the preset lacks.
        UnfinishedError
            If the time limit came first.
        """
        if force:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif not self._is_due():
            return f"{OK}, was there"
        configs = list(self.module.cells(self.config)) if self.is_cut else [self.config]
        paths = [archive.cell_path(self.path, config) for config in configs]
        kept = self._kept(paths)
        missing = self._run_missing(dict(zip(paths, configs, strict=True)), kept)
        records = [kept[path] for path in paths if path in kept]
        if missing is None:
            self._write(OK, self._collect([record.result for record in records]), records)
        elif self.path.exists() and self._read().status == OK:
            return f"{missing}; the earlier record stays"
        else:
            self._write(missing, None, records)
        return missing or OK

    def _is_due(self) -> bool:
        """Say whether the record must be made; more seeds are run, fewer are never an accident."""
        if not self.path.exists():
            return True
        try:
            there = self._read()
        except ValueError as error:
            raise FailedError(f"{error}; --force makes it anew") from None
        had, wanted = there.seeds, archive.seeds_of(self.config)
        if there.status != OK:
            return True
        if set(had) - set(wanted):
            raise FailedError(
                f"{self.path} holds seeds {_listed(had)}, the preset asks for {_listed(wanted)}; "
                "--force drops the others"
            )
        if had != wanted:
            _say(f"{self.name}: record holds seeds {_listed(had)}, the preset asks for {_listed(wanted)}")
        return had != wanted

    def _read(self) -> Archived:
        return archive.read(self.path, self.module.Result)

    def _kept(self, paths: Iterable[Path]) -> dict[Path, Archived]:
        """Return the cells that an earlier run finished."""
        kept = {}
        for path in paths:
            if path.exists():
                try:
                    kept[path] = archive.read(path, cell_type(self.module))
                except ValueError as error:
                    _say(f"{self.name}: {error}; the cell is run again")
        if kept:
            commits = sorted({record.provenance["commit"][:12] for record in kept.values()})
            _say(f"{self.name}: goes on from {len(kept)} cells made at commit {', '.join(commits)}")
        return kept

    def _run_missing(self, cells: dict[Path, Any], kept: dict[Path, Archived]) -> str | None:
        """Run the cells that are not kept, and keep them; return "not run: ..." if that needs more."""
        todo = [path for path in cells if path not in kept]
        seconds = [record.provenance["seconds"] for record in kept.values()]
        start = time.monotonic()
        missing: list[str] = []
        failed: list[str] = []

        def due() -> Iterator[Task]:
            for path in todo:
                now = time.monotonic()
                left = self.means.deadline - now
                task = Task(self.catalog.package, self.name, cells[path], path, self.means.data_root, left)
                # before a first cell has ended, all time that has passed is what one may take;
                # a cell with a state stops at its next one when time is over
                needed = 0.0 if task.state.exists() else max(seconds, default=now - start)
                if missing or needed > left:
                    return
                yield task

        with tqdm(total=len(cells), initial=len(kept), desc=self.name, disable=None, bar_format=_BAR) as bar:
            for outcome in spread(due(), self.means.jobs, self.means.cluster, bar.update):
                if outcome.status == OK:
                    kept[outcome.task.path] = self._keep(outcome)
                    seconds.append(outcome.provenance["seconds"])
                    bar.n = len(kept)
                    bar.refresh()
                elif outcome.status.startswith(FAILED):
                    failed.append(f"{describe(outcome.task)}: {outcome.status.removeprefix(FAILED)}")
                elif outcome.status != STOPPED:
                    missing.append(outcome.status)
        if missing:
            return missing[0]
        if failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            raise FailedError(f"{failed[0]}{more}")
        if len(kept) < len(cells):
            raise UnfinishedError(
                f"time limit: {len(kept)} of {len(cells)} cells are done; run it again to go on"
            )
        return None

    def _keep(self, outcome: Outcome) -> Archived:
        """Write a finished cell and read it back, so that a resumed sweep collects the very same."""
        task = outcome.task
        archive.write(
            Archived(
                task.path,
                self.name,
                self.preset,
                OK,
                archive.seeds_of(task.config),
                outcome.result,
                outcome.provenance,
            )
        )
        task.state.unlink(missing_ok=True)  # only now: until the record is there, the state is all there is
        return archive.read(task.path, cell_type(self.module))

    def _collect(self, results: list[Record]) -> Record:
        result = self.module.collect(self.config, results) if self.is_cut else results[0]
        if not isinstance(result, self.module.Result):
            raise TypeError(f"collect must return a Result, got {type(result).__name__}")
        return result

    def _write(self, status: str, result: Record | None, records: list[Archived]) -> None:
        """Write the record. A sweep's cells stay, for more seeds to come; a run in one piece leaves none."""
        made = [record.provenance for record in records]
        origin = provenance(
            self.config,
            date=max((m["date"] for m in made), default=None),
            seconds=round(sum(m["seconds"] for m in made), 3),
            cells=len(made),
            commits=sorted({m["commit"] for m in made}),
        )
        if self.is_cut:
            origin["cell_seconds"] = [round(m["seconds"], 2) for m in made]  # in the order of the cells
        for last in made[-1:]:  # the driver itself loads neither numba nor torch, and may be another machine
            origin |= {key: last[key] for key in ("versions", "machine", "device", "threads")}
            origin["dirty"] = any(m["dirty"] for m in made)
        seeds = archive.seeds_of(self.config)
        archive.write(Archived(self.path, self.name, self.preset, status, seeds, result, origin))
        if status == OK and not self.is_cut:
            shutil.rmtree(self.folder, ignore_errors=True)


_BAR = "{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining}"


def _listed(seeds: tuple[int, ...]) -> str:
    return ", ".join(map(str, seeds)) or "none"


def _say(message: str) -> None:
    tqdm.write(message, file=sys.stderr)

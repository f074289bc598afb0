"""What experiments cost: the seconds of tracked records, and what follows for more workers and more cells."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from bbtheory import archive
from bbtheory.archive import Archived
from bbtheory.provenance import canonical
from bbtheory.tables import format_table

ASSUMPTIONS = """\
Seconds are those that the records' cells took, one thread each, on the machines they name. On more workers:
cells are independent, each goes in its turn to the first worker that is free, every worker is as fast as one
of the record's; a sweep takes at least its longest cell. Full: as many cells as it has, each at the record's
mean, where these are the same settings with more seeds; nothing is claimed of larger settings."""

_HEADER = ["experiment", "preset", "cells", "s/cell", "longest", "core-min"]


def cost_table(records: Sequence[tuple[ModuleType, Archived]], workers: Sequence[int]) -> str:
    """Return what the records cost, what they would on more workers, and what the full presets would."""
    header = [*_HEADER, *(f"min on {n}" for n in workers), "full: cells", "core-h"]
    rows = [_row(module, record, workers) for module, record in records]
    minutes = sum(row[_HEADER.index("core-min")] for row in rows)
    machines = sorted(
        {f"{r.provenance['machine']['processor']}, {r.provenance['device']}" for _, r in records}
    )
    return "\n".join(
        [
            format_table(header, rows),
            "",
            f"{len(rows)} records, {minutes:.0f} core-minutes; machines: {'; '.join(machines)}",
            "",
            ASSUMPTIONS,
        ]
    )


def _row(module: ModuleType, record: Archived, workers: Sequence[int]) -> list[Any]:
    made = record.provenance
    n, total = made["cells"], made["seconds"]
    # records made before cells' seconds were kept: all alike
    each = made.get("cell_seconds") or [total / n] * n
    cells = _cells(module, "full")
    alike = {canonical(cell) for cell in cells} == {canonical(cell) for cell in _cells(module, record.preset)}
    return [
        record.experiment,
        record.preset,
        n,
        round(total / n, 2),
        round(max(each), 2) if "cell_seconds" in made else "-",
        round(total / 60, 2),
        *(round(makespan(each, k) / 60, 2) for k in workers),
        len(cells),
        round(len(cells) * total / n / 3600, 2) if alike else "larger",
    ]


def _cells(module: ModuleType, preset: str) -> list[Any]:
    config = archive.settings(module, preset)
    return list(module.cells(config)) if hasattr(module, "cells") else [config]


def makespan(seconds: Sequence[float], n_workers: int) -> float:
    """Return when the last cell ends if each goes in its turn to the first of n workers that is free."""
    free = [0.0] * n_workers
    for cell in seconds:
        heapq.heapreplace(free, free[0] + cell)
    return max(free)

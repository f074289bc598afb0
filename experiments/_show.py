"""A record of the archive as text for people.

A row may name units of its columns: ``MEASURED_IN: ClassVar[Mapping[str, str]]``, column to unit.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bbtheory.archive import Archived
from bbtheory.tables import format_table

_LONGEST = 60  # characters of a text that stands among the values; a longer one is a paragraph below
_WIDTH = 110
_MOST_ROWS = 40  # longer columns are thinned evenly: a table is for reading, the file has them all


def readable(record: Archived) -> str:
    """Return a record's provenance, its values, a table for each list of rows and each length of array."""
    made = record.provenance
    dirty = " with changes" if made["dirty"] else ""
    parts = [
        f"{record.experiment}, preset {record.preset}: {record.status}\n"
        f"  {record.path}\n"
        f"  seeds {', '.join(map(str, record.seeds)) or 'none'}; {made['seconds']} s on {made['device']}, "
        f"{made['date']}, commit {made['commit'][:12]}{dirty}"
    ]
    if record.result is not None:
        parts += _tables(record.result, made.get("cell_seconds", ()))
    return "\n\n".join(parts) + "\n"


def _tables(result: Any, seconds: Sequence[float]) -> list[str]:
    values: list[list[Any]] = []
    columns: dict[int, dict[str, list[Any]]] = {}
    tables = []
    notes = []
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        rows = _rows(value)
        if rows is not None:
            rows = _timed(rows, seconds) if field.name == "rows" else rows
            units = {"seconds": "s"} | dict(getattr(value[0], "MEASURED_IN", {}))
            header = [f"{name} ({units[name]})" if name in units else name for name in rows[0]]
            tables.append(
                f"{field.name}\n" + format_table(header, [[row[name] for name in rows[0]] for row in rows])
            )
        elif isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim):
            column = [_summary(v) if isinstance(v, np.ndarray) else _scalar(v) for v in value]
            columns.setdefault(len(column), {})[field.name] = column
        elif isinstance(value, str) and len(value) > _LONGEST:
            notes.append(textwrap.fill(f"{field.name}: {value}", _WIDTH, subsequent_indent="  "))
        else:
            values.append([field.name, _scalar(value)])
    for size, named in columns.items():
        shown = np.unique(np.linspace(0, size - 1, min(size, _MOST_ROWS)).round().astype(int)).tolist()
        title = f"{len(shown)} of {size} rows\n" if len(shown) < size else ""
        body = [[i, *(column[i] for column in named.values())] for i in shown]
        tables.append(title + format_table(["row", *named], body))
    return ([format_table(["value", ""], values)] if values else []) + tables + notes


def _timed(rows: list[Mapping[str, Any]], seconds: Sequence[float]) -> list[Mapping[str, Any]]:
    """Add the mean seconds of its cells to each row, where rows are over ``n`` cells each, in their order."""
    counts = [n for n in (row.get("n") for row in rows) if type(n) is int and n > 0]
    if len(counts) < len(rows) or sum(counts) != len(seconds):
        return rows
    parts = np.split(np.array(seconds), np.cumsum(counts)[:-1])
    return [dict(row) | {"seconds": float(part.mean())} for row, part in zip(rows, parts, strict=True)]


def _scalar(value: Any) -> Any:
    """Return what `format_table` can align: a Python number, None, or text."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.item()
    return value if isinstance(value, float | int | None) else str(value)


def _rows(value: Any) -> list[Mapping[str, Any]] | None:
    """Return a non-empty list of mappings or records as rows of scalars, else None."""
    if not isinstance(value, tuple | list) or not value:
        return None
    rows = []
    for item in value:
        if dataclasses.is_dataclass(item):
            item = {f.name: getattr(item, f.name) for f in dataclasses.fields(item)}
        if not isinstance(item, Mapping):
            return None
        rows.append({k: _summary(v) if isinstance(v, np.ndarray) else _scalar(v) for k, v in item.items()})
    return rows


def _summary(value: np.ndarray) -> str:
    shape = " x ".join(map(str, value.shape))
    if value.dtype.kind not in "iuf" or value.size == 0:
        return f"{shape} {value.dtype}"
    low, middle, high = np.quantile(value, [0.0, 0.5, 1.0])
    return f"{shape}: {low:.6g} to {high:.6g}, median {middle:.6g}"

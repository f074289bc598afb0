"""A record laid out for reading: its values, a table for each list of rows and each length of columns.

The text of ``--show`` and the report both show this; they differ in how a cell is written. A row may name
units of its columns: ``MEASURED_IN: ClassVar[Mapping[str, str]]``, column to unit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_COLUMNS = 60
LONGEST_VALUE = 60  # characters of a text that stands among the values; a longer one is a note below
MOST_ROWS = 40  # longer columns are thinned evenly: a table is for reading, the file has them all


@dataclass(frozen=True)
class Sheet:
    """A table of Python numbers, None and text; ``title`` says which field, or what was left out."""

    title: str
    header: tuple[str, ...]
    rows: list[list[Any]]


@dataclass(frozen=True)
class Layout:
    """The sheets of a record, and its long texts by name."""

    sheets: list[Sheet]
    notes: list[tuple[str, str]]


def lay_out(fields: Mapping[str, Any], seconds: Sequence[float] = ()) -> Layout:
    """Return the layout of a record's fields; ``seconds`` are those of the cells its ``rows`` sum up.

    Fields of a record inside the record are named ``outer.inner``. Numbers may be NaN or infinite.
    """
    values: list[list[Any]] = []
    columns: dict[int, dict[str, list[Any]]] = {}
    sheets = []
    notes = []
    for name, value in _flat(fields):
        rows = _rows(value)
        if rows is not None:
            rows = timed(rows, seconds) if name == "rows" else rows
            keys = list(dict.fromkeys(str(key) for row in rows for key in row))
            shown = keys[:MOST_COLUMNS]
            units = {"seconds": "s"} | dict(getattr(value[0], "MEASURED_IN", {}))
            header = tuple(f"{key} ({units[key]})" if key in units else key for key in shown)
            title = _cut(name, len(shown), len(keys), "columns")
            sheets.append(Sheet(title, header, [[row.get(key) for key in shown] for row in rows]))
        elif isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim):
            column = [_summary(v) if isinstance(v, np.ndarray) else _scalar(v) for v in value]
            columns.setdefault(len(column), {})[name] = column
        elif isinstance(value, str) and len(value) > LONGEST_VALUE:
            notes.append((name, value))
        else:
            values.append([name, _scalar(value)])
    for size, named in columns.items():
        shown = np.unique(np.linspace(0, size - 1, min(size, MOST_ROWS)).round().astype(int)).tolist()
        names = list(named)[: MOST_COLUMNS - 1]
        title = _cut(_cut("", len(shown), size, "rows"), len(names), len(named), "columns")
        body = [[i, *(named[name][i] for name in names)] for i in shown]
        sheets.append(Sheet(title, ("row", *names), body))
    return Layout(([Sheet("", ("field", "value"), values)] if values else []) + sheets, notes)


def _cut(title: str, shown: int, there: int, what: str) -> str:
    """Return a title with what was left out."""
    return title if shown == there else ", ".join(filter(None, [title, f"{shown} of {there} {what}"]))


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        inner = _fields(value)
        if inner is None:
            yield prefix + str(name), value
        else:
            yield from _flat(inner, f"{prefix}{name}.")


def _fields(value: Any) -> Mapping[str, Any] | None:
    """Return a mapping or a record as a mapping, else None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return value if isinstance(value, Mapping) else None


def timed(rows: list[Mapping[str, Any]], seconds: Sequence[float]) -> list[Mapping[str, Any]]:
    """Add the mean seconds of its cells to each row, where rows are over ``n`` cells each, in their order."""
    counts = [n for n in (row.get("n") for row in rows) if type(n) is int and n > 0]
    if len(counts) < len(rows) or sum(counts) != len(seconds):
        return rows
    parts = np.split(np.array(seconds), np.cumsum(counts)[:-1])
    return [dict(row) | {"seconds": float(part.mean())} for row, part in zip(rows, parts, strict=True)]


def _scalar(value: Any) -> Any:
    """Return what a table can align: a Python number, None, or text."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.item()
    return value if isinstance(value, float | int | None) else str(value)


def _rows(value: Any) -> list[Mapping[str, Any]] | None:
    """Return a non-empty list of mappings or records as rows of scalars, else None."""
    if not isinstance(value, tuple | list) or not value:
        return None
    rows = []
    for item in value:
        inner = _fields(item)
        if inner is None:
            return None
        rows.append({k: _summary(v) if isinstance(v, np.ndarray) else _scalar(v) for k, v in inner.items()})
    return rows


def _summary(value: np.ndarray) -> str:
    shape = " x ".join(map(str, value.shape))
    if value.dtype.kind not in "iuf" or value.size == 0:
        return f"{shape} {value.dtype}"
    finite = value[np.isfinite(value)]
    lacking = f", {value.size - finite.size} undefined" if finite.size < value.size else ""
    if finite.size == 0:
        return f"{shape}: undefined"
    low, middle, high = np.quantile(finite, [0.0, 0.5, 1.0])
    return f"{shape}: {low:.6g} to {high:.6g}, median {middle:.6g}{lacking}"

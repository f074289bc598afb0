"""Units as a command line names them: a range, a list, or a file of fan-outs or on-rates, in layers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bbtheory.tables import Table, read_csv, read_text

_RANGE = re.compile(r"(\d+):(\d+)(?::(\d+))?")
# a range longer than this is a slip of the keyboard
_LONGEST_RANGE = 100_000_000


@dataclass(frozen=True)
class Units:
    """One column of numbers, with what else its source said of each unit."""

    source: str
    values: np.ndarray
    table: Table | None

    def column(self, name: str, domain: str | None = None) -> np.ndarray | None:
        """Another column of the same source, or None where it has none."""
        return self.table.numbers(name, domain) if self.table is not None and name in self.table else None

    def layers(self) -> dict[str, np.ndarray]:
        """Row numbers of each layer, in the order of the source; one layer "" where none is named."""
        if self.table is None or "layer" not in self.table:
            return {"": np.arange(self.values.size)}
        rows: dict[str, list[int]] = {}
        for i, layer in enumerate(self.table.text("layer")):
            rows.setdefault(layer, []).append(i)
        return {layer: np.array(at) for layer, at in rows.items()}


def read_units(argument: str, column: str, spec: str, domain: str) -> Units:
    """Read units from ``A:B[:STEP]`` (inclusive), a comma list, FILE.csv, FILE.npy or ``-``.

    Parameters
    ----------
    argument : str
        Name of the argument, for messages.
    column : str
        The column of a CSV file that holds the values.
    spec : str
        ``-`` is standard input: CSV, or one number a line.
    domain : str
        Where the values must lie; of a file, the line of the first that does not is named.

    Raises
    ------
    ValueError
        If the values cannot be read as numbers; the message names the file, line and column.
    OSError
        If a file cannot be read.
    """
    span = _RANGE.fullmatch(spec)
    if span:
        first, last, step = (int(g) if g else 1 for g in span.groups())
        if step == 0 or last < first:
            raise ValueError(f"{argument} must be a rising range A:B[:STEP] with STEP >= 1, got {spec!r}")
        if (last - first) // step >= _LONGEST_RANGE:
            raise ValueError(f"{argument} must be a range of at most {_LONGEST_RANGE:,} units, got {spec!r}")
        return Units(spec, np.arange(first, last + 1, step), None)
    if spec == "-":
        return _from_text(column, "standard input", read_text("-"), domain)
    ending = Path(spec).suffix.lower()
    if ending == ".npy":
        return Units(spec, _read_npy(spec), None)
    if ending == ".csv" or Path(spec).is_file():
        return _from_text(column, spec, read_text(spec), domain)
    try:
        return Units(spec, _numbers(spec.split(",")), None)
    except ValueError:
        raise ValueError(
            f"{argument} must be A:B[:STEP] in whole numbers, a comma list of numbers, FILE.csv, FILE.npy "
            f"or -, got {spec!r}"
        ) from None


def _numbers(cells: list[str]) -> np.ndarray:
    """Integers where all cells are written so, else floats."""
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        return np.array([float(cell) for cell in cells], dtype=np.float64)


def _from_text(column: str, source: str, text: str, domain: str) -> Units:
    """Read one number a line, or CSV with the named column."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and "," not in lines[0]:
        try:
            float(lines[0])
        except ValueError:
            pass
        else:
            bare = Table(source, {column: lines}, list(range(1, len(lines) + 1)))
            return Units(source, bare.numbers(column, domain), None)
    table = read_csv(source, text)
    return Units(source, table.numbers(column, domain), table)


def _read_npy(path: str) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path} must be a .npy file with an array of numbers, got something else") from None
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{path} must be a .npy file with one array, got an archive")
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise ValueError(f"{path} must hold one axis of numbers, got {values.dtype} of shape {values.shape}")
    return values

"""CSV in and out, and tables for people, plain or as Markdown; errors name file, line and column."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bbtheory import validate
from bbtheory.storage import atomic


@dataclass(frozen=True)
class Table:
    """The text cells of a CSV file with a header; numbers are made on request, so errors can name a line."""

    source: str
    columns: Mapping[str, list[str]]
    lines: list[int]  # line number in the file of each row

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def text(self, name: str) -> list[str]:
        """Return a column as it stands in the file."""
        if name not in self.columns:
            raise ValueError(
                f"{self.source} has no column {name!r}; its columns are {', '.join(self.columns)}"
            )
        return self.columns[name]

    def numbers(self, name: str, domain: str | None = None) -> np.ndarray:
        """Return a column as int64 where every cell is written as an integer, else as float64.

        With a ``domain`` such as ``"[0, inf)"`` the first value outside it is refused with its line.
        """
        cells = self.text(name)
        for kind in (int, float):
            try:
                values = np.array(
                    [kind(cell) for cell in cells], dtype=np.int64 if kind is int else np.float64
                )
            except (ValueError, OverflowError):
                continue
            if domain is not None:
                for line, value in zip(self.lines, values, strict=True):
                    validate.real(f"{self.source} line {line}: {name}", value, domain)
            return values
        for line, cell in zip(self.lines, cells, strict=True):
            try:
                float(cell)
            except ValueError:
                shown = cell if len(cell) <= 40 else cell[:37] + "..."
                raise ValueError(
                    f"{self.source} line {line}: {name} must be a number, got {shown!r}"
                ) from None
        raise AssertionError("unreachable: some cell is not a number")


def read_text(path: str) -> str:
    """Read a UTF-8 text file, or standard input where ``path`` is ``-``."""
    if path == "-":
        return sys.stdin.read()
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a text file in UTF-8, got other bytes") from None


def read_csv(path: str, text: str | None = None) -> Table:
    """Read a CSV file whose first line names the columns; ``text`` is its content if read already.

    Raises
    ------
    ValueError
        If the file is empty, is not CSV text, repeats a column name, or a row has too few or many cells.
    OSError
        If it cannot be read.
    """
    source = "standard input" if path == "-" else path
    content = read_text(path) if text is None else text
    reader = csv.reader(io.StringIO(content, newline=""), skipinitialspace=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"{source} line {reader.line_num}: must have {len(header)} cells as the header has, "
                    f"got {len(row)}"
                )
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{source} line {reader.line_num}: must be CSV text: {error}") from None
    if not header:
        raise ValueError(f"{source} must have a header line with column names, got an empty file")
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ValueError(f"{source} must name each column once, got {twice!r} twice")
    if not rows:
        raise ValueError(f"{source} must have at least one row below its header")
    return Table(source, {name: [row[i].strip() for row in rows] for i, name in enumerate(header)}, lines)


def write_csv(path: str | os.PathLike[str], columns: Mapping[str, Any]) -> None:
    """Write equal-length columns as CSV; floats in full precision; all or nothing."""
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(np.asarray(values).tolist() for values in columns.values()), strict=True))


def format_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as aligned text: numbers to 6 significant digits, text to the left, None as a dash."""

    def cell(value: Any) -> str:
        if value is None:
            return "-"
        if isinstance(value, (float, np.floating)):
            return "-" if np.isnan(value) else f"{value:.6g}"
        return str(value)

    text = [[cell(v) for v in row] for row in rows]
    widths = [max(len(h), *(len(r[i]) for r in text)) if text else len(h) for i, h in enumerate(header)]
    left = [all(isinstance(row[i], str) for row in rows) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            c.ljust(w) if to_left else c.rjust(w) for c, w, to_left in zip(cells, widths, left, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), *(line(r) for r in text)])


def format_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of Markdown as a table; cells of other origin are for `escape_markdown` first."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def escape_markdown(text: str) -> str:
    """Return text on one line that Markdown shows as it is: without tags, emphasis or links of its own."""
    # < begins a tag and * emphasis; ]( is what makes a link of brackets, which intervals have too
    return " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*").replace("](", "]\\(")

"""Records laid out for reading: which field becomes a value, a row, a column or a note."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from bbtheory.layout import MOST_COLUMNS, MOST_ROWS, Sheet, lay_out


@dataclass(frozen=True)
class Row:
    MEASURED_IN: ClassVar = {"entropy": "nats"}

    case: str
    entropy: float


def test_each_kind_of_field_has_its_place():
    fields = {
        "beta": 0.5,
        "status": None,
        "rows": (Row("a", 1.0), Row("b", 2.0)),
        "names": ["x", "y"],
        "rate": np.array([0.1, 0.2]),
        "note": "word " * 40,
        "inner": {"depth": 3, "more": {"width": np.float64(4.0)}},
    }
    layout = lay_out(fields)
    values, rows, columns = layout.sheets
    named = [["beta", 0.5], ["status", None], ["inner.depth", 3], ["inner.more.width", 4.0]]
    assert values == Sheet("", ("field", "value"), named)
    assert rows == Sheet("rows", ("case", "entropy (nats)"), [["a", 1.0], ["b", 2.0]])
    assert columns == Sheet("", ("row", "names", "rate"), [[0, "x", 0.1], [1, "y", 0.2]])
    assert layout.notes == [("note", "word " * 40)]


def test_nothing_gives_nothing():
    assert lay_out({}).sheets == lay_out({}).notes == []


def test_long_columns_are_thinned_evenly_and_said_to_be():
    (sheet,) = lay_out({"x": np.arange(1000)}).sheets
    assert sheet.title == f"{MOST_ROWS} of 1000 rows"
    at = [row[0] for row in sheet.rows]
    assert at == [row[1] for row in sheet.rows]
    assert (at[0], at[-1], len(at)) == (0, 999, MOST_ROWS)
    assert set(np.diff(at)) <= {25, 26}


@pytest.mark.parametrize(
    "fields", [{"a": [{f"c{i}": i for i in range(99)}]}, {f"c{i}": [0] for i in range(99)}]
)
def test_wide_tables_are_cut_and_said_to_be(fields):
    (sheet,) = lay_out(fields).sheets
    assert "of 99 columns" in sheet.title
    assert len(sheet.header) == len(sheet.rows[0]) == MOST_COLUMNS


def test_rows_may_lack_a_name():
    (sheet,) = lay_out({"cases": [{"a": 1}, {"b": 2}]}).sheets
    assert sheet == Sheet("cases", ("a", "b"), [[1, None], [None, 2]])


@pytest.mark.parametrize(
    ("array", "told"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], ["2: 1 to 2, median 1.5", "2: 3 to 4, median 3.5"]),
        ([[np.nan, 2.0], [np.inf, -np.inf]], ["2: 2 to 2, median 2, 1 undefined", "2: undefined"]),
        ([[True, False]], ["2 bool"]),
        ([[]], ["0 float64"]),
    ],
)
def test_arrays_within_are_summed_up(array, told):
    (sheet,) = lay_out({"x": np.array(array)}).sheets
    assert [row[1] for row in sheet.rows] == told

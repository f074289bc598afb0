import io

import numpy as np
import pytest

from bbtheory.tables import escape_markdown, format_markdown, format_table, read_csv, write_csv


def table(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(str(path))


def test_integers_stay_integers(tmp_path):
    read = table(tmp_path, "\ufeffa, b ,layer\n1,0.5,x\n\n2,1e3,y\n")
    assert read.numbers("a").dtype == np.int64
    assert read.numbers("b").tolist() == [0.5, 1000.0]
    assert read.text("layer") == ["x", "y"]
    assert read.lines == [2, 4]


def test_round_trip_keeps_every_digit(tmp_path):
    values = np.random.default_rng(0).standard_normal(50) * 10.0 ** np.arange(-25, 25)
    write_csv(tmp_path / "t.csv", {"x": values, "layer": ["a,b"] * 50})
    read = read_csv(str(tmp_path / "t.csv"))
    assert read.numbers("x").tolist() == values.tolist()
    assert read.text("layer")[0] == "a,b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("a,b\n", "at least one row"),
        ("a,a\n1,2\n", "'a' twice"),
        ("a,b\n1,2\n3\n", "line 3: must have 2 cells"),
        (b"\xff\xfe\x00\x01" * 50, "UTF-8"),
        ('a\n"' + "x" * 200_000 + "\n", "must be CSV text"),
    ],
)
def test_bad_files_say_what_and_where(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text)


def test_bad_columns_say_what_and_where(tmp_path):
    read = table(tmp_path, "a,b\n1,2\n\n3,x\n")
    with pytest.raises(ValueError, match=r"line 4: b must be a number, got 'x'"):
        read.numbers("b")
    with pytest.raises(ValueError, match=r"no column 'c'; its columns are a, b"):
        read.numbers("c")


def test_random_bytes_are_refused_in_a_line(tmp_path):
    with pytest.raises(ValueError, match=r"t\.csv"):
        table(tmp_path, np.random.default_rng(0).bytes(10_000_000))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="zip"):
        write_csv(path, {"a": [1, 2], "b": [1]})
    assert path.read_text() == "old"


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a\n1\n"))
    assert read_csv("-").numbers("a").tolist() == [1]


def test_tables_align_and_show_what_is_undefined():
    text = format_table(["name", "value"], [["x", 1.5], ["longer", None], ["z", float("nan")]])
    assert text.splitlines() == ["name    value", "x         1.5", "longer      -", "z           -"]


def test_markdown_shows_foreign_words_as_they_are():
    hostile = "a|b\n| x |\n<script>alert(1)</script> *now* ![i](http://example.org/x.png) [0.1, 0.2]"
    text = format_markdown(["what"], [[escape_markdown(hostile)], ["**plain**"]])
    assert text.splitlines() == [
        "| what |",
        "| --- |",
        "| a\\|b \\| x \\| &lt;script>alert(1)&lt;/script> \\*now\\* ![i]\\(http://example.org/x.png) [0.1, 0.2] |",
        "| **plain** |",
    ]

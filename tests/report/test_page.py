"""The page from records, figures and verdicts as files: whole, named, escaped, and whole again when they are not."""

from __future__ import annotations

import base64
import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from bbtheory import archive
from bbtheory.report import pictures, recorded
from bbtheory.report.__main__ import main
from bbtheory.report.page import make_page
from pages import PNG, check, faults, read, write_checks, write_figure, write_record
from paper_checks._driver import main as run_checks

LARGEST = 10_000_000  # bytes of a page
NOT_NUMBERS = re.compile(r"(?i)(?<![a-z0-9_])(-?nan|-?inf|-?infinity|none|null)(?![a-z0-9_])")


def page_of(tmp_path: Path, questions=None, *, results=True, figures=True, checks=True):
    """Make a page of what a test has written below its folder."""
    return make_page(
        tmp_path / "results" if results else None,
        tmp_path / "figures" if figures else None,
        tmp_path / "verdicts.json" if checks else None,
        questions or {},
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """One record, one figure drawn from it and one claim judged by it."""
    result = {
        "slope": 1.25,
        "rows": [{"case": "a", "ratio": 2.0, "n": 7}, {"case": "b", "ratio": 3.0, "n": 7}],
    }
    write_record(tmp_path / "results", "walk", result)
    record = "walk/cpu/0123456789ab.json"
    source = {"experiment": "walk", "preset": "cpu", "record": record}
    write_figure(tmp_path / "figures", "walks", sources=[source])
    write_checks(tmp_path / "verdicts.json", check(records=[record]), check("own", own_theory=True))
    return tmp_path


# what is there


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> str:
    """The page of the tracked records and of some checks."""
    folder = tmp_path_factory.mktemp("real")
    names = ["r_squared_is_evidence", "balance_under_correlation", "region_starts_at_first_death"]
    run_checks([*names, "--json", str(folder / "verdicts.json")])
    write_figure(folder / "figures", "walks", PNG, "png")
    questions = {"walk": "Does a walk end where it began?"}
    page = make_page(archive.RESULTS, folder / "figures", folder / "verdicts.json", questions)
    assert page.problems == ()
    assert page.n_records >= 25
    assert page.n_verdicts == 3
    return page.html


def test_the_page_of_the_tracked_records_is_sound(real):
    assert faults(real) == []
    assert len(real.encode()) < LARGEST
    assert "://" not in re.sub(r"<script>.*?</script>", "", real, flags=re.DOTALL)
    page, _ = read(real)
    assert page.all("html")[0]["lang"] == "en"
    assert page.all("title")[0].text
    tables = page.all("table")
    assert len(tables) > 60
    cards = [table for table in tables if table["class"] == "cards"]
    assert len(cards) == 3
    assert {each["role"] for table in cards for each in table.all("tr")} == {"row"}


def test_no_number_of_the_page_is_undefined(real):
    page, _ = read(real)
    cells = [cell for cell in page.all("td", "dd") if cell["class"] == "number"]
    assert len(cells) > 1000
    assert [cell.text for cell in cells if NOT_NUMBERS.search(cell.text)] == []


def test_what_stands_on_what(small):
    page = page_of(small, {"walk": "Where does a walk end?"})
    assert faults(page.html) == []
    assert page.problems == ()
    tree, _ = read(page.html)
    (article,) = [each for each in tree.all("article") if each["id"] == "record-walk"]
    words = article.words()
    for fact in (
        "Where does a walk end?",
        "n = 4: 0–2, 7",
        "feedfeedfeed",
        "2026-01-01",
        "1.5 s",
        "walk/cpu/",
    ):
        assert fact in words
    assert [each["href"] for each in article.all("a")] == ["#verdict-walks_end", "#figure-walks"]
    assert "#record-walk" in [each["href"] for each in tree.all("a")]
    overview = [row.words() for row in tree.all("tr") if "#record-walk" in [a["href"] for a in row.all("a")]]
    assert len(overview) == 2, "in the overview of experiments, and in the verdict"
    captions = [table.all("caption")[0].text for table in article.all("table")]
    assert captions == ["Settings", "values", "rows"]
    assert "0.5 [0.25, 0.75]" in tree.words()
    (image,) = tree.all("img")
    assert image["alt"] == "Walks"


def test_the_same_files_give_the_same_bytes(small):
    assert page_of(small).html == page_of(small).html


def test_nothing_is_there_yet():
    page = make_page(None, None, None, {"walk": "Where does a walk end?"})
    assert faults(page.html) == []
    for line in ("python -m paper_checks --json", "python -m figures", "python -m experiments"):
        assert line in page.html
    assert page.problems == ()


def test_an_experiment_without_record_says_so(small):
    page = page_of(small, {"later": "What then?"})
    tree, _ = read(page.html)
    (article,) = [each for each in tree.all("article") if each["id"] == "record-later"]
    assert "No record yet: python -m experiments later" in re.sub(r"\s+", " ", article.words())
    assert page.problems == ()


def test_the_best_preset_with_a_result_is_shown(tmp_path):
    results = tmp_path / "results"
    write_record(results, "walk", {"slope": 111.0}, "smoke")
    write_record(results, "walk", {"slope": 222.0}, "cpu")
    write_record(results, "walk", None, "gpu", status="not run: needs CUDA")
    page = make_page(results, None, None, {}).html
    assert "222" in page
    assert "111" not in page
    smoke = make_page(tmp_path / "none", None, None, {}).html
    assert "A smoke run" not in page + smoke
    (results / "walk/cpu/0123456789ab.json").unlink()
    assert "A smoke run" in make_page(results, None, None, {}).html
    (results / "walk/smoke/0123456789ab.json").unlink()
    assert "not run: needs CUDA" in make_page(results, None, None, {}).html


def test_of_two_settings_the_newer_is_shown(tmp_path):
    path = write_record(tmp_path, "walk", {"slope": 111.0})
    old = json.loads(path.read_text())
    old["provenance"]["date"] = "2027-01-01T00:00:00+00:00"
    old["result"] = {"slope": 222.0}
    path.with_name("00ffffffffff.json").write_text(json.dumps(old))
    page = make_page(tmp_path, None, None, {}).html
    assert "222" in page
    assert "111" not in page


# what is written into it


HOSTILE = "\" onfocus=\"alert(3)\" x='</script><script>alert(1)</script><img src=x onerror='alert(2)'>\"'&lt;\x00\x1b\u202e\ud800`"


def hostile(folder: Path, text: str) -> Path:
    """Write records, figures and verdicts with a text wherever there may be one."""
    name = text.replace("/", "∕").replace("\x00", "").replace("\ud800", "")  # as a folder may be called
    result = {
        text: text,
        "rows": [{text: text, "case": text}, {"case": text}],
        "names": [text, text],
        "inner": {text: {text: text}},
        "array": {"$array": [text, text], "dtype": "<U200", "shape": [2]},
    }
    config = {text: text, "list": [text], "dict": {text: text}}
    made = {"commit": text, "dirty": text, "versions": {text: text}, "machine": text, "device": text}
    made |= {"config": config, "seeds": [text, {text: text}], "date": text, "seconds": text, "cells": text}
    write_record(folder / "results", name, result, provenance=made)
    write_record(folder / "results", name + "2", None, status=text)
    write_record(folder / "results", "third", {"slope": 1.0}, provenance={"config": text, "seeds": 7})
    source = {"experiment": text, "preset": text, "record": text}
    changes = {"title": text, "caption": text, "paper": text, "sources": [source], "lacking": [text]}
    write_figure(folder / "figures", name, **changes)
    (folder / "figures" / f"{name}.csv").write_text(f'series,x\n"{name.replace(chr(34), "")}",1\n')
    words = {"name": text, "claim": text, "source": text, "predicted": text, "observed": text, "note": text}
    write_checks(
        folder / "verdicts.json",
        check(**words, interval=[text, text], records=[text, text]),
        check(**words, own_theory=True),
        check(text, error=text),
    )
    return folder


def test_text_stays_text(tmp_path):
    page = page_of(hostile(tmp_path / "bad", HOSTILE), {HOSTILE: HOSTILE})
    tame = page_of(hostile(tmp_path / "tame", "tame"), {"tame text": "tame"})
    assert page.problems == tame.problems == ()
    assert faults(page.html) == faults(tame.html) == []
    tree, plain = read(page.html)[0], read(tame.html)[0]
    for tag in ("script", "img", "style", "meta", "input"):
        assert len(tree.all(tag)) == len(plain.all(tag)), tag
    assert "alert(1)" in tree.words(), "the text itself is there to read"
    html = page.html.encode("utf-8").decode("utf-8")
    assert not re.search("[\x00\x1b\u202e]", html)
    assert "<script>alert" not in html


def test_the_audit_of_pages_catches():
    html = make_page(None, None, None, {}).html
    assert faults(html) == []
    for bad, told in [
        ('<img src="data:image/png;base64,AA==">', "an img has no alt"),
        ('<img alt="x" src="http://a.b/c.png">', "img loads 'http://a.b/c.png'"),
        ('<p id="main"></p>', "id 'main' is there twice"),
        ('<input id="odd">', "input 'odd' has no label"),
        ('<p onclick="x()"></p>', "p has an attribute onclick"),
        ("<p>", "</main> closes <p>"),
        ("<h5>x</h5>", "a heading leaps from 2 to 5"),
        ('<a href="https://a.b">x</a>', "a leads out to 'https://a.b'"),
        ('<a href="#nothing">x</a>', "'#nothing' leads nowhere"),
        ("<script>alert(1)</script>", "the policy does not allow this script"),
        ("<table></table>", "a table has no caption"),
    ]:
        assert told in faults(html.replace("</main>", bad + "</main>")), bad


def test_what_is_no_number_is_a_dash(tmp_path):
    nan, inf = {"$float": "nan"}, {"$float": "-inf"}
    rows = [{"case": "a", "ratio": nan, "low": inf, "huge": 10**400}, {"case": "b", "ratio": 1.0, "low": 2.0}]
    np.savez(tmp_path / "arrays.npz", **{"result.trace": np.array([[np.nan, np.inf], [1.0, np.nan]])})
    path = write_record(
        tmp_path / "results", "walk", {"slope": nan, "rows": rows, "trace": {"$npz": "result.trace"}}
    )
    (tmp_path / "arrays.npz").rename(path.with_suffix(".npz"))
    write_checks(tmp_path / "verdicts.json", check(observed=None, interval=[None, 1.0], predicted=None))
    page = page_of(tmp_path, figures=False)
    assert page.problems == ()
    tree, _ = read(page.html)
    cells = [cell.words() for cell in tree.all("td")]
    assert [cell for cell in cells if NOT_NUMBERS.search(cell)] == []
    assert cells.count("–") >= 6
    assert "2: undefined" in cells
    assert "2: 1 to 1, median 1, 1 undefined" in cells


# what is damaged


def damage(path: Path, how: str) -> None:
    stored = json.loads(path.read_text())
    if how == "cut off":
        path.write_text(path.read_text()[:100])
    elif how == "no record":
        path.write_text("[]")
    elif how == "other schema":
        path.write_text(json.dumps(stored | {"schema": 2}))
    elif how == "no provenance":
        del stored["provenance"]
        path.write_text(json.dumps(stored))
    elif how == "no result":
        path.write_text(json.dumps(stored | {"result": None}))
    elif how == "a list for a result":
        path.write_text(json.dumps(stored | {"result": [1, 2]}))
    elif how == "arrays lost":
        path.write_text(json.dumps(stored | {"result": {"a": {"$npz": "result.a"}}}))
    elif how == "arrays damaged":
        path.with_suffix(".npz").write_bytes(b"PK\x03\x04 no archive")
    elif how == "an array of another shape":
        odd = {"a": {"$array": [1, 2], "dtype": "<f8", "shape": [3]}}
        path.write_text(json.dumps(stored | {"result": odd}))
    elif how == "deeply nested":
        path.write_text("[" * 100_000)
    elif how == "nested in its result":
        inner: dict = {}
        for _ in range(400):
            inner = {"a": inner}
        text = json.dumps(stored | {"result": "@"}).replace('"@"', '{"a":' * 900 + "1" + "}" * 900)
        path.write_text(text)
    elif how == "no text":
        path.write_bytes(b"\xff\xfe\x00")
    else:
        assert how == "a number of many digits"
        path.write_text(path.read_text().replace("1.25", "1" * 5000))


DAMAGES = [
    "cut off",
    "no record",
    "other schema",
    "no provenance",
    "no result",
    "a list for a result",
    "arrays lost",
    "arrays damaged",
    "an array of another shape",
    "deeply nested",
    "nested in its result",
    "no text",
    "a number of many digits",
]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_record_is_a_line(small, how):
    path = write_record(small / "results", "broken", {"slope": 1.25})
    damage(path, how)
    page = page_of(small)
    assert faults(page.html) == []
    tree, _ = read(page.html)
    (article,) = [each for each in tree.all("article") if each["id"] == "record-broken"]
    told = [each.text for each in article.all("p") if each["class"] == "problem"]
    if how == "no result":
        assert page.problems == ()
        return
    assert len(told) == len(page.problems) == 1
    assert told[0].startswith("broken/cpu/0123456789ab.json cannot be ")
    assert "record-walk" in page.html, "the others are there"
    assert page.n_figures == 1


def test_an_undamaged_record_is_none(small):
    write_record(small / "results", "broken", {"slope": 1.25})
    assert page_of(small).problems == ()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is no built figure"),
        ("[]", "is no built figure: its notes must be of kind figure"),
        ('{"schema": 1, "kind": "figure"}', "is no built figure"),
        ("[" * 100_000, "is no built figure"),
    ],
)
def test_damaged_notes_are_a_line(small, content, told):
    (small / "figures" / "bad.json").write_text(content)
    page = page_of(small)
    assert [told in line and "bad.json" in line for line in page.problems] == [True]
    assert told in read(page.html)[0].words()
    assert page.n_figures == 1


@pytest.mark.parametrize(
    ("ending", "content", "told"),
    [
        ("png", b"<svg/>", "bad.png is no PNG picture"),
        ("svg", b"\x89PNG", "bad.svg is no SVG drawing"),
        ("pdf", b"%PDF", "neither bad.svg nor bad.png is beside it"),
        ("svg", b"<svg>" + b" " * 2_000_000, "bad.svg must have at most 2,000,000 bytes"),
    ],
)
def test_a_picture_that_is_none_is_a_line(small, ending, content, told):
    write_figure(small / "figures", "bad", content, ending)
    page = page_of(small)
    assert [told in line for line in page.problems] == [True]
    assert page.n_figures == 1
    assert faults(page.html) == []


def test_names_in_notes_lead_to_no_other_file(small):
    secret = small / "secret.svg"
    secret.write_bytes(b"<svg>secret</svg>")
    notes = write_figure(small / "figures", "odd", files=["../secret.svg"])
    notes.write_text(notes.read_text().replace('"odd"', '"../secret"'))
    assert base64.b64encode(secret.read_bytes()).decode() not in page_of(small).html


def test_damaged_numbers_leave_the_picture(small):
    (small / "figures" / "walks.csv").write_text("a,a\n1,2\n")
    page = page_of(small)
    assert ["walks.csv cannot be shown" in line for line in page.problems] == [True]
    assert page.n_figures == 1
    (small / "figures" / "walks.csv").write_text("series,x\nline,1.5\ndots,nan\n")
    page = page_of(small)
    assert page.problems == ()
    assert "Numbers of walks.csv" in page.html
    assert not NOT_NUMBERS.search(" ".join(cell.words() for cell in read(page.html)[0].all("td")))


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"schema": 1, "kind": "other", "checks": []}', "[" * 100_000, "\udcff"]
)
def test_damaged_verdicts_are_a_line(small, content):
    (small / "verdicts.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    page = page_of(small)
    assert len(page.problems) == 1
    assert "verdicts.json" in page.problems[0]
    assert (page.n_verdicts, page.n_records) == (0, 1)
    assert faults(page.html) == []


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        check(verdict="maybe"),
        check(interval=[1]),
        check(records=3),
        {"name": "a", "error": "b"},
    ],
)
def test_one_damaged_verdict_leaves_the_others(small, bad):
    write_checks(small / "verdicts.json", check("first"), bad, check("last"))
    page = page_of(small)
    assert len(page.problems) == 1
    assert "verdict 2 is damaged" in page.problems[0]
    assert page.n_verdicts == 2


def test_a_check_that_could_not_run_is_said_to(small):
    write_checks(
        small / "verdicts.json",
        {"name": "wrong", "own_theory": False, "records": [], "error": "TypeError: x"},
    )
    words = read(page_of(small).html)[0].words()
    assert "could not run" in words
    assert "TypeError: x" in words


# how large it may be


def test_too_many_pictures_are_left_out_and_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "ROOM", 1000)
    for i in range(9):
        write_figure(tmp_path / "figures", f"walk{i}")
    page = page_of(tmp_path, results=False, checks=False)
    assert 0 < page.n_figures < 9
    assert page.n_figures + len(page.problems) == 9
    assert "left out" in page.html


def test_large_tables_are_left_out_and_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "MOST_MARKUP", 2000)
    rows = [{f"c{j}": "word" for j in range(8)} for _ in range(300)]
    write_record(tmp_path / "results", "walk", {"slope": 1.0, "rows": rows})
    html = page_of(tmp_path, figures=False, checks=False).html
    assert "1 table left out for size" in html
    assert "Results (1 table)" in html
    monkeypatch.undo()
    html = page_of(tmp_path, figures=False, checks=False).html
    assert "rows, the first 200 of 300 rows" in html
    assert html.count("<tr") < 230


def test_rows_of_ever_other_names_do_not_fill_the_page(tmp_path):
    write_record(tmp_path / "results", "walk", {"rows": [{f"c{i}": i} for i in range(3000)]})
    html = page_of(tmp_path, figures=False, checks=False).html
    assert "1 table left out for size" in html, "even of 60 columns and 200 rows"
    assert len(html) < 100_000


def test_a_record_that_unpacks_to_too_much_is_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "LARGEST_RECORD", 10_000)
    path = write_record(tmp_path / "results", "walk", {"a": {"$npz": "result.a"}})
    np.savez_compressed(path.with_suffix(".npz"), **{"result.a": np.zeros(10_000)})
    page = page_of(tmp_path, figures=False, checks=False)
    assert ["must hold at most 10000 bytes" in line for line in page.problems] == [True]


# how it looks


def colors(css: str) -> tuple[dict[str, str], dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)[:2]
    one, two = (dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in (light, dark))
    return one, one | two


def luminance(color: str) -> float:
    parts = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, two: str) -> float:
    """Return the contrast ratio of WCAG 2.2 between two colours."""
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_measured_right():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_text_stands_out_from_its_ground():
    css = files("bbtheory.report").joinpath("page.css").read_text(encoding="utf-8")
    for scheme in colors(css):
        assert len(scheme) == 11
        for ground in ("paper", "panel"):
            for name in ("ink", "muted", "link", "confirmed", "refuted", "undecided", "curve", "mark"):
                assert contrast(scheme[name], scheme[ground]) >= 4.5, (name, ground)
    used = set(re.findall(r"color: (#\w+)", css.partition("* {")[2]))
    assert used <= {"#ffffff"}, "colours are named once"


def test_the_style_knows_paper_phone_dark_and_those_who_want_no_motion():
    css = files("bbtheory.report").joinpath("page.css").read_text(encoding="utf-8")
    for query in (
        "@media print",
        "max-width",
        "prefers-color-scheme: dark",
        "prefers-reduced-motion",
        ":focus-visible",
    ):
        assert query in css
    quiet = css.partition("@media (prefers-reduced-motion: no-preference)")
    for motion in ("animation", "transition", "smooth"):
        assert motion not in quiet[0], "motion only for those who did not ask for less of it"


# the command line


def run(tmp_path: Path, *args: str) -> int:
    return main(["--out", str(tmp_path / "report.html"), *args], experiments="toy_experiments")


def test_the_command_writes_the_page(small, capsys):
    inputs = ["--results", str(small / "results"), "--figures", str(small / "figures")]
    assert run(small, *inputs, "--checks", str(small / "verdicts.json")) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{small / 'report.html'}: 2 verdicts, 1 figure, 1 record, ")
    assert err == ""
    html = (small / "report.html").read_text(encoding="utf-8")
    assert faults(html) == []
    assert "Does a random walk that was cut off go on where it was?" in html
    assert "No record yet: " in html, "of the toys that have none"
    assert not [path for path in small.iterdir() if "tmp" in path.name]


def test_what_is_damaged_is_said_on_stderr_and_by_the_exit_code(small, capsys):
    (small / "results/walk/cpu/0123456789ab.json").write_text("{")
    assert run(small, "--results", str(small / "results")) == 1
    err = capsys.readouterr().err
    assert err.startswith("python -m bbtheory.report: walk/cpu/0123456789ab.json cannot be read: ")
    assert len(err.splitlines()) == 1
    assert faults((small / "report.html").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--results", "nowhere"], "--results must be an existing folder, got 'nowhere'"),
        (["--figures", "nowhere"], "--figures must be an existing folder, got 'nowhere'"),
        (["--checks", "nowhere"], "--checks must be an existing file, got 'nowhere'"),
        (["--checks", "."], "--checks must be an existing file, got '.'"),
        (["--out", "."], "an output must be a regular file, got '.'"),
        (["--out", "no/such/folder.html"], "no/such/folder.html: No such file or directory"),
        (["more"], "unrecognized arguments: more"),
    ],
)
def test_bad_input(args, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(archive, "RESULTS", tmp_path / "none")
    with pytest.raises(SystemExit) as ended:
        main(args, experiments="toy_experiments")
    assert ended.value.code == 2
    err = capsys.readouterr().err.splitlines()
    assert told in err[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_leaves_the_old_one(small, monkeypatch):
    (small / "report.html").write_text("old")
    monkeypatch.setattr(
        Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    assert run(small, "--results", str(small / "results")) == 1
    monkeypatch.undo()
    assert (small / "report.html").read_text() == "old"
    assert sorted(path.name for path in small.iterdir()) == [
        "figures",
        "report.html",
        "results",
        "verdicts.json",
    ]


def test_help_and_version(capsys):
    for flag, words in (("--help", ["examples:", "python -m bbtheory.report"]), ("--version", ["bbtheory "])):
        with pytest.raises(SystemExit) as ended:
            main([flag])
        assert ended.value.code == 0
        assert all(word in capsys.readouterr().out for word in words[:1])

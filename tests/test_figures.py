"""The figures' driver on toys, and every real figure drawn from smoke records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bbtheory.catalog import Catalog
from experiments._driver import main as run_experiments
from figures._build import _code
from figures._driver import main

ROOT = Path(__file__).resolve().parent.parent
REAL = Catalog("figures")
OUTPUTS = {"walk.json", "walk.pdf", "walk.png"}


def toy(results: Path, out: Path, *args: str) -> int:
    return main([*args, "--results", str(results), "--out", str(out)], "toy_figures", "toy_experiments")


@pytest.fixture
def walked(tmp_path: Path) -> Path:
    results = tmp_path / "results"
    args = ["walk", "--preset", "smoke", "--results", str(results)]
    assert run_experiments(args, package="toy_experiments") == 0
    return results


# every real figure


@pytest.mark.parametrize("name", REAL.names)
def test_figure_draws_from_smoke_records(name, smoke, tmp_path):
    for source in REAL.load(name).SOURCES:
        smoke.record(source)
    for folder in ("one", "two"):
        assert main([name, "--results", str(smoke.results), "--out", str(tmp_path / folder)]) == 0
    for ending in ("pdf", "png", "json"):
        first, second = (tmp_path / folder / f"{name}.{ending}" for folder in ("one", "two"))
        assert first.read_bytes() == second.read_bytes(), f"two builds of the {ending} differ"
        assert first.stat().st_size > 100
    notes = json.loads((tmp_path / "one" / f"{name}.json").read_text())
    assert notes["caption"]
    assert notes["paper"]
    assert [source["preset"] for source in notes["sources"]] == ["smoke"] * len(REAL.load(name).SOURCES)


@pytest.mark.parametrize("name", REAL.names)
def test_sources_are_experiments(name):
    experiments = Catalog("experiments")
    assert [experiments.check(source) for source in REAL.load(name).SOURCES]


# staleness


def test_builds_only_what_is_stale(walked, tmp_path, capsys):
    out = tmp_path / "out"

    def build(*names: str) -> str:
        toy(walked, out, *names)
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("walk"))

    assert build() == "walk  drawn from walk smoke  walk.pdf, walk.png"
    assert {p.name for p in out.iterdir()} == OUTPUTS
    assert build() == "walk  up to date from walk smoke  walk.pdf, walk.png"
    assert "drawn" in build("walk"), "a figure that is named is drawn"
    (out / "walk.png").unlink()
    assert "drawn" in build()
    (out / "walk.json").write_text("{")
    assert "drawn" in build()
    record = next(walked.glob("walk/smoke/*.json"))
    record.write_text(record.read_text() + " ")
    assert "drawn" in build()
    assert "up to date" in build()


def test_code_and_style_decide_too(walked, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    toy(walked, out)
    monkeypatch.setattr("figures._build._code", lambda path: {ROOT / "LICENSE"})
    capsys.readouterr()
    toy(walked, out)
    assert "walk  drawn" in capsys.readouterr().out


def test_code_is_what_a_figure_imports():
    found = {path.relative_to(ROOT).as_posix() for path in _code(REAL.path("static_null"))}
    assert {"figures/static_null.py", "bbtheory/plots.py", "bbtheory/storage.py"} <= found
    assert "bbtheory/catalog.py" not in found


# presets


def test_best_preset_wins(walked, tmp_path, capsys):
    toy(walked, tmp_path / "smoke")
    assert "walk smoke" in capsys.readouterr().out
    assert run_experiments(["walk", "--results", str(walked)], package="toy_experiments") == 0
    toy(walked, tmp_path / "cpu")
    assert "walk cpu" in capsys.readouterr().out
    notes = json.loads((tmp_path / "cpu" / "walk.json").read_text())
    (source,) = notes["sources"]
    assert source["preset"] == "cpu"
    assert source["seeds"] == [0, 1, 2, 3]
    assert (walked / source["record"]).exists()


def test_a_smoke_figure_says_so(walked, tmp_path, monkeypatch):
    drawn = []
    walk = Catalog("toy_figures").load("walk")
    real = walk.draw
    monkeypatch.setattr(walk, "draw", lambda figure, *results: drawn.append(figure) or real(figure, *results))
    toy(walked, tmp_path, "walk")
    assert run_experiments(["walk", "--results", str(walked)], package="toy_experiments") == 0
    toy(walked, tmp_path, "walk")
    assert [[text.get_text() for text in figure.texts] for figure in drawn] == [
        ["smoke run: no evidence"],
        [],
    ]


def test_other_processes_draw_the_same_bytes(walked, tmp_path):
    toy(walked, tmp_path / "1")
    code = (
        "import sys; from figures._driver import main; main(sys.argv[1:], 'toy_figures', 'toy_experiments')"
    )
    args = ["--results", str(walked), "--out", str(tmp_path / "2"), "--jobs", "2"]
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "2"},
        capture_output=True,
    )
    assert {p.name for p in (tmp_path / "2").iterdir()} == OUTPUTS
    for name in OUTPUTS:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


# what goes wrong


def test_no_record_is_no_error_for_the_rest(tmp_path, capsys):
    empty = tmp_path / "empty"
    assert main(["--results", str(empty), "--out", str(tmp_path)]) == 0
    assert (
        f"no record of static_null in {empty}: python -m experiments static_null" in capsys.readouterr().err
    )
    assert main(["static_null", "--results", str(empty), "--out", str(tmp_path)]) == 1
    assert not list(tmp_path.glob("static_null*"))


def test_a_failing_figure_loses_no_other(walked, tmp_path, capsys):
    assert toy(walked, tmp_path) == 1
    out, err = capsys.readouterr()
    assert "walk  drawn" in out
    assert err.strip() == "python -m figures: wordless: TypeError: draw must return the caption, got None"


def test_corrupt_record(walked, tmp_path, capsys):
    record = next(walked.glob("walk/smoke/*.json"))
    record.write_text("{")
    assert toy(walked, tmp_path, "walk") == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert record.name in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["wlak"], "did you mean walk?"),
        (["--jobs", "0"], "--jobs must be an integer in [1, inf), got 0"),
    ],
)
def test_bad_input(args, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        toy(tmp_path, tmp_path / "out", *args)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]

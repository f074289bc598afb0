"""The figures' driver on toys, and every real figure drawn from smoke records."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.lines import Line2D

from bbtheory import plots
from bbtheory.catalog import Catalog
from experiments._change_scenes import Squares
from experiments._driver import main as run_experiments
from figures import _drawing
from figures._build import _code, draw
from figures._contest import TASKS
from figures._drawing import Drawing
from figures._driver import main
from layout import faults
from made_up_contests import contest_result, write_contest
from made_up_flux import MADE_UP, flux_result

ROOT = Path(__file__).resolve().parent.parent
REAL = Catalog("figures")
OUTPUTS = {"walk.csv", "walk.json", "walk.svg"}
# one of theory, one of a toy, one of a real task are rendered in every run, the others where time is no matter
SMOKE_ALL_SECONDS = 600.0  # of processor time, so that a busy machine does not matter
QUICK = ("balance_concept", "density_pressure", "pareto_image_classification")


def in_every_run(*names: str) -> list:
    """Return the names of all figures, slow but for these."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in REAL.names]


def toy(results: Path, out: Path, *args: str) -> int:
    jobs = [] if "--jobs" in args else ["--jobs", "1"]
    every = [*args, *jobs, "--results", str(results), "--out", str(out)]
    return main(every, "toy_figures", "toy_experiments")


@pytest.fixture
def walked(tmp_path: Path) -> Path:
    results = tmp_path / "results"
    args = ["walk", "--preset", "smoke", "--results", str(results)]
    assert run_experiments(args, package="toy_experiments") == 0
    return results


# every real figure


def drawn(name: str, smoke) -> tuple[Drawing, str]:
    """Draw a real figure from smoke records, in memory."""
    module = REAL.load(name)
    return draw(module, [smoke.record(source).result for source in module.SOURCES])


@pytest.mark.parametrize("name", REAL.names)
def test_figure_draws_from_smoke_records(name, smoke):
    figure, caption = drawn(name, smoke)
    assert "n = " in caption
    assert REAL.load(name).PAPER
    assert kept(figure) == []
    assert labelled(figure) == []


@pytest.mark.parametrize("name", in_every_run(*QUICK))
def test_layout(name, smoke):
    figure, _ = drawn(name, smoke)
    with matplotlib.rc_context(plots.STYLE):
        assert faults(figure) == []


@pytest.mark.parametrize("name", in_every_run("density_pressure"))
def test_two_builds_are_equal(name, smoke, tmp_path):
    module = REAL.load(name)
    for source in module.SOURCES:
        smoke.record(source)
    for folder in ("one", "two"):
        assert main([name, "--results", str(smoke.results), "--out", str(tmp_path / folder)]) == 0
    for ending in ("svg", "csv", "json"):
        first, second = (tmp_path / folder / f"{name}.{ending}" for folder in ("one", "two"))
        assert first.read_bytes() == second.read_bytes(), f"two builds of the {ending} differ"
        assert first.stat().st_size > 100
    notes = json.loads((tmp_path / "one" / f"{name}.json").read_text())
    assert notes["caption"]
    assert notes["paper"]
    assert [source["preset"] for source in notes["sources"]] == ["smoke"] * len(module.SOURCES)
    figure, _ = drawn(name, smoke)
    with (tmp_path / "one" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(figure.table()["y"])


def close(a: object, b: object) -> bool:
    """Say whether two arrays are equal, NaN to NaN."""
    return np.array_equal(np.asarray(a, float), np.asarray(b, float), equal_nan=True)


def kept(figure: Drawing) -> list[str]:
    """Return where the table of a figure is not what its artists show, and what was drawn behind its back."""
    found = []
    table = figure.table()
    at = 0
    for series in figure.series:
        n = max(len(values) for values in series.columns.values())
        rows = {column: cells[at : at + n] for column, cells in table.items()}
        at += n
        told = {c: [math.nan if v == "" else v for v in rows.get(c, [""] * n)] for c in _drawing._COLUMNS}
        artists = [
            a for a in series.axes.get_children() if (a.get_gid() or "").partition(":")[0] == series.key
        ]
        if not artists:
            found.append(f"{series.name}: nothing carries {series.key}")
        for artist in artists:
            if isinstance(artist, Line2D):
                right = close(artist.get_xdata(), told["x"]) and close(artist.get_ydata(), told["y"])
            elif isinstance(artist, LineCollection):  # intervals; those that are not known are left out
                along = artist.get_gid()[-1]
                ends = [np.asarray(told[f"{along}_{end}"], float) for end in ("low", "high")]
                known = np.isfinite(ends).all(axis=0)
                segments = np.array(artist.get_segments())[:, :, "xy".index(along)]
                right = close(segments, np.transpose(ends)[known])
            elif isinstance(artist, PolyCollection):
                corners = {tuple(corner) for corner in artist.get_paths()[0].vertices}
                told_corners = [zip(told["x"], told[f"y_{end}"], strict=True) for end in ("low", "high")]
                right = {tuple(corner) for pairs in told_corners for corner in pairs} <= corners
            else:
                right = False
            if not right:
                found.append(
                    f"{series.name}: {type(artist).__name__} shows other numbers than the table tells"
                )
    for axes in figure.axes:
        for line in axes.lines if axes.axison else ():
            if line.get_gid() is None and len(line.get_xdata()) > 2:
                found.append(f"panel {figure.axes.index(axes) + 1}: {line.get_label()} is drawn and not told")
    return found


def labelled(figure: Drawing) -> list[str]:
    """Return the panels without a label on an axis, or without n."""
    found = []
    for i, axes in enumerate(figure.axes):
        if not axes.axison:
            continue
        labels = [axes.get_xlabel(), axes.get_ylabel()]
        shared = any(
            axes in group for group in [axes.get_shared_y_axes().get_siblings(axes)] if len(group) > 1
        )
        if not labels[0] or not (labels[1] or shared):
            found.append(f"panel {i + 1}: an axis has no label")
        if not any("n = " in label for label in (*labels, axes.get_title(loc="left"))):
            found.append(f"panel {i + 1}: no n")
    return found


def test_the_tests_of_figures_can_fail():
    with matplotlib.rc_context(plots.STYLE):
        figure = Drawing()
        axes = figure.subplots()
        look = _drawing.LOOKS[0]
        _drawing.points(axes, "one", [1.0, 2.0], [3.0, math.nan], look, y_interval=([2.0, 1.0], [4.0, 5.0]))
        _drawing.line(axes, "two", [1.0, 2.0], [3.0, 4.0])
        _drawing.band(axes, "three", [1.0, 2.0], [0.0, 1.0], [1.0, 2.0], look)
        assert kept(figure) == []
        axes.lines[1].set_ydata([3.0, 4.5])
        assert len(kept(figure)) == 1
        axes.plot([1, 2, 3], [1, 2, 3])
        assert len(kept(figure)) == 2
        assert len(labelled(figure)) == 2
        axes.set(xlabel="time (s); n = 2", ylabel="a long label " * 20)
        assert labelled(figure) == []
        assert any("is cut off" in fault for fault in faults(figure))
        axes.text(1.5, 3.0, "over")
        axes.text(1.5, 3.0, "under")
        assert any("overlaps" in fault for fault in faults(figure))
        axes.legend(loc=(0.0, 0.0))
        axes.set(xlim=(0.9, 8), ylim=(2.9, 8))
        assert any("under a legend" in fault for fault in faults(figure))


def test_table_names_what_is_shown():
    with matplotlib.rc_context(plots.STYLE):
        figure = Drawing()
        axes = figure.subplots()
        look = _drawing.LOOKS[0]
        _drawing.points(axes, "one", [1.0, 2.0], [3.0, math.nan], look, label=["a", "b"])
        axes.set(xlabel="time\n(s)", ylabel="rate")
    assert figure.table() == {
        "panel": [1, 1],
        "series": ["one", "one"],
        "x_is": ["time (s)", "time (s)"],
        "y_is": ["rate", "rate"],
        "label": ["a", "b"],
        "x": [1.0, 2.0],
        "y": [3.0, ""],
    }


def test_saved_axes_lie_at_round_places(tmp_path):
    # the solver of the layout leaves its last digits to chance, and clip paths are named by them
    with matplotlib.rc_context(plots.STYLE):
        figure = Drawing()
        panels = figure.subplots(1, 3)
    plots.save_figure(figure, tmp_path / "x.svg")
    for axes in panels:
        places = axes.get_position().bounds
        assert np.allclose(places, np.round(places, 6), rtol=0.0, atol=1e-12)
        assert places[0] > 0.01, "laid out before its place is fixed"


def test_looks_differ_without_colour():
    looks = [(look.marker, str(look.line)) for look in _drawing.LOOKS]
    assert len({marker for marker, _ in looks}) == len({line for _, line in looks}) == len(looks)


# contests: every size, and tasks that have no record


@pytest.mark.parametrize("task", TASKS)
def test_front_of_full_size(task):
    figure, caption = draw(REAL.load(f"pareto_{task}"), [contest_result(task)])
    assert kept(figure) == []
    assert "n = 5 seeds" in caption
    shown = {series.name for series in figure.series}
    assert {"dense", "BB, SP-in", "magnitude, gradual", "RigL", "random"} <= shown
    if task == "image_classification":  # the one with most methods
        with matplotlib.rc_context(plots.STYLE):
            assert faults(figure) == []


@pytest.mark.parametrize(
    "name", ["tail_gains", pytest.param("correlation_before_after", marks=pytest.mark.slow)]
)
def test_tasks_without_a_record_are_named(name, tmp_path, capsys):
    results = tmp_path / "results"
    for task in ("image_classification", "language_model"):
        write_contest(results, task)
    assert main([name, "--results", str(results), "--out", str(tmp_path)]) == 0
    assert "drawn from image_classification cpu, language_model cpu" in capsys.readouterr().out
    notes = json.loads((tmp_path / f"{name}.json").read_text())
    assert notes["lacking"] == ["spoken_digits", "identification", "change_detection", "synapses"]
    module = REAL.load(name)
    there = {task: contest_result(task) for task in ("image_classification", "language_model")}
    figure, _ = draw(module, [there.get(task) for task in module.SOURCES])
    assert kept(figure) == []
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [text for text in texts if text.startswith("no record")] == [
        f"no record of {task}" for task in notes["lacking"]
    ]
    with matplotlib.rc_context(plots.STYLE):
        assert faults(figure) == []
    assert main([name, "--results", str(tmp_path / "empty"), "--out", str(tmp_path / "no")]) == 1
    assert "no record of image_classification" in capsys.readouterr().err


# experiments with pressure: every size, missing sources, records from before courses were kept

OF_PRESSURE = [name for name in REAL.names if set(REAL.load(name).SOURCES) & set(MADE_UP)]


def said(figure: Drawing) -> list[str]:
    """Return what stands on empty panels."""
    return [text.get_text() for axes in figure.axes if not axes.axison for text in axes.texts]


@pytest.mark.parametrize("preset", ["cpu", pytest.param("full", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", OF_PRESSURE)
def test_figure_of_pressure_at_size(name, preset):
    module = REAL.load(name)
    figure, caption = draw(module, [flux_result(source, preset) for source in module.SOURCES])
    assert kept(figure) == []
    assert labelled(figure) == []
    assert said(figure) == []
    assert "n = " in caption


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["cpu", "full"])
@pytest.mark.parametrize("name", OF_PRESSURE)
def test_layout_at_size(name, preset):
    module = REAL.load(name)
    figure, _ = draw(module, [flux_result(source, preset) for source in module.SOURCES])
    with matplotlib.rc_context(plots.STYLE):
        assert faults(figure) == []


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        (name, i)
        for name in OF_PRESSURE
        if getattr(REAL.load(name), "PARTIAL", False)
        for i in range(len(REAL.load(name).SOURCES))
    ],
)
def test_figure_of_pressure_without_a_source(name, lacking):
    module = REAL.load(name)
    results = [flux_result(source, "cpu") for source in module.SOURCES]
    results[lacking] = None
    figure, caption = draw(module, results)
    assert kept(figure) == []
    assert labelled(figure) == []
    assert (
        any(module.SOURCES[lacking] in text for text in (*said(figure), caption)) or name == "pruning_nulls"
    )


# what records of contests keep for pictures


def test_histograms_where_they_are_kept():
    module = REAL.load("correlation_histograms")
    results = [contest_result(task) for task in module.SOURCES]
    pairs = np.full((len(results[0].rows), 2, 20), 0.05)
    pairs[0, 1, 10:] = 0.0
    figure, _ = draw(module, [replace(results[0], pairs=pairs), *results[1:]])
    assert len(said(figure)) == len(results) - 1
    assert all("keeps means" in text for text in said(figure))
    assert kept(figure) == []
    assert labelled(figure) == []
    dense = next(series for series in figure.series if series.name == "dense, after")
    assert np.isnan(dense.columns["y"][10:]).all(), "an empty bin has no place on a logarithmic axis"
    with matplotlib.rc_context(plots.STYLE):
        assert faults(figure) == []
    figure, caption = draw(module, [None, *results[1:]])
    assert len(said(figure)) == 1
    assert "Nothing to show" in caption


def test_squares_of_change_by_hand():
    """Of four changed pixels one is seen by both, one by us, one by dense, one by neither."""
    module = REAL.load("change_squares")
    truth = np.array([[[1, 1, 1, 1], [0, 0, 255, 255]]], np.uint8)
    ours = np.array([[[1, 1, 0, 0], [1, 0, 1, 1]]], np.uint8)
    dense = np.array([[[1, 0, 1, 0], [0, 0, 1, 1]]], np.uint8)
    image = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    found = np.array([dense, ours, ours])
    squares = Squares(image, image, truth, found, ("dense", "bb_in", "bb_in"), np.array([1.0, 0.3, 0.1]))
    result = contest_result("change_detection")
    figure, caption = draw(module, [replace(result, squares=squares)])
    shares = {series.name: series.columns["x"].tolist() for series in figure.series}
    assert shares == {
        "changed, seen by both": [25.0, 25.0],
        "changed, seen by BB only": [25.0, 25.0],
        "changed, seen by dense only": [25.0, 25.0],
        "unchanged, seen by both": [0.0, 0.0],
        "unchanged, seen by BB only": [50.0, 50.0],
        "unchanged, seen by dense only": [0.0, 0.0],
    }
    assert "n = 1 seed of 5" in caption
    assert kept(figure) == []
    assert labelled(figure) == []
    figure, _ = draw(module, [result])
    assert len(said(figure)) == 1


@pytest.mark.parametrize("name", REAL.names)
def test_sources_are_experiments(name):
    experiments = Catalog("experiments")
    sources = REAL.load(name).SOURCES
    assert [experiments.check(source) for source in sources] == list(sources)


# all of it, as a fresh clone would


@pytest.mark.slow
def test_everything_regenerates_at_smoke_size(tmp_path):
    """Every record and every figure, in under 10 minutes of processor time, compiling included; no data."""
    environ = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "compiled"), "PYTHONPATH": str(ROOT)}
    environ.pop("BBTHEORY_DATA", None)
    results, out = tmp_path / "results", tmp_path / "figures"

    def run(*args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *args], cwd=tmp_path, env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = os.times()
    made = run("experiments", "all", "--preset", "smoke", "--results", str(results))
    after = os.times()
    taken = after.children_user + after.children_system - before.children_user - before.children_system
    assert taken < SMOKE_ALL_SECONDS
    status = {line.split("  ")[0]: line.split("  ")[2] for line in made.splitlines()}
    assert sorted(status) == sorted(Catalog("experiments").names)
    missing = {name: said for name, said in status.items() if said != "ok"}
    assert all(said.startswith("not run: needs ") for said in missing.values()), missing
    drawn = run("figures", "--results", str(results), "--out", str(out), "--jobs", "1")
    names = {line.split("  ")[0] for line in drawn.splitlines() if "  drawn from " in line}
    waiting = {name for name in REAL.names if set(REAL.load(name).SOURCES) & set(missing)}
    assert names | waiting == set(REAL.names)
    assert {path.stem for path in out.glob("*.svg")} == names


# staleness


def test_builds_only_what_is_stale(walked, tmp_path, capsys):
    out = tmp_path / "out"

    def build(*names: str) -> str:
        toy(walked, out, *names)
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("walk"))

    assert build() == "walk  drawn from walk smoke  walk.svg, walk.csv"
    assert {p.name for p in out.iterdir()} == OUTPUTS
    assert build() == "walk  up to date from walk smoke  walk.svg, walk.csv"
    assert "drawn" in build("walk"), "a figure that is named is drawn"
    (out / "walk.svg").unlink()
    assert "drawn" in build()
    (out / "walk.csv").unlink()
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
    for what in ("code", "style"):
        toy(walked, out)
        capsys.readouterr()
        toy(walked, out)
        assert "walk  up to date" in capsys.readouterr().out
        with monkeypatch.context() as patched:
            if what == "code":
                patched.setattr("figures._build._code", lambda path, *packages: {ROOT / "LICENSE"})
            else:
                patched.setattr(plots, "STYLE_FILE", ROOT / "LICENSE")
            toy(walked, out)
        assert "walk  drawn" in capsys.readouterr().out, what


def test_code_is_what_a_figure_imports():
    found = {path.relative_to(ROOT).as_posix() for path in _code(REAL.path("static_null"), "figures")}
    assert found == {"figures/static_null.py", "figures/_drawing.py"}
    found = {path.relative_to(ROOT).as_posix() for path in _code(ROOT / "figures/_drawing.py", "bbtheory")}
    assert {"bbtheory/plots.py", "bbtheory/storage.py"} <= found
    assert "bbtheory/catalog.py" not in found
    # what a record holds is decided where its experiment says
    source = ROOT / "experiments" / "synapses.py"
    assert ROOT / "experiments" / "_contest_records.py" in _code(source, "experiments")


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
    assert [figure.get_supxlabel() for figure in drawn] == [
        "drawn from smoke records of walk\nsmoke runs are no evidence",
        "drawn from cpu records of walk",
    ]


@pytest.mark.parametrize(("picture", "start"), [("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_formats(picture, start, walked, tmp_path, capsys):
    for folder in ("1", "2"):
        assert toy(walked, tmp_path / folder, "walk", "--format", picture) == 0
    first, second = ((tmp_path / folder / f"walk.{picture}").read_bytes() for folder in ("1", "2"))
    assert first == second
    assert first.startswith(start)
    assert f"walk.{picture}, walk.csv" in capsys.readouterr().out
    toy(walked, tmp_path / "1")
    assert "drawn" in capsys.readouterr().out, "another format is another picture"
    assert "Random walks" in first.decode("latin-1")


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
    assert main(["--results", str(empty), "--out", str(tmp_path), "--jobs", "1"]) == 0
    said = capsys.readouterr()
    assert f"no record of static_null in {empty}: python -m experiments static_null" in said.err
    assert "balance_concept  drawn from theory" in said.out
    assert main(["static_null", "--results", str(empty), "--out", str(tmp_path)]) == 1
    assert not list(tmp_path.glob("static_null*"))


def test_a_failing_figure_loses_no_other(walked, tmp_path, capsys):
    assert toy(walked, tmp_path) == 1
    out, err = capsys.readouterr()
    assert "walk  drawn" in out
    assert err.strip() == "python -m figures: wordless: TypeError: draw must return the caption, got None"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "{",
        lambda text: "[]",
        lambda text: text.replace('"paths"', '"baths"'),
        lambda text: text.replace('"kind": "experiment"', '"kind": "recipe"'),
    ],
)
def test_damaged_record(damage, walked, tmp_path, capsys):
    record = next(walked.glob("walk/smoke/*.json"))
    record.write_text(damage(record.read_text()))
    assert toy(walked, tmp_path, "walk") == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert record.name in err
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_damaged_arrays_of_a_real_record(tmp_path, capsys):
    results = tmp_path / "results"
    record = write_contest(results, "image_classification")
    record.with_suffix(".npz").write_bytes(b"PK")
    name = "pareto_image_classification"
    assert main([name, "--results", str(results), "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert record.with_suffix(".npz").name in err
    assert not list((tmp_path / "out").iterdir())


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

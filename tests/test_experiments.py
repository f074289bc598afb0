"""The experiments' driver on toys, and every real experiment at its smoke size."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from bbtheory import archive
from bbtheory.catalog import Catalog
from bbtheory.layout import lay_out, timed
from bbtheory.records import Record, same
from experiments._cells import SavedProgress, Task, run_cell
from experiments._cost import makespan
from experiments._driver import main
from experiments._show import texts
from experiments.protocol import NotRun, Progress

ROOT = Path(__file__).resolve().parent.parent
TOYS = Catalog("toy_experiments")
REAL = Catalog("experiments").names


def toy(results: Path, *args: str) -> int:
    return main([*args, "--results", str(results)], package="toy_experiments")


def start(results: Path, *args: str, **environ: str) -> subprocess.Popen:
    code = "import sys; from experiments._driver import main; sys.exit(main(package='toy_experiments'))"
    return subprocess.Popen(
        [sys.executable, "-c", code, *args, "--results", str(results)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def record(results: Path, name: str, preset: str = "cpu") -> archive.Archived:
    module = TOYS.load(name)
    path = archive.record_path(results, name, preset, archive.settings(module, preset))
    return archive.read(path, module.Result)


def files(results: Path) -> dict[str, bytes]:
    return {str(p.relative_to(results)): p.read_bytes() for p in results.rglob("*") if p.is_file()}


def half_written(results: Path) -> list[str]:
    return [name for name in files(results) if ".tmp" in name]


def wait_for(results: Path, pattern: str, n: int, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while len(list(results.rglob(pattern))) < n:
        assert time.monotonic() < until, f"no {pattern} after {seconds} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> archive.Archived:
    """The walk of the cpu preset, run without interruption."""
    results = tmp_path_factory.mktemp("whole")
    assert toy(results, "walk") == 0
    return record(results, "walk")


# every real experiment; tunings run the same code on contests that are run here themselves, and benches are slow
# to compile what they time

FEW = {"tune_": "tune_image_classification", "bench_": "bench_theory"}
RUN = [
    pytest.param(n, marks=pytest.mark.slow if any(n.startswith(p) and n != FEW[p] for p in FEW) else ())
    for n in REAL
]


@pytest.mark.parametrize("name", RUN)
def test_smoke_record_round_trips(name, smoke, tmp_path):
    found = smoke.record(name)
    copy = replace(found, path=tmp_path / "copy.json")
    archive.write(copy)
    again = archive.read(copy.path, type(found.result))
    assert again == copy
    assert again.result == found.result
    assert json.loads(found.result.to_json())["kind"] == found.result.KIND


# what they measure are times
TIMED = ("bench_", "overhead_")
TWICE = [name for name in REAL if not name.startswith(TIMED)]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "static_null" else pytest.mark.slow) for n in TWICE]
)
def test_smoke_is_deterministic(name, smoke, tmp_path):
    found = smoke.record(name)
    assert main([name, "--preset", "smoke", "--results", str(tmp_path)]) == 0
    module = smoke.catalog.load(name)
    path = archive.record_path(tmp_path, name, "smoke", module.SMOKE)
    assert archive.read(path, module.Result).result == found.result


@pytest.mark.parametrize("name", REAL)
def test_experiment_keeps_the_protocol(name):
    module = Catalog("experiments").load(name)
    first = module.__doc__.splitlines()[0]
    assert first.endswith("?"), "the first line is the question"
    assert module.Config.__dataclass_params__.frozen
    assert issubclass(module.Result, archive.Record)
    for preset in ("smoke", "cpu", "full"):
        assert isinstance(archive.settings(module, preset), module.Config)
    assert hasattr(module, "cells") == hasattr(module, "collect")


# records


def test_record_states_its_origin(tmp_path, monkeypatch):
    monkeypatch.setenv("BBTHEORY_COMMIT", "feed" * 10)
    assert toy(tmp_path, "walk", "lump", "--preset", "smoke") == 0
    found = record(tmp_path, "walk", "smoke")
    made = found.provenance
    assert (found.experiment, found.preset, found.status, found.seeds) == ("walk", "smoke", "ok", (0, 1))
    assert made["config"] == {"n_steps": 5, "seeds": [0, 1]}
    assert made["hash"] == found.path.stem
    assert (made["commit"], made["dirty"], made["cells"]) == ("feed" * 10, False, 2)
    assert made["seconds"] >= 0
    assert {"versions", "machine", "device", "threads", "date"} <= made.keys()
    assert set(json.loads(found.path.read_text())) == {
        *("schema", "kind", "experiment", "preset", "status", "seeds", "result", "provenance")
    }


def test_hash_leaves_out_seeds_and_defaults():
    walk = TOYS.load("walk")
    path = archive.record_path(Path(), "walk", "cpu", walk.Config())
    assert archive.record_path(Path(), "walk", "cpu", walk.Config(seeds=(9,))) == path
    assert archive.record_path(Path(), "walk", "cpu", walk.Config(n_steps=6)) != path
    cells = {archive.cell_path(path, cell) for cell in walk.cells(walk.Config())}
    assert len(cells) == 4


def test_second_run_skips(tmp_path, capsys):
    assert toy(tmp_path, "walk", "lump", "--preset", "smoke") == 0
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    capsys.readouterr()
    assert toy(tmp_path, "walk", "lump", "--preset", "smoke") == 0
    out = capsys.readouterr().out
    assert out.count("ok, was there") == 2
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_force_runs_anew(tmp_path, capsys):
    assert toy(tmp_path, "walk", "--preset", "smoke") == 0
    first = record(tmp_path, "walk", "smoke")
    before = first.path.stat().st_mtime_ns
    assert toy(tmp_path, "walk", "--preset", "smoke", "--force") == 0
    assert "was there" not in capsys.readouterr().out
    again = record(tmp_path, "walk", "smoke")
    assert again.path.stat().st_mtime_ns > before
    assert again.result == first.result


def test_one_piece_leaves_one_record(tmp_path):
    assert toy(tmp_path, "lump") == 0
    names = {Path(name).suffix for name in files(tmp_path)}
    assert (len(files(tmp_path)), names) == (2, {".json", ".npz"})


def test_rows_over_cells_are_shown_with_their_seconds(tmp_path):
    assert toy(tmp_path, "walk", "--preset", "smoke") == 0
    seconds = record(tmp_path, "walk", "smoke").provenance["cell_seconds"]
    assert len(seconds) == 2
    rows = [{"method": "a", "n": 2}, {"method": "b", "n": 1}]
    assert [row["seconds"] for row in timed(rows, [1.0, 3.0, 5.0])] == [2.0, 5.0]
    assert timed(rows, [1.0, 3.0]) == rows
    assert timed([{"method": "a"}], [1.0]) == [{"method": "a"}]


# seeds


def test_more_seeds_run_only_the_new_cells(tmp_path, monkeypatch, capsys):
    walk = TOYS.load("walk")
    assert toy(tmp_path, "walk", "--preset", "smoke") == 0
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.cells/*.json")}
    monkeypatch.setattr(walk, "SMOKE", walk.Config(seeds=(0, 1, 2)))
    capsys.readouterr()
    assert toy(tmp_path, "walk", "--preset", "smoke") == 0
    assert "record holds seeds 0, 1, the preset asks for 0, 1, 2" in capsys.readouterr().err
    found = record(tmp_path, "walk", "smoke")
    assert found.seeds == (0, 1, 2)
    assert found.result.paths.shape == (3, 6)
    assert len(kept) == 2
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in kept.items())


def test_fewer_seeds_never_replace_a_record_silently(tmp_path, monkeypatch, capsys):
    walk = TOYS.load("walk")
    assert toy(tmp_path, "walk", "--preset", "smoke") == 0
    before = files(tmp_path)
    monkeypatch.setattr(walk, "SMOKE", walk.Config(seeds=(1, 2)))
    capsys.readouterr()
    assert toy(tmp_path, "walk", "--preset", "smoke") == 1
    err = capsys.readouterr().err
    assert "holds seeds 0, 1, the preset asks for 1, 2; --force drops the others" in err
    assert files(tmp_path) == before
    assert toy(tmp_path, "walk", "--preset", "smoke", "--force") == 0
    assert record(tmp_path, "walk", "smoke").seeds == (1, 2)


# cut off and gone on


def test_killed_in_mid_sweep_then_finished(tmp_path, whole):
    process = start(tmp_path, "walk", TOY_NAP="0.01")
    try:
        wait_for(tmp_path, "*.cells/*.json", 1)
        wait_for(tmp_path, "*.state.npz", 1)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not list(tmp_path.glob("walk/cpu/*.json")), "killed too late to test anything"
    assert toy(tmp_path, "walk") == 0
    assert record(tmp_path, "walk").result == whole.result
    assert not list(tmp_path.rglob("*.state.npz"))


def test_the_state_is_what_a_killed_cell_goes_on_from(tmp_path, whole):
    # negative control: a run that goes on from a wrong state must not give the same result
    walk = TOYS.load("walk")
    config = walk.cells(walk.CPU)[0]
    task = Task("toy_experiments", "walk", config, tmp_path / "cell.json", None, np.inf)
    rng = np.random.default_rng(1)
    SavedProgress(task).save({"path": np.zeros(50), "rng": rng.bit_generator.state})
    result = run_cell(task).result
    assert result is not None
    assert (result.path[:50] == 0).all()
    assert not same(result.path, whole.result.paths[0])


def test_interrupt(tmp_path, whole):
    process = start(tmp_path, "walk", TOY_NAP="0.01")
    wait_for(tmp_path, "*.cells/*.json", 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1]) == (130, "python -m experiments: interrupted")
    assert not half_written(tmp_path)
    assert toy(tmp_path, "walk") == 0
    assert record(tmp_path, "walk").result == whole.result


@pytest.mark.parametrize("saver", ["savez", "savez_compressed"])  # of states, of records
@pytest.mark.parametrize("error", [KeyError, RuntimeError, ValueError])
@pytest.mark.parametrize(
    ("cause", "status", "line"),
    [(KeyboardInterrupt, 130, ": interrupted"), (KeyError, 1, "cannot be closed")],
)
def test_an_interrupt_in_mid_write(tmp_path, monkeypatch, capsys, saver, error, cause, status, line):
    """Archives that are cut off then fail to close, and only that error is seen."""

    def cut_off(path, **arrays):
        path.write_bytes(b"half")
        try:
            raise cause
        finally:
            raise error("cannot be closed")

    monkeypatch.setattr(np, saver, cut_off)
    assert toy(tmp_path, "walk") == status
    assert line in capsys.readouterr().err.splitlines()[-1]
    assert not half_written(tmp_path)


def test_time_limit(tmp_path, whole, monkeypatch, capsys):
    monkeypatch.setenv("TOY_NAP", "0.003")  # 0.3 s a cell at least
    assert toy(tmp_path, "walk", "--time-limit", "0.7") == 0
    done = len(list(tmp_path.rglob("*.cells/*.json")))
    assert f"time limit: {done} of 4 cells are done; run it again to go on" in capsys.readouterr().err
    assert done + len(list(tmp_path.rglob("*.state.npz"))) <= 2, "started a cell that cannot fit"
    assert not list(tmp_path.glob("walk/cpu/*.json"))
    before = files(tmp_path)
    assert toy(tmp_path, "walk", "--time-limit", "0") == 0
    assert files(tmp_path) == before
    monkeypatch.setenv("TOY_NAP", "0")
    assert toy(tmp_path, "walk", "--time-limit", "600") == 0
    assert record(tmp_path, "walk").result == whole.result


def test_a_cell_longer_than_the_limit_goes_on_from_its_state(tmp_path, whole, monkeypatch):
    monkeypatch.setenv("TOY_NAP", "0.02")  # 2 s a cell at least
    walk = TOYS.load("walk")
    config = walk.cells(walk.CPU)[0]
    path = archive.cell_path(archive.record_path(tmp_path, "walk", "cpu", walk.CPU), config)
    steps, seconds = [1], [0.0]
    for _ in range(3):
        assert toy(tmp_path, "walk", "--time-limit", "0.2") == 0
        progress = SavedProgress(Task("toy_experiments", "walk", config, path, None, np.inf))
        steps.append(len((progress.restore() or {})["path"]))
        seconds.append(progress.seconds)
    assert steps == sorted(set(steps)), "each run goes on"
    assert seconds == sorted(seconds), "the time of earlier runs counts"
    assert steps[-1] < 100
    assert len(list(tmp_path.rglob("*.state.npz"))) == 1
    monkeypatch.setenv("TOY_NAP", "0")
    assert toy(tmp_path, "walk") == 0
    assert record(tmp_path, "walk").result == whole.result


def test_joblib_equals_serial(tmp_path, whole):
    process = start(tmp_path, "walk", "--jobs", "2")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "walk  cpu  ok" in out
    assert record(tmp_path, "walk").result == whole.result


def test_interrupt_with_jobs(tmp_path, whole):
    process = start(tmp_path, "walk", "--jobs", "2", TOY_NAP="0.01")
    wait_for(tmp_path, "*.cells/*.json", 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    # not the last line always: joblib's resource tracker, a process of its own, may speak after us
    assert (process.returncode, "python -m experiments: interrupted" in err.splitlines()) == (130, True), err
    assert toy(tmp_path, "walk") == 0
    assert record(tmp_path, "walk").result == whole.result


# what goes wrong


def test_a_failing_cell_loses_nothing_else(tmp_path, capsys):
    assert toy(tmp_path, "all", "--preset", "smoke") == 1
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["lump", "peerless", "walk"]
    (line,) = [line for line in err.splitlines() if "broken" in line]
    assert line.startswith("python -m experiments: broken: cell ")
    assert "seeds 1: ZeroDivisionError: this cell always fails (broken.py:" in line
    assert len(list(tmp_path.rglob("broken/smoke/*.cells/*.json"))) == 2
    assert not list(tmp_path.glob("broken/smoke/*.json"))


def test_missing_peer_makes_a_record(tmp_path, monkeypatch, capsys):
    assert toy(tmp_path, "peerless") == 0
    assert "not run: needs a peer" in capsys.readouterr().out
    found = record(tmp_path, "peerless")
    assert (found.status, found.result) == ("not run: needs a peer", None)
    monkeypatch.setenv("TOY_PEER", "1")
    assert toy(tmp_path, "peerless") == 0
    assert record(tmp_path, "peerless").result.size == 1


def test_missing_peer_never_replaces_a_result(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TOY_PEER", "1")
    assert toy(tmp_path, "peerless") == 0
    monkeypatch.delenv("TOY_PEER")
    assert toy(tmp_path, "peerless", "--force") == 0
    assert "not run: needs a peer; the earlier record stays" in capsys.readouterr().out
    assert record(tmp_path, "peerless").result.size == 1


CORRUPT = {
    "empty": b"",
    "no JSON": b"\x00\xff" * 100,
    "a list": b"[1, 2]",
    "another kind": b'{"schema": 1, "kind": "equilibrium"}',
    "another schema": b'{"schema": 99, "kind": "experiment"}',
    "no result": b'{"schema": 1, "kind": "experiment", "status": "ok"}',
}


@pytest.mark.parametrize("content", CORRUPT.values(), ids=CORRUPT)
def test_corrupt_record(content, tmp_path, capsys):
    assert toy(tmp_path, "walk", "--preset", "smoke") == 0
    path = record(tmp_path, "walk", "smoke").path
    path.write_bytes(content)
    for more in ((), ("--show",)):
        assert toy(tmp_path, "walk", "--preset", "smoke", *more) == 1
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert path.name in err
        assert "Traceback" not in err
    assert path.read_bytes() == content, "only --force replaces it"
    assert toy(tmp_path, "walk", "--preset", "smoke", "--force") == 0
    record(tmp_path, "walk", "smoke")


@pytest.mark.parametrize("damage", ["cut", "random", "gone", "other fields"])
def test_corrupt_arrays(damage, tmp_path, capsys):
    assert toy(tmp_path, "lump") == 0
    path = record(tmp_path, "lump").path
    arrays = path.with_suffix(".npz")
    content = arrays.read_bytes()
    if damage == "cut":
        arrays.write_bytes(content[: len(content) // 2])
    elif damage == "random":
        arrays.write_bytes(b"\x00\xff" * 100)
    elif damage == "gone":
        arrays.unlink()
    else:
        path.write_text(path.read_text().replace('"values"', '"value"'))
    assert toy(tmp_path, "lump") == 1
    err = capsys.readouterr().err
    assert path.stem in err
    assert "Traceback" not in err


def test_corrupt_cell_is_run_again(tmp_path, capsys):
    assert toy(tmp_path, "walk", "--preset", "smoke") == 0
    first = record(tmp_path, "walk", "smoke")
    first.path.unlink()
    next(tmp_path.rglob("*.cells/*.json")).write_text("{")
    capsys.readouterr()
    assert toy(tmp_path, "walk", "--preset", "smoke") == 0
    assert "the cell is run again" in capsys.readouterr().err
    assert record(tmp_path, "walk", "smoke").result == first.result


BAD = [
    (["wakl"], "did you mean walk?"),
    (["walk", "--preset", "gpu"], "--preset must be one that walk has (smoke, cpu, full), got 'gpu'"),
    (["walk", "--preset", "huge"], "invalid choice: 'huge'"),
    (["walk", "--jobs", "0"], "--jobs must be an integer in [1, inf), got 0"),
    (["walk", "--jobs", "two"], "invalid int value: 'two'"),
    (["walk", "--time-limit", "-1"], "--time-limit must be a number in [0, inf]"),
    (["walk", "--time-limit", "nan"], "--time-limit must be a number in [0, inf]"),
    (["walk", "--data-root", "/no/such/folder"], "--data-root must be a folder, got '/no/such/folder'"),
]


@pytest.mark.parametrize(("args", "message"), BAD, ids=[" ".join(args) for args, _ in BAD])
def test_bad_input(args, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        toy(tmp_path, *args)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not files(tmp_path)


def test_cluster_without_its_library(tmp_path, monkeypatch, capsys):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "distributed" else find_spec(name)
    )
    assert toy(tmp_path, "walk", "--cluster", "tcp://127.0.0.1:1") == 1
    assert "--cluster needs dask.distributed: pip install 'bbtheory[cluster]'" in capsys.readouterr().err


def test_all_leaves_out_what_lacks_the_preset(tmp_path, capsys):
    assert toy(tmp_path, "all", "--preset", "gpu") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("has no preset gpu, left out") == 4


# what is printed


def test_listing(tmp_path, capsys):
    assert toy(tmp_path, "lump") == 0
    capsys.readouterr()
    assert toy(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["experiment", "presets", "records", "question"]
    assert [line.split()[0] for line in lines[1:]] == ["broken", "lump", "peerless", "walk"]
    assert " ".join(lines[2].split()) == "lump smoke cpu full cpu Is a run in one piece kept?"


def test_show(tmp_path, capsys):
    assert toy(tmp_path, "walk", "lump", "--preset", "smoke") == 0
    capsys.readouterr()
    assert toy(tmp_path, "walk", "lump", "--show") == 0
    out = capsys.readouterr().out
    assert "walk, preset smoke: ok" in out
    assert "seeds 0, 1" in out
    assert "case       ratio" in out
    assert "40 of 1000 rows" in out
    assert toy(tmp_path, "peerless", "--show") == 0
    assert "no record yet: python -m experiments peerless" in capsys.readouterr().err


def test_cost(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TOY_NAP", "0.01")  # 0.05 s a cell at least
    assert toy(tmp_path, "walk", "lump", "--preset", "smoke") == 0
    before = files(tmp_path)
    capsys.readouterr()
    assert toy(tmp_path, "walk", "lump", "peerless", "--cost", "--jobs", "5") == 0
    out, err = capsys.readouterr()
    header, walk, lump, *_ = out.splitlines()
    assert header.split()[-3:] == ["full:", "cells", "core-h"]
    assert "min on 5" in header
    name, preset, n, mean, longest, *_, n_full, _ = walk.split()
    assert (name, preset, n, n_full) == ("walk", "smoke", "2", "4")
    assert 0.05 <= float(mean) <= float(longest)
    assert lump.split()[:3] == ["lump", "smoke", "1"]
    assert "2 records" in out
    assert "peerless: no record yet" in err
    assert files(tmp_path) == before


def test_cost_extrapolates_the_same_settings_only(tmp_path, monkeypatch, capsys):
    walk = TOYS.load("walk")
    assert toy(tmp_path, "walk", "--preset", "smoke") == 0
    for full, last in ((walk.Config(seeds=tuple(range(9))), "0"), (walk.Config(n_steps=7), "larger")):
        monkeypatch.setattr(walk, "Config", lambda full=full: full)
        capsys.readouterr()
        assert toy(tmp_path, "walk", "--cost") == 0
        assert capsys.readouterr().out.splitlines()[1].split()[-1] == last


@pytest.mark.parametrize(
    ("seconds", "workers", "expected"),
    [([2, 1, 1, 1], 1, 5), ([2, 1, 1, 1], 2, 3), ([1, 1, 1, 3], 2, 4), ([5, 1, 1], 3, 5), ([5, 1], 9, 5)],
)
def test_makespan(seconds, workers, expected):
    assert makespan(seconds, workers) == expected


@dataclass(frozen=True, eq=False)
class Measured(Record):
    """A row with a unit."""

    MEASURED_IN: ClassVar = {"entropy": "nats"}

    method: str
    entropy: float


def test_units_stand_in_the_header_and_long_texts_below():
    told = {"rows": (Measured("dense", 0.5),), "gap": 0.25, "note": "word " * 40}
    values, rows, note = texts(lay_out(told))
    assert values.split() == ["field", "value", "gap", "0.25"]
    assert rows.splitlines()[1] == "method  entropy (nats)"
    assert note.startswith("note: word word")
    assert max(map(len, note.splitlines())) <= 110


@pytest.mark.parametrize("module", ["experiments", "figures", "paper_checks"])
def test_help_and_version(module):
    for flag, words in (("--help", ["examples:", f"python -m {module}"]), ("--version", ["bbtheory "])):
        done = subprocess.run([sys.executable, "-m", module, flag], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(word in done.stdout for word in words)
        if flag == "--help":
            assert sum(line.startswith("  python -m") for line in done.stdout.splitlines()) == 2


# what run is given


def test_progress_does_nothing_by_default():
    progress = Progress()
    progress.save({"a": 1})
    progress.total(3)
    progress.tick()
    assert progress.restore() is None
    assert progress.data_root is None


def test_state_round_trips(tmp_path):
    rng = np.random.default_rng(3)
    state = {
        "array": np.array([[1.5, np.nan], [np.inf, -0.0]]),
        "large": np.arange(1000),
        "mask": np.array([True, False]),
        "none": np.zeros((0, 3)),
        "number": 0.1,
        "infinite": float("inf"),
        "text": "epoch",
        "nested": {"rng": rng.bit_generator.state, "list": [1, 2.5]},
    }
    task = Task("toy_experiments", "walk", None, tmp_path / "cell.json", None, np.inf)
    assert SavedProgress(task).restore() is None
    SavedProgress(task).save(state)
    back = SavedProgress(task).restore()
    assert back is not None
    assert same(back, state)
    assert [p.name for p in tmp_path.iterdir()] == ["cell.state.npz"]


def test_unreadable_state_is_named(tmp_path):
    task = Task("toy_experiments", "walk", None, tmp_path / "cell.json", None, np.inf)
    task.state.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"cell.state.npz must be a saved state \(--force starts anew\)"):
        SavedProgress(task).restore()


def test_data_root_reaches_run(tmp_path, monkeypatch):
    seen = []
    lump = TOYS.load("lump")
    real = lump.run
    monkeypatch.setattr(
        lump, "run", lambda config, progress: seen.append(progress.data_root) or real(config, progress)
    )
    monkeypatch.setenv("BBTHEORY_DATA", str(tmp_path))
    assert toy(tmp_path / "a", "lump") == 0
    assert toy(tmp_path / "b", "lump", "--data-root", str(ROOT)) == 0
    assert seen == [tmp_path.resolve(), ROOT]


@pytest.mark.parametrize("what", ["cvxpy", "needs cvxpy"])
def test_not_run_says_what_it_needs(what):
    assert str(NotRun(what)) == "needs cvxpy"

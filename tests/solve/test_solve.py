import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bbtheory import solve_equilibrium
from bbtheory.solve.__main__ import main
from bbtheory.theory import dual


@pytest.fixture
def answer(capsys):
    """Run the command and return (exit code, JSON or text, stderr)."""

    def run(*argv, json_form=True):
        code = main([*map(str, argv), *(["--json"] if json_form else [])])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if json_form else printed.out, printed.err

    return run


@pytest.fixture
def layered(tmp_path):
    path = tmp_path / "units.csv"
    path.write_text("layer,fan_out,count,on_rate\nb,1,2,0.4\nb,4,1,0.1\na,8,1,0.02\na,2,1,0.3\n")
    return path


# equilibrium


def test_default_population(answer):
    code, found, _ = answer("--beta", 0.5)
    assert code == 0
    assert (found["schema"], found["kind"], found["status"]) == (1, "equilibrium", "converged")
    assert found["units"]["fan_out"] == list(range(1, 33))
    assert found["units"]["on_rate"] == solve_equilibrium(np.arange(1, 33), beta=0.5).on_rate.tolist()
    assert found["budget"] == pytest.approx(found["traffic"])
    keys = {"beta", "budget", "traffic", "coding_entropy", "n_units", "n_silent", "n_underflow", "status"}
    assert keys | {"residuals", "units"} <= set(found)
    assert set(found["residuals"]) == {"stationarity", "budget"}


@pytest.mark.parametrize(
    ("spec", "fan_out"),
    [("2:8:3", [2, 5, 8]), ("3:3", [3]), ("1,2.5,0", [1, 2.5, 0]), ("7", [7]), (" 4, 5", [4, 5])],
)
def test_populations_in_words(answer, spec, fan_out):
    assert answer("--budget", 0.5, "--fan-out", spec)[1]["units"]["fan_out"] == fan_out


def test_populations_in_files(answer, tmp_path, layered, monkeypatch):
    np.save(tmp_path / "k.npy", np.array([1, 2, 3]))
    assert answer("--beta", 1, "--fan-out", tmp_path / "k.npy")[1]["n_units"] == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n2.5\n\n3\n"))
    assert answer("--beta", 1, "--fan-out", "-")[1]["units"]["fan_out"] == [1, 2.5, 3]
    monkeypatch.setattr("sys.stdin", io.StringIO("fan_out,count\n1,10\n4,1\n"))
    found = answer("--budget", 2, "--fan-out", "-")[1]
    assert found["n_units"] == 11
    assert np.dot(found["units"]["count"], found["units"]["traffic"]) == pytest.approx(2.0)


def test_layers_apart_and_joint(answer, layered):
    found = answer("--budget", 1.0, "--fan-out", layered)[1]
    assert (found["kind"], found["joint"]) == ("layers", False)
    assert [layer["layer"] for layer in found["layers"]] == ["b", "a"]
    assert [layer["traffic"] for layer in found["layers"]] == pytest.approx([1.0, 1.0])
    joint = answer("--budget", 1.0, "--fan-out", layered, "--joint")[1]
    assert joint["joint"] is True
    assert len({layer["beta"] for layer in joint["layers"]}) == 1
    for name in ("traffic", "budget"):
        assert sum(layer[name] for layer in joint["layers"]) == pytest.approx(1.0)
    assert joint["beta"] == pytest.approx(solve_equilibrium([1, 1, 4, 8, 2], budget=1.0).beta)


def test_a_budget_column_is_one_budget_per_layer(answer, tmp_path):
    path = tmp_path / "units.csv"
    path.write_text("layer,fan_out,budget\nx,3,0.5\nx,4,0.5\ny,9,0.25\n")
    found = answer("--fan-out", path)[1]
    assert [layer["budget"] for layer in found["layers"]] == [0.5, 0.25]
    path.write_text("layer,fan_out,budget\nx,3,0.5\nx,4,0.6\n")
    assert refusal("--fan-out", path) == f"{path}: budget must be one number per layer, it changes in 'x'"


def test_a_loose_budget_is_an_answer(answer):
    code, found, err = answer("--budget", 100, "--fan-out", "1:3")
    assert (code, found["status"], found["beta"]) == (0, "budget_not_binding", 0.0)
    assert found["units"]["on_rate"] == [0.5] * 3
    assert err.splitlines() == ["warning: the budget 100 does not bind: without it the population carries 3"]


def test_undefined_numbers_are_null(answer):
    found = answer("--beta", 800, "--fan-out", "1,2")[1]
    assert found["n_underflow"] == 2
    assert found["units"]["on_rate"] == [0.0, 0.0]


def test_text_has_units_and_quantiles(answer):
    text = answer("--beta", 0.5, json_form=False)[1]
    assert "nats/link" in text
    assert "log-odds [nats]" in text
    assert len(text.splitlines()) < 50
    long = answer("--beta", 0.5, "--fan-out", "1:100000", json_form=False)[1]
    table = [line.split() for line in long.splitlines() if "%" in line]
    assert [row[0] for row in table] == ["0%", "5%", "25%", "50%", "75%", "95%", "100%"]
    assert [float(row[1]) for row in table] == pytest.approx(
        [1, 5000, 25000, 50000, 75000, 95000, 1e5], abs=1
    )
    assert len(long.splitlines()) < 25


def test_files_are_written_whole(answer, tmp_path, layered):
    target, picture = tmp_path / "out.csv", tmp_path / "p.png"
    answer("--budget", 1, "--fan-out", layered, "--output", target, "--plot", picture)
    rows = target.read_text().splitlines()
    assert rows[0] == "layer,fan_out,count,on_rate,traffic,inactivity_log_odds"
    assert len(rows) == 5
    assert picture.read_bytes().startswith(b"\x89PNG")
    before = picture.read_bytes()
    answer("--budget", 1, "--fan-out", layered, "--plot", picture)
    assert picture.read_bytes() == before


@pytest.mark.parametrize("ending", ["pdf", "svg"])
def test_vector_plots_are_byte_equal(answer, tmp_path, ending):
    pictures = [tmp_path / f"{i}.{ending}" for i in range(2)]
    for picture in pictures:
        answer("--beta", 1, "--plot", picture)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_not_converged_prints_and_exits_1(answer, monkeypatch):
    monkeypatch.setattr(dual, "MAX_ITERATIONS", 1)
    code, found, err = answer("--budget", 5)
    assert (code, found["status"]) == (1, "not_converged")
    assert err.startswith("python -m bbtheory.solve: not converged:")


# controller


def test_controller(answer, layered):
    _, found, _ = answer("--on-rate", layered, "--beta", 1, "--d0", 1)
    assert (found["kind"], found["beta"], found["d0"], found["roots"]) == ("controller", 1, 1, [])
    assert found["units"]["on_rate"] == [0.4, 0.1, 0.02, 0.3]
    assert max(found["units"]["degree"]) <= 8
    _, found, _ = answer("--on-rate", layered, "--beta", 1, "--density", 0.5)
    assert found["density"] == pytest.approx(0.5)
    _, found, _ = answer("--on-rate", layered, "--d0", 2, "--density", 0.5)
    assert found["density"] == pytest.approx(0.5)
    assert found["roots"] == [found["beta"]]
    _, found, _ = answer("--on-rate", layered, "--beta", 1, "--density", 0.5, "--integer", "--max-degree", 10)
    assert sum(found["units"]["degree"]) == 20
    _, found, _ = answer("--on-rate", "0.1,0.5", "--rule", "uniform", "--density", 0.5, "--max-degree", 4)
    assert (found["beta"], found["units"]["degree"]) == (None, [2.0, 2.0])


def test_controller_says_that_there_are_several_slopes(answer):
    a = "0.9,0.9,0.9,0.45,0.45,0.45,0.45,0.01"
    _, found, err = answer("--on-rate", a, "--d0", 6, "--density", 0.29, "--max-degree", 20)
    assert len(found["roots"]) >= 2
    assert "values of beta meet this density" in err


def test_controller_writes_and_draws(answer, tmp_path, layered):
    target = tmp_path / "out.csv"
    text = answer(
        "--on-rate", layered, "--beta", 1, "--density", 0.5, "--output", target, "--plot", tmp_path / "p.pdf",
        json_form=False,
    )[1]  # fmt: skip
    assert target.read_text().splitlines()[0] == "layer,fan_out,count,on_rate,degree"
    assert "degree [links]" in text
    assert (tmp_path / "p.pdf").exists()


# bad input: one line, exit 2, nothing on stdout, nothing written


def refusal(*argv):
    """Run in a process of its own, as a person would; return the line."""
    done = subprocess.run(
        [sys.executable, "-m", "bbtheory.solve", *map(str, argv)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1].removeprefix("python -m bbtheory.solve: error: ")


def refused(capsys, argv):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in argv])
    printed = capsys.readouterr()
    assert stop.value.code == 2
    assert printed.out == ""
    return printed.err.splitlines()[-1].removeprefix("python -m bbtheory.solve: error: ")


BAD = [
    ([], "exactly one of --beta or --budget must be given, got none"),
    (
        ["--beta", 1, "--budget", 1],
        "exactly one of --beta or --budget must be given, got --beta and --budget",
    ),
    (["--beta", -1], "beta must be a number in [0, inf), got -1.0"),
    (["--beta", "nan"], "beta must be a number in [0, inf), got nan"),
    (["--beta", "inf"], "beta must be a number in [0, inf), got inf"),
    (["--beta", "x"], "argument --beta: invalid float value: 'x'"),
    (["--budget", 0], "budget must be a number in (0, inf), got 0.0"),
    (["--budget", -3], "budget must be a number in (0, inf), got -3.0"),
    (
        ["--budget", 0.1, "--lower", 0.1],
        "budget must be at least 52.8, the traffic of the lower bounds, got 0.1",
    ),
    (
        ["--beta", 1, "--fan-out", "5:1"],
        "--fan-out must be a rising range A:B[:STEP] with STEP >= 1, got '5:1'",
    ),
    (["--beta", 1, "--fan-out", "1:9:0"], "--fan-out must be a rising range"),
    (["--beta", 1, "--fan-out", "1:99999999999"], "--fan-out must be a range of at most 100,000,000 units"),
    (
        ["--beta", 1, "--fan-out", "a,b"],
        "--fan-out must be A:B[:STEP] in whole numbers, a comma list of numbers, FILE.csv",
    ),
    (["--beta", 1, "--fan-out", ""], "--fan-out must be A:B[:STEP]"),
    (["--beta", 1, "--fan-out", "1,nan"], "fan_out must be finite numbers in [0, inf), got nan at index 1"),
    (["--beta", 1, "--fan-out", "1,inf"], "fan_out must be finite numbers in [0, inf), got inf at index 1"),
    (["--beta", 1, "--fan-out=-1,2"], "fan_out must be finite numbers in [0, inf), got -1 at index 0"),
    (
        ["--beta", 1, "--fan-out", "0,0"],
        "fan_out must hold a unit that drives links at a cost, got only zeros",
    ),
    (["--beta", 1, "--fan-out", "no.csv"], "no.csv: No such file or directory"),
    (["--beta", 1, "--fan-out", "no.npy"], "no.npy: No such file or directory"),
    (["--beta", 1, "--output", "no/such/dir.csv"], "no/such/dir.csv: No such file or directory"),
    (["--beta", 1, "--plot", "no/such/dir.png"], "no/such/dir.png: No such file or directory"),
    (["--beta", 1, "--plot", "picture.bmp"], "--plot must end in .png, .pdf, .svg, got 'picture.bmp'"),
    (["--beta", 1, "--density", 0.3], "--density must not be given with fan-outs (it needs --on-rate)"),
    (["--density", 0.3], "--density must not be given with fan-outs (it needs --on-rate)"),
    (["--on-rate", "0.1,0.2", "--beta", 1, "--d0", 1], "--max-degree must be given"),
    (
        ["--on-rate", "0.1,0.2", "--beta", 1, "--max-degree", 4],
        "two of --beta, --d0 and --density must be given",
    ),
    (
        ["--on-rate", "0.1", "--beta", 1, "--max-degree", 4, "--density", 0],
        "density must be a number in (0, 1]",
    ),
    (
        ["--on-rate", "0.1", "--beta", 1, "--max-degree", 4, "--density", 1.5],
        "density must be a number in (0, 1]",
    ),
    (
        ["--on-rate", "0,0.5", "--beta", 1, "--max-degree", 4, "--density", 0.2],
        "density must be reachable by d0: between 0.5 and 1 here, got 0.2",
    ),
    (
        ["--on-rate", "0.1", "--budget", 1, "--d0", 1, "--max-degree", 4],
        "--budget must not be given with --on-rate",
    ),
    (
        ["--on-rate", "1.5", "--beta", 1, "--d0", 1, "--max-degree", 4],
        "on_rate must be numbers in [0, 1], got 1.5",
    ),
    (
        ["--on-rate", "0.1", "--beta", 1, "--d0", 1, "--density", 0.5, "--max-degree", 4],
        "two of --beta, --d0",
    ),
    (
        ["--on-rate", "0.1", "--rule", "uniform", "--beta", 1, "--d0", 1, "--max-degree", 4],
        "--beta must not be",
    ),
    (["--beta", 1, "--output", ""], "an output must be a regular file, got ''"),
    (["--beta", 1, "--output", "."], "an output must be a regular file, got '.'"),
    (["--beta", 1, "--output", "/dev/null"], "an output must be a regular file, got '/dev/null'"),
    (["--nonsense"], "unrecognized arguments: --nonsense"),
]


@pytest.mark.parametrize(("argv", "line"), BAD)
def test_bad_input(capsys, tmp_path, monkeypatch, argv, line):
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, argv).startswith(line)
    assert os.listdir(tmp_path) == []


FILES = [
    (b"", "must have a header line with column names, got an empty file"),
    (b"fan_out\n", "must have at least one row below its header"),
    (b"fan_out,layer\n1,a\nx,b\n", "line 3: fan_out must be a number, got 'x'"),
    (b"fan_out,count\n1,2\n3\n", "line 3: must have 2 cells as the header has, got 1"),
    (b"degree,layer\n1,a\n", "has no column 'fan_out'; its columns are degree, layer"),
    (b"fan_out\n1\n\nnan\n", "line 4: fan_out must be a number in [0, inf), got nan"),
    (b"fan_out,count\n1,0\n", "line 2: count must be a number in [1, 1e15], got 0"),
    (b"fan_out,count\n1,1.5\n", "count must be integers"),
]


@pytest.mark.parametrize(("content", "line"), FILES)
def test_bad_files(capsys, tmp_path, content, line):
    path = tmp_path / "f.csv"
    path.write_bytes(content)
    assert line in refused(capsys, ["--beta", 1, "--fan-out", path])


def test_layers_are_named_where_something_is_said_of_one(capsys, answer, tmp_path):
    path = tmp_path / "units.csv"
    path.write_text(' fan_out , "layer", count\n1,,2\n2,b,1\n')
    _, found, err = answer("--budget", 1, "--fan-out", path)
    assert [layer["layer"] for layer in found["layers"]] == ["", "b"]
    assert [layer["n_units"] for layer in found["layers"]] == [2, 1]
    assert [line.split(":")[1] for line in err.splitlines()] == [" layer ''", " layer 'b'"]
    path.write_text("fan_out,layer\n1,a\n0,b\n")
    assert refused(capsys, ["--beta", 1, "--fan-out", path]).startswith("layer 'b': fan_out must hold a unit")


def test_a_link_stays_a_link(answer, tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "target.csv")
    answer("--beta", 1, "--output", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text().startswith("fan_out")


def test_ten_megabytes_of_noise(tmp_path):
    noise = np.random.default_rng(0).bytes(10_000_000)
    for name in ("f.csv", "f.npy"):
        (tmp_path / name).write_bytes(noise)
        assert str(tmp_path / name) in refusal("--beta", 1, "--fan-out", tmp_path / name)


def test_a_pickle_is_not_opened(capsys, tmp_path):
    np.save(tmp_path / "f.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "must be a .npy file" in refused(capsys, ["--beta", 1, "--fan-out", tmp_path / "f.npy"])


def test_a_failed_write_keeps_the_old_file(capsys, tmp_path, layered):
    old = tmp_path / "out.csv"
    old.write_text("old")
    refused(capsys, ["--beta", 1, "--output", old, "--plot", tmp_path / "no" / "x.png"])
    assert not list(tmp_path.glob("*.tmp*"))

import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bbtheory import solve_equilibrium
from bbtheory.solve.__main__ import main
from bbtheory.theory import dual


@pytest.fixture
def population(tmp_path):
    """Write a file of fan-outs; return its path and the fan-outs."""

    def write(n=5000, dtype="f4"):
        k = np.random.default_rng(0).lognormal(math.log(10), 0.7, n).astype(dtype)
        np.save(tmp_path / "k.npy", k)
        return tmp_path / "k.npy", k

    return write


def run(capsys, *argv):
    code = main(["--chunked", *map(str, argv)])
    return code, *capsys.readouterr()


def test_json_agrees_with_the_solver_in_memory(population, tmp_path, capsys):
    path, k = population()
    out = tmp_path / "a.npy"
    code, printed, err = run(capsys, "--fan-out", path, "--budget", 9000, "--json", "--output", out)
    found, whole = json.loads(printed), solve_equilibrium(k, budget=9000)
    assert (code, err) == (0, "")
    assert (found["schema"], found["kind"], found["status"]) == (1, "chunked_equilibrium", "converged")
    assert found["beta"] == pytest.approx(whole.beta, rel=1e-13)
    assert found["coding_entropy"] == pytest.approx(whole.coding_entropy, rel=1e-13)
    assert max(found["residuals"].values()) < 1e-13
    assert "units" not in found
    np.testing.assert_allclose(np.load(out), whole.on_rate, rtol=1e-11)


def test_text(population, capsys):
    path, _ = population()
    _, text, _ = run(capsys, "--fan-out", path, "--beta", 0.5, "--upper", 0.2)
    assert "equilibrium of 5,000 units" in text
    assert "read                   2 times\n" in text
    path, k = population(dtype="u2")
    _, text, _ = run(capsys, "--fan-out", path, "--budget", 9000)
    assert f"1 time, {np.unique(k).size} distinct fan-outs counted" in text
    assert "largest" in text


def test_a_budget_that_does_not_bind(population, capsys):
    path, _ = population()
    code, text, err = run(capsys, "--fan-out", path, "--budget", 1e9)
    assert (code, len(err.splitlines())) == (0, 1)
    assert err.startswith("warning: the budget 1e+09 does not bind")
    assert "budget_not_binding" in text


def test_not_converged_still_answers(population, capsys, monkeypatch):
    path, _ = population()
    monkeypatch.setattr(dual, "MAX_ITERATIONS", 1)
    code, printed, err = run(capsys, "--fan-out", path, "--budget", 9000, "--json", "--output", "a.npy")
    assert (code, json.loads(printed)["status"]) == (1, "not_converged")
    assert err.startswith("python -m bbtheory.solve: not converged:")
    assert not os.path.exists("a.npy")


def test_interrupt_leaves_nothing_half_written(population, tmp_path):
    path, _ = population(3_000_000)
    command = [sys.executable, "-m", "bbtheory.solve", "--chunked", "--fan-out", str(path), "--budget", "5e6"]
    process = subprocess.Popen(
        [*command, "--output", str(tmp_path / "a.npy")], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".a.*")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1]) == (130, "python -m bbtheory.solve: interrupted")
    assert os.listdir(tmp_path) == ["k.npy"]


def test_heavy_libraries_stay_unloaded(population):
    # the main job stays light: numba for the counting, nothing else
    path, _ = population(dtype="u2")
    code = (
        "import sys; from bbtheory.solve.__main__ import main; "
        f"main(['--chunked', '--fan-out', {str(path)!r}, '--budget', '900']); "
        "print({'pandas', 'matplotlib', 'sympy', 'torch', 'dask'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


BAD = [
    (["--beta", 1], "--chunked must be given with --fan-out FILE.npy, got none"),
    (["--beta", 1, "--fan-out", "1:9"], "--chunked must be given with --fan-out FILE.npy, got 1:9"),
    (["--beta", 1, "--fan-out", "k.csv"], "--chunked must be given with --fan-out FILE.npy, got k.csv"),
    (["--beta", 1, "--fan-out", "-"], "--chunked must be given with --fan-out FILE.npy, got -"),
    (["--fan-out", "k.npy"], "exactly one of --beta or --budget must be given, got none"),
    (["--beta", 1, "--budget", 1, "--fan-out", "k.npy"], "exactly one of --beta or --budget must be given"),
    (["--beta", 1, "--fan-out", "no.npy"], "no.npy: No such file or directory"),
    (["--beta", 1, "--fan-out", "k.npy", "--joint"], "--joint must not be given with --chunked"),
    (["--beta", 1, "--fan-out", "k.npy", "--plot", "p.png"], "--plot must not be given with --chunked"),
    (["--beta", 1, "--fan-out", "k.npy", "--density", 0.1], "--density must not be given with fan-outs"),
    (["--on-rate", "0.1", "--beta", 1, "--d0", 1], "--chunked must not be given with --on-rate"),
    (["--beta", 1, "--fan-out", "k.npy", "--output", "a.csv"], "--output must be a .npy file with --chunked"),
    (["--beta", 1, "--fan-out", "k.npy", "--output", "k.npy"], "output must not be the file that is read"),
    (["--beta", 1, "--fan-out", "k.npy", "--output", "no/a.npy"], "no/a.npy: No such file or directory"),
    (["--beta", -1, "--fan-out", "k.npy"], "beta must be a number in [0, inf), got -1.0"),
    (["--budget", 0, "--fan-out", "k.npy"], "budget must be a number in (0, inf), got 0.0"),
    (["--beta", 1, "--fan-out", "k.npy", "--lower", 2], "lower must be a number in [0, 1], got 2.0"),
    (["--budget", 1, "--fan-out", "k.npy", "--lower", 0.1], "budget must be at least"),
    (["--beta", 1, "--fan-out", "text.npy"], "text.npy must be a .npy file with an array of numbers"),
    (
        ["--beta", 1, "--fan-out", "negative.npy"],
        "fan_out must be finite numbers in [0, inf), got -1.0 at index 1",
    ),
]


@pytest.mark.parametrize(("argv", "line"), BAD)
def test_bad_input(population, tmp_path, monkeypatch, capsys, argv, line):
    population()
    (tmp_path / "text.npy").write_text("1\n2\n")
    np.save(tmp_path / "negative.npy", [1.0, -1.0])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["--chunked", *map(str, argv)])
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out) == (2, "")
    assert printed.err.splitlines()[-1].removeprefix("python -m bbtheory.solve: error: ").startswith(line)
    assert sorted(os.listdir(tmp_path)) == ["k.npy", "negative.npy", "text.npy"]

"""What the driver of the experiments leaves behind where there is no room to write, and where data are bad."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bbtheory import archive
from bbtheory.catalog import Catalog
from bbtheory.storage import read_npz
from experiments._cells import SavedProgress, Task
from experiments._driver import main

ROOT = Path(__file__).resolve().parent.parent
TOYS = Catalog("toy_experiments")

# a write past the limit fails within the operating system, as on a full disk, with "File too large"
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from experiments._driver import main
sys.exit(main(package="toy_experiments"))
"""
pytest.importorskip("resource", reason="limits are POSIX")


def limited(results: Path, room: int, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-c", LIMITED, str(room), *args, "--results", str(results)],
        cwd=ROOT,
        # with a commit given, git is not asked: the limit would kill it
        env=os.environ
        | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "BBTHEORY_COMMIT": "feed" * 10},
        capture_output=True,
        text=True,
    )


def toy(results: Path, *args: str) -> int:
    return main([*args, "--results", str(results)], package="toy_experiments")


def intact(results: Path) -> list[Path]:
    """Return the records and states that are there, each of which can be read."""
    for path in results.rglob("*.json"):
        module = TOYS.load(path.relative_to(results).parts[0])
        cell = path.parent.suffix == ".cells" and hasattr(module, "Cell")
        archive.read(path, module.Cell if cell else module.Result)
    for path in results.rglob("*.npz"):
        read_npz(path)
    assert not [path for path in results.rglob("*") if "tmp" in path.name]
    return sorted(path for path in results.rglob("*") if path.is_file())


def one_line(done: subprocess.CompletedProcess[str], name: str) -> str:
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("python -m experiments: ")]
    assert line.startswith(f"python -m experiments: {name}: ")
    assert "Traceback" not in done.stderr
    return line


@pytest.mark.parametrize("room", [0, 700, 1100, 3000])
def test_no_room_damages_nothing(tmp_path, room):
    done = limited(tmp_path, room, "walk", "--preset", "smoke")
    there = intact(tmp_path)
    if done.returncode == 0:
        assert room == 3000, "a control: room enough"
        return
    assert done.returncode == 1
    assert "File too large" in (line := one_line(done, "walk"))
    assert str(tmp_path) in line
    assert not list(tmp_path.glob("walk/smoke/*.json"))
    # where there is room again, the run goes on from what was kept
    assert toy(tmp_path, "walk", "--preset", "smoke") == 0
    assert intact(tmp_path) != there
    whole = tmp_path / "whole"
    assert toy(whole, "walk", "--preset", "smoke") == 0
    module = TOYS.load("walk")
    paths = [archive.record_path(r, "walk", "smoke", module.SMOKE) for r in (tmp_path, whole)]
    assert archive.read(paths[0], module.Result).result == archive.read(paths[1], module.Result).result


@pytest.mark.parametrize(
    "room", [0, 500, 5000]
)  # for nothing, for less than the text, for less than the arrays
def test_no_room_leaves_the_earlier_record(tmp_path, room):
    assert toy(tmp_path, "lump") == 0
    before = {path: path.read_bytes() for path in intact(tmp_path)}
    done = limited(tmp_path, room, "lump", "--force")
    assert done.returncode == 1
    assert "File too large" in one_line(done, "lump")
    assert {path: path.read_bytes() for path in intact(tmp_path)} == before


@pytest.mark.parametrize("room", [0, 200])
def test_no_room_leaves_the_earlier_state(tmp_path, room):
    task = Task("toy_experiments", "walk", None, tmp_path / "cell.json", None, np.inf)
    SavedProgress(task).save({"epoch": 1})
    before = task.state.read_bytes()
    code = (
        "import resource, sys; from pathlib import Path; import numpy as np\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room},) * 2)\n"
        "from experiments._cells import SavedProgress, Task\n"
        "task = Task('toy_experiments', 'walk', None, Path(sys.argv[1]), None, np.inf)\n"
        "try:\n    SavedProgress(task).save({'epoch': 2, 'weights': np.zeros(5000)})\n"
        "except OSError as error:\n    print(error.filename)"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(task.path)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == (str(task.state), "")
    assert task.state.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["cell.state.npz"]
    assert SavedProgress(task).restore() == {"epoch": 1}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_state_is_named(tmp_path, share):
    task = Task("toy_experiments", "walk", None, tmp_path / "cell.json", None, np.inf)
    SavedProgress(task).save({"weights": np.zeros(5000)})
    content = task.state.read_bytes()
    task.state.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cell\.state\.npz must be a saved state \(--force starts anew\)"):
        SavedProgress(task).restore()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "command", ["bbtheory.solve --beta 0.5", "experiments", "paper_checks beta_is_the_price"]
)
def test_a_full_disk_is_no_bad_input(command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", *command.split()], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    name = command.split()[0]
    assert done.returncode == 1
    assert done.stderr == f"python -m {name}: No space left on device\n"


# bad data, through the driver


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
@pytest.mark.parametrize("name", ["lenet_density", "synapses"])
@pytest.mark.parametrize(
    "damage", ["truncated", "wrong shape", "labels out of range", "empty folder", "no file"]
)
def test_bad_data_are_named_in_one_line(tmp_path, capsys, monkeypatch, name, damage):
    module = Catalog("experiments").load(name)
    one = module.cells(module.CPU)[0]
    monkeypatch.setattr(module, "CPU", one)
    monkeypatch.setattr(module, "cells", lambda config: [config])
    data, results = tmp_path / "data", tmp_path / "results"
    data.mkdir()
    set_name = {"lenet_density": "fashion_mnist", "synapses": "em_vnc_stack1"}[name]
    side = np.zeros((6, 8, 8), np.uint8)
    arrays = {
        "fashion_mnist": {"x_train": side, "y_train": side[:, 0, 0], "x_test": side, "y_test": side[:, 0, 0]},
        "em_vnc_stack1": dict.fromkeys(("raw", "labels", "membrane", "synapse"), side)
        | {"is_test": np.arange(6) > 3},
    }[set_name]
    last = list(arrays)[3]
    if damage == "wrong shape":
        arrays |= {last: arrays[last][None]}
    elif damage == "labels out of range":
        arrays |= {last: arrays[last] + np.uint8(77)}
    path = data / f"{set_name}.npz"
    if damage != "no file" and damage != "empty folder":
        np.savez(path, **arrays)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    if damage == "no file":
        monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    root = () if damage == "no file" else ("--data-root", str(data))
    status = main([name, "--preset", "cpu", "--results", str(results), *root])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    if damage in ("empty folder", "no file"):
        assert status == 0
        assert "not run: needs data: " in out
        assert f"put {set_name}.npz" in out
        return
    assert status == 1
    (line,) = err.splitlines()
    assert line.startswith(f"python -m experiments: {name}: cell ")
    assert str(path) in line
    assert not [p for p in results.rglob("*") if p.is_file()]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_asking_for_the_commit_leaves_no_lock(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@x"]
    (tmp_path / "f").write_text("a")
    for call in (["init", "-q"], ["add", "f"], ["commit", "-q", "-m", "m"]):
        subprocess.run([*git, *call], check=True)
    os.utime(tmp_path / "f", (0, 0))  # git would write the index anew
    code = (
        "import resource, sys; from pathlib import Path; from bbtheory import provenance\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "print(provenance._checked_out(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not (tmp_path / ".git" / "index.lock").exists()
    assert "unknown" not in done.stdout

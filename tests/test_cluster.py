"""Sweeps on a Dask cluster of real processes: the records of a serial run, and nothing lost with a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bbtheory import archive
from bbtheory.catalog import Catalog
from experiments import _cluster
from experiments._driver import main

pytest.importorskip("distributed", reason="needs the extra cluster")

ROOT = Path(__file__).resolve().parent.parent
TOYS = Catalog("toy_experiments")
# a process of its own, so that what dask warns and logs stays there; it ends with its standard input
CLUSTER = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    n, threads = int(sys.argv[1]), int(sys.argv[2])
    with LocalCluster(n_workers=n, threads_per_worker=threads, processes=True, dashboard_address=None) as c:
        print(c.scheduler_address, *(worker.process.pid for worker in c.workers.values()), flush=True)
        sys.stdin.read()
"""
ENVIRON = {
    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    "TOY_NAP": "0.01",  # a cell of the cpu preset takes 1 s at least
    "TOY_EXIT": "1",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
}


class Cluster:
    """A scheduler and its workers until the end of a with statement."""

    def __init__(self, folder: Path, n_workers: int = 2, threads: int = 1):
        script = folder / "cluster.py"
        script.write_text(CLUSTER)
        with (folder / "cluster.log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(script), str(n_workers), str(threads)],
                cwd=ROOT,
                env=os.environ | ENVIRON,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.address, *pids = self.process.stdout.readline().split()
        self.pids = [int(pid) for pid in pids]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate(timeout=120)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The walk of the cpu preset, run in this process."""
    results = tmp_path_factory.mktemp("whole")
    assert toy(results, "walk") == 0
    return record(results, "walk")


def toy(results: Path, *args: str) -> int:
    return main([*args, "--results", str(results)], package="toy_experiments")


def record(results: Path, name: str, preset: str = "cpu") -> archive.Archived:
    module = TOYS.load(name)
    path = archive.record_path(results, name, preset, archive.settings(module, preset))
    return archive.read(path, module.Result)


def wait_for(results: Path, pattern: str, n: int, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while len(list(results.rglob(pattern))) < n:
        assert time.monotonic() < until, f"no {pattern} after {seconds} s"
        time.sleep(0.01)


def meanwhile(act) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_a_lost_worker_loses_nothing(cluster, tmp_path, whole, capsys):
    done_before = []

    def kill_one():
        wait_for(tmp_path, "*.state.npz", 2)  # a cell on each worker
        os.kill(cluster.pids[0], signal.SIGKILL)
        done_before.append(len(list(tmp_path.rglob("*.cells/*.json"))))

    killing = meanwhile(kill_one)
    assert toy(tmp_path, "walk", "--cluster", cluster.address) == 0
    killing.join()
    assert "walk  cpu  ok" in capsys.readouterr().out
    assert done_before[0] < 3, "killed too late to test anything"
    assert record(tmp_path, "walk").result == whole.result
    assert not list(tmp_path.rglob("*.state.npz"))
    with pytest.raises(ProcessLookupError):
        os.kill(cluster.pids[0], 0)


def test_a_cell_that_costs_workers_fails_alone(cluster, tmp_path, capsys):
    assert toy(tmp_path, "broken", "--cluster", cluster.address) == 1
    err = capsys.readouterr().err
    assert "seeds 1: it cost 2 workers in turn" in err
    assert "Traceback" not in err
    assert len(list(tmp_path.rglob("*.cells/*.json"))) == 2


def test_a_sweep_goes_on_elsewhere(cluster, tmp_path, capsys):
    assert toy(tmp_path, "walk", "--preset", "smoke") == 0
    first = record(tmp_path, "walk", "smoke")
    first.path.unlink()
    next(tmp_path.rglob("*.cells/*.json")).unlink()
    on_cluster = ("walk", "--preset", "smoke", "--cluster", cluster.address)
    assert toy(tmp_path, *on_cluster) == 0
    assert "goes on from 1 cells" in capsys.readouterr().err
    assert record(tmp_path, "walk", "smoke").result == first.result
    assert toy(tmp_path, *on_cluster) == 0
    assert "ok, was there" in capsys.readouterr().out


def test_workers_of_another_commit_are_refused(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BBTHEORY_COMMIT", "feed" * 10)
    assert toy(tmp_path, "walk", "--cluster", cluster.address) == 1
    assert "must run commit feedfeedfeed, got" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://here", "127.0.0.1:notaport"])
def test_no_scheduler(address, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_cluster, "_PATIENCE", 0.3)
    assert toy(tmp_path, "walk", "--cluster", address) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--cluster: no Dask scheduler answers at {address!r}" in line


def test_bad_input_is_found_before_the_cluster(tmp_path):
    with pytest.raises(SystemExit) as ended:
        toy(tmp_path, "walk", "--cluster", "tcp://127.0.0.1:1", "--time-limit", "-1")
    assert ended.value.code == 2


@pytest.mark.slow
def test_a_cluster_without_workers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_cluster, "_PATIENCE", 2)
    with Cluster(tmp_path, n_workers=0) as bare:
        assert toy(tmp_path, "walk", "--cluster", bare.address) == 1
        assert f"the scheduler at {bare.address} has no workers" in capsys.readouterr().err


@pytest.mark.slow
def test_threads_of_a_worker_take_turns(tmp_path, whole):
    with Cluster(tmp_path, n_workers=1, threads=4) as wide:
        assert toy(tmp_path / "r", "walk", "--cluster", wide.address) == 0
    assert record(tmp_path / "r", "walk").result == whole.result


@pytest.mark.slow
def test_a_lost_scheduler_keeps_what_is_done(tmp_path, whole, capsys):
    lost = Cluster(tmp_path)

    def kill():
        wait_for(tmp_path, "*.cells/*.json", 1)
        lost.process.kill()

    killing = meanwhile(kill)
    assert toy(tmp_path / "r", "walk", "--cluster", lost.address) == 1
    killing.join()
    lost.process.communicate()
    assert "the scheduler is lost; finished cells are kept" in capsys.readouterr().err
    done = len(list(tmp_path.rglob("*.cells/*.json")))
    assert 1 <= done < 4
    assert toy(tmp_path / "r", "walk") == 0
    assert record(tmp_path / "r", "walk").result == whole.result

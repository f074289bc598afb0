"""Experiments with Hyperflux: resume, empty layers, records that come back, and the numbers of their rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from bbtheory import archive
from bbtheory.records import same
from experiments import fixed_pressure_lenet
from experiments._cells import SavedProgress, Task, run_cell
from experiments._driver import main
from experiments.protocol import Progress

HELD = replace(fixed_pressure_lenet.SMOKE, n_removed=5)


class CutOff(Exception):  # noqa: N818  # it ends a run, nothing is wrong
    """Ends a run in the middle."""


def cut_off(name, config, path, n):
    """Run a cell in a file's care until its n-th saved state."""
    task = Task("experiments", name, config, path, None, math.inf)

    class Cut(SavedProgress):
        n_saved = 0

        def save(self, state):
            super().save(state)
            self.n_saved += 1
            if self.n_saved == n:
                raise CutOff

    with pytest.raises(CutOff):
        __import__(f"experiments.{name}", fromlist=["run"]).run(config, Cut(task))
    assert task.state.exists()
    return task


@pytest.mark.parametrize("n", [1, 2])
def test_held_pressure_goes_on_bit_for_bit(n, tmp_path):
    config = replace(HELD, exponents=(3,))
    whole = fixed_pressure_lenet.run(config, Progress())
    task = cut_off("fixed_pressure_lenet", config, tmp_path / "cell.json", n)
    outcome = run_cell(task)
    assert outcome.status == archive.OK
    assert same(outcome.result, whole)
    other = cut_off("fixed_pressure_lenet", replace(config, seeds=(1,)), tmp_path / "other.json", n)
    wrong = run_cell(replace(task, path=other.path))
    assert not same(wrong.result, whole), "negative control: from the state of another run"


def test_held_pressure_that_empties_layers_keeps_its_record(tmp_path, monkeypatch, capsys):
    """Empty layers, no flux to measure, NaN: written, read, shown."""
    strong = replace(HELD, exponents=(40,), epochs=4, flow_rate=0.05, seeds=(0, 1))
    monkeypatch.setattr(fixed_pressure_lenet, "SMOKE", strong)
    for _ in range(2):  # the second reads what the first wrote
        assert main(["fixed_pressure_lenet", "--preset", "smoke", "--results", str(tmp_path)]) == 0
    path = archive.record_path(tmp_path, "fixed_pressure_lenet", "smoke", strong)
    (row,) = archive.read(path, fixed_pressure_lenet.Result).result.rows
    assert (row.n, row.n_empty, row.density, row.fc1, row.fc3) == (2, 2, 0.0, 0.0, 0.0)
    assert math.isnan(row.flux_low)
    assert math.isnan(row.spread)
    cell = archive.read(
        archive.cell_path(path, fixed_pressure_lenet.cells(strong)[0]), fixed_pressure_lenet.Cell
    ).result
    assert cell.empty == fixed_pressure_lenet.LAYERS
    assert cell.absent_cases.sum() == 64 * 300 + 300 * 100 + 100 * 10
    capsys.readouterr()
    assert main(["fixed_pressure_lenet", "--preset", "smoke", "--results", str(tmp_path), "--show"]) == 0
    assert "1.09951e+12" in capsys.readouterr().out


def test_drift_and_spread_by_hand():
    assert fixed_pressure_lenet._drift(np.array([1.2, 1.0, 0.8])) == pytest.approx(-0.4)
    assert math.isnan(fixed_pressure_lenet._drift(np.zeros(5)))
    assert math.isnan(fixed_pressure_lenet._drift(np.ones(2)))

"""Experiments with Hyperflux: resume, empty layers, records that come back, and the numbers of their rows."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from bbtheory import archive
from bbtheory.records import same
from experiments import (
    _hyperflux,
    adam_eps_artefact,
    bottleneck,
    convergence_at_fixed_pressure,
    fixed_pressure_lenet,
    layerwise_density,
    learning_rate_convergence,
    regrowth_phase,
    target_density,
)
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
        importlib.import_module(f"experiments.{name}").run(config, Cut(task))
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
    (network,) = cell.networks
    assert network.empty == _hyperflux.LAYERS
    assert network.absent_cases.sum() == 64 * 300 + 300 * 100 + 100 * 10
    capsys.readouterr()
    assert main(["fixed_pressure_lenet", "--preset", "smoke", "--results", str(tmp_path), "--show"]) == 0
    assert "1.09951e+12" in capsys.readouterr().out


# resume, of all that share a training


CUT = {
    "target_density feedback": replace(target_density.SMOKE, methods=("feedback",), epochs=4),
    "target_density authors": replace(target_density.SMOKE, methods=("authors",), epochs=4),
    "target_density magnitude": replace(target_density.SMOKE, methods=("magnitude",), epochs=4),
    "regrowth_phase": replace(regrowth_phase.SMOKE, scalers=(1.0,), epochs=3),
    "layerwise_density": replace(layerwise_density.SMOKE, methods=("hyperflux",), epochs=4),
    "convergence_at_fixed_pressure": replace(convergence_at_fixed_pressure.SMOKE, flows=("sgd",), epochs=4),
    "learning_rate_convergence": replace(learning_rate_convergence.SMOKE, learning_rates=(1e-3,), epochs=4),
    "bottleneck": replace(bottleneck.SMOKE, arms=("last_layer",), n_levels=2),
    "adam_eps_artefact": replace(adam_eps_artefact.SMOKE, eps=(1e-8,), epochs=4),
}


@pytest.mark.parametrize("case", CUT)
def test_a_cell_that_is_cut_off_goes_on_bit_for_bit(case, tmp_path):
    name, config = case.split()[0], CUT[case]
    whole = importlib.import_module(f"experiments.{name}").run(config, Progress())
    task = cut_off(name, config, tmp_path / "cell.json", 1)  # while the pressure still rises
    outcome = run_cell(task)
    assert outcome.status == archive.OK
    assert same(outcome.result, whole)


# numbers by hand


def test_drift_and_spread_by_hand():
    course = np.concatenate([np.linspace(1.0, 0.5, 27), [1.2, 1.0, 0.8]])
    assert _hyperflux.drift(course) == pytest.approx(-0.4)
    assert _hyperflux.spread(course) == pytest.approx(np.std([1.2, 1.0, 0.8]))
    assert math.isnan(_hyperflux.drift(np.zeros(50)))
    assert math.isnan(_hyperflux.drift(np.ones(20)))  # two epochs are no line
    assert math.isnan(_hyperflux.spread(np.zeros(5)))


def course(kind):
    epoch = np.arange(1.0, 41.0)
    shape = {"exponential": 0.02 + 0.1 * np.exp(-epoch / 7.0), "power": 0.02 + 0.1 * epoch**-1.5}
    density = shape.get(kind, 0.1 * epoch**-0.4)
    return density * (1.0 + 0.01 * np.random.default_rng(0).standard_normal(epoch.size))


@pytest.mark.parametrize("kind", convergence_at_fixed_pressure.COURSES)
def test_courses_are_told_apart(kind):
    fit = convergence_at_fixed_pressure.fit_course(course(kind))
    assert fit.chosen == kind
    if kind == "no_limit":
        assert fit.limit == 0.0
        return
    assert fit.limit == pytest.approx(0.02, rel=0.05)
    found, true = {"exponential": (fit.tau, 7.0), "power": (fit.power, 1.5)}[kind]
    assert found == pytest.approx(true, rel=0.15)  # a grid of steps of 13 and 10 %


def test_courses_that_cannot_be_fitted():
    for density in (np.ones(3), np.zeros(20)):
        fit = convergence_at_fixed_pressure.fit_course(density)
        assert (fit.chosen, math.isnan(fit.limit)) == ("", True)
    assert convergence_at_fixed_pressure.fit_course(np.full(20, 0.5)).limit == pytest.approx(0.5)


def test_epochs_to_a_density():
    first_below = convergence_at_fixed_pressure.first_below
    assert first_below(np.array([0.8, 0.4, 0.1]), 0.5) == pytest.approx(1.75)
    assert first_below(np.array([0.2]), 0.5) == pytest.approx(0.625)
    assert math.isnan(first_below(np.array([0.8]), 0.5))
    cell = convergence_at_fixed_pressure.Cell(
        density=np.array([0.9, 0.8, 0.4, 0.2, 0.1]),
        accuracy=np.ones(5),
        layer_density=np.ones(3),
        arrival=1.2,
    )
    assert convergence_at_fixed_pressure.late_fall(cell) == pytest.approx(0.75)  # from epoch 3 on
    assert math.isnan(convergence_at_fixed_pressure.late_fall(replace(cell, arrival=9.0)))


def test_ratios_are_to_the_first_optimizer_of_the_same_schedule():
    config = convergence_at_fixed_pressure.Config(flows=("adam", "sgd"), seeds=(0, 1), epochs=2)
    values = iter((0.2, 0.4, 0.3, 0.4, 0.1, 0.1, 0.2, 0.2))  # held: adam, adam, sgd, sgd; cosine likewise
    cells = [
        convergence_at_fixed_pressure.Cell(np.array([0.5, v]), np.ones(2), np.ones(3), 1.0)
        for v, _ in zip(values, convergence_at_fixed_pressure.cells(config), strict=True)
    ]
    result = convergence_at_fixed_pressure.collect(config, cells)
    rows = result.rows
    assert [(r.schedule, r.flow) for r in rows] == [
        ("held", "adam"), ("held", "sgd"), ("cosine", "adam"), ("cosine", "sgd")
    ]  # fmt: skip
    assert [r.ratio for r in rows] == pytest.approx([1.0, 1.25, 1.0, 2.0])
    assert result.course[:, :, -1].tolist() == [[0.2, 0.4], [0.3, 0.4], [0.1, 0.1], [0.2, 0.2]]


def test_slow_presence_arrives_later_and_prunes_later():
    config = replace(convergence_at_fixed_pressure.SMOKE, epochs=2)
    quick, slow = (
        convergence_at_fixed_pressure.run(replace(config, flows=(flow,)), Progress())
        for flow in ("sgd", "sgd_slow")
    )
    assert slow.arrival == pytest.approx(3.0 * quick.arrival)
    assert slow.density[0] > quick.density[0]


FLOORED = replace(HELD, exponents=(4,), flow_rate=2e-2, epochs=8)


def test_higher_floors_let_absent_weights_return_sooner():
    none, low, high = (
        fixed_pressure_lenet.run(replace(FLOORED, floor=floor), Progress()).networks[0].density[-1]
        for floor in (-math.inf, -0.3, -0.05)
    )
    assert none < low < high


def test_the_scale_of_standardized_images_does_not_matter(monkeypatch):
    def course(standardize):
        config = replace(FLOORED, epochs=2, standardize=standardize)
        return fixed_pressure_lenet.run(config, Progress()).networks[0].density

    plain = {standardize: course(standardize) for standardize in (True, False)}
    x, y, *held_out = fixed_pressure_lenet.load("digits", None)
    images = 4.0 * x - 8.0, y, 4.0 * held_out[0] - 8.0, *held_out[1:]
    monkeypatch.setattr(fixed_pressure_lenet, "load", lambda *_: images)
    # rounding: some of 50,200 weights may leave a step later
    assert course(True) == pytest.approx(plain[True], abs=1e-3)
    assert course(False) != pytest.approx(plain[False], abs=1e-3)


def test_half_of_a_change():
    assert regrowth_phase.half_interval(np.array([1.0, 1.2, 1.6, 2.0])) == pytest.approx(1.75)
    assert math.isnan(regrowth_phase.half_interval(np.ones(3)))


def test_without_a_flow_no_mask_changes_and_reach_is_a_sum_of_rates():
    still = regrowth_phase.run(replace(regrowth_phase.SMOKE, scalers=(0.0,)), Progress())
    assert len(set(still.density[30:].tolist())) == 1
    assert still.density[0] > still.density[30]
    assert still.reach == 0.0
    moved = regrowth_phase.run(replace(regrowth_phase.SMOKE, scalers=(1.0,)), Progress())
    assert (moved.density[:31] == still.density[:31]).all()
    assert moved.density[-1] > still.density[-1]
    steps = 8 * -(-1438 // 24) // 60  # an interval
    assert moved.reach == pytest.approx(8e-3 * steps * sum(0.75**k for k in range(1, 30)))


def test_layers_are_read_off_in_logarithms():
    density = np.array([0.4, 0.1, 0.1])
    values = np.array([[0.5, 0.1, 1.0, 0.9], [0.125, 0.1, 0.0, 0.8], [0.1, 0.1, 0.0, 0.7]])
    read = layerwise_density.read_off((0.4, 0.2, 0.1, 0.05), density, values)
    np.testing.assert_allclose(read[0], [0.5, 0.1, 1.0, 0.9])
    np.testing.assert_allclose(
        read[1], [0.25, 0.1, 0.0, math.sqrt(0.72)]
    )  # a layer that empties has no logarithm
    np.testing.assert_allclose(read[2], values[1])
    assert np.isnan(read[3]).all()
    early = layerwise_density.read_off((0.7,), density, values)[0]
    share = math.log(1 / 0.7) / math.log(1 / 0.4)
    np.testing.assert_allclose(early, [0.5**share, 0.1**share, 1.0, 0.9])


def test_the_ramp_of_pressures():
    pressures = [layerwise_density.pressure_in(k, 10) for k in range(1, 21)]
    assert (pressures[0], pressures[-1]) == (2.0**-6, pytest.approx(2.0**8))
    assert np.diff(np.log(pressures)) == pytest.approx(np.full(19, 14 * math.log(2) / 19))
    assert layerwise_density.pressure_in(22, 10) == pressures[-1]


def test_random_pruning_keeps_layers_alike():
    config = replace(layerwise_density.SMOKE, methods=("random",))
    cell = layerwise_density.run(config, Progress())
    sizes = np.array([64 * 300, 300 * 100, 1000])
    stderr = np.sqrt(cell.density[-1] / sizes)
    assert (np.abs(cell.layer_density[-1] - cell.density[-1]) < 4 * stderr).all()
    assert np.isnan(cell.pressure).all()


def test_differences_are_paired_and_dense_is_trained_once():
    config = target_density.Config(
        methods=("magnitude", "feedback", "dense"), densities=(0.1, 0.01), seeds=(0, 1)
    )
    accuracy = iter((0.9, 0.8, 0.7, 0.6, 0.95, 0.85, 0.8, 0.9, 0.96, 0.98))
    cells = [
        target_density.Cell(
            np.full(1, 0.5), np.full(1, a + 0.01), setting.densities[0] * 1.03, -1, a, np.full(3, 0.5), ()
        )
        for a, setting in zip(accuracy, target_density.cells(config), strict=True)
    ]
    rows = target_density.collect(config, cells).rows
    assert [(r.method, r.wanted) for r in rows] == [
        ("magnitude", 0.1), ("magnitude", 0.01), ("feedback", 0.1), ("feedback", 0.01), ("dense", 1.0)
    ]  # fmt: skip
    assert [r.less_magnitude for r in rows[:4]] == pytest.approx([0.0, 0.0, 0.05, 0.2])
    assert rows[3].less_dense == pytest.approx(-0.12)
    assert rows[3].less_magnitude_low < 0.2 < rows[3].less_magnitude_high
    assert math.isnan(rows[4].less_magnitude)
    assert (rows[2].off, rows[2].worst, rows[2].n_close) == (pytest.approx(0.03), pytest.approx(0.03), 0)
    assert rows[2].lost == pytest.approx(0.01)
    assert rows[2].n_off == -1


def test_the_push_on_the_last_layer_is_that_of_the_whole_network():
    cells = [
        bottleneck.run(replace(bottleneck.SMOKE, arms=(arm,), n_levels=1), Progress())
        for arm in bottleneck.ARMS
    ]
    alone, all_layers = cells
    assert (alone.layer_density[:, :2] == 1.0).all()
    assert (all_layers.layer_density[:, :2] < 1.0).all()
    assert alone.n_read[0] <= 100
    weights = 1000 * alone.layer_density[0, 2]
    assert max(alone.n_read[0], 10 - alone.n_mute[0]) <= weights < 1000


def test_idle_weights_leave_as_predicted_and_not_otherwise():
    """The prediction within the sampling error of 900 weights; that of another eps is far off."""
    config = replace(adam_eps_artefact.SMOKE, eps=(1e-8,), epochs=6)
    cell = adam_eps_artefact.run(config, Progress())
    assert cell.n_idle == 900
    assert cell.push == pytest.approx(2.0**-11 / 50200)
    limit = 4 * 0.5 / math.sqrt(cell.n_idle)
    assert np.abs(cell.idle - cell.idle_predicted).max() < limit
    steps = 12 * np.arange(1, 7)
    other = adam_eps_artefact.idle_share(steps, 1e-2, 1e-12 / cell.push)
    assert np.abs(cell.idle - other).max() > 3 * limit
    assert adam_eps_artefact.idle_share(np.array([0, 20, 35, 50]), 0.01, 0.0) == pytest.approx([1, 1, 0.5, 0])


@pytest.mark.parametrize(
    ("module", "wrong", "word"),
    [
        (fixed_pressure_lenet, {"exponents": (99,)}, "exponents"),
        (fixed_pressure_lenet, {"smoothing": 1.0}, "smoothing"),
        (fixed_pressure_lenet, {"floor": 0.1}, "floor"),
        (fixed_pressure_lenet, {"device": "tpu"}, "device"),
        (target_density, {"methods": ("luck",)}, "methods"),
        (target_density, {"densities": (1.0,)}, "densities"),
        (regrowth_phase, {"decays": (0.0,)}, "decays"),
        (regrowth_phase, {"scalers": (-1.0,)}, "scalers"),
        (layerwise_density, {"epochs": 1}, "epochs"),
        (convergence_at_fixed_pressure, {"pressure": 0.0}, "pressure"),
        (convergence_at_fixed_pressure, {"flows": ("rmsprop",)}, "flows"),
        (learning_rate_convergence, {"learning_rates": (0.0,)}, "learning_rates"),
        (bottleneck, {"n_levels": 0}, "n_levels"),
        (adam_eps_artefact, {"eps": (0.0,)}, "eps"),
    ],
)
def test_bad_settings(module, wrong, word):
    with pytest.raises(ValueError, match=word):
        replace(module.CPU, **wrong)

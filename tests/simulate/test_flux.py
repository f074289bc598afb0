"""Presence variables under pressure: by hand, against numpy, compiled against not, and against a null."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

import bbtheory.simulate
from bbtheory.records import Record
from bbtheory.schedules import PressureState, follow_trajectory, ratchet_pressure
from bbtheory.simulate import (
    FluxRun,
    Optimizer,
    PressureSchedule,
    RegressionLoss,
    SolvableLoss,
    draw_regression,
    flux_kernel,
    simulate_flux,
)

KAPPA = 0.25
# a few hundred steps of order one, the same sums in the order numpy takes them
ROUNDING = 1e-11


def solvable(n=6, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return SolvableLoss(rng.uniform(0.5, 2.0, n), rng.choice([-1.0, 1.0], n) * rng.uniform(0.5, 2, n), noise)


def regression(batch=4, n=5):
    return draw_regression(
        np.linspace(-1, 2, n), correlation=0.5, n_samples=20, noise=0.3, batch=batch, seed=3
    )


def held(flux, pressure=1.0, *, step=0.01, n_steps=4000, noise=0.0, **more):
    """Hold one pressure on weights of these fluxes at w = w*, the pressure moving t by ``step``."""
    flux = np.asarray(flux, dtype=float)
    w = np.sqrt(4.0 * flux / flux.size)
    loss = SolvableLoss(np.ones(flux.size), w, noise)
    more = {"flow": Optimizer(learning_rate=step * flux.size), "epoch_steps": n_steps // 10} | more
    return simulate_flux(loss, pressure, n_epochs=10, n_measured=8, **more)


# by hand


def test_one_weight_step_by_step():
    # lambda = 2, w = w* = 3: absent slope -6, pull 0.25 * 3 * 6 = 4.5; pressure 1, rate 0.1.
    # t: 0.15, present, falls by 0.1 to 0.05, to -0.05, absent, rises by 0.1 (4.5 - 1) = 0.35 to 0.3, ...
    run = simulate_flux(
        SolvableLoss([2.0], [3.0]),
        1.0,
        n_epochs=8,
        epoch_steps=1,
        n_measured=8,
        flow=Optimizer(learning_rate=0.1),
        presence_start=0.15,
    )
    assert run.density.tolist() == [1, 1, 0, 1, 1, 1, 1, 0]
    assert run.end_density.tolist() == [1, 0, 1, 1, 1, 1, 0, 1]
    assert run.loss.tolist() == [0, 0, 9, 0, 0, 0, 0, 9]
    assert run.presence_variable == pytest.approx([-0.1 + 0.35], abs=1e-15)
    assert (run.presence[0], run.flux[0], run.arrival[0]) == (0.75, 4.5, 2)
    assert run.weight.tolist() == [3.0]


def test_zero_counts_as_present():
    run = simulate_flux(solvable(), 0.0, n_epochs=1, epoch_steps=1, presence_start=0.0)
    assert run.final_density == 1.0


def test_a_learning_weight_step_by_step():
    # present: dL/dw = lambda (w - w*) + delta w = 2 (1 - 3) + 0.1 = -3.9; absent: 0.1 w alone
    step = {
        "n_epochs": 1,
        "epoch_steps": 1,
        "learning": Optimizer(learning_rate=0.1, weight_decay=0.1),
        "weight_start": [1.0],
    }
    loss = SolvableLoss([2.0], [3.0])
    assert simulate_flux(loss, 1.0, presence_start=0.5, **step).weight == pytest.approx([1.39], rel=1e-15)
    assert simulate_flux(loss, 1.0, presence_start=-0.5, **step).weight == pytest.approx([0.99], rel=1e-15)


def test_sigmoid_gate_step_by_step():
    # s (1 - s) at t = -1, times the pull w lambda w* less gamma/N, kappa not in it
    slope = math.exp(-1.0) / (1.0 + math.exp(-1.0)) ** 2
    run = simulate_flux(
        SolvableLoss([2.0], [3.0]),
        5.0,
        n_epochs=1,
        epoch_steps=1,
        presence_start=-1.0,
        gate="sigmoid",
        flow=Optimizer(learning_rate=1.0),
    )
    assert run.presence_variable == pytest.approx([-1.0 + slope * (18.0 - 5.0)], rel=1e-14)
    assert run.flux.tolist() == [18.0]


@pytest.mark.parametrize(("start", "kept"), [(1.0, 1.0), (-1.0, 0.0)])
def test_full_batch_is_the_gradient_of_the_mean(start, kept):
    loss, w = regression(batch=0), np.arange(1.0, 6.0)
    run = simulate_flux(
        loss,
        0.0,
        n_epochs=1,
        epoch_steps=1,
        weight_start=w,
        presence_start=start,
        flow=Optimizer(learning_rate=1.0),
    )
    residual = loss.features @ (w * kept) - loss.targets
    slope = loss.features.T @ residual / residual.size
    assert run.presence_variable == pytest.approx(start - KAPPA * w * slope, rel=1e-12)
    assert run.loss[0] == pytest.approx(0.5 * np.mean(residual**2))


def test_minibatch_is_drawn_with_replacement():
    loss, w = regression(batch=7), np.ones(5)
    run = simulate_flux(
        loss,
        0.0,
        n_epochs=1,
        epoch_steps=1,
        weight_start=w,
        presence_start=1.0,
        flow=Optimizer(learning_rate=1.0),
        seed=4,
    )
    drawn = (np.random.default_rng(4).random(7) * 20).astype(int)
    x, residual = loss.features[drawn], loss.features[drawn] @ w - loss.targets[drawn]
    assert run.presence_variable == pytest.approx(1.0 - KAPPA * w * (x.T @ residual) / 7, rel=1e-12)
    assert run.loss[0] == pytest.approx(0.5 * np.mean(residual**2))


# two roads


def interpret(monkeypatch):
    """Run the loops as plain Python."""
    for name in ("descend", "respond", "solvable_epoch", "regression_epoch"):
        monkeypatch.setattr(flux_kernel, name, getattr(flux_kernel, name).py_func)
    monkeypatch.setattr("bbtheory.simulate.flux.solvable_epoch", flux_kernel.solvable_epoch)
    monkeypatch.setattr("bbtheory.simulate.flux.regression_epoch", flux_kernel.regression_epoch)


@pytest.mark.parametrize("gate", ["constant", "sigmoid"])
@pytest.mark.parametrize("loss", [solvable(), solvable(noise=0.5), regression(), regression(batch=0)])
def test_compiled_equals_python(loss, gate, monkeypatch):
    settings = {
        "n_epochs": 4,
        "epoch_steps": 25,
        "flow": Optimizer("adam", 0.05),
        "learning": Optimizer("sgd", 0.02, momentum=0.9, weight_decay=0.01),
        "gate": gate,
        "seed": 7,
    }
    compiled = simulate_flux(loss, 2.0, **settings)
    assert 0 < compiled.final_density < 1
    interpret(monkeypatch)
    assert simulate_flux(loss, 2.0, **settings) == compiled


class NumpyAdam:
    """Adam of Kingma and Ba with its bias corrections written out."""

    def __init__(self, o):
        self.o, self.k, self.m, self.v = o, 0, 0.0, 0.0

    def step(self, x, g):
        o = self.o
        self.k += 1
        g = g + o.weight_decay * x
        self.m = o.decay1 * self.m + (1 - o.decay1) * g
        self.v = o.decay2 * self.v + (1 - o.decay2) * g**2
        first = self.m / (1 - o.decay1**self.k)
        return x - o.learning_rate * first / (np.sqrt(self.v / (1 - o.decay2**self.k)) + o.eps)


class NumpySgd:
    def __init__(self, o):
        self.o, self.velocity = o, 0.0

    def step(self, x, g):
        self.velocity = self.o.momentum * self.velocity + g + self.o.weight_decay * x
        return x - self.o.learning_rate * self.velocity


@pytest.mark.parametrize("flow", [Optimizer("adam", 0.03, eps=0.1), Optimizer("sgd", 0.3, momentum=0.8)])
@pytest.mark.parametrize(
    "learning", [Optimizer("adam", 0.02, weight_decay=0.1), Optimizer("sgd", 0.05, momentum=0.5)]
)
def test_against_numpy(flow, learning):
    loss, pressure = solvable(n=12), 3.0
    run = simulate_flux(loss, pressure, n_epochs=15, epoch_steps=20, flow=flow, learning=learning, seed=2)
    t = np.random.default_rng(2).uniform(0.2, 0.5, 12)
    w = loss.optimum
    roads = {"adam": NumpyAdam, "sgd": NumpySgd}
    move_t, move_w = roads[flow.rule](flow), roads[learning.rule](learning)
    present = []
    for _ in range(300):
        gate = t >= 0
        present.append(gate)
        slope = loss.curvature * (w * gate - loss.optimum)
        t, w = move_t.step(t, KAPPA * w * slope + pressure / 12), move_w.step(w, gate * slope)
    present = np.array(present)
    assert 0.05 < present.mean() < 0.95
    np.testing.assert_allclose(run.presence_variable, t, rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(run.weight, w, rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(run.density, present.mean(axis=1).reshape(15, 20).mean(axis=1), rtol=1e-14)
    assert (run.presence == present[-140:].mean(axis=0)).all()
    first = np.where(present.all(axis=0), -1, np.argmin(present, axis=0))
    assert run.arrival.tolist() == first.tolist()


# law and statistics


@pytest.mark.parametrize(
    "flow",
    [
        Optimizer(learning_rate=0.08),
        Optimizer(learning_rate=0.008, momentum=0.9),
        Optimizer("adam", 0.01, eps=1e-12),
    ],
)
def test_absent_a_fraction_pressure_over_flux(flow):
    flux = np.array([0.5, 0.9, 1.1, 1.5, 2.0, 3.0, 7.0, 20.0])
    run = held(flux, flow=flow, n_steps=20_000)
    # the last cycle of the slowest weight is cut off, and momentum shifts it by ten steps
    np.testing.assert_allclose(run.presence, np.maximum(0, 1 - 1 / flux), atol=3e-3)
    np.testing.assert_allclose(run.flux, flux, rtol=1e-12)
    assert run.status == "settled"
    assert run.settling_step is not None


def test_sigmoid_gate_sees_four_times_the_flux():
    flux = np.array([0.2, 0.5, 1.0, 4.0])
    run = held(flux, gate="sigmoid", n_steps=20_000)
    np.testing.assert_allclose(run.presence, np.maximum(0, 1 - 1 / (4 * flux)), atol=3e-3)
    np.testing.assert_allclose(run.flux, 4 * flux, rtol=1e-12)


def test_noise_changes_nothing_and_a_null_is_told_apart():
    rng = np.random.default_rng(0)
    flux = np.exp(rng.normal(0.7, 1.0, 200))
    predicted = np.maximum(0, 1 - 1 / flux)
    runs = [held(flux, noise=1.0, n_steps=10_000, seed=seed).final_density for seed in range(6)]
    stderr = np.std(runs, ddof=1) / math.sqrt(6)
    miss = abs(np.mean(runs) - predicted.mean())
    # 4 standard errors (6 runs), and a systematic part below one count of each weight's window
    assert miss < 4 * stderr + 1 / 8000
    # negative control: the law of other fluxes, same mean, is not met
    other = np.maximum(0, 1 - 1 / np.full(200, flux.mean()))
    assert abs(np.mean(runs) - other.mean()) > 20 * miss


def test_a_small_weight_dies_where_a_large_one_lives():
    flux = np.full(4, 1.3)
    run = [
        held(
            flux,
            learning=Optimizer(learning_rate=5e-3),
            weight_start=start * np.sqrt(flux),
            presence_start=0.0,
            n_steps=20_000,
        )
        for start in (1.0, 0.3)
    ]
    assert run[0].presence == pytest.approx(1 - 1 / 1.3, abs=2e-3)
    assert run[1].final_density == 0.0
    # negative control: without the pressure nothing dies
    alive = held(flux, 0.0, learning=Optimizer(learning_rate=5e-3), weight_start=0.3 * np.sqrt(flux))
    assert alive.final_density == 1.0
    assert alive.weight == pytest.approx(np.sqrt(flux))


def test_regression_presence_by_brute_force():
    # two features, weight 2 stands in for 1: time averages must balance pull and pressure
    loss = draw_regression([1.0, 1.0], correlation=0.6, n_samples=50, batch=8, noise=0.2, seed=1)
    run = simulate_flux(
        loss, 0.4, n_epochs=40, epoch_steps=1000, n_measured=36, flow=Optimizer(learning_rate=0.02)
    )
    w, absent = loss.optimum, 1 - run.presence
    pull = KAPPA * 2 * w * (loss.gram @ (w * absent))
    assert (run.presence > 0.01).all()
    # t is bounded by a few tens over 36 000 steps of 0.02 gamma/2
    assert pull == pytest.approx(0.4, abs=0.02)
    alone = 1 - 0.4 / (KAPPA * 2 * np.diag(loss.gram) * w**2)
    assert (np.abs(run.presence - alone) > 0.05).all()


# limits and status


def test_no_pressure_keeps_all():
    run = held([1.0, 2.0, 3.0], 0.0)
    assert run.final_density == 1.0
    assert np.isnan(run.flux).all()
    assert (run.arrival == -1).all()
    assert run.n_travelling == 0
    assert run.status == "settled"


def test_pressure_above_all_fluxes_removes_all():
    run = held([1.0, 2.0, 3.0], 3.5)
    assert run.final_density == 0.0
    assert run.status == "settled"


def test_a_run_that_is_too_short_says_so():
    run = held([2.0, 3.0], step=1e-6)
    assert run.final_density == 1.0
    assert run.n_travelling == 2
    assert run.status == "unsettled"


def test_eps_above_the_pressure_delays():
    def arrival(eps):
        return held([2.0, 5.0], flow=Optimizer("adam", 0.01, eps=eps), presence_start=0.5).arrival

    # t falls by 0.01/(1 + eps/(gamma/N)) a step, gamma/N = 1/2; rounding decides the last step
    for ratio in (1e-6, 1.0, 9.0):
        assert arrival(0.5 * ratio) == pytest.approx(50 * (1 + ratio), abs=1.01)


def test_settling_step_is_the_last_entry():
    from bbtheory.simulate.flux_run import find_settling_step

    density = np.array([1.0, 0.9, 0.5, 0.51, 0.49])
    assert find_settling_step(density, 2, 0.5, 0.02, 10) == 20
    assert find_settling_step(density, 3, 0.5, 0.02, 10) == 20
    assert find_settling_step(density, 4, 0.5, 0.02, 10) is None
    assert find_settling_step(density, 1, 0.5, 0.6, 10) == 0


# schedules


def test_a_pressure_per_epoch():
    run = simulate_flux(solvable(), [0.0, 1.0, 4.0], n_epochs=3, epoch_steps=5)
    assert run.pressure.tolist() == [0, 1, 4]


@pytest.mark.parametrize(
    ("recursion", "rule"), [("follow", follow_trajectory), ("ratchet", ratchet_pressure)]
)
def test_scheduler_reads_the_density_at_the_end_of_each_epoch(recursion, rule):
    flux = 50.0 / np.arange(1, 41)
    trajectory = tuple(np.linspace(1, 0.2, 21))
    run = simulate_flux(
        SolvableLoss(np.ones(40), np.sqrt(0.1 * flux)),
        PressureSchedule(trajectory, recursion, step=0.3),
        n_epochs=25,
        epoch_steps=50,
        flow=Optimizer(learning_rate=0.5),
    )
    state = PressureState()
    for epoch in range(1, 26):
        assert run.pressure[epoch - 1] == state.pressure
        state = rule(state, epoch, run.end_density[epoch - 1], trajectory, step=0.3)
    assert run.pressure[0] == 0.0
    assert run.pressure[-1] > 0
    assert (np.diff(run.pressure) < 0).any() == (recursion == "follow")


# settings and records


def test_drawn_features_correlate_as_asked():
    loss = draw_regression(np.ones(4), correlation=0.7, n_samples=20_000, seed=1)
    # standard error of a correlation of 20 000 samples is 0.007 at most
    assert loss.gram == pytest.approx(0.7 ** np.abs(np.subtract.outer(range(4), range(4))), abs=0.03)
    assert loss.optimum == pytest.approx(np.ones(4), abs=1e-12)


def test_settings_keep_their_own_arrays():
    curvature = np.ones(3)
    loss = SolvableLoss(curvature, curvature)
    curvature[:] = 5.0
    assert loss.curvature.tolist() == [1, 1, 1]
    with pytest.raises(FrozenInstanceError):
        loss.noise = 1.0


def test_same_seed_same_run_and_round_trip(tmp_path):
    settings = {"n_epochs": 5, "epoch_steps": 10, "flow": Optimizer(learning_rate=0.3)}
    run = simulate_flux(regression(), 1.0, seed=5, **settings)
    assert simulate_flux(regression(), 1.0, seed=5, **settings) == run
    assert simulate_flux(regression(), 1.0, seed=6, **settings) != run
    run.save(tmp_path / "run.json")
    assert FluxRun.load(tmp_path / "run.json") == run
    assert isinstance(run, Record)
    assert run.to_frame().shape == (5, 6)
    assert len(run.to_dict()["units"]["presence"]) == 5


def test_lazy_names():
    assert set(bbtheory.simulate.__all__) <= set(dir(bbtheory.simulate))
    with pytest.raises(AttributeError, match="no attribute 'simulate_nothing'"):
        _ = bbtheory.simulate.simulate_nothing


# bad input

GOOD = {"n_epochs": 2, "epoch_steps": 2}
BAD_RUNS = [
    ({"loss": 3}, "loss must be a RegressionLoss, got int"),
    ({"pressure": -1.0}, r"pressure must be a number in \[0, inf\), got -1.0"),
    ({"pressure": math.inf}, "pressure must be a number"),
    ({"pressure": [1.0, 2.0, 3.0]}, r"pressure must have shape \(2,\), got \(3,\)"),
    ({"pressure": [1.0, math.nan]}, "pressure must be finite numbers"),
    ({"n_epochs": 0}, r"n_epochs must be an integer in \[1, 1e8\], got 0"),
    ({"epoch_steps": 10**30}, r"epoch_steps must be an integer in \[1, 1e9\]"),
    ({"presence_start": (-1e308, 1e308)}, "presence_start must be numbers in"),
    ({"epoch_steps": 1.5}, "epoch_steps must be an integer"),
    ({"n_measured": 3}, r"n_measured must be an integer in \[1, 2\], got 3"),
    ({"flow": "adam"}, "flow must be a Optimizer, got str"),
    ({"learning": 0.1}, "learning must be a Optimizer, got float"),
    ({"weight_start": [1.0]}, r"weight_start must have shape \(6,\), got \(1,\)"),
    ({"weight_start": math.nan}, "weight_start must be a number"),
    ({"presence_start": (0.5, 0.2)}, "presence_start must be .low, high. with low <= high"),
    ({"presence_start": (0.1, 0.2, 0.3)}, r"presence_start must have shape \(2,\)"),
    ({"presence_start": math.nan}, "presence_start must be a number"),
    ({"gate": "relu"}, "gate must be one of constant, sigmoid, got 'relu'"),
    ({"tolerance": 0.0}, r"tolerance must be a number in \(0, 1\), got 0.0"),
    ({"seed": -1}, "seed must be an integer"),
]


@pytest.mark.parametrize(("change", "message"), BAD_RUNS, ids=lambda x: str(x)[:30])
def test_bad_input(change, message):
    given = {"loss": solvable(), "pressure": 1.0} | GOOD | change
    with pytest.raises(ValueError, match=message):
        simulate_flux(given.pop("loss"), given.pop("pressure"), **given)


def test_a_diverging_run_is_named():
    # absent weights learn nothing, but a decay of 100 a step turns them over and makes them 99 times larger
    learning = Optimizer(learning_rate=100, weight_decay=1.0)
    with pytest.raises(ValueError, match="learning_rate must let the run stay finite, it diverged in epoch"):
        simulate_flux(
            solvable(),
            1.0,
            n_epochs=3,
            epoch_steps=500,
            learning=learning,
            presence_start=-1.0,
            weight_start=9.0,
        )


BAD_SETTINGS = [
    (SolvableLoss, ([-1.0], [1.0]), "curvature must be finite numbers"),
    (SolvableLoss, ([1.0], [1.0, 2.0]), r"optimum must have shape \(1,\)"),
    (SolvableLoss, ([1.0], [1.0], -1.0), "noise must be a number"),
    (SolvableLoss, ([], []), "curvature must not be empty"),
    (RegressionLoss, ([1.0], [1.0]), "features must have 2 axes"),
    (RegressionLoss, ([[1.0]], [1.0, 2.0]), r"targets must have shape \(1,\)"),
    (RegressionLoss, ([[1.0]], [1.0], -1), "batch must be an integer"),
    (RegressionLoss, ([[math.nan]], [1.0]), "features must be finite"),
    (Optimizer, ("lion",), "rule must be one of sgd, adam, got 'lion'"),
    (Optimizer, ("sgd", 0.0), r"learning_rate must be a number in \(0, inf\)"),
    (Optimizer, ("sgd", 1.0, 1.0), r"momentum must be a number in \[0, 1\)"),
    (Optimizer, ("adam", 1.0, 0.0, 1.0), r"decay1 must be a number in \[0, 1\)"),
    (Optimizer, ("adam", 1.0, 0.0, 0.9, -0.1), r"decay2 must be a number in \[0, 1\)"),
    (Optimizer, ("adam", 1.0, 0.0, 0.9, 0.99, 0.0), r"eps must be a number in \(0, inf\)"),
    (Optimizer, ("sgd", 1.0, 0.0, 0.9, 0.99, 1e-8, -1.0), "weight_decay must be a number"),
    (PressureSchedule, ((1.0, 1.5),), "trajectory must be numbers in"),
    (PressureSchedule, ((),), "trajectory must not be empty"),
    (PressureSchedule, ((1.0,), "jump"), "recursion must be one of follow, ratchet"),
    (PressureSchedule, ((1.0,), "follow", 0.0), r"step must be a number in \(0, inf\)"),
]


@pytest.mark.parametrize(("kind", "values", "message"), BAD_SETTINGS, ids=lambda x: str(x)[:30])
def test_bad_settings(kind, values, message):
    with pytest.raises(ValueError, match=message):
        kind(*values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correlation": 1.0}, r"correlation must be a number in \(-1, 1\)"),
        ({"n_samples": 0}, "n_samples must be an integer"),
        ({"noise": -0.1}, "noise must be a number"),
        ({"seed": -1}, "seed must be an integer"),
        ({"optimum": [[1.0]]}, "optimum must have 1 axis"),
        ({"batch": -2}, "batch must be an integer"),
    ],
)
def test_bad_draw(change, message):
    given = {"optimum": [1.0, 2.0], "correlation": 0.5, "n_samples": 3} | change
    with pytest.raises(ValueError, match=message):
        draw_regression(given.pop("optimum"), **given)


def test_settings_are_values():
    assert replace(Optimizer(), eps=1e-12) != Optimizer()
    assert PressureSchedule([1.0, 0.5]) == PressureSchedule((1.0, 0.5))

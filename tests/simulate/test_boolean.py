"""Networks that learn a Boolean task while they are pruned: each method does what its name says."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from bbtheory.simulate import BooleanRun, Pruning, Training, pruning_kernel, simulate_boolean
from bbtheory.simulate.boolean_assessment import assess, examples
from bbtheory.simulate.boolean_network import Network
from bbtheory.simulate.boolean_refresh import refresh, whole_counts
from bbtheory.tasks import BooleanTask, rare_and_common_dnf, xor

SMALL = Training(hidden=(12, 10), steps=200, batch=64, learning_rate=0.01, dtype="float64")
TASK = rare_and_common_dnf(n_distractors=2)
N_STDERR = 5.3  # a right estimate fails one of 1e7 such tests


def network_of(sizes=(4, 12, 10, 1), seed=0):
    return Network(sizes, "float64", np.random.default_rng(seed))


def rates(network, seed=1):
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(0.05, 0.95, width) for width in network.sizes[1:-1])


def scores(network, pruning, seed=2):
    rng = np.random.default_rng(seed)
    return [rng.random(network.weights[layer].shape) for layer in pruning.layers]


def refreshed(network, pruning, on_rates=None, n_done=0):
    refresh(network, pruning, on_rates or rates(network), n_done, scores(network, pruning))
    return network.kept


# the kernels


@pytest.mark.parametrize("strongest", [pruning_kernel.keep_strongest, pruning_kernel.keep_strongest.py_func])
def test_kept_counts_are_exact_under_ties(strongest):
    score = np.array([[1.0, 1, 1, 1], [2, 3, 3, 1], [0, 0, 0, 0], [5, 1, 5, 5]])
    allowed = np.ones((4, 4), bool)
    kept = strongest(score, allowed, np.array([2, 2, 3, 9]))
    np.testing.assert_array_equal(kept, [[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    allowed[1, 1] = allowed[3, :3] = False
    kept = strongest(score, allowed, np.array([0, 2, -1, 2]))
    np.testing.assert_array_equal(kept, [[0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]])


def test_strongest_are_those_of_a_sort():
    rng = np.random.default_rng(0)
    score, degree = rng.random((50, 33)), rng.integers(0, 34, 50)
    kept = pruning_kernel.keep_strongest(score, np.ones_like(score, bool), degree)
    np.testing.assert_array_equal(kept.sum(axis=1), degree)
    for row, mask, k in zip(score, kept, degree, strict=True):
        np.testing.assert_array_equal(mask, row > np.sort(row)[::-1][k] if k < 33 else True)


@pytest.mark.parametrize("rule", [pruning_kernel.cut_weakest, pruning_kernel.cut_weakest.py_func])
def test_local_rule(rule):
    rng = np.random.default_rng(0)
    score, on_rate = rng.random((40, 30)), rng.uniform(0.01, 1, 40)
    score[0] = 1.0  # ties: the later index is the weaker

    def after(kept, **changes):
        settings = {"tau": 3.0, "floor": 0, "cap": 30, "cuts": 0, "regrow": False} | changes
        kept = kept.copy()
        rule(score, kept, on_rate, *settings.values())
        return kept

    full = np.ones((40, 30), bool)
    kept = after(full)
    expected = np.minimum(30, np.floor(3.0 / on_rate)).astype(int)
    np.testing.assert_array_equal(kept.sum(axis=1), expected)
    for i in range(1, 40):
        assert not kept[i].any() or kept[i].all() or score[i][kept[i]].min() > score[i][~kept[i]].max()
    np.testing.assert_array_equal(kept[0], np.arange(30) < expected[0])
    once = after(full, cuts=2)
    np.testing.assert_array_equal(once.sum(axis=1), np.maximum(expected, 28))
    np.testing.assert_array_equal(after(full, tau=0.5, floor=3).sum(axis=1).min(), 3)
    empty = np.zeros((40, 30), bool)
    assert not after(empty).any()
    back = after(empty, regrow=True)
    np.testing.assert_array_equal(back, kept)
    np.testing.assert_array_equal(after(empty, regrow=True, cap=5).sum(axis=1), np.minimum(expected, 5))
    # a fixed point moves no link
    np.testing.assert_array_equal(after(kept, regrow=True), kept)


def test_traffic_at_the_threshold_is_spared():
    kept = np.ones((1, 8), bool)
    pruning_kernel.cut_weakest(np.arange(8.0)[None], kept, np.array([0.5]), 2.0, 0, 8, 0, True)
    np.testing.assert_array_equal(kept[0], np.arange(8) >= 4)


def test_whole_counts_meet_the_total():
    np.testing.assert_array_equal(whole_counts(np.full(4, 2.5), 10), [3, 3, 2, 2])
    np.testing.assert_array_equal(whole_counts(np.array([1.2, 1.7, 3.0]), 6), [1, 2, 3])


# the methods


@pytest.mark.parametrize("layers", [(1,), (0, 1), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("density", [0.07, 0.5, 0.333, 1.0])
@pytest.mark.parametrize("method", ["magnitude", "random"])
def test_global_density_and_choice(method, density, layers):
    network, pruning = network_of(), Pruning(method, layers=layers, density=density)
    kept = refreshed(network, pruning)
    size = sum(network.weights[layer].size for layer in layers)
    assert sum(kept[layer].sum() for layer in layers) == round(density * size)
    if method == "magnitude":
        score = [np.abs(network.full(layer)) for layer in layers]
    else:
        score = scores(network, pruning)
    mask = np.concatenate([kept[layer].ravel() for layer in layers])
    value = np.concatenate([s.ravel() for s in score])
    assert density == 1.0 or value[mask].min() > value[~mask].max()
    assert all(kept[layer].all() for layer in range(3) if layer not in layers)


@pytest.mark.parametrize("method", ["magnitude", "random"])
def test_unit_scope_spreads_evenly(method):
    network = network_of()
    kept = refreshed(network, Pruning(method, density=0.34, scope="unit"))
    # 120 links, 41 kept: 4 for each of ten units, and one more
    np.testing.assert_array_equal(np.sort(kept[1].sum(axis=1)), [4] * 9 + [5])


def test_random_cuts_are_nested_and_blind():
    network, pruning = network_of(), Pruning("random", density=0.2, ramp=3)
    before = network.kept[1]
    for n_done in range(5):
        kept = refreshed(network, pruning, n_done=n_done)[1]
        assert not (kept & ~before).any()
        before = kept
    assert before.sum() == 24
    other = network_of(seed=9)
    np.testing.assert_array_equal(refreshed(other, pruning, n_done=4)[1], before)


def test_a_stronger_cut_link_returns_only_with_regrowth():
    for regrow in (True, False):
        network = network_of()
        pruning = Pruning("magnitude", density=0.5, regrow=regrow)
        mask = refreshed(network, pruning)[1]
        weakest = np.unravel_index(np.argmin(np.where(mask, np.abs(network.weights[1]), np.inf)), mask.shape)
        strongest = np.unravel_index(np.argmax(np.where(mask, 0, np.abs(network.full(1)))), mask.shape)
        value = network.full(1)[strongest]
        network.weights[1][weakest] = 1e-9
        network.first[:] = network.second[:] = 7.0
        kept = refreshed(network, pruning)[1]
        assert kept[strongest] == regrow
        assert kept[weakest] == (not regrow)
        if regrow:
            assert network.weights[1][strongest] == value
            assert network.matrices(network.dormant)[1][weakest] == 1e-9
            assert network.weights[1][weakest] == 0
            for moments in (network.first, network.second):
                changed = network.matrices(moments)[1] == 0
                assert changed[strongest]
                assert changed[weakest]
                assert changed.sum() == 2


LINE = {"beta": 0.3, "d0": 4.0, "min_degree": 2, "max_degree": 8}


def line(on_rate):
    return np.rint(np.clip(4.0 + np.log((1 - on_rate) / on_rate) / 0.3, 2, 8)).astype(int)


def top(score, degree):
    return np.array([np.argsort(np.argsort(-row)) < k for row, k in zip(score, degree, strict=True)])


def test_controller_sets_degrees_by_the_line():
    network, a = network_of(), rates(network_of())
    score = np.abs(network.full(1))
    outgoing, incoming = top(score.T, line(a[0])).T, top(score, line(a[1]))
    for actuator, expected in (("sp_out", outgoing), ("sp_in", incoming), ("both", outgoing & incoming)):
        network = network_of()
        kept = refreshed(network, Pruning("controller", actuator=actuator, **LINE), a)
        np.testing.assert_array_equal(kept[1], expected)
    assert line(a[0]).min() == 2
    assert line(a[0]).max() == 8


def test_controller_of_dead_and_saturated_units():
    network = network_of()
    kept = refreshed(
        network, Pruning("controller", beta=0.3, d0=4.0), (np.repeat([0.0, 1.0], 6), np.zeros(10))
    )
    np.testing.assert_array_equal(kept[1].sum(axis=0), np.repeat([10, 0], 6))


def test_controller_without_regrowth_only_falls():
    network, a = network_of(), rates(network_of())
    pruning = Pruning("controller", regrow=False, **LINE)
    first = refreshed(network, pruning, a)[1]
    again = refreshed(network, pruning, tuple(rate[::-1] for rate in a))[1]
    assert not (again & ~first).any()
    np.testing.assert_array_equal(again.sum(axis=0), np.minimum(line(a[0]), line(a[0][::-1])))


def test_threshold_on_either_side():
    a = rates(network_of())
    for actuator, rate, axis, most in (("sp_out", a[0], 0, 10), ("sp_in", a[1], 1, 12)):
        network = network_of()
        pruning = Pruning("threshold", tau=2.0, cuts=0, actuator=actuator, regrow=False)
        kept = refreshed(network, pruning, a)[1]
        np.testing.assert_array_equal(kept.sum(axis=axis), np.minimum(most, np.floor(2.0 / rate)))
    network = network_of()
    kept = refreshed(network, Pruning("threshold", tau=2.0, cuts=0, actuator="both", regrow=False), a)[1]
    assert np.all(a[0] * kept.sum(axis=0) <= 2.0)
    assert np.all(a[1] * kept.sum(axis=1) <= 2.0)


# the rescale


def test_forward_and_weight_rescale_agree_once_without_bias():
    values = np.random.default_rng(3).normal(size=(4, 50))
    logits, plain = [], []
    for rescale in ("forward", "weight", "none"):
        network = network_of()
        refreshed(network, Pruning("random", layers=(0, 1), density=0.4, rescale=rescale))
        x = values
        for weight, scale in zip(network.weights[:-1], network.scales, strict=True):
            x = np.maximum(weight @ x * scale[:, None], 0)
        (plain if rescale == "none" else logits).append(network.weights[-1] @ x)
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-13)
    assert not np.allclose(logits[0], plain[0])


def test_incremental_rescale_telescopes_and_weight_compounds():
    pruning = {"density": 0.25, "ramp": 4, "schedule": "linear", "scope": "unit"}
    base = network_of()
    for rescale in ("incremental", "weight"):
        network = network_of()
        factor = np.ones(10)
        for n_done in range(4):
            k = refreshed(network, Pruning("random", rescale=rescale, **pruning), n_done=n_done)[1].sum(
                axis=1
            )
            factor *= np.sqrt(12 / k)
        expected = np.sqrt(12 / k) if rescale == "incremental" else factor
        # dormant values keep pace, so that returning links fit in
        np.testing.assert_allclose(network.full(1), base.full(1) * expected[:, None], rtol=1e-13)
        # nothing changes, nothing is rescaled
        weights = network.weights[1].copy()
        refreshed(network, Pruning("random", rescale=rescale, **pruning), n_done=4)
        np.testing.assert_array_equal(network.weights[1], weights)


@pytest.mark.parametrize("rescale", ["forward", "incremental", "weight", "none"])
def test_rescale_keeps_the_variance_of_random_masks(rescale):
    network = network_of((400, 300, 1))
    pruning = Pruning("random", layers=(0,), density=0.3, scope="unit", rescale=rescale)
    refreshed(network, pruning)
    effective = network.weights[0] * network.scales[0][:, None]
    # sum of w^2 over 300 rows of 120 normal weights: relative error sqrt(2/36000)
    ratio = 300 * 2.0 / float((effective**2).sum())
    kept = ratio == pytest.approx(1.0, rel=N_STDERR * math.sqrt(2 / 36_000))
    assert kept == (rescale != "none")


@pytest.mark.parametrize("rescale", ["forward", "incremental", "weight"])
def test_the_output_is_not_rescaled(rescale):
    network, plain = network_of(), network_of()
    refreshed(network, Pruning("random", layers=(2,), density=0.5, rescale=rescale))
    np.testing.assert_array_equal(network.full(2), plain.full(2))
    assert all(np.all(scale == 1) for scale in network.scales)


def test_units_without_links_are_left_alone():
    for rescale in ("forward", "incremental", "weight"):
        network = network_of()
        pruning = Pruning("threshold", tau=0.01, cuts=0, actuator="sp_in", rescale=rescale)
        assert not refreshed(network, pruning)[1].any()
        np.testing.assert_array_equal(network.scales[1], 1.0)
        refresh(network, Pruning("threshold", tau=9.0, cuts=0, actuator="sp_in", rescale=rescale),
                rates(network), 1, [])  # fmt: skip
        assert np.isfinite(network.weights[1]).all()


# whole runs


PRUNINGS = [
    Pruning(),
    Pruning("magnitude", density=0.3, ramp=3),
    Pruning("random", density=0.3, scope="unit", layers=(0, 1, 2), rescale="incremental"),
    Pruning("threshold", tau=2.0, warmup=100, interval=20),
    Pruning("threshold", tau=2.0, actuator="both", cuts=0, regrow=False),
    Pruning("controller", beta=0.5, d0=3.0, actuator="sp_in", layers=(0, 1), rescale="forward"),
    Pruning("controller", beta=0.5, d0=3.0, actuator="both", rescale="weight", until=50),
]


@pytest.mark.parametrize("pruning", PRUNINGS, ids=str)
def test_runs_are_whole_and_reproduce(pruning, tmp_path):
    run = simulate_boolean(TASK, SMALL, pruning, seed=3)
    assert run == simulate_boolean(TASK, SMALL, pruning, seed=3)
    assert run != simulate_boolean(TASK, SMALL, pruning, seed=4)
    run.save(tmp_path / "run.json")
    assert BooleanRun.load(tmp_path / "run.json") == run
    assert run.on_rate_trace.shape == run.fan_in_trace.shape == run.fan_out_trace.shape == (run.step.size, 22)
    for weight, mask, dormant in zip(run.weights, run.masks, run.dormant, strict=True):
        assert not weight[~mask].any()
        assert not dormant[mask].any()
    np.testing.assert_array_equal(run.fan_out_trace[-1], run.fan_out)
    np.testing.assert_array_equal(run.fan_in_trace[-1], run.fan_in)
    cut = [run.masks[layer] for layer in pruning.layers]
    assert run.density == sum(mask.sum() for mask in cut) / sum(mask.size for mask in cut)
    np.testing.assert_array_equal(run.density_trace[run.step < pruning.warmup], 1.0)
    assert (run.density < 1) == (pruning.method != "none")
    if pruning.density is not None:
        assert run.density == pytest.approx(pruning.density, abs=0.5 / sum(mask.size for mask in cut))
    if pruning.until is not None:
        assert np.unique(run.density_trace[run.step >= pruning.until]).size == 1
    assert run.to_frame().columns.tolist() == ["layer", "unit", "on_rate", "fan_in", "fan_out", "traffic"]
    _, logit = run.activations(TASK.show(TASK.truth_table().inputs).T)
    assert run.final.exact
    assert TASK.truth_table().probability @ ((logit > 0) == TASK.truth_table().label) == run.accuracy
    assert run.accuracy == run.accuracy_trace[-1]


def test_traces_do_not_change_the_training():
    runs = [simulate_boolean(TASK, SMALL, Pruning(interval=n), seed=1) for n in (7, 200)]
    assert [run.step.tolist()[-2:] for run in runs] == [[196, 200], [200]]
    for one, other in zip(runs[0].weights, runs[1].weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert runs[0].train_accuracy == runs[1].train_accuracy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_tasks_are_learned(dtype):
    training = Training((32, 32), steps=600, learning_rate=0.01, dtype=dtype)
    for task in (xor(), xor(input_noise=0.2), rare_and_common_dnf(2, 1)):
        run = simulate_boolean(task, training, Pruning(interval=50), seed=0)
        assert run.accuracy > 0.999
        assert run.steps_to_fit(accuracy=0.99) < 500
        assert run.steps_to_fit(loss=0.1) < 500
        assert math.isnan(run.steps_to_fit(loss=0.0))
    untrained = simulate_boolean(xor(), Training((32, 32), steps=1), seed=0)
    assert untrained.accuracy < 1


def test_average_on_rates_are_those_of_the_task():
    """With a network that does not move, the average of n examples is within its standard error."""
    training = Training((8, 8), steps=400, batch=250, learning_rate=1e-12, dtype="float64")
    run = simulate_boolean(TASK, training, Pruning(interval=400, ema_decay=0.999), seed=2)
    a = run.on_rate
    stderr = np.sqrt(a * (1 - a) / 100_000) + 1e-12
    # the weights of the average are uneven: sum w^2 is 1.013/400 here
    assert np.max(np.abs(run.on_rate_trace[-1] - a) / stderr) < N_STDERR * 1.01
    early = simulate_boolean(TASK, training, Pruning(interval=1, ema_decay=0.999), seed=2).on_rate_trace[0]
    # right from the first batch on, where an average from zero without correction would be near zero
    assert np.max(np.abs(early - a)) < N_STDERR * 0.5 / math.sqrt(250)
    assert np.max(a) > 0.3


def test_assessment_by_hand():
    """Unit 0 is the rare term, unit 1 the common one, unit 2 the negation of the first, unit 3 constant."""
    task = rare_and_common_dnf()
    judged = examples(task, 1 << 10, 10, np.random.default_rng(0))
    rare, common = judged.terms.T.astype(float)
    hidden = [np.stack([rare, 2 * common]), np.stack([1 - rare, np.ones_like(rare)])]
    found = assess(hidden, np.where(common > 0, 3.0, -3.0), judged)
    np.testing.assert_allclose(found.on_rate, [1 / 9, 0.7225, 8 / 9, 1])
    expected = [[1, 0], [0, 1], [-1, 0], [0, 0]]
    np.testing.assert_allclose(found.term_correlation, expected, atol=1e-12)
    # an example whose only true term is the rare one is missed
    np.testing.assert_array_equal(found.only_accuracy, [0, 1])
    assert found.accuracy == pytest.approx(1 - task.only_probability[0])
    assert found.loss == pytest.approx(math.log1p(math.exp(-3)) + 3 * task.only_probability[0])
    never = BooleanTask("dnf", (0.5,), ((0,), (0,)))
    judged = examples(never, 4, 10, np.random.default_rng(0))
    assert np.isnan(assess([judged.values], judged.values[0], judged).only_accuracy).all()


def test_detectors():
    run = simulate_boolean(TASK, Training((32, 32), steps=1000, learning_rate=0.01), seed=0)
    found = run.detectors(0.5)
    best = run.final.term_correlation.max(axis=1)
    np.testing.assert_array_equal(found.correlation, best)
    assert found.n_detectors.sum() == (best >= 0.5).sum()
    assert found.n_detectors.min() > 0
    np.testing.assert_allclose(found.traffic, run.on_rate * run.fan_out)


def test_large_samples_stand_in_for_truth_tables():
    task = rare_and_common_dnf(4, 5)
    run = simulate_boolean(task, Training((8,), steps=5), seed=0)
    assert not run.final.exact
    assert run.accuracy == pytest.approx(run.accuracy_trace[-1], abs=0.1)


def run_with(pruning, hidden=(4, 4)):
    return simulate_boolean(xor(), Training(hidden, steps=1), pruning, seed=0)


BAD = [
    (lambda: Training(hidden=()), "hidden must be a non-empty tuple of widths, got ()"),
    (lambda: Training(hidden=(3, 0)), "hidden must be an integer in [1, 1e6], got 0"),
    (lambda: Training(steps=0), "steps must be an integer"),
    (lambda: Training(batch=0.5), "batch must be an integer"),
    (lambda: Training(optimizer="lion"), "optimizer must be one of adam, sgd, got 'lion'"),
    (lambda: Training(learning_rate=0.0), "learning_rate must be a number in (0, 1e30], got 0.0"),
    (lambda: Training(first_decay=1.0), "first_decay must be a number in [0, 0.9999999], got 1.0"),
    (lambda: Training(second_decay=-0.1), "second_decay must be a number in [0, 0.9999999], got -0.1"),
    (lambda: Training(eps=0.0), "eps must be a number in [1e-30, 1e30], got 0.0"),
    (lambda: Training(dtype="float16"), "dtype must be one of float32, float64, got 'float16'"),
    (lambda: Training(examples=0), "examples must be an integer"),
    (lambda: Pruning("prune"), "method must be one of none, magnitude, random, threshold, controller"),
    (lambda: Pruning(layers=()), "layers must be a non-empty tuple of matrices, got ()"),
    (lambda: Pruning(layers=(1, 0)), "layers must be ascending, each once, got (1, 0)"),
    (lambda: Pruning(layers=(-1,)), "layers must be an integer in [0, 1000], got -1"),
    (lambda: Pruning(interval=0), "interval must be an integer"),
    (lambda: Pruning(warmup=-1), "warmup must be an integer"),
    (lambda: Pruning(until=-1), "until must be an integer"),
    (lambda: Pruning(ema_decay=1.0), "ema_decay must be a number in [0, 1), got 1.0"),
    (lambda: Pruning(actuator="in"), "actuator must be one of sp_out, sp_in, both, got 'in'"),
    (lambda: Pruning("threshold"), "tau must be given for method 'threshold', got None"),
    (lambda: Pruning("threshold", tau=0.0), "tau must be a number in (0, inf), got 0.0"),
    (lambda: Pruning(tau=1.0), "tau must be None for method 'none', got 1.0"),
    (lambda: Pruning("threshold", tau=1.0, cuts=-1), "cuts must be an integer in [0, 1e9], got -1"),
    (lambda: Pruning("controller", beta=1.0), "d0 must be given for method 'controller', got None"),
    (lambda: Pruning("controller", beta=0.0, d0=1.0), "beta must be a number in (0, inf), got 0.0"),
    (lambda: Pruning("controller", beta=1.0, d0=math.inf), "d0 must be a number in (-inf, inf), got inf"),
    (lambda: Pruning("magnitude"), "density must be given for method 'magnitude', got None"),
    (lambda: Pruning("random", density=0.0), "density must be a number in (0, 1], got 0.0"),
    (lambda: Pruning(min_degree=-1), "min_degree must be an integer in [0, 1e9], got -1"),
    (lambda: Pruning(min_degree=3, max_degree=2), "max_degree must be an integer in [3, 1e9], got 2"),
    (lambda: Pruning(regrow=1), "regrow must be a bool, got int"),
    (lambda: Pruning(schedule="step"), "schedule must be one of linear, exponential, cubic, got 'step'"),
    (lambda: Pruning(ramp=0), "ramp must be an integer"),
    (lambda: Pruning(scope="row"), "scope must be one of unit, global, got 'row'"),
    (
        lambda: Pruning(rescale="sqrt"),
        "rescale must be one of none, weight, incremental, forward, got 'sqrt'",
    ),
    (lambda: run_with(Pruning(layers=(3,))), "layers must be at most 2 for 2 hidden layers, got (3,)"),
    (lambda: run_with(Pruning("threshold", tau=1.0, layers=(0,))), "layers must be above 0 for SP-out"),
    (
        lambda: run_with(Pruning("threshold", tau=1.0, actuator="sp_in"), (4,)),
        "layers must be below 1 for SP-in: the output has no on-rate, got (1,)",
    ),
    (lambda: simulate_boolean("xor", seed=0), "task must be a BooleanTask, got str"),
    (lambda: simulate_boolean(xor(), 5, seed=0), "training must be a Training, got int"),
    (lambda: simulate_boolean(xor(), pruning=5, seed=0), "pruning must be a Pruning, got int"),
    (lambda: simulate_boolean(xor(), 0, seed=0), "training must be a Training, got int"),
    (lambda: simulate_boolean(xor(), pruning={}, seed=0), "pruning must be a Pruning, got dict"),
    (
        lambda: simulate_boolean(xor(), Training((10**6, 10**6)), seed=0),
        "hidden must need arrays of at most 1e+09 values, got (1000000, 1000000) for 1e+12",
    ),
    (lambda: simulate_boolean(xor(n_distractors=10**5), seed=0), "task must need arrays of at most"),
    (lambda: simulate_boolean(xor(), Training(steps=10**12), seed=0), "steps must need arrays of at most"),
    (
        lambda: simulate_boolean(xor(), Training((4,), 9, 4, "sgd", learning_rate=1e30), seed=0),
        "learning_rate must let the run stay finite, got 1e+30, which diverged by step 9",
    ),
    (lambda: simulate_boolean(xor(), seed=-1), "seed must be an integer in [0, inf), got -1"),
    (lambda: run_with(Pruning()).steps_to_fit(), "exactly one of accuracy or loss must be given, got none"),
    (lambda: run_with(Pruning()).steps_to_fit(accuracy=2), "accuracy must be a number in [0, 1], got 2"),
    (lambda: run_with(Pruning()).steps_to_fit(loss=-1), "loss must be a number in [0, inf), got -1"),
    (lambda: run_with(Pruning()).activations(np.zeros((3, 1))), "values must have shape (2, n), got (3, 1)"),
    (lambda: run_with(Pruning()).detectors(0.0), "least must be a number in (0, 1], got 0.0"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()

"""Networks trained side by side: held against the same networks trained one by one."""

import copy
import importlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from bbtheory import archive
from bbtheory.train import (
    Flow,
    Hyperflux,
    HyperfluxStack,
    NonFiniteError,
    SteerDensity,
    TensorBatches,
    classification,
    cross_entropy,
    lenet_300_100,
    load_data,
    train_epochs,
)
from experiments import fixed_pressure_lenet
from experiments._cells import SavedProgress, Task, run_cell
from experiments.protocol import Progress

PRESSURES, SEEDS, EPOCHS, RATE, N = (4.0, 64.0, 4.0), (0, 0, 1), 3, 3e-3, 300
FLOOR = -0.02  # reached
TINY = replace(
    fixed_pressure_lenet.SMOKE,
    exponents=(-3, 3),
    seeds=(0, 1),
    epochs=4,
    n_removed=5,
    flow_rate=1e-2,
    standardize=False,
)


@pytest.fixture(scope="module")
def digits():
    data = load_data("digits")
    x, y = torch.from_numpy(data.flat("train")[:N]).double(), torch.from_numpy(data.y_train[:N].copy())
    return x - x.mean(), y  # inputs below 0 too: no ReLU comes before the first layer


def made(i):
    model = lenet_300_100(64, 10, seed=SEEDS[i]).double()
    return Hyperflux(model, PRESSURES[i], interval=5, flow=Flow(lr=2e-2), floor=FLOOR, seed=SEEDS[i])


def side_by_side(x, y, *, fluxes=None, rates=(RATE,) * EPOCHS, device="cpu"):
    fluxes = fluxes or [made(i) for i in range(3)]
    x, y = x.to(device), y.to(device)
    stack = HyperfluxStack(fluxes, x, y, learning_rate=RATE)
    batches = [TensorBatches(x, y, 64, seed=seed) for seed in SEEDS]
    found = []
    for epoch in range(EPOCHS):
        stack.learn_at(rates[epoch])
        loss = stack.epoch(torch.stack([each.order(epoch) for each in batches]), 64)
        found.append(torch.stack([loss, stack.density(), stack.accuracy(x, y)]).cpu().numpy())
    stack.put_back()
    return fluxes, np.array(found)


@pytest.fixture(scope="module")
def stacked(digits):
    return side_by_side(*digits)


@pytest.mark.parametrize("i", range(3))
def test_as_trained_alone(i, digits, stacked):
    """In float64 the two differ by rounding, after 15 steps in which most weights leave."""
    x, y = digits
    alone = made(i)
    optimizer = torch.optim.Adam(alone.model.parameters(), RATE)
    run = train_epochs(
        alone.model,
        optimizer,
        TensorBatches(x, y, 64, seed=SEEDS[i]),
        epochs=EPOCHS,
        loss=cross_entropy,
        pruner=alone,
        evaluate=classification(x, y),
    )
    fluxes, found = stacked
    np.testing.assert_allclose(found[:, 0, i], run.loss, rtol=1e-9)
    np.testing.assert_array_equal(found[:, 1, i], run.density)
    np.testing.assert_array_equal(found[:, 2, i], run.metric("accuracy"))
    assert run.density[-1] < 0.9, "something has left"
    for name, weight in alone.weights.items():
        ours = fluxes[i].weights[name]
        assert torch.equal(ours.mask, weight.mask)
        torch.testing.assert_close(ours.t, weight.t, rtol=0, atol=1e-9)
        torch.testing.assert_close(ours.parameter, weight.parameter, rtol=0, atol=1e-9)
        torch.testing.assert_close(ours.dormant, weight.dormant, rtol=0, atol=1e-9)
        if i:
            other = fluxes[0].weights[name]
            assert not torch.allclose(ours.t, other.t, atol=1e-3), "negative control: another network"
    fluxes[i].verify()
    mine = fluxes[i].model.state_dict()
    for name, bias in alone.model.state_dict().items():
        torch.testing.assert_close(mine[name], bias, rtol=0, atol=1e-9)


def test_rates_and_smoothing_matter(digits, stacked):
    _, found = stacked
    _, slower = side_by_side(*digits, rates=(RATE, 0.1 * RATE, 0.1 * RATE))
    np.testing.assert_array_equal(slower[0], found[0])
    assert (slower[2, 0] > found[2, 0]).all(), "weights learn more slowly"
    smoothed = HyperfluxStack([made(0)], *digits, learning_rate=RATE, smoothing=0.1)
    plain = HyperfluxStack([made(0)], *digits, learning_rate=RATE)
    order = torch.arange(N)[None]
    assert float(smoothed.epoch(order, 64)) != float(plain.epoch(order, 64))


def test_a_loss_that_is_no_number_names_its_network(digits):
    fluxes = [made(i) for i in range(3)]
    with torch.no_grad():
        fluxes[1].model[-1].bias[0] = math.nan
    with pytest.raises(NonFiniteError, match=r"networks \[1\]"):
        side_by_side(*digits, fluxes=fluxes)


def test_one_cell_holds_what_the_cells_hold():
    """In float32 rounding grows to a few weights of 50,000."""
    apart = [fixed_pressure_lenet.run(c, Progress()) for c in fixed_pressure_lenet.cells(TINY)]
    wide = replace(TINY, stacked=True)
    (setting,) = fixed_pressure_lenet.cells(wide)
    whole = fixed_pressure_lenet.run(setting, Progress())
    ours = fixed_pressure_lenet.collect(wide, [whole])
    theirs = fixed_pressure_lenet.collect(TINY, apart)
    assert ours.courses.shape == (2, 2, 4)
    np.testing.assert_allclose(ours.courses, theirs.courses, atol=5e-4)
    np.testing.assert_allclose(ours.accuracies, theirs.accuracies, atol=0.02)
    # of the weaker pressure: under the stronger one other weights are drawn for removal
    assert ours.rows[0].flux_median == pytest.approx(theirs.rows[0].flux_median, rel=1e-3)
    assert [(row.pressure, row.n) for row in ours.rows] == [(0.125, 2), (8.0, 2)]
    last = ours.courses[:, :, -1]
    assert abs(last[0] - last[1]).min() > 0.3, "negative control: pressures tell"
    assert abs(last[:, 0] - last[:, 1]).min() > 1e-3, "negative control: seeds tell"


def test_stacked_networks_go_on_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(fixed_pressure_lenet, "_SAVE_EVERY", 2)
    config = replace(TINY, stacked=True)
    whole = fixed_pressure_lenet.run(config, Progress())
    task = Task("experiments", "fixed_pressure_lenet", config, tmp_path / "cell.json", None, math.inf)

    class CutOff(Exception):  # noqa: N818  # it ends a run, nothing is wrong
        pass

    class Cut(SavedProgress):
        def save(self, state):
            super().save(copy.deepcopy(state))
            raise CutOff

    with pytest.raises(CutOff):
        importlib.import_module("experiments.fixed_pressure_lenet").run(config, Cut(task))
    assert task.state.exists()
    outcome = run_cell(task)
    assert outcome.status == archive.OK
    for ours, theirs in zip(outcome.result.networks, whole.networks, strict=True):
        np.testing.assert_array_equal(ours.density, theirs.density)
        np.testing.assert_array_equal(ours.loss, theirs.loss)
        assert ours.flux_median == theirs.flux_median


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"flow": Flow("sgd", 1.0)}, "flow Flow.*'sgd'"),
        ({"gate": "sigmoid"}, "gate 'sigmoid'"),
        ({"floor": -0.2}, "floor -0.2"),
        ({"pressure": lambda k: 1.0}, "pressure of .*PressureRule"),
        ({"pressure": SteerDensity(0.1, pruning=5, regrowth=5)}, "pressure of .*SteerDensity"),
        ({"exclude": ["fc2"]}, r"\['fc1', 'fc3'\]"),
        ({"flow": Flow(lr=1e-2)}, "lr=0.01"),
    ],
)
def test_what_cannot_be_stacked(digits, change, match):
    settings = {"pressure": 1.0, "flow": Flow(lr=2e-2), "floor": FLOOR, **change}
    odd = Hyperflux(lenet_300_100(64, 10).double(), settings.pop("pressure"), interval=5, **settings)
    with pytest.raises(ValueError, match=f"fluxes must be.*{match}.*network 1"):
        HyperfluxStack([made(0), odd], *digits, learning_rate=RATE)


def test_other_networks_are_refused(digits):
    trained = made(0)
    cross_entropy(trained.model, (digits[0], digits[1])).backward()
    torch.optim.SGD(trained.model.parameters(), 0.1).step()
    trained.step()
    smooth = torch.nn.Sequential(torch.nn.Linear(64, 9), torch.nn.Tanh(), torch.nn.Linear(9, 10)).double()
    for odd, match in (
        (trained, "step 1"),
        (Hyperflux(lenet_300_100(64, 9).double(), 1.0, flow=Flow(lr=2e-2), floor=FLOOR), "shapes.*9"),
        (Hyperflux(smooth, 1.0, flow=Flow(lr=2e-2), floor=FLOOR), "Tanh"),
    ):
        with pytest.raises(ValueError, match=match):
            HyperfluxStack([made(0), odd], *digits, learning_rate=RATE)


@pytest.mark.gpu
def test_a_captured_step_is_the_step(digits, stacked):
    """On the device in float64: from the fourth step on a graph is replayed."""
    fluxes, found = side_by_side(*digits, device="cuda")
    np.testing.assert_allclose(found, stacked[1], rtol=1e-6)
    for ours, theirs in zip(fluxes, stacked[0], strict=True):
        for name in ours.weights:
            torch.testing.assert_close(ours.weights[name].t.cpu(), theirs.weights[name].t, rtol=0, atol=1e-6)

"""What ends a run with Hyperflux, from the loop's call to the state it goes on from."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch

from bbtheory.train import (
    Flow,
    FollowTrajectory,
    Hyperflux,
    NonFiniteError,
    TensorBatches,
    TrainingRun,
    classification,
    cross_entropy,
    train_epochs,
)
from small_models import batch, cut_are_zero, mlp

X, Y = batch(0, 96, 20), torch.arange(96) % 5  # 6 batches of 16
SMALL, LARGE = (20, 40, 30, 5), (20, 400, 30, 5)  # by tensor operations, by compiled loops


class Setup:
    """A network under pressure, its optimizer, and the states its training has given."""

    def __init__(self, pressure: Any = 0.3, widths=SMALL, **settings):
        self.model = mlp(0, widths)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-2)
        self.flux = Hyperflux(self.model, pressure, **{"interval": 6, "flow": Flow(lr=0.02), **settings})
        self.states = []

    def train(self, epochs, loss=cross_entropy, state=None) -> TrainingRun:
        return train_epochs(
            self.model,
            self.optimizer,
            TensorBatches(X, Y, 16),
            epochs=epochs,
            loss=loss,
            pruner=self.flux,
            evaluate=classification(X, Y),
            state=state,
            on_epoch=self.states.append,
        )


def values(setup):
    """All that a run carries on."""
    return [
        *(p.detach().clone() for p in setup.model.parameters()),
        *(w.t.clone() for w in setup.flux.weights.values()),
        *(w.dormant.clone() for w in setup.flux.weights.values()),
    ]


def equal(one, two):
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("widths", [SMALL, LARGE])
def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(bad, widths):
    broken, n_calls = Setup(widths=widths), [0]

    def loss(model, samples):
        n_calls[0] += model.training
        return cross_entropy(model, samples) * (bad if n_calls[0] == 15 else 1.0)

    with pytest.raises(NonFiniteError, match=r"step 15 in epoch 3"):
        broken.train(5, loss)
    assert len(broken.states) == 2
    assert broken.flux.step_count == 14  # the bad batch moved nothing
    assert cut_are_zero(broken.flux)
    broken.flux.verify()
    assert all(bool(torch.isfinite(v).all()) for v in values(broken))
    whole, resumed = Setup(widths=widths), Setup(widths=widths)
    run = whole.train(5)
    assert resumed.train(5, state=broken.states[-1]) == run
    assert equal(values(resumed), values(whole))
    assert run.density[-1] < 0.9


@pytest.mark.parametrize("widths", [SMALL, LARGE])
def test_gradients_that_are_not_finite_behind_a_finite_loss(widths):
    """The slope of a root at 0: weights are lost with that step, presence and the checkpoint are not."""
    broken = Setup(widths=widths)

    def loss(model, samples):
        value = cross_entropy(model, samples)
        return value if len(broken.states) < 2 else value + torch.sqrt(0.0 * model[0].weight.sum())

    with pytest.raises(NonFiniteError, match="gradients of layer '0'"):
        broken.train(5, loss)
    assert broken.flux.step_count == 12
    assert all(bool(torch.isfinite(w.t).all()) for w in broken.flux.weights.values())
    whole, resumed = Setup(widths=widths), Setup(widths=widths)
    assert resumed.train(4, state=broken.states[-1]) == whole.train(4)
    assert equal(values(resumed), values(whole))


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_pressure_that_goes_wrong_on_the_way(bad):
    broken = Setup(lambda interval: bad if interval == 4 else 0.3)
    with pytest.raises(ValueError, match=r"pressure must be .* got (-1|nan|inf)"):
        broken.train(5)
    assert len(broken.states) == 2
    broken.flux.verify()
    whole, resumed = Setup(), Setup()
    assert resumed.train(4, state=broken.states[-1]) == whole.train(4)
    for bad_rule in (bad, lambda interval: bad):
        with pytest.raises(ValueError, match="pressure must be"):
            Setup(bad_rule)


def test_one_layer_without_weights_is_named_and_the_run_ends_with_its_record(tmp_path):
    setup = Setup(0.0)
    setup.flux.weights["2"].t.fill_(-5.0)  # so deep that it cannot return
    setup.flux.weights["2"]._present()
    with pytest.warns(UserWarning, match=r"layer 2 is pruned at step 6: what it puts out"):
        run = setup.train(50)
    assert run.epoch.tolist() == [1]
    assert setup.flux.stopped.startswith("every weight of layer 2 is pruned")
    assert setup.flux.empty_layers == ("2",)
    run.save(tmp_path / "run.json")
    assert TrainingRun.load(tmp_path / "run.json") == run
    report = setup.flux.finish()
    assert report.n_kept == 20 * 40 + 30 * 5
    # what has stopped stays so
    again = Setup(0.0)
    assert again.train(50, state=setup.states[-1]) == run
    assert again.flux.stopped == setup.flux.stopped


def test_a_run_that_may_go_on_empty_says_so_once():
    setup = Setup(1e4, stop_when_empty=False)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        run = setup.train(12)
    assert run.epoch.size == 12
    assert run.density[-1] == 0.0
    named = [str(w.message) for w in seen if "every weight of layer" in str(w.message)]
    layers = [word.strip(",") for line in named for word in line[:-1].split(" is ")[0].split()[4:]]
    assert sorted(layers) == ["0", "2", "4"]
    assert setup.flux.stopped == ""


def test_a_target_above_what_is_left_is_met_from_an_empty_network():
    setup = Setup(FollowTrajectory(0.1, 100), widths=SMALL)
    for weight in setup.flux.weights.values():
        weight.t.sub_(5.0)
        weight._present()
    assert setup.flux.n_kept == 0
    assert setup.flux.finish().n_kept == 215  # a tenth of 2150
    setup.flux.verify()

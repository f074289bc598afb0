"""The training loop: what an epoch is, that an interrupted run is as one that was not, bad input."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch
from torch import nn

from bbtheory.train import (
    SET,
    BudgetedBroadcast,
    Magnitude,
    NonFiniteError,
    Random,
    RigL,
    TensorBatches,
    TrainingRun,
    classification,
    cross_entropy,
    lenet_300_100,
    load_data,
    mlp,
    train_epochs,
)
from bbtheory.train.seeding import stream_seed

torch.set_num_threads(1)
RNG = np.random.default_rng(0)
X, Y = torch.from_numpy(RNG.normal(size=(70, 6)).astype(np.float32)), torch.from_numpy(RNG.integers(0, 3, 70))


def network(dropout: bool = False) -> nn.Sequential:
    model = mlp((6, 20, 15, 3), seed=1)
    if dropout:
        model = nn.Sequential(*list(model)[:4], nn.Dropout(0.3), nn.BatchNorm1d(15), model[4])
    return model


def fit(epochs=3, model=None, optimizer=None, **settings):
    model = network() if model is None else model
    optimizer = torch.optim.Adam(model.parameters(), 1e-2) if optimizer is None else optimizer
    batches = settings.pop("batches", TensorBatches(X, Y, 16, seed=5))
    settings.setdefault("loss", cross_entropy)
    return model, train_epochs(model, optimizer, batches, epochs=epochs, **settings)


def equal(one: nn.Module, two: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )


# batches


def test_an_epoch_holds_every_sample_once_and_its_order_follows_from_seed_and_epoch():
    samples = TensorBatches(torch.arange(10), torch.arange(10) * 2, 4, seed=3)
    assert len(samples) == 3
    first = [x for x, _ in samples(0)]
    assert [len(x) for x in first] == [4, 4, 2]
    assert sorted(torch.cat(first).tolist()) == list(range(10))
    assert all(torch.equal(y, 2 * x) for x, y in samples(0))
    again = torch.cat([x for x, _ in samples(0)])
    assert torch.equal(torch.cat(first), again)
    assert not torch.equal(torch.cat([x for x, _ in samples(1)]), again)
    assert TensorBatches(np.ones((3, 2)), [0, 1, 0], 2).x.dtype == torch.float32
    other = TensorBatches(torch.arange(10), torch.arange(10), 4, seed=4)
    assert not torch.equal(torch.cat([x for x, _ in other(0)]), again)
    assert [len(x) for x, _ in TensorBatches(torch.arange(10), torch.arange(10), 4, drop_last=True)(0)] == [
        4,
        4,
    ]


def test_orders_are_permutations_without_a_preference():
    """The first sample of an epoch is uniform: chi-squared over 1000 epochs, 9 degrees of freedom."""
    samples = TensorBatches(torch.arange(10), torch.arange(10), 1, seed=0)
    firsts = [int(next(iter(samples(epoch)))[0]) for epoch in range(1000)]
    counts = np.bincount(firsts, minlength=10)
    assert ((counts - 100) ** 2 / 100).sum() < 27.9  # p = 0.001


def test_a_plain_generator_of_the_same_seed_repeats_the_weights_and_ours_does_not():
    """The trap: a mask ranked by the numbers that made the weights keeps the largest of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Linear(100, 100)
    rank = {
        "plain": torch.rand(100, 100, generator=torch.Generator().manual_seed(0)),
        "own": torch.rand(100, 100, generator=torch.Generator().manual_seed(stream_seed(0, "pruner"))),
    }
    found = {
        k: float(np.corrcoef(v.flatten(), layer.weight.detach().flatten())[0, 1]) for k, v in rank.items()
    }
    assert found["plain"] > 0.99
    assert abs(found["own"]) < 4.0 / 100.0  # four standard errors of n = 10,000
    model = lenet_300_100(20, seed=0)
    pruner = Random(model, 0.3, seed=0)
    before = pruner.weights["fc1"].parameter.detach().clone()
    pruner.refresh()
    assert abs(float(before[pruner.weights["fc1"].mask].mean())) < 4 * float(before.std()) / math.sqrt(1800)


# the loop


def test_it_is_the_loop_one_would_write():
    model, run = fit(2, clip=0.5)
    own = network()
    optimizer = torch.optim.Adam(own.parameters(), 1e-2)
    losses = []
    for epoch in range(2):
        total = 0.0
        for x, y in TensorBatches(X, Y, 16, seed=5)(epoch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(own(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(own.parameters(), 0.5)
            optimizer.step()
            total += float(loss.detach())
        losses.append(total / 5)
    assert equal(model, own)
    assert run.loss == pytest.approx(losses, rel=1e-12)
    assert run.step.tolist() == [5, 10]
    assert run.epoch.tolist() == [1, 2]
    assert run.density.tolist() == [1.0, 1.0]
    assert run.metric_names == ()
    assert run.metrics.shape == (2, 0)


def test_it_learns_digits():
    digits = load_data()
    model = lenet_300_100(64, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    run = train_epochs(
        model,
        optimizer,
        TensorBatches(digits.x_train / np.float32(16), digits.y_train, 32),
        epochs=3,
        loss=cross_entropy,
        evaluate=classification(digits.x_test / np.float32(16), digits.y_test),
    )
    assert run.metric("accuracy")[-1] > 0.85
    assert run.metric("test_loss")[-1] < 0.5
    assert (np.diff(run.loss) < 0).all()
    with pytest.raises(ValueError, match="accuracy, test_loss"):
        run.metric("f1")


def test_accumulated_batches_make_one_step():
    """Two batches of 16 accumulated are one of 32, the last group being smaller."""
    whole, run = fit(1, batches=[(X[:32], Y[:32]), (X[32:64], Y[32:64]), (X[64:], Y[64:])])
    parts = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 64, 16)] + [(X[64:], Y[64:])]
    accumulated, other = fit(1, batches=parts, accumulate=2)
    assert run.step.tolist() == other.step.tolist() == [3]
    for one, two in zip(whole.parameters(), accumulated.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-5)  # float32 sums in another order


def test_schedulers_step_per_epoch_or_per_step():
    for per, n in (("epoch", 3), ("step", 15)):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        fit(3, model, optimizer, scheduler=scheduler, scheduler_per=per)
        assert optimizer.param_groups[0]["lr"] == 0.5**n


def test_mixed_precision_and_nested_batches():
    def loss(model, batch):
        assert isinstance(batch, dict)
        return nn.functional.cross_entropy(model(batch["x"][0]), batch["y"]).float()

    batches = [{"x": [X], "y": Y}]
    model, run = fit(2, batches=batches, loss=loss, autocast=torch.bfloat16)
    exact, _ = fit(2, batches=batches, loss=loss)
    assert not equal(model, exact)
    for one, two in zip(model.parameters(), exact.parameters(), strict=True):
        assert torch.allclose(one, two, atol=0.05)  # two Adam steps of 0.01, either sign
    assert np.isfinite(run.loss).all()


def test_modes_and_global_generators_are_left_as_they_were():
    model = network(dropout=True)
    model[4].eval()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    fit(1, model)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert not model[4].training


def test_steps_and_history_are_reported():
    seen = []
    model = network()
    pruner = BudgetedBroadcast(model, 0.5, interval=3, warmup=4)
    _, run = fit(2, model, pruner=pruner, on_step=seen.append, evaluate=classification(X, Y))
    assert seen == list(range(1, 11))
    assert pruner.step_count == 10
    assert pruner.n_refreshes == 3
    assert run.density[-1] == pruner.current_density
    assert pruner.history.step.tolist() == [5, 10]
    assert pruner.history.accuracy.tolist() == run.metric("accuracy").tolist()


PRUNERS = {
    "bb": lambda m: BudgetedBroadcast(m, 0.4, sp_out=True, interval=3, warmup=4, burn_in=2),
    "zero": lambda m: BudgetedBroadcast(m, 0.4, interval=3, warmup=4, dormant="zero", growth="gradient"),
    "magnitude": lambda m: Magnitude(m, 0.4, schedule="gradual", rounds=4, interval=3, warmup=4),
    "set": lambda m: SET(m, 0.4, interval=3),
    "rigl": lambda m: RigL(m, 0.4, until=15, interval=3),
    "dense": lambda m: None,
}


@pytest.mark.parametrize("name", PRUNERS)
def test_a_resumed_run_is_bit_identical(name):
    def whole(state=None, save=None, seed=7):
        model = network(dropout=True)
        pruner = PRUNERS[name](model)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2, amsgrad=True)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=20)
        _, run = fit(
            4,
            model,
            optimizer,
            pruner=pruner,
            scheduler=scheduler,
            scheduler_per="step",
            evaluate=classification(X, Y),
            seed=seed,
            state=state,
            on_epoch=save,
        )
        return model, run, pruner, optimizer

    states: list[dict] = []
    model, run, pruner, optimizer = whole(save=states.append)
    assert [s["epoch"] for s in states] == [1, 2, 3, 4]
    for state in (states[1], states[3]):
        torch.manual_seed(99)  # what another process would have drawn
        resumed, run_too, pruner_too, optimizer_too = whole(state)
        assert run_too == run
        assert equal(resumed, model)
        for a, b in zip(optimizer.state.values(), optimizer_too.state.values(), strict=True):
            assert all(torch.equal(a[k], b[k]) for k in a)
        if pruner is not None:
            assert pruner_too.history == pruner.history
            assert all(torch.equal(w.mask, pruner_too.weights[n].mask) for n, w in pruner.weights.items())
    # negative control: one other draw of dropout in the last epoch shows
    assert not equal(whole(states[2], seed=8)[0], model)


def test_a_saved_state_survives_the_driver(tmp_path):
    from experiments._cells import SavedProgress, Task

    progress = SavedProgress(Task("experiments", "x", None, tmp_path / "a.json", None, math.inf))
    _, run = fit(3, on_epoch=lambda state: progress.save({"run": state, "other": 1.5}))
    saved = progress.restore()
    assert saved is not None
    assert saved["other"] == 1.5
    _, again = fit(3, state=saved["run"])
    assert again == run


def test_the_record_round_trips(tmp_path):
    _, run = fit(2, evaluate=classification(X, Y))
    run.save(tmp_path / "run.json")
    assert TrainingRun.load(tmp_path / "run.json") == run
    assert list(run.to_frame().columns) == ["epoch", "step", "loss", "density"]


# failure and bad input


def test_a_loss_that_is_not_finite_stops_before_it_does_harm():
    states = []

    def loss(model, batch):
        value = cross_entropy(model, batch)
        return value * (math.nan if len(states) == 2 else 1.0)

    model = network()
    with pytest.raises(NonFiniteError, match=r"step 11 in epoch 3"):
        fit(4, model, loss=loss, on_epoch=states.append)
    assert model.training
    good = network()
    _, run = fit(2, good, state=states[-1])
    assert equal(good, model)
    assert run.step.tolist() == [5, 10]


def test_states_of_other_runs_are_refused():
    states: list[dict] = []
    fit(1, on_epoch=states.append)
    model = network()
    refused = {
        "got something else": {"epoch": 1},
        "damaged": dict(states[0], checkpoint=states[0]["checkpoint"][:100]),
    }
    for message, state in refused.items():
        with pytest.raises(ValueError, match=message):
            fit(2, state=state)
    with pytest.raises(ValueError, match="with a pruner"):
        fit(2, model, pruner=Random(model, 0.5), state=states[0])
    with pytest.raises(ValueError, match="the same model"):
        fit(2, mlp((6, 4, 3)), state=states[0])
    other = network()
    with pytest.raises(ValueError, match="the same optimizer"):
        fit(2, other, torch.optim.SGD([{"params": [p]} for p in other.parameters()], 0.1), state=states[0])


NAMES = iter("ab")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be"),
        ({"epochs": 1.5}, "epochs must be"),
        ({"model": "network"}, "model must be a Module"),
        ({"optimizer": "adam"}, "optimizer must be a Optimizer"),
        ({"clip": 0.0}, "clip must be"),
        ({"accumulate": 0}, "accumulate must be"),
        ({"seed": -1}, "seed must be"),
        ({"scheduler_per": "batch"}, "scheduler_per must be"),
        ({"autocast": torch.float64}, "autocast must be"),
        ({"batches": []}, "at least one batch in epoch 1"),
        ({"batches": iter([(X, Y)])}, "at least one batch in epoch 2"),
        ({"evaluate": lambda m, n=NAMES: {next(n): 0.0}}, "evaluate must return a"),
    ],
)
def test_bad_input(settings, message):
    settings = {"epochs": 2, "model": network(), **settings}
    optimizer = settings.pop("optimizer", None)
    if optimizer is None and isinstance(settings["model"], nn.Module):
        optimizer = torch.optim.SGD(settings["model"].parameters(), 0.1)
    elif optimizer is None:
        optimizer = torch.optim.SGD(network().parameters(), 0.1)
    with pytest.raises(ValueError, match=message):
        fit(optimizer=optimizer, **settings)


def test_a_pruner_of_another_model_is_refused_but_not_of_a_wrapped_one():
    with pytest.raises(ValueError, match="pruner must prune the model"):
        fit(1, pruner=Random(network(), 0.5))
    inner = network()
    fit(1, nn.Sequential(inner), pruner=Random(inner, 0.5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"x": X[:5]}, "the same number of samples"),
        ({"x": torch.zeros(())}, "the same number of samples"),
        ({"x": X[:0], "y": Y[:0]}, "hold a batch"),
        ({"batch": 71, "drop_last": True}, "hold a batch"),
        ({"batch": 0}, "batch must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_batches(settings, message):
    with pytest.raises(ValueError, match=message):
        TensorBatches(**{"x": X, "y": Y, "batch": 4, **settings})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mlp((5,)), "widths must name"),
        (lambda: mlp((5, 0)), "widths must be"),
        (lambda: mlp((5, 3), seed=-1), "seed must be"),
        (lambda: lenet_300_100(0), "n_inputs must be"),
        (lambda: lenet_300_100(n_classes=-2), "n_classes must be"),
        (lambda: stream_seed(-1, "a"), "seed must be"),
        (lambda: stream_seed(1, "a", -1), "index must be"),
    ],
)
def test_bad_models(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_lenet_has_its_size_and_its_seed():
    model = lenet_300_100()
    assert sum(p.numel() for n, p in model.named_parameters() if n.endswith("weight")) == 266_200
    assert model(torch.zeros(2, 28, 28)).shape == (2, 10)
    assert equal(model, lenet_300_100())
    assert not equal(model, lenet_300_100(seed=1))

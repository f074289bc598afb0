"""What the rivals have in common: exact densities, cut weights at zero, saliency, copies, resumption, bad input."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from bbtheory.train import (
    SET,
    Gradient,
    Magnitude,
    NonFiniteError,
    Pruner,
    Random,
    RigL,
    Taylor,
    TopKActivation,
    Wanda,
)
from small_models import Attention, ConvNet, batch, cut_are_zero, mlp, train

ONCE_MORE = {"schedule": "constant", "dormant": "stored", "interval": 4, "warmup": 5}
RIVALS = {
    "magnitude": lambda m, **k: Magnitude(m, 0.3, **ONCE_MORE, **k),
    "random": lambda m, **k: Random(m, 0.3, interval=4, warmup=5, redraw=True, **k),
    "gradient": lambda m, **k: Gradient(m, 0.3, batches=3, **ONCE_MORE, **k),
    "taylor": lambda m, **k: Taylor(m, 0.3, batches=3, **ONCE_MORE, **k),
    "wanda": lambda m, **k: Wanda(m, 0.3, batches=3, **ONCE_MORE, **k),
    "set": lambda m, **k: SET(m, 0.3, interval=4, warmup=5, grown_std=0.1, **k),
    "rigl": lambda m, **k: RigL(m, 0.3, interval=4, warmup=5, until=40, **k),
}
OPTIMIZERS = {
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-2),
    "adam": lambda p: torch.optim.Adam(p, 1e-2),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", RIVALS)
def test_density_is_exact_at_every_refresh(kind, optimizer):
    model = mlp()
    opt = OPTIMIZERS[optimizer](model.parameters())
    pruner = RIVALS[kind](model)
    masks = set()
    for step in range(1, 26):
        train(model, opt, pruner, steps=[step])
        assert pruner.current_density == (1.0 if step < 5 else 645 / 2150)
        assert cut_are_zero(pruner)
        masks.add(bytes(pruner.weights["0"].mask.numpy()))
    assert pruner.n_refreshes == 6
    assert len(masks) > 3  # they were chosen anew
    pruner.record(0.5)
    assert pruner.history.saliency[0] == pruner.largest_removed > 0.0
    assert pruner.mean_kept > 0.0
    assert pruner.finish().n_kept == 645
    pruner.remove()
    assert not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())
    assert not any(m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("kind", RIVALS)
def test_convolutions(kind, granularity):
    model = ConvNet()
    opt = OPTIMIZERS["momentum"](model.parameters())
    pruner = RIVALS[kind](model, granularity=granularity)
    train(model, opt, pruner, steps=range(1, 12), shape=(8, 3, 8, 8))
    link = max(w.link_size for w in pruner.weights.values())
    assert abs(pruner.n_kept - 0.3 * pruner.n_weights) < link
    assert cut_are_zero(pruner)
    if granularity == "channel":
        kernels = pruner.weights["conv2"].parameter.detach().ne(0).sum((2, 3))
        assert set(kernels.unique().tolist()) <= {0, 9}
    pruner.finish()


@pytest.mark.parametrize("kind", [*RIVALS, "topk"])
def test_a_resumed_run_is_the_same_to_the_bit(kind):
    make = RIVALS.get(kind) or (lambda m: TopKActivation(m, 0.3, warmup=5))

    def start(seed=0):
        model = mlp(seed)
        return model, OPTIMIZERS["adam"](model.parameters()), make(model)

    model, opt, pruner = start()
    train(model, opt, pruner, steps=range(1, 12))  # within a window: the next refresh is at step 13
    pruner.record(0.5)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "opt": opt.state_dict(), "pruner": pruner.state_dict()}, file)
    train(model, opt, pruner, steps=range(12, 23))
    again, opt2, pruner2 = start(seed=3)
    train(again, opt2, pruner2, steps=range(7))  # a state that must be overwritten whole
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again.load_state_dict(saved["model"])
    opt2.load_state_dict(saved["opt"])
    pruner2.load_state_dict(saved["pruner"])
    train(again, opt2, pruner2, steps=range(12, 23))
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert pruner2.saliency() == pruner.saliency()
    assert pruner2.n_refreshes == pruner.n_refreshes
    assert all(torch.equal(w.mask, pruner2.weights[n].mask) for n, w in pruner.weights.items())


@pytest.mark.parametrize("kind", [*RIVALS, "topk"])
def test_copied_together(kind):
    make = RIVALS.get(kind) or (lambda m: TopKActivation(m, 0.3, warmup=5))
    model = mlp()
    opt = OPTIMIZERS["adam"](model.parameters())
    pruner = make(model)
    train(model, opt, pruner, steps=range(1, 12))
    model2, opt2, pruner2 = copy.deepcopy((model, opt, pruner))
    alone = copy.deepcopy(model)
    train(model, opt, pruner, steps=range(12, 20))
    train(model2, opt2, pruner2, steps=range(12, 20))
    for one, two in zip(model.parameters(), model2.parameters(), strict=True):
        assert torch.equal(one, two)
    alone(batch(1, 8, 20)).sum().backward()
    assert all(len(m._forward_hooks) <= 1 for m in model2.modules())


def test_density_one_is_dense():
    """The dense run goes through the same pruner: the same weights as without one, to the bit."""
    plain, model = mlp(), mlp()
    train(plain, OPTIMIZERS["adam"](plain.parameters()), steps=range(1, 16))
    opt = OPTIMIZERS["adam"](model.parameters())
    pruner = Pruner(model, 1.0, interval=3)
    train(model, opt, pruner, steps=range(1, 16))
    assert pruner.finish().density == 1.0
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True))


def test_cut_for_good_or_not():
    for dormant, returned in (("zero", False), ("stored", True)):
        model = mlp()
        opt = OPTIMIZERS["momentum"](model.parameters())
        pruner = Magnitude(model, 0.5, schedule="constant", dormant=dormant, interval=2, warmup=2)
        train(model, opt, pruner, steps=range(1, 3))
        before = pruner.weights["0"].mask.clone()
        train(model, opt, pruner, steps=range(3, 30))
        assert bool((pruner.weights["0"].mask & ~before).any()) == returned


def test_two_passes_of_half_a_batch_are_one_of_the_whole():
    """Gradient accumulation: RigL sees the sum, so that masks agree."""
    masks = []
    for parts in (1, 2):
        model = mlp()
        opt = torch.optim.SGD(model.parameters(), 0.05)
        pruner = RigL(model, 0.3, interval=3, until=1000, fraction=1.0, allocation="layer")
        for step in range(1, 4):
            opt.zero_grad()
            for part in batch(step, 32, 20).chunk(parts):
                ((model(part) - 0.3).pow(2).mean() / parts).backward()
            opt.step()
            pruner.step()
        masks.append(torch.cat([w.mask.flatten() for w in pruner.weights.values()]))
    assert torch.equal(*masks)


def test_what_is_not_finite_refuses_a_refresh():
    for make in (Taylor, Wanda):
        model = mlp()
        pruner = make(model, 0.3, warmup=3)
        x = batch(0, 4, 20)
        x[0, 0] = float("inf")
        pruner.calibrate([x], lambda m, b: m(b).sum())
        with pytest.raises(NonFiniteError, match="measured of layer '0'"):
            pruner.refresh()
        assert pruner.current_density == 1.0
        pruner.calibrate([batch(0, 4, 20)], lambda m, b: m(b).sum())  # what is seen later counts again
        pruner.refresh()
        assert pruner.current_density == 0.3


def test_a_skipped_step_is_not_measured():
    model = mlp()
    opt = torch.optim.SGD(model.parameters(), 0.0)
    pruner = Gradient(model, 0.3, warmup=3)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step, factor in enumerate((1.0, 1.0, float("inf"), 1.0), 1):
        opt.zero_grad()
        scaler.scale(factor * model(batch(step, 8, 20)).sum()).backward()
        scaler.step(opt)
        scaler.update()
        pruner.step()
    assert pruner.step_count == 3
    assert pruner.current_density == 0.3


def test_calibration_leaves_the_model_as_it_was():
    for make in (Taylor, Wanda):
        model = nn.Sequential(
            nn.Linear(20, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Dropout(), nn.Linear(30, 5)
        )
        pruner = make(model, 0.3, warmup=10)
        model[1].eval()
        before = copy.deepcopy(model.state_dict())
        pruner.calibrate([batch(i, 8, 20) for i in range(3)], lambda m, b: m(b).sum())
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        assert all(p.grad is None for p in model.parameters())
        assert model.training
        assert not model[1].training
        model(batch(5, 8, 20)).sum().backward()  # measured no more
        assert {float(r.count) for r in pruner.recorders.values()} <= {3.0, 24.0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Magnitude(mlp(), 0.0), "density"),
        (lambda: Magnitude(mlp(), 0.5, schedule="cubic"), "schedule"),
        (lambda: Magnitude(mlp(), 0.5, rounds=0), "rounds"),
        (lambda: Magnitude(mlp(), 0.5, kept=1.0), "kept"),
        (lambda: Magnitude(mlp(), 0.5, dormant="lost"), "dormant"),
        (lambda: Magnitude(mlp(), 0.5, allocation="column"), "allocation"),
        (lambda: Random(mlp(), 0.5, redraw=1), "redraw"),
        (lambda: Taylor(mlp(), 0.5, batches=0), "batches"),
        (lambda: Taylor(mlp(), 0.5).refresh(), "nothing measured of layer '0'"),
        (lambda: Taylor(mlp(), 0.5).calibrate([batch(0, 4, 20)]), "forward must be given"),
        (lambda: Wanda(mlp(), 0.5).calibrate([]), "loader"),
        (lambda: Wanda(Attention(), 0.5), "'attention.in_proj' is not seen; exclude it"),
        (lambda: SET(mlp(), 0.5, fraction=1.5), "fraction"),
        (lambda: SET(mlp(), 0.5, decay=True), "until must be given"),
        (lambda: SET(mlp(), 0.5, decay=1), "decay"),
        (lambda: SET(mlp(), 0.5, grown_std=-1.0), "grown_std"),
        (lambda: SET(mlp(), 0.5, start="dense"), "start"),
        (lambda: SET(mlp(), 0.5, allocation="row"), "allocation"),
        (lambda: SET(mlp(), 0.5, dormant="stored"), "dormant must not be given to SET"),
        (lambda: RigL(mlp(), 0.5, until=0), "until"),
        (lambda: TopKActivation(mlp(), 0.5, by="size"), "by"),
        (lambda: TopKActivation(mlp(), 0.5, rescale=2), "rescale"),
        (lambda: TopKActivation(nn.Linear(3, 3), 0.5), "no activation was found"),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""Hyperflux against plain autograd, against its law on a solvable loss, and what it must get along with."""

from __future__ import annotations

import copy
import io
import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from bbtheory.train import (
    Flow,
    FollowTrajectory,
    Hyperflux,
    NonFiniteError,
    PressureRule,
    Pruner,
    TensorBatches,
    classification,
    cross_entropy,
    train_epochs,
)
from bbtheory.train.presence import KAPPA
from small_models import Attention, ConvNet, batch, cut_are_zero, mlp, train

EXACT = 1e-12  # twenty float64 steps: sums in another order, products fused
ROUNDING = 2e-5  # twenty float32 steps of size 0.01, compiled against tensor operations
SMALL, LARGE = (20, 40, 30, 5), (20, 400, 30, 5)  # by tensor operations, by compiled loops

WEIGHTS = {
    "adam": lambda p: torch.optim.Adam(p, 1e-2, weight_decay=1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-2),
}
FLOWS = {"adam": Flow(lr=0.02), "sgd": Flow("sgd", lr=100.0), "momentum": Flow("sgd", lr=20.0, momentum=0.9)}


GENTLE = {"adam": Flow(lr=0.002), "momentum": Flow("sgd", lr=0.3, momentum=0.9)}


class Step(torch.autograd.Function):
    """H(t), passing gradients as a constant or as the slope of a logistic function."""

    @staticmethod
    def forward(ctx, t, sigmoid):
        ctx.save_for_backward(t)
        ctx.sigmoid = sigmoid
        return (t >= 0).to(t.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (t,) = ctx.saved_tensors
        s = torch.sigmoid(t)
        return gradient * (s * (1 - s) if ctx.sigmoid else KAPPA), None


class Reference:
    """The authors' way, written anew: masked weights in every forward pass, the pressure in the loss."""

    def __init__(
        self, widths, starts, gamma, weights, flow, *, gate="constant", floor=-math.inf, kind=torch.float64
    ):
        self.model = mlp(0, widths).to(kind)
        self.layers = [layer for layer in self.model if isinstance(layer, nn.Linear)]
        self.t = [start.clone().requires_grad_() for start in starts]
        self.optimizer = WEIGHTS[weights](self.model.parameters())
        if flow.rule == "adam":
            self.flow = torch.optim.Adam(self.t, flow.lr, betas=flow.betas, eps=flow.eps)
        else:
            self.flow = torch.optim.SGD(self.t, flow.lr, momentum=flow.momentum)
        self.gamma, self.sigmoid, self.floor, self.kind = gamma, gate == "sigmoid", floor, kind

    def __call__(self, h):
        for layer, t in zip(self.layers, self.t, strict=True):
            h = nn.functional.linear(h, layer.weight * Step.apply(t, self.sigmoid), layer.bias)
            h = h if layer is self.layers[-1] else torch.relu(h)
        return h

    def step(self, number, clip=None, parts=1):
        self.optimizer.zero_grad()
        self.flow.zero_grad()
        presence = torch.cat([t.flatten() for t in self.t])
        penalty = torch.sigmoid(presence) if self.sigmoid else presence
        penalty = (penalty * (presence.detach() > self.floor)).mean()
        for x in batch(number, 32, self.layers[0].in_features).to(self.kind).chunk(parts):
            ((self(x) - 0.3).pow(2).mean() / parts).backward()
        (self.gamma * penalty).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        self.optimizer.step()
        self.flow.step()


def flux_step(model, optimizer, flux, number, *, clip=None, parts=1, kind=torch.float64):
    optimizer.zero_grad()
    for x in batch(number, 32, model[0].in_features).to(kind).chunk(parts):
        ((model(x) - 0.3).pow(2).mean() / parts).backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    flux.step()


def start(widths=SMALL, weights="adam", gamma=0.05, kind=torch.float64, **settings):
    model = mlp(0, widths).to(kind)
    settings.setdefault("flow", FLOWS["adam"])
    flux = Hyperflux(model, gamma, presence=(-0.1, 0.2), **settings)
    return model, WEIGHTS[weights](model.parameters()), flux


def differences(flux, reference):
    """Largest difference of presence, and of all weights, absent ones included."""
    pairs = list(zip(flux.weights.values(), reference.layers, reference.t, strict=True))
    t = max(float((w.t - t.detach()).abs().max()) for w, _, t in pairs)
    full = [(w.parameter.detach() + w.dormant, layer.weight.detach()) for w, layer, _ in pairs]
    biases = [(m.bias.detach(), o.bias.detach()) for m, o in zip(*_biased(flux, reference), strict=True)]
    return t, max(float((a - b).abs().max()) for a, b in full + biases)


def _biased(flux, reference):
    return [m for m in flux.model if isinstance(m, nn.Linear)], reference.layers


# exact


@pytest.mark.parametrize("widths", [SMALL, LARGE])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("flow", FLOWS)
def test_twenty_steps_are_those_of_plain_autograd(widths, weights, flow):
    model, optimizer, flux = start(widths, weights, flow=FLOWS[flow])
    reference = Reference(widths, [w.t for w in flux.weights.values()], 0.05, weights, FLOWS[flow])
    first = {name: w.mask.clone() for name, w in flux.weights.items()}
    for number in range(1, 21):
        flux_step(model, optimizer, flux, number)
        reference.step(number)
    assert max(differences(flux, reference)) < EXACT
    flux.verify()
    assert 0.05 < flux.current_density < 0.95
    assert any(bool((w.mask & ~first[n]).any()) for n, w in flux.weights.items())  # some have returned
    x = batch(0, 8, 20).double()
    assert torch.allclose(model(x), reference(x), atol=EXACT)


@pytest.mark.parametrize("case", ["clip", "parts", "sigmoid"])
@pytest.mark.parametrize("widths", [SMALL, LARGE])
def test_clipping_accumulation_and_the_sigmoid_gate_are_those_of_plain_autograd(case, widths):
    how = {"clip": {"clip": 1e-2}, "parts": {"parts": 4}, "sigmoid": {}}[case]
    gate = "sigmoid" if case == "sigmoid" else "constant"
    model, optimizer, flux = start(widths, "sgd", gate=gate)
    starts = [w.t for w in flux.weights.values()]
    reference = Reference(widths, starts, 0.05, "sgd", FLOWS["adam"], gate=gate)
    for number in range(1, 21):
        flux_step(model, optimizer, flux, number, **how)
        reference.step(number, **how)
    assert max(differences(flux, reference)) < EXACT


@pytest.mark.parametrize("gate", ["constant", "sigmoid"])
@pytest.mark.parametrize("widths", [SMALL, LARGE])
@pytest.mark.parametrize("flow", FLOWS)
def test_a_floor_is_that_of_plain_autograd(flow, widths, gate):
    model, optimizer, flux = start(widths, "sgd", flow=FLOWS[flow], gate=gate, floor=-0.12)
    starts = [w.t for w in flux.weights.values()]
    reference = Reference(widths, starts, 0.05, "sgd", FLOWS[flow], gate=gate, floor=-0.12)
    deeper = Reference(widths, starts, 0.05, "sgd", FLOWS[flow], gate=gate)
    for number in range(1, 21):
        flux_step(model, optimizer, flux, number)
        reference.step(number)
        deeper.step(number)
    assert max(differences(flux, reference)) < EXACT
    assert max(differences(flux, deeper)) > 1e-3


@pytest.mark.parametrize("rule", ["adam", "sgd"])
def test_without_a_flux_a_weight_sinks_to_the_floor_and_no_further(rule):
    lr = 0.01
    model = nn.Linear(3, 2, bias=False)
    flow = Flow(rule, lr=lr)
    flux = Hyperflux(model, 6.0, interval=1000, flow=flow, presence=0.1, floor=-0.3)  # a push of 1
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    for _ in range(200):
        optimizer.zero_grad()
        model(torch.zeros(1, 3)).sum().backward()
        optimizer.step()
        flux.step()
    low = float(flux.weights[""].t.min())
    assert -0.3 - 12 * lr < low <= -0.3  # Adam remembers ten steps or so


def test_compiled_loops_and_tensor_operations_agree_in_float32():
    runs = []
    for compiled in (True, False):
        model, optimizer, flux = start(LARGE, kind=torch.float32)
        for weight in flux.weights.values():
            weight.is_compiled = compiled
        for number in range(1, 21):
            flux_step(model, optimizer, flux, number, kind=torch.float32, parts=2)
        runs.append([w.t for w in flux.weights.values()])
    for one, two in zip(*runs, strict=True):
        # Adam's first steps are signs: where a gradient is all rounding, two roads may part
        assert float((one - two).abs().gt(ROUNDING).float().mean()) < 1e-3


@pytest.mark.parametrize("wrong", ["masked", "kept", "density"])
def test_a_wrong_rule_is_noticed(wrong):
    """Negative controls: no gradient at absent weights, no optimizer at absent weights, another N."""
    model, optimizer, flux = start(weights="sgd")
    reference = Reference(SMALL, [w.t for w in flux.weights.values()], 0.05, "sgd", FLOWS["adam"])
    if wrong == "kept":
        for weight in flux.weights.values():
            weight.held = True
    for number in range(1, 6):
        if wrong == "density":
            flux.setting = type(flux.setting)(0.05 / flux.current_density)
        optimizer.zero_grad()
        (model(batch(number, 32, 20).double()) - 0.3).pow(2).mean().backward()
        if wrong == "masked":
            for weight in flux.weights.values():
                weight.pulled.masked_fill_(~weight.mask, 0.0)
        optimizer.step()
        flux.step()
        reference.step(number)
    assert max(differences(flux, reference)) > 1e-5


def test_one_step_by_hand():
    """w = (2, -3), t = (0, -1), L = theta . x with x = (5, 7): pulls 10 and -21, of which a quarter counts."""
    model = nn.Linear(2, 1, bias=False).double()
    model.weight.data = torch.tensor([[2.0, -3.0]], dtype=torch.float64)
    flux = Hyperflux(model, 4.0, flow=Flow("sgd", lr=0.1), presence=0.0)
    weight = flux.weights[""]
    weight.t.copy_(torch.tensor([[0.0, -1.0]]))
    weight._present()
    assert weight.mask.tolist() == [[True, False]]  # present at t = 0
    assert model.weight.tolist() == [[2.0, 0.0]]
    optimizer = torch.optim.SGD(model.parameters(), 1.0, weight_decay=0.5)
    model(torch.tensor([[5.0, 7.0]], dtype=torch.float64)).sum().backward()
    assert model.weight.grad.tolist() == [[5.0, 0.0]]
    optimizer.step()
    assert model.weight.tolist() == [[2.0 - 5.0 - 1.0, -3.0 + 1.5]]  # decay acts on the absent weight too
    flux.step()
    expected = torch.tensor([[0.0 - 0.1 * (2.5 + 2.0), -1.0 - 0.1 * (-21 / 4 + 2.0)]]).double()
    assert torch.allclose(weight.t, expected, atol=1e-14)  # products in another order
    assert weight.mask.tolist() == [[False, False]]
    assert weight.dormant.tolist() == [[-4.0, -1.5]]


@pytest.mark.parametrize("widths", [SMALL, LARGE])
@pytest.mark.parametrize("flow", FLOWS)
def test_a_weight_is_present_at_zero(widths, flow):
    model = mlp(0, widths)
    flux = Hyperflux(model, 0.0, presence=0.0, flow=FLOWS[flow])
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for gamma, density in ((0.0, 1.0), (1.0, 0.0)):
        flux.setting = type(flux.setting)(gamma)
        optimizer.zero_grad()
        (model(batch(1, 8, 20)) * 0.0).sum().backward()
        optimizer.step()
        flux.step()
        assert flux.current_density == density


def test_absent_weights_may_be_held():
    model, optimizer, flux = start(weights="sgd", absent="held")
    for number in range(1, 11):
        before = {n: (w.mask.clone(), w.dormant.clone()) for n, w in flux.weights.items()}
        flux_step(model, optimizer, flux, number)
        for name, weight in flux.weights.items():
            stay = ~before[name][0] & ~weight.mask
            back = ~before[name][0] & weight.mask
            assert torch.equal(weight.dormant[stay], before[name][1][stay])
            assert torch.equal(weight.parameter.detach()[back], before[name][1][back])
    flux.verify()


# the law


class Separable(nn.Module):
    """L = 1/2 sum lambda_j (theta_j - 1)^2, whose weights do not learn."""

    def __init__(self, flux_over_n):
        super().__init__()
        self.register_buffer("curvature", flux_over_n / KAPPA)
        self.weight = nn.Parameter(torch.ones(1, flux_over_n.numel(), dtype=torch.float64))

    def forward(self):
        return 0.5 * (self.curvature * (self.weight - 1.0).pow(2)).sum()


def long_run_density(gamma, *, moved=1.0):
    n = 64
    spectrum = 4.0 * torch.arange(1, n + 1, dtype=torch.float64) ** -0.7  # F_j
    model = Separable(spectrum / n)
    flux = Hyperflux(
        model, gamma, flow=Flow("sgd", lr=0.05 * n), presence=0.0, layers=[(model, "weight")], interval=10**9
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    kept = []
    for step in range(3000):
        model().mul(moved).backward()
        optimizer.step()
        flux.step()
        optimizer.zero_grad()
        if step >= 1000:
            kept.append(flux.current_density)
    return float(np.mean(kept)), float((1.0 - gamma / spectrum).clamp(min=0.0).mean())


@pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0])
def test_long_run_density_is_that_of_the_separable_loss(gamma):
    # a weight is in a cycle of absences, cut short by at most one of about 30 at the end of the window
    found, expected = long_run_density(gamma)
    assert found == pytest.approx(expected, abs=0.01)


def test_half_the_flux_gives_another_density():
    """Negative control."""
    found, expected = long_run_density(0.5, moved=0.5)
    assert abs(found - expected) > 0.05


# promises


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("flow", ["adam", "momentum"])
@pytest.mark.parametrize("widths", [SMALL, LARGE])
def test_a_resumed_run_is_bit_identical(weights, flow, widths):
    def make():
        rule = FollowTrajectory(0.6, 6, 4)
        model = mlp(0, widths)
        flux = Hyperflux(model, rule, interval=3, flow=GENTLE[flow], presence=(0.0, 0.1))
        return model, WEIGHTS[weights](model.parameters()), flux

    model, optimizer, flux = make()
    train(model, optimizer, flux, steps=range(1, 11))
    file = io.BytesIO()
    parts = {"model": model, "optimizer": optimizer, "flux": flux}
    torch.save({name: part.state_dict() for name, part in parts.items()}, file)
    train(model, optimizer, flux, steps=range(11, 31))
    again, optimizer2, flux2 = make()
    train(again, optimizer2, flux2, steps=range(3))  # a state that must be overwritten whole
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    for name, part in {"model": again, "optimizer": optimizer2, "flux": flux2}.items():
        part.load_state_dict(saved[name])
    train(again, optimizer2, flux2, steps=range(11, 31))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    for one, two in zip(flux.weights.values(), flux2.weights.values(), strict=True):
        assert torch.equal(one.t, two.t)
        assert torch.equal(one.dormant, two.dormant)
    assert flux.setting == flux2.setting
    assert flux2.n_refreshes == flux.n_refreshes == 10
    with pytest.raises(ValueError, match="pressure rule"):
        Hyperflux(mlp(0, widths), 0.5, flow=GENTLE[flow]).load_state_dict(saved["flux"])
    other = Hyperflux(mlp(0, widths), FollowTrajectory(0.6, 6, 4), flow=FLOWS["sgd"])
    with pytest.raises(ValueError, match="rule of flow"):
        other.load_state_dict(saved["flux"])
    with pytest.raises(ValueError, match="got one of Hyperflux"):
        Pruner(mlp(0, widths)).load_state_dict(saved["flux"])


def test_a_loop_goes_on_bit_for_bit():
    x, y = batch(0, 96, 20), torch.arange(96) % 5

    def run(epochs, state=None):
        model = mlp(0, SMALL)
        flux = Hyperflux(model, 0.3, interval=6, flow=Flow(lr=0.02))
        states = []
        train_epochs(
            model,
            WEIGHTS["adam"](model.parameters()),
            TensorBatches(x, y, 16),
            epochs=epochs,
            loss=cross_entropy,
            pruner=flux,
            evaluate=classification(x, y),
            state=state,
            on_epoch=states.append,
        )
        return model, flux, states[-1]

    model, flux, _ = run(6)
    again, flux2, _ = run(6, run(3)[2])
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert flux2.history.saliency.tolist() == [0.3] * 6
    assert flux2.history.density.tolist() == flux.history.density.tolist()
    assert flux.history.density[-1] < 0.9


def test_keys_stay_plain_and_remove_leaves_a_plain_model():
    model, optimizer, flux = start(kind=torch.float32)
    plain = mlp()
    assert list(model.state_dict()) == list(plain.state_dict())
    train(model, optimizer, flux, steps=range(1, 11))
    x = batch(0, 8, 20)
    before = model(x)
    flux.remove()
    assert torch.equal(model(x), before)
    assert not any(p._post_accumulate_grad_hooks or p._backward_hooks for p in model.parameters())
    t = flux.weights["0"].t.clone()
    train(model, optimizer, steps=[1, 2])
    assert torch.equal(flux.weights["0"].t, t)
    with pytest.raises(ValueError, match="after remove"):
        flux.step()


def test_copied_together():
    model, optimizer, flux = start(LARGE, kind=torch.float32)
    train(model, optimizer, flux, steps=range(1, 6))
    model2, optimizer2, flux2 = copy.deepcopy((model, optimizer, flux))
    assert flux2.weights["0"].parameter is model2[0].weight
    train(model, optimizer, flux, steps=range(6, 16))
    train(model2, optimizer2, flux2, steps=range(6, 16))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), model2.parameters(), strict=True))
    assert torch.equal(flux.weights["0"].t, flux2.weights["0"].t)
    assert flux2.step_count == 15


@pytest.mark.parametrize("which", ["conv", "attention", "tied", "named", "excluded"])
def test_any_layer(which):
    shape = (16, 12)
    settings = {}
    if which == "conv":
        model, shape, names = ConvNet(), (8, 3, 8, 8), ["conv1", "conv2", "fc1", "fc2"]
    elif which == "attention":
        model, shape = Attention(), (4, 6, 16)
        names = ["attention.in_proj", "attention.out_proj", "up", "down"]
    else:
        model, names = mlp(widths=(12, 12, 12, 12)), ["0", "2", "4"]
    if which == "tied":
        model[4].weight, names = model[2].weight, ["0", "2"]
    if which == "named":
        settings, names = {"layers": [(model[2], "weight"), "0"]}, ["2", "0"]
    if which == "excluded":
        settings, names = {"exclude": ["2"]}, ["0", "4"]
    flux = Hyperflux(model, 5.0, flow=Flow(lr=0.03), **settings)
    assert sorted(flux.weights) == sorted(names)
    assert all(w.t.shape == w.parameter.shape for w in flux.weights.values())
    optimizer = WEIGHTS["adamw"](model.parameters())
    train(model, optimizer, flux, steps=range(1, 15), shape=shape)
    assert cut_are_zero(flux)
    assert flux.current_density < 1.0
    flux.verify()
    assert flux.finish().n_kept == flux.n_kept


def test_frozen_weights_and_unused_layers():
    """Without gradients t stays; a layer that the loss does not reach feels the pressure alone."""
    model = nn.ModuleDict({"a": nn.Linear(6, 6), "b": nn.Linear(6, 6), "c": nn.Linear(6, 6)})
    model["c"].weight.requires_grad_(False)
    flux = Hyperflux(model, 1.0, presence=0.05, flow=Flow(lr=0.01))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for number in range(1, 9):
        optimizer.zero_grad()
        model["c"](model["a"](batch(number, 8, 6))).sum().backward()
        optimizer.step()
        flux.step()
    assert torch.equal(flux.weights["c"].t, torch.full((6, 6), 0.05))
    assert flux.weights["b"].n_kept == 0  # 0.05 is five steps of 0.01 from 0
    assert flux.weights["c"].n_kept == 36


@pytest.mark.parametrize("scale", [1.0, 1024.0])
@pytest.mark.parametrize("fused", [False, True])
def test_scaled_gradients_are_unscaled_and_skipped_steps_are_not_counted(scale, fused):
    runs = []
    for scaled in (False, True):
        model, _, flux = start(LARGE, kind=torch.float32)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=5, enabled=scaled)
        flux.scaler = scaler
        for number in range(1, 13):
            bad = number in (4, 7)
            if bad and not scaled:
                continue
            optimizer.zero_grad()
            loss = (model(batch(number, 32, 20)) - 0.3).pow(2).mean() * (float("inf") if bad else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            flux.step()
            flux.verify()
        runs.append(flux)
    one, two = runs
    assert one.step_count == two.step_count == 10
    for a, b in zip(one.weights.values(), two.weights.values(), strict=True):
        assert torch.equal(a.t, b.t)  # scales are powers of two
        assert torch.equal(a.parameter, b.parameter)


def test_a_scaler_that_was_not_given_is_noticed():
    model, optimizer, _flux = start(kind=torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    scaler.scale((model(batch(1, 32, 20)) - 0.3).pow(2).mean()).backward()
    with pytest.raises(ValueError, match=r"scaler must be given.* 256 times"):
        scaler.step(optimizer)

    model, optimizer, _flux = start(kind=torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    scaler.scale(model(batch(1, 32, 20)).pow(2).sum()).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1e-2)  # hides the power of two
    with pytest.warns(UserWarning, match="clipping divided"):
        scaler.step(optimizer)


def test_the_loop_gives_its_scaler():
    x, y = batch(0, 64, 20), torch.arange(64) % 5
    model = mlp(0, SMALL)
    flux = Hyperflux(model, 0.3, flow=Flow(lr=0.02))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # half precision on a CPU is said to be slow
        train_epochs(model, WEIGHTS["sgd"](model.parameters()), [(x, y)] * 3, epochs=3, loss=cross_entropy,
                     pruner=flux, autocast=torch.float16)  # fmt: skip
    assert flux.scaler is not None
    assert flux._watch.scale > 1.0
    assert flux.step_count > 0


def test_closures_see_theta():
    """Inside the closure of an optimizer, as Lightning runs the whole step, absent weights are zero."""
    runs = []
    for closed in (False, True):
        model, optimizer, flux = start()
        for number in range(1, 11):

            def closure(number=number, model=model, optimizer=optimizer, flux=flux):
                optimizer.zero_grad()
                assert cut_are_zero(flux)
                loss = (model(batch(number, 32, 20).double()) - 0.3).pow(2).mean()
                loss.backward()
                return loss

            if closed:
                optimizer.step(closure) if number % 2 else optimizer.step(closure=closure)
            else:
                closure()
                optimizer.step()
            flux.step()
        runs.append(flux)
    for a, b in zip(*(f.weights.values() for f in runs), strict=True):
        assert torch.equal(a.t, b.t)
        assert torch.equal(a.dormant, b.dormant)
    model, _, flux = start()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    for number in range(1, 4):
        optimizer.step(partial(closure, number, model, optimizer, flux))
        flux.step()
    flux.verify()


def test_param_groups_half_precision_and_moved_models():
    model = mlp(0, LARGE)
    flux = Hyperflux(model, 0.1, flow=Flow(lr=0.02))
    groups = [{"params": model[0].parameters(), "lr": 1e-3}, {"params": [*model[2].parameters()]}]
    optimizer = torch.optim.AdamW([*groups, {"params": model[4].parameters()}], 1e-2)
    train(model, optimizer, flux, steps=range(1, 6))
    model.to(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for number in range(6, 16):
        flux_step(model, optimizer, flux, number, kind=torch.bfloat16)
    assert flux.weights["0"].t.dtype == torch.float32
    assert flux.weights["0"].dormant.dtype == torch.bfloat16
    flux.verify()
    model.to(torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for number in range(16, 20):
        flux_step(model, optimizer, flux, number)
    assert flux.weights["0"].t.dtype == torch.float64
    flux.verify()


def test_a_gradient_that_is_thrown_away_does_not_count():
    runs = []
    for thrown in (False, True):
        model, optimizer, flux = start()
        for number in range(1, 8):
            if thrown:
                optimizer.zero_grad()
                model(batch(100 + number, 32, 20).double()).sum().backward()
            flux_step(model, optimizer, flux, number)
        runs.append(flux.weights["2"].t)
    assert torch.equal(*runs)


def test_compiled_models_have_no_graph_break():
    model, optimizer, flux = start(kind=torch.float32)
    explanation = torch._dynamo.explain(model)(batch(1, 32, 20))
    assert explanation.graph_break_count == 0
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    plain, optimizer2, flux2 = start(kind=torch.float32)
    train(compiled, optimizer, flux, steps=range(1, 8))
    train(plain, optimizer2, flux2, steps=range(1, 8))
    for one, two in zip(flux.weights.values(), flux2.weights.values(), strict=True):
        assert torch.equal(one.t, two.t)


# ends and bad input


def test_finish_meets_the_target_within_a_weight_and_takes_the_largest_t():
    model = mlp(0, SMALL)
    flux = Hyperflux(model, FollowTrajectory(0.2, 100), flow=Flow(lr=0.005), interval=1)
    train(model, WEIGHTS["adam"](model.parameters()), flux, steps=range(1, 51))
    assert 0.01 < flux.current_density < 0.99
    t = torch.cat([w.t.flatten() for w in flux.weights.values()]).clone()
    report = flux.finish()
    assert report.n_kept == round(0.2 * 2150)
    assert report.target_density == 0.2
    kept = torch.cat([w.mask.flatten() for w in flux.weights.values()])
    assert t[kept].min() >= t[~kept].max()
    flux.verify()
    free = Hyperflux(mlp(1), 0.5)
    assert free.finish().n_kept == free.n_weights
    assert "target nan" in str(free.finish())


def test_an_empty_layer_is_named_and_ends_the_run_with_its_record():
    x, y = batch(0, 64, 20), torch.arange(64) % 5
    model = mlp(0, SMALL)
    flux = Hyperflux(model, 1e4, flow=Flow(lr=0.05), interval=4)
    with pytest.warns(UserWarning, match="layer 0, 2, 4 is pruned at step"):
        run = train_epochs(model, WEIGHTS["sgd"](model.parameters()), TensorBatches(x, y, 16), epochs=50,
                           loss=cross_entropy, pruner=flux, evaluate=classification(x, y))  # fmt: skip
    assert 1 <= len(run.epoch) < 10
    assert run.density[-1] == 0.0
    assert flux.stopped.startswith("every weight of layer 0, 2, 4")
    assert flux.empty_layers == ("0", "2", "4")
    again = Hyperflux(mlp(0, SMALL), 1e4, flow=Flow(lr=0.05), interval=4)
    again.load_state_dict(flux.state_dict())
    assert again.stopped == flux.stopped
    flux.finish()


@pytest.mark.parametrize("widths", [SMALL, LARGE])
def test_nan_gradients_leave_presence_as_it_was(widths):
    model, optimizer, flux = start(widths)

    def train_one(factor):
        (model(batch(1, 32, 20).double()) * factor).sum().backward()

    train_one(1.0)
    optimizer.step()
    flux.step()
    before = flux.weights["0"].t.clone()
    optimizer.zero_grad()
    train_one(float("nan"))
    optimizer.step()
    with pytest.raises(NonFiniteError, match="gradients of layer '0'"):
        flux.step()
    assert torch.equal(flux.weights["0"].t, before)
    assert flux.step_count == 1


def test_a_step_that_was_forgotten_is_noticed():
    model, optimizer, flux = start()
    flux_step(model, optimizer, flux, 1)
    model(batch(1, 32, 20).double()).sum().backward()
    optimizer.step()
    with pytest.raises(ValueError, match="must follow every step of the optimizer"):
        model(batch(1, 32, 20).double()).sum().backward()


def test_a_changed_presence_is_noticed():
    _, _, flux = start()
    flux.weights["2"].t.neg_()
    with pytest.raises(ValueError, match="layer '2' must be present where t >= 0"):
        flux.verify()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pressure": -1.0}, "pressure must be .*got -1"),
        ({"pressure": float("nan")}, "pressure must be"),
        ({"pressure": lambda interval: -float(interval)}, "pressure must be .*got -1"),
        ({"pressure": "hard"}, "pressure must be"),
        ({"interval": 0}, "interval"),
        ({"flow": torch.optim.Adam}, "flow"),
        ({"presence": (0.5, 0.2)}, "low <= high"),
        ({"presence": float("inf")}, "presence"),
        ({"gate": "hard"}, "gate"),
        ({"floor": 0.0}, "floor"),
        ({"floor": math.nan}, "floor"),
        ({"absent": "gone"}, "absent"),
        ({"layers": ["7"]}, "layers must name"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_input(settings, words):
    with pytest.raises(ValueError, match=words):
        Hyperflux(mlp(), **{"pressure": 0.5, **settings})


@pytest.mark.parametrize(
    "settings",
    [{"rule": "lamb"}, {"lr": 0.0}, {"lr": float("nan")}, {"betas": (0.9, 1.0)}, {"betas": (0.9,)},
     {"eps": 0.0}, {"momentum": 1.0}],
)  # fmt: skip
def test_bad_flow(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Flow(**settings)


def test_two_on_one_model_are_refused():
    model = mlp()
    flux = Hyperflux(model, 0.5)
    with pytest.raises(ValueError, match="already"):
        Pruner(model, 0.5)
    flux.remove()
    Pruner(model, 0.5)


def test_pressure_may_be_a_function_of_the_interval():
    model = mlp()
    flux = Hyperflux(model, lambda interval: 2.0**interval, interval=3)
    seen = []
    for step in range(1, 9):
        seen.append(flux.pressure)
        train(model, torch.optim.SGD(model.parameters(), 0.01), flux, steps=[step])
    assert seen == [2.0] * 3 + [4.0] * 3 + [8.0] * 2
    assert PressureRule(0.25).first().pressure == 0.25

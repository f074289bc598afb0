"""The course of a pruner: steps, refreshes, copies, resumption, bad input; and what it must get along with."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from bbtheory.train import BudgetedBroadcast, NonFiniteError, Pruner, Taylor
from small_models import Attention, ConvNet, batch, cut_are_zero, mlp, train

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05),
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "adam": lambda p: torch.optim.Adam(p, 1e-2, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-2, momentum=0.9, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 1e-2, initial_accumulator_value=0.1),
    "nadam": lambda p: torch.optim.NAdam(p, 1e-2),
    "rprop": lambda p: torch.optim.Rprop(p, 1e-3),
}


UPWARDS = nn.Sequential(nn.ConvTranspose2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3))


class DataDependent(nn.Module):
    """What runs depends on the data, so that it cannot be traced."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(20, 8), nn.Linear(8, 5)

    def forward(self, x):
        return self.second(torch.relu(self.first(x if x.sum() > 0 else -x)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_cut_weights_stay_zero_under_any_optimizer(name):
    model = mlp()
    optimizer = OPTIMIZERS[name](model.parameters())
    pruner = BudgetedBroadcast(model, 0.3, interval=7, warmup=5)
    for step in range(1, 41):
        train(model, optimizer, pruner, steps=[step])
        if step >= 5:
            assert pruner.current_density == 645 / 2150
            assert cut_are_zero(pruner)
        if pruner.is_refresh(step):
            for weight in pruner.weights.values():
                for value in optimizer.state[weight.parameter].values():
                    if torch.is_tensor(value) and value.shape == weight.mask.shape:
                        assert not value[~weight.mask].any()
    assert not pruner._enforce_each_step


def test_momentum_that_is_not_cleared_moves_cut_weights():
    """Negative control: without clearing, momentum revives what was cut."""
    model = mlp()
    optimizer = OPTIMIZERS["momentum"](model.parameters())
    pruner = Pruner(model, 0.3, interval=7, warmup=5)
    pruner._watch.forget_cut = lambda: None
    train(model, optimizer, pruner, steps=range(1, 6))
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.zeros_like(p)
    optimizer.step()
    assert not cut_are_zero(pruner)


@pytest.mark.parametrize("make", [lambda p: torch.optim.LBFGS(p, max_iter=3)])
def test_lbfgs(make):
    model = mlp()
    optimizer = make(model.parameters())
    pruner = Pruner(model, 0.3, interval=4, warmup=3)
    for step in range(1, 12):

        def closure():
            optimizer.zero_grad()
            loss = (model(batch(0, 32, 20)) - 0.3).pow(2).mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        pruner.step()
        assert step < 3 or cut_are_zero(pruner)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_an_optimizer_that_mixes_entries_is_noticed():
    model = nn.Sequential(nn.Linear(20, 40, bias=False), nn.ReLU(), nn.Linear(40, 5, bias=False))
    optimizer = torch.optim.Muon(model.parameters(), lr=1e-2)
    pruner = Pruner(model, 0.3, interval=4, warmup=3)
    train(model, optimizer, pruner, steps=range(1, 4))
    with pytest.warns(UserWarning, match="enforced after every step"):
        train(model, optimizer, pruner, steps=[4])
    for step in range(5, 12):
        train(model, optimizer, pruner, steps=[step])
        assert cut_are_zero(pruner)


def test_gradients_are_masked_before_clipping():
    model = mlp()
    pruner = Pruner(model, 0.3)
    pruner.refresh()
    model(batch(1, 32, 20)).pow(2).sum().backward()
    alive = torch.cat([w.parameter.grad[w.mask] for w in pruner.weights.values()])
    biases = torch.cat([m.bias.grad for m in model if isinstance(m, nn.Linear)])
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert torch.allclose(norm, torch.cat([alive, biases]).norm())
    assert all(not w.parameter.grad[~w.mask].any() for w in pruner.weights.values())


def test_accumulated_gradients():
    """Two halves of a batch accumulate to the masked gradient of the whole."""
    grads = []
    for parts in (1, 2):
        model = mlp()
        pruner = Pruner(model, 0.3)
        pruner.refresh()
        for part in batch(1, 32, 20).chunk(parts):
            model(part).pow(2).sum().backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    for one, two in zip(*grads, strict=True):
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-5)  # float32 sums in another order


def test_param_groups_and_scheduler():
    model = mlp()
    optimizer = torch.optim.AdamW(
        [
            {"params": model[0].parameters(), "lr": 1e-3},
            {"params": [*model[2].parameters(), *model[4].parameters()]},
        ],
        lr=1e-2,
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    pruner = BudgetedBroadcast(model, 0.2, interval=5, warmup=5)
    for step in range(1, 31):
        train(model, optimizer, pruner, steps=[step])
        scheduler.step()
    assert pruner.step_count == 30
    assert cut_are_zero(pruner)
    pruner.finish()


def test_skipped_steps_of_a_gradient_scaler_are_not_counted():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    pruner = BudgetedBroadcast(model, 0.3, interval=3, warmup=2)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=100)
    for step in range(1, 9):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(batch(step, 32, 20)).float().pow(2).mean()
        scaler.scale(loss * (float("inf") if step in (3, 4) else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        pruner.step()
        pruner.activities["0"].health.zero_()
    assert pruner.step_count == 6
    assert cut_are_zero(pruner)


def test_steps_of_another_optimizer_are_not_ours():
    model, other = mlp(), mlp(1)
    ours, theirs = (torch.optim.SGD(m.parameters(), 0.01) for m in (model, other))
    pruner = Pruner(model, 0.3, interval=1000)
    train(model, ours, pruner, steps=[1, 2])
    train(other, theirs, None, steps=[1, 2])
    pruner.step()  # nothing of ours has moved
    assert pruner.step_count == 2


@pytest.mark.parametrize("settings", [{}, {"sp_out": True, "sp_in": False}, {"dormant": "zero"},
                                      {"sp_out": True, "rescale": "forward"}, {"rescale": "incremental"}])  # fmt: skip
@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_a_resumed_run_is_bit_identical(settings, optimizer):
    def start():
        model = mlp()
        return model, OPTIMIZERS[optimizer](model.parameters()), BudgetedBroadcast(
            model, 0.25, interval=6, warmup=5, **settings
        )  # fmt: skip

    model, opt, pruner = start()
    train(model, opt, pruner, steps=range(1, 21))
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "opt": opt.state_dict(), "pruner": pruner.state_dict()}, file)
    train(model, opt, pruner, steps=range(21, 41))
    again, opt2, pruner2 = start()
    train(again, opt2, pruner2, steps=range(3))  # a state that must be overwritten whole
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again.load_state_dict(saved["model"])
    opt2.load_state_dict(saved["opt"])
    pruner2.load_state_dict(saved["pruner"])
    train(again, opt2, pruner2, steps=range(21, 41))
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    one, two = pruner.state_dict(), pruner2.state_dict()
    for name in one["weights"]:
        assert torch.equal(one["weights"][name]["mask"], two["weights"][name]["mask"])
        if one["weights"][name]["dormant"] is not None:
            assert torch.equal(one["weights"][name]["dormant"], two["weights"][name]["dormant"])
    for name, sums in one["activities"].items():
        assert all(torch.equal(sums[k], two["activities"][name][k]) for k in sums)
    assert one["extra"]["beta"] == two["extra"]["beta"]


def test_a_pruner_state_that_was_not_loaded_is_noticed():
    """Negative control of the resumption test: without the pruner's state the runs differ."""
    model = mlp()
    opt = OPTIMIZERS["adam"](model.parameters())
    pruner = BudgetedBroadcast(model, 0.25, interval=6, warmup=5)
    train(model, opt, pruner, steps=range(1, 21))
    again = copy.deepcopy(model)
    opt2 = OPTIMIZERS["adam"](again.parameters())
    opt2.load_state_dict(opt.state_dict())
    train(model, opt, pruner, steps=range(21, 41))
    train(again, opt2, BudgetedBroadcast(again, 0.25, interval=6, warmup=5), steps=range(21, 41))
    assert not torch.equal(model[0].weight, again[0].weight)


def test_keys_of_the_model_stay_plain_and_remove_leaves_a_plain_model():
    plain = mlp()
    model = mlp()
    pruner = BudgetedBroadcast(model, 0.3, interval=5, warmup=5, rescale="forward")
    assert list(model.state_dict()) == list(plain.state_dict())
    train(model, torch.optim.SGD(model.parameters(), 0.01), pruner, steps=range(1, 11))
    x = batch(0, 8, 20)
    before = model(x)
    pruner.remove()
    pruner.verify()  # may be asked still, and brings no hook back
    assert torch.allclose(model(x), before, atol=1e-6)  # float32: the factor is multiplied elsewhere
    assert list(model.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(model.state_dict())
    assert torch.equal(plain(x), model(x))
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())
    count = pruner.activities["0"].count.clone()
    train(model, torch.optim.SGD(model.parameters(), 0.01), steps=[1])
    assert torch.equal(pruner.activities["0"].count, count)


@pytest.mark.parametrize("rescale", [None, "forward"])
def test_copied_together(rescale):
    model = mlp()
    opt = OPTIMIZERS["adam"](model.parameters())
    pruner = BudgetedBroadcast(model, 0.3, interval=5, warmup=5, sp_out=True, rescale=rescale)
    train(model, opt, pruner, steps=range(1, 13))
    model2, opt2, pruner2 = copy.deepcopy((model, opt, pruner))
    assert pruner2.model is model2
    assert pruner2.weights["0"].parameter is model2[0].weight
    train(model, opt, pruner, steps=range(13, 31))
    train(model2, opt2, pruner2, steps=range(13, 31))
    for one, two in zip(model.parameters(), model2.parameters(), strict=True):
        assert torch.equal(one, two)
    assert pruner2.step_count == pruner.step_count == 30
    assert cut_are_zero(pruner2)
    assert len(model2[1]._forward_hooks) == 1


def test_a_model_copied_alone_is_plain():
    model = mlp()
    pruner = BudgetedBroadcast(model, 0.3, interval=5, warmup=5)
    train(model, OPTIMIZERS["adam"](model.parameters()), pruner, steps=range(1, 13))
    count = pruner.activities["0"].count.clone()
    twin = copy.deepcopy(model)
    x = batch(1, 8, 20)
    assert torch.equal(twin(x), copy.deepcopy(twin)(x))
    twin(x).sum().backward()
    assert torch.equal(pruner.activities["0"].count, count)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), twin(x))


def test_attention_is_masked_though_its_hooks_never_fire():
    model = Attention()
    pruner = BudgetedBroadcast(model, 0.4, interval=4, warmup=4)
    assert list(pruner.weights) == ["attention.in_proj", "attention.out_proj", "up", "down"]
    opt = OPTIMIZERS["adamw"](model.parameters())
    train(model, opt, pruner, steps=range(1, 15), shape=(4, 6, 16))
    assert cut_are_zero(pruner)
    assert pruner.finish().n_kept == round(0.4 * pruner.n_weights)
    # no activation follows the projections: uniform degrees
    assert int(pruner.weights["attention.in_proj"].fan_in().max()) <= 7
    assert pruner.weights["up"].fan_in().unique().numel() > 2


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("sides", [{}, {"sp_in": False, "sp_out": True}, {"sp_out": True}])
def test_convolutions(granularity, sides):
    model = ConvNet()
    pruner = BudgetedBroadcast(model, 0.35, interval=3, warmup=3, granularity=granularity, **sides)
    opt = OPTIMIZERS["momentum"](model.parameters())
    train(model, opt, pruner, steps=range(1, 11), shape=(8, 3, 8, 8))
    assert cut_are_zero(pruner)
    link = max(w.link_size for w in pruner.weights.values())
    assert abs(pruner.current_density * pruner.n_weights - 0.35 * pruner.n_weights) < link
    if granularity == "channel":
        kernel = pruner.weights["conv1"].parameter.detach().ne(0).sum((2, 3))
        assert set(kernel.unique().tolist()) == {0, 9}
    pruner.finish()


def test_tied_weights_are_one():
    model = mlp(widths=(12, 12, 12, 12))
    model[4].weight = model[2].weight
    pruner = BudgetedBroadcast(model, 0.3, interval=4, warmup=4)
    assert list(pruner.weights) == ["0", "2"]
    train(model, OPTIMIZERS["adam"](model.parameters()), pruner, steps=range(1, 15), shape=(16, 12))
    assert cut_are_zero(pruner)
    assert model[4].weight is model[2].weight
    assert pruner.finish().n_kept == round(0.3 * 288)


def test_weights_that_the_user_names():
    torch.manual_seed(0)
    model = nn.ModuleDict({"rnn": nn.GRU(6, 10, batch_first=True), "head": nn.Linear(10, 2)})
    pruner = Pruner(model, 0.5, layers=[(model["rnn"], "weight_hh_l0"), "head"])
    pruner.refresh()
    assert list(pruner.weights) == ["rnn.weight_hh_l0", "head"]
    model["head"](model["rnn"](batch(0, 4, 5, 6))[0]).sum().backward()
    assert not model["rnn"].weight_hh_l0.grad[~pruner.weights["rnn.weight_hh_l0"].mask].any()
    assert pruner.current_density == 0.5


def test_moved_after_it_was_attached():
    model = mlp()
    pruner = BudgetedBroadcast(model, 0.3, interval=4, warmup=4)
    train(model, OPTIMIZERS["sgd"](model.parameters()), pruner, steps=range(1, 6))
    model.to(torch.float64)
    opt = OPTIMIZERS["momentum"](model.parameters())
    for step in range(6, 16):
        opt.zero_grad()
        model(batch(step, 16, 20).double()).pow(2).mean().backward()
        opt.step()
        pruner.step()
    assert pruner.weights["0"].dormant.dtype == torch.float64
    assert cut_are_zero(pruner)


def test_nan_weights_refuse_a_refresh():
    model = mlp()
    pruner = BudgetedBroadcast(model, 0.3, interval=4, warmup=4)
    opt = OPTIMIZERS["sgd"](model.parameters())
    train(model, opt, pruner, steps=range(1, 5))
    before = {name: w.mask.clone() for name, w in pruner.weights.items()}
    kept = torch.nonzero(before["2"])[0]
    with torch.no_grad():
        model[2].weight[kept[0], kept[1]] = float("nan")
    with pytest.raises(NonFiniteError, match="weights of layer '2'"):
        pruner.refresh()
    assert all(torch.equal(w.mask, before[name]) for name, w in pruner.weights.items())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("on", ["positive", "threshold", "soft"])
def test_broken_activations_refuse_a_refresh(on, bad):
    model = mlp()
    pruner = BudgetedBroadcast(model, 0.3, interval=4, warmup=4, on=on)
    for step in range(1, 4):
        model(batch(step, 16, 20))
        pruner.step()
    model(torch.full((2, 20), bad))
    with pytest.raises(NonFiniteError, match="activations of layer '0'"):
        pruner.step()
    assert pruner.current_density == 1.0
    for step in range(5, 9):  # what is seen later counts again
        model(batch(step, 16, 20))
        pruner.step()
    assert pruner.current_density == 0.3
    assert all(torch.isfinite(rates).all() for rates in pruner.on_rates().values())


def test_frozen_layers_are_pruned_and_may_thaw():
    model = mlp()
    model[2].weight.requires_grad_(False)
    pruner = BudgetedBroadcast(model, 0.3, interval=4, warmup=4)
    train(
        model,
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.05),
        pruner,
        steps=range(1, 7),
    )
    before = model[2].weight.detach().clone()
    assert pruner.current_density == 0.3
    assert cut_are_zero(pruner)
    model.requires_grad_(True)
    for step in range(7, 12):
        train(model, torch.optim.SGD(model.parameters(), 0.05), pruner, steps=[step])
        assert cut_are_zero(pruner)
    assert not torch.equal(before, model[2].weight)
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="'0' is frozen; exclude it"):
        Taylor(model, 0.5)


def test_a_removed_pruner_stays_out():
    model = mlp()
    pruner = Pruner(model, 0.3)
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    train(model, optimizer, pruner, steps=[1])
    pruner.remove()
    for act in (pruner.step, pruner.refresh, copy.deepcopy(pruner).step):
        with pytest.raises(ValueError, match=r"after remove\(\)"):
            act()
    train(model, optimizer, steps=[2])
    assert not cut_are_zero(pruner)  # nothing masks its gradient any more


def test_one_pruner_at_a_time():
    model = mlp()
    pruner = Pruner(model, 0.3)
    with pytest.raises(ValueError, match=r"call its remove\(\) first"):
        BudgetedBroadcast(model, 0.5)
    assert not any(m._forward_hooks for m in model.modules())
    pruner.remove()
    Pruner(model, 0.3, layers=["4"])
    for _ in range(2):  # "0" is free each time
        with pytest.raises(ValueError, match="'4' that another"):
            Pruner(model, 0.5)
    BudgetedBroadcast(model, 0.5, layers=["0", "2"])


@pytest.mark.parametrize(
    "make",
    [
        lambda model: BudgetedBroadcast(model, 0.1, min_degree=12),
        lambda model: BudgetedBroadcast(model, 0.5, rescale="output"),
        lambda model: BudgetedBroadcast(model, 0.5, sp_in=False, sp_out=True, layers=["0"]),
        lambda model: Taylor(model.requires_grad_(False), 0.5),
    ],
)
def test_a_pruner_that_is_refused_leaves_nothing_behind(make):
    model = mlp()
    with pytest.raises(ValueError, match="must"):
        make(model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    Pruner(model.requires_grad_(True), 0.5)


def test_activations_that_no_module_sees_are_named():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Linear(20, 8), nn.Linear(8, 8), nn.Linear(8, 5)

        def forward(self, x):
            x = torch.relu(self.first(x))
            return self.last(torch.relu(x + self.second(x)).mean(0))

    with pytest.warns(UserWarning, match="the activation after second is called as a function"):
        pruner = BudgetedBroadcast(Head(), 0.5)
    assert list(pruner.activities) == ["first"]


def test_finish_projects_to_the_density():
    model = mlp()
    pruner = Pruner(model, 0.2, warmup=1000)
    train(model, OPTIMIZERS["sgd"](model.parameters()), pruner, steps=range(1, 6))
    assert pruner.current_density == 1.0
    report = pruner.finish()
    assert report.n_kept == round(0.2 * report.n_weights)


def test_verify_names_the_layer():
    model = mlp()
    pruner = Pruner(model, 0.2)
    pruner.refresh()
    pruner.verify()
    cut = tuple(torch.nonzero(~pruner.weights["2"].mask)[0])
    kept = tuple(torch.nonzero(pruner.weights["2"].mask)[0])
    for value in (1e-30, float("nan"), float("inf")):
        model[2].weight.data[cut] = value
        with pytest.raises(ValueError, match="layer '2'"):
            pruner.verify()
        model[2].weight.data[cut] = 0.0
        model[2].weight.data[kept] = value  # no concern of the mask
        pruner.verify()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pruner(mlp(), 0.0), r"density must be a number in \(0, 1\]"),
        (lambda: Pruner(mlp(), 1.1), r"density must be a number in \(0, 1\]"),
        (lambda: Pruner(mlp(), float("nan")), "density"),
        (lambda: BudgetedBroadcast(mlp(), -0.1), "density"),
        (lambda: Pruner(nn.Sequential(nn.ReLU()), 0.5), "must have a prunable layer"),
        (lambda: Pruner(mlp(), 0.5, exclude=["0", "2", "4"]), "not excluded"),
        (lambda: Pruner(3, 0.5), "model must be a Module"),
        (lambda: Pruner(mlp(), 0.5, layers=["7"]), "layers must name layers"),
        (lambda: Pruner(mlp(), 0.5, layers=[(nn.Linear(2, 2), "weight")]), "outside it"),
        (lambda: Pruner(mlp(), 0.5, interval=0), "interval"),
        (lambda: Pruner(mlp(), 0.5, warmup=-1), "warmup"),
        (lambda: Pruner(mlp(), 0.5, dormant="lost"), "dormant"),
        (lambda: Pruner(mlp(), 0.5, granularity="filter"), "granularity"),
        (lambda: Pruner(mlp(), 0.5, allocation="column"), "allocation"),
        (lambda: Pruner(mlp(), 0.5, ema_decay=1.0), "ema_decay"),
        (lambda: Pruner(mlp(), 0.5, burn_in=10, warmup=10), "burn_in"),
        (lambda: Pruner(mlp(), 0.5, optimizer=torch.optim.SGD(mlp(1).parameters(), 0.1)), "optimizer must step"),
        (lambda: Pruner(mlp(), 0.5, seed=-1), "seed"),
        (lambda: Pruner(nn.LazyLinear(3), 0.5), "called once"),
        (lambda: BudgetedBroadcast(mlp(), 0.5, sp_in=False), "sp_in or sp_out"),
        (lambda: BudgetedBroadcast(mlp(), 0.5, rule="bins"), "rule"),
        (lambda: BudgetedBroadcast(mlp(), 0.5, beta=0.0), "beta"),
        (lambda: BudgetedBroadcast(mlp(), 0.5, beta="best"), "beta"),
        (lambda: BudgetedBroadcast(mlp(), 0.5, tau=1.0), "tau"),
        (lambda: BudgetedBroadcast(mlp(), rule="threshold"), "tau"),
        (lambda: BudgetedBroadcast(mlp(), 0.5, rule="threshold", tau=1.0), "density"),
        (lambda: BudgetedBroadcast(mlp()), "density"),
        (lambda: BudgetedBroadcast(mlp(), 0.5, rescale="output"), "rescale"),
        (lambda: BudgetedBroadcast(Attention(), 0.5, rescale="forward"), "rescale must not be 'forward'"),
        (lambda: BudgetedBroadcast(mlp(), 0.1, silent_below=0.5), r"silent_below must be .* \[0, 0.5\)"),
        (lambda: BudgetedBroadcast(mlp(), 0.1, min_degree=12), r"density must be in \[0\.397"),
        (lambda: BudgetedBroadcast(mlp(), 0.5, activations={"0": "9"}), "activations"),
        (lambda: BudgetedBroadcast(mlp(), 0.5, inputs={"0": "9"}), "inputs"),
        (lambda: BudgetedBroadcast(mlp(), 0.5, allocation="row"), "allocation"),
        (lambda: Pruner(mlp(), "0.3"), "density must be a number"),
        (lambda: Pruner(UPWARDS, 0.5, layers=[(UPWARDS[0], "weight")]), "a row of weights per unit"),
        (lambda: BudgetedBroadcast(mlp(widths=(4, 3)), 0.5), "activations must be given as {layer: module}"),
        (lambda: BudgetedBroadcast(DataDependent(), 0.5), "activations must be given"),
        (lambda: BudgetedBroadcast(mlp(), 0.5, sp_in=False, sp_out=True, layers=["0"]), "inputs must be given"),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_step_before_any_forward():
    with pytest.raises(ValueError, match="must follow a forward pass"):
        BudgetedBroadcast(mlp(), 0.5).step()


def test_a_checkpoint_of_another_architecture():
    pruner = BudgetedBroadcast(mlp(), 0.5)
    for other in (mlp(widths=(20, 41, 30, 5)), mlp(widths=(20, 8, 5)), Attention()):
        before = pruner.weights["0"].mask.clone()
        with pytest.raises(ValueError, match="same architecture"):
            pruner.load_state_dict(BudgetedBroadcast(other, 0.5).state_dict())
        assert torch.equal(pruner.weights["0"].mask, before)
    with pytest.raises(ValueError, match="one of BudgetedBroadcast"):
        pruner.load_state_dict(Pruner(mlp(), 0.5).state_dict())
    with pytest.raises(ValueError, match="one of a pruner"):
        pruner.load_state_dict(mlp().state_dict())
    torn = pruner.state_dict()
    del torn["weights"]
    with pytest.raises(ValueError, match="without weights"):
        pruner.load_state_dict(torn)


# -- the course


def test_refreshes_come_when_they_should():
    model = mlp()
    pruner = Pruner(model, 0.5, interval=4, warmup=3, until=12)
    done = []
    for step in range(1, 21):
        before = pruner.n_refreshes
        pruner.step()
        if pruner.n_refreshes > before:
            done.append(step)
    assert done == [3, 7, 11]
    assert Pruner(mlp(), 0.5, interval=4).is_refresh(1)


@pytest.mark.parametrize("density", [0.5, 0.3, 0.1, 0.05, 1.0])
@pytest.mark.parametrize("settings", [{}, {"sp_in": False, "sp_out": True}, {"sp_out": True}, {"allocation": "layer"},
                                      {"rule": "equal_traffic"}])  # fmt: skip
def test_the_density_is_met_at_every_refresh(density, settings):
    model = mlp()
    pruner = BudgetedBroadcast(model, density, interval=3, warmup=4, **settings)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(1, 14):
        train(model, optimizer, pruner, steps=[step])
        if pruner.is_refresh(step):
            assert abs(pruner.n_kept - density * pruner.n_weights) < 1
            if "allocation" in settings:
                for weight in pruner.weights.values():
                    assert abs(weight.n_kept - density * weight.mask.numel()) < 1


def test_burn_in_is_forgotten():
    model = mlp()
    pruner = BudgetedBroadcast(model, 0.5, warmup=10, burn_in=3, ema_decay=0.5)
    for step in range(1, 6):
        model(torch.full((4, 20), 1e3) if step <= 3 else batch(step, 4, 20))
        pruner.step()
    other = BudgetedBroadcast(mlp(), 0.5, warmup=10, ema_decay=0.5)
    for step in (4, 5):
        other.model(batch(step, 4, 20))
        other.step()
    assert torch.equal(pruner.on_rates()["0"], other.on_rates()["0"])


class Gradual(Pruner):
    def density_at(self, step):
        return max(self.density, 1 - 0.05 * step)


def test_a_schedule_ends_at_its_density_however_early_training_ends():
    pruner = Gradual(mlp(), 0.2, interval=2)
    for _ in range(6):
        pruner.step()
    assert pruner.current_density == pytest.approx(0.75, abs=1e-3)
    assert pruner.finish().n_kept == round(0.2 * 2150)


@pytest.mark.parametrize("allocation", ["network", "layer", "row"])
@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_magnitude(allocation, granularity):
    model = ConvNet()
    values = {n: p.detach().clone() for n, p in model.named_parameters()}
    pruner = Pruner(model, 0.4, allocation=allocation, granularity=granularity)
    pruner.refresh()
    link = max(w.link_size for w in pruner.weights.values())
    assert abs(pruner.n_kept - 0.4 * pruner.n_weights) < link
    for name, weight in pruner.weights.items():
        score = weight.per_link(values[f"{name}.weight"].abs()) / weight.link_size
        if allocation == "row":
            fan_in = weight.fan_in()
            assert int(fan_in.max() - fan_in.min()) <= 1
        else:
            assert score[weight.mask].min() >= score[~weight.mask].max()
    if allocation == "network":
        scores = [
            (w.per_link(values[f"{n}.weight"].abs()) / w.link_size, w.mask) for n, w in pruner.weights.items()
        ]
        assert min(s[m].min() for s, m in scores) >= max(s[~m].max() for s, m in scores)


def test_history(tmp_path):
    pruner = Pruner(mlp(), 0.5)
    pruner.record(0.9)
    pruner.refresh()
    pruner.record(0.8)
    pruner.record(0.7, saliency=3.0)
    history = pruner.history
    kept = torch.cat([w.parameter.detach()[w.mask].abs() for w in pruner.weights.values()])
    assert history.density.tolist() == [1.0, 0.5, 0.5]
    assert history.saliency[1] == float(kept.min())
    assert history.saliency[2] == 3.0
    path = tmp_path / "history.csv"
    history.to_csv(path)
    assert path.read_text().splitlines()[0] == "Saliency,Remaining,Accuracy"
    twin = Pruner(mlp(), 0.5)
    twin.load_state_dict(pruner.state_dict())
    assert twin.history == history
    with pytest.raises(ValueError, match="accuracy"):
        pruner.record(float("nan"))


def test_a_refresh_that_fails_changes_nothing():
    pruner = Pruner(mlp(), 0.5)
    pruner.refresh()
    state = pruner.state_dict()["weights"]
    weights = {n: w.parameter.detach().clone() for n, w in pruner.weights.items()}

    def fail():
        pruner.scores()
        raise RuntimeError("no choice")

    pruner.choose = fail
    with pytest.raises(RuntimeError, match="no choice"):
        pruner.refresh()
    for name, weight in pruner.weights.items():
        assert torch.equal(weight.parameter, weights[name])
        assert torch.equal(weight.dormant, state[name]["dormant"])
        assert torch.equal(weight.mask, state[name]["mask"])


def test_padding_of_a_batch_is_left_out():
    model = Attention()
    pruner = BudgetedBroadcast(model, 0.5)
    valid = torch.arange(6) < torch.tensor([2, 6, 1, 3])[:, None]
    pruner.padding.valid = valid
    model(batch(0, 4, 6, 16))
    assert float(pruner.activities["up"].count) == 12


def test_memory_is_one_byte_a_weight_and_the_dormant_values():
    pruner = BudgetedBroadcast(mlp(widths=(64, 64, 64, 64)), 0.5, interval=1)
    pruner.model(batch(0, 8, 64))
    pruner.step()
    tensors = [
        t
        for w in pruner.weights.values()
        for k, t in vars(w).items()
        if torch.is_tensor(t) and k != "_hooked"
    ]
    assert sum(t.numel() * t.element_size() for t in tensors) == 3 * 64 * 64 * (1 + 4)
    report = pruner.report()
    assert [layer.mask_bytes for layer in report.layers] == [64 * 64] * 3

"""Dead units removed: the function stays, what cannot go stays, and the report says why."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from bbtheory.train import BudgetedBroadcast, Pruner, TopKActivation, compact
from small_models import Attention, ConvNet, batch, train
from small_models import mlp as plain_mlp

torch.set_num_threads(1)

EXACT = 1e-12  # of the largest output, float64: sums of other lengths
SINGLE = 1e-6  # the same, float32


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prepare(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random parameters and batch statistics, float64, eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.empty(tensor.shape).uniform_(0.2, 1.0, generator=generator))
                tensor.mul_(torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1)
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_var.abs_()
    return model.double().eval()


def cut(module, *, outputs=(), inputs=()):
    with torch.no_grad():
        module.weight[list(outputs)] = 0.0
        module.weight[:, list(inputs)] = 0.0


def check(model: nn.Module, example: torch.Tensor, masks=None, tolerance: float = EXACT):
    """Compact, compare on other inputs than the example; return the model and {layer: (removed, folded)}."""
    wanted = copy.deepcopy(model)
    for name, mask in (masks or {}).items():
        weight = wanted.get_submodule(name).weight
        with torch.no_grad():
            weight.mul_(mask.reshape(*mask.shape, *(1,) * (weight.ndim - mask.ndim)))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    small, report = compact(model, masks, example)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    other = torch.randn(example.shape, generator=torch.Generator().manual_seed(9)).to(example.dtype) * 3
    with torch.no_grad():
        a, b = wanted(other), small(other)
    assert float((a - b).abs().max() / a.abs().max()) <= tolerance
    assert report.difference <= tolerance
    removed = {
        n: (int(r), int(f)) for n, r, f in zip(report.layer, report.n_removed, report.n_folded, strict=True)
    }
    return small, report, removed


def mlp(activation=nn.ReLU, bias=True):
    return prepare(
        nn.Sequential(
            nn.Linear(6, 8, bias=bias),
            activation(),
            nn.Linear(8, 7, bias=bias),
            activation(),
            nn.Linear(7, 3),
        )
    )


def test_units_without_audience_and_without_input():
    model = mlp()
    cut(model[0], outputs=[1, 4])
    cut(model[2], inputs=[2])
    with torch.no_grad():
        model[0].bias[1], model[0].bias[4] = 0.7, -0.7  # one constant above 0, one that the ReLU turns to 0
    small, report, removed = check(model, draw(5, 6))
    assert removed == {"0": (3, 1), "2": (0, 0), "4": (0, 0)}
    assert report.note == ("", "", "its output is the model's")
    assert (small[0].out_features, small[2].in_features) == (5, 5)
    assert small[0].weight.shape == (5, 6)
    assert small[2].weight.shape == (7, 5)
    assert report.n_parameters == sum(p.numel() for p in small.parameters())
    assert report.parameters_kept == report.n_parameters / report.n_parameters_before < 1
    # two folded by hand: the bias holds the constant's share
    assert torch.allclose(small[2].bias, model[2].bias + model[2].weight[:, 1] * 0.7, rtol=EXACT)


@pytest.mark.parametrize("activation", [nn.GELU, nn.Sigmoid, nn.Softplus, nn.Tanh, nn.LeakyReLU, nn.Dropout])
@pytest.mark.parametrize("bias", [True, False])
def test_constants_pass_through_any_activation(activation, bias):
    model = mlp(activation, bias)
    cut(model[0], outputs=[0, 3])
    small, _, removed = check(model, draw(5, 6))
    zero = not bias and activation not in (nn.Sigmoid, nn.Softplus)
    assert removed["0"] == (2, 0 if zero else 2)
    # a bias is made where one is needed, and not where none is
    assert (small[2].bias is not None) == (bias or not zero)


def test_death_spreads_both_ways():
    sizes = [5, 6, 4, 6, 3]
    model = prepare(
        nn.Sequential(*[m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())])
    )
    cut(
        model[6], inputs=[0, 1]
    )  # so units 0 and 1 of layer 4 die, and with them unit 2 of layer 2, heard only there
    with torch.no_grad():
        model[4].weight[2:, 2] = 0.0
        model[0].weight[3] = 0.0  # a constant, the only input of unit 0 of layer 2
        model[2].weight[0] = 0.0
        model[2].weight[0, 3] = 1.0
    _, report, removed = check(model, draw(5, 5))
    assert {n: r for n, (r, _) in removed.items()} == {"0": 1, "2": 2, "4": 2, "6": 0}
    assert report.n_removed.sum() == 5


def test_masks_decide_and_not_the_weights():
    model = mlp()
    masks = {"0": torch.ones(8, 6, dtype=torch.bool), "2": torch.ones(7, 8, dtype=torch.bool)}
    masks["0"][2] = False
    masks["2"][:, 5] = False
    _, _, removed = check(model, draw(5, 6), masks)
    assert removed["0"][0] == 2
    # a kept link may be 0 at the moment: its unit is not dead
    cut(model[0], outputs=[1])
    assert check(model, draw(5, 6), masks)[2]["0"][0] == 2
    assert check(model, draw(5, 6))[2]["0"][0] == 1


def test_a_cut_infinity_is_gone():
    model = mlp()
    mask = torch.ones(8, 6, dtype=torch.bool)
    mask[2] = False
    with torch.no_grad():
        model[0].weight[2, 0] = float("inf")
    small, report = compact(model, {"0": mask}, draw(5, 6))
    assert report.n_removed[0] == 1
    assert bool(small(draw(5, 6)).isfinite().all())


def convolutions(**options):
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3, **options),
        nn.ReLU(),
        nn.AvgPool2d(2, padding=1),
        nn.Flatten(),
        nn.LazyLinear(4),
        nn.BatchNorm1d(4),
        nn.Tanh(),
        nn.Linear(4, 2),
    )
    model(torch.zeros(2, 2, 8, 8))
    model = prepare(model)
    with torch.no_grad():
        model[1].bias.abs_()  # constants above 0 pass the ReLU
        model[1].running_mean.mul_(torch.where(model[1].weight > 0, -1.0, 1.0) * model[1].running_mean.sign())
        model[4].bias.abs_()
    return model


@pytest.mark.parametrize(
    ("options", "n_removed"),
    [
        ({}, 3),
        ({"padding": "valid"}, 3),
        ({"padding": 1, "padding_mode": "circular"}, 3),
        ({"padding": 1, "padding_mode": "replicate"}, 3),
        # the constant map ends at the border: only the unit that nobody hears goes
        ({"padding": 1}, 1),
        ({"padding": "same"}, 1),
    ],
)
def test_constant_maps(options, n_removed):
    model = convolutions(**options)
    cut(model[0], outputs=[0, 3])
    cut(model[4], inputs=[5], outputs=[2])
    with torch.no_grad():
        model[0].bias[[0, 3]] = model[1].running_mean[[0, 3]]  # batch norm turns them into its bias
    small, report, removed = check(model, draw(3, 2, 8, 8))
    assert removed["0"][0] == n_removed
    assert ("border" in report.note[0]) == (n_removed == 1)
    # an average over a padded map is no constant, but a flattened one folds value by value
    assert removed["4"] == (1, 1)
    assert small[1].num_features == small[1].running_var.numel() == 6 - n_removed
    assert small[8].in_features == model[8].in_features * 4 // 5


def test_zero_maps_pass_a_padded_border():
    model = convolutions(padding=1)
    cut(model[0], outputs=[0, 3])
    with torch.no_grad():
        model[0].bias[[0, 3]] = model[1].running_mean[[0, 3]]
        model[1].bias[[0, 3]] = -0.5
    assert check(model, draw(3, 2, 8, 8))[2]["0"] == (2, 0)


def test_masks_of_channel_pairs():
    model = convolutions()
    mask = torch.ones(5, 6, dtype=torch.bool)
    mask[:, 1] = False
    assert check(model, draw(3, 2, 8, 8), {"4": mask})[2]["0"] == (1, 0)


class Written(nn.Module):
    """A model in its own words: functions and methods, a flattening by view, a branch."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Conv2d(4, 3, 3)
        self.hidden = nn.Linear(3 * 2 * 2, 6)
        self.inner = nn.Linear(6, 6)
        self.last = nn.Linear(6, 2)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.first(x)), 2)
        x = torch.tanh(self.second(x))
        x = x.view(x.size(0), -1)
        x = self.hidden(x).relu()
        return self.last(x + functional.dropout(functional.gelu(self.inner(x)), training=self.training))


def test_traced_modules_and_residual_connections():
    model = prepare(Written())
    cut(model.first, outputs=[1])
    cut(model.second, inputs=[2], outputs=[0])
    cut(model.hidden, outputs=[2])
    cut(model.inner, outputs=[3], inputs=[4])
    _, report, removed = check(model, draw(3, 1, 10, 10))
    assert {n: r for n, (r, _) in removed.items()} == {
        "first": 2,
        "second": 1,
        "hidden": 0,
        "inner": 0,
        "last": 0,
    }
    notes = dict(zip(report.layer, report.note, strict=True))
    assert notes["hidden"] == "its output goes to 2 places"
    assert notes["inner"] == "it meets another path in add"
    assert report.to_frame().shape == (5, 5)


class Mixed(nn.Module):
    def __init__(self, between, **modules):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        for name, module in modules.items():
            setattr(self, name, module)
        self.between = between

    def forward(self, x):
        return self.between(self, x)


def shared(model, x):
    return model.b(model.a(model.a(x)))


def outside(model, x):
    return functional.linear(model.b(model.a(x)), model.a.weight)


def fixed_view(model, x):
    return model.b(model.a(x).view(-1, 4))


def transposed(model, x):
    return model.b(model.a(x).t())


def untraceable(model, x):
    return model.b(model.a(x)) if x.sum() > 1e9 else model.b(model.a(x).relu())


@pytest.mark.parametrize(
    ("model", "note"),
    [
        (Mixed(lambda m, x: m.b(m.norm(m.a(x))), norm=nn.LayerNorm(4)), "it reaches norm"),
        (Mixed(lambda m, x: m.b(m.a(x).softmax(1))), "it reaches softmax"),
        (Mixed(lambda m, x: m.b(m.a(x) * 2)), "it reaches mul"),
        (Mixed(lambda m, x: m.b(m.act(m.a(x))), act=nn.PReLU(4)), "it reaches act"),
        (Mixed(shared), "a is called 2 times on its own"),
        (Mixed(outside), "a is read outside of its call"),
        (Mixed(fixed_view), "view does not flatten each unit on its own"),
        (Mixed(transposed), "it reaches t"),
        (Mixed(untraceable), "the model cannot be traced"),
        (Mixed(lambda m, x: m.b(input=m.a(x))), "it reaches b as no first argument"),
        (Mixed(lambda m, x: m.conv(m.a(x)[:, None]), conv=nn.Conv1d(1, 2, 2)), "it reaches getitem"),
    ],
)
def test_left_alone(model, note):
    model = prepare(model)
    cut(model.a, outputs=[1])
    small, report, removed = check(model, draw(4, 4))
    assert sum(r for r, _ in removed.values()) == 0
    assert report.note[0].startswith(note), report.note
    assert report.n_parameters == report.n_parameters_before
    assert small is not model


def test_tied_and_grouped_layers_are_left_alone():
    model = prepare(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)))
    model[4].weight = model[0].weight
    cut(model[0], outputs=[1])
    cut(model[2], outputs=[2])
    _, report, removed = check(model, draw(4, 4))
    assert set(removed.values()) == {(0, 0)}
    assert report.note == ("0 shares a parameter", "4 shares a parameter", "4 shares a parameter")
    grouped = prepare(
        nn.Sequential(nn.Conv1d(4, 4, 1), nn.ReLU(), nn.Conv1d(4, 4, 1, groups=2), nn.Conv1d(4, 2, 1))
    )
    cut(grouped[0], outputs=[1])
    assert check(grouped, draw(3, 4, 5))[1].note[:2] == ("2 is grouped", "it is grouped")


def test_linear_on_sequences_and_on_the_axis_of_maps():
    model = mlp()
    cut(model[0], outputs=[1])
    with torch.no_grad():
        model[0].bias[1] = 0.7
    assert check(model, draw(2, 5, 6))[2]["0"] == (1, 1)
    # a Linear on the last axis of maps does not see units
    maps = prepare(nn.Sequential(nn.Conv1d(3, 4, 1), nn.Linear(4, 2)))
    cut(maps[0], outputs=[1])
    _, report, removed = check(maps, draw(2, 3, 4))
    assert removed["0"] == (0, 0)
    assert report.note[0] == "its units are not the inputs of 1"


def test_a_layer_is_never_empty():
    model = mlp()
    cut(model[0], outputs=range(8))
    small, report, removed = check(model, draw(5, 6))
    assert removed["0"][0] == 7
    assert small[0].out_features == 1
    assert report.note[0] == "one unit stays: a layer cannot be empty"


def test_single_precision_modes_and_gradients():
    model = mlp(nn.GELU).float().train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    cut(model[0], outputs=[1, 2])
    small, _, removed = check(model, draw(5, 6).float(), tolerance=SINGLE)
    assert removed["0"][0] == 2
    assert [m.training for m in small.modules()] == [m.training for m in model.modules()]
    assert [p.requires_grad for p in small.parameters()] == [p.requires_grad for p in model.parameters()]


def test_a_difference_is_not_passed_over(monkeypatch):
    # the control: were constants dropped and not folded, the comparison would say so
    from bbtheory.train import compaction

    monkeypatch.setattr(compaction, "_fold", lambda *_: None)
    model = mlp()
    cut(model[0], outputs=[1])
    with torch.no_grad():
        model[0].bias[1] = 0.7
    with pytest.raises(RuntimeError, match="the compact model's output differs"):
        compact(model, None, draw(5, 6))


@pytest.mark.parametrize(
    ("model", "masks", "message"),
    [
        (None, None, "model must be a Module"),
        (mlp(), {"7": torch.ones(8, 6) > 0}, "masks must name Linear or Conv layers of the model, got '7'"),
        (mlp(), {"1": torch.ones(8, 6) > 0}, "masks must name Linear or Conv layers"),
        (mlp(), {"0": torch.ones(8, 6)}, r"masks\['0'\] must be bool of shape"),
        (mlp(), {"0": torch.ones(6, 8) > 0}, r"masks\['0'\] must be bool of shape"),
        (mlp(), {"0": [True]}, r"masks\['0'\] must be a Tensor"),
    ],
)
def test_bad_input(model, masks, message):
    with pytest.raises(ValueError, match=message):
        compact(model, masks, draw(5, 6))


def check_pruned(pruner, *shape):
    """Compact a pruner; return the report; the pruner and its model stay as they are, to the bit."""
    pruner.finish()
    state, weights = pruner.state_dict(), copy.deepcopy(pruner.model.state_dict())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in pruner.model.modules()]
    small, report = pruner.compact(batch(0, *shape))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in small.modules())
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in pruner.model.modules()]
    assert all(torch.equal(weights[k], v) for k, v in pruner.model.state_dict().items())
    for name, saved in state["weights"].items():
        assert torch.equal(saved["mask"], pruner.weights[name].mask)
        assert torch.equal(saved["dormant"], pruner.weights[name].dormant)
    pruner.model.eval()
    small.eval()
    other = batch(77, *shape)
    with torch.no_grad():
        wanted, got = pruner.model(other), small(other)
    assert float((got - wanted).abs().max() / wanted.abs().max()) <= SINGLE
    return report


@pytest.mark.parametrize("side", ["sp_in", "sp_out"])
@pytest.mark.parametrize(
    ("make", "shape", "density"),
    [(plain_mlp, (32, 20), 0.03), (ConvNet, (8, 3, 8, 8), 0.04)],
    ids=["mlp", "conv"],
)
def test_a_pruner_compacts(make, shape, density, side):
    model = make()
    pruner = BudgetedBroadcast(
        model, density, sp_in=side == "sp_in", sp_out=side == "sp_out", beta=2.0, interval=5, warmup=5
    )
    train(model, torch.optim.Adam(model.parameters(), 1e-2), pruner, steps=range(1, 16), shape=shape)
    report = check_pruned(pruner, *shape)
    assert report.n_removed.sum() > 0
    assert report.n_parameters < report.n_parameters_before


def test_a_rescaled_pruner_compacts():
    model = plain_mlp()
    pruner = BudgetedBroadcast(model, 0.05, rescale="forward", interval=5, warmup=5)
    train(model, torch.optim.Adam(model.parameters(), 1e-2), pruner, steps=range(1, 16))
    assert check_pruned(pruner, 32, 20).n_removed.sum() > 0


def test_channel_masks_and_attention():
    model = ConvNet()
    pruner = Pruner(model, 0.1, granularity="channel")
    train(model, torch.optim.SGD(model.parameters(), 0.05), pruner, steps=range(1, 3), shape=(8, 3, 8, 8))
    check_pruned(pruner, 8, 3, 8, 8)
    pruner = Pruner(Attention(), 0.2)
    pruner.refresh()
    assert check_pruned(pruner, 2, 5, 16).layer == ("up", "down")


def test_gates_are_not_compacted():
    with pytest.raises(ValueError, match="cuts no weight"):
        TopKActivation(plain_mlp(), 0.5).compact(batch(0, 2, 20))

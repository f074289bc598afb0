import importlib.util
from dataclasses import replace

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch

from bbtheory.train import (
    TransformerShape,
    Wanda,
    budget_tokens,
    keep_distances,
    lenet_300_100,
    measure_key_distances,
    mlp,
    prune_one_shot,
    transformer,
)
from bbtheory.train.one_shot import METHODS

SHAPE = TransformerShape(vocabulary=13, width=16, depth=2, heads=2, ffn=24, context=8)


def codes(n=4, seed=0):
    return torch.randint(0, 13, (n, 8), generator=torch.Generator().manual_seed(seed))


def weights(model, layers=SHAPE.ffn_layers):
    return {name: model.get_submodule(name).weight.detach().clone() for name in layers}


def trained_like(seed=0):
    """A model whose units differ in their on-rates and whose inputs differ in size."""
    model = transformer(SHAPE, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in SHAPE.ffn_layers:
            weight = model.get_submodule(name).weight
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
        for block in model.blocks:
            block.ffn_norm.weight.add_(torch.randn(16, generator=generator))
            block.ffn_norm.bias.add_(torch.randn(16, generator=generator))
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("groups", [None, (2, 4)])
@pytest.mark.parametrize("density", [0.5, 0.3])
def test_density_is_met_in_each_layer(method, groups, density):
    model = trained_like()
    before = weights(model)
    masks = prune_one_shot(
        model, SHAPE.ffn_layers, [codes(), codes(seed=1)], method=method, density=density, groups=groups
    )
    assert set(masks) == set(SHAPE.ffn_layers)
    for name, after in weights(model).items():
        mask = masks[name]
        assert abs(int(mask.sum()) - density * mask.numel()) <= 0.5
        assert (after[~mask] == 0).all()
        if groups:
            assert int(mask.reshape(-1, 4).sum(1).max()) == 2
        changed = bool((after[mask] != before[name][mask]).any())
        assert changed == (method == "sparse_gpt"), "only the surgeon changes what is kept"
    assert model.training


def test_magnitude_by_hand():
    model = mlp((2, 2, 2))
    with torch.no_grad():
        model.fc1.weight.copy_(torch.tensor([[1.0, -4.0], [3.0, 2.0]]))
    prune_one_shot(model, ["fc1"], [torch.ones(1, 2)], method="magnitude", density=0.5)
    assert model.fc1.weight.tolist() == [[0.0, -4.0], [3.0, 0.0]]


def test_two_roads_wanda():
    # one layer: the pruner's way of Wanda and this one see the same inputs
    x = torch.randn(50, 20, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 3, 20)
    model, other = mlp((20, 10, 3)), mlp((20, 10, 3))
    mask = prune_one_shot(model, ["fc1"], [x[:30], x[30:]], method="wanda", density=0.4)["fc1"]
    pruner = Wanda(other, 0.4, layers=["fc1"])
    pruner.calibrate([x[:30], x[30:]])
    pruner.refresh()
    assert torch.equal(mask, pruner.weights["fc1"].mask)


def test_later_layers_are_measured_after_earlier_ones_are_cut():
    x = torch.randn(60, 12, generator=torch.Generator().manual_seed(3)).abs()
    model = mlp((12, 16, 4), seed=2)
    whole = prune_one_shot(mlp((12, 16, 4), seed=2), ["fc2"], [x], method="wanda", density=0.5)["fc2"]
    masks = prune_one_shot(model, ["fc1", "fc2"], [x], method="wanda", density=0.2)
    cut = mlp((12, 16, 4), seed=2)
    with torch.no_grad():
        cut.fc1.weight.mul_(masks["fc1"])
    size = cut.relu1(cut.fc1(x)).square().mean(0).sqrt()
    score = mlp((12, 16, 4), seed=2).fc2.weight.detach().abs() * size
    again = prune_one_shot(cut, ["fc2"], [x], method="wanda", density=0.5)["fc2"]
    assert torch.equal(again, score >= score.topk(8, dim=1).values[:, -1:])
    assert not torch.equal(again, whole), "the sizes of the dense network would choose others"


def test_degrees_follow_the_balance():
    model = trained_like()
    on = {}
    for name in SHAPE.hidden_layers:

        def see(module, x, y, name=name):
            on.setdefault(name, (y > 0).double().flatten(0, 1).mean(0))

        model.get_submodule(name).register_forward_hook(see)
    first = SHAPE.hidden_layers[0]  # measured before anything is cut
    masks = prune_one_shot(model, SHAPE.ffn_layers, [codes(64)], method="bb", density=0.5)
    k = masks[first].sum(1).double()
    rate = on[first].clamp(1 / 1024, 1 - 1 / 1024)
    odds = torch.log((1 - rate) / rate)
    free = (k > 0) & (k < 16)
    assert int(free.sum()) > 8
    correlation = np.corrcoef(k[free], odds[free])[0, 1]
    assert correlation > 0.97, "whole links alone stand between degree and line"
    assert k.std() == pytest.approx(4.0, rel=0.4), "half the mean, less what is clipped"
    down = masks["blocks.0.ffn.down"].sum(1)
    assert int(down.max() - down.min()) <= 1, "no on-rate, no degrees of their own"
    magnitude = prune_one_shot(trained_like(), [first], [codes()], method="magnitude", density=0.5)[first]
    assert np.corrcoef(magnitude.sum(1).double(), odds)[0, 1] < 0.5, "negative control"


def test_without_room_degrees_are_alike():
    masks = prune_one_shot(
        trained_like(), SHAPE.ffn_layers, [codes()], method="bb", density=0.5, groups=(2, 4)
    )
    plain = prune_one_shot(
        trained_like(), SHAPE.ffn_layers, [codes()], method="magnitude", density=0.5, groups=(2, 4)
    )
    assert all(torch.equal(masks[name], plain[name]) for name in masks)


def test_the_surgeon_loses_less():
    x = codes(32)

    def change(method):
        model = trained_like()
        before = model(x)
        prune_one_shot(model, SHAPE.ffn_layers, [x], method=method, density=0.5)
        return float((model(x) - before).detach().square().mean())

    assert change("sparse_gpt") < 0.8 * change("magnitude")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"method": "best"}, "method must be one of random, magnitude"),
        ({"density": 0.0}, "density must be"),
        ({"layers": ["none"]}, "layers must name layers of the model"),
        ({"calibration": []}, "calibration must hold at least one batch"),
        ({"groups": (2, 5)}, "groups must be n:m with m a divisor of 16"),
        ({"groups": (1, 4)}, "at least the density 0.5, got 1:4"),
        ({"groups": (5, 4)}, "groups must be"),
        ({"groups": (1,)}, r"groups must be \(n, m\)"),
        ({"beta": 0.0}, "beta must be"),
        ({"seed": -1}, "seed must be"),
        ({"call": lambda model, batch: None}, "calibration must reach every layer"),
        ({"model": 3}, "model must be"),
    ],
)
def test_bad_input(change, match):
    arguments = {
        "model": transformer(SHAPE),
        "layers": SHAPE.ffn_layers,
        "calibration": [codes()],
        "method": "wanda",
        "density": 0.5,
    } | change
    with pytest.raises(ValueError, match=match):
        prune_one_shot(**arguments)


def test_degrees_need_on_rates():
    # without them bb would be magnitude by another name
    model = torch.nn.Sequential(torch.nn.Linear(8, 4))
    x = [torch.rand(16, 8)]
    with pytest.raises(ValueError, match="activations must name one for a layer that is cut: bb_wanda found"):
        prune_one_shot(model, ["0"], x, method="bb_wanda", density=0.5)
    prune_one_shot(model, ["0"], x, method="wanda", density=0.5)


def test_only_linear_layers():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
    with pytest.raises(ValueError, match="layers must name Linear modules, got '0' of Conv2d"):
        prune_one_shot(model, ["0"], [torch.ones(1, 1, 4, 4)], method="wanda", density=0.5)
    lenet = lenet_300_100()
    prune_one_shot(lenet, ["fc1", "fc2"], [torch.rand(8, 784)], method="bb", density=0.2)


# -- attention by distance


def test_attention_by_distance():
    model = trained_like()
    x = codes(6)
    measured = measure_key_distances(model, x)
    assert len(measured) == 2
    for record in measured:
        rates = record.on_rate.reshape(2, 8)
        np.testing.assert_allclose(rates.sum(1), 1.0, rtol=1e-6)
        assert (record.fan_out == 8 * 16).all()
    # two roads: each weight of each query put where its key lies
    attention = model.attentions[0]
    state = model.blocks[0].attention_norm(model.embedding(x))
    query, key, _ = attention.split(state)
    want = np.zeros((2, 8))
    for w in range(6):
        for h in range(2):
            for i in range(8):
                p = torch.softmax(query[w, h, i] @ key[w, h, : i + 1].T / 8**0.5, 0)
                for j in range(i + 1):
                    want[h, i - j] += float(p[j].detach())
    np.testing.assert_allclose(measured[0].on_rate.reshape(2, 8), want / 48, rtol=1e-5)


def test_a_budget_of_distances():
    model = trained_like()
    x = codes(6)
    measured = measure_key_distances(model, x)
    whole = model(x)
    budgets = [budget_tokens(m, beta=1.0, d0=3.0, always=(0,)) for m in measured]
    keep_distances(model, budgets)
    assert not torch.allclose(model(x), whole)
    again = measure_key_distances(model, x)
    for budget, record in zip(budgets, again, strict=True):
        assert (record.on_rate.reshape(2, 8)[~budget.mask] == 0).all()
        assert budget.mask[:, 0].all()
    keep_distances(model, [None, None])
    torch.testing.assert_close(model(x), whole)
    keep_distances(model, [np.ones((2, 8), bool)] * 2)
    torch.testing.assert_close(model(x), whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("masks", "match"),
    [
        ([None], "masks must hold one for each of 2 blocks, got 1"),
        ([None, np.ones((3, 8), bool)], "masks must be bool with 2 rows"),
        ([None, np.ones((2, 8))], "masks must be bool"),
        ([None, np.zeros((2, 8), bool)], "True in column 0"),
        ([None, np.ones((2, 0), bool)], "True in column 0"),
    ],
)
def test_bad_distances(masks, match):
    with pytest.raises(ValueError, match=match):
        keep_distances(transformer(SHAPE), masks)


def test_distances_need_a_decoder():
    with pytest.raises(ValueError, match="model must be causal"):
        measure_key_distances(transformer(replace(SHAPE, causal=False)), codes())
    with pytest.raises(ValueError, match="codes have two axes"):
        measure_key_distances(transformer(SHAPE), codes()[0])
    for windows in (codes()[:0], torch.zeros(1, SHAPE.context + 1, dtype=torch.int64)):
        with pytest.raises(ValueError, match=f"codes must be windows of 1 to {SHAPE.context} tokens"):
            measure_key_distances(transformer(SHAPE), windows)

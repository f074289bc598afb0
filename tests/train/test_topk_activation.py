"""Top-k activations gate exactly k units, by value or size, per sample, token and position."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from bbtheory.train import TopKActivation
from small_models import Attention, ConvNet, batch, mlp, train


def gated(model, **settings):
    pruner = TopKActivation(model, 0.3, **settings)
    pruner.refresh()
    return pruner


@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("rescale", [False, True])
def test_exactly_k_per_token(by, rescale):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 20), nn.Tanh(), nn.Linear(20, 3))
    x = batch(0, 4, 5, 8)
    h = model[1](model[0](x))
    size = h.abs() if by == "magnitude" else h
    keep = size >= size.topk(6, dim=-1).values[..., -1:]
    wanted = model[2](h * keep * (math.sqrt(20 / 6) if rescale else 1.0))
    pruner = gated(model, by=by, rescale=rescale)
    assert torch.equal((model[1](model[0](x)) != 0).sum(-1), torch.full((4, 5), 6))
    assert torch.allclose(model(x), wanted, atol=1e-6)  # float32, in another order
    model.eval()
    assert torch.allclose(model(x), wanted, atol=1e-6)
    assert list(pruner.gates) == ["0"]


def test_ties_keep_k_too():
    model = nn.Sequential(nn.Linear(4, 10), nn.Sigmoid(), nn.Linear(10, 2))
    nn.init.zeros_(model[0].weight)
    nn.init.ones_(model[0].bias)
    gated(model)
    assert (model[1](model[0](batch(0, 6, 4))) != 0).sum(1).tolist() == [3] * 6


def test_convolutions_per_position():
    """Channels compete at each position; the functional activation is gated before it, which is the same."""
    model = ConvNet().eval()
    x = batch(0, 4, 3, 8, 8)
    h = torch.relu(model.bn1(model.conv1(x)))
    keep = h >= h.topk(2, dim=1).values[:, -1:]
    gated(model, layers=["conv1"])
    assert torch.equal(torch.relu(model.bn1(model.conv1(x))), h * keep)


def test_gradients_flow_through_kept_units_alone():
    model = mlp(widths=(6, 10, 2))
    gated(model)
    seen = []
    handle = model[0].register_forward_hook(lambda m, i, o: seen.append(o) or o.retain_grad())
    model(batch(0, 5, 6)).sum().backward()
    handle.remove()
    kept = torch.relu(seen[0]) > 0
    top = seen[0] >= seen[0].topk(3).values[:, -1:]
    assert not seen[0].grad[~(kept & top)].any()
    assert seen[0].grad[kept & top].all()


def test_density_means_units_and_the_report_says_so():
    model = mlp()
    opt = torch.optim.SGD(model.parameters(), 0.1)
    pruner = TopKActivation(model, 0.3, warmup=4)
    train(model, opt, pruner, steps=range(1, 4))
    assert pruner.current_density == 1.0
    train(model, opt, pruner, steps=range(4, 12))
    assert pruner.n_refreshes == 1
    assert pruner.current_density == pytest.approx((12 + 9) / 70)
    pruner.record(0.5)
    assert pruner.history.density[0] == pruner.current_density
    report = pruner.finish()
    assert report.density == 1.0  # of weights
    assert "No weight is cut: 0.3 of the units of 0, 2" in str(report)


def test_a_shared_activation_of_a_sum_is_gated_once():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.act, self.c = nn.Linear(4, 10), nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 2)

        def forward(self, x):
            return self.c(self.act(self.a(x) + self.b(x)))

    pruner = gated(Sum(), rescale=True)
    assert len(pruner.gates) == 1


def test_attention_blocks():
    model = Attention()
    pruner = gated(model)
    assert list(pruner.gates) == ["up"]
    assert model(batch(0, 2, 5, 16)).shape == (2, 5, 16)


def test_removed_and_copied_models_are_ungated():
    model = mlp()
    x = batch(0, 8, 20)
    plain = model(x)
    pruner = gated(model)
    assert not torch.allclose(model(x), plain)
    assert torch.equal(copy.deepcopy(model)(x), plain)
    pruner.remove()
    assert torch.equal(model(x), plain)
    assert all(not m._forward_hooks for m in model.modules())

"""Gradient and Taylor scores are what autograd says, at kept and at cut weights, over one batch and several."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bbtheory.train import Gradient, Taylor
from small_models import ConvNet, batch, mlp


def loss_of(model, x):
    return (model(x) - 0.3).pow(2).mean()


def dense_gradients(model, x):
    names = [n for n, p in model.named_parameters() if p.dim() > 1]
    parameters = [dict(model.named_parameters())[n] for n in names]
    return {
        n.removesuffix(".weight"): g
        for n, g in zip(names, torch.autograd.grad(loss_of(model, x), parameters), strict=True)
    }


@pytest.mark.parametrize(("kind", "power"), [(Gradient, 0), (Taylor, 1)])
def test_scores_are_those_of_autograd(kind, power):
    model = mlp()
    pruner = kind(model, 0.3, warmup=10)
    batches = [batch(i, 16, 20) for i in range(3)]
    expected = [dense_gradients(model, x) for x in batches]
    pruner.calibrate(batches, loss_of)
    for name, score in pruner.scores().items():
        mean = torch.stack([g[name].abs() for g in expected]).mean(0)
        wanted = pruner.weights[name].parameter.detach().abs() ** power * mean
        assert torch.allclose(score, wanted, rtol=1e-5, atol=0)  # float32 sums of three
    pruner.refresh()
    assert pruner.current_density == 0.3


def test_in_training_one_batch_is_w_times_g_and_the_smallest_go():
    model = mlp()
    opt = torch.optim.SGD(model.parameters(), 0.0)  # w at the refresh is w of the pass
    pruner = Taylor(model, 0.3, warmup=3)
    for step in (1, 2, 3):
        wanted = {
            n: (g * model.get_submodule(n).weight).abs()
            for n, g in dense_gradients(model, batch(step, 16, 20)).items()
        }
        opt.zero_grad()
        loss_of(model, batch(step, 16, 20)).backward()
        opt.step()
        pruner.step()
    values = torch.cat([v.detach().flatten() for v in wanted.values()]).sort().values
    assert pruner.saliency() == float(values[-646])
    assert pruner.mean_kept == pytest.approx(float(values[-645:].mean()), rel=1e-5)
    for name, weight in pruner.weights.items():
        assert torch.equal(weight.mask, wanted[name] >= values[-645])


def test_cut_weights_have_the_gradient_of_the_dense_loss():
    """With dormant values a cut weight returns on its own w g, though its .grad is masked."""
    model = mlp()
    pruner = Taylor(model, 0.3, warmup=1, schedule="constant", dormant="stored")
    pruner.calibrate([batch(0, 16, 20)], loss_of)
    pruner.refresh()
    dense = dense_gradients(model, batch(1, 16, 20))
    pruner.calibrate([batch(1, 16, 20)], loss_of)
    loss_of(model, batch(1, 16, 20)).backward()
    scores = pruner.scores()
    for name, weight in pruner.weights.items():
        cut = ~weight.mask
        assert bool((scores[name][cut] > 0).any())
        assert torch.allclose(scores[name], weight.candidates().abs() * dense[name].abs(), rtol=1e-6, atol=0)
        assert not weight.parameter.grad[cut].any()
        weight.unmerge()


def test_a_link_of_a_convolution_sums_its_kernel():
    model = ConvNet()
    pruner = Taylor(model, 0.3, warmup=9, granularity="channel")
    x = batch(0, 4, 3, 8, 8)
    model.eval()
    dense = dense_gradients(model, x)
    pruner.calibrate([x], loss_of)
    score = pruner.scores()["conv2"]
    wanted = (dense["conv2"] * model.conv2.weight).abs().sum((2, 3))
    assert torch.allclose(score, wanted, rtol=1e-5, atol=0)


def test_a_weight_moved_to_another_type():
    model = nn.Sequential(nn.Linear(6, 4))
    pruner = Gradient(model, 0.5, warmup=9)
    model.double()
    pruner.calibrate([batch(0, 3, 6).double()], loss_of)
    assert pruner.scores()["0"].dtype == torch.float64

"""Wanda against a numpy reference: linear layers on sequences, convolutions with groups, padding, training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bbtheory.train import Wanda
from small_models import ConvNet, batch, mlp, train

RTOL = 1e-5  # float32 products of a float64 norm


def reference_mask(weight: np.ndarray, inputs: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Equation 1 of Wanda, |W_ij| ||X_j||_2, the best of each row."""
    score = np.abs(weight) * np.linalg.norm(inputs, axis=0)
    mask = np.zeros(weight.shape, bool)
    for row, k in enumerate(kept):
        mask[row, np.argsort(-score[row], kind="stable")[:k]] = True
    return mask


def test_linear_on_sequences():
    model = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 6))
    scales = torch.logspace(-2, 1, 12)  # inputs of very different size decide
    batches = [batch(i, 4, 7, 12) * scales for i in range(3)]
    with torch.no_grad():
        x = torch.cat(batches).reshape(-1, 12)
        hidden = model[1](model[0](x))
    before = [model[0].weight.detach().clone(), model[2].weight.detach().clone()]
    pruner = Wanda(model, 0.5)
    pruner.calibrate(batches)
    pruner.refresh()
    for weight, w, seen in zip(pruner.weights.values(), before, (x, hidden), strict=True):
        wanted = reference_mask(w.numpy(), seen.double().numpy(), weight.fan_in().numpy())
        assert (weight.mask.numpy() == wanted).all()
        assert set(weight.fan_in().tolist()) == {weight.n_in // 2}
    by_magnitude = before[0].abs() >= before[0].abs().topk(6).values[:, -1:]
    assert not torch.equal(pruner.weights["0"].mask, by_magnitude)  # control: it is not magnitude


def test_convolution_with_groups():
    model = ConvNet().eval()
    pruner = Wanda(model, 0.5, warmup=9)
    x = batch(0, 5, 3, 8, 8)
    with torch.no_grad():
        mid = nn.functional.max_pool2d(torch.relu(model.bn1(model.conv1(x))), 2)
    pruner.calibrate([(x, None)])
    scores = pruner.scores()
    rms = np.sqrt((mid.double().numpy() ** 2).mean((0, 2, 3)))
    weight = np.abs(model.conv2.weight.detach().double().numpy())  # (12, 2, 3, 3), 4 groups of 3 rows
    for row in range(12):
        for column in range(2):
            wanted = weight[row, column] * rms[(row // 3) * 2 + column]
            assert np.allclose(scores["conv2"][row, column].numpy(), wanted, rtol=RTOL, atol=0)
    with torch.no_grad():
        flat = torch.flatten(nn.functional.max_pool2d(torch.relu(model.conv2(mid)), 2), 1)
    wanted = model.fc1.weight.detach().abs() * flat.square().mean(0).sqrt()
    assert torch.allclose(scores["fc1"], wanted, rtol=RTOL, atol=0)


def test_padding_is_left_out():
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    pruner = Wanda(model, 0.5, warmup=9)
    x = batch(0, 3, 6, 5)
    valid = torch.rand(3, 6, generator=torch.Generator().manual_seed(1)) < 0.5
    pruner.padding.valid = valid
    pruner.calibrate([x])
    assert torch.allclose(pruner.measured("0"), x[valid].double().square().mean(0), rtol=RTOL)


def test_as_a_criterion_in_training():
    """Measured in the two steps before a refresh alone, in training mode alone."""
    model = mlp()
    opt = torch.optim.SGD(model.parameters(), 0.0)
    pruner = Wanda(model, 0.3, schedule="constant", dormant="stored", interval=6, warmup=5, batches=2)
    for step in range(1, 5):
        train(model, opt, pruner, steps=[step])
        assert float(pruner.recorders["0"].count) == (32.0 if step == 4 else 0.0)
    model.eval()
    model(batch(77, 8, 20))
    model.train()
    w = model[0].weight.detach().numpy().copy()
    train(model, opt, pruner, steps=[5])
    seen = np.concatenate([batch(s, 32, 20).double().numpy() for s in (4, 5)])
    weight = pruner.weights["0"]
    assert (weight.mask.numpy() == reference_mask(w, seen, weight.fan_in().numpy())).all()
    assert pruner.current_density == 0.3


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_activations_count_once(reentrant):
    from torch.utils.checkpoint import checkpoint

    model = mlp()
    pruner = Wanda(model, 0.3, batches=3, warmup=3)
    x = batch(0, 8, 20).requires_grad_()
    checkpoint(model, x, use_reentrant=reentrant).sum().backward()
    assert {float(r.count) for r in pruner.recorders.values()} == {8.0}

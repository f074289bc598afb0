"""Compiled loops over a weight and its mask do what tensor operations do, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bbtheory.train import Pruner, masking, masking_kernel
from bbtheory.train.masking import MaskedWeight

SHAPE = (129, 257)  # compiled, and its size is no multiple of the bytes compared at once


def weight_of(kind: torch.dtype, seed: int = 0, dormant: str = "stored") -> MaskedWeight:
    layer = nn.Linear(SHAPE[1], SHAPE[0], bias=False).to(kind)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(SHAPE, generator=generator, dtype=kind))
    return MaskedWeight("fc", [(layer, "weight")], dormant=dormant)


def masks(n: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.rand(SHAPE, generator=generator) < share for share in (0.3, 0.7, 0.02, 0.98)[: n - 1]]
    return [*drawn, torch.zeros(SHAPE, dtype=torch.bool)]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_weights_and_dormant_values_change_places(kind: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    fast, slow = weight_of(kind), weight_of(kind)
    original = fast.parameter.detach().clone()
    assert fast.can_exchange
    for mask in masks(5):
        fast.set_mask(mask)
        with monkeypatch.context() as patched:
            patched.setattr(masking, "_SMALL", 1 << 40)
            assert not slow.can_exchange
            slow.set_mask(mask)
        assert fast.dormant is not None
        assert slow.dormant is not None
        assert torch.equal(fast.parameter, torch.where(mask, original, 0.0))
        assert torch.equal(fast.dormant, torch.where(mask, 0.0, original))
        assert torch.equal(fast.parameter, slow.parameter)
        assert torch.equal(fast.dormant, slow.dormant)
        assert torch.equal(fast.mask, mask)
        # merged or not, a refresh that starts from candidates ends alike
        fast.merge()
        assert not fast.can_exchange
        assert torch.equal(fast.candidates(), original)
        fast.set_mask(mask)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_of_cut_weights_are_cleared(kind: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    fast, slow = weight_of(kind), weight_of(kind)
    for weight in (fast, slow):
        weight.set_mask(masks(2)[0])
        weight.attach()
    x = torch.randn(7, SHAPE[1], generator=torch.Generator().manual_seed(2)).to(kind)
    (x @ fast.parameter.t()).square().sum().backward()
    monkeypatch.setattr(masking, "_SMALL", 1 << 40)
    (x @ slow.parameter.t()).square().sum().backward()
    assert fast.parameter.grad is not None
    assert slow.parameter.grad is not None
    assert not fast.parameter.grad[~fast.mask].any()
    assert fast.parameter.grad[fast.mask].all()
    assert torch.equal(fast.parameter.grad, slow.parameter.grad)


def test_what_is_broken_stays_broken():
    """0 x inf is NaN on both roads, so that a gradient scaler sees an overflow wherever it was."""
    weight = weight_of(torch.float32)
    weight.set_mask(masks(2)[0])
    values = torch.full(SHAPE, torch.inf)
    weight.clear_cut(values)
    assert values[~weight.mask].isnan().all()
    assert values[weight.mask].isinf().all()


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("small", [1, 1 << 40])
def test_settling_clears_and_looks(bad: float, small: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(masking, "_SMALL", small)
    weight = weight_of(torch.float32)
    mask = masks(2)[0]
    weight.set_mask(mask)
    before = weight.parameter.detach().clone()
    with torch.no_grad():
        weight.parameter.add_(torch.where(mask, 0.0, 3.0))
    assert weight.settle()
    assert torch.equal(weight.parameter, before)
    for at in (mask, ~mask):  # 0 x inf is no number either
        with torch.no_grad():
            weight.parameter.copy_(before)
            weight.parameter[tuple(at.nonzero()[-1])] = bad
        assert not weight.settle()


def test_a_refresh_mends_what_was_written_to_cut_weights():
    layer = nn.Linear(SHAPE[1], SHAPE[0], bias=False)
    model = nn.Sequential(layer)
    pruner = Pruner(model, 0.4)
    pruner.refresh()
    with torch.no_grad():
        layer.weight.copy_(torch.where(pruner.weights["0"].mask, layer.weight, 1e-9))
    pruner.refresh()
    pruner.verify()


def test_other_layouts_take_the_other_road():
    weight = weight_of(torch.float32)
    weight.set_mask(masks(2)[0])
    values = torch.ones(SHAPE[::-1]).t()
    weight.clear_cut(values)
    assert torch.equal(values, weight.mask.float())
    assert not weight_of(torch.float32, dormant="zero").can_exchange
    assert not weight_of(torch.bfloat16).can_exchange


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 64, 100])
def test_kernels_equal_their_python(n: int):
    rng = np.random.default_rng(n)
    old, new = (rng.random((2, n)) < 0.5).astype(np.uint8)
    values = rng.standard_normal(n).astype(np.float32)
    own = values.copy()
    masking_kernel.clear(own, old)
    other = values.copy()
    masking_kernel.clear.py_func(other, old)
    assert own.tobytes() == other.tobytes() == (values * old).tobytes()
    weight, dormant = values * old, values * (1 - old)
    copies = weight.copy(), dormant.copy()
    masking_kernel.exchange(old, new, weight, dormant)
    masking_kernel.exchange.py_func(old, new, *copies)
    assert weight.tobytes() == copies[0].tobytes()
    assert dormant.tobytes() == copies[1].tobytes()
    assert np.array_equal(weight, values * new)
    assert np.array_equal(dormant, values * (1 - new))

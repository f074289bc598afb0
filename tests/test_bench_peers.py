"""The authors' ways that benches time as peers do what they are said to do: a peer that idles would look fast."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch
from torch import nn

from experiments import bench_hyperflux, bench_training_overhead


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5))


@pytest.mark.parametrize(("pressure", "gone"), [(0.0, False), (1e6, True)])
def test_presence_hides_weights_and_answers_to_pressure(pressure, gone):
    model, x, y = small(), torch.randn(8, 1, 4, 4), torch.arange(8) % 5
    dense = model(x)
    config = replace(bench_hyperflux.SMOKE, pressure=pressure)
    step = bench_hyperflux._as_published(model, "SGD", x, y, config)
    assert torch.equal(model(x), dense)  # presence starts above 0
    for _ in range(600):  # of 1e-3 each, from 0.5 at most
        step()
    out = model(x)
    assert torch.equal(out, out[:1].expand_as(out)) == gone  # biases alone are left


def test_masks_hide_weights_and_on_events_are_averaged():
    model, x = small(), torch.randn(8, 1, 4, 4)
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([1.0, -1.0, 2.0]))
    before = model(x)
    bench_training_overhead._as_published(model, replace(bench_training_overhead.SMOKE, density=1e-9))
    out = model(x)
    assert torch.equal(out, out[:1].expand_as(out))
    assert not torch.equal(out, before)
    (average,) = (b for name, b in model.named_buffers() if name.endswith("ema"))
    on = torch.tensor([1.0, 0.0, 1.0])  # by their biases, without weights
    assert torch.allclose(average, on * (1 - bench_training_overhead._EMA_DECAY))

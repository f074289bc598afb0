"""Residual networks: the published sizes, equal for equal seeds, every unit seen and every link maskable."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bbtheory.train import BudgetedBroadcast, block_convolutions, resnet


def n_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("blocks", "count"), [((3, 4, 6, 3), 25_557_032), ((3, 4, 23, 3), 44_549_160)], ids=["50", "101"]
)
def test_parameters_of_the_published_networks(blocks, count):
    # the numbers of torchvision's resnet50 and resnet101 for 1000 classes
    with torch.device("meta"):
        assert n_parameters(resnet(blocks, n_classes=1000, stem="large")) == count


def test_shapes_and_features():
    model = resnet((1, 1, 1), (8, 16, 32), n_channels=1, bottleneck=False)
    x = torch.rand(2, 1, 28, 28)
    assert model(x).shape == (2, 10)
    assert model.embed(x).shape == (2, 32)
    assert model.stages(model.stem(x)).shape == (2, 32, 7, 7)
    large = resnet((1, 1), (4, 8), n_classes=3, stem="large")
    assert large.stages(large.stem(torch.rand(1, 3, 64, 64))).shape == (1, 32, 8, 8)
    assert large(torch.rand(1, 3, 64, 64)).shape == (1, 3)


def test_seeds():
    before = torch.random.get_rng_state()
    a, b, c = (resnet((1, 1), (4, 8), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    equal = [all(map(torch.equal, a.state_dict().values(), m.state_dict().values())) for m in (b, c)]
    assert equal == [True, False]


def test_every_block_convolution_is_masked_by_channel_pairs_and_seen():
    model = resnet((1, 1), (4, 8))
    names = block_convolutions(model)
    assert len(names) == 8  # three each, and both shortcuts
    assert "stem.0" not in names
    pruner = BudgetedBroadcast(
        model, 0.5, sp_in=True, sp_out=True, layers=names, granularity="channel", allocation="layer", warmup=5
    )
    assert set(names) < set(pruner.activities)
    assert all(pruner.graph[name].inputs for name in names)
    middle = next(w for w in pruner.weights.values() if w.parameter.shape[2:] == (3, 3))
    assert middle.mask.shape == middle.parameter.shape[:2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": ()}, "widths must be as many as blocks"),
        ({"blocks": (1, 1), "widths": (4,)}, "widths must be as many as blocks"),
        ({"blocks": (0,)}, "blocks must be an integer"),
        ({"blocks": (1,), "widths": (0,)}, "widths must be an integer"),
        ({"n_classes": 0}, "n_classes must be an integer"),
        ({"n_channels": 0}, "n_channels must be an integer"),
        ({"stem": "none"}, "stem must be one of"),
        ({"seed": -1}, "seed must be an integer"),
    ],
)
def test_bad_input(settings, message):
    with pytest.raises(ValueError, match=message):
        resnet(**settings)

import importlib.util

import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch
from torch import nn

from bbtheory.train import BudgetedBroadcast, change_loss, siamese_network, siamese_reach
from bbtheory.train.models_siamese import ConvUnit


def seen_from(model, place, size):
    """Return how far from a pixel inputs change its logit."""
    x = torch.rand(1, 2, size, size, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x, 2 * x)[0, place, place], x)
    return int((gradient.abs().sum((0, 1)).nonzero() - place).abs().max())


@pytest.mark.parametrize("depths", [(1,), (2,), (2, 2), (1, 2), (2, 1), (1, 1, 2)])
def test_reach_is_exact(depths):
    reach = siamese_reach(depths)
    model = siamese_network(2, [3] * len(depths), depths, dropout=0.0).double().eval().requires_grad_(False)
    for parameter in model.parameters():  # nothing cancels, no unit is off
        parameter.abs_()
    model.pool = nn.AvgPool2d(2)  # of a maximum only one pixel has a gradient
    size = 2 * (reach + 2 ** len(depths)) + 1
    middle = size // 2
    seen = [seen_from(model, middle + i, size) for i in range(2 ** len(depths))]
    assert max(seen) == reach


@pytest.mark.parametrize("shape", [(16, 16), (17, 23), (5, 8)])
def test_any_size_fits(shape):
    model = siamese_network(6, (4, 4), (2, 2))
    assert model(torch.rand(3, 6, *shape), torch.rand(3, 6, *shape)).shape == (3, *shape)


def test_the_published_network():
    model = siamese_network()
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [
        *(16, 16, 32, 32, 64, 64, 64, 128, 128, 128),
        *(128, 128, 64, 64, 64, 32, 32, 16, 16, 1),
    ]
    assert all(m.bias is not None for m in convolutions)
    # about 1.55 million with two classes, Daudt et al. 2018
    assert abs(sum(p.numel() for p in model.parameters()) - 1.55e6) < 0.01e6
    assert len(model.inner) == 18


def test_one_order_of_layers_dense_and_pruned():
    def order(model):
        return [type(m) for m in model.modules() if not list(m.children())]

    dense, pruned = siamese_network(3, (4, 8), (2, 2), seed=1), siamese_network(3, (4, 8), (2, 2), seed=1)
    for a, b in zip(dense.parameters(), pruned.parameters(), strict=True):
        assert torch.equal(a, b)
    pruner = BudgetedBroadcast(pruned, 0.5, layers=pruned.inner, granularity="channel", allocation="layer")
    # every masked layer has on-rates, although the encoder sees two dates
    assert set(pruned.inner) <= set(pruner.activities)
    pruned(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16))
    pruner.step()
    pruner.finish()
    assert order(dense) == order(pruned)
    unit = [type(m) for m in ConvUnit(1, 1, 0.0).children()]
    assert unit == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Dropout2d]
    pruner.remove()


def test_loss_reads_labelled_pixels_only():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 4)
    label = torch.full((2, 4, 4), 255, dtype=torch.uint8)
    label[0, :2], label[1, 0] = 1, 0
    batch = (torch.zeros(1), torch.zeros(1), label)
    known = label != 255
    wanted = nn.functional.binary_cross_entropy_with_logits(logits[known], (label[known] == 1).float())
    assert torch.allclose(change_loss(lambda a, b: logits, batch), wanted)
    other = torch.where(known, logits, torch.tensor(1e3))
    assert torch.allclose(change_loss(lambda a, b: other, batch), wanted)
    nothing = (torch.zeros(1), torch.zeros(1), torch.full_like(label, 255))
    assert change_loss(lambda a, b: logits, nothing) == 0


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"n_bands": 0}, "n_bands must be an integer"),
        ({"widths": (4,)}, "widths and depths must have equal length, got 1 and 4"),
        ({"depths": ()}, "depths must name a level"),
        ({"depths": (0,)}, "depths must be an integer"),
        ({"dropout": 1.0}, "dropout must be a number"),
    ],
)
def test_bad_input(settings, match):
    with pytest.raises(ValueError, match=match):
        siamese_network(**settings)

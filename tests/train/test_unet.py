import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch
from torch import nn

from bbtheory.train import BudgetedBroadcast, PatchBatches, UNet3d, predict_volume, rare_class_loss
from bbtheory.train.layers import find_layers
from bbtheory.train.tracing import trace_layers

torch.set_num_threads(1)
EXACT = 1e-5  # float32 sums of a few hundred products


def test_the_network_keeps_shape_and_seed():
    x = torch.randn(2, 1, 3, 16, 24)
    state = torch.get_rng_state()
    one, two, other = (UNet3d(4, 3, n_deep=1, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert one(x).shape == x.shape
    assert torch.equal(one(x), two(x))
    assert not torch.equal(one(x), other(x))
    assert one.multiple == 4


def test_every_level_has_its_place():
    model = UNet3d(4, 3, n_deep=1)
    kernels = {n: tuple(m.kernel_size) for n, m in model.named_modules() if isinstance(m, nn.Conv3d)}
    deep = {name for name, kernel in kernels.items() if kernel == (3, 3, 3)}
    assert deep == {"encode2.conv1"}, "the coarsest level only, and its first convolution only"
    assert all(m.kernel_size[0] == 1 for m in model.modules() if isinstance(m, nn.MaxPool3d))
    assert set(model.hidden) == set(kernels) - {"encode0.conv1", "head"}
    assert [model.get_submodule(f"encode{i}.conv2").out_channels for i in range(3)] == [4, 8, 16]


@pytest.mark.parametrize(("depth", "n_deep"), [(3, 0), (3, 1), (3, 2), (2, 2), (3, 3)])
def test_reach_is_how_far_a_section_is_felt(depth, n_deep):
    model = UNet3d(2, depth, n_deep=n_deep, norm="group").double().eval()
    for part in model.modules():  # all units on, so that nothing hides what is felt
        if isinstance(part, nn.ReLU):
            part.register_forward_hook(lambda module, given, out: given[0])
        if isinstance(part, nn.GroupNorm):  # it mixes a whole patch by design
            part.register_forward_hook(lambda module, given, out: given[0])
    x = torch.randn(1, 1, 15, 8, 8, dtype=torch.float64, requires_grad=True)
    model(x)[0, 0, 7].pow(2).sum().backward()
    felt = np.flatnonzero(x.grad[0, 0].abs().sum((1, 2)).numpy())
    np.testing.assert_array_equal(felt, np.arange(7 - model.reach, 7 + model.reach + 1))


def test_a_decoder_convolves_what_is_below_beside_the_skip():
    # the sum of two convolutions is one over both, concatenated
    decoder = UNet3d(3, 2, n_deep=1).decode0
    below, beside = torch.randn(1, 6, 2, 4, 4), torch.randn(1, 3, 2, 8, 8)
    both = torch.cat([decoder.enlarge(below), beside], 1)
    weight = torch.cat([decoder.up.weight, decoder.skip.weight], 1)
    joined = nn.functional.conv3d(both, weight, decoder.up.bias, padding=(0, 1, 1))
    torch.testing.assert_close(
        decoder.up(decoder.enlarge(below)) + decoder.skip(beside), joined, atol=EXACT, rtol=0
    )


def test_pruners_know_every_unit():
    model = UNet3d(4, 3, n_deep=1)
    graph = find_layers(model)
    trace_layers(model, graph)
    assert all((graph[name].site is None) == (name == "head") for name in graph)
    assert all(graph[name].inputs for name in model.hidden)
    assert graph["decode0.up"].inputs == ("decode1.conv2",)
    assert graph["decode0.skip"].inputs == ("encode0.conv2",)
    pruner = BudgetedBroadcast(
        model, 0.3, sp_out=True, layers=model.hidden, interval=2, warmup=1, allocation="layer"
    )
    optimizer = torch.optim.Adam(model.parameters())
    loss = rare_class_loss()
    for _ in range(3):
        optimizer.zero_grad()
        loss(model, (torch.randn(2, 1, 2, 8, 8), torch.zeros(2, 1, 2, 8, 8))).backward()
        optimizer.step()
        pruner.step()
    assert abs(pruner.finish().density - 0.3) < 0.01
    assert "head" not in pruner.weights


def test_prior_is_what_the_head_starts_from():
    model = UNet3d(2, 2, n_deep=0, prior=0.01)
    assert torch.sigmoid(model.head.bias).item() == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"width": 0}, "width must"),
        ({"depth": 1}, "depth must"),
        ({"depth": 2, "n_deep": 3}, "n_deep must"),
        ({"norm": "layer"}, "norm must be one of batch, group"),
        ({"prior": 0.0}, "prior must"),
        ({"seed": -1}, "seed must"),
    ],
)
def test_bad_networks(settings, match):
    with pytest.raises(ValueError, match=match):
        UNet3d(**({"width": 2, "depth": 2, "n_deep": 1} | settings))


# patches


def sample(n=10, side=20, n_rare=3):
    rng = np.random.default_rng(0)
    labels = np.zeros((n, side, side), bool)
    labels.flat[rng.choice(labels.size, n_rare, replace=False)] = True
    return np.where(labels, 9.0, rng.random(labels.shape)), labels


def test_patches_follow_from_seed_and_epoch():
    volume, labels = sample()

    def drawn(seed, epoch):
        batches = PatchBatches(volume, labels, (3, 8, 8), n_patches=5, batch=2, seed=seed)
        return [x for x, _ in batches(epoch)]

    first = drawn(0, 0)
    assert [len(x) for x in first] == [2, 2, 1]
    assert first[0].shape == (2, 1, 3, 8, 8)
    assert all(torch.equal(a, b) for a, b in zip(first, drawn(0, 0), strict=True))
    assert not torch.equal(first[0], drawn(0, 1)[0])
    assert not torch.equal(first[0], drawn(1, 0)[0])


def test_labels_go_with_their_values():
    volume, labels = sample(n_rare=40)
    for x, y in PatchBatches(volume, labels, (3, 8, 8), n_patches=30, batch=7)(0):
        assert x.dtype == y.dtype == torch.float32
        assert torch.equal(x == 9.0, y == 1.0), "turned and mirrored alike"


def test_the_rare_class_is_over_represented():
    volume, labels = sample()
    n = 2000

    def holding(share):
        ((_, y),) = PatchBatches(volume, labels, (3, 8, 8), n_patches=n, batch=n, rare_share=share)(0)
        return y.flatten(1).any(1).double().mean().item()

    chance = holding(0.0)
    assert chance < 0.5, "a control: patches drawn anywhere mostly hold none"
    assert holding(1.0) == 1.0
    # 4 standard errors of the difference of two shares of 2000
    assert holding(0.5) == pytest.approx(0.5 + 0.5 * chance, abs=4 * np.sqrt(2 * 0.25 / n))


def test_every_rare_voxel_and_every_place_is_drawn():
    labels = np.zeros((4, 10, 10), bool)
    labels[0, 0, 0] = labels[3, 9, 9] = True  # corners, where a patch can hardly lie
    volume = np.arange(400.0).reshape(labels.shape)
    batches = PatchBatches(volume, labels, (2, 4, 4), n_patches=2000, batch=2000, rare_share=0.5)
    ((x, _),) = batches(0)
    assert set(x.flatten().int().tolist()) == set(range(400))
    whole = PatchBatches(volume, labels, labels.shape, n_patches=1, batch=1)
    assert next(iter(whole(0)))[0].shape == (1, 1, 4, 10, 10)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"patch": (3, 8)}, "patch must be sections, rows and columns"),
        ({"patch": (11, 8, 8)}, r"patch must fit a volume of shape \(10, 20, 20\)"),
        ({"patch": (3, 8, 4)}, "as many rows as columns"),
        ({"patch": (0, 8, 8)}, "patch must"),
        ({"labels": np.zeros((10, 20, 20), bool)}, "labels must hold a voxel that is labelled"),
        ({"labels": np.zeros((9, 20, 20), bool)}, "volume and labels must have the same three axes"),
        ({"n_patches": 0}, "n_patches must"),
        ({"batch": 0}, "batch must"),
        ({"rare_share": 1.5}, "rare_share must"),
        ({"seed": -1}, "seed must"),
    ],
)
def test_bad_patches(change, match):
    volume, labels = sample()
    given = {"volume": volume, "labels": labels, "patch": (3, 8, 8), "n_patches": 4, "batch": 2} | change
    with pytest.raises(ValueError, match=match):
        PatchBatches(given.pop("volume"), given.pop("labels"), given.pop("patch"), **given)


# loss


def test_loss_by_hand():
    class Bias(nn.Module):
        def forward(self, x):
            return x

    x = torch.tensor([0.0, 2.0, -1.0])
    y = torch.tensor([0.0, 1.0, 0.0])
    p = 1 / (1 + np.exp(-x.numpy().astype(float)))
    cross = -(np.log(1 - p[0]) + 3 * np.log(p[1]) + np.log(1 - p[2])) / 3
    dice = (2 * p[1] + 1) / (p.sum() + 2)
    for share in (0.0, 0.3, 1.0):
        found = rare_class_loss(3.0, share)(Bias(), (x, y)).item()
        assert found == pytest.approx((1 - share) * cross + share * (1 - dice), abs=EXACT)
    for settings, match in (((0.0, 0.5), "positive_weight"), ((1.0, 1.1), "dice_share")):
        with pytest.raises(ValueError, match=match):
            rare_class_loss(*settings)


# prediction


class Local(nn.Module):
    """Its logits are its input."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.shapes = []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return self.scale * x


@pytest.mark.parametrize("window", [(5, 9, 11), (2, 4, 4), (1, 3, 5), (5, 1, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_windows_cover_a_volume(window, overlap):
    volume = np.random.default_rng(0).normal(size=(5, 9, 11)).astype(np.float32)
    model = Local()
    found = predict_volume(model, volume, window, overlap=overlap, batch=3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-volume)), atol=1e-6)
    assert all(shape[0] <= 3 and shape[2:] == window for shape in model.shapes)


def test_the_middle_of_a_window_counts_most():
    class Edge(Local):
        def forward(self, x):
            out = torch.zeros_like(x)
            out[..., 0] = out[..., -1] = 50.0  # wrong at its borders
            return out

    found = predict_volume(Edge(), np.zeros((1, 1, 32), np.float32), (1, 1, 8))
    assert found[0, 0, 4:28].max() < 0.5 + 0.5 * 0.25, "half of a window away another one's middle lies"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"window": (1, 9, 4)}, r"window must fit a volume of shape \(2, 8, 8\)"),
        ({"overlap": 1.0}, "overlap must"),
        ({"batch": 0}, "batch must"),
    ],
)
def test_bad_prediction(change, match):
    given = {"window": (1, 4, 4)} | change
    with pytest.raises(ValueError, match=match):
        predict_volume(Local(), np.zeros((2, 8, 8)), given.pop("window"), **given)


def test_a_window_that_the_network_cannot_halve():
    network = UNet3d(2, 3, n_deep=1).eval()
    with pytest.raises(ValueError, match="window must have rows and columns that are multiples of 4"):
        predict_volume(network, np.zeros((2, 9, 9)), (2, 8, 6))

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch

from bbtheory.train import sparse_gpt

ROUNDING = {"atol": 1e-9, "rtol": 1e-7}  # float64, matrices of condition 1e3 at most


def layer(n_out=5, n_in=16, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(200, n_in)) @ (np.eye(n_in) + 0.4 * rng.normal(size=(n_in, n_in)))
    return torch.from_numpy(rng.normal(size=(n_out, n_in))), torch.from_numpy(mixed)


def loss(weight, new, x):
    return float(((new - weight) @ x.T).square().sum())


def test_one_row_is_the_least_squares_solution():
    # cut columns stand first, so that all kept ones make up for them: the closed form is exact
    weight, x = layer(1, 12)
    mask = torch.ones(1, 12, dtype=torch.bool)
    mask[0, :5] = False
    new, kept = sparse_gpt(weight, x.T @ x, 1.0, mask=mask, damping=0.0)
    want = torch.linalg.lstsq(x[:, 5:], x @ weight[0]).solution
    torch.testing.assert_close(new[0, 5:], want, **ROUNDING)
    assert torch.equal(kept, mask)
    assert (new[~mask] == 0).all()


@pytest.mark.parametrize("block", [1, 3, 16, 128])
def test_two_roads_with_a_given_mask(block):
    # every row by itself: brain surgeon over the columns from j on, with an inverse of its own at every step
    weight, x = layer()
    mask = torch.rand(5, 16, generator=torch.Generator().manual_seed(0)) < 0.5
    h = x.T @ x
    want = weight.clone()
    for row, keep in zip(want, mask, strict=True):
        for j in range(16):
            if not keep[j]:
                inverse = torch.linalg.inv(h[j:, j:])
                row[j:] -= row[j] / inverse[0, 0] * inverse[0]
                row[j] = 0.0
    new, _ = sparse_gpt(weight, h, 1.0, mask=mask, damping=0.0, block=block)
    torch.testing.assert_close(new, want, **ROUNDING)


@pytest.mark.parametrize("density", [0.5, 0.3, 0.9])
@pytest.mark.parametrize("block", [4, 7, 128])
def test_density_is_met_within_a_link(density, block):
    weight, x = layer(9, 21)
    new, kept = sparse_gpt(weight, x.T @ x, density, block=block)
    assert abs(int(kept.sum()) - density * kept.numel()) <= 0.5
    assert torch.equal(new != 0, kept)


@pytest.mark.parametrize("density", [0.5, 0.3])
@pytest.mark.parametrize("block", [4, 6, 128])
def test_groups(density, block):
    weight, x = layer(8, 32)
    new, kept = sparse_gpt(weight, x.T @ x, density, groups=(2, 4), block=block)
    per_group = kept.reshape(-1, 4).sum(1)
    assert int(per_group.max()) == 2
    assert abs(int(kept.sum()) - density * kept.numel()) <= 0.5
    if density == 0.5:
        assert (per_group == 2).all()
    assert loss(weight, new, x) < loss(weight, weight * kept, x)


def test_less_is_lost_than_by_magnitude():
    weight, x = layer(20, 32)
    new, kept = sparse_gpt(weight, x.T @ x, 0.5, damping=0.0)
    threshold = weight.abs().flatten().median()
    by_magnitude = weight * (weight.abs() > threshold)
    assert loss(weight, new, x) < 0.85 * loss(weight, by_magnitude, x)
    assert loss(weight, new, x) < loss(weight, weight * kept, x), "what is left makes up for what is cut"


def test_without_correlations_the_rest_stays():
    # negative control for the update: with H a multiple of the identity nothing can be made up for
    weight, _ = layer()
    new, kept = sparse_gpt(weight, 3.0 * torch.eye(16, dtype=torch.float64), 0.5, block=16)
    torch.testing.assert_close(new, weight * kept)
    largest = weight.abs().flatten().topk(40).indices
    assert kept.flatten()[largest].all(), "and the score is the magnitude"


def test_silent_inputs_go_first_and_nothing_is_changed_in_place():
    weight, x = layer()
    x[:, 3] = 0.0
    gram = x.T @ x
    before = weight.clone(), gram.clone()
    new, kept = sparse_gpt(weight, gram, 0.9, block=16)
    assert (new[:, 3] == 0).all()
    assert not kept[:, 3].any()
    assert torch.equal(weight, before[0])
    assert torch.equal(gram, before[1])


def test_types_and_factors():
    weight, x = layer()
    half, _ = sparse_gpt(weight.float(), x.T @ x, 0.5)
    assert half.dtype == torch.float32
    first = sparse_gpt(weight, x.T @ x, 0.5)
    second = sparse_gpt(weight, x.T @ x / 7.0, 0.5)
    assert torch.equal(first[1], second[1])
    torch.testing.assert_close(first[0], second[0], **ROUNDING)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"gram": torch.eye(3)}, "gram must have a row and a column for each column of weight"),
        ({"weight": torch.zeros(3)}, "gram must have a row and a column"),
        ({"density": 0.0}, "density must be"),
        ({"groups": (3, 2)}, "groups must be n:m"),
        ({"groups": (2, 5)}, "groups must be n:m with m a divisor of 16"),
        ({"groups": (1, 4)}, "n/m at least the density 0.5"),
        ({"mask": torch.ones(5, 16)}, "mask must be bool"),
        ({"damping": -1.0}, "damping must be"),
        ({"block": 0}, "block must be"),
        ({"gram": -torch.eye(16)}, "gram must be positive definite with its damping"),
    ],
)
def test_bad_input(change, match):
    weight, x = layer()
    arguments = {"weight": weight, "gram": x.T @ x, "density": 0.5} | change
    with pytest.raises(ValueError, match=match):
        sparse_gpt(**arguments)

"""Where the density is met: Erdos-Renyi densities against the published formula, by hand and by recursion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bbtheory.train import Magnitude
from bbtheory.train.allocation import erdos_renyi_links
from bbtheory.train.keeping import links_per_layer
from small_models import ConvNet, mlp


def test_by_hand():
    """LeNet-300-100 at density 0.1: (n_out + n_in)/(n_out n_in), the last layer would pass 1 and is dense."""
    shapes = [(300, 784), (100, 300), (10, 100)]
    kept = 0.1 * 266_200 - 1000
    eps = kept / (1084 + 400)  # r_l times the number of weights is n_out + n_in
    expected = [eps * 1084, eps * 400, 1000]
    links = erdos_renyi_links(shapes, [1, 1, 1], 0.1, kernel=True)
    assert sum(links) == 26620
    assert np.abs(np.array(links) - expected).max() < 1.0
    assert eps * 110 > 1000  # what it would get: more than it has


def published(shapes, density, kernel):
    """The recursion of the published code: layers that pass 1 are made dense one maximum after the other."""
    raw = [sum(s if kernel else s[:2]) / np.prod(s if kernel else s[:2]) for s in shapes]
    sizes = [np.prod(s) for s in shapes]
    dense: set[int] = set()
    while True:
        rest = [i for i in range(len(shapes)) if i not in dense]
        wanted = density * sum(sizes) - sum(sizes[i] for i in dense)
        eps = wanted / sum(raw[i] * sizes[i] for i in rest)
        over = [i for i in rest if eps * raw[i] > 1]
        if not over:
            return [sizes[i] if i in dense else eps * raw[i] * sizes[i] for i in range(len(shapes))]
        dense |= {i for i in over if raw[i] == max(raw[j] for j in over)}


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 0.9, 1.0])
def test_against_the_published_recursion(density, kernel):
    shapes = [(8, 3, 3, 3), (16, 8, 3, 3), (16, 16, 1, 1), (40, 64), (10, 40)]
    links = erdos_renyi_links(shapes, [1] * 5, density, kernel=kernel)
    assert sum(links) == round(density * sum(np.prod(s) for s in shapes))
    assert np.abs(np.array(links) - published(shapes, density, kernel)).max() < 1.0 + 1e-9


def test_kernels_count_for_erk_only():
    erk, er = (erdos_renyi_links([(8, 8, 5, 5), (40, 40)], [1, 1], 0.2, kernel=k) for k in (True, False))
    assert erk[0] < er[0]
    assert sum(erk) == sum(er) == 640


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("allocation", ["erk", "er", "layer", "row"])
def test_masks_meet_the_allocation(allocation, granularity):
    pruner = Magnitude(ConvNet(), 0.3, allocation=allocation, granularity=granularity)
    pruner.refresh()
    links = links_per_layer(pruner.weights, 0.3, allocation)
    assert {n: int(w.mask.sum()) for n, w in pruner.weights.items()} == links
    if allocation == "row":
        assert all(int(w.fan_in().max() - w.fan_in().min()) <= 1 for w in pruner.weights.values())


def test_the_network_ranks_all_weights_together():
    model = mlp()
    values = np.sort(np.abs(np.concatenate([m.weight.detach().numpy().ravel() for m in model[::2]])))
    pruner = Magnitude(model, 0.3, allocation="network")
    pruner.refresh()
    kept = torch.cat([w.parameter.detach()[w.mask].abs() for w in pruner.weights.values()])
    assert float(kept.min()) == values[-645]
    assert pruner.largest_removed == values[-646]
    assert pruner.mean_kept == pytest.approx(values[-645:].mean(), rel=1e-6)  # float32 sum

"""Magnitude and random pruning do what they say, at every round of every schedule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bbtheory.schedules import cubic_trajectory
from bbtheory.train import Magnitude, Random
from small_models import mlp, train


def weights_of(model):
    return [m.weight.detach().numpy().copy() for m in model if isinstance(m, nn.Linear)]


def test_one_shot_is_numpy():
    model = mlp()
    before = weights_of(model)
    pruner = Magnitude(model, 0.25, allocation="layer")
    pruner.refresh()
    for w, weight in zip(before, pruner.weights.values(), strict=True):
        k = weight.n_kept
        threshold = np.sort(np.abs(w).ravel())[-k]
        assert k == pytest.approx(0.25 * w.size, abs=1)
        assert (weight.mask.numpy() == (np.abs(w) >= threshold)).all()
        assert (weight.parameter.detach().numpy() == w * (np.abs(w) >= threshold)).all()
    train(model, torch.optim.SGD(model.parameters(), 0.1), pruner, steps=range(1, 300))
    assert pruner.n_refreshes == 1  # one shot


def test_gradual_follows_the_cubic():
    model = mlp()
    opt = torch.optim.SGD(model.parameters(), 0.1)
    pruner = Magnitude(model, 0.1, schedule="gradual", rounds=6, interval=3, warmup=4, dormant="stored")
    wanted = cubic_trajectory(0.1, 6)
    seen = []
    for step in range(1, 30):
        train(model, opt, pruner, steps=[step])
        if pruner.is_refresh(step):
            seen.append(pruner.n_kept)
    assert seen == [round(d * 2150) for d in wanted] + [215] * (len(seen) - 7)
    zhu_gupta = [0.1 + 0.9 * (1 - k / 6) ** 3 for k in range(7)]
    assert seen[:7] == [round(d * 2150) for d in zhu_gupta]


def test_iterative_cuts_a_tenth_of_the_rest_each_round():
    """The published rounds: the smallest tenth of what remains goes for good, the largest gone is the saliency."""
    model = mlp()
    opt = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    pruner = Magnitude(model, 0.3, schedule="iterative", interval=2)
    alive = {n: np.ones(w.mask.shape, bool) for n, w in pruner.weights.items()}
    n_rounds = math.ceil(math.log(0.3) / math.log(0.9))
    saliencies = []
    for r in range(1, n_rounds + 3):
        opt.zero_grad()
        ones = torch.ones(4, 20) * r
        model(ones).pow(2).mean().backward()
        opt.step()
        sizes = np.concatenate(
            [np.abs(w.parameter.detach().numpy()[alive[n]]) for n, w in pruner.weights.items()]
        )
        pruner.refresh()
        kept = max(0.9**r, 0.3)
        assert pruner.n_kept == round(kept * 2150)
        for n, w in pruner.weights.items():
            assert not (w.mask.numpy() & ~alive[n]).any()  # none returns
            alive[n] = w.mask.numpy().copy()
        gone = sizes.size - pruner.n_kept
        if r < n_rounds:
            assert gone == pytest.approx(0.1 * sizes.size, abs=1)
        if gone:
            assert pruner.saliency() == np.sort(sizes)[gone - 1]
        saliencies.append(pruner.saliency())
        pruner.record(0.9)
    assert pruner.history.saliency.tolist() == saliencies
    assert pruner.history.density[-1] == 0.3


@pytest.mark.parametrize("schedule", ["gradual", "iterative"])
def test_finish_ends_a_schedule_early(schedule):
    model = mlp()
    pruner = Magnitude(model, 0.2, schedule=schedule, interval=5, rounds=50)
    train(model, torch.optim.SGD(model.parameters(), 0.1), pruner, steps=range(1, 12))
    assert pruner.current_density > 0.3
    assert pruner.finish().n_kept == 430


def test_random_stays_unless_redrawn():
    for redraw in (False, True):
        model = mlp()
        pruner = Random(model, 0.4, redraw=redraw, schedule="constant")
        pruner.refresh()
        before = pruner.weights["0"].mask.clone()
        pruner.refresh()
        assert torch.equal(before, pruner.weights["0"].mask) != redraw
        assert pruner.current_density == 0.4
    nested = Random(mlp(), 0.1, schedule="iterative", kept=0.5)
    nested.refresh()
    before = nested.weights["0"].mask.clone()
    nested.refresh()
    assert not bool((nested.weights["0"].mask & ~before).any())
    assert nested.n_kept == round(0.25 * 2150)


def chi_square(counts, n, density):
    """p of "each link is kept with the same probability": counts over n draws of a fixed number of links."""
    spread = n * density * (1 - density) * counts.size / (counts.size - 1)  # drawn without replacement
    statistic = ((counts - n * density) ** 2).sum() / spread
    return float(stats.chi2.sf(statistic, counts.size - 1))


def test_random_is_uniform():
    """Also where links differ in size; the control, magnitude with a little noise, must fail."""
    model = nn.Sequential(nn.Conv1d(3, 6, 5), nn.Flatten(), nn.Linear(12, 4))
    pruner = Random(model, 0.4, redraw=True, granularity="channel", allocation="layer", seed=1)
    n = 400
    counts = np.zeros(18)
    for _ in range(n):
        pruner.refresh()
        counts += pruner.weights["0"].mask.numpy().ravel()
    density = counts.sum() / n / counts.size
    assert chi_square(counts, n, density) > 1e-3
    rng = np.random.default_rng(0)
    size = rng.uniform(0, 1, 18)
    control = np.zeros(18)
    for _ in range(n):
        control[np.argsort(-(size + rng.normal(0, 2, 18)))[: round(counts.sum() / n)]] += 1
    assert chi_square(control, n, control.sum() / n / 18) < 1e-3


def test_random_over_a_network_is_fair_to_links_of_any_size():
    """Kernels of 25 weights and single weights: densities agree, within four standard errors of a draw."""
    model = nn.Sequential(nn.Conv2d(20, 20, 5), nn.Flatten(), nn.Linear(20, 100))
    pruner = Random(model, 0.5, granularity="channel", seed=2)
    pruner.refresh()
    for weight in pruner.weights.values():
        n = weight.mask.numel()
        assert abs(float(weight.mask.float().mean()) - 0.5) < 4 * math.sqrt(0.25 / n)

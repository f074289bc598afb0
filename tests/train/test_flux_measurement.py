"""Measured flux: exact where the loss is quadratic, by removal elsewhere, and its four cases of sign."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bbtheory.train import FluxMeasurement, Hyperflux, Magnitude, estimate_flux, measure_flux
from bbtheory.train.presence import KAPPA
from small_models import batch, mlp

EXACT = 1e-12  # float64, sums in another order


class Quadratic(nn.Module):
    """L = 1/2 sum lambda_j (theta_j - goal_j)^2, a batch scales it."""

    def __init__(self, w, curvature, goal):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([w], dtype=torch.float64))
        self.curvature, self.goal = (torch.tensor(v, dtype=torch.float64) for v in (curvature, goal))

    def forward(self, scale):
        return 0.5 * scale * (self.curvature * (self.weight - self.goal).pow(2)).sum()


def call(model, x):
    return model(x)


def squares(model, x):
    return (torch.tanh(model(x)) - 0.3).pow(2).mean()


def quadratic():
    model = Quadratic([1.0, -2.0, 3.0, -0.5, 2.0, 1.0], [1.0, 2.0, 0.5, 4.0, 1.0, 0.0],
                      [2.0, -1.0, -1.0, 1.0, 0.5, 9.0])  # fmt: skip
    flux = Hyperflux(model, 1.0, layers=[(model, "weight")])
    weight = flux.weights["weight"]
    weight.t.copy_(torch.tensor([[1.0, 1.0, 1.0, -1.0, -1.0, 1.0]]))
    weight._present()
    return model, flux


def test_flux_of_a_quadratic_loss_is_exact():
    """F_j = kappa N lambda_j w_j goal_j, present or absent, without noise: its weights do not interact."""
    model, flux = quadratic()
    w = flux.weights["weight"].candidates()[0]
    found = estimate_flux(flux, [0.5, 1.5], call, probes=2)["weight"]
    assert torch.allclose(found.value[0], KAPPA * 6 * model.curvature * w * model.goal, atol=EXACT)
    assert float(found.stderr.abs().max()) < EXACT


def test_the_four_cases(tmp_path):
    _, flux = quadratic()
    found = measure_flux(flux, [1.0], call, sample=99)
    layer = found.layers[0]
    # F/1.5 = 2, 4, -1.5 present; -2, 1 absent; and one without curvature, which nothing pulls
    assert layer.present_cases == (1, 1, 2, 0)
    assert layer.absent_cases == (1, 0, 0, 1)
    assert (layer.n_present, layer.n_absent) == (4, 2)
    assert layer.absent_above == 0.5
    assert layer.present_below == 0.5
    assert found.pressure == 1.0
    assert found.sample_index.tolist() == [0, 1, 2, 5]
    assert found.sample_exact == pytest.approx([3.0, 6.0, -2.25, 0.0], abs=EXACT)
    assert found.sample_estimate == pytest.approx(found.sample_exact, abs=EXACT)
    assert "w+ g-" in str(found)
    found.save(tmp_path / "flux.json")
    again = FluxMeasurement.load(tmp_path / "flux.json")
    assert again == found
    assert len(again.to_frame()) == 4


def network(density=0.5):
    model = mlp().double()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        flux = Hyperflux(model, 0.1)
        for weight in flux.weights.values():
            weight.t.copy_(torch.rand(weight.t.shape) - (1 - density))
            weight._present()
    return model, flux


def test_absent_weights_are_measured_exactly_and_present_ones_by_removal():
    model, flux = network()
    model.train()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    data = [batch(1, 64, 20).double(), batch(2, 64, 20).double()]
    found = measure_flux(flux, data, squares, probes=4, sample=6)
    for name, value in model.named_parameters():
        assert torch.equal(value.detach(), before[name])
        assert value.grad is None
    assert model.training
    squares(model, torch.cat(data)).backward()  # batches of equal size: the mean is that of all
    pulled = {n: w.pulled for n, w in flux.weights.items()}
    for name, part in estimate_flux(flux, data, squares, probes=2).items():
        absent = ~flux.weights[name].mask
        exact = -KAPPA * flux.n_weights * pulled[name]
        assert torch.allclose(part.value[absent], exact[absent], atol=1e-10)
        assert not part.stderr[absent].any()
    for name, place, exact in zip(found.sample_layer, found.sample_index, found.sample_exact, strict=True):
        twin = mlp().double()
        twin.load_state_dict(model.state_dict())
        weight = dict(twin.named_parameters())[f"{name}.weight"]
        w = float(weight.detach().flatten()[place])
        with torch.no_grad():
            weight.view(-1)[place] = 0.0
        squares(twin, torch.cat(data)).backward()
        assert exact == pytest.approx(-KAPPA * 2150 * w * float(weight.grad.flatten()[place]), abs=1e-10)


def test_the_estimate_agrees_with_removal_within_its_error():
    _, flux = network(0.1)
    found = measure_flux(flux, [batch(1, 256, 20).double()], squares, probes=64, sample=80)
    z = (found.sample_estimate - found.sample_exact) / np.maximum(found.sample_stderr, 1e-6)
    assert np.median(np.abs(z)) < 1.5
    assert np.corrcoef(found.sample_estimate, found.sample_exact)[0, 1] > 0.8


def test_the_gradient_where_the_weight_is_does_not_tell_its_flux():
    """Negative control: at the optimum it is 0, and the flux is not."""
    model = Quadratic([1.0, 2.0], [1.0, 3.0], [1.0, 2.0])
    flux = Hyperflux(model, 1.0, layers=[(model, "weight")])
    (gradient,) = torch.autograd.grad(model(1.0), [model.weight])
    assert not gradient.any()
    assert estimate_flux(flux, [1.0], call)["weight"].value.tolist() == [[0.5, 6.0]]


def test_other_pruners_and_empty_layers():
    model = mlp()
    pruner = Magnitude(model, 0.2)
    pruner.refresh()
    found = measure_flux(pruner, [batch(1, 16, 20)], squares)
    assert found.pressure == 0.0
    assert all(sum(layer.absent_cases[:2]) == 0 for layer in found.layers)  # what is forgotten has no flux
    pruner.weights["2"].set_mask(torch.zeros(30, 40, dtype=torch.bool))
    layer = measure_flux(pruner, [batch(1, 16, 20)], squares).layers[1]
    assert layer.n_present == 0
    assert np.isnan(layer.present_median)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"probes": 1}, "probes"), ({"sample": -1}, "sample"), ({"pressure": -1.0}, "pressure"),
     ({"seed": -1}, "seed"), ({"batches": []}, "batches")],
)  # fmt: skip
def test_bad_input(settings, word):
    _, flux = quadratic()
    with pytest.raises(ValueError, match=word):
        measure_flux(flux, **{"batches": [1.0], "loss": call, **settings})

"""Degrees and masks of Budgeted Broadcast: exact, against the theory, and for every rule and actuator."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from bbtheory import match_density, target_degree
from bbtheory.theory.balance import threshold_degree
from bbtheory.theory.entropy import inactivity_log_odds
from bbtheory.train import BudgetedBroadcast, measure_model
from bbtheory.train import rule as rules
from bbtheory.train.allocation import even_degrees, layer_links, solve_knob, whole_degrees
from bbtheory.train.degrees import IN, OUT, Side, both_actuators, one_actuator
from bbtheory.train.masking import MaskedWeight
from small_models import ConvNet, batch, mlp, train


def units(n, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(0.01, 0.95, n))


def weight_of(n_out, n_in, seed=0):
    torch.manual_seed(seed)
    return MaskedWeight("layer", [(nn.Linear(n_in, n_out), "weight")])


@pytest.mark.parametrize("rule", ["balance", "equal_traffic", "uniform"])
@pytest.mark.parametrize("density", [0.05, 0.3, 0.77, 1.0])
@pytest.mark.parametrize("min_degree", [0, 2])
def test_one_layer_agrees_with_the_theory(rule, density, min_degree):
    """Two roads: the match on tensors against theory's exact inversion, to the link."""
    a, beta, limit = units(57), 0.21, 64
    weight = weight_of(57, limit)
    side = Side(weight, IN, a, weight.parameter.detach())
    (degree,), d0 = one_actuator([side], density, lambda r: rules.line_of(rule, r, beta), min_degree)
    match = match_density(
        a.numpy(), density, rule=rule, beta=beta if rule == "balance" else None, min_degree=min_degree,
        max_degree=limit, integer=True,
    )  # fmt: skip
    assert degree.tolist() == match.degree.astype(int).tolist()
    if density < 1.0:
        assert d0 == pytest.approx(match.d0, rel=1e-9)
        real = target_degree(a.numpy(), rule=rule, beta=beta if rule == "balance" else None, d0=d0,
                             min_degree=min_degree, max_degree=limit)  # fmt: skip
        assert np.abs(degree.numpy() - real).max() < 1.0
    mask = side.mask(degree)
    assert mask.sum(1).tolist() == degree.tolist()


def test_several_layers_share_one_knob():
    a = [units(30, 1), units(20, 2)]
    weights = [weight_of(30, 40), weight_of(20, 30)]
    sides = [Side(w, IN, r, w.parameter.detach()) for w, r in zip(weights, a, strict=True)]
    counts, d0 = one_actuator(sides, 0.4, lambda r: rules.line_of("balance", r, 0.3), 0)
    assert sum(int(k.sum()) for k in counts) == round(0.4 * (1200 + 600))
    for k, r, w in zip(counts, a, weights, strict=True):
        real = np.clip(d0 + inactivity_log_odds(r.numpy()) / 0.3, 0, w.fan_in_limit)
        assert np.abs(k.numpy() - real).max() < 1.0


def test_the_cost_of_links_counts():
    """Kernels of nine weights beside single weights: the density of weights is met within one link."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = 40
        cost = torch.from_numpy(rng.choice([1.0, 9.0, 25.0], n))
        high = torch.from_numpy(rng.integers(1, 30, n).astype(float))
        offset = torch.from_numpy(rng.normal(0, 5, n))
        target = round(rng.uniform(0.05, 1) * float((cost * high).sum()))
        one, zero = torch.ones(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        d0 = solve_knob(offset, one, zero, high, cost, target)
        real = (offset + d0).clamp(min=0).minimum(high)
        assert float((cost * real).sum()) == pytest.approx(target, rel=1e-12)
        whole = whole_degrees(real, high, cost, target)
        assert abs(float((cost * whole).sum()) - target) < 25
        assert (whole >= 0).all()
        assert (whole <= high).all()
        assert (whole - real).abs().max() < 1 + 1e-9


def test_ties_go_to_the_lower_index():
    same = torch.full((5,), 2.5, dtype=torch.float64)
    high, cost = torch.full((5,), 4.0, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    assert whole_degrees(same, high, cost, 12).tolist() == [3, 3, 2, 2, 2]
    assert whole_degrees(high, high, cost, 22).tolist() == [4] * 5  # nothing beyond a full row
    assert even_degrees(4, 10, 7).tolist() == [2, 2, 2, 1]
    assert layer_links([10, 10, 10], [1, 1, 1], 0.25) == [3, 3, 2]


def test_an_unreachable_density_names_the_range():
    a, weight = units(10), weight_of(10, 20)
    side = Side(weight, IN, a, weight.parameter.detach())
    with pytest.raises(ValueError, match=r"density must be between 0\.5 and 1"):
        one_actuator([side], 0.3, lambda r: rules.line_of("balance", r, 0.3), 10)


@pytest.mark.parametrize("density", [0.03, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("known", [(True, True), (False, True), (True, False), (False, False)])
def test_both_is_the_intersection_at_one_knob(density, known):
    weight = weight_of(31, 47)
    w = weight.parameter.detach()
    rates = [units(31, 1) if known[0] else None, units(47, 2) if known[1] else None]
    pair = (Side(weight, IN, rates[0], w), Side(weight, OUT, rates[1], w))
    (mask,), d0 = both_actuators([pair], density, lambda r: rules.line_of("balance", r, 0.2), 0)
    assert int(mask.sum()) == round(density * w.numel())
    if all(known) and density < 1:
        # at most the links that change within the tolerance of d0 are missing from the intersection
        k_in = np.clip(np.floor(d0 + inactivity_log_odds(rates[0].numpy()) / 0.2 + 1e-9), 0, 47)
        k_out = np.clip(np.floor(d0 + inactivity_log_odds(rates[1].numpy()) / 0.2 + 1e-9), 0, 31)
        full = pair[0].mask(torch.from_numpy(k_in).long()) & pair[1].mask(torch.from_numpy(k_out).long())
        assert not (mask & ~full).any()
        assert int((full & ~mask).sum()) <= 2


def test_columns_of_grouped_convolutions():
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 12, 3, groups=4)
    for granularity in ("weight", "channel"):
        weight = MaskedWeight("conv", [(conv, "weight")], groups=4, granularity=granularity)
        links = weight.per_link(conv.weight.detach().abs())
        columns = weight.columns(links)
        assert columns.shape == (8, weight.fan_out_limit)
        assert torch.equal(weight.from_columns(columns), links)
        # input channel 5 is the second of group 2, read by output channels 6, 7, 8
        assert torch.equal(columns[5].reshape(3, -1), links[6:9, 1].reshape(3, -1))
        side = Side(weight, OUT, None, links)
        counts = torch.arange(8) % (weight.fan_out_limit + 1)
        weight.mask.copy_(side.mask(counts))
        assert weight.fan_out().tolist() == counts.tolist()


# -- the rules


def test_rules():
    a = torch.tensor([0.5, 0.1, 0.9], dtype=torch.float64)
    offset, slope = rules.line_of("balance", a, 0.5)
    assert offset.tolist() == pytest.approx([0.0, math.log(9) / 0.5, -math.log(9) / 0.5])
    offset, slope = rules.line_of("activity", a, 0.5)
    assert offset.tolist() == pytest.approx([0.0, 3.2, -3.2])
    offset, slope = rules.line_of("equal_traffic", a, 0.5)
    assert (offset + 3 * slope).tolist() == pytest.approx([6.0, 30.0, 10 / 3])
    offset, slope = rules.line_of("uniform", a, 0.5)
    assert (offset + 3 * slope).tolist() == [3.0, 3.0, 3.0]


def test_on_rates_are_resolved_to_half_an_event():
    rates = rules.resolved(torch.tensor([0.0, 3.0, 10.0], dtype=torch.float64), torch.tensor(10.0).double())
    assert rates.tolist() == [0.05, 0.3, 0.95]


def test_silent_units_get_an_average_degree():
    rates = torch.tensor([0.001, 0.2, 0.5, 0.004, 0.01], dtype=torch.float64)
    voiced = rules.without_silent(rates, 0.01)
    assert torch.equal(voiced[[1, 2, 4]], rates[[1, 2, 4]])
    mean = (math.log(0.8 / 0.2) + math.log(0.99 / 0.01)) / 3
    assert inactivity_log_odds(voiced[[0, 3]].numpy()) == pytest.approx([mean, mean], rel=1e-12)
    assert rules.without_silent(rates, 0.0) is rates
    assert rules.without_silent(rates[[0, 3]], 0.01).tolist() == [0.001, 0.004]  # nobody to take after


def test_dead_units_take_no_links_from_the_others():
    """Under the published rule two dead units take all the links they can, and no more than the mean else."""
    shares = {}
    for below in (0.0, 0.01):
        model = mlp()
        with torch.no_grad():
            model[0].bias[:2] = -100.0
        pruner = BudgetedBroadcast(model, 0.3, beta=0.2, layers=["0"], silent_below=below)
        model(batch(0, 64, 20))
        pruner.refresh()
        fan_in = pruner.weights["0"].fan_in()
        assert int(fan_in.sum()) == round(0.3 * pruner.n_weights)
        shares[below] = fan_in[:2].tolist(), float(fan_in[2:].double().mean())
    assert shares[0.0][0] == [20, 20]
    degrees, mean = shares[0.01]
    assert all(abs(k - mean) <= 1.0 for k in degrees)


def test_threshold_counts_are_the_hyperbola():
    a = units(100)
    counts = rules.threshold_counts(a, torch.full((100,), 60), 4.0, 0)
    assert counts.tolist() == threshold_degree(a.numpy(), 4.0, 60).astype(int).tolist()


def test_the_threshold_rule_ends_at_its_hyperbola():
    model = mlp()
    pruner = BudgetedBroadcast(model, rule="threshold", tau=4.0, interval=5, warmup=20, layers=["0", "2"])
    for _ in range(60):
        model(batch(0, 64, 20))
        pruner.step()
    report = pruner.finish()
    seen = rules.resolved(*pruner.statistics()["0"])
    own = np.array(report.layer) == "0"
    assert (report.fan_in[own] * seen.numpy() <= 4.0 + 1e-9).all()
    assert report.fan_in[own].max() > report.fan_in[own].min()
    assert report.density < 1
    masks = pruner.weights["0"].mask.clone()
    pruner.refresh()
    assert not (pruner.weights["0"].mask & ~masks).any()


def test_automatic_beta_meets_its_traffic_budget():
    """Dual ascent on a world that does not answer: the traffic comes to its budget, from either side."""
    for start in (1e-2, 10.0):
        model = mlp(widths=(30, 60, 40, 5))
        pruner = BudgetedBroadcast(model, 0.4, interval=1, beta="auto", traffic_budget=470.0)
        pruner.beta = start
        for _ in range(300):
            model(batch(0, 256, 30))
            pruner.step()
        sides = pruner.sides()
        traffic = sum(s.traffic(s.degrees(pruner.weights[n].mask)) for n, (s,) in sides.items())
        assert traffic == pytest.approx(470.0, rel=0.01)


def test_a_traffic_budget_out_of_reach_is_told():
    model = mlp(widths=(6, 8, 5))
    pruner = BudgetedBroadcast(model, 0.4, interval=1, traffic_budget=1e-3)
    pruner.beta = 1.1e-6
    model(batch(0, 64, 6))
    with pytest.warns(UserWarning, match="cannot be met at density 0.4"):
        pruner.step()
    pruner.step()  # told once


def test_dormant_values_return():
    """A cut weight larger than a kept one comes back with the value it had."""
    model = nn.Sequential(nn.Linear(6, 4, bias=False))
    pruner = BudgetedBroadcast(model, 0.5, rule="uniform")
    values = model[0].weight.detach().clone()
    pruner.refresh()
    weight = pruner.weights["0"]
    cut = torch.nonzero(~weight.mask[0]).flatten()
    with torch.no_grad():
        model[0].weight[0] *= 1e-3  # the kept ones fade
    pruner.refresh()
    assert weight.mask[0, cut].all()
    assert torch.equal(model[0].weight[0, cut], values[0, cut])
    pruner.refresh()
    assert torch.equal(model[0].weight[0, cut], values[0, cut])


@pytest.mark.parametrize("growth", ["random", "gradient"])
def test_growth_where_dormant_values_are_forgotten(growth):
    model = mlp()
    pruner = BudgetedBroadcast(model, 0.3, interval=2, warmup=2, dormant="zero", growth=growth, beta=0.3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    train(model, optimizer, pruner, steps=range(1, 3))
    before = pruner.weights["0"].mask.clone()
    gradient = None
    for step in range(3, 30):
        optimizer.zero_grad()
        (model(batch(step, 32, 20)) - 0.3).pow(2).mean().backward()
        gradient = pruner.weights["0"].dead_gradient
        assert (gradient is not None) == (growth == "gradient" and step % 2 == 0)
        optimizer.step()
        pruner.step()
        grown = pruner.weights["0"].mask & ~before
        assert not model[0].weight[grown].any()
        if gradient is not None:
            assert (
                gradient[~before].ne(0).float().mean() > 0.5
            )  # a real gradient, not that of a masked weight
        before = pruner.weights["0"].mask.clone()


# -- rescales


def test_rescales():
    """The kept weights of a row are raw values times what each form says."""
    for form in ("weight", "incremental", "forward"):
        model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
        raw = model[0].weight.detach().clone()
        bias = model[0].bias.detach().clone()
        pruner = BudgetedBroadcast(model, 0.5, beta=0.3, rescale=form)
        x = batch(0, 64, 16)
        model(x)
        decayed = 0
        for density in (0.5, 0.25, 0.75):
            pruner.density = density
            mask_before = pruner.weights["0"].mask.clone()
            k_before = pruner.weights["0"].fan_in()
            w_before = model[0].weight.detach().clone()
            pruner.refresh()
            weight = pruner.weights["0"]
            k = weight.fan_in()
            factor = torch.where(k > 0, 16 / k.clamp(min=1), 1.0).sqrt()[:, None]
            w = model[0].weight.detach()
            if form == "weight":
                torch.testing.assert_close(w, raw * factor * weight.mask, rtol=1e-6, atol=1e-7)
            elif form == "incremental":
                change = torch.where((k > 0) & (k_before > 0), k_before / k.clamp(min=1), 1.0).sqrt()[:, None]
                both = mask_before & weight.mask
                torch.testing.assert_close(w[both], (w_before * change)[both], rtol=1e-6, atol=1e-7)
            else:
                assert torch.equal(w, raw * weight.mask)
                out = (x @ w.t() + bias) * factor.flatten()
                torch.testing.assert_close(model[0](x), out, rtol=1e-5, atol=1e-6)
            decayed += 1
        assert decayed == 3


# -- tables


def test_report_and_unit_table(tmp_path):
    model = ConvNet()
    pruner = BudgetedBroadcast(model, 0.4, interval=2, warmup=2)
    train(model, torch.optim.SGD(model.parameters(), 0.01), pruner, steps=range(1, 6), shape=(8, 3, 8, 8))
    report = pruner.finish()
    assert [layer.layer for layer in report.layers] == ["conv1", "conv2", "fc1", "fc2"]
    assert report.n_kept == round(0.4 * report.n_weights)
    assert report.to_dict()["units"]["fan_in"]
    model.eval()
    measured = measure_model(model, [(batch(9, 16, 3, 8, 8), None)])
    assert measured.fan_in.tolist() == report.fan_in.tolist()
    assert measured.fan_out.tolist() == report.fan_out.tolist()
    # by hand: conv2's fan-out is what fc1 keeps of the four columns of each channel
    by_hand = model.fc1.weight.detach().ne(0).sum(0).reshape(12, 4).sum(1)
    conv2 = np.array(measured.layer) == "conv2"
    assert measured.fan_out[conv2].tolist() == by_hand.tolist()
    assert measured.traffic == pytest.approx(measured.on_rate * measured.fan_out)
    assert "A mask saves neither time nor memory" in str(report)
    path = tmp_path / "units.csv"
    report.to_csv(path)
    assert path.read_text().splitlines()[0] == "layer,unit,on_rate,fan_in,fan_out,traffic"
    assert type(report).load(_saved(report, tmp_path)) == report


def test_bytes_and_multiply_adds_by_hand():
    model = ConvNet()
    pruner = BudgetedBroadcast(model, 0.4, warmup=1)
    model(batch(0, 8, 3, 8, 8))
    pruner.refresh()
    assert np.isnan(pruner.report().layers[0].sample_multiply_adds)
    seen = pruner.on_rates()
    report = pruner.report(batch(1, 2, 3, 8, 8))
    layers = {layer.layer: layer for layer in report.layers}
    # output height x width x kernel x channels in per group x channels out
    dense = {"conv1": 8 * 8 * 9 * 3 * 8, "conv2": 4 * 4 * 9 * 2 * 12, "fc1": 48 * 16, "fc2": 16 * 5}
    assert {name: layer.sample_multiply_adds for name, layer in layers.items()} == dense
    kept = int(model.conv2.weight.detach().ne(0).sum())
    assert layers["conv2"].kept_sample_multiply_adds == 16 * kept
    conv2 = layers["conv2"]
    assert (conv2.weight_bytes, conv2.mask_bytes, conv2.dormant_bytes) == (4 * 216, 216, 4 * 216)
    assert conv2.sparse_bytes == kept * (4 + 4) + 13 * 4
    assert model.training
    assert all(torch.equal(seen[name], rates) for name, rates in pruner.on_rates().items())
    with pytest.raises(ValueError, match="example_input"):
        pruner.report(())


def _saved(record, folder):
    record.save(folder / "report.json")
    return folder / "report.json"


def test_measure_model_leaves_the_model_as_it_was():
    model = mlp()
    model[2].eval()
    table = measure_model(model, [batch(0, 8, 20), batch(1, 8, 20)])
    assert model.training
    assert not model[2].training
    x = torch.cat([batch(0, 8, 20), batch(1, 8, 20)])
    assert table.on_rate[:40].tolist() == (model[0](x) > 0).double().mean(0).tolist()
    assert not any(m._forward_hooks for m in model.modules())
    for loader, message in (
        ([], "at least one batch"),
        ([batch(0, 0, 20)], "samples that reach 0, 2"),
        ([{"x": batch(0, 4, 20)}], "forward must be given"),
        ([torch.full((2, 20), float("nan"))], "activations of layer '0'"),
    ):
        with pytest.raises(ValueError, match=message):
            measure_model(model, loader)
    with pytest.raises(ValueError, match="activations must be given"):
        measure_model(nn.Linear(3, 2), [batch(0, 4, 3)])


@pytest.mark.parametrize("kind", [{"sp_in": True}, {"sp_in": False, "sp_out": True}])
def test_fit_recovers_the_imposed_slope(kind, tmp_path):
    from bbtheory import fit_balance

    model = mlp(widths=(40, 80, 60, 5))
    pruner = BudgetedBroadcast(model, 0.4, beta=0.2, **kind)
    model(batch(0, 4096, 40))
    pruner.refresh()
    report = pruner.report()
    degree = report.fan_in if pruner.degree_kind == "fan_in" else report.fan_out
    own = np.array(report.layer) == "0"
    fit = fit_balance(report.on_rate[own], degree[own], min_degree=0, max_degree=80)
    assert fit.groups[0].slope == pytest.approx(
        0.2, rel=0.1
    )  # rounding to whole links is all that is between


def test_finish_leaves_masks_alone_where_every_layer_is_met():
    """Each layer is rounded by itself: together they may be links away from the density of the whole."""
    model = nn.Sequential(*[part for _ in range(6) for part in (nn.Linear(5, 5), nn.ReLU())])
    pruner = BudgetedBroadcast(model, 0.3, beta=1.0, allocation="layer")
    model(batch(0, 64, 5))
    pruner.refresh()
    assert abs(pruner.n_kept - 0.3 * pruner.n_weights) >= 1.0
    masks = [weight.mask.clone() for weight in pruner.weights.values()]
    with torch.no_grad():
        for weight in pruner.weights.values():
            weight.parameter.mul_(torch.rand_like(weight.parameter))
    pruner.finish()
    assert pruner.n_refreshes == 1
    assert all(torch.equal(w.mask, mask) for w, mask in zip(pruner.weights.values(), masks, strict=True))

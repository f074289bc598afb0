"""Small real trainings on digits, held against what the theory predicts for them; each with a control that fails.

Degrees under the rule: the line, or the hyperbola, is imposed by the controller. What is tested there is that
the machinery does what it is told and that on-rates scatter as n samples must. Nothing imposes how on-rates
answer to a cut, or where weights under pressure stay: there theory meets nature.
"""

from __future__ import annotations

import importlib.util
import math
from functools import cache

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch
from torch import nn

from bbtheory import (
    Network,
    Shock,
    density_under_pressure,
    inactivity_log_odds,
    respond,
    solve_coupled_presence,
    solve_presence,
    threshold_degree,
)
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.train import (
    BudgetedBroadcast,
    Flow,
    Hyperflux,
    TensorBatches,
    cross_entropy,
    load_data,
    measure_flux,
    measure_model,
    mlp,
    train_epochs,
)

torch.set_num_threads(1)

KAPPA = 0.25  # of the model of Hyperflux
BATCH = 64
TRANSIENT = 0.01  # of a density: what a run of this length still remembers of its start
UNLIKELY = 1e-4  # of a statistic that a test allows to be off by chance


@cache
def digits():
    data = load_data("digits")
    return torch.from_numpy(data.flat("train")), torch.from_numpy(data.y_train.copy())


# degrees under the rule: imposed

DECAY = 0.95
SEEN = BATCH * (1 + DECAY) / (1 - DECAY)  # samples that an average of this decay is worth
FEWEST = 100  # on- and off-events a unit must have in them, so that its log-odds scatter normally
WIDTHS = [64, 128, 96, 10]


def regulated(warmup=None, **settings):
    """Train under the rule, hold the weights, let averages settle on independent samples, refresh once.

    Return on-rates over all images under the masks before that refresh, the degrees it set, and the pruner.
    With a long ``warmup`` the network is dense until then.
    """
    x, y = digits()
    model = mlp(WIDTHS, seed=0)
    batches = TensorBatches(x, y, BATCH, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    n = len(batches)
    warmup = n if warmup is None else warmup
    until = max(10 * n, warmup)
    pruner = BudgetedBroadcast(
        model, interval=n, warmup=warmup, until=until, ema_decay=DECAY, seed=0, **settings
    )
    train_epochs(model, optimizer, batches, epochs=10, loss=cross_entropy, pruner=pruner)
    optimizer.param_groups[0]["lr"] = 0.0
    generator = torch.Generator().manual_seed(1)
    for _ in range(120):  # 0.95^120 of what was before is left
        chosen = torch.randint(0, len(x), (BATCH,), generator=generator)
        optimizer.zero_grad()
        cross_entropy(model, (x[chosen], y[chosen])).backward()
        optimizer.step()
        pruner.step()
    truth = measure_model(model, x.split(512))
    pruner.refresh()
    return truth, pruner.report().units, pruner


def free_units(truth, units, kind, layer, most):
    """Return on-rates and degrees of the units that are off the clips and on, and off, often enough."""
    own = np.array([name == layer for name in units.layer])
    a, k = truth.on_rate[own], getattr(units, kind)[own]
    free = (k > 0) & (k < most) & (SEEN * np.minimum(a, 1 - a) > FEWEST)
    return a[free], k[free]


def chi_square_range(n):
    from scipy.stats import chi2

    return chi2.ppf([UNLIKELY / 2, 1 - UNLIKELY / 2], n)


@pytest.mark.parametrize(
    ("kind", "layers", "settings"),
    [
        ("fan_in", {"fc1": 64, "fc2": 128}, {"density": 0.3, "beta": 0.5}),
        ("fan_out", {"fc1": 96}, {"density": 0.3, "beta": 0.3, "sp_in": False, "sp_out": True}),
    ],
)
def test_degrees_lie_on_the_imposed_line_as_closely_as_samples_allow(kind, layers, settings):
    truth, units, pruner = regulated(**settings)
    beta_set = settings["beta"]
    for layer, most in layers.items():
        a, k = free_units(truth, units, kind, layer, most)
        assert a.size >= 20

        def squares(k, beta, a=a):
            # binomial error of the average through L, and rounding to whole links
            spread = np.sqrt(1.0 / (SEEN * a * (1 - a) * beta_set**2) + 1.0 / 12.0)
            return (((k - pruner.d0 - inactivity_log_odds(a) / beta) / spread) ** 2).sum()

        low, high = chi_square_range(a.size)
        assert low < squares(k, beta_set) < high
        assert squares(k, 1.3 * beta_set) > 2 * high, "the control: another slope"
        shuffled = np.random.default_rng(0).permutation(k)
        assert squares(shuffled, beta_set) > 10 * high, "the control: degrees of other units"


def test_degrees_under_the_threshold_are_those_of_its_hyperbola():
    """The rule only cuts: a dense network is cut once, or degrees would tell of on-rates gone by."""
    tau = 12.0
    truth, units, _ = regulated(rule="threshold", tau=tau, warmup=10_000)
    for layer, most in (("fc1", 64), ("fc2", 128)):
        own = np.array([name == layer for name in units.layer])
        a, k = truth.on_rate[own], units.fan_in[own]
        margin = 4.0 * np.sqrt(a * (1 - a) / SEEN) + 1e-9

        def inside(tau, a=a, k=k, margin=margin, most=most):
            fewest = threshold_degree(np.minimum(a + margin, 1.0), tau, most)
            largest = threshold_degree(np.maximum(a - margin, 1e-6), tau, most)
            return np.mean((k >= fewest) & (k <= largest))

        assert inside(tau) == 1.0
        assert inside(1.3 * tau) < 0.5, "the control: another threshold"


# on-rates after a cut: nothing is imposed


@cache
def dense():
    """Return weights, biases and the inputs of each hidden layer of a dense network."""
    x, y = digits()
    model = mlp([64, 96, 48, 10], seed=0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    train_epochs(model, optimizer, TensorBatches(x, y, BATCH, seed=0), epochs=8, loss=cross_entropy)
    layers = [part for part in model if isinstance(part, nn.Linear)]
    weights = [layer.weight.detach().double().numpy() for layer in layers]
    biases = [layer.bias.detach().double().numpy() for layer in layers]
    inputs = [x.double().numpy()]
    inputs.append(np.maximum(inputs[0] @ weights[0].T + biases[0], 0.0))
    return weights, biases, inputs


def cut(layer, targets, sources):
    """Return measured changes of on-rates of a layer, their paired errors, and those the closure predicts."""
    weights, biases, inputs = dense()
    h, w, b = inputs[layer], weights[layer], biases[layer]
    network = Network(
        [w], h.mean(0), input_covariance=np.cov(h.T, bias=True), biases=[b], activations=["relu"]
    )
    answer = respond(network, Shock(np.zeros_like(targets), targets, sources))
    hit = np.unique(targets)
    less = w.copy()
    less[targets, sources] = 0.0
    change = (h @ less[hit].T + b[hit] > 0).astype(float) - (h @ w[hit].T + b[hit] > 0)
    expected = (answer.on_rate_finite - answer.on_rate)[hit]
    return change.mean(0), change.std(0) / math.sqrt(len(h)), expected


def correlation_interval(x, y, level=1 - UNLIKELY):
    """Fisher's interval of a correlation."""
    from scipy.special import ndtri

    z, half = np.arctanh(np.corrcoef(x, y)[0, 1]), float(ndtri(0.5 + level / 2)) / math.sqrt(x.size - 3)
    return np.tanh([z - half, z + half])


@pytest.mark.parametrize(
    ("actuator", "layer", "order"),
    [("sp_in", 0, "weakest"), ("sp_in", 0, "random"), ("sp_in", 1, "random"), ("sp_out", 1, "all")],
)
def test_on_rates_answer_to_cuts_as_the_closure_says(actuator, layer, order):
    w = dense()[0][layer]
    rng = np.random.default_rng(0)
    found = []
    if actuator == "sp_in":  # a part of a unit's incoming links, unit by unit
        for unit in range(w.shape[0]):
            part = w.shape[1] // 2 if order == "weakest" else w.shape[1] // 4
            key = np.abs(w[unit]) if order == "weakest" else rng.random(w.shape[1])
            sources = np.argsort(key)[:part]
            found.append(cut(layer, np.full(part, unit), sources))
    else:  # all outgoing links of a unit of the layer below
        for unit in rng.choice(w.shape[1], 16, replace=False):
            found.append(cut(layer, np.arange(w.shape[0]), np.full(w.shape[0], unit)))
    measured, error, expected = (np.concatenate(part) for part in zip(*found, strict=True))
    clear = np.abs(measured) > 4.0 * error  # changes that n images show beyond doubt
    assert clear.sum() >= 20
    right = np.mean(np.sign(expected[clear]) == np.sign(measured[clear]))
    low, _ = correlation_interval(measured, expected)
    assert right > 0.9
    assert low > 0.8
    # controls: responses of other units, and that every cut silences, as SP-in is said to do
    control = rng.permutation(expected)
    low, high = correlation_interval(measured, control)
    assert low < 0.0 < high
    assert np.mean(measured[clear] < 0) < 0.75


# density under pressure: nothing is imposed but the pressure


def pressed(features, targets, start, gamma, *, steps, learning_rate, weight_decay=0.0, ridge=0.0, rate=1e-2):
    """Train a linear model on squares under pressure; return the shares of time each weight is present.

    In eight blocks of the second half, so that they tell their own error: (8, n_out, n_in).
    """
    model = nn.Linear(features.shape[1], targets.shape[1], bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(start))
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, weight_decay=weight_decay)
    flow = Flow(rule="sgd", lr=rate)
    flux = Hyperflux(
        model, gamma, interval=steps, flow=flow, presence=(2e-4, 5e-4), stop_when_empty=False, seed=0
    )
    weight = next(iter(flux.weights.values()))
    x, y, centre = (torch.from_numpy(part) for part in (features, targets, start))
    generator = torch.Generator().manual_seed(0)
    present = np.zeros((8, *start.shape))
    length = steps // 16
    for step in range(steps):
        chosen = torch.randint(0, len(x), (256,), generator=generator)
        optimizer.zero_grad()
        loss = 0.5 * (model(x[chosen]) - y[chosen]).square().sum(1).mean()
        if ridge:
            loss = loss + 0.5 * ridge * (model.weight - centre).square().sum()
        loss.backward()
        optimizer.step()
        flux.step()
        if step >= 8 * length and step < 16 * length:
            present[step // length - 8] += weight.mask.numpy() / length
    return present


def density_interval(present):
    """Return the mean density and its interval from blocks, whose correlation is far shorter than they are."""
    mean, (low, high) = mean_interval(present.mean((1, 2)), 1 - UNLIKELY)
    return float(mean), float(low), float(high)


@pytest.mark.parametrize("gamma", [0.1, 0.2, 0.5])
def test_density_of_interacting_weights_under_pressure(gamma):
    """Pixels are correlated: the coupled law predicts presence weight by weight, the separable one fails."""
    ridge = 1e-3
    x, y = (part.numpy() for part in digits())
    x = x[:, x.std(0) > 0.02].astype(float)
    one_hot = np.eye(10)[y]
    gram = x.T @ x / len(x) + ridge * np.eye(x.shape[1])
    best = np.linalg.solve(gram, x.T @ one_hot / len(x)).T
    present = pressed(x, x @ best.T, best, gamma, steps=720, learning_rate=0.0, ridge=ridge, rate=2e-2)
    mean, _, high = density_interval(present)
    share = 1 / len(best)  # of each class in N, which turns the pressure into that on its own weights
    laws = [solve_coupled_presence(gram, row, gamma * share) for row in best]
    expected = np.array([law.presence for law in laws])
    assert abs(mean - expected.mean()) < high - mean + TRANSIENT * expected.mean()
    assert np.corrcoef(present.mean(0).ravel(), expected.ravel())[0, 1] > 0.98
    alone = density_under_pressure(np.concatenate([law.flux for law in laws]) / share, [gamma]).density[0]
    assert alone > 1.3 * high, "the control: a law without interaction"
    shuffled = np.random.default_rng(0).permutation(expected.ravel())
    assert abs(np.corrcoef(present.mean(0).ravel(), shuffled)[0, 1]) < 0.2, "the control: other weights"


@pytest.mark.parametrize(("gamma", "decay"), [(0.05, 0.1), (0.2, 0.0)])
def test_density_of_weights_that_learn_under_pressure(gamma, decay):
    """Features are uncorrelated, weights learn and decay: density follows from their measured fluxes."""
    x, y = (part.numpy() for part in digits())
    x = x - x.mean(0)
    left, _, _ = np.linalg.svd(x.astype(float), full_matrices=False)
    features = left[:, :30] * math.sqrt(len(x))
    targets = np.eye(10)[y] - np.eye(10)[y].mean(0)
    best = (features.T @ targets / len(x)).T
    flux = KAPPA * best.size * best.ravel() ** 2
    present = pressed(
        features, targets, best, gamma, steps=1120, learning_rate=0.02, weight_decay=decay, rate=2e-2
    )
    mean, low, high = density_interval(present)
    law = solve_presence(flux, gamma, weight_decay=decay)
    expected = float(law.presence.mean())
    assert abs(mean - expected) < high - mean + TRANSIENT * expected
    assert np.sqrt(np.mean((present.mean(0).ravel() - law.presence) ** 2)) < 0.04
    other = float(solve_presence(flux, 2 * gamma, weight_decay=decay).presence.mean())
    assert other < low, "the control: another pressure"
    if decay:
        held = float(density_under_pressure(flux, [gamma]).density[0])
        assert held > high + TRANSIENT * held, "the control: weights that do not decay"


@pytest.mark.parametrize("gamma", [0.25, 1.0])
def test_pressure_parts_present_from_absent_weights_by_their_flux(gamma):
    """A network that learns under pressure: flux below it where a weight is absent, above it where one stays.

    What the duty cycle leaves of the theory where weights interact and the loss is not quadratic; presence
    slides on its threshold, so that a few weights are on the wrong side at any moment.
    """
    x, y = digits()
    model = mlp([64, 32, 10], seed=0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    batches = TensorBatches(x, y, BATCH, seed=0)
    n_steps = 18 * len(batches)
    flux = Hyperflux(model, gamma, interval=n_steps, flow=Flow(lr=1e-2), stop_when_empty=False, seed=0)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / n_steps))
    train_epochs(
        model, optimizer, batches, epochs=18, loss=cross_entropy, pruner=flux, scheduler=falling,
        scheduler_per="step",
    )  # fmt: skip
    n = 60

    def misplaced(pressure):
        """Return the shares of absent weights above and of present ones below, the latter one by one."""
        found = measure_flux(flux, [(x, y)], cross_entropy, pressure=pressure, probes=2, sample=n)
        absent = sum(layer.n_absent for layer in found.layers)
        above = sum(layer.absent_above * layer.n_absent for layer in found.layers) / absent
        return above, float(np.mean(found.sample_exact < pressure))

    above, below = misplaced(gamma)
    assert above < 0.05
    assert below <= 3 / n
    assert misplaced(gamma / 8)[0] > 2 * above + 0.05, "the control: another pressure"
    assert misplaced(8 * gamma)[1] > 0.3, "the control: another pressure"

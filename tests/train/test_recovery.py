"""A slope that was set comes back: fit_balance on the degrees and on-rates of a network trained under it."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch

from bbtheory import fit_balance
from bbtheory.train import (
    BudgetedBroadcast,
    TensorBatches,
    cross_entropy,
    load_data,
    measure_model,
    mlp,
    train_epochs,
)

torch.set_num_threads(1)
BETA = {"fan_in": 0.15, "fan_out": 0.25}
LIMIT = {"fan_in": 64, "fan_out": 100}  # links of a full row of fc1, of a full column of its units
STDERRS = 4.0
# whole links: d0 moves by less than the last of them, and k by half a link either way
ROUNDING = 0.01


@pytest.fixture(scope="module", params=["fan_in", "fan_out"])
def trained(request):
    """A network whose last refresh is at its last step, its pruner, and the images."""
    digits = load_data()
    images = torch.from_numpy(digits.flat("train"))
    batches = TensorBatches(images, digits.y_train, 64)
    n_steps = 12 * len(batches)
    model = mlp((64, 120, 100, 10), seed=2)
    kind = request.param
    pruner = BudgetedBroadcast(
        model,
        0.3,
        sp_in=kind == "fan_in",
        sp_out=kind == "fan_out",
        beta=BETA[kind],
        allocation="layer",
        interval=10,
        warmup=n_steps % 10 + 20,
        ema_decay=0.97,
    )
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    train_epochs(
        model,
        optimizer,
        batches,
        epochs=12,
        loss=cross_entropy,
        pruner=pruner,
        scheduler=scheduler,
        scheduler_per="step",
    )
    assert pruner.is_refresh(pruner.step_count)
    return kind, model, pruner, images


def fit(kind, on_rate, degree):
    found = fit_balance(
        on_rate, degree, min_degree=0, max_degree=LIMIT[kind], degree_kind=kind, n_permutations=999
    )
    return found.groups[0]


def fc1(units, kind):
    own = np.array([layer == "fc1" for layer in units.layer])
    return units.on_rate[own], getattr(units, kind)[own]


def test_the_slope_that_was_set_comes_back(trained):
    kind, _, pruner, _ = trained
    line = fit(kind, *fc1(pruner.report().units, kind))
    assert line.n_used > 60
    assert abs(line.slope - BETA[kind]) < STDERRS * line.slope_stderr + ROUNDING * BETA[kind]
    assert line.slope_stderr < 0.02 * BETA[kind]
    assert line.verdict == "balanced"


def test_shuffled_degrees_show_nothing(trained):
    """Negative control: the same degrees on other units."""
    kind, _, pruner, _ = trained
    on_rate, degree = fc1(pruner.report().units, kind)
    line = fit(kind, on_rate, np.random.default_rng(0).permutation(degree))
    assert line.verdict not in ("balanced", "hyperbolic")
    assert abs(line.slope - BETA[kind]) > 10 * ROUNDING * BETA[kind]


def test_a_network_that_was_not_told_shows_nothing(trained):
    """Negative control: uniform degrees have no slope to fit."""
    kind, model, _, images = trained
    even = mlp((64, 120, 100, 10), seed=2)
    even.load_state_dict(model.state_dict())
    pruner = BudgetedBroadcast(even, 0.3, rule="uniform", sp_in=kind == "fan_in", sp_out=kind == "fan_out")
    even(images[:64])
    pruner.refresh()
    line = fit(kind, *fc1(pruner.report().units, kind))
    assert line.verdict not in ("balanced", "hyperbolic")


def test_on_rates_measured_anew_agree(trained):
    """Two roads to on-rates: the pruner's averages while it trained, a pass over all images after it."""
    kind, model, _, images = trained
    line = fit(kind, *fc1(measure_model(model, images.split(512)), kind))
    assert line.verdict == "balanced"
    assert abs(line.slope - BETA[kind]) < STDERRS * line.slope_stderr + ROUNDING * BETA[kind]


def test_a_unit_last_seen_long_ago_is_dead():
    """What is left of an old event in an average is not an on-rate: it would steepen the fitted line."""
    pruner = BudgetedBroadcast(mlp((3, 4, 2)), 0.5)
    activity = pruner.activities["fc1"]
    activity.count.fill_(1000.0)
    activity.total.copy_(torch.tensor([0.4, 0.6, 999.6, 500.0], dtype=torch.float64))
    assert pruner.on_rates()["fc1"].tolist() == [0.0, 0.0006, 1.0, 0.5]

"""The pieces of the DNF experiments that compute something, and the rules of the checks that read them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bbtheory.simulate import Pruning, Training, simulate_boolean
from bbtheory.simulate.pruning_kernel import cut_weakest
from bbtheory.tasks import dnf
from experiments import dnf_steps_to_fit as steps
from experiments import hyperparameter_sensitivity as knobs
from experiments import rare_features_dnf as rare
from experiments import threshold_margin as margin
from paper_checks import (
    dnf_steps_grow_as_w_log_w,
    rare_term_survives,
    rare_units_stay_under_tau,
    threshold_needs_a_margin,
)
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED

# recognition

TASK = dnf((1 / 9, 0.7225))


def hand_made(weights: list[list[float]], bias: list[float], out: list[float], out_bias: float):
    """Return a run whose network is this one: first layer, then a second that passes it on."""
    width = len(bias)
    run = simulate_boolean(TASK, Training(hidden=(width, width), steps=1), seed=0)
    return dataclasses.replace(
        run,
        weights=(np.array(weights), np.eye(width), np.array([out])),
        biases=(np.array(bias), np.zeros(width), np.array([out_bias])),
        scales=(np.ones(width), np.ones(width)),
    )


BOTH = [[1.0, 1, 0, 0], [0, 0, 1, 1]]  # with inputs of -1 and 1 and bias -1 each unit is on if both are true


@pytest.mark.parametrize(
    ("out", "out_bias", "expected"),
    [
        ([1.0, 1.0], -0.5, [1.0, 1.0]),
        ([0.0, 1.0], -0.5, [0.0, 1.0]),
        ([1.0, 1.0], 1.0, [0.0, 0.0]),  # always yes: every rare example right, nothing recognised
        ([-1.0, -1.0], 0.5, [-1.0, -1.0]),
    ],
)
def test_recognition_of_a_hand_made_network(out, out_bias, expected):
    run = hand_made(BOTH, [-1.0, -1.0], out, out_bias)
    assert rare.recognition(run) == pytest.approx(expected, abs=1e-12)


def test_refreshes_to_reach_a_density():
    run = simulate_boolean(
        TASK,
        Training(hidden=(8, 8), steps=200),
        Pruning("magnitude", density=0.25, ramp=4, schedule="linear", interval=20, warmup=40),
        seed=0,
    )
    assert rare.reaching(run) == 4


def test_idle_rule_is_no_pruning():
    config = dataclasses.replace(rare.SMOKE, levels=("idle",), steps=100)
    found = rare.collect(config, [rare.run(config, rare.Progress())])
    assert [arm.name for arm in rare.arms(config)] == ["rare.idle.threshold.sp_out"]
    first = found.numbers[:, :, :, :1]
    # tau of the rule and of the others is the same, so is all else
    assert np.array_equal(np.broadcast_to(first, found.numbers.shape), found.numbers, equal_nan=True)
    assert found.of("density", found.arms[0], "bb").tolist() == [1.0]


# the margin


@pytest.mark.parametrize("cuts", [1, 3])
@pytest.mark.parametrize("regrow", [False, True])
def test_degrees_obey_the_rule_of_the_simulation(cuts, regrow):
    rng = np.random.default_rng(3)
    rates = rng.uniform(0.0, 0.4, (30, 50))
    rates[5] = 0.0
    kept = np.ones((50, 12), np.bool_)
    scores = rng.random(kept.shape)
    for row in rates:
        cut_weakest(scores, kept, row, 1.3, 0, 12, cuts, regrow)
    assert margin.degrees_left(rates, 12, 1.3, cuts, regrow).tolist() == kept.sum(axis=1).tolist()


def test_sufficient_margin_against_simulated_averages():
    config = margin.Config(n_units=4000, n_refreshes=1, interval=1)
    rng = np.random.default_rng(1)
    for decay, batch in ((0.8, 16), (0.95, 64)):
        seen = margin.estimates(rng, margin.P_RARE, decay, batch, config)[0] / margin.P_RARE
        spread = math.sqrt((1 - margin.P_RARE) / (margin.P_RARE * margin.effective_examples(decay, batch)))
        # standard error of a standard deviation: 1/sqrt(2 n); four of them
        assert np.std(seen) == pytest.approx(spread, rel=4 / math.sqrt(8000))
        for risk in (0.2, 0.02):
            bound = margin.sufficient_margin(margin.P_RARE, decay, batch, 1, risk)
            assert np.mean(seen > bound) == pytest.approx(risk, abs=4 * math.sqrt(risk / 4000) + 0.004)
            # the negative control: a margin for another risk
            other = margin.sufficient_margin(margin.P_RARE, decay, batch, 1, 3 * risk)
            assert np.mean(seen > other) > risk + 4 * math.sqrt(risk / 4000)


def test_margin_grows_with_looks_and_noise():
    def of(**changes):
        given = {"on_rate": 0.1, "decay": 0.9, "batch": 32, "n_refreshes": 100, "risk": 0.05} | changes
        return margin.sufficient_margin(**given)

    assert 1 < of(batch=320) < of() < of(n_refreshes=1000)
    assert of(decay=0.99) < of() < of(on_rate=0.05)


# steps


def test_growth_recovers_an_exponent():
    widths = np.array([2.0, 4, 8, 16])
    law = widths * np.log(widths)
    seen = np.stack([3 * law, law**0.5, np.full(4, 7.0), 2 * widths**2], axis=1)
    assert steps.growth(widths, seen)[:3] == pytest.approx([1.0, 0.5, 0.0])
    error = steps.law_errors(widths, seen)
    assert error.argmin(axis=1).tolist() == [0, 1, 3, 2]
    assert error[0, 0] == pytest.approx(0, abs=1e-12)
    seen[3] = np.inf
    assert steps.growth(widths, seen)[:3] == pytest.approx([1.0, 0.5, 0.0])
    seen[2] = np.inf
    assert np.isnan(steps.growth(widths, seen)).all()


def test_middle_makes_up_no_value():
    assert steps.middle(np.array([[1.0], [5.0], [2.0], [np.inf]])).tolist() == [5.0]
    assert steps.middle(np.array([[1.0], [np.inf], [np.inf]])).tolist() == [np.inf]


def growing(b: dict[str, tuple[float, float]]) -> steps.Result:
    """Return a result in which steps grow in each reading with these exponents (bb, none)."""
    rng = np.random.default_rng(0)
    config = dataclasses.replace(steps.CPU, readings=tuple(b), seeds=tuple(range(24)))
    cells = []
    for _ in config.seeds:
        tables = []
        for reading, (bb, none) in b.items():
            w = np.array(getattr(config, reading), dtype=float)
            law = np.log(w * np.log(w))[:, None] * np.array([bb, none, none, none, none])
            tables.append(100 * np.exp(law + 0.1 * rng.standard_normal(law.shape)))
        cells.append(steps.Cell(tuple(tables), tuple(np.ones_like(t) for t in tables)))
    return steps.collect(config, cells)


@pytest.mark.parametrize(
    ("b", "verdict"),
    [
        ({"terms": (1.0, 2.0), "units": (-0.5, -0.5)}, CONFIRMED),
        ({"terms": (1.0, 1.0), "units": (-0.5, -0.5)}, UNDECIDED),
        ({"terms": (1.5, 1.0), "units": (-0.5, -0.5)}, REFUTED),
    ],
)
def test_rule_of_steps(b, verdict):
    found = dnf_steps_grow_as_w_log_w.check(growing(b))
    assert found.verdict == verdict


# the rare term


def arms(kept: dict[str, tuple[float, float]], under: float = 0.5) -> rare.Result:
    """Return a result in which arms, and all their rivals, keep these shares of the rare terms."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(0.5, 0.01, (24, len(rare.NUMBERS), len(kept), len(rare.METHODS)))
    row = rare.NUMBERS.index("rare_kept")
    for i, (bb, rivals) in enumerate(kept.values()):
        numbers[:, row, i, 0] += bb - 0.5
        numbers[:, row, i, 1:] += rivals - 0.5
    numbers[:, rare.NUMBERS.index("rare_under_tau")] += under - 0.5
    n = len(kept)
    return rare.Result(
        tuple(kept), np.ones(n), rare.METHODS, rare.NUMBERS, numbers, np.full((n, 7), 0.1), np.ones((n, 7, 7))
    )


A, B, C = "rare.floor.threshold.sp_out", "rare.severe.threshold.sp_in", "rare.strong.controller.both"


@pytest.mark.parametrize(
    ("kept", "verdict"),
    [
        ({A: (0.9, 0.6), B: (0.6, 0.6)}, CONFIRMED),
        ({A: (0.9, 0.6), B: (0.3, 0.6)}, UNDECIDED),
        ({A: (0.6, 0.6), B: (0.3, 0.6)}, REFUTED),
        ({A: (0.6, 0.6)}, UNDECIDED),
        ({A: (0.5, 1.0)}, UNDECIDED),  # the rivals lose nothing: no test of the claim
        ({"equal.floor.threshold.sp_out": (0.9, 0.6), "rare.idle.threshold.sp_out": (0.9, 0.6)}, UNDECIDED),
    ],
)
def test_rule_of_rare_term_survives(kept, verdict):
    assert rare_term_survives.check(arms(kept)).verdict == verdict


@pytest.mark.parametrize(("under", "verdict"), [(0.99, CONFIRMED), (0.95, UNDECIDED), (0.6, REFUTED)])
def test_rule_of_rare_units_stay_under_tau(under, verdict):
    found = rare_units_stay_under_tau.check(arms({rare_units_stay_under_tau.ARM: (1.0, 1.0)}, under))
    assert found.verdict == verdict


def test_rule_of_threshold_needs_a_margin():
    config = dataclasses.replace(margin.SMOKE, seeds=(0, 1, 2), n_units=100)
    cells = [margin.run(one, margin.Progress()) for one in margin.cells(config)]
    found = margin.collect(config, cells)
    assert threshold_needs_a_margin.check(found).verdict == CONFIRMED
    too_small = dataclasses.replace(found, any_lost=found.any_lost + 0.5)
    assert threshold_needs_a_margin.check(too_small).verdict == REFUTED
    none_needed = dataclasses.replace(found, lost=0 * found.lost)
    assert threshold_needs_a_margin.check(none_needed).verdict == REFUTED


# the knobs


def test_range_kept_stops_at_the_first_value_that_fails():
    config = dataclasses.replace(knobs.CPU, n_random=0, betas=(0.1, 0.2, 0.3, 0.4, 0.5), base=(2, 3, 4, 3))
    todo = knobs.settings(config)
    n = len(todo)
    result = knobs.Result(
        tuple(s.rule for s in todo),
        tuple(s.moved for s in todo),
        np.array([s.strength for s in todo]),
        np.array([s.memory for s in todo]),
        np.array([float(s.interval) for s in todo]),
        knobs.NUMBERS,
        *(np.zeros((len(knobs.NUMBERS), n)) for _ in range(3)),
        n_finite=np.zeros((len(knobs.NUMBERS), n)),
        unpruned=np.zeros((2, 3)),
        rank_correlation=np.zeros((2, 3, 3, 3)),
        n_seeds=1,
    )
    assert result.range_kept("controller", "strength", ~np.isin(result.strength, [0.1, 0.5])) == (0.2, 0.4)
    assert result.range_kept("controller", "strength", ~np.isin(result.strength, [0.2])) == (0.3, 0.5)
    assert np.isnan(result.range_kept("controller", "strength", result.strength != 0.3)).all()

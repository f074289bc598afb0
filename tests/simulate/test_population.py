from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bbtheory import (
    fit_balance,
    inactivity_log_odds,
    refresh_map,
    refresh_noise,
    solve_equilibrium,
    threshold_degree,
)
from bbtheory.simulate import (
    Controller,
    Population,
    PopulationRun,
    PopulationSettings,
    PopulationState,
    PriceAdjustment,
    Threshold,
    population_kernel,
    simulate_population,
)
from bbtheory.theory.entropy import on_rate_from_log_odds

EXACT = PopulationSettings(batch=0, whole=False, burn_in=10, interval=10, ema_decay=0.8)
STANDARD_ERRORS = 3.0


def units(n: int = 40, sensitivity: float = 0.0, seed: int = 0) -> Population:
    """Units whose log-odds fall by ``sensitivity`` with a link more."""
    rng = np.random.default_rng(seed)
    a = on_rate_from_log_odds(rng.uniform(0.3, 4.0, n))
    return Population.at(a, 32.0, 64.0, sensitivity * a * (1.0 - a))


def live(population, rule, n_refreshes=60, seed=0, start=None, **settings) -> PopulationRun:
    return simulate_population(
        population, rule, dataclasses.replace(EXACT, **settings), n_refreshes, seed=seed, start=start
    )


RULES = {
    "threshold": (Threshold(2.0), {}),
    "regrowing threshold": (Threshold(2.0, regrow=True), {"actuator": "sp_in"}),
    "both": (Threshold(2.0, regrow=True), {"actuator": "both"}),
    "controller": (Controller(0.1, 4.0), {"actuator": "sp_in", "whole": True}),
    "shared links": (Controller(0.1, 4.0), {"actuator": "both", "kept_share": 0.5, "recovery": 7.0}),
    "price": (PriceAdjustment(200.0), {}),
    "price of degrees": (PriceAdjustment(200.0, answer="degree", d0=4.0), {}),
}


# the plant


def test_units_have_the_on_rates_and_the_gain_they_are_built_with():
    population = Population.at([0.02, 0.3, 0.7], [10.0, 20.0, 30.0], 5.0, [0.003, -0.01, 0.002])
    assert population.on_rate == pytest.approx([0.02, 0.3, 0.7], rel=1e-12)
    h = 1e-4
    slope = (population.respond(population.fan_in + h) - population.respond(population.fan_in - h)) / (2 * h)
    assert slope == pytest.approx([0.003, -0.01, 0.002], rel=1e-6)


def test_units_without_inputs_follow_their_bias():
    population = Population(np.ones(3), np.array([-1.0, 0.0, 1.0]), np.zeros(3), np.ones(3))
    assert population.on_rate.tolist() == [0.0, 0.0, 1.0]


# exact


def test_threshold_by_hand():
    population = Population.at([0.05, 0.2, 0.4], 32, 64, 0.01)
    run = live(population, Threshold(4.1))
    assert run.fan_out[0].tolist() == [64.0, 20.0, 10.0]
    assert run.churn[:2].tolist() == [[0.0, 44.0, 54.0], [0.0, 0.0, 0.0]]
    assert (run.fan_in == 32).all()
    assert run.traffic[-1] == pytest.approx([3.2, 4.0, 4.0])
    assert math.isnan(run.beta[-1])


def test_traffic_at_the_threshold_is_not_over_it():
    population = Population.at([0.5], 8, 16, 0.0)
    assert live(population, Threshold(2.0)).fan_out[-1].tolist() == [4.0]
    assert live(population, Threshold(8.0), actuator="sp_in").fan_in[-1].tolist() == [8.0]


def test_threshold_on_fan_in_cuts_one_link_a_refresh():
    population = Population.at([0.05, 0.4], 32, 64, 0.01)
    run = live(population, Threshold(4.1), 5, actuator="sp_in")
    assert run.fan_in[:, 0].tolist() == [32.0] * 5
    assert run.fan_in[:, 1].tolist() == [31.0, 30.0, 29.0, 28.0, 27.0]
    assert (np.diff(run.on_rate[:, 1]) < 0).all()
    assert (run.fan_out == 64).all()


def test_regrowth_gives_links_back():
    population = Population.at([0.2, 0.4], 32, 5, 0.0)
    assert live(population, Threshold(4.1)).fan_out[-1].tolist() == [5.0, 5.0]
    assert live(population, Threshold(4.1, regrow=True)).fan_out[-1].tolist() == [20.0, 10.0]
    grown = live(population, Threshold(4.1, regrow=True), 40, actuator="sp_in", max_degree=40.0)
    assert grown.fan_in[-1].tolist() == [40.0, 40.0]


def test_the_floor_holds():
    run = live(units(), Threshold(1e-3), min_degree=3.0)
    assert run.fan_out.min() == 3.0


def test_average_has_no_bias_from_its_start():
    run = live(units(), Threshold(1e9), 3, burn_in=1)
    assert run.estimate == pytest.approx(run.on_rate, rel=1e-12)
    assert run.final.ema_weight == pytest.approx(1.0 - 0.8**31, rel=1e-12)


def test_entropy_of_units_that_are_on_half_of_the_time():
    run = live(Population.at([0.5, 0.5], 8, 8, 0.0), Threshold(99.0), 2)
    assert run.coding_entropy == pytest.approx([2 * math.log(2)] * 2)


def test_slow_units_cover_all_but_a_part_of_their_way():
    population = Population.at([0.3], 32, 32, 0.005)
    moved = dataclasses.replace(population, fan_in=np.array([20.0]))
    start = live(population, Threshold(1e9), 1).final
    start = dataclasses.replace(start, fan_in=moved.fan_in)
    run = live(population, Threshold(1e9), 1, start=start, interval=20, recovery=20.0)
    gone = (run.on_rate[0] - population.on_rate) / (moved.on_rate - population.on_rate)
    assert gone == pytest.approx([1.0 - math.exp(-1.0)], rel=1e-9)


# laws


@pytest.mark.parametrize("name", RULES)
def test_a_run_in_two_parts_is_the_run_in_one(name):
    rule, settings = RULES[name]
    settings = {"batch": 32} | settings
    whole = live(units(sensitivity=0.03), rule, 30, **settings)
    rng = np.random.default_rng(0)
    first = live(units(sensitivity=0.03), rule, 12, seed=rng, **settings)
    second = live(units(sensitivity=0.03), rule, 18, seed=rng, start=first.final, **settings)
    assert second.final == whole.final
    for trace in ("on_rate", "estimate", "fan_in", "fan_out", "beta"):
        parts = np.concatenate([getattr(first, trace), getattr(second, trace)])
        np.testing.assert_array_equal(parts, getattr(whole, trace))


@pytest.mark.parametrize("name", RULES)
def test_seeds_decide_and_nothing_else_does(name):
    rule, settings = RULES[name]
    settings = {"batch": 32} | settings
    assert live(units(), rule, 5, seed=1, **settings) == live(units(), rule, 5, seed=1, **settings)
    assert live(units(), rule, 5, seed=1, **settings) != live(units(), rule, 5, seed=2, **settings)


def test_actuators_move_what_they_are_said_to_move():
    population = units(sensitivity=0.03)
    for actuator, moves_in, moves_out in (("sp_in", 1, 0), ("sp_out", 0, 1), ("both", 1, 1)):
        run = live(population, Controller(0.1, 4.0), 3, actuator=actuator)
        assert (run.fan_in[-1] != population.fan_in).any() == moves_in
        assert (run.fan_out[-1] != population.fan_out).any() == moves_out
        assert (run.on_rate[-1] != population.on_rate).any() == moves_in
    shared = live(population, Controller(0.1, 4.0), 1, actuator="both", kept_share=0.5)
    alone = live(population, Controller(0.1, 4.0), 1, actuator="both")
    assert shared.fan_in[0] == pytest.approx(0.5 * alone.fan_in[0])


def test_a_run_survives_saving(tmp_path):
    run = live(units(), Threshold(2.0), 5)
    run.save(tmp_path / "run.json")
    assert PopulationRun.load(tmp_path / "run.json") == run


# two roads


def kernels(interpreted: bool, monkeypatch) -> None:
    """Replace compiled loops by the Python they are compiled from."""
    if interpreted:
        for name, each in vars(population_kernel).copy().items():
            if hasattr(each, "py_func"):
                monkeypatch.setattr(population_kernel, name, each.py_func)


@pytest.mark.parametrize("name", RULES)
def test_compiled_loops_do_what_python_does(name, monkeypatch):
    rule, settings = RULES[name]
    settings = {"batch": 32, "interval": 4, "burn_in": 5} | settings
    compiled = live(units(12, sensitivity=0.03), rule, 8, **settings)
    kernels(True, monkeypatch)
    python = live(units(12, sensitivity=0.03), rule, 8, **settings)
    assert python == compiled  # bit for bit


@pytest.mark.parametrize("actuator", ["sp_in", "sp_out"])
def test_without_noise_the_run_is_the_refresh_map(actuator):
    population = units(sensitivity=0.05)
    line = {"beta": 0.1, "d0": 4.0, "min_degree": 1.0, "max_degree": 64.0, "interval": 10, "ema_decay": 0.8}
    rest = refresh_map(
        population.on_rate,
        response=population.respond if actuator == "sp_in" else None,
        actuator=actuator,
        **line,
    )
    assert (np.abs(rest.multiplier) < 0.95).all()  # to the power of 600: below 1e-13
    run = live(population, Controller(0.1, 4.0), 600, actuator=actuator, min_degree=1.0)
    trace = run.fan_in if actuator == "sp_in" else run.fan_out
    assert trace[-1] == pytest.approx(rest.degree, abs=1e-9)
    assert run.on_rate[-1] == pytest.approx(rest.on_rate, abs=1e-12)


# recovery: what local rules do against what the theory predicts


def test_controller_rests_within_standard_errors_of_the_fixed_point():
    population, batch = units(400, 0.05), 1024
    line = {"beta": 0.1, "d0": 4.0, "min_degree": 1.0, "max_degree": 64.0, "interval": 20, "ema_decay": 0.9}
    rest = refresh_map(population.on_rate, response=population.respond, **line)
    run = live(
        population, Controller(0.1, 4.0), 260,
        actuator="sp_in", batch=batch, interval=20, ema_decay=0.9, min_degree=1.0,
    )  # fmt: skip
    error = run.fan_in[60:].mean(axis=0) - rest.degree - refresh_noise(rest, batch).degree_bias
    stderr = error.std() / math.sqrt(error.size)
    assert abs(error.mean()) < STANDARD_ERRORS * stderr
    # negative control: another line rests elsewhere
    other = refresh_map(population.on_rate, response=population.respond, **(line | {"d0": 4.1}))
    moved = run.fan_in[60:].mean(axis=0) - other.degree
    assert abs(moved.mean()) > STANDARD_ERRORS * moved.std() / math.sqrt(moved.size)


def verdict(on_rate, degree) -> str:
    return fit_balance(on_rate, degree, max_degree=64.0).groups[0].verdict


def test_rules_part_in_the_law_they_lead_to():
    population = units(150)
    line = live(population, Controller(0.08, 4.0), whole=True, batch=256)
    curve = live(population, Threshold(2.0), batch=256)
    shuffle = np.random.default_rng(1).permutation
    assert verdict(line.estimate[-1], line.fan_out[-1]) == "balanced"
    assert verdict(curve.estimate[-1], curve.fan_out[-1]) == "hyperbolic"
    assert verdict(line.estimate[-1], shuffle(line.fan_out[-1])) == "none"
    assert verdict(curve.estimate[-1], shuffle(curve.fan_out[-1])) == "none"


def test_threshold_without_noise_is_the_hyperbola():
    population = units(200)
    run = live(population, Threshold(2.0))
    np.testing.assert_array_equal(run.fan_out[-1], threshold_degree(population.on_rate, 2.0, 64.0))


def test_noise_makes_a_ratchet_of_the_threshold():
    population = Population.at(np.full(200, 0.1), 32, 20, 0.0)
    exactly = 0.1 * 20
    noisy = {"batch": 64, "interval": 10, "ema_decay": 0.9}
    tight = live(population, Threshold(exactly), 100, **noisy)
    roomy = live(population, Threshold(2.0 * exactly), 100, **noisy)
    assert (np.diff(tight.fan_out, axis=0) <= 0).all()
    assert tight.fan_out[-1].mean() < 19
    assert (roomy.fan_out == 20).all()


def test_price_meets_the_budget_at_the_multiplier():
    audience = np.random.default_rng(3).integers(4, 65, 100).astype(float)
    budget = 0.1 * audience.sum()
    population = Population.at(np.full(100, 0.3), 32.0, audience, 0.0)
    run = live(population, PriceAdjustment(budget, rate=0.02), 1500, interval=20)
    found = solve_equilibrium(audience, budget=budget)
    # contraction of the slowest mode, the price against the slowest unit, leaves less than this
    assert run.beta[-1] == pytest.approx(found.beta, rel=1e-6)
    assert inactivity_log_odds(run.on_rate[-1]) == pytest.approx(found.beta * audience, rel=1e-5)
    assert run.traffic[-1].sum() == pytest.approx(budget, rel=1e-5)
    assert run.coding_entropy[-1] == pytest.approx(found.coding_entropy, rel=1e-5)
    # a budget that does not bind has no price, and units are on half of the time
    free = live(population, PriceAdjustment(audience.sum(), rate=0.02), 400, interval=20)
    assert free.beta[-1] == 0
    assert free.on_rate[-1] == pytest.approx(0.5, abs=1e-6)


def test_price_of_degrees_meets_the_budget_on_the_line():
    population = units(100)
    budget = 0.2 * 64 * population.on_rate.sum()
    rule = PriceAdjustment(budget, answer="degree", rate=0.1, d0=4.0)
    run = live(population, rule, 800, min_degree=1.0)
    assert run.traffic[-1].sum() == pytest.approx(budget, rel=1e-9)
    k = run.fan_out[-1]
    free = (k > 1) & (k < 64)
    assert free.sum() > 50
    expected = run.beta[-1] * (k[free] - 4.0)
    assert inactivity_log_odds(population.on_rate[free]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("rate", "settles"), [(0.02, True), (5.0, False)])
def test_too_eager_a_price_oscillates(rate, settles):
    population = Population.at(np.full(20, 0.3), 32.0, np.full(20, 30.0), 0.0)
    run = live(population, PriceAdjustment(60.0, rate=rate), 600)
    late = run.beta[-100:]
    assert (np.ptp(late) < 1e-3 * late.mean()) == settles


# limits


def test_dead_and_saturated_units():
    population = Population(np.zeros(2), np.array([-1e3, 1e3]), np.full(2, 10.0), np.full(2, 30.0))
    line = live(population, Controller(0.1, 4.0), 3, min_degree=2.0)
    assert line.fan_out[-1].tolist() == [64.0, 2.0]
    cut = live(population, Threshold(5.5), 3)
    assert cut.fan_out[-1].tolist() == [30.0, 5.0]
    assert cut.coding_entropy[-1] == 0
    priced = live(population, PriceAdjustment(3.0), 3)
    assert np.isfinite(priced.final.bias).all()


# bad input

GOOD = {
    "population": units(3),
    "rule": Threshold(1.0),
    "settings": EXACT,
    "n_refreshes": 2,
    "seed": 0,
}
START = simulate_population(
    *[GOOD[k] for k in ("population", "rule", "settings", "n_refreshes")], seed=0
).final


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"population": 3}, "population must be a Population, got int"),
        ({"rule": "threshold"}, "rule must be a Threshold, Controller or PriceAdjustment, got str"),
        ({"settings": None}, "settings must be a PopulationSettings, got NoneType"),
        ({"n_refreshes": 0}, r"n_refreshes must be an integer in \[1, inf\), got 0"),
        (
            {"n_refreshes": 10**12},
            r"n_refreshes must need arrays of at most 1e\+09 values, got 1000000000000",
        ),
        ({"seed": -1}, r"seed must be an integer in \[0, inf\), got -1"),
        ({"start": 1}, "start must be a PopulationState, got int"),
        ({"start": dataclasses.replace(START, fan_in=np.ones(2))}, r"start.fan_in must have shape \(3,\)"),
        ({"start": dataclasses.replace(START, estimate=np.full(3, 2.0))}, "start.estimate must be numbers"),
        ({"start": dataclasses.replace(START, ema_weight=0.0)}, "burn_in must be at least 1"),
        ({"settings": dataclasses.replace(EXACT, burn_in=0)}, "burn_in must be at least 1"),
        ({"rule": PriceAdjustment(1.0), "start": START}, "start.beta must be a number"),
        (
            {"settings": dataclasses.replace(EXACT, actuator="both", kept_share=0.5)},
            "kept_share must be 1 under a rule that sets no degrees, got 0.5",
        ),
    ],
)
def test_bad_input(change, message):
    arguments = GOOD | change
    with pytest.raises(ValueError, match=message):
        simulate_population(**arguments)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Threshold(0.0), r"threshold must be a number in \(0, inf\), got 0"),
        (lambda: Threshold(1.0, regrow=1), "regrow must be a bool, got int"),
        (lambda: Controller(0.0), "beta must be"),
        (lambda: Controller(1.0, math.inf), "d0 must be"),
        (lambda: PriceAdjustment(-1.0), "budget must be"),
        (lambda: PriceAdjustment(1.0, answer="both"), "answer must be one of on_rate, degree, got 'both'"),
        (lambda: PriceAdjustment(1.0, rate=0.0), "rate must be"),
        (lambda: PriceAdjustment(1.0, answer_rate=2.0), "answer_rate must be"),
        (lambda: PriceAdjustment(1.0, d0=math.nan), "d0 must be"),
        (lambda: PriceAdjustment(1.0, answer="degree", first_price=0.0), "first_price must be"),
        (lambda: PopulationSettings(actuator="in"), "actuator must be one of sp_in, sp_out, both"),
        (lambda: PopulationSettings(interval=0), "interval must be"),
        # sizes that would not fit a machine word, or cut links one by one for ever
        (lambda: PopulationSettings(interval=10**30), r"interval must be an integer in \[1, 1e9\]"),
        (lambda: PopulationSettings(batch=10**19), r"batch must be an integer in \[0, 1e9\]"),
        (lambda: PopulationSettings(burn_in=10**12), r"burn_in must be an integer in \[0, 1e9\]"),
        (lambda: PopulationSettings(max_degree=1e17), r"max_degree must be a number in \(0, 1e6\]"),
        (lambda: Population.at([0.5], 1.0, 1e300, 0.0), r"fan_out must be a number in \[0, 1e6\]"),
        (lambda: Population.at([0.5], 1.0, 1.0, 1e308), "gain must be one that a finite drive can have"),
        (lambda: Population([1e308], [1.0], [1.0], [1.0]), "drive must be numbers in"),
        (
            lambda: Population.at(np.ma.array([0.1, 0.2], mask=[0, 1]), 1.0, 1.0, 0.0),
            "on_rate must have no masked elements, got 1",
        ),
        (lambda: PopulationSettings(batch=-1), "batch must be"),
        (lambda: PopulationSettings(ema_decay=1.0), "ema_decay must be"),
        (lambda: PopulationSettings(burn_in=-1), "burn_in must be"),
        (lambda: PopulationSettings(min_degree=65.0), "min_degree must be at most max_degree 64, got 65"),
        (lambda: PopulationSettings(max_degree=0.0), "max_degree must be"),
        (lambda: PopulationSettings(whole=1), "whole must be a bool"),
        (lambda: PopulationSettings(recovery=-1.0), "recovery must be"),
        (lambda: PopulationSettings(kept_share=0.5), "kept_share must be 1 unless the actuator is both"),
        (lambda: Population([1.0], [1.0, 2.0], [1.0], [1.0]), r"bias must have shape \(1,\)"),
        (lambda: Population([1.0], [1.0], [-1.0], [1.0]), "fan_in must be"),
        (lambda: Population([], [], [], []), "drive must not be empty"),
        (lambda: Population.at([0.0], 1.0, 1.0, 0.0), "on_rate must be"),
        (lambda: Population.at([0.5], 0.0, 1.0, 0.0), "fan_in must be"),
        (lambda: Population.at([0.5], 1.0, [1.0, 2.0], 0.0), "fan_out must have shape"),
        (lambda: Population.at([0.5], 1.0, 1.0, math.nan), "gain must be"),
        (lambda: units(2).respond([1.0]), "fan_in must have shape"),
    ],
)
def test_bad_settings(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_public_names():
    import bbtheory.simulate

    for name in bbtheory.simulate.__all__:
        assert getattr(bbtheory.simulate, name) is not None
        assert name in dir(bbtheory.simulate)
    assert isinstance(START, PopulationState)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = bbtheory.simulate.nonsense

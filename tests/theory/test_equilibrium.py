import math

import numpy as np
import pytest
from scipy import optimize, special

from bbtheory import ConvergenceError, InfeasibleError, solve_equilibrium
from bbtheory.theory import dual, population
from bbtheory.theory.entropy import coding_entropy
from bbtheory.theory.equilibrium import Equilibrium
from kkt import assert_kkt

# what the issue of precision allows: both are relative, and far above what is measured (1e-16)
RESIDUAL = 1e-13


def heavy(n, seed=0):
    return np.random.default_rng(seed).lognormal(math.log(10), 0.7, n)


# exact


def test_two_equal_units_by_hand():
    # a = T/(2k) each, beta = ln((1-a)/a)/k
    e = solve_equilibrium([4, 4], budget=1.0)
    assert e.on_rate.tolist() == pytest.approx([0.125, 0.125], rel=1e-14)
    assert e.beta == pytest.approx(math.log(7) / 4, rel=1e-14)
    assert (e.status, e.n_units, e.traffic) == ("converged", 2, pytest.approx(1.0))


def test_default_command_by_formula():
    k = np.arange(1, 33)
    e = solve_equilibrium(k, beta=0.5)
    np.testing.assert_allclose(e.on_rate, special.expit(-0.5 * k), rtol=1e-14)
    assert e.budget == pytest.approx(math.fsum(k * special.expit(-0.5 * k)), rel=1e-15)


# law


@pytest.mark.parametrize("share", [0.49, 0.2, 0.01, 1e-6])
@pytest.mark.parametrize("kind", ["integers", "reals", "bounds", "costs", "count"])
def test_optimality_conditions(share, kind):
    rng = np.random.default_rng(3)
    k = rng.integers(0, 30, 40) if kind == "integers" else heavy(40)
    kwargs, cost, count = {}, np.ones(40), np.ones(40, dtype=int)
    if kind == "bounds":
        lower = rng.uniform(0, 0.3, 40) * share
        kwargs = {"lower": lower, "upper": lower + rng.uniform(0.01, 0.6, 40)}
    if kind == "costs":
        cost = kwargs["cost"] = rng.uniform(0.1, 5, 40)
    if kind == "count":
        count = kwargs["count"] = rng.integers(1, 9, 40)
    low = np.broadcast_to(kwargs.get("lower", 0.0), 40)
    high = np.broadcast_to(kwargs.get("upper", 1.0), 40)
    price = cost * k
    least, most = (count * price) @ low, (count * price) @ np.clip(0.5, low, high)
    budget = float(least + share * (most - least))
    e = solve_equilibrium(k, budget=budget, **kwargs)
    spread = np.repeat(np.arange(40), count)
    assert_kkt(e.on_rate[spread], price[spread], budget, e.beta, low[spread], high[spread])
    assert e.residuals.stationarity < RESIDUAL
    assert e.residuals.budget < RESIDUAL


def test_bounds_inside_the_problem_are_not_clipping_afterwards():
    k, upper = np.array([1.0, 5.0, 5.0]), np.array([0.05, 1.0, 1.0])
    bounded = solve_equilibrium(k, budget=1.0, upper=upper)
    clipped = np.clip(solve_equilibrium(k, budget=1.0).on_rate, 0, upper)
    assert bounded.traffic == pytest.approx(1.0)
    assert k @ clipped < 0.8  # the freed budget is left unspent
    assert coding_entropy(bounded.on_rate) > coding_entropy(clipped) + 0.1


# two roads


@pytest.mark.parametrize("share", [0.4, 0.1, 1e-3, 1e-8])
def test_against_a_scalar_root(share):
    k = heavy(500)
    budget = share * k.sum()
    root = optimize.brentq(lambda b: np.log(k @ special.expit(-b * k) / budget), 1e-9, 1e3, xtol=1e-15)
    assert solve_equilibrium(k, budget=budget).beta == pytest.approx(root, rel=1e-11)


def test_against_a_general_solver():
    k = np.array([1.0, 2.0, 4.0, 7.0])
    e = solve_equilibrium(k, budget=2.0, lower=0.05, upper=0.3)
    found = optimize.minimize(
        lambda a: -coding_entropy(a),
        np.full(4, 0.1),
        jac=lambda a: -np.log((1 - a) / a),
        bounds=[(0.05, 0.3)] * 4,
        constraints={"type": "ineq", "fun": lambda a: 2.0 - k @ a, "jac": lambda a: -k},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    np.testing.assert_allclose(e.on_rate, found.x, atol=1e-7)


@pytest.mark.parametrize("share", [0.45, 0.1, 1e-4, 1e-60])
@pytest.mark.parametrize("bounded", [False, True])
def test_compiled_numpy_and_counted_roads_agree(monkeypatch, share, bounded):
    k = np.random.default_rng(1).integers(1, 60, 60_000)
    kwargs = {"lower": 1e-70, "upper": 0.4} if bounded else {}
    low, high = (1e-70, 0.4) if bounded else (0.0, 1.0)
    budget = float(k.sum() * low + share * k.sum() * (min(0.5, high) - low))
    compiled = solve_equilibrium(k.astype(float), budget=budget, **kwargs)
    counted = solve_equilibrium(k, budget=budget, **kwargs)
    monkeypatch.setattr(dual, "COMPILED_FROM", 10**9)
    monkeypatch.setattr(population, "COUNTED_FROM", 10**9)
    plain = solve_equilibrium(k.astype(float), budget=budget, **kwargs)
    for e in (compiled, counted, plain):
        assert e.beta == pytest.approx(plain.beta, rel=1e-13)
        np.testing.assert_allclose(e.on_rate, plain.on_rate, rtol=1e-11)
        assert e.residuals.stationarity < RESIDUAL
        assert e.residuals.budget < RESIDUAL
    at_beta = solve_equilibrium(k.astype(float), beta=plain.beta, **kwargs)
    np.testing.assert_allclose(at_beta.on_rate, plain.on_rate, rtol=1e-13)


def test_count_is_repetition():
    k, n = np.array([3.0, 1.5, 8.0]), np.array([1, 4, 2])
    counted = solve_equilibrium(k, count=n, budget=3.0)
    spread = solve_equilibrium(np.repeat(k, n), budget=3.0)
    assert counted.beta == pytest.approx(spread.beta, rel=1e-14)
    for name in ("traffic", "coding_entropy", "dtraffic_dbeta", "n_units"):
        assert getattr(counted, name) == pytest.approx(getattr(spread, name), rel=1e-13)


def test_cost_is_price_per_link():
    k, c = np.array([3.0, 1.5, 8.0]), np.array([0.5, 2.0, 1.0])
    assert solve_equilibrium(k, cost=c, budget=2.0).beta == pytest.approx(
        solve_equilibrium(k * c, budget=2.0).beta, rel=1e-14
    )


# derivatives: this project's dH/dT = beta and dT/dbeta = -sum k^2 chi


def test_derivatives_against_differences():
    k, step = heavy(50), 1e-5
    e = solve_equilibrium(k, budget=40.0)
    up, down = solve_equilibrium(k, budget=40.0 + step), solve_equilibrium(k, budget=40.0 - step)
    price = (up.coding_entropy - down.coding_entropy) / (2 * step)
    assert price == pytest.approx(e.price_of_traffic, rel=1e-7)
    assert price != pytest.approx(e.price_of_traffic + 1e-3, rel=1e-4)
    assert (2 * step) / (up.beta - down.beta) == pytest.approx(e.dtraffic_dbeta, rel=1e-6)


# limits


def test_a_budget_that_just_binds_and_one_that_does_not():
    k = np.arange(1, 11)
    with pytest.warns(UserWarning, match="does not bind"):
        e = solve_equilibrium(k, budget=27.5)
    assert (e.status, e.beta) == ("budget_not_binding", 0.0)
    assert set(e.on_rate) == {0.5}
    assert (e.residuals.stationarity, e.residuals.budget) == (0.0, 0.0)
    just = solve_equilibrium(k, budget=27.5 * (1 - 1e-9))
    assert just.status == "converged"
    assert 0 < just.beta < 1e-7


def test_beta_zero_is_half():
    assert set(solve_equilibrium([1, 5], beta=0).on_rate) == {0.5}


def test_a_unit_without_audience_sits_at_half():
    e = solve_equilibrium([0, 1, 0, 9], budget=0.5)
    assert e.on_rate[[0, 2]].tolist() == [0.5, 0.5]
    assert (e.n_silent, e.traffic) == (2, pytest.approx(0.5))


def test_underflow_keeps_the_log_odds():
    e = solve_equilibrium([1, 10], beta=100.0)
    assert e.on_rate[1] == 0.0
    assert e.n_underflow == 1
    assert e.inactivity_log_odds.tolist() == [100.0, 1000.0]
    assert e.residuals.stationarity == 0.0


@pytest.mark.parametrize("scale", [1e-200, 1e-10, 1e10, 1e200])
def test_units_of_cost_do_not_matter(scale):
    k = heavy(30)
    e = solve_equilibrium(k, cost=scale, budget=float(50.0 * scale))
    assert e.beta * scale == pytest.approx(solve_equilibrium(k, budget=50.0).beta, rel=1e-12)


@pytest.mark.parametrize(
    ("k", "more"),
    [
        ([92.0, 0.0039, 120.0, 1.8], {"budget": 1.9e-11}),
        ([0.001, 10.0, 100.0], {"budget": 9.7e-9, "upper": [1e-9, 1e-5, 1e-6]}),
        ([68.007, 3.777, 529.4], {"budget": 1.6e-7, "upper": [7.09e-9, 1.08e-17, 5.9e-13]}),
        ([6.1e78, 9.5e45, 3.0e-14], {"count": [1, 6, 7], "budget": 1.1e-62}),
    ],
)
def test_flat_stretches_of_traffic_do_not_stop_the_search(monkeypatch, k, more):
    for compiled_from in (10**9, 1):
        monkeypatch.setattr(dual, "COMPILED_FROM", compiled_from)
        e = solve_equilibrium(k, **more)
        assert max(e.residuals.stationarity, e.residuals.budget) < RESIDUAL


def test_an_infinite_price_is_an_answer():
    e = solve_equilibrium([0, 1, 2], beta=1e308, cost=10.0)
    assert e.on_rate.tolist() == [0.5, 0.0, 0.0]
    assert e.residuals.stationarity == 0.0


def test_one_unit_and_huge_spread():
    assert solve_equilibrium([7.0], budget=0.7).on_rate[0] == pytest.approx(0.1, rel=1e-13)
    e = solve_equilibrium(np.logspace(0, 12, 200), budget=10.0)
    assert e.residuals.budget < RESIDUAL


def test_the_lower_bounds_may_just_be_met():
    k = np.array([1.0, 2.0, 3.0])
    e = solve_equilibrium(k, budget=0.6, lower=0.1)
    assert e.on_rate.tolist() == pytest.approx([0.1, 0.1, 0.1])
    assert e.residuals.stationarity < RESIDUAL


def test_record_round_trips(tmp_path):
    e = solve_equilibrium([1, 2, 3], budget=1.0, lower=[0, 0.1, 0])
    e.save(tmp_path / "e.json")
    assert Equilibrium.load(tmp_path / "e.json") == e
    public = e.to_dict()
    assert public["kind"] == "equilibrium"
    assert set(public["units"]) >= {"fan_out", "on_rate", "traffic"}
    assert set(public["residuals"]) == {"stationarity", "budget"}
    assert e.to_frame().shape == (3, 4)


def test_an_unfinished_search_raises_with_its_record(monkeypatch):
    monkeypatch.setattr(dual, "MAX_ITERATIONS", 1)
    with pytest.raises(ConvergenceError, match="misses the budget") as error:
        solve_equilibrium(heavy(10), budget=5.0)
    assert isinstance(error.value.record, Equilibrium)
    assert error.value.record.status == "not_converged"


BAD = [
    ({"fan_out": [], "beta": 1}, "fan_out must not be empty"),
    ({"fan_out": [1, np.nan], "beta": 1}, "fan_out must be finite numbers"),
    ({"fan_out": [1, np.inf], "beta": 1}, "fan_out must be finite numbers"),
    ({"fan_out": [1, -1], "beta": 1}, r"got -1 at index 1"),
    ({"fan_out": ["a"], "beta": 1}, "fan_out must be an array of real numbers"),
    ({"fan_out": [[1]], "beta": 1}, "fan_out must have 1 axis"),
    ({"fan_out": [0, 0], "beta": 1}, "got only zeros"),
    ({"fan_out": [0, 0], "budget": 1}, "got only zeros"),
    ({"fan_out": [1e308, 1e308], "beta": 1}, "finite sum"),
    ({"fan_out": [1]}, "exactly one of beta or budget must be given, got none"),
    ({"fan_out": [1], "beta": 1, "budget": 1}, "got beta and budget"),
    ({"fan_out": [1], "beta": -1}, r"beta must be a number in \[0, inf\), got -1"),
    ({"fan_out": [1], "beta": np.inf}, "beta must be a number"),
    ({"fan_out": [1], "budget": 0}, r"budget must be a number in \(0, inf\), got 0"),
    ({"fan_out": [1], "budget": -1}, "budget must be a number"),
    ({"fan_out": [1], "budget": np.nan}, "budget must be a number"),
    ({"fan_out": [1], "budget": 1e-300}, "budget must be at least 1e-290"),
    ({"fan_out": [1e-100], "budget": 1e-310}, "budget must be at least 1e-290"),
    ({"fan_out": [1e-300], "beta": 1.0}, "prices below 1e-290"),
    ({"fan_out": [1, 2], "budget": 1, "cost": [1, 2, 3]}, r"cost must be a number or have shape \(2,\)"),
    ({"fan_out": [1, 2], "budget": 1, "cost": -1}, r"cost must be a number in \[0, inf\), got -1"),
    ({"fan_out": [1, 2], "budget": 1, "lower": 2}, r"lower must be a number in \[0, 1\], got 2"),
    ({"fan_out": [1, 2], "budget": 1, "lower": 0.5, "upper": [0.6, 0.4]}, "got 0.5 > 0.4 at index 1"),
    ({"fan_out": [1, 2], "budget": 1, "count": [1.5, 2]}, "count must be integers"),
    ({"fan_out": [1, 2], "budget": 1, "count": [0, 2]}, "count must be"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        solve_equilibrium(**arguments)


def test_a_budget_below_the_lower_bounds_is_infeasible():
    with pytest.raises(InfeasibleError, match=r"budget must be at least 0\.3.* got 0\.1") as error:
        solve_equilibrium([1, 2], budget=0.1, lower=0.1)
    assert error.value.record.status == "infeasible"
    assert error.value.record.residuals.budget == pytest.approx(2.0)

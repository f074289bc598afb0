import numpy as np
import pytest

from bbtheory import ConvergenceError, inactivity_log_odds, solve_coupled
from bbtheory.theory.pairwise import square

RNG = np.random.default_rng(2)
FAN_OUT = RNG.integers(1, 9, 8).astype(float)
COUPLING = square(RNG.standard_normal(28), 8)
METHODS = ("exact", "tap", "mean_field")


@pytest.mark.parametrize(("method", "order"), [("mean_field", 2), ("tap", 3)])
def test_approximations_err_at_their_order(method, order):
    sizes = np.array([0.01, 0.02, 0.04])
    errors, estimates = [], []
    for size in sizes:
        exact = solve_coupled(FAN_OUT, size * COUPLING, beta=0.3)
        got = solve_coupled(FAN_OUT, size * COUPLING, beta=0.3, method=method)
        errors.append(np.abs(got.shift - exact.shift).max())
        estimates.append(got.error_estimate.max())
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.05)
    np.testing.assert_allclose(errors, estimates, rtol=0.05)


def test_entropy_of_tap_is_third_order():
    gaps = [
        solve_coupled(FAN_OUT, s * COUPLING, beta=0.3, method="tap").entropy
        - solve_coupled(FAN_OUT, s * COUPLING, beta=0.3).entropy
        for s in (0.02, 0.04)
    ]
    assert gaps[1] / gaps[0] == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_equations_hold(method):
    J = 0.3 * COUPLING
    got = solve_coupled(FAN_OUT, J, beta=0.2, method=method)
    a = got.on_rate
    line = 0.2 * FAN_OUT - J @ a
    if method == "tap":
        line -= 0.5 * (1 - 2 * a) * (J**2 @ (a * (1 - a)))
    gap = np.abs(inactivity_log_odds(a) - line).max()
    if method == "exact":
        assert gap > 1e-3  # negative control: the exact answer obeys neither
    else:
        assert gap < 1e-11


@pytest.mark.parametrize("method", METHODS)
def test_no_coupling_is_the_plain_balance(method):
    got = solve_coupled(FAN_OUT, np.zeros((8, 8)), beta=0.4, method=method)
    np.testing.assert_allclose(got.on_rate, 1 / (1 + np.exp(0.4 * FAN_OUT)), rtol=1e-12)
    assert got.valid.all()
    alone = solve_coupled([3.0], [[0.0]], beta=0.4, method=method)
    assert alone.on_rate[0] == pytest.approx(1 / (1 + np.exp(1.2)), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_budget_is_met_and_beta_gives_it_back(method):
    got = solve_coupled(FAN_OUT, 0.2 * COUPLING, budget=4.0, method=method)
    assert got.traffic == pytest.approx(4.0, rel=1e-10)
    assert got.status == "converged"
    again = solve_coupled(FAN_OUT, 0.2 * COUPLING, beta=got.beta, method=method)
    np.testing.assert_allclose(again.on_rate, got.on_rate, rtol=1e-9)
    assert again.budget == pytest.approx(4.0, rel=1e-9)
    assert solve_coupled(FAN_OUT, 0.2 * COUPLING, budget=4.1, method=method).beta < got.beta


@pytest.mark.parametrize("method", METHODS)
def test_budget_that_does_not_bind(method):
    with pytest.warns(UserWarning, match="the budget 100 does not bind"):
        got = solve_coupled(FAN_OUT, 0.2 * COUPLING, budget=100.0, method=method)
    assert got.beta == 0
    assert got.status == "budget_not_binding"
    assert got.traffic < 100


def test_strong_couplings_are_flagged():
    got = solve_coupled(FAN_OUT, 2.0 * COUPLING, beta=0.3, method="mean_field")
    exact = solve_coupled(FAN_OUT, 2.0 * COUPLING, beta=0.3)
    assert np.abs(got.shift - exact.shift).max() > 1
    assert not got.valid.all()


def test_no_convergence_carries_the_record():
    # a large frustrated network far below its freezing temperature: TAP has no stable fixed point for
    # iteration
    rng = np.random.default_rng(0)
    J = square(6.0 * rng.standard_normal(60 * 59 // 2), 60)
    with pytest.raises(ConvergenceError, match=r"tap at beta = 0.01 left an error") as error:
        solve_coupled(np.ones(60), J, beta=0.01, method="tap")
    record = error.value.record
    assert record.status == "not_converged"
    assert record.stationarity > 1e-12
    assert np.isfinite(record.on_rate).all()


def test_traffic_that_jumps_across_the_budget():
    # attractive units under mean field: on together or off together, nothing in between
    J = 2.0 * (1 - np.eye(6))
    with pytest.raises(ConvergenceError, match="budget 3"):
        solve_coupled(np.ones(6), J, budget=3.0, method="mean_field")
    assert solve_coupled(np.ones(6), J, budget=3.0).traffic == pytest.approx(3.0, rel=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fan_out": [-1, 2]}, r"fan_out must be finite numbers in \[0, inf\), got -1.0 at index 0"),
        ({"fan_out": [np.nan, 2]}, "fan_out must be finite"),
        ({"coupling": np.eye(2)}, "coupling must have a zero diagonal"),
        ({"coupling": [[0, 1], [0, 0]]}, "coupling must be symmetric"),
        ({"coupling": np.zeros((3, 3))}, r"coupling must have shape \(2, 2\)"),
        ({"beta": -0.1}, r"beta must be a number in \[0, inf\), got -0.1"),
        ({"budget": 1.0}, "exactly one of beta or budget must be given, got beta and budget"),
        ({"beta": None}, "exactly one of beta or budget must be given, got none"),
        ({"beta": None, "budget": 0.0}, r"budget must be a number in \(0, inf\), got 0.0"),
        ({"method": "bethe"}, "method must be one of exact, tap, mean_field"),
        ({"fan_out": np.ones(21), "coupling": np.zeros((21, 21))}, "fan_out must have at most 20 units"),
    ],
)
def test_bad_input(arguments, message):
    given = {"fan_out": [1, 2], "coupling": np.zeros((2, 2)), "beta": 0.3} | arguments
    with pytest.raises(ValueError, match=message):
        solve_coupled(given.pop("fan_out"), given.pop("coupling"), **given)

import numpy as np
import pytest

from bbtheory import (
    ConvergenceError,
    balance_shift,
    entropy_curvature,
    inactivity_log_odds,
    match_code,
    pairwise_code,
    solve_correlated,
)
from bbtheory.theory.pair_statistics import HOLDS
from bbtheory.theory.pairwise import square
from experiments.correlation_order import general_optimum

FAN_OUT = np.array([1.0, 2.0, 4.0, 6.0, 3.0, 5.0])


def held(n, hold, rho=0.1):
    """A statistic of like size for all three, and its values of the pairs i < j."""
    rng = np.random.default_rng(n)
    pairs = rho * rng.uniform(0.3, 1.0, n * (n - 1) // 2)
    if hold != "correlation":
        pairs = 0.15 * pairs
    if hold == "coactivation":
        pairs = pairs + 0.06
    return square(pairs, n) + np.eye(n), pairs


@pytest.mark.parametrize("hold", HOLDS)
@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_against_a_general_optimiser_over_all_states(n, hold):
    matrix, pairs = held(n, hold)
    k = FAN_OUT[:n]
    budget = 0.25 * k.sum()
    got = solve_correlated(k, budget=budget, **{hold: matrix})
    on_rate, entropy = general_optimum(k, budget, pairs, hold)
    # sequential quadratic programming stops where the entropy is flat to 1e-15
    np.testing.assert_allclose(got.on_rate, on_rate, atol=1e-7)
    assert got.entropy == pytest.approx(entropy, abs=1e-12)
    assert got.traffic == pytest.approx(budget, rel=1e-12)
    # negative control: the plain balance at this traffic is elsewhere
    plain = inactivity_log_odds(got.on_rate) / k
    assert np.ptp(plain) > 1e-4


@pytest.mark.parametrize("hold", HOLDS)
def test_held_statistic_and_balance(hold):
    matrix, pairs = held(4, hold)
    got = solve_correlated(FAN_OUT[:4], beta=0.3, **{hold: matrix})
    code = match_code(got.on_rate, coactivation=got.coactivation)
    np.testing.assert_allclose(getattr(code, hold)[np.triu_indices(4, 1)], pairs, rtol=1e-10)
    exact = balance_shift(got.on_rate, hold=hold, coactivation=got.coactivation, method="exact")
    np.testing.assert_allclose(got.shift, exact.shift, atol=1e-10)
    assert got.is_maximum
    assert got.budget == got.traffic


def test_coactivations_held_are_fields_of_the_fan_outs():
    matrix, _ = held(5, "coactivation")
    got = solve_correlated(FAN_OUT[:5], beta=0.2, coactivation=matrix)
    code = pairwise_code(-0.2 * FAN_OUT[:5], got.coupling)
    np.testing.assert_allclose(code.on_rate, got.on_rate, rtol=1e-12)


@pytest.mark.parametrize("hold", HOLDS)
def test_price_is_the_slope_of_the_entropy(hold):
    matrix, _ = held(3, hold)
    h = 1e-4
    at = [solve_correlated(FAN_OUT[:3], budget=T, **{hold: matrix}) for T in (1.5 - h, 1.5, 1.5 + h)]
    assert (at[2].entropy - at[0].entropy) / (2 * h) == pytest.approx(at[1].beta, rel=1e-7)


@pytest.mark.parametrize("hold", HOLDS)
def test_limits(hold):
    k = FAN_OUT[:3]
    independent = np.outer(1 / (1 + np.exp(0.3 * k)), 1 / (1 + np.exp(0.3 * k)))
    nothing = {"coactivation": independent, "covariance": np.zeros((3, 3)), "correlation": np.eye(3)}[hold]
    got = solve_correlated(k, beta=0.3, **{hold: nothing})
    np.testing.assert_allclose(got.shift, 0, atol=1e-12)
    alone = solve_correlated([4.0], beta=0.3, **{hold: np.eye(1)})
    assert alone.on_rate[0] == pytest.approx(1 / (1 + np.exp(1.2)), rel=1e-12)


def test_budget_that_does_not_bind():
    with pytest.warns(UserWarning, match="the budget 50 does not bind"):
        got = solve_correlated(FAN_OUT[:3], budget=50.0, covariance=held(3, "covariance")[0])
    assert got.status == "budget_not_binding"
    assert got.beta == 0
    np.testing.assert_allclose(got.on_rate, 0.5, rtol=1e-10)


@pytest.mark.parametrize("hold", HOLDS)
@pytest.mark.parametrize("along", [None, FAN_OUT[:3]])
def test_curvature_by_finite_differences(hold, along):
    a, h = np.array([0.3, 0.2, 0.4]), 1e-4
    code = match_code(a, correlation=held(3, "correlation", 0.3)[0])
    fixed = np.array(getattr(code, hold))

    def gradient(rates):
        diagonal = {"coactivation": rates, "covariance": rates * (1 - rates), "correlation": np.ones(3)}[hold]
        at = fixed.copy()
        np.fill_diagonal(at, diagonal)
        shift = balance_shift(rates, hold=hold, method="exact", **{hold: at}).shift
        return inactivity_log_odds(rates) - shift

    H = np.array([(gradient(a + h * e) - gradient(a - h * e)) / (2 * h) for e in np.eye(3)])
    np.testing.assert_allclose(H, H.T, atol=1e-5)
    if along is not None:
        plane = np.linalg.qr(np.column_stack([along, np.eye(3)[:, :2]]))[0][:, 1:]
        H = plane.T @ H @ plane
    assert entropy_curvature(code, hold, along) == pytest.approx(np.linalg.eigvalsh(H)[-1], rel=1e-6)


def test_correlations_held_are_not_concave_for_very_rare_units():
    rare = match_code(np.full(2, 1e-4), correlation=[[1, 0.58], [0.58, 1]])
    assert entropy_curvature(rare, "correlation") > 0
    assert entropy_curvature(rare, "covariance") < 0
    assert entropy_curvature(rare, "coactivation") < 0


def test_no_answer_carries_the_record():
    # a unit of this fan-out is far too rare for this covariance with the other
    with pytest.raises(ConvergenceError, match="no stationary on-rates were found with this") as error:
        solve_correlated([0.0, 1.0], budget=1e-3, covariance=[[0, -0.1], [-0.1, 0]])
    assert error.value.record.status == "not_converged"
    assert error.value.record.to_dict()["curvature"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"correlation": 0.5 * np.eye(2)}, "correlation must have 1 on its diagonal, got 0.5 at 0"),
        (
            {"correlation": [[1, 1], [1, 1]]},
            r"correlation of any two units must be in \(-1, 1\), .* 0 and 1",
        ),
        ({"correlation": [[1, 0.1], [0.2, 1]]}, "correlation must be symmetric"),
        ({"correlation": [[1, np.nan], [np.nan, 1]]}, "correlation must be finite"),
        ({"correlation": None, "covariance": [[0, 0.3], [0.3, 0]]}, "covariance of any two units .* 0 and 1"),
        ({"correlation": None, "coactivation": np.eye(2)}, r"coactivation of any two units must be in"),
        ({"covariance": np.eye(2)}, "exactly one of coactivation or covariance or correlation"),
        ({"budget": 1.0}, "exactly one of beta or budget"),
        ({"beta": np.nan}, "beta must be a number"),
        ({"fan_out": [1, -2]}, "fan_out must be finite numbers"),
        ({"fan_out": np.ones(11), "correlation": np.eye(11)}, "fan_out must have at most 10 units"),
    ],
)
def test_bad_input(arguments, message):
    given = {"fan_out": [1, 2], "beta": 0.3, "correlation": np.eye(2)} | arguments
    with pytest.raises(ValueError, match=message):
        solve_correlated(given.pop("fan_out"), **given)


def test_correlations_that_are_not_positive():
    matrix = np.eye(3) - 0.6 * (1 - np.eye(3))
    with pytest.raises(ValueError, match=r"correlation must be positive definite, got -0\.2 as smallest"):
        solve_correlated([1, 2, 3], beta=0.3, correlation=matrix)


def test_measured_orders_are_the_stated_ones(smoke):
    found = smoke.record("correlation_order").result
    stated = np.broadcast_to(found.slope_stated[:, :, None, None], found.slope.shape)
    known = np.isfinite(found.slope)
    assert np.array_equal(known, np.isfinite(stated))
    np.testing.assert_allclose(found.slope[known], stated[known], atol=0.2)
    # sequential quadratic programming stops where the entropy is flat to 1e-15
    assert found.gap.max() < 1e-6
    # negative control: of rare units the series fails where the resummed line does not
    series, resummed = found.breakdown[1, 0], found.breakdown[1, 1]
    assert (series < resummed / 5).all()

import dataclasses
import warnings

import numpy as np
import pytest
from scipy import optimize

from bbtheory import ConvergenceError, InfeasibleError, solve_budgets, solve_equilibrium
from bbtheory.theory import budgets
from bbtheory.theory.entropy import coding_entropy
from kkt import assert_kkt


def problem(rng):
    m, n = rng.integers(1, 8), rng.integers(2, 60)
    c = rng.lognormal(1, 1, (m, n)) * (rng.random((m, n)) < rng.uniform(0.2, 1))
    c[:, 0] += 0.1
    lower = rng.uniform(0, 0.05, n) * (rng.random() < 0.5)
    upper = np.minimum(1, lower + rng.uniform(0.01, 1, n))
    least, most = c @ lower, c @ np.clip(0.5, lower, upper)
    return c, least + (most - least) * 10 ** rng.uniform(-3, -0.01, m), lower, upper


@pytest.mark.parametrize("seed", range(40))
def test_optimality_conditions(seed):
    c, t, lower, upper = problem(np.random.default_rng(seed))
    e = solve_budgets(c, t, lower=lower, upper=upper)
    assert_kkt(e.on_rate, c, t, e.beta, lower, upper)
    assert max(e.residuals.stationarity, e.residuals.budget) < 1e-12


def test_one_row_is_one_budget():
    k = np.random.default_rng(0).lognormal(2, 1, 50)
    assert solve_budgets(k[None], [30.0]).beta[0] == pytest.approx(
        solve_equilibrium(k, budget=30.0).beta, rel=1e-12
    )


def test_rows_that_share_no_unit_are_separate_problems():
    k = np.random.default_rng(0).lognormal(2, 1, 20)
    c = np.zeros((2, 20))
    c[0, :12], c[1, 12:] = k[:12], k[12:]
    e = solve_budgets(c, [5.0, 3.0])
    singles = [solve_equilibrium(k[:12], budget=5.0).beta, solve_equilibrium(k[12:], budget=3.0).beta]
    assert e.beta.tolist() == pytest.approx(singles, rel=1e-12)


def test_against_a_general_solver():
    c = np.array([[1.0, 2.0, 0.0, 1.0], [0.0, 1.0, 3.0, 1.0]])
    t = np.array([0.7, 0.6])
    e = solve_budgets(c, t, upper=0.4)
    found = optimize.minimize(
        lambda a: -coding_entropy(a),
        np.full(4, 0.1),
        bounds=[(1e-6, 0.4)] * 4,
        constraints={"type": "ineq", "fun": lambda a: t - c @ a},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(e.on_rate, found.x, atol=1e-5)


def test_a_loose_budget_has_no_price():
    e = solve_budgets([[1.0, 2.0], [1.0, 1.0]], [0.5, 0.9])
    assert e.binding.tolist() == [True, False]
    with pytest.warns(UserWarning, match="no budget binds"):
        assert solve_budgets([[1.0, 2.0]], [9.0]).status == "budget_not_binding"


@pytest.mark.parametrize(
    ("costs", "limits"),
    [
        ([[0.7, 6.9], [1.8, 7.4]], [0.38, 4.6]),
        ([[0.2, 7.4], [0.1, 1.1]], [3.8, 0.599999]),
        ([[4.9, 0.2], [0.8, 2.3]], [2.55, 0.775]),
    ],
)
def test_what_rounding_leaves_of_a_multiplier_is_no_price(costs, limits):
    e = solve_budgets(costs, limits)
    assert_kkt(e.on_rate, costs, limits, e.beta)
    assert e.binding.sum() == 1


def test_redundant_rows_leave_the_on_rates_unique():
    k = np.array([[1.0, 2.0, 5.0]])
    twice = solve_budgets(np.vstack([k, 2 * k]), [1.0, 2.0])
    once = solve_budgets(k, [1.0])
    np.testing.assert_allclose(twice.on_rate, once.on_rate, rtol=1e-11)
    assert twice.price == pytest.approx(once.price, rel=1e-11)


def test_traffic_slope_against_differences():
    c, t, _, _ = problem(np.random.default_rng(5))
    e = solve_budgets(c, 0.3 * c.sum(1))
    step = 1e-6
    for r in np.flatnonzero(e.binding):
        moved = np.array(
            [1 / (1 + np.exp(np.clip((e.beta + s * step * np.eye(len(t))[r]) @ c, 0, 700))) for s in (-1, 1)]
        )
        np.testing.assert_allclose((c @ (moved[1] - moved[0])) / (2 * step), e.dtraffic_dbeta[r], rtol=1e-5)


@pytest.mark.parametrize(
    ("costs", "limits", "more", "message"),
    [
        ([[1.0, -1.0]], [1.0], {}, r"costs must be finite numbers in \[0, inf\), got -1.0 at index \(0, 1\)"),
        ([1.0, 1.0], [1.0], {}, "costs must have 2 axes"),
        ([[1.0, 1.0]], [1.0, 2.0], {}, r"budgets must have shape \(1,\)"),
        ([[1.0, 1.0]], [0.0], {}, "budgets must be"),
        ([[1.0, 1.0], [0.0, 0.0]], [1.0, 1.0], {}, "only zeros in row 1"),
        ([[1.0, np.nan]], [1.0], {}, "costs must be"),
        ([[1.0, 1.0]], [1.0], {"lower": 0.5, "upper": 0.4}, "lower must not exceed upper"),
        ([[1.0, 1.0]], [1.0], {"lower": [0.5]}, r"lower must be a number or have shape \(2,\)"),
        ([[1.0, 1.0]], [0.5], {"lower": 0.4}, "traffic of the lower bounds, 0.8 in row 0"),
    ],
)
def test_bad_input(costs, limits, more, message):
    with pytest.raises(ValueError, match=message):
        solve_budgets(costs, limits, **more)


@pytest.mark.parametrize(("unit", "value"), [(0, 0.05), (0, 0.4), (1, 0.05), (2, 0.4), (2, 0.35)])
def test_residuals_see_a_unit_in_the_wrong_place(unit, value):
    # the first unit is free, the second should leave its lower bound no more, the third none of its bounds
    c, bounds = np.array([[1.0, 20.0, 0.1]]), {"lower": 0.05, "upper": 0.4}
    e = solve_budgets(c, [1.3], **bounds)
    assert max(e.residuals.stationarity, e.residuals.budget) < 1e-12
    assert (0.05 < e.on_rate[0] < 0.4, e.on_rate[1], e.on_rate[2]) == (True, 0.05, 0.4)
    on_rate = e.on_rate.copy()
    on_rate[unit] = value
    moved = dataclasses.replace(e, on_rate=on_rate)
    assert (moved.residuals.stationarity > 1e-3) == (on_rate[unit] != e.on_rate[unit])


def test_infeasible_and_unfinished_carry_their_record(monkeypatch):
    with pytest.raises(InfeasibleError) as error:
        solve_budgets([[1.0, 1.0]], [0.5], lower=0.4)
    assert error.value.record.status == "infeasible"
    monkeypatch.setattr(budgets, "MAX_ITERATIONS", 0)
    with pytest.raises(ConvergenceError, match="Newton") as late, warnings.catch_warnings():
        solve_budgets([[1.0, 2.0], [2.0, 1.0]], [0.5, 0.4])
    assert late.value.record.status == "not_converged"

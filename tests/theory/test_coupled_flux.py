"""Presence of weights that interact: by hand, by its conditions, against scipy, against the law without links."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from bbtheory import ConvergenceError, density_under_pressure
from bbtheory.theory import coupled_flux
from bbtheory.theory.coupled_flux import CoupledPresence, solve_coupled_presence

KAPPA = 0.25
# of the pull, for conditions solved directly: rounding of a few dozen terms of order the pressure
ROUNDING = 1e-10


def problem(rng, n):
    features = rng.standard_normal((2 * n + 2, n))
    return features.T @ features / len(features), rng.standard_normal(n)


def assert_kkt(found: CoupledPresence, gram, weight, optimum):
    n, absent = weight.size, 1 - found.presence
    coupling = KAPPA * n * weight[:, None] * gram * weight
    pull = coupling @ absent + KAPPA * n * weight * (gram @ (optimum - weight))
    slack = ROUNDING * max(found.pressure, np.abs(coupling).sum(axis=1).max())
    assert ((absent >= 0) & (absent <= 1)).all()
    assert (pull[absent > 0] <= found.pressure + slack).all()
    assert (pull[absent < 1] >= found.pressure - slack).all()


def test_two_weights_by_hand():
    # M = [[1, 1/2], [1/2, 1]]: both slide, a (1 + 1/2) = gamma
    found = solve_coupled_presence([[2.0, 1.0], [1.0, 2.0]], [1.0, 1.0], 0.3)
    assert found.presence == pytest.approx([0.8, 0.8], rel=1e-14)
    assert found.flux.tolist() == [1.0, 1.0]
    # opposite signs: a (1 - 1/2) = gamma, and from gamma = 1/2 on both are gone
    found = solve_coupled_presence([[2.0, 1.0], [1.0, 2.0]], [1.0, -1.0], 0.3)
    assert found.presence == pytest.approx([0.4, 0.4], rel=1e-14)
    assert solve_coupled_presence([[2.0, 1.0], [1.0, 2.0]], [1.0, -1.0], 0.51).density == 0.0


def test_one_weight_away_from_its_optimum():
    # F u (1 - P u) = gamma with u = w/w*: F = 1/4 * 4 = 1 at w*, u = 1/2, gamma = 0.3 gives P = 0.8
    found = solve_coupled_presence([[1.0]], [1.0], 0.3, optimum=[2.0])
    assert found.presence == pytest.approx([0.8], rel=1e-14)
    # below the pull of a present weight it is present for good
    assert solve_coupled_presence([[1.0]], [1.0], 0.2, optimum=[2.0]).presence.tolist() == [1.0]


@pytest.mark.parametrize("seed", range(5))
def test_conditions_hold_and_scipy_finds_nothing_better(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 25))
    gram, weight = problem(rng, n)
    optimum = weight + 0.3 * rng.standard_normal(n)
    coupling = KAPPA * n * weight[:, None] * gram * weight
    for gamma in (0.01, 0.3, 3.0):
        found = solve_coupled_presence(gram, weight, gamma, optimum=optimum)
        assert_kkt(found, gram, weight, optimum)
        linear = gamma - KAPPA * n * weight * (gram @ (optimum - weight))
        other = minimize(
            lambda a, b=linear: (0.5 * a @ coupling @ a - b @ a, coupling @ a - b),
            np.full(n, 0.5),
            jac=True,
            bounds=[(0, 1)] * n,
            method="L-BFGS-B",
            options={"ftol": 1e-15, "gtol": 1e-12, "maxiter": 5000},
        )
        a = 1 - found.presence
        assert 0.5 * a @ coupling @ a - linear @ a <= other.fun + 1e-10 * abs(other.fun)


def test_the_conditions_catch_a_wrong_answer():
    gram, weight = problem(np.random.default_rng(1), 8)
    found = solve_coupled_presence(gram, weight, 0.5)
    wrong = CoupledPresence(0.5, found.flux, found.presence[::-1], found.pull, 0.0, "converged")
    with pytest.raises(AssertionError):
        assert_kkt(wrong, gram, weight, weight)


def test_without_links_it_is_the_duty_cycle_law():
    rng = np.random.default_rng(0)
    weight, curvature = rng.standard_normal(50), rng.uniform(0.1, 3.0, 50)
    for gamma in (1e-3, 0.1, 1.0, 100.0):
        found = solve_coupled_presence(np.diag(curvature), weight, gamma)
        law = density_under_pressure(found.flux, gamma)
        assert found.density == pytest.approx(law.density[0], rel=1e-12, abs=1e-15)


def test_limits():
    gram, weight = problem(np.random.default_rng(2), 6)
    assert solve_coupled_presence(gram, weight, 0.0).density == 1.0
    gone = solve_coupled_presence(gram, weight, 1e6)
    assert (gone.density, gone.residual) == (0.0, 0.0)


def test_density_falls_with_the_pressure():
    gram, weight = problem(np.random.default_rng(3), 20)
    curve = [solve_coupled_presence(gram, weight, g).density for g in np.geomspace(1e-3, 10, 40)]
    assert (np.diff(curve) <= 1e-12).all()


def test_pivoting_ends_where_blocks_alone_would_cycle(monkeypatch):
    # from the first round on only one condition is mended at a time
    monkeypatch.setattr(coupled_flux, "_PATIENCE", -1)
    gram, weight = problem(np.random.default_rng(4), 15)
    assert_kkt(solve_coupled_presence(gram, weight, 0.5), gram, weight, weight)


def test_an_unfinished_search_is_an_error(monkeypatch):
    monkeypatch.setattr(coupled_flux, "_MAX_PIVOTS", 0.1)
    monkeypatch.setattr(coupled_flux, "range", lambda stop: [0], raising=False)
    gram, weight = problem(np.random.default_rng(4), 15)
    with pytest.raises(ConvergenceError, match="off by") as raised:
        solve_coupled_presence(gram, weight, 0.5)
    assert raised.value.record.status == "not_converged"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gram": [[1.0]]}, r"gram must have shape \(2, 2\), got \(1, 1\)"),
        ({"gram": [[1.0, 0.5], [0.4, 1.0]]}, "gram must be symmetric and positive definite"),
        ({"gram": [[1.0, 1.0], [1.0, 1.0]]}, "gram must be symmetric and positive definite"),
        ({"gram": [[1.0, math.nan], [0.0, 1.0]]}, "gram must be finite numbers"),
        ({"weight": [1.0, 0.0]}, "weight must hold no zero, got one at index 1"),
        ({"weight": [1.0, math.inf]}, "weight must be finite numbers"),
        ({"pressure": -0.1}, r"pressure must be a number in \[0, inf\), got -0.1"),
        ({"optimum": [1.0]}, r"optimum must have shape \(2,\), got \(1,\)"),
    ],
)
def test_bad_input(change, message):
    given = {"gram": np.eye(2), "weight": [1.0, 2.0], "pressure": 1.0} | change
    with pytest.raises(ValueError, match=message):
        solve_coupled_presence(given.pop("gram"), given.pop("weight"), given.pop("pressure"), **given)

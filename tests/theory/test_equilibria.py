import numpy as np
import pytest

from bbtheory import solve_equilibria, solve_equilibrium
from bbtheory.theory import dual
from bbtheory.theory.equilibria import Equilibria


def populations(p=40, n=25, seed=0):
    return np.random.default_rng(seed).lognormal(2, 0.8, (p, n))


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("road", ["numpy", "compiled"])
def test_rows_are_single_equilibria(monkeypatch, bounded, road):
    monkeypatch.setattr(dual, "COMPILED_FROM", 1 if road == "compiled" else 10**9)
    k = populations()
    rng = np.random.default_rng(1)
    lower = rng.uniform(0, 0.05, k.shape) if bounded else 0.0
    upper = lower + rng.uniform(0.1, 0.6, k.shape) if bounded else 1.0
    least, most = (k * lower).sum(1), (k * np.clip(0.5, lower, upper)).sum(1)
    budget = least + rng.uniform(1e-4, 0.9, len(k)) * (most - least)
    batch = solve_equilibria(k, budget=budget, lower=lower, upper=upper)
    monkeypatch.setattr(dual, "COMPILED_FROM", 10**9)
    for p in range(len(k)):
        lo, hi = (lower[p], upper[p]) if bounded else (0.0, 1.0)
        single = solve_equilibrium(k[p], budget=float(budget[p]), lower=lo, upper=hi)
        assert batch[p].beta == pytest.approx(single.beta, rel=1e-12)
        np.testing.assert_allclose(batch[p].on_rate, single.on_rate, rtol=1e-11)
        assert batch[p].residuals.stationarity < 1e-13
        assert batch[p].residuals.budget < 1e-13
    assert batch.budget_residual.max() < 1e-13


def test_every_row_has_its_own_end():
    k = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    batch = solve_equilibria(k, budget=[0.5, 5.0, 0.1], lower=0.1)
    assert batch.status.tolist() == ["converged", "budget_not_binding", "infeasible"]
    assert batch.beta[1] == 0
    assert np.isinf(batch.beta[2])
    assert batch.on_rate[2].tolist() == [0.1, 0.1]
    assert batch.to_dict()["beta"][2] is None


def test_beta_given():
    k = populations(5)
    batch = solve_equilibria(k, beta=[0.1, 0.2, 0.3, 0.4, 0.5])
    assert batch[3].beta == 0.4
    assert batch.traffic == pytest.approx(batch.budget)
    assert len(batch) == 5
    assert batch.to_frame().shape == (125, 3)


def test_round_trip(tmp_path):
    batch = solve_equilibria(populations(3), budget=4.0)
    batch.save(tmp_path / "b.json")
    assert Equilibria.load(tmp_path / "b.json") == batch


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fan_out": [1.0, 2.0], "beta": 1}, "fan_out must have 2 axes"),
        ({"fan_out": [[1.0, 2.0]], "beta": [1, 2]}, r"beta must be a number or have shape \(1,\)"),
        ({"fan_out": [[1.0, 2.0], [0, 0]], "beta": 1}, "only zeros in population 1"),
        ({"fan_out": [[1.0, 2.0]], "budget": [0.0]}, "budget must be"),
        ({"fan_out": [[1.0, 2.0]], "budget": "x"}, "budget must be an array"),
        ({"fan_out": [[1.0, 2.0]]}, "exactly one of beta or budget"),
        ({"fan_out": [[1.0, 2.0]], "beta": 1, "upper": [[1], [1]]}, "upper must be a number or have shape"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        solve_equilibria(**arguments)

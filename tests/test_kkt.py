import numpy as np
import pytest

from bbtheory import solve_equilibrium
from kkt import assert_kkt

K = np.array([1.0, 3.0, 10.0])


@pytest.fixture
def solution():
    return solve_equilibrium(K, budget=2.0)


def test_accepts_the_solution(solution):
    assert_kkt(solution.on_rate, K, 2.0, solution.beta)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: (a * 1.001, b), "broken"),
        (lambda a, b: (a, -b), "negative"),
        (lambda a, b: (a * 0.999, b), "complementary"),
        (lambda a, b: (a, b * 1.001), "stationary"),
        (lambda a, b: (a + np.array([0.03, -0.01, 0.0]), b), "stationary"),
    ],
)
def test_refuses_anything_else(solution, change, message):
    a, beta = change(solution.on_rate, solution.beta)
    with pytest.raises(AssertionError, match=message):
        assert_kkt(a, K, 2.0, beta)


def test_sees_a_better_neighbour():
    # feasible and (by a false multiplier of zero tolerance) only caught by looking around
    a = np.array([0.2, 0.2, 0.12])
    with pytest.raises(AssertionError, match="better"):
        assert_kkt(a, K, float(K @ a), 0.3, tolerance=10.0)


def test_sees_a_unit_on_the_wrong_bound(solution):
    lo = solution.on_rate - 0.05
    with pytest.raises(AssertionError):
        assert_kkt(np.where([1, 0, 0], lo, solution.on_rate), K, 2.0, solution.beta, np.maximum(lo, 0.001))

import re

import numpy as np
import pytest

from bbtheory import pair_statistics
from bbtheory.theory.binary_code import BinaryCode
from bbtheory.theory.pair_statistics import highest_scale

RATES = np.array([0.2, 0.5, 0.7])


def alike(n, rho):
    return np.eye(n) + rho * (1 - np.eye(n))


def test_three_forms_of_one_statistic():
    both = pair_statistics([0.5, 0.2], coactivation=[[0.5, 0.14], [0.14, 0.2]])
    np.testing.assert_allclose(both.covariance, [[0.25, 0.04], [0.04, 0.16]], rtol=1e-15)
    np.testing.assert_allclose(both.correlation, [[1, 0.2], [0.2, 1]], rtol=1e-15)
    for form in ("coactivation", "covariance", "correlation"):
        again = pair_statistics([0.5, 0.2], **{form: getattr(both, form)})
        np.testing.assert_allclose(again.coactivation, both.coactivation, rtol=1e-14)
    assert both.checked == "full"


def test_every_code_passes_and_only_codes_do():
    rng = np.random.default_rng(0)
    for _ in range(20):
        code = BinaryCode(probability=rng.dirichlet(np.full(16, 0.2)))
        assert pair_statistics(code.on_rate, coactivation=code.coactivation).checked == "full"


def test_only_pairs_are_checked_for_many_units():
    assert pair_statistics(np.full(11, 0.3), correlation=alike(11, 0.1)).checked == "pairs"


@pytest.mark.parametrize(("a", "b"), [(0.2, 0.7), (0.6, 0.7), (0.1, 0.2)])
@pytest.mark.parametrize("sign", [1, -1])
def test_bounds_of_a_pair_are_those_of_its_four_states(a, b, sign):
    # all codes of two units with these on-rates: one free number, q
    q = np.linspace(0, 1, 1001)
    possible = (a - q >= -1e-12) & (b - q >= -1e-12) & (1 - a - b + q >= -1e-12)
    edge = q[possible].max() if sign > 0 else q[possible].min()
    at = np.array([[a, edge], [edge, b]])
    pair_statistics([a, b], coactivation=at)
    at[0, 1] = at[1, 0] = edge + sign * 1e-4
    low, high = q[possible].min(), q[possible].max()
    message = f"units 0 and 1 with on-rates {a} and {b} can only have {low:.6g} to {high:.6g}, got"
    with pytest.raises(ValueError, match=re.escape(message)):
        pair_statistics([a, b], coactivation=at)


def test_highest_scale_is_where_the_statistics_become_impossible():
    for a in (np.full(3, 0.5), np.array([0.1, 0.2, 0.4]), np.full(4, 0.03)):
        n = a.size
        sd = np.sqrt(a * (1 - a))
        direction = -np.outer(sd, sd) * (1 - np.eye(n))
        top = highest_scale(a, direction)
        pair_statistics(a, correlation=alike(n, -top * (1 - 1e-6)))
        with pytest.raises(ValueError, match="correlation must be"):
            pair_statistics(a, correlation=alike(n, -top * 1.001))
    # three units at 1/2: states with one or two on leave rho = -1/3, pair bounds alone would allow -1
    assert highest_scale(np.full(3, 0.5), -0.25 * (1 - np.eye(3))) == pytest.approx(1 / 3, rel=1e-9)
    # beyond the linear program: bounds of pairs and a positive semi-definite matrix
    assert highest_scale(np.full(12, 0.5), -0.25 * (1 - np.eye(12))) == pytest.approx(1 / 11, rel=1e-9)


def test_impossible_triple_names_a_pair_and_its_move():
    # each pair may have rho = -0.5, three units may not: q_01 + q_02 + q_12 >= a_0 + a_1 + a_2 - 1 = 1/2
    with pytest.raises(ValueError, match=r"not all at once; moving units \d and \d by \+") as error:
        pair_statistics(np.full(3, 0.5), correlation=alike(3, -0.5))
    move = float(error.value.args[0].split("by ")[1].split()[0])
    assert 0.5 / 3 - 1e-6 <= move <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of coactivation or covariance or correlation must be given, got none"),
        ({"correlation": np.eye(3), "covariance": np.eye(3)}, "got covariance and correlation"),
        ({"correlation": np.eye(2)}, r"correlation must have shape \(3, 3\), got \(2, 2\)"),
        ({"correlation": np.full((3, 3), np.nan)}, "correlation must be finite numbers"),
        ({"correlation": [[1, 0.1, 0], [0.2, 1, 0], [0, 0, 1]]}, r"symmetric, got 0.1 at \(0, 1\) and"),
        ({"correlation": 0.5 * np.eye(3)}, "correlation must have 1 = 1 on its diagonal, got 0.5 at 0"),
        ({"covariance": np.eye(3)}, r"covariance must have a \(1 - a\) = 0.16 on its diagonal, got 1 at 0"),
        ({"coactivation": 0.25 * np.eye(3)}, "coactivation must have its on-rate = 0.7 on its diagonal"),
        ({"correlation": alike(3, 0.9)}, "units 0 and 2 with on-rates 0.2 and 0.7 can only have -0.763763"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        pair_statistics(RATES, **arguments)


@pytest.mark.parametrize(
    ("on_rate", "message"),
    [
        ([0.5, 1.0], r"on_rate must be numbers in \(0, 1\), got 1.0 at index 1"),
        ([0.5, np.nan], "on_rate must be numbers"),
        ([], "on_rate must not be empty"),
        ([[0.5, 0.5]], "on_rate must have 1 axis"),
    ],
)
def test_bad_on_rates(on_rate, message):
    with pytest.raises(ValueError, match=message):
        pair_statistics(on_rate, correlation=np.eye(2))


def test_many_units_without_a_positive_matrix():
    matrix = alike(12, -0.2)
    with pytest.raises(ValueError, match=r"positive semi-definite, got -1\.2 as the smallest eigenvalue"):
        pair_statistics(np.full(12, 0.5), correlation=matrix)

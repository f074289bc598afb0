"""The expansion against exact codes, and against the same minimisation done monomial by monomial."""

import itertools

import numpy as np
import pytest

from bbtheory import entropy_expansion, match_code
from bbtheory.theory.entropy_expansion import (
    entropy_orders,
    exact_pairs,
    gaussian_loops,
    skewed_loops,
    skewness,
)
from bbtheory.theory.pairwise import square

RNG = np.random.default_rng(0)
RATES = RNG.uniform(0.2, 0.6, 5)
PATTERN = square(RNG.uniform(-1, 1, 10), 5)


def product(left, right, g):
    """Multiply polynomials in the standardised states, {units: coefficient}, with z_i^2 = 1 + g_i z_i."""
    out = {}
    for (s, x), (t, y) in itertools.product(left.items(), right.items()):
        for size in range(len(s & t) + 1):
            for kept in itertools.combinations(sorted(s & t), size):
                key = (s ^ t) | frozenset(kept)
                out[key] = out.get(key, 0.0) + x * y * np.prod([g[i] for i in kept])
    return out


def mean(left, right):
    """E of a product: distinct monomials are orthonormal."""
    return sum(x * right.get(s, 0.0) for s, x in left.items())


def orders_by_minimisation(a, rho):
    """S_2 to S_5: KL = E[f^2/2 - f^3/6 + f^4/12 - f^5/20] with the higher moments of f minimised."""
    g = (1 - 2 * a) / np.sqrt(a * (1 - a))
    f = {frozenset(p): rho[p] for p in itertools.combinations(range(a.size), 2)}
    f2 = product(f, f, g)
    free = {s: x / 2 for s, x in f2.items() if len(s) > 2}
    f3 = product(f2, f, g)
    second = mean(f, f) / 2
    third = -mean(f2, f) / 6
    fourth = mean(f2, f2) / 12 - mean(free, free) / 2
    fifth = -mean(product(f, free, g), free) / 2 + mean(f3, free) / 3 - mean(f3, f2) / 20
    return -np.array([second, third, fourth, fifth])


def test_orders_by_two_roads():
    for n, size in ((2, 0.3), (3, 0.2), (5, 0.1)):
        a, rho = RATES[:n], size * PATTERN[:n, :n]
        closed = np.array([order.value for order in entropy_orders(skewness(a), rho)])
        np.testing.assert_allclose(closed, orders_by_minimisation(a, rho), rtol=1e-10)
        # negative control: Gaussian loops alone, without the skewed ones, miss order 5 of three and more
        # units
        if n > 2:
            skewed = skewed_loops(skewness(a), rho).value
            assert abs(skewed) > 1e-6 * abs(closed[3])


def test_error_against_exact_codes_falls_at_the_stated_order():
    levels = np.array([0.008, 0.016, 0.032])
    errors = []
    for level in levels:
        rho = np.eye(5) + level * PATTERN
        s = entropy_expansion(RATES, correlation=rho)
        exact = match_code(RATES, correlation=rho).entropy
        partial = np.cumsum(s.orders)
        errors.append(np.abs([*(partial[[0, 2, 3, 4, 5]] - exact), s.resummed - exact]))
    slope = np.polyfit(np.log(levels), np.log(errors), 1)[0]
    # order 3 and 4 change sign nearby for these numbers: their slopes are read over a wider margin
    np.testing.assert_allclose(slope[[0, 2, 4]], [2, 4, 6], atol=0.1)
    assert slope[1] > 2.5
    assert slope[3] > 4.2
    assert slope[5] == pytest.approx(5, abs=0.15)


@pytest.mark.parametrize("part", range(6))
def test_derivatives_by_finite_differences(part):
    def orders(g, rho):
        return (*entropy_orders(g, rho), skewed_loops(g, rho), gaussian_loops(rho))[part]

    g, rho, h = skewness(RATES), 0.3 * PATTERN, 1e-5
    got = orders(g, rho)
    for i in range(5):
        step = h * np.eye(5)[i]
        slope = (orders(g + step, rho).value - orders(g - step, rho).value) / (2 * h)
        assert slope == pytest.approx(got.by_skewness[i], abs=1e-9)
    for i, j in itertools.combinations(range(5), 2):
        step = np.zeros((5, 5))
        step[i, j] = step[j, i] = h
        slope = (orders(g, rho + step).value - orders(g, rho - step).value) / (2 * h)
        assert slope == pytest.approx(got.by_correlation[i, j], abs=1e-9)
    np.testing.assert_array_equal(np.diagonal(got.by_correlation), 0)


@pytest.mark.parametrize("rates", [(0.4, 0.2), (0.03, 0.03), (0.9, 0.4)])
@pytest.mark.parametrize("rho", [-0.02, 0.1, 0.25])
def test_pairs_are_exact(rates, rho):
    a = np.array(rates)
    matrix = np.array([[1, rho], [rho, 1]])
    code = match_code(a, correlation=matrix)
    s = entropy_expansion(a, correlation=matrix)
    assert s.resummed == pytest.approx(code.entropy, rel=1e-12)
    sd = np.sqrt(a * (1 - a))
    pair = exact_pairs(a, np.outer(sd, sd) * rho * (1 - np.eye(2)))
    assert pair.coupling[0, 1] == pytest.approx(code.coupling[0, 1], rel=1e-9)
    np.testing.assert_allclose(
        pair.field.sum(axis=1), -code.field - np.log((1 - a) / a), rtol=1e-8, atol=1e-12
    )


def test_limits():
    alone = entropy_expansion([0.3], correlation=[[1.0]])
    assert alone.series == alone.resummed == alone.orders[0]
    independent = entropy_expansion(RATES, correlation=np.eye(5))
    assert independent.resummed == independent.series == independent.orders[0]
    assert independent.expansion_ratio == 0
    # identical units: one bit for both, the pair exact to its end
    twins = entropy_expansion([0.25, 0.25], correlation=np.ones((2, 2)))
    assert twins.loops == -np.inf
    assert twins.orders[0] + twins.pairs == pytest.approx(twins.orders[0] / 2, rel=1e-12)


def test_estimates_are_of_the_size_of_the_errors():
    rho = np.eye(5) + 0.05 * PATTERN
    s = entropy_expansion(RATES, correlation=rho)
    exact = match_code(RATES, correlation=rho).entropy
    assert abs(s.series - exact) < 2 * s.series_error_estimate
    assert abs(s.resummed - exact) < 2 * s.resummed_error_estimate
    assert s.resummed_error_estimate < 1e-4 * abs(s.orders[2])


def test_bad_input_is_that_of_pair_statistics():
    with pytest.raises(ValueError, match="units 0 and 1"):
        entropy_expansion([0.1, 0.5], correlation=[[1, 0.9], [0.9, 1]])

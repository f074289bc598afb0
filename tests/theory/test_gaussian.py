import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.polynomial import hermite_e, legendre
from scipy.special import erfcx, ndtr

from bbtheory.theory import gaussian

FUNCTIONS = {
    "relu": lambda u: np.maximum(u, 0.0),
    "gelu": lambda u: u * ndtr(u),
    "step": lambda u: (u > 0).astype(float),
    "linear": lambda u: u,
}
POINTS = [(0.3, 1.2), (-2.0, 0.7), (3.0, 0.9), (0.0, 0.4), (5.0, 2.0), (1.0, 0.31), (1.0, 0.29), (-4.0, 1.0)]
# both roads are exact; what is left is the rounding of sums of terms up to He_6 ~ 1e3 times f ~ 10
CLOSED = 1e-10


def expectation(g, mu, s):
    """Integrate g against N(mu, s^2) by Gauss-Legendre on pieces that end at the kink at 0."""
    x, w = legendre.leggauss(60)
    edges = np.unique(
        np.clip(np.append(np.linspace(mu - 13 * s, mu + 13 * s, 14), 0.0), mu - 13 * s, mu + 13 * s)
    )
    total = 0.0
    for low, high in pairwise(edges):
        u = 0.5 * (high - low) * x + 0.5 * (high + low)
        weight = np.exp(-0.5 * ((u - mu) / s) ** 2) / (s * math.sqrt(2 * math.pi))
        total += 0.5 * (high - low) * np.sum(w * g(u) * weight)
    return total


def hermite(k, u):
    return hermite_e.HermiteE.basis(k)(u)


@pytest.mark.parametrize("activation", gaussian.ACTIVATIONS)
@pytest.mark.parametrize(("mu", "s"), POINTS)
def test_coefficients_agree_with_quadrature(activation, mu, s):
    f = FUNCTIONS[activation]
    c, b = gaussian.expand(activation, np.array([mu]), np.array([s * s]), 6)
    mean = expectation(f, mu, s)
    for k in range(7):  # s^k E f^(k) = E f(u) He_k(z), integrating by parts
        road = expectation(lambda u, k=k: f(u) * hermite(k, (u - mu) / s), mu, s)
        assert c[k, 0] == pytest.approx(road, rel=CLOSED, abs=CLOSED)
    for k in range(5):
        road = expectation(lambda u, k=k: (f(u) - mean) ** 2 * hermite(k, (u - mu) / s), mu, s)
        assert b[k, 0] == pytest.approx(road, rel=CLOSED, abs=CLOSED)


def test_quadrature_catches_a_wrong_variance():
    """Negative control: E f^2 is not the variance."""
    mu, s = 0.3, 1.2
    wrong = expectation(lambda u: np.maximum(u, 0) ** 2, mu, s)
    _, b = gaussian.expand("relu", np.array([mu]), np.array([s * s]), 2)
    assert abs(b[0, 0] - wrong) > 0.1


@pytest.mark.parametrize("activation", ["relu", "gelu", "step"])
def test_variance_is_the_sum_of_its_hermite_terms(activation):
    z = np.linspace(-3, 3, 13)
    c, b = gaussian.expand(activation, 0.4 * z, np.full(13, 0.16), 60)
    parts = np.array([c[k] ** 2 / math.factorial(k) for k in range(1, 61)])
    left = b[0] - parts.sum(0)
    assert np.all(left > -1e-15)
    # the terms of a kink fall as k^-5/2 and those of a jump as k^-3/2 (Hermite functions ~ k^-1/4)
    assert np.all(left <= {"relu": 3e-3, "gelu": 1e-14, "step": 0.15}[activation] * np.maximum(b[0], 0.1))


@pytest.mark.parametrize("activation", gaussian.ACTIVATIONS)
def test_derivatives_by_mu_and_variance(activation):
    mu, v = np.array([-0.8, 0.5, 1.7]), np.array([0.6, 1.1, 2.0])
    s = np.sqrt(v)
    c, b = gaussian.expand(activation, mu, v, 4)
    h = 1e-5
    for shift, scale, order in (((h, 0), s, 1), ((0, h), 2 * v, 2)):
        up, vu = gaussian.expand(activation, mu + shift[0], v + shift[1], 0)
        down, vd = gaussian.expand(activation, mu - shift[0], v - shift[1], 0)
        # central differences: h^2 from the third derivative, eps/h from rounding
        np.testing.assert_allclose((up[0] - down[0]) / (2 * h), c[order] / scale, atol=1e-9)
        np.testing.assert_allclose((vu[0] - vd[0]) / (2 * h), b[order] / scale, atol=1e-9)


def test_rare_relu_unit_keeps_its_digits():
    """z Phi + phi for z << 0 against the continued form through erfcx: no cancellation at all there."""
    z = np.array([-5.0, -10.0, -20.0, -30.0])
    c, b = gaussian.expand("relu", z, np.ones(4), 0)
    mills = math.sqrt(math.pi / 2) * erfcx(-z / math.sqrt(2))  # Phi(z)/phi(z)
    assert np.all(c[0] > 0)
    # z^2 eps of cancellation at z = -30 in the mean
    np.testing.assert_allclose(c[0], gaussian.density(z) * (1 + z * mills), rtol=1e-12 * 900)
    asymptotic = 2 / np.abs(z) ** 3 * gaussian.density(z)
    np.testing.assert_allclose(b[0], asymptotic, rtol=7 / z[0] ** 2)


@pytest.mark.parametrize("activation", gaussian.ACTIVATIONS)
def test_no_variance_is_a_limit_not_an_error(activation):
    mu = np.array([-1.0, 0.0, 2.0])
    z, s, scale = gaussian.standardise(mu, np.zeros(3))
    assert list(z) == [-np.inf, -np.inf, np.inf]
    assert list(s) == [0, 0, 0]
    assert list(scale) == [1, 1, 1]
    c, b = gaussian.expand(activation, mu, np.zeros(3), 6)
    np.testing.assert_array_equal(c[0], FUNCTIONS[activation](mu))
    np.testing.assert_array_equal(b[0], 0)
    slope = {"relu": [0, 0, 1], "step": [0, 0, 0], "linear": [1, 1, 1]}.get(activation)
    if slope:
        np.testing.assert_array_equal(c[1], slope)
        np.testing.assert_array_equal(b[2] / 2, np.square(slope))  # d variance / d s^2 = f'^2
    assert np.isfinite(c).all()
    assert np.isfinite(b).all()


@pytest.mark.parametrize("activation", gaussian.ACTIVATIONS)
@pytest.mark.parametrize("s", [1e-160, 1e-8, 1.0, 1e6])
def test_extremes_stay_finite(activation, s):
    mu = np.array([-1e8, -50.0, 0.0, 50.0, 1e8])
    c, b = gaussian.expand(activation, mu, np.full(5, s * s), 20)
    assert np.isfinite(c).all()
    assert np.isfinite(b).all()
    assert (b[0] >= 0).all()


def test_log_odds_of_rare_units_and_their_slope():
    z = np.array([-40.0, -10.0, -3.0, 0.0, 2.0, 30.0])
    inner = slice(2, 5)
    np.testing.assert_allclose(
        gaussian.log_odds_of(z)[inner], np.log(ndtr(-z[inner]) / ndtr(z[inner])), rtol=1e-13, atol=1e-15
    )
    h = 1e-5
    slope = (gaussian.log_odds_of(z - h) - gaussian.log_odds_of(z + h)) / (2 * h)
    np.testing.assert_allclose(gaussian.log_odds_slope(z), slope, rtol=1e-7)  # h^2 and eps/h
    np.testing.assert_allclose(gaussian.log_odds_slope(np.array([-1e9, 1e5])), [1e9, 1e5], rtol=1.5e-10)
    assert np.isinf(gaussian.log_odds_slope(np.inf))


def test_slope_at_the_on_rates_of_the_theory():
    """lam is 1.60 at a = 1/2, 1.95 at 0.1, 2.69 at 0.01 and 3.37 at 0.001."""
    from scipy.special import ndtri

    slope = gaussian.log_odds_slope(ndtri(np.array([0.5, 0.1, 0.01, 0.001])))
    np.testing.assert_allclose(slope, [1.60, 1.95, 2.69, 3.37], atol=0.005)

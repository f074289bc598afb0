"""Closed-form densities against quadrature of the definition and against samples."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from bbtheory.theory.flux import density_under_pressure
from bbtheory.theory.flux_distributions import broken_power_density, lognormal_density
from bbtheory.theory.spectrum import derive_power_law

CLOSED = 1e-10


@pytest.mark.parametrize(("mu", "sd"), [(0.0, 1.0), (-5.0, 2.4), (1.0, 0.1), (0.0, 8.0)])
def test_lognormal_agrees_with_quadrature(mu, sd):
    pressure = np.array([1e-6, 1e-2, 0.5, 1.0, 3.0, 50.0, 1e3])
    pressure = pressure[(np.log(pressure) - mu) / sd < 25]

    def part(gamma):
        low = (np.log(gamma) - mu) / sd

        def density(z):
            return -np.expm1(np.log(gamma) - mu - sd * z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

        return quad(density, low, max(low, 0.0) + 14.0, epsabs=0, epsrel=1e-12, limit=400)[0]

    values = lognormal_density(pressure, log_median=mu, log_sd=sd)
    assert values == pytest.approx([part(g) for g in pressure], rel=CLOSED, abs=0)
    assert (np.diff(values) < 0).all()


def test_lognormal_in_a_shape_and_at_the_ends():
    values = lognormal_density(np.array([[1e-300, 1.0], [1e100, 1e300]]), log_median=0.0, log_sd=1.0)
    assert values.shape == (2, 2)
    assert values[0, 0] == 1.0
    assert values[1, 1] == 0.0


EDGES, EXPONENTS = [0.1, 0.5, 0.7, 3.0], [0.4, 0.0, 2.0, 0.6]


def broken_tail(x):
    log_tail = 0.0
    for low, high, a in zip(EDGES, [*EDGES[1:], np.inf], EXPONENTS, strict=True):
        if x > low:
            log_tail -= a * np.log(min(x, high) / low)
    return np.exp(log_tail)


def test_broken_power_agrees_with_quadrature():
    pressure = np.array([1e-3, 0.05, 0.1, 0.3, 0.5, 0.6, 0.7, 1.0, 3.0, 40.0])
    expected = []
    for g in pressure:
        ends = [g, *[e for e in EDGES if e > g], np.inf]
        pieces = (
            quad(lambda x: broken_tail(x) / x**2, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in pairwise(ends)
        )
        expected.append(g * sum(pieces))
    values = broken_power_density(pressure, edges=EDGES, exponents=EXPONENTS)
    assert values == pytest.approx(expected, rel=CLOSED, abs=0)
    assert broken_power_density(pressure, edges=EDGES, exponents=[0.4, 0.0, 2.0, 0.7]) != pytest.approx(
        values, rel=1e-3
    )


def test_one_exponent_is_the_large_power_spectrum():
    n, p = 10**7, 1.4
    gamma = np.geomspace(0.1, 50.0, 20) * n**-p
    law = derive_power_law(gamma, n_weights=n, decay=p)
    assert broken_power_density(gamma, edges=[n**-p], exponents=[1 / p]) == pytest.approx(
        law.density, rel=1e-5
    )


def test_closed_forms_agree_with_samples():
    rng = np.random.default_rng(21)
    pressure, n = np.array([0.02, 0.2, 1.0, 5.0]), 200_000
    normal = density_under_pressure(np.exp(-0.5 + 1.5 * rng.normal(size=n)), pressure).density
    power = density_under_pressure(0.1 * rng.uniform(size=n) ** (-1 / 0.7), pressure).density
    for sampled, closed, wrong in (
        (
            normal,
            lognormal_density(pressure, log_median=-0.5, log_sd=1.5),
            lognormal_density(pressure, log_median=-0.5, log_sd=1.6),
        ),
        (
            power,
            broken_power_density(pressure, edges=[0.1], exponents=[0.7]),
            broken_power_density(pressure, edges=[0.1], exponents=[0.75]),
        ),
    ):
        # a mean of n independent values in [0, 1] with mean s has variance at most s (1 - s)/n
        four_sigma = 4 * np.sqrt(closed * (1 - closed) / n)
        assert (np.abs(sampled - closed) < four_sigma).all()
        assert not (np.abs(sampled - wrong) < four_sigma).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: lognormal_density([0.0], log_median=0.0, log_sd=1.0),
            r"pressure must be finite numbers in \(0, inf\)",
        ),
        (lambda: lognormal_density([1.0], log_median=np.nan, log_sd=1.0), "log_median must be a number"),
        (
            lambda: lognormal_density([1.0], log_median=0.0, log_sd=0.0),
            r"log_sd must be a number in \(0, inf\)",
        ),
        (lambda: broken_power_density([-1.0], edges=[1.0], exponents=[1.0]), "pressure must be finite"),
        (lambda: broken_power_density([1.0], edges=[2.0, 1.0], exponents=[1.0, 1.0]), "edges must increase"),
        (lambda: broken_power_density([1.0], edges=[0.0], exponents=[1.0]), "edges must be finite numbers"),
        (
            lambda: broken_power_density([1.0], edges=[1.0], exponents=[1.0, 2.0]),
            r"exponents must have shape \(1,\)",
        ),
        (
            lambda: broken_power_density([1.0], edges=[1.0], exponents=[-1.0]),
            "exponents must be finite numbers",
        ),
        (
            lambda: broken_power_density([1.0], edges=[1.0], exponents=[0.0]),
            "exponents must end with a positive one",
        ),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()

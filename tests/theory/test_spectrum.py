"""Power spectra: the closed form against the exact sum, its bound, its edges, and the exponents it shows."""

import mpmath
import numpy as np
import pytest

from bbtheory.theory.flux import density_under_pressure
from bbtheory.theory.spectrum import (
    PowerLaw,
    derive_power_law,
    largest_exponent,
    power_spectrum,
    region_end_density,
)

TOP = 2.0


def assert_within_bound(law, curve):
    """The exact sum lies within the stated bound of the closed form (and rounding)."""
    assert (np.abs(curve.density - law.density) <= law.density_bound + 1e-14).all()


def zeta_density(gamma, n, p):
    """The exact sum by Hurwitz zeta functions: sum_{j<=m} j^p = zeta(-p) - zeta(-p, m + 1)."""
    m = min(n, int(np.ceil((TOP / gamma) ** (1 / p))) - 1)
    with mpmath.workdps(30):
        total = mpmath.zeta(-p) - mpmath.zeta(-p, m + 1)
        return float((m - mpmath.mpf(gamma) / TOP * total) / n)


@pytest.mark.parametrize("p", [0.45, 1.0, 1.6, 2.5])
def test_sum_agrees_with_hurwitz_zeta(p):
    n = 3000
    flux = power_spectrum(n, p, top=TOP)
    gamma = flux[[0, 4, 99, 1500]] * [0.9, 0.97, 0.995, 0.9999]
    gamma = np.append(gamma, flux[-1] * 0.3)
    curve = density_under_pressure(flux, gamma)
    assert curve.density == pytest.approx([zeta_density(g, n, p) for g in gamma], rel=1e-10, abs=0)


@pytest.mark.parametrize("n", [1, 5, 3000])
@pytest.mark.parametrize("p", [0.3, 0.65, 1.0, 1.6, 2.0, 3.5])
def test_closed_form_is_within_its_bound(p, n):
    flux = power_spectrum(n, p, top=TOP)
    gamma = np.geomspace(0.01 * flux[-1], 1.1 * TOP, 2001)
    law, curve = derive_power_law(gamma, n_weights=n, decay=p, top=TOP), density_under_pressure(flux, gamma)
    assert_within_bound(law, curve)
    # and the bound is no empty promise: it falls like 1/J or J^-p, and some point uses half of it
    if n > 1:
        used = law.density_bound > 0
        assert np.max(np.abs(curve.density - law.density)[used] / law.density_bound[used]) > 0.5


def test_a_wrong_exponent_or_a_missing_half_breaks_the_bound():
    n, p = 3000, 1.0
    flux = power_spectrum(n, p, top=TOP)
    gamma = np.geomspace(1.01 * flux[-1], 0.1 * TOP, 50)
    curve = density_under_pressure(flux, gamma)
    assert_within_bound(derive_power_law(gamma, n_weights=n, decay=p, top=TOP), curve)
    with pytest.raises(AssertionError):
        assert_within_bound(derive_power_law(gamma, n_weights=n, decay=1.02 * p, top=TOP), curve)
    law = derive_power_law(gamma, n_weights=n, decay=p, top=TOP)
    assert not (np.abs(curve.density - law.density - 0.5 / n) <= law.density_bound).any()
    hard = density_under_pressure(flux, gamma, law="threshold")
    with pytest.raises(AssertionError):
        assert_within_bound(law, hard)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.7])
def test_large_system_has_the_exponent_and_prefactor(p):
    n = 1_000_000
    law = derive_power_law(np.geomspace(3.0, 300.0, 30) * n**-p, n_weights=n, decay=p)
    assert law.exponent == 1 / p
    curve = density_under_pressure(power_spectrum(n, p), law.pressure)
    # J >= n (1/300)^(1/p): the two corrections are of relative size 1/J and J^-p/J
    j = (1 / law.pressure) ** (1 / p)
    assert curve.density == pytest.approx(law.prefactor * law.pressure**-law.exponent, rel=2 / j.min())
    assert curve.exponent == pytest.approx(np.full(30, law.exponent), rel=2 / j.min() ** min(1, p))
    hard = density_under_pressure(power_spectrum(n, p), law.pressure, law="threshold")
    assert curve.density / hard.density == pytest.approx(np.full(30, p / (p + 1)), rel=2 / j.min())
    assert law.window_exponent == pytest.approx(law.exponent, rel=2 / j.min())


def test_finite_size_exponent():
    for p in (0.8, 1.25, 2.0):
        j = np.geomspace(5.0, 60.0, 25)
        law = derive_power_law(j**-p, n_weights=1000, decay=p)
        assert law.local_exponent == pytest.approx((1 / p) / (1 - (p + 1) / (2 * p * j)), rel=1e-12)
        curve = density_under_pressure(power_spectrum(1000, p), law.pressure)
        x, y = np.log(curve.pressure), np.log(curve.density)
        measured = -np.polyfit(x, y, 1)[0]
        # 5 to 9 percent above 1/p in this window, and the closed form says by how much
        assert 1.04 < measured * p < 1.1
        assert measured == pytest.approx(law.window_exponent, rel=0.01)
        assert measured != pytest.approx(1 / p, rel=0.03)


@pytest.mark.parametrize("p", [0.5, 1.0, 3.0])
def test_region_ends_where_predicted(p):
    n = 20_000
    flux = power_spectrum(n, p, top=TOP)
    law = derive_power_law(flux[-1] * np.array([0.25, 0.5, 1.0]), n_weights=n, decay=p, top=TOP)
    curve = density_under_pressure(flux, law.pressure)
    assert law.edge_density == pytest.approx(float(region_end_density(law.exponent)))
    assert curve.density[2] == pytest.approx(law.edge_density, abs=1 / n)
    # linear above: ds/dgamma is the same at all pressures below F_n; at F_n it is taken from the right
    assert curve.slope[1] == pytest.approx(curve.slope[0], rel=1e-12)
    assert curve.slope[2] > curve.slope[1]
    assert curve.density == pytest.approx(1.0 - law.pressure / law.low_edge / (p + 1), abs=1 / n)
    assert density_under_pressure(flux, [law.high_edge]).density[0] == 0.0
    # exactly at a flux s is continuous
    around = density_under_pressure(flux, flux[-1] * np.array([1 - 1e-12, 1.0, 1 + 1e-12])).density
    assert around == pytest.approx(np.full(3, around[1]), rel=1e-9)


def test_the_steepest_curve_of_all():
    rng = np.random.default_rng(11)
    for flux in (
        np.ones(50),
        rng.exponential(size=400),
        power_spectrum(400, 0.2),
        np.exp(3 * rng.normal(size=400)),
    ):
        curve = density_under_pressure(flux, np.geomspace(1e-3, 0.999, 60) * flux.max())
        assert (curve.exponent <= largest_exponent(curve.density) * (1 + 1e-9)).all()
    # met by equal fluxes, as by a power spectrum at the end of its region; broken by a hard threshold
    equal = density_under_pressure(np.ones(5), [0.3, 0.8])
    assert equal.exponent == pytest.approx(largest_exponent(equal.density))
    p = 0.25
    hard = derive_power_law(0.9, n_weights=10**6, decay=p)
    assert hard.exponent > largest_exponent(0.5)
    assert region_end_density(largest_exponent(0.3)) == pytest.approx(0.3)


def test_one_weight_and_extreme_spectra():
    assert np.array_equal(power_spectrum(1, 2.0, top=3.0), [3.0])
    law = derive_power_law([1.0, 3.0, 4.0], n_weights=1, decay=1.0, top=3.0)
    assert law.density == pytest.approx([1 - 1 / 3, 0.0, 0.0])
    assert np.isnan(law.local_exponent[1:]).all()
    assert np.isnan(law.window_exponent)
    assert np.isinf(derive_power_law(1.0, n_weights=10, decay=1e-4, top=2.0).prefactor)
    assert derive_power_law(1e-300, n_weights=10, decay=1e-3).density[0] == pytest.approx(1.0)


def test_record_round_trips(tmp_path):
    law = derive_power_law(np.geomspace(1e-3, 0.5, 70), n_weights=500, decay=1.2)
    law.save(tmp_path / "law.json")
    assert PowerLaw.load(tmp_path / "law.json") == law
    assert law.to_dict()["window_exponent"] == law.window_exponent


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: power_spectrum(0, 1.0), r"n_weights must be an integer in \[1, inf\), got 0"),
        (lambda: power_spectrum(5, 0.0), r"decay must be a number in \(0, inf\), got 0.0"),
        (lambda: power_spectrum(5, 1.0, top=-1.0), "top must be a number"),
        (
            lambda: power_spectrum(10**6, 60.0),
            "decay must leave F_n = top n.-decay a normal float64 at n = 1000000",
        ),
        (
            lambda: derive_power_law([0.0], n_weights=5, decay=1.0),
            r"pressure must be finite numbers in \(0, inf\)",
        ),
        (lambda: derive_power_law([], n_weights=5, decay=1.0), "pressure must not be empty"),
        (lambda: derive_power_law([1.0], n_weights=5.5, decay=1.0), "n_weights must be an integer"),
        (lambda: region_end_density(0.0), "exponent must be finite numbers"),
        (lambda: region_end_density([1.0, np.nan]), "exponent .* got nan at index 1"),
        (lambda: largest_exponent(1.5), r"density must be numbers in \(0, 1\], got 1.5"),
        (lambda: largest_exponent(0.0), "density must be numbers"),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""The inverse: spectra recovered from their curves, curves that have none, and the authors' curves."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.special import ndtr, ndtri

from bbtheory.tables import read_csv
from bbtheory.theory.flux import converged_pressure, density_under_pressure
from bbtheory.theory.flux_distributions import broken_power_density, lognormal_density
from bbtheory.theory.implied_spectrum import ImpliedSpectrum, implied_spectrum
from bbtheory.theory.spectrum import region_end_density

PRESSURE = np.geomspace(1e-4, 1e2, 60)
MU, SD = -2.0, 1.5
ROUNDING = 1e-9


def assert_between(spectrum, tail):
    """The true tail obeys the bounds."""
    assert (spectrum.tail_low <= tail * (1 + ROUNDING)).all()
    assert (spectrum.tail_high >= tail * (1 - ROUNDING)).all()


def test_lognormal_comes_back():
    density = lognormal_density(PRESSURE, log_median=MU, log_sd=SD)
    found = implied_spectrum(PRESSURE, density)
    tail = ndtr((MU - np.log(PRESSURE)) / SD)
    assert found.status == "consistent"
    assert found.log_rms < ROUNDING
    assert found.fitted == pytest.approx(density, rel=ROUNDING)
    assert_between(found, tail)
    # parabolas in log-log over steps of 0.23: the error of a slope is (0.23)^2/6 of the third derivative
    assert found.tail == pytest.approx(tail, rel=2e-3)
    assert np.log(found.quantiles) == pytest.approx(MU + SD * ndtri(found.probabilities), abs=0.01)
    with pytest.raises(AssertionError):
        assert_between(found, ndtr((MU + 0.3 - np.log(PRESSURE)) / SD))


def test_coarse_curve_still_bounds_its_spectrum():
    rng = np.random.default_rng(41)
    flux = np.exp(rng.normal(size=300)) * rng.choice([0.1, 1.0, 30.0], size=300)
    pressure = 2.0 ** np.arange(-10, 9)
    curve = density_under_pressure(flux, pressure)
    found = implied_spectrum(pressure[curve.density > 0], curve.density[curve.density > 0])
    assert found.status == "consistent"
    assert_between(found, curve.alive[curve.density > 0])
    assert (np.diff(found.tail) <= ROUNDING).all()


def test_equal_fluxes_come_back_as_a_step():
    pressure = np.linspace(0.1, 1.9, 10)
    found = implied_spectrum(pressure, 1.0 - pressure / 2.0)
    assert found.status == "consistent"
    assert found.tail[:-1] == pytest.approx(np.ones(9))
    # all of the spectrum lies beyond the last pressures, which can only bound it
    assert found.tail_high[-1] == pytest.approx(1.0)
    assert found.tail_low[-1] == pytest.approx(found.density[-1])
    assert np.isnan(found.quantiles[-3:]).all()
    assert (found.quantiles[:-3] > 1.7).all()


def test_threshold_law_reads_the_tail_off():
    rng = np.random.default_rng(42)
    flux = rng.exponential(size=1000)
    pressure = np.linspace(0.05, 5.0, 50)
    curve = density_under_pressure(flux, pressure, law="threshold")
    found = implied_spectrum(pressure, curve.density, law="threshold", probabilities=[0.5])
    assert found.status == "consistent"
    assert found.tail == pytest.approx(curve.alive, rel=ROUNDING)
    assert found.quantiles[0] == pytest.approx(np.median(flux), rel=0.02)
    # read with the wrong law the spectrum moves by far more than that
    assert implied_spectrum(pressure, curve.density, probabilities=[0.5]).quantiles[0] > 1.3 * np.median(flux)


def test_a_curve_that_is_not_convex_is_flagged():
    density = lognormal_density(PRESSURE, log_median=MU, log_sd=SD)
    bent = density.copy()
    bent[20] *= 1.03
    found = implied_spectrum(PRESSURE, bent)
    assert found.status == "violated"
    assert list(np.flatnonzero(found.violates)) == [20]
    assert found.excess[20] == pytest.approx(0.03 * density[20], rel=0.25)  # above its neighbours' chord
    assert found.log_rms > 1e-3
    assert (np.diff(np.diff(found.fitted) / np.diff(PRESSURE)) > -1e-12).all()
    # a point that is too low makes its neighbours look too high
    bent[20] = 0.9 * density[20]
    assert set(np.flatnonzero(implied_spectrum(PRESSURE, bent).violates)) >= {19, 21}
    # an error large enough to explain it
    bent[20] = 1.03 * density[20]
    assert implied_spectrum(PRESSURE, bent, density_stderr=0.02 * bent).status == "consistent"
    assert implied_spectrum(PRESSURE, bent, density_stderr=1e-3).n_violations == 1


def test_a_curve_above_the_chord_from_one_has_no_spectrum():
    """Convex among its points, but too steep to start from s(0) = 1."""
    found = implied_spectrum([1.0, 2.0, 3.0], [0.9, 0.5, 0.2])
    assert found.status == "violated"
    assert found.violates[0]
    assert found.fitted[0] - (found.fitted[1] - found.fitted[0]) < 1.0 + 1e-6  # extended to gamma = 0
    # a hard threshold makes it possible
    assert implied_spectrum([1.0, 2.0, 3.0], [0.9, 0.5, 0.2], law="threshold").status == "consistent"


def test_a_density_that_grows_is_flagged_under_both_laws():
    for law in ("duty_cycle", "threshold"):
        found = implied_spectrum([1.0, 2.0, 3.0, 4.0], [0.5, 0.3, 0.35, 0.1], law=law)
        assert list(found.violates) == [False, False, True, False]
        last = implied_spectrum([1.0, 2.0, 3.0], [0.5, 0.3, 0.4], law=law)
        assert list(last.violates) == [False, False, True]
        assert last.excess[2] == pytest.approx(0.1)
        assert (np.diff(last.fitted) <= 1e-12).all()


def test_recovery_from_noise():
    """Noise of 1 percent: the quantiles stay unbiased within their own spread, and no point is accused."""
    rng = np.random.default_rng(43)
    density = lognormal_density(PRESSURE, log_median=MU, log_sd=SD)
    used = density > 1e-4
    misses, accused = [], 0
    for _ in range(30):
        noisy = np.minimum(density[used] * np.exp(0.01 * rng.normal(size=used.sum())), 1.0)
        found = implied_spectrum(PRESSURE[used], noisy, density_stderr=0.01 * noisy)
        accused += found.n_violations
        misses.append(np.log(found.quantiles) - MU - SD * ndtri(found.probabilities))
    misses = np.array(misses)
    assert (np.abs(misses.mean(axis=0)) < 0.05 + 4 * misses.std(axis=0) / np.sqrt(30)).all()
    assert (misses.std(axis=0) < 0.3).all()
    # 1 point in 740 lies 3 standard errors high by chance, and a fit follows its points
    assert accused <= 5
    # control: the same noise on a curve of another law is accused in every draw
    hard = ndtr(4.0 * (MU - np.log(PRESSURE)) / SD)
    kept = hard > 1e-4
    for _ in range(5):
        noisy = np.minimum(hard[kept] * np.exp(0.01 * rng.normal(size=kept.sum())), 1.0)
        assert implied_spectrum(PRESSURE[kept], noisy, density_stderr=0.01 * noisy).n_violations >= 3


def test_order_does_not_matter_and_records_round_trip(tmp_path):
    density = lognormal_density(PRESSURE, log_median=MU, log_sd=SD)
    found = implied_spectrum(PRESSURE, density)
    shuffled = np.random.default_rng(44).permutation(60)
    again = implied_spectrum(PRESSURE[shuffled], density[shuffled])
    assert again == found
    found.save(tmp_path / "spectrum.json")
    assert ImpliedSpectrum.load(tmp_path / "spectrum.json") == found
    assert found.to_dict()["n_violations"] == 0
    assert len(found.to_frame()) == 60


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: implied_spectrum([1.0, 2.0], [0.5, 0.4]), "pressure must hold at least 3 values, got 2"),
        (
            lambda: implied_spectrum([0.0, 1.0, 2.0], [0.5, 0.4, 0.3]),
            "pressure must be finite .* got 0.0 at index 0",
        ),
        (
            lambda: implied_spectrum([1.0, 2.0, 2.0], [0.5, 0.4, 0.3]),
            "pressure must hold different values, got .*2.0",
        ),
        (
            lambda: implied_spectrum([1.0, 2.0, 3.0], [0.5, 0.4]),
            r"density must have shape \(3,\), got \(2,\)",
        ),
        (
            lambda: implied_spectrum([1.0, 2.0, 3.0], [50.0, 40.0, 30.0]),
            r"density must be numbers in \(0, 1\], got 50.0",
        ),
        (
            lambda: implied_spectrum([1.0, 2.0, 3.0], [0.5, 0.4, 0.0]),
            r"density must be numbers in \(0, 1\], got 0.0",
        ),
        (lambda: implied_spectrum([1.0, 2.0, 3.0], [0.5, 0.4, 0.3], law="soft"), "law must be one of"),
        (
            lambda: implied_spectrum([1.0, 2.0, 3.0], [0.5, 0.4, 0.3], density_stderr=0.0),
            "density_stderr must be",
        ),
        (
            lambda: implied_spectrum([1.0, 2.0, 3.0], [0.5, 0.4, 0.3], density_stderr=[0.1, 0.1]),
            "density_stderr must have",
        ),
        (
            lambda: implied_spectrum([1.0, 2.0, 3.0], [0.5, 0.4, 0.3], probabilities=[1.0]),
            "probabilities must be numbers",
        ),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def authors_curve(name):
    path = Path(os.environ["BBTHEORY_DATA"]) / "density_flux" / f"resnet50_cifar10_{name}.csv"
    table = read_csv(str(path))
    return table.numbers("Saliency"), table.numbers("Remaining") / 100.0  # percent in these files


def log_log_slope(x, y):
    return -np.polyfit(np.log(x), np.log(y), 1)[0]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "exponent", "end", "measured_break"),
    [("hyperflux", 0.595, 0.63, 0.25), ("magnitude", 1.533, 0.39, 0.34), ("taylor", 0.623, 0.62, 0.33)],
)
def test_a_pure_power_spectrum_misses_the_upper_breaks(name, exponent, end, measured_break):
    gamma, density = authors_curve(name)
    window = (density > 0.005) & (density <= 0.5)
    found = log_log_slope(gamma[window], density[window])
    assert found == pytest.approx(exponent, abs=5e-4)
    predicted = float(region_end_density(found))
    assert predicted == pytest.approx(end, abs=0.01)
    assert (
        predicted - measured_break > 0.04
    )  # three-segment fits put the break below the prediction, all three


def log_misfit(model, gamma, density, start):
    """Least squares in ln s; returns (parameters, root mean square, AICc)."""
    fit = least_squares(lambda theta: np.log(model(theta, gamma) / density), start)
    n, k, sse = density.size, fit.x.size + 1, 2.0 * fit.cost
    return fit.x, np.sqrt(sse / n), n * np.log(sse / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def power(theta, gamma):
    return broken_power_density(gamma, edges=[np.exp(theta[0])], exponents=[np.exp(theta[1])])


def two_powers(theta, gamma):
    edges = np.exp([theta[0], theta[0] + np.exp(theta[1])])
    return broken_power_density(gamma, edges=edges, exponents=np.exp(theta[2:]))


def lognormal(theta, gamma):
    return lognormal_density(gamma, log_median=theta[0], log_sd=np.exp(theta[1]))


@pytest.mark.data
def test_two_powers_explain_the_hyperflux_curve_down_to_half_a_percent():
    gamma, density = authors_curve("hyperflux")
    used = density > 0.005
    gamma, density = gamma[used], density[used]
    theta, rms, aicc = log_misfit(two_powers, gamma, density, [-6.2, 1.2, -0.8, -0.45])
    _, power_rms, power_aicc = log_misfit(power, gamma, density, [-5.7, -0.5])
    _, normal_rms, normal_aicc = log_misfit(lognormal, gamma, density, [-5.0, 0.1])
    assert rms < 0.04
    assert power_rms > 0.08
    assert normal_rms > 0.15
    assert aicc < power_aicc - 15
    assert aicc < normal_aicc - 30
    edge, bend = np.exp(theta[0]), np.exp(theta[0] + np.exp(theta[1]))
    assert edge == pytest.approx(0.00195, rel=0.02)
    assert bend == pytest.approx(0.0667, rel=0.02)
    assert np.exp(theta[2:]) == pytest.approx([0.457, 0.639], abs=0.003)
    # the linear region ends at 0.69, where there is no measured point; the break near 0.25 is the bend
    at_edge, at_bend = two_powers(theta, np.array([edge, bend]))
    assert at_edge == pytest.approx(float(region_end_density(np.exp(theta[2]))), abs=0.005)
    assert at_bend == pytest.approx(0.121, abs=0.005)
    assert not ((density > 0.49) & (density < 0.9)).any()


def best_breaks(x, y):
    """Continuous three-segment line with at least 3 points each, by search over pairs of breaks on a grid."""
    grid, best = np.linspace(x[2], x[-3], 80), (np.inf,)
    for low, high in itertools.combinations(grid, 2):
        if min(np.diff(np.searchsorted(x, [x[0], low, high, np.inf]))) >= 3:
            design = np.column_stack([np.ones_like(x), x, np.maximum(x - low, 0), np.maximum(x - high, 0)])
            solution, *_ = np.linalg.lstsq(design, y, rcond=None)
            sse = float(np.sum((y - design @ solution) ** 2))
            best = min(best, (sse, low, high, *np.exp(np.interp([low, high], x, design @ solution))))
    return best


@pytest.mark.data
def test_the_break_at_a_quarter_is_two_breaks():
    """Three segments over the whole curve spend a break on the collapse and one on both of these."""
    gamma, density = authors_curve("hyperflux")
    whole = best_breaks(np.log(gamma), np.log(density))
    assert whole[-2:] == pytest.approx([0.24, 0.0009], rel=0.1)
    top = best_breaks(np.log(gamma[density > 0.005]), np.log(density[density > 0.005]))
    assert top[-2:] == pytest.approx([0.88, 0.17], rel=0.05)
    # through the same segments, the two-power spectrum breaks at 0.75 and 0.16, a pure power law only at 0.72
    used = gamma[density > 0.005]
    spectrum = broken_power_density(used, edges=[0.00195, 0.0667], exponents=[0.457, 0.639])
    assert best_breaks(np.log(used), np.log(spectrum))[-2:] == pytest.approx([0.75, 0.16], rel=0.05)


@pytest.mark.data
def test_the_top_of_the_hyperflux_curve_is_not_an_equilibrium_of_any_spectrum():
    gamma, density = authors_curve("hyperflux")
    found = implied_spectrum(gamma, density, density_stderr=0.01 * density)
    assert list(np.flatnonzero(found.violates)) == [2]
    assert found.excess[:3] == pytest.approx([0.0, 0.0247, 0.0470], abs=5e-4)
    assert (found.excess[3:] < 3e-3).all()
    assert implied_spectrum(gamma, density, density_stderr=0.02 * density).status == "consistent"
    # 23.47e6 weights, 391 batches an epoch, Adam at 1e-3: the three points above 0.9 lie below the pressure
    # that Adam's eps lets converge in 150 to 300 epochs; after 1000 epochs only the first does
    reached = {
        e: converged_pressure(n_weights=23_470_000, n_steps=391 * e, learning_rate=1e-3)
        for e in (150, 300, 1000)
    }
    assert [np.sum(gamma < reached[e]) for e in (150, 300, 1000)] == [3, 3, 1]


@pytest.mark.data
def test_threshold_curves_are_monotone_until_the_network_collapses():
    for name, first_low in (("magnitude", 0.0024), ("taylor", 0.0047)):
        gamma, density = authors_curve(name)
        found = implied_spectrum(gamma, density, law="threshold", density_stderr=0.02 * density)
        assert found.status == "violated"
        assert found.density[found.violates].max() < first_low

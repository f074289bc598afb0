import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import multivariate_normal

from bbtheory.measure import measure_activity, measure_coding
from bbtheory.simulate import correlated_kernel as kernel
from bbtheory.simulate import (
    correlation_bounds,
    cut_correlation,
    latent_correlation,
    pattern_probability,
    simulate_correlated,
    simulate_correlated_balance,
    simulate_patterns,
)

# scipy's bivariate normal and ours each round to a few 1e-16 of 1
ROUNDING = 2e-15
RATES = np.array([0.1, 0.2, 0.35])
RHO = np.array([[1, 0.3, -0.1], [0.3, 1, 0.2], [-0.1, 0.2, 1.0]])


# the Gaussians behind


def test_covariance_of_cut_gaussians_against_scipy():
    rng = np.random.default_rng(0)
    for _ in range(100):
        z, r = rng.uniform(-4, 4, 2), float(np.sin(rng.uniform(-1.57, 1.57)))
        both = multivariate_normal.cdf(z, cov=[[1, r], [r, 1]])
        ours = kernel.pair_covariance(z[0], z[1], np.arcsin(r))
        assert ours == pytest.approx(both - ndtr(z[0]) * ndtr(z[1]), abs=ROUNDING)


def test_orthant_exactly():
    # thresholds 0: P(both below) = 1/4 + arcsin(r)/(2 pi)
    for r in (-0.999, -0.5, 0.1, 0.7, 0.99999):
        assert cut_correlation([0.5, 0.5], r)[0, 1] == pytest.approx(2 / np.pi * np.arcsin(r), rel=1e-13)


def test_latent_correlation_is_the_inverse():
    rng = np.random.default_rng(1)
    for _ in range(50):
        a, r = rng.uniform(1e-4, 0.999, 2), float(rng.uniform(-0.98, 0.98))
        rho = cut_correlation(a, r)
        np.testing.assert_allclose(cut_correlation(a, latent_correlation(a, rho)), rho, rtol=1e-12)
    rare = latent_correlation([1e-8, 1e-8], 1e-9)[0, 1]
    z = ndtri(1e-8)
    # covariance = phi(z)^2 r to first order
    density = np.exp(-z * z) / (2 * np.pi)
    assert rare * density * (1 + rare * z * z / 2) == pytest.approx(1e-9 * 1e-8, rel=0.02)


def test_bounds():
    low, high = correlation_bounds([0.1, 0.4, 0.8])
    # by the probabilities themselves: P(both) = max(0, a + b - 1) and min(a, b)
    for i, j, a, b in ((0, 1, 0.1, 0.4), (1, 2, 0.4, 0.8)):
        scale = np.sqrt(a * (1 - a) * b * (1 - b))
        assert low[i, j] == low[j, i] == pytest.approx((max(0, a + b - 1) - a * b) / scale, rel=1e-13)
        assert high[i, j] == pytest.approx((min(a, b) - a * b) / scale, rel=1e-13)
    assert latent_correlation([0.1, 0.4], high[0, 1])[0, 1] == pytest.approx(1, abs=1e-9)
    assert latent_correlation([0.1, 0.4], low[0, 1])[0, 1] == pytest.approx(-1, abs=1e-9)


def test_what_cannot_be_reached_is_told():
    inconsistent = np.array([[1, 0.6, 0.6], [0.6, 1, -0.6], [0.6, -0.6, 1]])
    with pytest.raises(ValueError, match=r"([0-9.]+) times these correlations can be reached") as raised:
        latent_correlation([0.5] * 3, inconsistent)
    share = float(str(raised.value).split(": ")[1].split()[0])
    apart = inconsistent - np.eye(3)
    latent_correlation([0.5] * 3, np.eye(3) + 0.999 * share * apart)
    with pytest.raises(ValueError, match="can be reached"):
        latent_correlation([0.5] * 3, np.eye(3) + 1.002 * share * apart)


# sampling


@pytest.mark.parametrize(
    ("on_rate", "rho", "method"),
    [
        (np.full(4, 0.15), 0.3, "one_factor"),
        (RATES, cut_correlation(RATES, 0.5), "one_factor"),
        (RATES, RHO, "gaussian"),
        (RATES, 0.0, "one_factor"),
        (np.full(3, 0.4), -0.2, "gaussian"),
        (np.array([0.3, 0.3]), 1.0, "one_factor"),
        (np.array([0.3, 0.7]), -1.0, "gaussian"),
    ],
)
def test_samples_have_what_was_asked_for(on_rate, rho, method):
    n = 40_000
    drawn = simulate_correlated(on_rate, rho, n, seed=5)
    assert drawn.method == method
    seen = measure_activity(drawn.samples)
    assert np.abs((seen.on_rate - on_rate) / seen.on_rate_stderr).max() < 4
    measured = np.corrcoef(drawn.samples.T)
    # the error of a correlation is at most some (1 + |1-2a|/sqrt(chi))/sqrt(n): 4 of them
    assert np.abs(measured - drawn.correlation).max() < 4 * 2.5 / np.sqrt(n)
    # negative control: shuffled samples have the on-rates and are told apart
    mixed = np.random.default_rng(0).permuted(drawn.samples, axis=0)
    if np.any(rho):
        assert np.abs(np.corrcoef(mixed.T) - drawn.correlation).max() > 4 * 2.5 / np.sqrt(n)


def test_one_factor_and_gaussian_are_one_distribution():
    # all pattern probabilities, not just pairs, by two samplers
    n = 40_000
    a, r = np.full(3, 0.3), cut_correlation(np.full(3, 0.3), 0.6)
    one = simulate_correlated(a, r, n, seed=1)
    bent = r.copy()
    bent[0, 1] = bent[1, 0] = r[0, 1] * (1 + 1e-9)  # too little to matter, enough for the other method
    two = simulate_correlated(a, bent, n, seed=2)
    assert (one.method, two.method) == ("one_factor", "gaussian")
    counts = [np.bincount(x.samples @ [1, 2, 4], minlength=8) for x in (one, two)]
    chi2 = ((counts[0] - counts[1]) ** 2 / (counts[0] + counts[1])).sum()
    assert chi2 < 24.3  # 0.1 % of chi-square with 7 degrees
    far = simulate_correlated(a, cut_correlation(a, 0.5), n, seed=3)
    counts[1] = np.bincount(far.samples @ [1, 2, 4], minlength=8)
    assert ((counts[0] - counts[1]) ** 2 / (counts[0] + counts[1])).sum() > 50  # negative control


def test_seed_repeats():
    assert simulate_correlated(RATES, RHO, 50, seed=2) == simulate_correlated(RATES, RHO, 50, seed=2)
    assert simulate_correlated(RATES, RHO, 50, seed=2) != simulate_correlated(RATES, RHO, 50, seed=3)


# enumeration


def test_pattern_probability_by_hand():
    p = pattern_probability([0.0, np.log(2)], [[0, np.log(3)], [np.log(3), 0]])
    np.testing.assert_allclose(p, np.array([1, 1, 2, 6]) / 10, rtol=1e-14)


def test_pattern_probability_equals_the_theory():
    from bbtheory import pairwise_code

    rng = np.random.default_rng(3)
    f, J = rng.normal(size=7), np.triu(rng.normal(size=(7, 7)), 1)
    J += J.T
    np.testing.assert_allclose(pattern_probability(f, J), pairwise_code(f, J).probability, rtol=1e-12)


def test_sampled_patterns_agree_with_their_enumeration():
    rng = np.random.default_rng(4)
    J = np.triu(rng.uniform(0, 1.5, (5, 5)), 1)
    p = pattern_probability(rng.uniform(-2, -0.5, 5), J + J.T)
    drawn = simulate_patterns(p, 50_000, seed=6)
    states = (np.arange(32)[:, None] >> np.arange(5)) & 1
    exact, seen = measure_coding(states, weights=p), measure_coding(drawn.samples)
    np.testing.assert_allclose(drawn.on_rate, exact.on_rate, rtol=1e-12)
    for name in ("pattern_entropy", "redundancy", "mean_abs_correlation", "participation_ratio"):
        gap = abs(getattr(seen, name) - getattr(exact, name))
        assert gap < 4 * getattr(seen, f"{name}_stderr"), name
    without = measure_coding(simulate_correlated(exact.on_rate, 0.0, 50_000).samples)
    assert abs(without.redundancy - exact.redundancy) > 10 * without.redundancy_stderr  # negative control


def test_impossible_patterns_are_never_drawn():
    p = np.array([0.0, 1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0])
    drawn = simulate_patterns(p, 5000)
    seen = np.bincount(drawn.samples @ [1, 2, 4], minlength=8)
    assert (seen[p == 0] == 0).all()
    assert np.isnan(drawn.correlation[2]).all()


# the local rule

SETTINGS = {"beta": 0.2, "d0": 4.0, "interval": 20, "n_refreshes": 4, "batch": 64}


def test_no_noise_no_movement():
    a = np.array([0.1, 0.2, 0.4])
    lived = simulate_correlated_balance(a, 0.2, ema_decay=0.9999, **SETTINGS)
    np.testing.assert_array_equal(lived.degree, np.rint(4 + np.log((1 - a) / a) / 0.2))
    np.testing.assert_allclose(lived.on_rate, a, rtol=1e-15)


def test_threshold_rule_only_cuts_and_ends_below_tau():
    a = np.array([0.05, 0.1, 0.2, 0.4])
    lived = simulate_correlated_balance(a, 0.2, rule="threshold", tau=2.0, **SETTINGS)
    assert (np.diff(lived.degree_trace, axis=0) <= 0).all()
    assert (lived.estimate * lived.degree <= 2.0).all()
    assert np.abs(lived.degree - 2.0 / a).max() <= 0.2 * (2.0 / a).max()


def test_on_rates_answer_to_degrees():
    a = np.array([0.2, 0.3])
    lived = simulate_correlated_balance(a, 0.1, sensitivity=0.05, start_degree=[30, 2], **SETTINGS)
    moved = np.log((1 - a) / a) - 0.05 * (lived.degree - [30, 2])
    np.testing.assert_allclose(np.log((1 - lived.on_rate) / lived.on_rate), moved, rtol=1e-12)
    assert (lived.degree != [30, 2]).all()


def test_correlated_units_err_together_and_independent_ones_do_not():
    a = np.full(30, 0.3)
    settings = SETTINGS | {"n_refreshes": 60, "interval": 30, "ema_decay": 0.9, "batch": 16}
    # EMAs 30 steps apart have forgotten each other
    together, apart = (
        simulate_correlated_balance(a, rho, seed=7, **settings).estimate_trace for rho in (0.4, 0.0)
    )
    for trace, rho in ((together, 0.4), (apart, 0.0)):
        pairs = np.corrcoef(trace.T)[np.triu_indices(30, 1)]
        assert abs(pairs.mean() - rho) < 0.12
    n_effective = 16 * (1 + 0.9) / (1 - 0.9)
    assert apart.std() == pytest.approx(np.sqrt(0.21 / n_effective), rel=0.08)


# two roads


def test_kernels_equal_their_python():
    z = ndtri(RATES)
    covariance = (RHO - np.eye(3)) * np.outer(np.sqrt(RATES * (1 - RATES)), np.sqrt(RATES * (1 - RATES)))
    # the compiler may fuse products: some units in the last place
    np.testing.assert_allclose(
        kernel.pair_angles(z, covariance), kernel.pair_angles.py_func(z, covariance), rtol=1e-13
    )
    latent = latent_correlation(RATES, RHO)
    np.testing.assert_allclose(
        kernel.pair_covariances(z, latent), kernel.pair_covariances.py_func(z, latent), rtol=1e-13
    )
    one = kernel.sample_one_factor(np.random.default_rng(0), z, 0.3, 200)
    assert (one == kernel.sample_one_factor.py_func(np.random.default_rng(0), z, 0.3, 200)).all()
    assert kernel.normal_cdf(-1.3) == pytest.approx(ndtr(-1.3), rel=1e-15)


@pytest.mark.parametrize("threshold_rule", [False, True])
def test_life_equals_its_python(threshold_rule):
    def lived(function):
        degree, estimate = np.array([9.0, 7.0, 30.0]), RATES.copy()
        factor = np.linalg.cholesky(latent_correlation(RATES, RHO))
        rng, log_odds = np.random.default_rng(0), np.log((1 - RATES) / RATES)
        return function(
            rng,
            factor,
            log_odds,
            0.02,
            degree,
            estimate,
            0.9,
            8,
            5,
            6,
            threshold_rule,
            0.2,
            4.0,
            1.5,
            0.0,
            64.0,
        )

    for jitted, plain in zip(lived(kernel.live), lived(kernel.live.py_func), strict=True):
        np.testing.assert_allclose(jitted, plain, rtol=1e-13)


BAD = [
    (simulate_correlated, ([0.0, 0.1], 0.0, 10), {}, r"on_rate must be numbers in \(0, 1\)"),
    (
        simulate_correlated,
        ([0.1, 0.5], 0.9, 10),
        {},
        r"units 0 and 1 must be in \[-0.333333333, 0.333333333\]",
    ),
    (simulate_correlated, ([0.1, 0.1], 2.0, 10), {}, r"correlation must be numbers in \[-1, 1\]"),
    (
        simulate_correlated,
        ([0.1, 0.1], np.eye(3), 10),
        {},
        r"correlation must be a number or have shape \(2, 2\)",
    ),
    (
        simulate_correlated,
        ([0.1, 0.1], [[1, 0.1], [0.2, 1]], 10),
        {},
        "correlation must be symmetric, got 0.1 at",
    ),
    (
        simulate_correlated,
        ([0.1, 0.1], [[1, 0], [0, 0.5]], 10),
        {},
        "correlation must have a unit diagonal, got 0.5",
    ),
    (simulate_correlated, (RATES, 0.0, 0), {}, "n_samples must be an integer in"),
    (simulate_correlated, (RATES, 0.0, 5), {"seed": -1}, "seed must be an integer in"),
    (simulate_correlated, (RATES, 0.0, 10**12), {}, "n_samples must need arrays of at most"),
    (simulate_correlated, (np.full(10**5, 0.1), 0.0, 5), {}, "on_rate must need arrays of at most"),
    (simulate_patterns, ([0.5, 0.5], 10**12), {}, "n_samples must need arrays of at most"),
    (pattern_probability, ([1e308, 1e308], np.zeros((2, 2))), {}, "field must be numbers in"),
    (simulate_correlated_balance, (RATES, RHO), {"batch": 10**30}, "batch must be an integer in"),
    (simulate_correlated_balance, (RATES, RHO), {"n_refreshes": 10**12}, "n_refreshes must need arrays"),
    (cut_correlation, (RATES, 1.5), {}, r"latent must be numbers in \[-1, 1\]"),
    (correlation_bounds, ([1.0],), {}, "on_rate must be numbers in"),
    (pattern_probability, (np.zeros(21), np.zeros((21, 21))), {}, "field must have at most 20 units"),
    (pattern_probability, ([0, 0], np.zeros((3, 3))), {}, "coupling must have shape"),
    (pattern_probability, ([0, 0], np.eye(2)), {}, "coupling must be symmetric with a zero diagonal"),
    (
        simulate_patterns,
        ([0.5, 0.25, 0.25], 5),
        {},
        "probability must have 2.n values, n from 1 to 20, got 3",
    ),
    (simulate_patterns, ([0.5, 0.4], 5), {}, "probability must sum to 1, got 0.9"),
    (simulate_patterns, ([0.5, 0.5], 0), {}, "n_samples must be an integer"),
    (simulate_correlated_balance, (RATES, RHO), {"rule": "no"}, "rule must be one of controller, threshold"),
    (simulate_correlated_balance, (RATES, RHO), {"beta": 0}, "beta must be a number in"),
    (simulate_correlated_balance, (RATES, RHO), {"d0": "x"}, "d0 must be a number in"),
    (simulate_correlated_balance, (RATES, RHO), {"tau": -1}, "tau must be a number in"),
    (simulate_correlated_balance, (RATES, RHO), {"min_degree": 64}, "max_degree must be above min_degree 64"),
    (simulate_correlated_balance, (RATES, RHO), {"ema_decay": 1.0}, "ema_decay must be a number in"),
    (simulate_correlated_balance, (RATES, RHO), {"batch": 0}, "batch must be an integer in"),
    (simulate_correlated_balance, (RATES, RHO), {"interval": 0}, "interval must be an integer in"),
    (simulate_correlated_balance, (RATES, RHO), {"n_refreshes": 0}, "n_refreshes must be an integer in"),
    (simulate_correlated_balance, (RATES, RHO), {"sensitivity": -1}, "sensitivity must be a number in"),
    (simulate_correlated_balance, (RATES, RHO), {"start_degree": [1]}, "start_degree must have shape"),
]


@pytest.mark.parametrize(("function", "args", "settings", "message"), BAD)
def test_bad_input(function, args, settings, message):
    with pytest.raises(ValueError, match=message):
        function(*args, **settings)

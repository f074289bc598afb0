import math

import numpy as np
import pytest
from scipy.stats import kstest

from bbtheory.fit import resampling
from bbtheory.fit import uncertainty as u


def with_constant(x):
    return np.column_stack([np.ones(len(x)), x])


def autoregressive(rng, n, rho, m=1):
    e = rng.standard_normal((m, n))
    for i in range(1, n):
        e[:, i] = rho * e[:, i - 1] + math.sqrt(1 - rho * rho) * e[:, i]
    return e


def test_persistence_is_recovered():
    rng = np.random.default_rng(2)
    design = with_constant(np.linspace(-1, 1, 60))
    # the least standard error of a mean of 200 is 0.01; the cap and the floor bias by a little more
    for rho in (0.3, 0.6, 0.8):
        found = [
            resampling.persistence(u.least_squares(design, e)) for e in autoregressive(rng, 60, rho, 200)
        ]
        assert np.mean(found) == pytest.approx(rho, abs=0.05)


def test_bootstrap_of_white_errors_has_the_ols_error():
    rng = np.random.default_rng(3)
    design = with_constant(np.arange(12.0))
    fit = u.least_squares(design, rng.standard_normal(12))
    while resampling.persistence(fit) > 0:
        fit = u.least_squares(design, rng.standard_normal(12))
    errors = resampling.autoregressive_errors(fit, 4000, rng)
    slopes = errors @ design @ fit.inverse_gram
    # a standard deviation of 4000 draws is known to 1 / sqrt(8000) = 1.1 %; three of those
    np.testing.assert_allclose(slopes.std(axis=0), np.sqrt(np.diag(u.ols_covariance(fit))), rtol=0.035)


def test_resampled_errors_leave_the_residuals_at_hand():
    rng = np.random.default_rng(9)
    design = with_constant(np.arange(20.0))
    fit = u.least_squares(design, autoregressive(rng, 20, 0.8)[0])
    assert resampling.persistence(fit) > 0.3
    errors = resampling.autoregressive_errors(fit, 20_000, rng)
    residuals = errors - errors @ design @ fit.inverse_gram @ design.T
    # the relative spread of one sum of squares is about 0.6
    assert np.mean(np.sum(residuals**2, axis=1)) == pytest.approx(fit.sum_squares, rel=0.02)


def coverage(n, rho, n_sets, seed):
    """Return how often the bootstrap interval and Student's interval of a slope hold the truth."""
    rng = np.random.default_rng(seed)
    design = with_constant(np.linspace(-1, 1, n))
    ours = student = 0
    for errors in autoregressive(rng, n, rho, n_sets):
        fit = u.least_squares(design, errors)
        draws = fit.coefficients + resampling.autoregressive_errors(fit, 300, rng) @ design @ fit.inverse_gram
        low, high = resampling.percentile_interval(draws, 0.95, fit.dof)[:, 1]
        ours += low <= 0 <= high
        half = u.student_quantile(0.95, fit.dof) * math.sqrt(u.ols_covariance(fit)[1, 1])
        student += abs(fit.coefficients[1]) <= half
    return ours / n_sets, student / n_sets


@pytest.mark.parametrize(("n", "rho", "least"), [(12, 0.0, 0.92), (44, 0.0, 0.92), (44, 0.5, 0.89)])
def test_bootstrap_intervals_cover(n, rho, least):
    # 400 sets: a coverage of 0.95 is known to 0.011, one of 0.92 to 0.014
    ours, student = coverage(n, rho, 400, 4)
    assert least <= ours <= 0.985
    # the control: an interval that takes the errors for independent fails where they are not
    assert (student < 0.85) == (rho > 0)


def test_percentile_interval_of_normal_draws_is_students():
    draws = np.random.default_rng(6).standard_normal(200_000)
    interval = resampling.percentile_interval(draws, 0.95, 10)
    # the density at the 1.3 % tail gives a quantile of 2e5 draws an error of 0.008
    np.testing.assert_allclose(interval, [-2.228, 2.228], atol=0.03)


def test_permutation_p_of_tiny_sets_is_that_of_all_orders():
    rng = np.random.default_rng(7)
    k = np.array([-1.5, -0.5, 0.5, 1.5])
    y = np.array([1.0, 2.0, 3.0, 4.0])  # of 24 orders only one gives this slope
    p = resampling.permutation_p(lambda rows: rows @ k, y, 20_000, rng)
    assert p == pytest.approx(1 / 24, abs=4 * math.sqrt(1 / 24 * 23 / 24 / 20_000))
    assert resampling.permutation_p(lambda rows: rows @ k, y[::-1].copy(), 500, rng) == 1.0
    assert resampling.permutation_p(lambda rows: rows @ k, np.ones(4), 500, rng) == 1.0
    steps = np.arange(20.0)
    assert resampling.permutation_p(lambda rows: rows @ steps, steps, 500, rng) == 1 / 501


def test_permutation_p_is_uniform_under_the_null_and_not_off_it():
    rng = np.random.default_rng(8)
    k = np.linspace(-1, 1, 15)

    def ps(slope):
        return [
            resampling.permutation_p(lambda rows: rows @ k, slope * k + rng.standard_normal(15), 199, rng)
            for _ in range(300)
        ]

    assert kstest(ps(0.0), "uniform").pvalue > 1e-3
    assert kstest(ps(0.5), "uniform").pvalue < 1e-6


def test_a_perfect_fit_leaves_nothing_to_resample():
    x = np.linspace(0, 1, 10)
    fit = u.least_squares(with_constant(x), 3 - 2 * x)
    assert resampling.persistence(fit) == 0
    assert not resampling.autoregressive_errors(fit, 5, np.random.default_rng(0)).any()

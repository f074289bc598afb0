import math

import numpy as np
import pytest
from scipy.stats import t

from bbtheory.fit import uncertainty as u

# NIST Statistical Reference Datasets, linear regression, Norris (36 points, lower difficulty), certified:
# https://www.itl.nist.gov/div898/strd/lls/data/Norris.shtml
NORRIS_Y = [
    *(0.1, 338.8, 118.1, 888.0, 9.2, 228.1, 668.5, 998.5, 449.1, 778.9, 559.2, 0.3, 0.1, 778.1, 668.8, 339.3),
    *(448.9, 10.8, 557.7, 228.3, 998.0, 888.8, 119.6, 0.3, 0.6, 557.6, 339.3, 888.0, 998.5, 778.9, 10.2),
    *(117.6, 228.9, 668.4, 449.2, 0.2),
]
NORRIS_X = [
    *(
        0.2,
        337.4,
        118.2,
        884.6,
        10.1,
        226.5,
        666.3,
        996.3,
        448.6,
        777.0,
        558.2,
        0.4,
        0.6,
        775.5,
        666.9,
        338.0,
    ),
    *(447.5, 11.6, 556.0, 228.1, 995.8, 887.6, 120.2, 0.3, 0.3, 556.8, 339.1, 887.2, 999.0, 779.0, 11.1),
    *(118.3, 229.2, 669.1, 448.9, 0.5),
]
# Longley (16 years, 7 coefficients, higher difficulty), certified:
# https://www.itl.nist.gov/div898/strd/lls/data/Longley.shtml
LONGLEY = np.array(
    [
        [60323, 83.0, 234289, 2356, 1590, 107608, 1947],
        [61122, 88.5, 259426, 2325, 1456, 108632, 1948],
        [60171, 88.2, 258054, 3682, 1616, 109773, 1949],
        [61187, 89.5, 284599, 3351, 1650, 110929, 1950],
        [63221, 96.2, 328975, 2099, 3099, 112075, 1951],
        [63639, 98.1, 346999, 1932, 3594, 113270, 1952],
        [64989, 99.0, 365385, 1870, 3547, 115094, 1953],
        [63761, 100.0, 363112, 3578, 3350, 116219, 1954],
        [66019, 101.2, 397469, 2904, 3048, 117388, 1955],
        [67857, 104.6, 419180, 2822, 2857, 118734, 1956],
        [68169, 108.4, 442769, 2936, 2798, 120445, 1957],
        [66513, 110.8, 444546, 4681, 2637, 121950, 1958],
        [68655, 112.6, 482704, 3813, 2552, 123366, 1959],
        [69564, 114.2, 502601, 3931, 2514, 125368, 1960],
        [69331, 115.7, 518173, 4806, 2572, 127852, 1961],
        [70551, 116.9, 554894, 4007, 2827, 130081, 1962],
    ]
)
# Longley's columns are nearly dependent: 5e9 times the rounding error, 1e-16, is left of 16 digits
LONGLEY_DIGITS = 1e-8


def with_constant(x):
    return np.column_stack([np.ones(len(x)), x])


@pytest.fixture(scope="module")
def gnp():
    """Employment on GNP, in order of years: a short series with autocorrelation."""
    return u.least_squares(with_constant(LONGLEY[:, 2]), LONGLEY[:, 0])


def test_norris_is_certified():
    fit = u.least_squares(with_constant(NORRIS_X), np.array(NORRIS_Y))
    np.testing.assert_allclose(fit.coefficients, [-0.262323073774029, 1.00211681802045], rtol=1e-11)
    stderr = np.sqrt(np.diag(u.ols_covariance(fit)))
    np.testing.assert_allclose(stderr, [0.232818234301152, 0.429796848199937e-03], rtol=1e-11)
    assert math.sqrt(fit.sum_squares / fit.dof) == pytest.approx(0.884796396144373, rel=1e-11)


def test_longley_is_certified():
    fit = u.least_squares(with_constant(LONGLEY[:, 1:]), LONGLEY[:, 0])
    certified = [
        *(-3482258.63459582, 15.0618722713733, -0.358191792925910e-01, -2.02022980381683),
        *(-1.03322686717359, -0.511041056535807e-01, 1829.15146461355),
    ]
    errors = [
        *(890420.383607373, 84.9149257747669, 0.334910077722432e-01, 0.488399681651699),
        *(0.214274163161675, 0.226073200069370, 455.478499142212),
    ]
    np.testing.assert_allclose(fit.coefficients, certified, rtol=LONGLEY_DIGITS)
    np.testing.assert_allclose(np.sqrt(np.diag(u.ols_covariance(fit))), errors, rtol=LONGLEY_DIGITS)


def test_robust_errors_are_those_of_statsmodels(gnp):
    # statsmodels 0.15.0: OLS(...).fit(cov_type="HAC", cov_kwds={"maxlags": 3, "use_correction": True}), "HC3"
    assert u.hac_lag(gnp.n) == 3
    hac = np.sqrt(np.diag(u.hac_covariance(gnp)))
    np.testing.assert_allclose(hac, [522.4319765418384, 0.0014251146373740991], rtol=1e-9)
    hc3 = np.sqrt(np.diag(u.hc3_covariance(gnp)))
    np.testing.assert_allclose(hc3, [588.1398253142788, 0.001561919042948443], rtol=1e-9)
    assert u.durbin_watson(gnp.residuals) == pytest.approx(1.6188392950489436, rel=1e-9)


def test_hac_is_its_double_sum(gnp):
    lag, n = u.hac_lag(gnp.n), gnp.n
    meat = np.zeros((2, 2))
    for s in range(n):
        for r in range(max(0, s - lag), min(n, s + lag + 1)):
            weight = 1 - abs(s - r) / (lag + 1)
            meat += weight * gnp.residuals[s] * gnp.residuals[r] * np.outer(gnp.design[s], gnp.design[r])
    expected = gnp.inverse_gram @ meat @ gnp.inverse_gram * n / (n - 2)
    np.testing.assert_allclose(u.hac_covariance(gnp), expected, rtol=1e-9)


def test_hac_test_uses_the_hac_error(gnp):
    t, p = u.hac_test(gnp, 1, np.random.default_rng(0))
    assert t == pytest.approx(gnp.coefficients[1] / math.sqrt(u.hac_covariance(gnp)[1, 1]), rel=1e-9)
    assert p == 1 / 5000


def test_lags_of_the_rule():
    assert [u.hac_lag(n) for n in (12, 43, 44, 100, 101)] == [3, 4, 4, 4, 5]


def test_hand_made_numbers():
    assert u.durbin_watson(np.array([1.0, -1.0, 1.0, -1.0])) == 3.0
    assert u.durbin_watson(np.ones(5)) == 0.0
    assert math.isnan(u.durbin_watson(np.zeros(3)))
    # ten residuals of mean square 1
    log_likelihood = u.gaussian_log_likelihood(10.0, 10)
    assert log_likelihood == pytest.approx(-5 * (math.log(2 * math.pi) + 1))
    assert u.bic(log_likelihood, 3, 10) == pytest.approx(-2 * log_likelihood + 3 * math.log(10))
    assert u.aicc(log_likelihood, 3, 10) == pytest.approx(-2 * log_likelihood + 6 + 24 / 6)
    assert u.aicc(log_likelihood, 9, 10) == math.inf
    assert u.student_quantile(0.95, 10) == pytest.approx(2.228139, abs=1e-6)  # any table of Student's t
    assert u.student_p(2.228139, 10) == pytest.approx(0.05, abs=1e-6)


def test_perfect_fits_have_a_floor():
    x = np.linspace(0, 1, 10)
    fit = u.least_squares(with_constant(x), 3 - 2 * x)
    assert fit.exact
    assert math.isfinite(u.gaussian_log_likelihood(fit.sum_squares, 10))
    assert u.hac_test(fit, 1, np.random.default_rng(0)) == (0.0, 1.0)


def test_hc3_leaves_out_a_point_that_fixes_its_own_coefficient():
    design = np.column_stack([np.ones(6), np.eye(6)[0]])
    fit = u.least_squares(design, np.array([9.0, 1, 2, 3, 2, 1]))
    assert np.isfinite(u.hc3_covariance(fit)).all()


@pytest.mark.parametrize(
    ("design", "expected"),
    [
        (np.ones((2, 2)), "more than 2 points, got 2"),
        (np.ones((5, 2)), "linearly independent"),
        (np.zeros((5, 1)), "linearly independent"),
    ],
)
def test_bad_designs(design, expected):
    with pytest.raises(ValueError, match=expected):
        u.least_squares(design, np.arange(design.shape[0], dtype=float))


def test_hac_test_has_its_size_and_students_p_does_not():
    rng = np.random.default_rng(5)
    x = np.linspace(-1, 1, 12)
    design = np.column_stack([np.ones(12), x, x * x])
    ours = student = 0
    n_sets = 1000
    for _ in range(n_sets):
        fit = u.least_squares(design, rng.standard_normal(12))
        t, p = u.hac_test(fit, 2, rng, n_null=499)
        ours += p <= 0.01
        student += u.student_p(t, fit.dof) < 0.01
    # 1 % of 1000 is 10 +- 3.1
    assert 2 <= ours <= 21
    assert student > 50


def test_students_p_is_scipys():
    assert u.student_p(-1.7, 7) == pytest.approx(2 * t.sf(1.7, 7), rel=1e-12)


def test_mean_interval_covers_at_its_level():
    rng = np.random.default_rng(0)
    mean, interval = u.mean_interval(rng.normal(2.0, 3.0, (8, 4000)))
    covered = np.mean((interval[0] <= 2.0) & (interval[1] >= 2.0))
    # standard error of a share of 4000 is 0.0034
    assert covered == pytest.approx(0.95, abs=0.014)
    assert interval.mean(axis=0) == pytest.approx(mean)
    half = t.ppf(0.975, 2) * np.sqrt(1.0 / 3.0)
    assert u.mean_interval(np.array([1.0, 2.0, 3.0]))[1] == pytest.approx([2 - half, 2 + half])
    assert np.isnan(u.mean_interval(np.ones((1, 3)))[1]).all()
    mean, ends = u.mean_interval(np.array([[1.0, np.nan], [2.0, np.nan], [3.0, 5.0], [np.nan, np.nan]]))
    assert mean == pytest.approx([2.0, 5.0])
    assert ends[:, 0] == pytest.approx([2 - half, 2 + half])
    assert np.isnan(ends[:, 1]).all()


def test_one_sample_as_three_numbers():
    values = [1.0, math.nan, 2.0, 3.0]
    half = t.ppf(0.975, 2) * np.sqrt(1.0 / 3.0)
    assert u.mean_low_high(values) == pytest.approx((2.0, 2.0 - half, 2.0 + half))
    assert u.mean_low_high(values, 0.5)[1] > 2.0 - half
    assert u.mean_low_high([4.0]) == pytest.approx((4.0, math.nan, math.nan), nan_ok=True)
    assert np.isnan(u.mean_low_high([])).all()


def test_mean_of_what_is_finite():
    assert u.finite_mean([1.0, math.nan, math.inf, 3.0]) == 2.0
    assert math.isnan(u.finite_mean([math.nan]))
    assert math.isnan(u.finite_mean([]))

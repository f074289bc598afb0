import numpy as np
import pytest
from scipy import optimize, special

from bbtheory.theory import balance, dual
from bbtheory.theory.entropy import inactivity_log_odds, traffic


def test_the_line_and_its_on_rates():
    k = np.arange(0, 40)
    a = balance.balanced_on_rate(k, 0.3, d0=5.0)
    np.testing.assert_allclose(a, special.expit(-0.3 * (k - 5.0)), rtol=1e-14)
    np.testing.assert_allclose(inactivity_log_odds(a), 0.3 * (k - 5.0), atol=1e-12)


@pytest.mark.parametrize("beta", [0.01, 0.5, 30.0])
def test_no_unit_on_the_line_exceeds_the_threshold(beta):
    tau = balance.threshold_for_beta(beta)
    found = optimize.minimize_scalar(
        lambda k: -k * float(balance.balanced_on_rate([k], beta)[0]),
        bracket=(0.5 / beta, 2 / beta),
        tol=1e-12,
    )
    assert -found.fun == pytest.approx(tau, rel=1e-10)
    assert balance.beta_for_threshold(tau) == pytest.approx(beta, rel=1e-15)
    # a threshold 1 % lower cuts the line
    k = np.linspace(0, 5 / beta, 10_001)
    assert traffic(balance.balanced_on_rate(k, beta), k).max() > 0.99 * tau


def cut_until_quiet(a, tau, k):
    """The rule itself: cut one link while the traffic is above the threshold."""
    while a * k > tau:
        k -= 1
    return k


def test_the_threshold_rule_ends_on_a_hyperbola():
    a = np.random.default_rng(0).uniform(0.01, 1, 200)
    expected = [cut_until_quiet(x, 3.3, 64) for x in a]
    assert balance.threshold_degree(a, 3.3, 64).tolist() == expected
    assert balance.threshold_degree([0.0], 3.3, 64)[0] == 64


# fits of a line to the hyperbola k = tau/a: reference R^2 of the log-odds, grid of on-rates uniform in (low, 0.5]
@pytest.mark.parametrize(("low", "expected"), [(0.3, 0.988), (0.15, 0.95), (0.05, 0.86), (0.01, 0.66)])
def test_r_squared_hides_the_hyperbola_below_a_decade(low, expected):
    a = np.linspace(low, 0.5, 2001)
    r = np.corrcoef(1 / a, inactivity_log_odds(a))[0, 1]
    assert r**2 == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: balance.balanced_on_rate([-1], 1.0), "fan_out must be"),
        (lambda: balance.balanced_on_rate([1], -1.0), "beta must be"),
        (lambda: balance.balanced_on_rate([1], 1.0, d0=np.inf), "d0 must be"),
        (lambda: balance.threshold_for_beta(0.0), r"beta must be a number in \(0, inf\), got 0.0"),
        (lambda: balance.beta_for_threshold(np.nan), "threshold must be"),
        (lambda: balance.threshold_degree([1.5], 1.0, 5), r"on_rate must be numbers in \[0, 1\], got 1.5"),
        (lambda: balance.threshold_degree([0.5], 0.0, 5), "threshold must be"),
        (lambda: balance.threshold_degree([0.5], 1.0, 0), "max_degree must be"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_brackets_bound_is_the_maximum_traffic():
    assert dual.bracket(1, 2.0, 0.0) == balance.beta_for_threshold(2.0)

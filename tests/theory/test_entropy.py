import math

import mpmath
import numpy as np
import pytest
from scipy import special

from bbtheory.theory import entropy

A = np.concatenate([[0.0, 1.0, 0.5, 5e-324, 1e-300, 1 - 1e-16], np.logspace(-20, -0.001, 50)])


def test_binary_entropy_exact():
    assert entropy.binary_entropy([0.0, 0.5, 1.0]).tolist() == [0.0, math.log(2), 0.0]
    assert entropy.binary_entropy(0.25) == pytest.approx(
        0.25 * math.log(4) + 0.75 * math.log(4 / 3), rel=1e-15
    )


def test_binary_entropy_against_scipy():
    expected = special.entr(A) + special.entr(1 - A)
    np.testing.assert_allclose(entropy.binary_entropy(A), expected, rtol=2e-15, atol=1e-16)


def test_binary_entropy_keeps_digits_of_small_on_rates():
    with mpmath.workdps(50):
        for a in (1e-5, 1e-12, 1e-200):
            x = mpmath.mpf(a)
            exact = float(-x * mpmath.log(x) - (1 - x) * mpmath.log1p(-x))
            assert float(entropy.binary_entropy(a)) == pytest.approx(exact, rel=1e-15)


def test_log_odds_and_their_inverse():
    inside = A[(A > 0) & (A < 1)]
    np.testing.assert_allclose(
        entropy.inactivity_log_odds(inside), -special.logit(inside), rtol=1e-14, atol=2e-16
    )
    assert entropy.inactivity_log_odds([0.0, 1.0]).tolist() == [math.inf, -math.inf]
    x = np.array([-800.0, -30.0, -1e-9, 0.0, 1e-9, 30.0, 700.0])
    np.testing.assert_allclose(entropy.on_rate_from_log_odds(x), special.expit(-x), rtol=2e-15)
    assert entropy.on_rate_from_log_odds([746.0, math.inf, -math.inf]).tolist() == [0.0, 0.0, 1.0]
    small = inside[inside < 0.5]
    np.testing.assert_allclose(
        entropy.on_rate_from_log_odds(entropy.inactivity_log_odds(small)), small, rtol=2e-13
    )


def test_coding_entropy_and_traffic_sum():
    a, k = np.array([0.5, 0.1]), np.array([2, 10])
    assert entropy.coding_entropy(a) == pytest.approx(
        float(special.entr(a).sum() + special.entr(1 - a).sum())
    )
    assert entropy.traffic(a, k).tolist() == [1.0, 1.0]


def test_constants_are_lamberts_function():
    w = float(special.lambertw(1 / math.e).real)
    assert pytest.approx(w, rel=1e-15) == entropy.MAX_BALANCED_TRAFFIC
    assert pytest.approx(w / (1 + w), rel=1e-15) == entropy.ON_RATE_OF_MAX_TRAFFIC


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: entropy.binary_entropy(2.0), r"on_rate must be numbers in \[0, 1\], got 2.0"),
        (lambda: entropy.binary_entropy([-1, 0.5]), "got -1.0 at index 0"),
        (lambda: entropy.inactivity_log_odds([0.5, np.nan]), "got nan at index 1"),
        (lambda: entropy.coding_entropy([]), "on_rate must not be empty"),
        (lambda: entropy.coding_entropy("x"), "on_rate must be an array of real numbers"),
        (lambda: entropy.traffic([0.1], [-1]), "fan_out must be"),
        (lambda: entropy.traffic([0.1, 0.2], [1, 2, 3]), "fan_out must broadcast with on_rate"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()

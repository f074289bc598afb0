"""The static exponent recovered from samples, and compensation against a simulated iterative pruning."""

import numpy as np
import pytest

from bbtheory.theory.compensation import (
    StaticExponent,
    compensated_exponent,
    compensation_exponent,
    static_exponent,
)


def test_exact_power_quantiles_have_their_exponent():
    saliency = (np.arange(1.0, 10_001.0) / 10_001.0) ** (-1 / 1.7)
    found = static_exponent(saliency, low_density=0.01, high_density=0.3)
    # spacings i ln((i + 1)/i)/1.7 instead of 1/1.7: relative 1/(2 i), i >= 100
    assert found.exponent == pytest.approx(1.7, rel=1 / 200)
    assert (found.low_density, found.high_density, found.n_used) == (0.01, 0.3, 2900)


def test_recovery_within_the_stated_error():
    rng = np.random.default_rng(31)
    misses = []
    for alpha in (0.6, 1.0, 2.5):
        for _ in range(40):
            found = static_exponent(rng.uniform(size=5000) ** (-1 / alpha), low_density=0.002)
            misses.append((found.exponent - alpha) / found.exponent_stderr)
    misses = np.array(misses)
    # 120 standard normal draws: mean within 4/sqrt(120), standard deviation within 4/sqrt(240) of 1
    assert abs(misses.mean()) < 0.37
    assert abs(misses.std() - 1.0) < 0.26
    wrong = static_exponent(rng.uniform(size=5000) ** (-1 / 1.2), low_density=0.002)
    assert abs(wrong.exponent - 1.0) > 4 * wrong.exponent_stderr


def test_a_bent_tail_has_local_exponents():
    saliency = np.abs(np.random.default_rng(32).normal(size=200_000))
    steep = static_exponent(saliency, low_density=0.001, high_density=0.01)
    flat = static_exponent(saliency, low_density=0.3, high_density=0.5)
    # x phi(x)/Phi(-x) is near 1.0 to 1.2 at densities of 0.3 to 0.5 and 7 to 11 at 0.01 to 0.001
    assert 0.6 < flat.exponent < 1.2
    assert 6.5 < steep.exponent < 12


@pytest.mark.parametrize(("alpha", "growth", "kept"), [(1.5, 0.05, 0.9), (0.8, 0.3, 0.7), (2.0, -0.02, 0.9)])
def test_iterative_pruning_shows_the_compensated_exponent(alpha, growth, kept):
    saliency = (np.arange(1.0, 400_001.0) / 400_001.0) ** (-1 / alpha)
    density, threshold, scale, n = [], [], 1.0, saliency.size
    while n > 4000:
        n = round(kept * n)
        threshold.append(scale * saliency[n])  # the largest value removed
        density.append(n / saliency.size)
        scale *= 1.0 + growth
    measured = -np.polyfit(np.log(threshold), np.log(density), 1)[0]
    predicted = compensated_exponent(alpha, compensation_exponent(growth, kept))
    # ranks are rounded to 1 in 4000 at worst
    assert measured == pytest.approx(predicted, rel=1e-3)
    assert measured != pytest.approx(alpha, rel=1e-2)


def test_limits():
    assert compensation_exponent(0.0, 0.5) == 0.0
    assert compensation_exponent(1.0, 0.5) == pytest.approx(1.0)
    assert compensated_exponent(1.5, 0.0) == pytest.approx(1.5)
    two = static_exponent([1.0, 2.0], low_density=0.1, high_density=1.0)
    assert (two.exponent, two.n_used) == (pytest.approx(1 / np.log(2)), 1)


def test_record_round_trips(tmp_path):
    found = static_exponent(np.arange(1.0, 100.0), high_density=0.4)
    found.save(tmp_path / "static.json")
    assert StaticExponent.load(tmp_path / "static.json") == found


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: static_exponent([]), "saliency must not be empty"),
        (
            lambda: static_exponent([1.0, -1.0]),
            r"saliency must be finite numbers in \[0, inf\), got -1.0 at index 1",
        ),
        (lambda: static_exponent(np.ones(10)), "saliency must vary between the densities of the window"),
        (
            lambda: static_exponent([0.0, 0.0, 0.0, 1.0], high_density=1.0),
            "saliency must be positive at all densities",
        ),
        (
            lambda: static_exponent(np.arange(1.0, 9.0), low_density=0.5),
            "low_density must be below high_density = 0.5",
        ),
        (
            lambda: static_exponent(np.arange(1.0, 9.0), high_density=1.5),
            r"high_density must be a number in \(0, 1\]",
        ),
        (lambda: static_exponent([1.0, 2.0]), "the window of densities must hold at least two of 2 ranks"),
        (lambda: compensation_exponent(-1.0, 0.9), r"growth must be a number in \(-1, inf\), got -1.0"),
        (lambda: compensation_exponent(0.1, 1.0), r"kept must be a number in \(0, 1\), got 1.0"),
        (lambda: compensated_exponent(0.0, 0.1), "static must be a number"),
        (lambda: compensated_exponent(2.0, -0.5), "compensation must be above -1/static = -0.5, got -0.5"),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()

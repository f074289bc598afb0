"""Density under pressure: exact small cases, sums by another road, limits, a sliding variable."""

import math

import numpy as np
import pytest

from bbtheory.theory.flux import PressureCurve, converged_pressure, density_under_pressure

# a sum of n positive float64 terms in blocks, against math.fsum: far more than any n here can lose
SUM_TOLERANCE = 1e-13


def exact_density(flux, pressure):
    """The definition, correctly rounded sum."""
    return math.fsum(max(0.0, (f - pressure) / f) for f in flux if f > 0) / len(flux)


def test_four_weights_by_hand():
    curve = density_under_pressure([1.0, 2.0, 4.0, -1.0], [0.0, 0.5, 1.0, 2.0, 3.0, 4.0])
    assert curve.density == pytest.approx(
        [0.75, (0.5 + 0.75 + 0.875) / 4, (0.5 + 0.75) / 4, 0.125, 0.0625, 0]
    )
    assert curve.alive == pytest.approx([0.75, 0.75, 0.5, 0.25, 0.25, 0.0])
    assert curve.slope == pytest.approx([-1.75 / 4, -1.75 / 4, -0.75 / 4, -0.25 / 4, -0.25 / 4, 0.0])
    assert curve.status == "collapsed"
    hard = density_under_pressure([1.0, 2.0, 4.0, -1.0], [0.0, 0.5, 1.0, 2.0, 3.0], law="threshold")
    assert hard.density == pytest.approx([0.75, 0.75, 0.5, 0.25, 0.25])
    assert np.isnan(hard.slope).all()
    assert np.isnan(hard.exponent).all()
    assert hard.status == "alive"


@pytest.mark.parametrize("spread", [0.1, 2.0, 30.0])
def test_one_pass_agrees_with_the_definition(spread):
    rng = np.random.default_rng(5)
    flux = np.exp(spread * rng.normal(size=2000))
    flux[::7] *= -1.0
    positive = np.sort(flux[flux > 0])
    # the last pressures leave one weight at a density of 1e-12: relative accuracy must hold there
    pressure = np.concatenate(
        [
            positive[[0, 100, 900, -2]],
            np.quantile(positive, [0.2, 0.5, 0.99]),
            positive[-1] * (1 - np.array([1e-3, 1e-9])),
        ]
    )
    curve = density_under_pressure(flux, pressure)
    expected = [exact_density(flux, p) for p in pressure]
    assert curve.density == pytest.approx(expected, rel=SUM_TOLERANCE, abs=0)
    naive = np.array([np.maximum(1.0 - p / positive, 0.0).sum() / flux.size for p in pressure])
    assert naive == pytest.approx(expected, rel=1e-6)


def test_the_naive_sum_would_fail_this_tolerance():
    flux, pressure = np.array([1.0, 3.0]), 3.0 * (1.0 - 1e-9)
    naive = (1.0 - pressure * (1.0 / flux[1])) / 2.0
    assert naive != pytest.approx(exact_density(flux, pressure), rel=SUM_TOLERANCE, abs=0)
    assert density_under_pressure(flux, pressure).density[0] == pytest.approx(
        exact_density(flux, pressure), rel=SUM_TOLERANCE, abs=0
    )


def test_slope_and_exponent_are_derivatives():
    flux = np.exp(np.random.default_rng(6).normal(size=500))
    pressure = np.array([0.01, 0.3, 1.0, 4.0])
    curve = density_under_pressure(flux, pressure)
    # the curve is linear between fluxes, so a step that crosses none has no truncation error
    step = 1e-7
    ahead = density_under_pressure(flux, pressure + step)
    assert np.array_equal(ahead.alive, curve.alive)
    assert (ahead.density - curve.density) / step == pytest.approx(curve.slope, rel=1e-7)
    assert curve.exponent == pytest.approx(curve.alive / curve.density - 1.0, rel=1e-9)


def test_order_and_shape_of_pressures_do_not_matter():
    flux = np.random.default_rng(7).exponential(size=300)
    pressure = np.geomspace(1e-3, 3.0, 40)
    shuffled = np.random.default_rng(8).permutation(40)
    curve, other = density_under_pressure(flux, pressure), density_under_pressure(flux, pressure[shuffled])
    assert np.array_equal(other.density, curve.density[shuffled])
    assert np.array_equal(other.slope, curve.slope[shuffled])
    assert np.array_equal(other.pressure, pressure[shuffled])
    assert density_under_pressure(flux, 0.5).density.shape == (1,)
    twice = density_under_pressure(flux, [0.5, 0.5, 0.1])
    assert twice.density[0] == twice.density[1]


def test_limits():
    flux = np.full(10, 2.5)
    equal = density_under_pressure(flux, [0.0, 1.0, 2.5, 2.6])
    assert equal.density == pytest.approx([1.0, 0.6, 0.0, 0.0], abs=1e-15)
    assert equal.exponent[:2] == pytest.approx([0.0, 2 / 3])
    assert np.isnan(equal.exponent[2:]).all()
    one = density_under_pressure([3.0], [1.5])
    assert one.density[0] == 0.5
    none = density_under_pressure([-1.0, 0.0, 1e-320], [0.0, 1.0])
    assert np.array_equal(none.density, [0.0, 0.0])
    assert none.status == "collapsed"
    extreme = density_under_pressure([1e300, 1e-300], [1e-305, 1e299])
    assert extreme.density == pytest.approx([1.0 - 0.5e-5, 0.45])


def test_record_round_trips(tmp_path):
    curve = density_under_pressure(np.arange(1.0, 100.0), np.linspace(0.0, 120.0, 7))
    curve.save(tmp_path / "curve.json")
    assert PressureCurve.load(tmp_path / "curve.json") == curve
    public = curve.to_dict()
    assert public["kind"] == "pressure_curve"
    assert public["units"]["exponent"][-1] is None
    assert list(curve.to_frame()) == ["pressure", "density", "alive", "exponent"]


@pytest.mark.parametrize("update", ["sgd", "momentum"])
def test_a_sliding_presence_variable_is_present_the_duty_cycle(update):
    """Linear optimizers of t: the mean gradient over a long run must vanish, whatever the step."""
    flux, pressure, n_steps, lr = np.array([0.5, 1.0, 1.1, 1.5, 3.0, 10.0, 80.0]), 1.0, 20_000, 1e-2
    t, velocity, present = np.full(flux.size, 0.3), np.zeros(flux.size), np.zeros(flux.size)
    for _ in range(n_steps):
        on = t >= 0
        present += on
        gradient = pressure - flux * ~on
        velocity = 0.9 * velocity + gradient if update == "momentum" else gradient
        t -= lr * velocity
    # t moves from 0.3 to within one swing of 0: its net drift bounds the error of the mean, and the weights
    # below the pressure are present only on the way down
    swing = 0.3 + lr * (10.0 if update == "momentum" else 1.0) * flux
    bound = swing / (lr * n_steps * flux * (0.1 if update == "momentum" else 1.0)) + 0.3 / (lr * n_steps)
    expected = np.maximum(0.0, 1.0 - pressure / flux)
    assert (np.abs(present / n_steps - expected) <= bound).all()
    assert not (np.abs(present / n_steps - (flux > pressure)) <= bound).all()  # the hard threshold is refuted
    assert present.sum() / n_steps / flux.size == pytest.approx(
        density_under_pressure(flux, pressure).density[0], abs=bound.max()
    )


def test_converged_pressure_is_where_adam_just_arrives():
    n_weights, n_steps, lr, start = 1_000_000, 500, 1e-3, 0.3
    pressure = converged_pressure(n_weights=n_weights, n_steps=n_steps, learning_rate=lr, start=start)

    def end(gamma):
        gradient, first, second, t = gamma / n_weights, 0.0, 0.0, start
        for k in range(1, n_steps + 1):
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            t -= lr * (first / (1 - 0.9**k)) / (math.sqrt(second / (1 - 0.999**k)) + 1e-8)
        return t

    assert end(pressure) == pytest.approx(0.0, abs=1e-9)
    assert end(0.99 * pressure) > 1e-4
    assert end(1.01 * pressure) < -1e-4
    assert converged_pressure(n_weights=10, n_steps=299, learning_rate=1e-3, start=0.3) == math.inf
    assert converged_pressure(n_weights=10, n_steps=900, learning_rate=1e-3, eps=0.0) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: density_under_pressure([], 1.0), "flux must not be empty"),
        (lambda: density_under_pressure([[1.0]], 1.0), "flux must have 1 axis"),
        (
            lambda: density_under_pressure([1.0, np.nan], 1.0),
            "flux must be finite numbers .* got nan at index 1",
        ),
        (lambda: density_under_pressure([np.inf], 1.0), "flux must be finite"),
        (lambda: density_under_pressure(["a"], 1.0), "flux must be an array of real numbers"),
        (lambda: density_under_pressure([1.0], [0.5, -1.0]), r"pressure .* \[0, inf\), got -1.0 at index 1"),
        (lambda: density_under_pressure([1.0], np.inf), "pressure must be finite"),
        (lambda: density_under_pressure([1.0], []), "pressure must not be empty"),
        (
            lambda: density_under_pressure([1.0], 1.0, law="hard"),
            "law must be one of duty_cycle, threshold, got 'hard'",
        ),
        (
            lambda: converged_pressure(n_weights=0, n_steps=1, learning_rate=1.0),
            "n_weights must be an integer",
        ),
        (lambda: converged_pressure(n_weights=1, n_steps=0, learning_rate=1.0), "n_steps must be an integer"),
        (
            lambda: converged_pressure(n_weights=1, n_steps=1, learning_rate=0.0),
            "learning_rate must be a number",
        ),
        (
            lambda: converged_pressure(n_weights=1, n_steps=1, learning_rate=1.0, eps=-1.0),
            "eps must be a number",
        ),
        (
            lambda: converged_pressure(n_weights=1, n_steps=1, learning_rate=1.0, start=0.0),
            "start must be a number",
        ),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()

import math

import numpy as np
import pytest

from bbtheory import stability_boundary
from bbtheory.theory.refresh_stability import (
    gain_limit,
    gain_margin,
    leading_modulus,
    leading_multiplier,
    multiplier_pair,
    oscillation_gain,
)

# closed forms of a few float64 operations against others
ROUNDING = 1e-12


def roots(gain, memory, p):
    """The definition: eigenvalues of the two-variable map of one unit."""
    slope = -1.0  # any value: only gain = -response * slope enters
    response = gain
    jacobian = [
        [memory, (1 - memory) * response],
        [p * slope * memory, 1 - p + p * slope * (1 - memory) * response],
    ]
    found = np.linalg.eigvals(np.array(jacobian))
    return found[np.argsort(-np.abs(found))]


@pytest.mark.parametrize("p", [1.0, 0.6, 0.05])
@pytest.mark.parametrize("memory", [0.0, 0.3, 0.99])
def test_multipliers_are_eigenvalues(p, memory):
    gains = np.array([-3.0, -1.0, -0.4, 0.0, 0.2, 1.0, 1.7, 30.0])
    pairs = multiplier_pair(gains, memory, p)
    real, modulus = leading_multiplier(gains, memory, p), leading_modulus(gains, memory, p)
    for gain, pair, x, size in zip(gains, pairs, real, modulus, strict=True):
        expected = roots(gain, memory, p)
        # a double root is found to the square root of the rounding
        assert np.poly(pair) == pytest.approx(np.poly(expected), abs=ROUNDING)
        assert size == pytest.approx(abs(expected[0]), abs=1e-7)
        assert abs(x) == pytest.approx(abs(expected[0].real), abs=1e-7)
    if p == 1:
        assert real == pytest.approx(memory - (1 - memory) * gains, abs=ROUNDING)


@pytest.mark.parametrize("p", [1.0, 0.6, 0.05])
@pytest.mark.parametrize("memory", [0.01, 0.5, 0.97])
def test_limits_are_where_the_roots_say(p, memory):
    limit, onset = gain_limit(memory, p), oscillation_gain(memory, p)
    for gain in (limit, -1.0):
        assert leading_modulus(gain, memory, p) == pytest.approx(1.0, abs=1e-9)
        assert leading_modulus(gain * 0.999, memory, p) < 1 < leading_modulus(gain * 1.001, memory, p)
        assert gain_margin(gain, memory, p) == pytest.approx(0.0, abs=ROUNDING)
    # on the quiet side both roots are real and positive
    quiet, loud = multiplier_pair([onset * 0.99, onset * 1.01], memory, p)
    assert (quiet.imag == 0).all()
    assert (quiet.real > -ROUNDING).all()
    assert loud[0].imag != 0 or loud.real.min() < 0
    assert gain_margin(0.0, memory, p) == 1.0
    assert gain_margin(limit / 2, memory, p) == pytest.approx(0.5)
    assert gain_margin(-0.25, memory, p) == 0.75


@pytest.mark.parametrize("onset", ["instability", "oscillation"])
@pytest.mark.parametrize("p", [1.0, 0.4])
def test_boundary_is_one_surface(onset, p):
    """Each knob found from the other two gives them back; the other road is a bisection on the roots."""
    slope, decay, memory = 2.0, 0.98, np.array([0.9, 0.75, 0.65])
    beta = slope / (gain_limit if onset == "instability" else oscillation_gain)(memory, p)
    interval = stability_boundary(slope, ema_decay=decay, beta=beta, step_fraction=p, onset=onset)
    assert interval == pytest.approx(np.log(memory) / math.log(decay), rel=1e-9)
    back = stability_boundary(slope, ema_decay=decay, interval=interval, step_fraction=p, onset=onset)
    assert back == pytest.approx(beta, rel=1e-9)
    again = stability_boundary(slope, beta=beta, interval=interval, step_fraction=p, onset=onset)
    assert again == pytest.approx(decay, rel=1e-12)

    def quiet(delta, b):
        pair = multiplier_pair(slope / b, decay**delta, p)
        if onset == "instability":
            return np.abs(pair).max() < 1
        return (pair.imag == 0).all() and pair.real.min() >= 0

    for b, found in zip(beta, interval, strict=True):
        low, high = 1.0, 1.0
        while quiet(high, b):
            low, high = high, 1.3 * high
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if quiet(middle, b) else (low, middle)
        assert found == pytest.approx(low, rel=1e-7)


def test_boundary_by_hand():
    # g = 2: unstable from M = 1/3, sign changes from M = 2/3
    assert stability_boundary(1.0, ema_decay=0.98, beta=0.5) == pytest.approx(
        math.log(1 / 3) / math.log(0.98)
    )
    assert stability_boundary(1.0, ema_decay=0.98, beta=0.5, onset="oscillation") == pytest.approx(
        math.log(2 / 3) / math.log(0.98)
    )
    assert stability_boundary(1.0, ema_decay=0.98, beta=0.5).shape == ()


def test_boundary_limits():
    # a gain below 1 is stable at every interval, with any EMA or none
    assert stability_boundary(0.5, ema_decay=0.98, beta=1.0) == math.inf
    assert stability_boundary(0.5, interval=1000, beta=1.0) == 0.0
    # without a memory a gain above 1 is unstable at every interval, and beta alone decides
    assert stability_boundary(2.0, ema_decay=0.0, beta=1.0) == 0.0
    assert stability_boundary(2.0, ema_decay=0.0, interval=1) == 2.0
    # ... and every gain oscillates
    assert stability_boundary(2.0, ema_decay=0.0, interval=1, onset="oscillation") == math.inf
    # longer intervals need a flatter line
    beta = stability_boundary(1.0, ema_decay=0.98, interval=[1, 10, 100, 1000])
    assert (np.diff(beta) > 0).all()
    assert beta[-1] == pytest.approx(1.0)
    # a smaller step lets the interval be longer
    by_step = [stability_boundary(1.0, ema_decay=0.98, beta=0.2, step_fraction=p) for p in (1.0, 0.7, 0.4)]
    assert by_step == sorted(by_step)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 1.0}, "exactly two of interval, ema_decay, beta"),
        ({"beta": 1.0, "ema_decay": 0.5, "interval": 3}, "exactly two"),
        ({"sensitivity": 0.0, "beta": 1.0, "interval": 3}, "sensitivity"),
        ({"sensitivity": math.nan, "beta": 1.0, "interval": 3}, "sensitivity"),
        ({"beta": 0.0, "interval": 3}, "beta"),
        ({"beta": 1.0, "interval": 0.5}, "interval"),
        ({"beta": 1.0, "ema_decay": 1.0}, "ema_decay"),
        ({"beta": 1.0, "ema_decay": 0.9, "step_fraction": 0.0}, "step_fraction"),
        ({"beta": 1.0, "ema_decay": 0.9, "onset": "flip"}, "onset"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        stability_boundary(**({"sensitivity": 1.0} | arguments))

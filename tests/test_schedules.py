"""Trajectories and pressure recursions against the authors' figures and against their definitions."""

import math
from itertools import pairwise

import pytest

from bbtheory.schedules import (
    PressureState,
    cubic_trajectory,
    exponential_trajectory,
    follow_trajectory,
    iterative_rounds,
    iterative_trajectory,
    linear_trajectory,
    ratchet_pressure,
    sigmoid_factor,
    sigmoid_trajectory,
    staircase_pressure,
)

# percent in the reference, fractions here; the figures are given to 4 digits and a to 6
REFERENCE = [
    (0.02, 100, 0.924170, {10: 0.4792, 25: 0.1719, 50: 0.04663, 75: 0.02471}),
    (0.01, 100, 0.910993, {50: 0.02688}),
    (0.05, 100, 0.941790, {50: 0.09649}),
    (0.035, 80, 0.918680, {40: 0.07197}),
]


@pytest.mark.parametrize(("target", "epochs", "factor", "densities"), REFERENCE)
def test_sigmoid_trajectory_has_the_reference_values(target, epochs, factor, densities):
    assert sigmoid_factor(target, epochs) == pytest.approx(factor, abs=5e-7)
    trajectory = sigmoid_trajectory(target, epochs)
    assert len(trajectory) == epochs + 1
    assert trajectory[0] == 1.0
    assert trajectory[-1] == pytest.approx(target, rel=1e-12)
    for epoch, density in densities.items():
        # half a unit in the last of 4 digits
        assert trajectory[epoch] == pytest.approx(
            density, abs=0.51 * 10 ** (math.floor(math.log10(density)) - 3)
        )


def test_sigmoid_trajectory_is_not_another_one():
    assert sigmoid_trajectory(0.02, 100)[50] != pytest.approx(exponential_trajectory(0.02, 100)[50], rel=0.1)


def test_sigmoid_factors_rise_from_near_a_to_near_the_late_factor():
    trajectory = sigmoid_trajectory(0.02, 100)
    factors = [b / a for a, b in pairwise(trajectory)]
    assert all(a < b for a, b in pairwise(factors))
    a = sigmoid_factor(0.02, 100)
    for epoch in (1, 37, 100):
        share = 1 / (1 + math.exp(-0.06 * (epoch - 50)))
        assert factors[epoch - 1] == pytest.approx(a * (1 - share) + 0.999 * share, rel=1e-12)


@pytest.mark.parametrize("make", [linear_trajectory, exponential_trajectory, cubic_trajectory])
def test_trajectories_fall_from_start_to_target(make):
    trajectory = make(0.1, 20, start=0.8)
    assert trajectory[0] == pytest.approx(0.8, rel=1e-15)
    assert trajectory[-1] == pytest.approx(0.1, rel=1e-15)
    assert all(a > b for a, b in pairwise(trajectory))
    assert make(0.5, 1) == pytest.approx((1.0, 0.5))
    assert make(1.0, 3) == pytest.approx((1.0, 1.0, 1.0, 1.0))


def test_trajectories_have_their_shape():
    assert linear_trajectory(0.2, 4)[1:4] == pytest.approx((0.8, 0.6, 0.4))
    assert exponential_trajectory(0.0625, 4)[1:4] == pytest.approx((0.5, 0.25, 0.125))
    # sparsity s_f + (s_i - s_f)(1 - k/n)^3 with s_i = 0, s_f = 0.9 at half time is 0.7875
    assert cubic_trajectory(0.1, 4)[2] == pytest.approx(1 - 0.7875)


def test_iterative_rounds_are_the_published_epochs():
    rounds = iterative_rounds(1 - 0.99975, 500)
    assert len(rounds) == 79
    # the first and last epochs of the authors' magnitude-pruning curve of ResNet-50 on CIFAR-10
    assert rounds[:12] == (1, 7, 14, 20, 27, 33, 39, 46, 52, 58, 65, 71)
    assert rounds[-4:] == (480, 486, 493, 499)
    assert len(iterative_rounds(1 - 0.9995, 500)) == 73
    assert iterative_rounds(0.5, 2, kept=0.5) == (1,)


def test_iterative_trajectory_cuts_at_its_rounds():
    trajectory = iterative_trajectory(0.3, 30, kept=0.7)
    rounds = iterative_rounds(0.3, 30, kept=0.7)
    assert len(rounds) == 4
    assert trajectory[0] == 1.0
    assert trajectory[-1] == pytest.approx(0.7**4)
    assert [e for e in range(1, 31) if trajectory[e] < trajectory[e - 1]] == list(rounds)


def test_policy_one_rises_as_published():
    state, trajectory = PressureState(), sigmoid_trajectory(0.02, 100)
    levels, pressures = [], []
    for epoch in range(1, 7):
        state = follow_trajectory(state, epoch, 1.0, trajectory, step=0.2)
        levels.append(state.level)
        pressures.append(state.pressure)
    assert levels == pytest.approx([0.2, 0.45, 0.75, 1.1, 1.5, 1.95])
    assert pressures == pytest.approx([0.089, 0.302, 0.650, 1.154, 1.837, 2.723], abs=5e-4)


def test_policy_one_eases_with_its_own_inertia_and_never_below_zero():
    trajectory = (1.0, 0.5, 0.5, 0.5, 0.5, 0.5)
    state = PressureState(level=1.0, rise=0.3)
    state = follow_trajectory(state, 1, 0.4, trajectory, step=0.2)
    assert (state.level, state.rise, state.fall) == pytest.approx((0.8, 0.0, 0.05))
    state = follow_trajectory(state, 2, 0.5, trajectory, step=0.2)  # on the trajectory counts as below it
    assert (state.level, state.rise, state.fall) == pytest.approx((0.55, 0.0, 0.1))
    state = follow_trajectory(state, 3, 0.6, trajectory, step=0.2)
    assert (state.level, state.rise, state.fall) == pytest.approx((0.75, 0.05, 0.0))
    for epoch in (1, 2, 3, 4):
        state = follow_trajectory(state, epoch, 0.1, trajectory, step=0.5)
    assert state.level == 0.0


def test_ratchet_never_eases():
    trajectory = (1.0, 0.5, 0.5, 0.5, 0.5)
    up = ratchet_pressure(PressureState(), 1, 0.9, trajectory, step=0.4)
    assert (up.level, up.rise) == pytest.approx((0.4, 0.1))
    held = ratchet_pressure(up, 2, 0.1, trajectory, step=0.4)
    assert (held.level, held.rise) == (up.level, 0.0)
    assert ratchet_pressure(held, 3, 0.9, trajectory, step=0.4).level == pytest.approx(0.8)


@pytest.mark.parametrize("recursion", [follow_trajectory, ratchet_pressure])
def test_nothing_changes_from_the_last_epoch_on(recursion):
    state = PressureState(1.0, 0.1, 0.0)
    trajectory = (1.0, 0.5, 0.2)
    assert recursion(state, 2, 0.9, trajectory) is state
    assert recursion(state, 7, 0.9, trajectory) is state
    assert recursion(state, 1, 0.9, trajectory) != state


def test_a_saved_state_resumes_exactly():
    trajectory = sigmoid_trajectory(0.05, 40)
    densities = [max(0.02, 0.93**e) for e in range(1, 40)]
    whole = PressureState()
    for epoch, density in enumerate(densities, 1):
        whole = follow_trajectory(whole, epoch, density, trajectory)
        if epoch == 17:
            saved = (whole.level, whole.rise, whole.fall)
    resumed = PressureState(*saved)
    for epoch, density in list(enumerate(densities, 1))[17:]:
        resumed = follow_trajectory(resumed, epoch, density, trajectory)
    assert resumed == whole


def test_staircase_starts_after_the_first_epoch():
    pressures = [staircase_pressure(e) for e in (1, 2, 50, 51, 100, 101)]
    assert pressures == [0.0, 2**-10, 2**-10, 2**-9, 2**-9, 2**-8]
    assert staircase_pressure(25, base=5.0, first=0, every=10) == 25.0


GOOD_STATE = PressureState()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sigmoid_factor(0.0, 10), r"target must be a number in \(0, 1\), got 0.0"),
        (lambda: sigmoid_factor(2, 100), r"target must be a number in \(0, 1\), got 2"),
        (lambda: sigmoid_factor(0.99, 100), r"target must be a density in \[.*0.904.*\], which 100 epochs"),
        (lambda: sigmoid_factor(0.1, 0), r"epochs must be an integer in \[1, 1e7\], got 0"),
        (lambda: sigmoid_trajectory(0.1, 2.5), r"epochs must be an integer"),
        (lambda: linear_trajectory(0.9, 5, start=0.5), r"target must be at most start = 0.5, got 0.9"),
        (lambda: cubic_trajectory(float("nan"), 5), r"target must be a number in \(0, 1\], got nan"),
        (lambda: exponential_trajectory(0.1, 0), r"steps must be an integer in \[1, 1e9\], got 0"),
        (lambda: iterative_rounds(0.01, 20), r"epochs must be at least 45 for 44 rounds of pruning, got 20"),
        (lambda: iterative_rounds(0.1, 100, kept=1.0), r"kept must be a number in \(0, 1\), got 1.0"),
        (lambda: iterative_trajectory(1.0, 100), r"target must be a number in \(0, 1\), got 1.0"),
        (lambda: PressureState(level=-1.0), r"level must be a number in \[0, inf\), got -1.0"),
        (lambda: follow_trajectory(GOOD_STATE, 1, 40.0, (1.0, 0.5)), r"density must be .* got 40.0"),
        (lambda: follow_trajectory(GOOD_STATE, -1, 0.4, (1.0, 0.5)), r"epoch must be an integer"),
        (lambda: ratchet_pressure(GOOD_STATE, 1, 0.4, (1.0, 0.5), step=0.0), r"step must be a number"),
        (lambda: ratchet_pressure(GOOD_STATE, 1, 0.4, ()), r"trajectory must not be empty"),
        (lambda: staircase_pressure(0), r"epoch must be an integer in \[1, inf\), got 0"),
        (lambda: staircase_pressure(10**6, every=1), r"epoch must lead to a finite pressure, got 1000000"),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()

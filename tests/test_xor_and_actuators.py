"""What the experiments on XOR and on actuators count with, and the rules of the checks that judge them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from bbtheory.catalog import Catalog
from experiments import actuator_response, balance_xor
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED

CHECKS = Catalog("paper_checks")


# shares of points near a line


def test_line_share_by_hand():
    x = np.arange(5.0)
    assert balance_xor.line_share(x, 3.0 - 2.0 * x) == 1.0
    assert balance_xor.line_share(x, np.array([0.0, 0.0, 100.0, 0.0, 0.0])) == 0.8
    # the strip of half-width 1 takes in a zigzag of height 2, not one of 2.1
    assert balance_xor.line_share(x, np.array([0.0, 2.0, 0.0, 2.0, 0.0])) == 1.0
    assert balance_xor.line_share(x, np.array([0.0, 2.1, 0.0, 2.1, 0.0])) < 1.0


def test_line_share_is_the_largest():
    # no line of a fine grid holds more points
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, 12), rng.uniform(-4, 4, 12)
    best = balance_xor.line_share(x, y)
    slope, start = np.meshgrid(np.linspace(-20, 20, 401), np.linspace(-20, 20, 401))
    near = np.abs(y - start[..., None] - slope[..., None] * x) <= 1.0
    assert best >= near.mean(axis=-1).max()
    assert best < 1.0


@pytest.mark.parametrize("seed", range(8))
def test_line_share_is_the_same_in_every_mirror(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, 9), rng.uniform(-4, 4, 9)
    shares = {balance_xor.line_share(i * x, j * y) for i in (-1, 1) for j in (-1, 1)}
    assert len(shares) == 1


@pytest.mark.parametrize("fan_in", [1, 2, 5, 10])
def test_fair_on_rates_are_exact(fan_in):
    rng = np.random.default_rng(fan_in)
    weight, bias = rng.standard_normal((7, fan_in)), rng.standard_normal(7)
    weight[0] = 0.0  # all links cut: on or off for good
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=fan_in)))
    brute = (signs @ weight.T + bias > 0).mean(axis=0)
    np.testing.assert_array_equal(actuator_response.fair_on_rates(weight, bias), brute)


def test_numbers_of_responses():
    # two fall, one rises, one stays; the prediction has one sign wrong
    measured = 0.5 + np.array([[0.0, 0.0, 0.0, 0.0], [-0.1, -0.2, 0.1, 0.0]])
    predicted = 0.5 + np.array([[0.0, 0.0, 0.0, 0.0], [-0.1, 0.1, 0.1, 0.0], [-0.1, -0.2, 0.1, 0.0]])
    found = actuator_response._numbers(measured, predicted, np.random.default_rng(0))
    found = dict(zip(actuator_response.NUMBERS, found, strict=True))
    assert (found["n"], found["lowered"], found["raised"], found["unchanged"]) == (4, 0.5, 0.25, 0.25)
    assert found["sign_linear"] == pytest.approx(2 / 3)
    assert found["sign_finite"] == 1.0
    assert found["error_finite"] == pytest.approx(0.0, abs=1e-12)
    assert found["largest"] == pytest.approx(0.2)
    assert found["rate_error"] == 0.0


def test_numbers_of_cuts():
    # (counted, finite, linear, sp_out, actuator)
    rows = [
        (2, 2, 3, 5, "sp_in"),
        (None, 4, None, 5, "sp_in"),
        (6, 8, 9, 5, "sp_out"),
        (1, 1, 1, None, "sp_in"),
    ]
    found = dict(
        zip(actuator_response.CUT_NUMBERS, actuator_response._cut_numbers(rows, compared=True), strict=True)
    )
    assert (found["n"], found["reached"], found["reached_predicted"]) == (4, 0.75, 1.0)
    assert (found["cuts"], found["cuts_finite"]) == (3.0, pytest.approx(11 / 3))
    assert found["error_linear"] == pytest.approx(4 / 3)
    assert found["in_is_fewer"] == 0.5
    assert found["actuator_agrees"] == 0.75


# rules of the checks


def changed(result, part: str, at: tuple, values):
    array = getattr(result, part).copy()
    array[at] = values
    return replace(result, **{part: array})


@pytest.fixture(scope="module")
def xor(smoke):
    """Return the smoke record of XOR, with the random control silent."""
    result = smoke.record("balance_xor").result
    at = result.arms.index("random")
    names = [result.number_names.index(name) for name in ("balanced", "hyperbolic")]
    return changed(result, "numbers", np.ix_([at], [0, 1], names), 0.0)


@pytest.mark.parametrize(
    ("own", "line", "balanced", "verdict"),
    [
        ((0.9, 0.91), (0.7, 0.7), 0.0, REFUTED),
        ((0.7, 0.71), (0.9, 0.9), 1.0, CONFIRMED),
        ((0.9, 0.6), (0.8, 0.7), 0.0, UNDECIDED),
        # the two instruments disagree
        ((0.9, 0.91), (0.7, 0.7), 1.0, UNDECIDED),
        ((0.7, 0.71), (0.9, 0.9), 0.0, UNDECIDED),
    ],
)
def test_rule_of_line_emerges_on_xor(xor, own, line, balanced, verdict):
    names = xor.number_names
    result = xor
    arms = np.flatnonzero(np.isfinite(xor.tau))[:, None]
    result = changed(result, "numbers", np.s_[arms, :, names.index("balanced")], balanced)
    result = changed(result, "numbers", np.s_[arms, :, names.index("hyperbolic")], 1.0 - balanced)
    for name in ("hyperbola_share", "peak_share"):
        result = changed(result, "numbers", np.s_[:, :, names.index(name)], own)
    result = changed(result, "numbers", np.s_[:, :, names.index("line_share")], line)
    check = CHECKS.load("line_emerges_on_xor").check
    assert check(result).verdict == verdict
    # a control that shows a law decides nothing
    at = result.arms.index("random"), slice(None), names.index("balanced")
    assert check(changed(result, "numbers", at, 1.0)).verdict == UNDECIDED


@pytest.mark.parametrize(
    ("slope", "balanced", "verdict"),
    [((0.99, 1.0), 1.0, CONFIRMED), ((1.3, 1.31), 1.0, REFUTED), ((0.6, 1.4), 1.0, UNDECIDED)],
)
def test_rule_of_controller_imposes_the_line(xor, slope, balanced, verdict):
    # enough seeds for an interval of the share above one half
    result = replace(xor, numbers=np.tile(xor.numbers, 10))
    values = np.tile(np.array(slope) * result.beta, 10)
    names = result.number_names
    result = changed(result, "numbers", np.s_[:, :, names.index("slope")], values)
    result = changed(result, "numbers", np.s_[:, :, names.index("balanced")], balanced)
    if verdict == UNDECIDED:
        result = replace(result, numbers=result.numbers[..., :2])
    found = CHECKS.load("controller_imposes_the_line").check(result)
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("lowered", "verdict"), [((0.99, 0.99), CONFIRMED), ((0.5, 0.51), REFUTED), ((0.9, 0.99), UNDECIDED)]
)
def test_rule_of_sp_in_lowers_on_rates(smoke, lowered, verdict):
    result = smoke.record("actuator_response").result
    lowered = np.array(lowered)
    for part in ("trained", "random"):
        for name, values in (("lowered", lowered), ("raised", 1.0 - lowered)):
            result = changed(result, part, np.s_[..., result.numbers.index(name), :], values)
    check = CHECKS.load("sp_in_lowers_on_rates").check
    assert check(result).verdict == verdict
    # cuts of random links, of which the claim does not speak, decide nothing
    at = result.orders.index("random")
    for name, value in (("lowered", 0.0), ("raised", 1.0)):
        result = changed(result, "trained", np.s_[:, at, :, result.numbers.index(name)], value)
        result = changed(result, "random", np.s_[..., result.numbers.index(name), :], value)
    assert check(result).verdict == verdict


@pytest.mark.parametrize(
    ("own", "behind", "verdict"), [(0.0, 0.1, CONFIRMED), (1e-6, 0.1, REFUTED), (0.0, 0.0, UNDECIDED)]
)
def test_rule_of_sp_out_leaves_on_rates_alone(smoke, own, behind, verdict):
    result = smoke.record("actuator_response").result
    at = result.numbers.index("largest")
    for who, value in (("own", own), ("behind", behind)):
        result = changed(result, "trained", np.s_[result.groups.index(f"out first {who}"), :, :, at], value)
    assert CHECKS.load("sp_out_leaves_on_rates_alone").check(result).verdict == verdict


def test_sp_out_leaves_own_on_rates_alone_exactly(smoke):
    result = smoke.record("actuator_response").result
    largest = result.of("trained", "largest")
    assert (largest[result.groups.index("out first own")] == 0).all()
    assert largest[result.groups.index("out first behind")].max() > 0

import itertools
import math

import numpy as np
import pytest

from bbtheory.theory.actuators import ActuatorGains, actuator_gains
from bbtheory.theory.cuts import ActuatorPlan, actuator_cuts
from bbtheory.theory.gaussian import log_odds_slope
from bbtheory.theory.network import Network
from bbtheory.theory.response import respond
from bbtheory.theory.shock import Shock
from bbtheory.theory.susceptibility import ResponseOperator


@pytest.mark.parametrize("correlated", [False, True])
def test_gains_are_the_diagonal_of_the_operator(random_network, correlated):
    network = random_network(correlated=correlated)
    gains = actuator_gains(network, beta=0.3)
    every = np.eye(network.n_units)
    per_link = np.diag(ResponseOperator(network, "sp_in", of="z") @ every) / network.fan_in
    np.testing.assert_allclose(gains.sp_in_z_gain, per_link, atol=1e-14)
    np.testing.assert_allclose(gains.sp_in_gain, -log_odds_slope(gains.residual * 0 + _z(network)) * per_link)
    assert gains.n_raised_by_sp_in == (per_link > 0).sum()
    expected = np.where(gains.sp_in_gain > gains.sp_out_gain, "sp_in", "sp_out")
    last = network.layer == 2  # no audience, nothing to cut on that side
    assert set(gains.stronger[last]) <= {"sp_in", "none"}
    np.testing.assert_array_equal(gains.stronger[~last], expected[~last])
    assert isinstance(gains, ActuatorGains)


def _z(network):
    from bbtheory.theory.closure import solve_closure

    return solve_closure(network).z


def test_stronger_per_link_where_the_theory_says():
    """SP-in iff lam(z) |dz_j| > beta."""
    network = Network([np.full((1, 8), 0.5), np.ones((3, 1))], np.ones(8), np.ones(8), biases=[[-4.5], None])
    gain = actuator_gains(network, beta=0).sp_in_gain[0]
    assert gain > 0
    assert actuator_gains(network, beta=0.99 * gain).stronger[0] == "sp_in"
    assert actuator_gains(network, beta=1.01 * gain).stronger[0] == "sp_out"


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("order", ["weakest", "largest"])
@pytest.mark.parametrize(("layer", "unit"), [(0, 4), (1, 4), (2, 1)])
def test_plan_agrees_with_shock_after_shock(random_network, correlated, order, layer, unit):
    network = random_network(correlated=correlated)
    plan = actuator_cuts(network, layer, unit, beta=0.3, residual=-0.4, order=order)
    at = network.index(layer, unit)
    singles = [respond(network, Shock([layer], [unit], [s]), beta=0).z_change[at] for s in plan.source]
    np.testing.assert_allclose(plan.gain, -log_odds_slope(_z(network)[at]) * np.array(singles), atol=1e-12)
    truth = []
    for n in range(1, plan.fan_in):
        shock = Shock.sp_in(network, layer, unit, plan.source[:n])
        truth.append(-0.4 + respond(network, shock, beta=0).residual_change_finite[at])
    np.testing.assert_allclose(plan.residual_finite[:-1], truth, atol=1e-9)
    np.testing.assert_allclose(plan.residual_linear, -0.4 + np.cumsum(plan.gain))
    reached = [n for n, r in enumerate(truth, 1) if r >= 0]
    assert plan.sp_in_cuts == (reached[0] if reached else None)
    weights = np.abs(network.links[layer].weight[unit, plan.source])
    key = weights if order == "weakest" else -plan.gain
    assert np.all(np.diff(key) >= 0)
    assert sorted(plan.source) == list(network.links_in(layer, unit)[0])


def test_largest_first_is_the_fewest_to_first_order(random_network):
    network = random_network()
    plan = actuator_cuts(network, 1, 2, beta=0.3, residual=-0.4, order="largest")
    gains = plan.gain
    fewest = next(
        n for n in range(1, len(gains)) if any(sum(c) >= 0.4 for c in itertools.combinations(gains, n))
    )
    assert plan.sp_in_cuts_linear == fewest
    rule = actuator_cuts(network, 1, 2, beta=0.3, residual=-0.4, order="weakest")
    assert rule.sp_in_cuts_linear is None or rule.sp_in_cuts_linear >= fewest


@pytest.mark.parametrize(
    ("residual", "cuts"), [(0.0, 0), (2.0, 0), (-0.1, 1), (-0.3, 1), (-0.3000001, 2), (-0.9, 3), (-1.0, None)]
)
def test_sp_out_counts_whole_links(residual, cuts):
    network = Network([np.ones((1, 2)), np.ones((3, 1))], [1, 1], [1, 1])
    plan = actuator_cuts(network, 0, 0, beta=0.3, residual=residual)
    assert plan.sp_out_cuts == cuts
    if residual >= 0:
        assert plan.actuator == "none"
        assert plan.cuts == 0
    elif cuts is None:
        assert plan.actuator == "unreachable"
        assert plan.cuts is None


def test_whole_links_survive_rounding():
    """(0.1 + 0.2)/0.1 is above 3 in floating point; three links still do."""
    network = Network([np.ones((1, 2)), np.ones((4, 1))], [1, 1], [1, 1])
    assert actuator_cuts(network, 0, 0, beta=0.1, residual=-(0.1 + 0.2)).sp_out_cuts == 3
    assert actuator_cuts(network, 0, 0, beta=0.1, residual=-(0.1 + 0.2 + 0.1)).sp_out_cuts == 4


def test_first_order_over_cuts():
    """An excited unit: z falls faster than linearly as links go, so the exact count is the smaller one."""
    n = 100
    network = Network(
        [np.ones((1, n)), np.ones((2, 1))], np.full(n, 0.5), np.full(n, 0.25), biases=[[-45.0], None]
    )
    plan = actuator_cuts(network, 0, 0, beta=0.01, residual=-4.0)
    assert plan.sp_in_cuts < plan.sp_in_cuts_linear
    assert plan.residual_finite[plan.sp_in_cuts - 1] >= 0 > plan.residual_finite[plan.sp_in_cuts - 2]
    assert plan.actuator == "sp_in"
    assert plan.cuts == plan.sp_in_cuts


def test_sp_in_cannot_correct_where_it_raises_the_on_rate():
    n = 64
    network = Network([np.full((1, n), -0.2), np.ones((2, 1))], np.full(n, 0.5), np.full(n, 0.25))
    plan = actuator_cuts(network, 0, 0, beta=1.0)
    assert plan.n_raising == n
    own = actuator_gains(network, beta=1.0)
    assert own.sp_in_z_gain[0] > 0
    assert plan.residual == pytest.approx(own.residual[0])
    if plan.residual < 0:
        assert plan.sp_in_cuts is None
    forced = actuator_cuts(network, 0, 0, beta=1.0, residual=-1.5)
    assert forced.sp_in_cuts is None
    assert forced.actuator == "sp_out"
    assert forced.cuts == 2


def test_own_residual_and_equal_counts():
    network = Network([np.ones((1, 4)), np.ones((9, 1))], np.ones(4), np.ones(4), biases=[[-3.0], None])
    plan = actuator_cuts(network, 0, 0, beta=0.2)
    z = 1.0 / 2.0
    log_odds = math.log(0.5 * math.erfc(z / math.sqrt(2)) / (1 - 0.5 * math.erfc(z / math.sqrt(2))))
    assert plan.residual == pytest.approx(log_odds - 1.8)
    assert plan.on_rate == pytest.approx(1 - 0.5 * math.erfc(z / math.sqrt(2)))
    tie = actuator_cuts(network, 0, 0, beta=1.0, residual=-0.7)
    assert tie.sp_out_cuts == tie.sp_in_cuts == 1
    assert tie.actuator == "sp_out"


def test_limits_of_the_plan(tmp_path):
    # a saturated unit without variance, a dead one, one without links
    weights = [np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]), np.ones((2, 3))]
    masks = [np.array([[True, True], [True, True], [False, False]]), np.ones((2, 3), bool)]
    network = Network(weights, [1, 1], [0, 0], masks=masks, biases=[[1.0, -5.0, 1.0], None])
    saturated, dead, bare = (actuator_cuts(network, 0, i, beta=0.5) for i in range(3))
    assert saturated.residual == -math.inf
    assert saturated.actuator == "unreachable"
    assert dead.residual == math.inf
    assert dead.actuator == "none"
    assert bare.fan_in == 0
    assert bare.sp_in_cuts is None
    gains = actuator_gains(network, beta=0.5)
    assert list(gains.sp_in_gain) == [0, 0, 0, 0, 0]
    assert list(gains.stronger[:3]) == ["sp_out"] * 3
    assert actuator_cuts(network, 0, 0, beta=0.0, residual=-1.0).sp_out_cuts is None
    for plan in (saturated, dead, bare):
        plan.save(tmp_path / "plan.json")
        assert ActuatorPlan.load(tmp_path / "plan.json") == plan
    gains.save(tmp_path / "gains.json")
    assert ActuatorGains.load(tmp_path / "gains.json") == gains
    assert gains.to_frame()["stronger"][0] == "sp_out"
    assert saturated.to_dict()["residual"] is None


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"unit": 9}, r"unit must be an integer in \[0, 8\], got 9"),
        ({"layer": 3}, r"layer must be an integer in \[0, 2\], got 3"),
        ({"beta": -0.1}, r"beta must be a number in \[0, inf\)"),
        ({"beta": math.nan}, "beta must be a number"),
        ({"residual": math.nan}, "residual must be a number"),
        ({"residual": -math.inf}, "residual must be a number"),
        ({"order": "strongest"}, "order must be one of weakest, largest"),
        ({"terms": 0}, "terms must be an integer"),
    ],
)
def test_bad_plan(random_network, arguments, match):
    with pytest.raises(ValueError, match=match):
        actuator_cuts(random_network(), **({"layer": 0, "unit": 0, "beta": 1.0} | arguments))


@pytest.mark.parametrize("beta", [-1.0, math.inf, math.nan, "1"])
def test_bad_gains(random_network, beta):
    with pytest.raises(ValueError, match="beta must be a number"):
        actuator_gains(random_network(), beta=beta)

import json
import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from bbtheory import (
    ConvergenceError,
    RefreshMap,
    refresh_map,
    solve_equilibrium,
    stability_boundary,
    target_degree,
)
from bbtheory.theory.dynamics import ACTUATORS
from bbtheory.theory.entropy import inactivity_log_odds, on_rate_from_log_odds
from tests.refreshing import exact, live, normal

LINE = {"beta": 0.1, "d0": 10.0, "max_degree": 64.0, "interval": 20, "ema_decay": 0.95}
# links; the fixed point is located to 1e-12 of the largest degree, and the line magnifies that by its slope
DEGREE = 1e-8
# truncation and rounding of a central difference with a step of 1e-6 of the variable
DIFFERENCE = 1e-6


def gaussian(z, rise, at):
    """On-rate Phi(z + rise (k - at)) of units whose pre-activation moves by ``rise`` deviations a link."""
    return lambda k: ndtr(z + rise * (k - at))


def population(n=60, seed=0, gains=(-0.6, 3.0)):
    rng = np.random.default_rng(seed)
    on_rate = rng.uniform(0.05, 0.45, n)
    degree = 10.0 + inactivity_log_odds(on_rate) / 0.1
    z = ndtri(on_rate)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    rise = rng.uniform(*gains, n) * 0.1 * on_rate * (1 - on_rate) / density
    return on_rate, degree, gaussian(z, rise, degree), rise * density


def test_two_units_by_hand():
    r = refresh_map([0.5, 0.2], gain=[0.05, 0.016], **LINE)
    memory = 0.95**20
    assert r.degree == pytest.approx([10.0, 10.0 + 10 * math.log(4)])
    assert r.loop_gain == pytest.approx([2.0, 1.0])
    assert r.multiplier == pytest.approx([memory - 2 * (1 - memory), memory - (1 - memory)])
    limit = (1 + memory) / (1 - memory)
    assert r.gain_limit == pytest.approx(limit)
    assert r.margin == pytest.approx([1 - 2 / limit, 1 - 1 / limit])
    assert r.verdict.tolist() == ["oscillating", "oscillating"]
    assert r.population_verdict == "oscillating"
    assert r.settling_steps == pytest.approx(-20 / math.log(2 - 3 * memory))
    assert (r.residual, r.status) == (0.0, "converged")


def test_verdicts():
    r = refresh_map([0.5] * 5, gain=[0.0, 0.01, 0.05, 0.06, -0.025], **LINE)
    assert r.loop_gain == pytest.approx([0, 0.4, 2, 2.4, -1])
    assert r.verdict.tolist() == ["stable", "stable", "oscillating", "unstable", "unstable"]
    assert (r.n_oscillating, r.n_unstable, r.n_runaway) == (1, 2, 1)
    assert r.population_verdict == "unstable"
    assert math.isnan(r.settling_steps)
    assert json.loads(r.to_json())["settling_steps"] is None
    assert refresh_map([0.5] * 2, gain=[0.0, 0.01], **LINE).population_verdict == "stable"


@pytest.mark.parametrize("step_fraction", [1.0, 0.3])
def test_rests_where_the_map_does_not_move(step_fraction):
    on_rate, _, respond, _ = population()
    r = refresh_map(on_rate * 0.7, response=respond, step_fraction=step_fraction, **LINE)
    assert r.on_rate == pytest.approx(respond(r.degree), abs=0.1 * DEGREE)
    assert r.residual < DEGREE
    estimate, degree = r.advance(r.on_rate, r.degree, r.on_rate)
    assert estimate == pytest.approx(r.on_rate, abs=1e-15)
    assert degree == pytest.approx(r.degree, abs=DEGREE)
    assert degree == pytest.approx(target_degree(r.on_rate, beta=0.1, d0=10.0, max_degree=64), abs=DEGREE)


@pytest.mark.parametrize("step_fraction", [1.0, 0.3])
def test_jacobian_and_multipliers_are_those_of_the_iteration(step_fraction):
    """By central differences of `advance` with the response in the loop, per unit."""
    on_rate, _, respond, gain = population()
    r = refresh_map(on_rate, response=respond, step_fraction=step_fraction, **LINE)
    assert r.gain == pytest.approx(gain, rel=1e-6)

    def step(estimate, degree):
        return r.advance(estimate, degree, respond(degree))

    columns = []
    for up in ((1e-6 * r.on_rate, 0.0), (0.0, 1e-5)):
        high = step(r.on_rate + up[0], r.degree + up[1])
        low = step(r.on_rate - up[0], r.degree - up[1])
        width = 2 * (up[0] + up[1])
        columns.append([(h - b) / width for h, b in zip(high, low, strict=True)])
    measured = np.array(columns).transpose(2, 1, 0)
    scale = np.abs(r.jacobian).max(axis=(1, 2), keepdims=True)
    assert np.abs(measured - r.jacobian).max() < 10 * DIFFERENCE * scale.max()
    eigenvalues = np.linalg.eigvals(measured)
    assert r.modulus == pytest.approx(np.abs(eigenvalues).max(axis=1), abs=10 * DIFFERENCE)
    # a sign error in the loop gain would be seen
    assert np.abs(r.memory + (1 - r.memory) * r.loop_gain - eigenvalues.real.max(axis=1)).max() > 0.1


def test_a_gain_is_the_response_at_its_point():
    on_rate, degree, respond, gain = population()
    here = refresh_map(on_rate, gain=gain, **LINE)
    measured = refresh_map(on_rate, gain=gain, degree=degree, **LINE)
    full = refresh_map(on_rate, response=respond, **LINE)
    for other in (measured, full):
        assert other.on_rate == pytest.approx(here.on_rate, abs=1e-10)
        assert other.loop_gain == pytest.approx(here.loop_gain, rel=1e-6)


def test_a_measured_gain_moves_the_on_rates():
    """Two lines in (k, L) cross where algebra says; the general search agrees."""
    a, k, gain = np.array([0.1, 0.3, 0.02]), np.array([60.0, 5.0, 30.0]), np.array([0.004, -0.005, 0.001])
    r = refresh_map(a, gain=gain, degree=k, **LINE)
    slope = gain / (a * (1 - a))
    crossing = (10 + (inactivity_log_odds(a) + slope * k) / 0.1) / (1 + slope / 0.1)
    assert r.degree == pytest.approx(crossing, rel=1e-12)
    assert r.loop_gain == pytest.approx(slope / 0.1, rel=1e-12)

    def respond(degree):
        return on_rate_from_log_odds(inactivity_log_odds(a) - slope * (degree - k))

    searched = refresh_map(a, response=respond, **LINE)
    assert searched.degree == pytest.approx(r.degree, abs=DEGREE)
    assert searched.n_evaluations < 20


def test_starts_from_the_equilibrium():
    fan_out = np.arange(5.0, 40.0)
    e = solve_equilibrium(fan_out, beta=0.1)
    # with the line through the origin the equilibrium's on-rates call for the fan-outs they came from
    r = refresh_map(e.on_rate, gain=0.0, **(LINE | {"d0": 0.0}))
    assert r.degree == pytest.approx(fan_out, rel=1e-12)


@pytest.mark.parametrize("side", [-1e-3, 1e-3])
def test_a_runaway_unit_runs_to_a_clip(side):
    """A repelling fixed point is left toward the side on which the unit starts, as the map itself does."""
    at, line = 25.0, LINE | {"d0": 10.0}
    a = on_rate_from_log_odds(0.1 * (at - 10.0))
    gain = -1.5 * 0.1 * a * (1 - a)
    there = refresh_map([a], gain=gain, **line)
    assert there.runaway.tolist() == [True]
    assert there.verdict.tolist() == ["unstable"]
    started = refresh_map([a], gain=gain, degree=[at + side], **line)
    assert started.runaway.tolist() == [True]
    assert started.clipped.tolist() == [True]
    assert started.verdict.tolist() == ["stable"]

    def respond(degree):
        return on_rate_from_log_odds(inactivity_log_odds(a) + 0.15 * (degree - at - side))

    _, degrees = live(respond, np.array([a]), sample=exact, n_refreshes=400, **line)
    assert started.degree[0] == degrees[-1, 0] == (64.0 if side < 0 else 0.0)
    searched = refresh_map([a], response=respond, **line)
    assert searched.degree[0] == started.degree[0]


def test_flip_intervals_of_a_simulated_population():
    """10,000 units, sampled activity: where a kick stops decaying, and where the autocorrelation crosses 0."""
    n, gain, beta, decay = 10_000, 2.0, 0.1, 0.97
    rng = np.random.default_rng(3)
    log_odds = rng.uniform(0.5, 3.0, n)
    at = 10.0 + log_odds / beta
    on_rate = on_rate_from_log_odds(log_odds)
    chi = on_rate * (1 - on_rate)
    z = ndtri(on_rate)
    respond = gaussian(z, gain * beta * chi / (np.exp(-z * z / 2) / math.sqrt(2 * math.pi)), at)
    line = {"beta": beta, "d0": 10.0, "max_degree": 64.0, "ema_decay": decay}
    sign = np.where(np.arange(n) % 2, 1.0, -1.0)

    def growth(interval):
        kicked = on_rate + 0.1 * sign * chi
        seen, _ = live(respond, kicked, interval=interval, n_refreshes=3, sample=normal(200, rng), **line)
        swing = ((seen - on_rate) / chi * sign).mean(axis=1)
        return (swing[1:] / swing[:-1]).mean()

    def autocorrelation(interval):
        seen, _ = live(respond, on_rate, interval=interval, n_refreshes=25, sample=normal(200, rng), **line)
        away = ((seen - on_rate) / chi)[5:]
        return (away[1:] * away[:-1]).sum() / (away[:-1] ** 2).sum()

    def crossing(measure, level, low, high):
        below, above = measure(low), measure(high)
        assert below > level > above
        return low + (high - low) * (below - level) / (below - above)

    predicted = {
        onset: float(stability_boundary(gain * beta, ema_decay=decay, beta=beta, onset=onset))
        for onset in ("instability", "oscillation")
    }
    assert crossing(growth, -1.0, 33, 39) == pytest.approx(predicted["instability"], rel=0.05)
    assert crossing(autocorrelation, 0.0, 12, 15) == pytest.approx(predicted["oscillation"], rel=0.05)
    # the boundary of the wrong onset fails, and so does that of a unit with the opposite gain
    assert crossing(growth, -1.0, 33, 39) != pytest.approx(predicted["oscillation"], rel=0.05)
    opposite = refresh_map(on_rate, gain=-gain * beta * chi, interval=12, **line)
    assert opposite.multiplier[0] > 1


def test_whole_links_keep_some_units_moving():
    """Which ones, without noise: those that no rounded degree satisfies; a share g/(1+g) of all."""
    n, gain = 2_000, 0.8
    rng = np.random.default_rng(5)
    log_odds = rng.uniform(0.5, 3.0, n)
    a = on_rate_from_log_odds(log_odds)
    line = LINE | {"interval": 4}
    r = refresh_map(a, gain=gain * 0.1 * a * (1 - a), **line)
    at = 10.0 + log_odds / 0.1

    def respond(degree):
        return on_rate_from_log_odds(log_odds - gain * 0.1 * (degree - at))

    _, degrees = live(respond, a, sample=exact, n_refreshes=300, whole=True, **line)
    moving = (np.abs(np.diff(degrees[-100:], axis=0)) > 0).any(axis=0)
    assert (moving == r.flickers).mean() > 0.995  # at the edges an on-rate is a line only to first order
    assert r.n_flickering / n == pytest.approx(gain / (1 + gain), abs=5 * math.sqrt(0.25 / n))
    assert np.abs(np.diff(degrees[-100:], axis=0)).max() == 1.0


def test_the_two_masks_together():
    """The share that survives the other actuator scales the gain and the argument of a response."""
    on_rate, _, respond, gain = population()
    one = refresh_map(on_rate, gain=gain, **LINE)
    both = refresh_map(on_rate, gain=gain, actuator="both", kept_share=0.25, **LINE)
    assert both.loop_gain == pytest.approx(0.25 * one.loop_gain)
    wide = refresh_map(on_rate, response=lambda k: respond(4.0 * k), actuator="both", kept_share=0.25, **LINE)
    assert wide.loop_gain == pytest.approx(one.loop_gain, rel=1e-6)
    out = refresh_map(on_rate, actuator="sp_out", **LINE)
    assert (out.loop_gain == 0).all()
    assert (out.multiplier == out.memory).all()


def test_limits():
    # on a clip the loop is open, and dead and saturated units sit on one
    r = refresh_map([0.0, 1e-300, 1.0, 0.9, 0.3], gain=1.0, **LINE)
    assert r.clipped.tolist() == [True, True, True, True, False]
    assert r.loop_gain[:4].tolist() == [0.0] * 4
    assert (r.multiplier[:4] == r.memory).all()
    # no memory: the multiplier is -g; one step: the EMA's own decay
    assert refresh_map([0.5], gain=0.01, **(LINE | {"ema_decay": 0.0})).multiplier[0] == pytest.approx(-0.4)
    assert refresh_map([0.5], gain=0.0, **(LINE | {"interval": 1})).multiplier[0] == pytest.approx(0.95)
    fixed = refresh_map([0.5, 0.1], gain=5.0, **(LINE | {"max_degree": 7.0}), min_degree=7.0)
    assert fixed.degree.tolist() == [7.0, 7.0]
    assert fixed.n_clipped == 2
    # an EMA without memory under an open loop settles at once
    assert refresh_map([0.5], gain=0.0, **(LINE | {"ema_decay": 0.0})).settling_steps == 0.0
    one = refresh_map([0.3], response=lambda k: np.full(k.shape, 0.3), **LINE)
    assert one.loop_gain[0] == 0.0


def test_advance_in_place():
    on_rate = population(n=40_000)[0]
    for p in (1.0, 0.5):
        r = refresh_map(on_rate, gain=0.001, step_fraction=p, **LINE)
        estimate, degree = on_rate * 0.9, r.degree + 1.0
        expected = r.advance(estimate, degree, on_rate)
        by_hand = on_rate + r.memory * (estimate - on_rate)
        target = target_degree(by_hand, beta=0.1, d0=10.0, max_degree=64)
        assert expected[0] == pytest.approx(by_hand, abs=1e-15)
        assert expected[1] == pytest.approx(degree + p * (target - degree), abs=1e-11)
        r.advance(estimate, degree, on_rate, out=(estimate, degree))
        assert np.array_equal(estimate, expected[0])
        assert np.array_equal(degree, expected[1])


def test_a_response_that_jumps_has_no_fixed_point():
    with pytest.raises(ConvergenceError, match="links away") as caught:
        refresh_map([0.3], response=lambda k: np.where(k < 20, 0.1, 0.4), **LINE)
    assert isinstance(caught.value.record, RefreshMap)
    assert caught.value.record.status == "not_converged"
    assert caught.value.record.degree[0] == pytest.approx(20.0, abs=20)


def test_record_round_trips(tmp_path):
    r = refresh_map(np.linspace(0, 1, 90), gain=0.01, **LINE)
    r.save(tmp_path / "map.json")
    assert RefreshMap.load(tmp_path / "map.json") == r
    assert json.loads(r.to_json())["kind"] == "refresh_map"
    assert list(r.to_frame()) == list(RefreshMap.UNITS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_rate": []}, "on_rate must not be empty"),
        ({"on_rate": [1.2]}, "on_rate"),
        ({"on_rate": [math.nan]}, "on_rate"),
        ({"beta": 0.0}, "beta"),
        ({"d0": math.inf}, "d0"),
        ({"max_degree": 0.0}, "max_degree"),
        ({"min_degree": 65.0}, "min_degree"),
        ({"interval": 0}, "interval"),
        ({"interval": 2.0}, "interval must be an integer"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"actuator": "in"}, ", ".join(ACTUATORS)),
        ({"step_fraction": 0.0}, "step_fraction"),
        ({"kept_share": 0.5}, "kept_share must be 1"),
        ({"kept_share": 0.0, "actuator": "both"}, "kept_share"),
        ({"gain": None}, "exactly one of gain or response"),
        ({"response": np.copy}, "exactly one of gain or response"),
        ({"gain": [0.1, 0.2, 0.3]}, "gain must be a number or have shape"),
        ({"gain": math.inf}, "gain"),
        ({"degree": [1.0]}, "degree must have shape"),
        ({"degree": [1.0, -1.0]}, "degree"),
        ({"gain": None, "response": np.copy, "degree": [1.0, 1.0]}, "degree must not be given"),
        ({"gain": None, "response": lambda k: k + 5.0}, r"response\(degree\)"),
        ({"gain": None, "response": lambda k: np.array([0.1])}, r"response\(degree\) must have shape"),
        ({"actuator": "sp_out"}, "must not be given with sp_out"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        refresh_map(**({"on_rate": [0.1, 0.2], "gain": 0.01} | LINE | arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1], [1.0, 1.0], [0.1, 0.1]), "estimate must have shape"),
        (([0.1, 1.1], [1.0, 1.0], [0.1, 0.1]), "estimate"),
        (([0.1, 0.1], [1.0, -1.0], [0.1, 0.1]), "degree"),
        (([0.1, 0.1], [1.0, 1.0], [0.1, math.nan]), "on_rate"),
    ],
)
def test_bad_steps(arguments, message):
    with pytest.raises(ValueError, match=message):
        refresh_map([0.1, 0.2], gain=0.01, **LINE).advance(*arguments)

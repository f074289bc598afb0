import dataclasses
import json
import math

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from bbtheory import RefreshNoise, refresh_map, refresh_noise
from bbtheory.theory.entropy import inactivity_log_odds, on_rate_from_log_odds
from tests.refreshing import binomial, live, normal

LINE = {"beta": 0.1, "d0": 10.0, "max_degree": 64.0, "interval": 8, "ema_decay": 0.9}
# closed forms of a few float64 operations against a linear solve
ROUNDING = 1e-10


def population(gain, n=20_000, seed=0, **changed):
    """Units whose log-odds fall along a line of loop gain ``gain``, at rest, with their response."""
    line = LINE | changed
    log_odds = np.random.default_rng(seed).uniform(0.3, 2.5, n)
    at = line["d0"] + log_odds / line["beta"]
    a = on_rate_from_log_odds(log_odds)
    r = refresh_map(a, gain=gain * line["beta"] * a * (1 - a), **line)
    return r, line, lambda k: on_rate_from_log_odds(log_odds - gain * line["beta"] * (k - at))


@pytest.mark.parametrize("p", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("gain", [-0.7, 0.0, 0.9, 2.0])
def test_variances_solve_the_lyapunov_equation(p, gain):
    """State (estimate, degree after the refresh) driven by fresh noise: a second road to every moment."""
    r = dataclasses.replace(population(gain, n=1)[0], step_fraction=p)
    noise = refresh_noise(r, 50)
    j = r.jacobian[0]
    a = r.on_rate[0]
    chi = a * (1 - a)
    enters = np.array([1.0, -p / (r.beta * chi)])
    fresh = chi / 50 * sum((0.1 * 0.9**t) ** 2 for t in range(8))
    moments = solve_discrete_lyapunov(j, fresh * np.outer(enters, enters))
    assert noise.variance[0] == pytest.approx(moments[0, 0], rel=ROUNDING)
    assert noise.degree_stddev[0] == pytest.approx(math.sqrt(moments[1, 1]), rel=ROUNDING)
    lagged = j @ moments
    assert noise.autocorrelation[0] == pytest.approx(lagged[0, 0] / moments[0, 0], rel=ROUNDING)
    assert noise.degree_autocorrelation[0] == pytest.approx(lagged[1, 1] / moments[1, 1], abs=ROUNDING)
    moved = 2 * (moments[1, 1] - lagged[1, 1])
    assert noise.churn[0] == pytest.approx(math.sqrt(2 / math.pi * moved), rel=1e-7)


@pytest.mark.parametrize("gain", [-0.5, 0.8, 1.7])
def test_closed_form_of_full_steps(gain):
    r, _, _ = population(gain, n=5)
    noise = refresh_noise(r, 50)
    m = r.memory
    factor = (1 + gain) * (1 - gain * (1 - m) / (1 + m))
    assert noise.variance == pytest.approx(noise.open_variance / factor, rel=ROUNDING)
    assert noise.autocorrelation == pytest.approx(r.multiplier, rel=ROUNDING)
    assert noise.degree_autocorrelation == pytest.approx(r.multiplier, rel=ROUNDING)
    assert noise.open_variance == pytest.approx(r.on_rate * (1 - r.on_rate) / 50 * 0.1 / 1.9)


@pytest.mark.parametrize(("gain", "p"), [(0.8, 1.0), (2.0, 1.0), (-0.5, 1.0), (1.2, 0.4)])
def test_a_simulated_population_fluctuates_so(gain, p):
    """Sampled activity, 20,000 units, one snapshot each: tolerances of 5 standard errors from n."""
    batch, n_lives = 20_000, 40  # a batch so large that first order holds, refreshes to forget the start
    r, line, respond = population(gain)
    r = dataclasses.replace(r, step_fraction=p)
    rng = np.random.default_rng(1)
    seen, degrees = live(
        respond, r.on_rate, n_refreshes=n_lives, sample=normal(batch, rng), step_fraction=p, **line
    )
    noise = refresh_noise(r, batch)
    n = r.on_rate.size
    away = (seen[-2:] - r.on_rate) / np.sqrt(noise.variance)
    assert (away[1] ** 2).mean() == pytest.approx(1.0, abs=5 * math.sqrt(2 / n))
    measured = np.corrcoef(away)[0, 1]
    assert measured == pytest.approx(noise.autocorrelation[0], abs=5 / math.sqrt(n))
    moved = np.abs(degrees[-1] - degrees[-2])
    assert (moved / noise.churn).mean() == pytest.approx(1.0, abs=5 * math.sqrt((math.pi / 2 - 1) / n))
    # the wrong sign of the gain must fail, and so must the open loop
    for wrong in (-gain, 0.0):
        other = dataclasses.replace(r, gain=wrong * line["beta"] * r.on_rate * (1 - r.on_rate))
        ratio = (refresh_noise(other, batch).variance / noise.variance).mean() if abs(wrong) < 1 else math.inf
        assert (away[1] ** 2).mean() != pytest.approx(ratio, abs=5 * math.sqrt(2 / n))


def test_binomial_batches_do_the_same():
    batch, n = 5_000, 4_000
    r, line, respond = population(1.0, n=n)
    seen, _ = live(
        respond, r.on_rate, n_refreshes=12, sample=binomial(batch, np.random.default_rng(2)), **line
    )
    noise = refresh_noise(r, batch)
    away = (seen[-1] - r.on_rate) / np.sqrt(noise.variance)
    assert (away**2).mean() == pytest.approx(1.0, abs=5 * math.sqrt(2 / n))


@pytest.mark.parametrize("gain", [-0.5, 0.0, 1.7])
def test_noise_biases_the_degrees(gain):
    """(1-2a) Var/(2 chi^2 beta) in an open loop, as theory has it; 1 - g of the closed loop's in that."""
    batch, n, n_refreshes = 25, 20_000, 80
    r, line, respond = population(gain, n=n, seed=4)
    sample = normal(batch, np.random.default_rng(5))
    seen, degrees = live(respond, r.on_rate, n_refreshes=n_refreshes, sample=sample, **line)
    noise = refresh_noise(r, batch)
    a = r.on_rate
    lifted = (1 - 2 * a) * noise.variance / (2 * (a * (1 - a)) ** 2)
    assert noise.degree_bias == pytest.approx((1 - gain) * lifted / r.beta, rel=ROUNDING)
    late = slice(20, None)
    bias = (degrees[late] - r.degree).mean()
    # refreshes repeat each other by the multiplier; the next order of the expansion is Var/chi^2 of this one
    n_free = 60 * (1 - abs(r.multiplier[0])) / (1 + abs(r.multiplier[0])) * n
    error = 5 * noise.degree_stddev.mean() / math.sqrt(n_free)
    second = (noise.variance / (a * (1 - a)) ** 2).mean() * np.abs(noise.degree_bias).mean()
    predicted = noise.degree_bias.mean()
    assert bias == pytest.approx(predicted, abs=error + 3 * second)
    assert abs(predicted) > 2 * (error + 3 * second)
    if gain == 0:
        shift = (inactivity_log_odds(seen[late]) - inactivity_log_odds(a)).mean()
        assert shift == pytest.approx(lifted.mean(), rel=0.1)


def test_short_intervals_change_more_links_and_are_no_less_stable():
    """The two readings of "a too short interval oscillates", for gains below and above 1."""
    intervals = [1, 5, 15, 30, 50]
    for gain in (0.8, 2.0):
        maps = [population(gain, n=3, interval=d, ema_decay=0.98)[0] for d in intervals]
        margins = [r.least_margin for r in maps]
        assert margins == sorted(margins, reverse=True)
        assert maps[0].multiplier.min() > 0.9
        churn = [refresh_noise(r, 64).churn_per_step for r in maps]
        assert churn[:4] == sorted(churn[:4], reverse=True)
        assert churn[0] > 3 * churn[3]
        assert [refresh_noise(r, 64).variance[0] for r in maps] == sorted(
            refresh_noise(r, 64).variance[0] for r in maps
        )


def test_limits():
    still = refresh_noise(refresh_map([0.0, 1.0, 0.9, 0.3], gain=[0, 0, 0, 0.06], **LINE), 10)
    assert still.churn[:3].tolist() == [0.0] * 3
    assert still.degree_stddev[:3].tolist() == [0.0] * 3
    assert still.variance[:2].tolist() == [0.0, 0.0]
    assert still.variance[2] == pytest.approx(0.9 * 0.1 / 10 * 0.1 / 1.9)
    unstable = refresh_noise(refresh_map([0.5, 0.4], gain=[0.0, 0.09], **LINE), 10)
    assert unstable.variance[1] == math.inf
    assert math.isnan(unstable.autocorrelation[1])
    assert json.loads(unstable.to_json())["churn_per_refresh"] is None
    # without a memory a refresh sees the last batch alone
    bare = refresh_noise(refresh_map([0.3], gain=0.0, **(LINE | {"ema_decay": 0.0})), 10)
    assert bare.variance[0] == pytest.approx(0.021)
    none = refresh_noise(refresh_map([0.9], gain=0.0, **(LINE | {"d0": 0.0})), 10)
    assert math.isnan(none.churn_share)
    rare = refresh_noise(refresh_map([1e-4, 0.3], gain=0.0, **LINE), 10)
    assert rare.n_noisy == 1


def test_record_round_trips(tmp_path):
    noise = refresh_noise(population(0.8, n=80)[0], 32)
    noise.save(tmp_path / "noise.json")
    assert RefreshNoise.load(tmp_path / "noise.json") == noise
    assert noise.churn_per_step == noise.churn_per_refresh / 8


@pytest.mark.parametrize("batch", [0, -1, math.inf, math.nan, "many"])
def test_bad_input(batch):
    with pytest.raises(ValueError, match="batch"):
        refresh_noise(population(0.8, n=2)[0], batch)

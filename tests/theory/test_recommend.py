import json
import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from bbtheory import (
    Recommendation,
    match_density,
    recommend,
    refresh_map,
    refresh_noise,
    target_degree,
    threshold_for_beta,
)
from bbtheory.theory import knobs
from bbtheory.theory.entropy import inactivity_log_odds, on_rate_from_log_odds
from tests.refreshing import binomial, live

TOP = 256.0
# a density is met to the rounding of a sum of degrees where the on-rates stand still
DENSITY = 1e-12


def units(n=120, seed=0):
    return on_rate_from_log_odds(np.random.default_rng(seed).normal(1.3, 1.0, n))


CASES = {
    "assumed": {},
    "assumed, small drive": {"drive": 0.0},
    "open loop": {"actuator": "sp_out"},
    "both": {"actuator": "both"},
    "measured": {"gain": np.random.default_rng(1).normal(0.0, 0.002, 120)},
    "measured elsewhere": {
        "gain": np.random.default_rng(1).normal(0.0005, 0.0005, 120),
        "degree": np.full(120, 130.0),
    },
    "strict": {"margin": 0.9},
    "fixed interval": {"gain": 0.003, "interval": 200},
    "fixed EMA": {"gain": 0.003, "ema_decay": 0.9},
    "fixed slope": {"actuator": "sp_out", "beta": 0.05},
    "quiet": {"degree_tolerance": 0.1},
    "floor": {"min_degree": 16.0},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("density", [0.1, 0.3, 0.7])
def test_every_set_is_what_the_map_says_and_asks(case, density):
    """Density, margin and noise, all computed again from the knobs alone."""
    asked = CASES[case]
    r = recommend(units(), density, 128, max_degree=TOP, **asked)
    assert r.achieved == pytest.approx(density, abs=1e-7 if "degree" in asked else DENSITY)
    assert r.meets_margin
    assert r.least_margin >= asked.get("margin", 0.5) - 1e-12
    for name in ("interval", "ema_decay", "beta"):
        assert getattr(r, name) == asked.get(name, getattr(r, name))
    assert set(r.reasons) == {"beta", "d0", "threshold", "interval", "ema_decay", "burn_in"}
    assert len(r.maps) == (2 if "gain" not in asked and r.actuator != "sp_out" else 1)
    for held in r.maps:
        again = refresh_map(
            units(),
            beta=r.beta,
            d0=r.d0,
            min_degree=r.min_degree,
            max_degree=TOP,
            interval=r.interval,
            ema_decay=r.ema_decay,
            actuator=r.actuator,
            **{
                "sp_out": {},
                "both": {"gain": held.gain / held.kept_share, "kept_share": held.kept_share},
                "sp_in": {"gain": asked.get("gain", held.gain), "degree": asked.get("degree")},
            }[r.actuator],
        )
        assert again.degree == pytest.approx(held.degree, abs=1e-9)
        assert again.margin == pytest.approx(held.margin, abs=1e-9)
        assert again.n_unstable == 0
        free = refresh_noise(again, 128).degree_stddev[~again.clipped]
        if "ema_decay" not in asked and case != "fixed slope":
            assert (free <= r.degree_tolerance * (1 + 1e-9)).mean() >= 0.9 - 1 / free.size


def test_a_population_lives_by_the_recommended_knobs():
    """Sampled units under them settle at the density, do not oscillate, and fluctuate as little as said."""
    a, density, batch = units(400, seed=2), 0.3, 64
    z = ndtri(a)
    chosen = match_density(a, density, beta=0.1, max_degree=TOP).degree
    rise = np.random.default_rng(3).uniform(-0.5, 2.0, 400) / chosen
    gain = rise * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    r = recommend(a, density, batch, gain=gain, max_degree=TOP)

    def respond(degree):
        return ndtr(z + rise * (degree - r.degree))

    _, degrees = live(
        respond,
        np.full(400, 0.5),
        beta=r.beta,
        d0=r.d0,
        max_degree=TOP,
        interval=r.interval,
        ema_decay=r.ema_decay,
        n_refreshes=-(-r.burn_in // r.interval) + 60,
        sample=binomial(batch, np.random.default_rng(4)),
    )
    late = degrees[-40:]
    assert late.mean() / TOP == pytest.approx(density, abs=0.01)
    free = ~r.maps[0].clipped
    spread = np.quantile(late.std(axis=0)[free], 0.9)
    assert 0.5 * r.degree_noise < spread < 1.3 * r.degree_noise
    churn = np.abs(np.diff(late, axis=0)).sum(axis=1).mean() / r.interval
    assert churn == pytest.approx(r.churn_per_step, rel=0.15)
    # the control: the same line, refreshed without memory at ten times the stable gain, does not settle
    _, steep = live(
        lambda k: ndtr(z + 10 * np.abs(rise) * (k - r.degree) / r.least_margin),
        np.full(400, 0.5),
        beta=r.beta,
        d0=r.d0,
        max_degree=TOP,
        interval=r.interval * 20,
        ema_decay=r.ema_decay,
        n_refreshes=8,
        sample=lambda on_rate: on_rate,
    )
    assert np.quantile(steep[-4:].std(axis=0), 0.9) > 5 * spread


def test_larger_requests_have_their_price():
    a = units()
    plain = recommend(a, 0.3, 128, max_degree=TOP)
    assert recommend(a, 0.3, 128, max_degree=TOP, margin=0.8).beta > plain.beta
    assert recommend(a, 0.3, 128, max_degree=TOP, actuator="sp_out").beta < plain.beta
    assert recommend(a, 0.3, 2, max_degree=TOP, actuator="sp_out").ema_decay > plain.ema_decay
    steep = recommend(a, 0.3, 128, max_degree=TOP, gain=0.01)
    assert steep.interval < recommend(a, 0.3, 128, max_degree=TOP, gain=0.001).interval
    assert "raised" in plain.reasons["beta"]
    assert "loop gains reach" in steep.reasons["interval"]


def test_fixed_knobs_that_miss_the_margin_say_so():
    fixed = {"beta": 0.01, "interval": 200, "ema_decay": 0.9}
    with pytest.warns(UserWarning, match=r"leave a stability margin of -.*, 0\.5 was asked"):
        r = recommend(units(), 0.3, 128, max_degree=TOP, gain=0.01, **fixed)
    assert not r.meets_margin
    assert json.loads(r.to_json())["settling_steps"] is None


def test_rare_units_in_small_batches_are_said_to_be_rough():
    with pytest.warns(UserWarning, match="units are on too rarely"):
        recommend(np.full(10, 1e-7), 0.3, 1, max_degree=TOP, gain=0.0)


def test_record_round_trips(tmp_path):
    r = recommend(units(), 0.3, 128, max_degree=TOP)
    r.save(tmp_path / "knobs.json")
    assert Recommendation.load(tmp_path / "knobs.json") == r
    assert list(r.to_frame()) == list(Recommendation.UNITS)


def test_populations_without_anything_to_choose():
    same = recommend([0.2], 0.4, 32, max_degree=10)
    assert same.degree == pytest.approx([4.0])
    alike = recommend(np.full(7, 0.2), 0.4, 32, max_degree=10)
    assert alike.degree == pytest.approx(np.full(7, 4.0))
    full = recommend(units(20), 1.0, 32, max_degree=10)
    assert full.degree == pytest.approx(np.full(20, 10.0))
    assert full.n_clipped == 20
    dead = recommend(np.zeros(3), 1.0, 32, max_degree=10)
    assert (dead.burn_in, dead.degree_noise) == (0, 0.0)
    narrow = recommend([0.2, 0.3], 1.0, 32, min_degree=10, max_degree=10)
    assert narrow.n_clipped == 2


# the knobs one by one


def test_slope_is_the_least_that_the_clips_allow():
    a = np.concatenate([units(300), [0.0] * 10, [1.0] * 5])
    least = knobs.least_slope(a, 0.3, 0.0, TOP, 0.1)

    def clipped(beta):
        k = match_density(a, 0.3, beta=beta, max_degree=TOP).degree[:300]
        return ((k <= 0) | (k >= TOP)).mean()

    assert clipped(least) <= 0.1 < clipped(0.97 * least)


@pytest.mark.parametrize(
    ("beta", "d0", "low", "high"),
    [(0.5, 0.0, 0, 64), (0.1, 30.0, 0, 64), (0.1, 30.0, 0, 20), (0.2, -5.0, 8, 64), (1.0, 3.0, 0, 64)],
)
def test_threshold_is_the_largest_traffic_on_the_line(beta, d0, low, high):
    a = on_rate_from_log_odds(np.linspace(-40, 40, 400_001))
    traffic = a * target_degree(a, beta=beta, d0=d0, min_degree=low, max_degree=high)
    # the grid misses the maximum by at most its step squared
    assert knobs.line_threshold(beta, d0, low, high) == pytest.approx(traffic.max(), rel=1e-7)
    if d0 == 0:
        assert knobs.line_threshold(beta, d0, low, high) == pytest.approx(threshold_for_beta(beta), rel=1e-14)


def test_assumed_gain_bounds_gaussian_units():
    """A sum of k alike inputs and a bias, by finite differences in k."""
    rng = np.random.default_rng(7)
    k, drive = rng.uniform(5, 300, 500), rng.uniform(-2, 2, 500)
    bias = rng.normal(0, 1.5, 500)

    def on_rate(links):
        # per link: mean drive/sqrt(k) and variance 1/k at the reference k
        return ndtr((bias + drive * links / k) / np.sqrt(links / k))

    step = 1e-4 * k
    slope = (on_rate(k + step) - on_rate(k - step)) / (2 * step)
    bound = knobs.gaussian_gain(on_rate(k), k, 2.0)
    assert (np.abs(slope) <= bound * (1 + 1e-6)).all()
    assert (np.abs(slope) > knobs.gaussian_gain(on_rate(k), k, 0.5)).any()
    assert np.quantile(np.abs(slope) / bound, 0.95) > 0.7
    assert knobs.gaussian_gain(np.array([0.0, 1.0]), np.array([3.0, 3.0]), 2.0).tolist() == [0.0, 0.0]


def test_burn_in_is_when_the_degrees_are_there():
    a = np.concatenate([units(50), [0.0, 1.0, 0.5, 0.97]])
    line = {"beta": 0.05, "d0": 60.0}
    k = target_degree(a, max_degree=TOP, **line)
    steps = knobs.burn_in_steps(a, k, low=0.0, high=TOP, ema_decay=0.97, tolerance=2.0, **line)

    def worst(t):
        seen = a + 0.97**t * (0.5 - a)
        return np.abs(target_degree(seen, max_degree=TOP, **line) - k)[(a > 0) & (a < 1)].max()

    assert worst(steps) <= 2.0 < worst(steps - 1)
    assert knobs.burn_in_steps(a, k, low=0.0, high=TOP, ema_decay=0.0, tolerance=2.0, **line) == 1
    half = np.array([0.5])
    assert (
        knobs.burn_in_steps(half, half, low=0.0, high=TOP, ema_decay=0.9, tolerance=1.0, beta=1.0, d0=0.5)
        == 0
    )
    assert inactivity_log_odds(0.5) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_rate": []}, "on_rate must not be empty"),
        ({"on_rate": [0.1, 1.1]}, "on_rate"),
        ({"density": 0.0}, "density"),
        ({"density": 1.5}, "density"),
        ({"on_rate": [0.0, 0.0, 0.1], "density": 0.3}, r"between 0\.666667 and 1 here, got 0\.3"),
        ({"on_rate": [0.0, 0.0, 0.1], "density": 0.3, "gain": 0.1, "degree": [5.0] * 3}, r"0\.666667 and 1"),
        ({"batch": 0}, "batch"),
        ({"max_degree": 0}, "max_degree"),
        ({"min_degree": 500}, "min_degree"),
        ({"margin": 1.0}, "margin"),
        ({"margin": 0.0}, "margin"),
        ({"gain": [0.1]}, "gain must be a number or have shape"),
        ({"degree": [1.0, 2.0]}, "degree must be given together with gain"),
        ({"gain": 0.1, "degree": [1.0]}, "degree must have shape"),
        ({"gain": 0.1, "actuator": "sp_out"}, "gain must not be given with sp_out"),
        ({"actuator": "up"}, "actuator must be one of"),
        ({"degree_tolerance": 0.0}, "degree_tolerance"),
        ({"drive": -1.0}, "drive"),
        ({"beta": -1.0}, "beta"),
        ({"interval": 0}, "interval"),
        ({"ema_decay": 1.0}, "ema_decay"),
    ],
)
def test_bad_input(arguments, message):
    given = {"on_rate": [0.1, 0.2], "density": 0.3, "batch": 64, "max_degree": 64} | arguments
    with pytest.raises(ValueError, match=message):
        recommend(**given)

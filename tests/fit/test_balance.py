import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import linregress, norm, truncnorm

from bbtheory import fit_balance, inactivity_log_odds, on_rate_from_log_odds
from bbtheory.fit.balance import BalanceFit
from bbtheory.fit.hyperbola import fit_hyperbola
from bbtheory.tables import read_csv


def line_units(rng, n=64, beta=0.12, d0=6.0, noise=0.3, most=32):
    k = rng.integers(1, most + 1, n)
    return on_rate_from_log_odds(beta * (k - d0) + rng.normal(0, noise, n)), k


def hyperbola_units(rng, n=64, tau=6.3, noise=0.2):
    k = rng.integers(8, 129, n)
    return np.minimum(tau / k * np.exp(rng.normal(0, noise, n)), 0.999), k


def threshold_units(rng, n=64, tau=6.3, most=128):
    """What cutting links while on-rate * fan-out > tau leaves: floor(tau / a), at most ``most``."""
    a = np.exp(rng.uniform(np.log(0.02), np.log(0.6), n))
    return a, np.minimum(np.floor(tau / a), most)


def one(a, k, **options):
    return fit_balance(a, k, n_permutations=999, **options).groups[0]


def test_a_line_without_noise_is_recovered():
    k = np.arange(20)
    group = one(on_rate_from_log_odds(0.25 * (k - 3)), k)
    assert group.slope == pytest.approx(0.25, rel=1e-9)
    assert group.intercept == pytest.approx(-0.75, rel=1e-9)
    assert (group.r_squared, group.verdict) == (1.0, "balanced")
    assert group.n_silent == 1
    assert group.permutation_p == 1 / 1000


def test_a_hyperbola_without_noise_is_recovered():
    k = np.arange(7, 60)
    group = one(6.5 / k, k)
    assert group.tau == pytest.approx(6.5, rel=1e-6)
    assert group.verdict == "hyperbolic"
    assert np.isfinite([s.aicc for s in group.comparison]).all()


def test_the_line_is_scipys():
    a, k = line_units(np.random.default_rng(0))
    group = one(a, k)
    expected = linregress(k, inactivity_log_odds(a))
    assert group.slope == pytest.approx(expected.slope, rel=1e-10)
    assert group.intercept == pytest.approx(expected.intercept, rel=1e-10)
    assert group.r_squared == pytest.approx(expected.rvalue**2, rel=1e-10)


def test_dead_saturated_and_clipped_units_are_counted():
    a, k = line_units(np.random.default_rng(1), most=30)
    plain = one(a, k)
    a = np.concatenate([a, [0, 0, 1, 0.2, 0.2, 0.2, 0]])
    k = np.concatenate([k, [5, 0, 3, 0, 31, 40, 31]])
    group = one(a, k, min_degree=0, max_degree=31)
    counts = (group.n_used, group.n_dead, group.n_saturated, group.n_clipped)
    assert counts == (64, 3, 1, 3)
    assert group.slope == plain.slope
    assert fit_balance(a, k, min_degree=0, max_degree=31).used.sum() == 64


def test_groups_keep_their_order():
    rng = np.random.default_rng(2)
    a, k = line_units(rng, n=90)
    labels = np.repeat(["c", "a", "b"], 30)
    fit = fit_balance(a, k, group=labels)
    assert [g.group for g in fit.groups] == ["c", "a", "b"]
    alone = fit_balance(a[:30], k[:30]).groups[0]
    assert fit.groups[0].slope == alone.slope
    assert fit_balance(a, k, group=np.repeat([2, 1, 3], 30)).groups[0].group == "2"
    assert fit_balance(a, k).groups[0].group == "all"


def test_recovery_within_the_interval():
    rng = np.random.default_rng(3)
    n_sets = 300
    slope = intercept = tau = 0
    for _ in range(n_sets):
        k = rng.integers(1, 33, 40)
        # errors of very different size, as on-rates measured on few samples have
        a = on_rate_from_log_odds(0.1 * (k - 5) + rng.normal(0, 0.1 + 0.02 * k))
        group = fit_balance(a, k, n_permutations=99).groups[0]
        slope += int(group.slope_interval[0] <= 0.1 <= group.slope_interval[1])
        intercept += int(group.intercept_interval[0] <= -0.5 <= group.intercept_interval[1])
        curved = fit_balance(*hyperbola_units(rng, 40), n_permutations=99).groups[0]
        tau += int(curved.tau_interval[0] <= 6.3 <= curved.tau_interval[1])
    # 300 sets: 0.95 is known to 0.013
    for hits in (slope, intercept, tau):
        assert 0.91 <= hits / n_sets <= 0.99


@pytest.mark.parametrize(
    ("units", "verdict"),
    [(line_units, "balanced"), (hyperbola_units, "hyperbolic"), (threshold_units, "hyperbolic")],
)
def test_verdicts(units, verdict):
    rng = np.random.default_rng(4)
    options = {"max_degree": 128} if units is threshold_units else {}
    found = [one(*units(rng), **options).verdict for _ in range(30)]
    assert found.count(verdict) >= 29


def test_shuffled_units_are_judged_none():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(100):
        a, k = line_units(rng)
        found.append(one(rng.permutation(a), k).verdict)
    # 5 % pass p < 0.05 by chance, 1 % p < 0.01
    assert found.count("none") >= 88
    assert found.count("balanced") <= 5


def test_log_odds_that_fall_with_fan_out_are_no_balance():
    a, k = line_units(np.random.default_rng(6), beta=-0.12)
    group = one(a, k)
    assert (group.verdict, group.permutation_p) == ("none", 1.0)
    assert group.slope_interval[1] < 0


def test_undecided_says_why():
    rng = np.random.default_rng(7)
    a, k = line_units(rng)
    few = one(a[:4], k[:4])
    assert (few.verdict, few.reason) == ("undecided", "4 usable units, a line needs 5")
    assert math.isnan(few.slope)
    same = one(a, np.full(64, 7))
    assert (same.verdict, same.reason) == ("undecided", "all 64 usable units have fan-out 7")
    weak = one(rng.permutation(a)[:12], k[:12])
    assert weak.verdict == "undecided"
    # over a factor of 1.7 in on-rate line and hyperbola look alike
    a = np.exp(rng.uniform(np.log(0.3), np.log(0.5), 40))
    close = one(a, np.floor(30 / a) + rng.integers(-6, 7, 40))
    assert close.verdict == "undecided"
    assert "within" in close.reason
    text = json.loads(fit_balance(a[:4], k[:4]).to_json())
    assert text["groups"][0]["slope"] is None


def test_the_hyperbola_is_a_density_of_log_odds():
    """Integrating the stated density over all log-odds gives 1, and its maximum is what the fit returns."""
    rng = np.random.default_rng(8)
    k = rng.integers(5, 40, 30).astype(float)
    room = np.log(k / 6.0) / 0.4
    a = 6.0 / k * np.exp(0.4 * truncnorm.rvs(-np.inf, room, random_state=rng))

    def log_density(odds, fan_out, log_tau, sigma):
        on = on_rate_from_log_odds(odds)
        normal = norm.logpdf(np.log(on * fan_out), log_tau, sigma)
        return np.log1p(-on) + normal - norm.logcdf((np.log(fan_out) - log_tau) / sigma)

    for fan_out in (3.0, 6.0, 30.0):
        mass = quad(
            lambda odds, f=fan_out: np.exp(log_density(odds, f, np.log(6.0), 0.4)), -30, 15, limit=200
        )
        assert mass[0] == pytest.approx(1.0, abs=1e-6)

    odds = inactivity_log_odds(a)
    free = minimize(
        lambda p: -log_density(odds, k, p[0], np.exp(p[1])).sum(), [1.5, -1.0], method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-12},
    )  # fmt: skip
    fit = fit_hyperbola(a, k)
    assert fit.log_likelihood == pytest.approx(-free.fun, abs=1e-6)
    assert fit.log_tau == pytest.approx(free.x[0], abs=1e-4)


def test_a_unit_without_links_does_not_decide():
    """It has no place on the hyperbola: laws are compared without it, the line is fitted with it."""
    rng = np.random.default_rng(13)
    a, k = hyperbola_units(rng)
    plain, orphan = one(a, k), one(np.append(a, 0.4), np.append(k, 0))
    assert (orphan.verdict, orphan.n_silent, orphan.n_used) == ("hyperbolic", 1, 65)
    assert orphan.comparison == plain.comparison
    assert orphan.slope != plain.slope
    a, k = line_units(rng, n=40)
    few = one(a, np.where(np.arange(40) < 36, 0, k + 10))
    assert few.comparison == ()
    assert few.verdict in ("undecided", "none")


def test_aicc_counts_the_constants_of_the_likelihoods():
    """The line's likelihood is that of normal log-odds, written out."""
    a, k = line_units(np.random.default_rng(9))
    group = one(a, k)
    odds = inactivity_log_odds(a)
    residual = odds - group.intercept - group.slope * k
    log_likelihood = norm.logpdf(residual, scale=residual.std()).sum()
    line = next(s for s in group.comparison if s.model == "line")
    assert line.aicc == pytest.approx(-2 * log_likelihood + 6 + 24 / 60)
    constant = next(s for s in group.comparison if s.model == "constant")
    assert constant.aicc == pytest.approx(-2 * norm.logpdf(odds, odds.mean(), odds.std()).sum() + 4 + 12 / 61)


def test_record_round_trip(tmp_path):
    a, k = line_units(np.random.default_rng(10), n=80)
    fit = fit_balance(a, k, group=np.repeat([1, 2], 40), degree_kind="fan_in")
    fit.save(tmp_path / "fit.json")
    assert BalanceFit.load(tmp_path / "fit.json") == fit
    assert fit_balance(a, k, group=np.repeat([1, 2], 40), degree_kind="fan_in") == fit


def test_json_keys():
    fit = fit_balance(*line_units(np.random.default_rng(11)))
    text = json.loads(fit.to_json())
    assert text["kind"] == "balance"
    keys = {"group", "slope", "slope_interval", "intercept", "r_squared", "n_used", "n_dead", "n_saturated"}
    keys |= {"n_clipped", "permutation_p", "comparison", "verdict", "reason"}
    assert keys <= text["groups"][0].keys()
    assert [s["model"] for s in text["groups"][0]["comparison"]] == ["line", "hyperbola", "constant"]
    assert text["groups"][0]["comparison"][0].keys() == {"model", "k", "aicc"}


A, K = line_units(np.random.default_rng(12), n=8)


@pytest.mark.parametrize(
    ("on_rate", "fan_out", "options", "expected"),
    [
        ([], [], {}, "on_rate must not be empty"),
        (A, K[1:], {}, r"fan_out must have shape \(8,\), got \(7,\)"),
        (A + 1, K, {}, r"on_rate must be numbers in \[0, 1\]"),
        (A * np.nan, K, {}, "on_rate .* got nan at index 0"),
        (A, -K, {}, r"fan_out must be numbers in \[0, 1e15\], got -\d+.0 at index 0"),
        (A, K * np.inf, {}, "fan_out .* got inf"),
        (["x"] * 8, K, {}, "on_rate must be an array of real numbers"),
        (A, K, {"group": ["a"]}, r"group must have shape \(8,\), got \(1,\)"),
        (A, K, {"min_degree": -1}, "min_degree must be a number in"),
        (A, K, {"max_degree": math.nan}, "max_degree must be a number in"),
        (A, K, {"min_degree": 3, "max_degree": 3}, "max_degree must be above min_degree 3, got 3"),
        (A, K, {"degree_kind": "fan"}, "degree_kind must be one of fan_out, fan_in, got 'fan'"),
        (A, K, {"level": 0}, "level must be a number in"),
        (A, K, {"n_permutations": 10}, "n_permutations must be an integer in"),
        (A, K, {"seed": -1}, "seed must be an integer in"),
    ],
)
def test_bad_input(on_rate, fan_out, options, expected):
    with pytest.raises(ValueError, match=expected):
        fit_balance(on_rate, fan_out, **options)


@pytest.mark.data
@pytest.mark.parametrize("degree", ["fan_out", "fan_in"])
def test_a_magnitude_pruned_network_is_no_balance(degree):
    """A negative control: nothing in magnitude pruning knows of on-rates."""
    path = Path(os.environ["BBTHEORY_DATA"]) / "measured" / "fashion_mnist_mlp_units.csv"
    table = read_csv(str(path))
    fit = fit_balance(table.numbers("on_rate"), table.numbers(degree), group=table.text("layer"))
    first, second = fit.groups
    assert (first.n_used, first.n_dead, first.n_saturated) == (261, 26, 13)
    assert (second.n_used, second.n_dead, second.n_saturated) == (94, 3, 3)
    assert "balanced" not in (first.verdict, second.verdict)
    if degree == "fan_out":
        assert (first.verdict, second.verdict) == ("none", "none")

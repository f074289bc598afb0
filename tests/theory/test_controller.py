import math

import numpy as np
import pytest

from bbtheory import match_density, target_degree
from bbtheory.theory.controller import RULES, DensityMatch
from bbtheory.theory.entropy import inactivity_log_odds

# a density is met to the rounding of a sum of degrees
DENSITY = 1e-12


def units(n=300, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.beta(0.5, 1.5, n)
    a[rng.random(n) < 0.05] = 0.0
    a[rng.random(n) < 0.05] = 1.0
    return a


def test_degrees_by_hand():
    k = target_degree([0.5, 0.1, 0.9, 0.0, 1.0], beta=0.5, d0=2.0, max_degree=8)
    assert k.tolist() == pytest.approx([2.0, 2 + 2 * math.log(9), 0.0, 8.0, 0.0])
    assert target_degree([0.5, 0.1], rule="equal_traffic", d0=1.0, max_degree=8).tolist() == [2.0, 8.0]
    assert target_degree([0.5, 0.1], rule="uniform", d0=3.0, max_degree=8).tolist() == [3.0, 3.0]
    assert target_degree([0.1], beta=0.5, d0=2.0, min_degree=7, max_degree=8)[0] == 7.0
    assert target_degree([0.1, 0.2], beta=1.0, d0=0.3, max_degree=8, integer=True).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize("density", [0.05, 0.3, 0.77])
def test_every_density_is_met(rule, integer, density):
    a = units()[units() > 0] if density == 0.05 else units()  # dead units alone keep 5 % of the links
    beta = 0.3 if rule == "balance" else None
    m = match_density(a, density, rule=rule, beta=beta, max_degree=50, integer=integer)
    if integer:
        assert (m.degree == np.rint(m.degree)).all()
        assert m.degree.sum() == round(density * a.size * 50)
        assert m.achieved == pytest.approx(density, abs=0.5 / (a.size * 50))
    else:
        assert m.achieved == pytest.approx(density, abs=DENSITY)
    real = target_degree(a, rule=rule, beta=beta, d0=m.d0, max_degree=50)
    assert real.mean() / 50 == pytest.approx(density, abs=DENSITY)
    assert np.abs(m.degree - real).max() < (1 if integer else 1e-9)


def test_density_never_falls_in_d0():
    a = units()
    means = [target_degree(a, beta=0.2, d0=d, max_degree=40).mean() for d in np.linspace(-60, 60, 400)]
    assert (np.diff(means) >= 0).all()
    assert means[-1] > means[0]


def test_ties_are_broken_by_index():
    m = match_density(np.full(10, 0.2), 0.33, beta=1.0, max_degree=10, integer=True)
    assert m.degree.tolist() == [4, 4, 4, 3, 3, 3, 3, 3, 3, 3]


def brute_roots(a, density, d0, top):
    u = np.exp(np.linspace(-7, 7, 30_001))
    odds = inactivity_log_odds(a)
    error = np.array([np.clip(d0 + odds * x, 0, top).mean() / top - density for x in u])
    return int((np.sign(error[1:]) * np.sign(error[:-1]) < 0).sum())


@pytest.mark.parametrize("seed", range(12))
def test_all_roots_in_beta(seed):
    rng = np.random.default_rng(seed)
    a, top, d0 = rng.beta(0.7, 0.7, 9), 20.0, 6.0
    reachable = [
        target_degree(a, beta=b, d0=d0, max_degree=top).mean() / top for b in np.geomspace(0.01, 50, 500)
    ]
    density = float(rng.uniform(min(reachable), max(reachable)))
    m = match_density(a, density, solve_for="beta", d0=d0, max_degree=top)
    for beta in m.roots:
        assert target_degree(a, beta=beta, d0=d0, max_degree=top).mean() / top == pytest.approx(
            density, abs=1e-11
        )
    assert len(m.roots) >= brute_roots(a, density, d0, top)
    assert m.beta == m.roots[0]


def test_several_roots_exist_and_are_all_found():
    # frequent units fall and rare ones rise as the line turns flatter: more than one slope meets the density
    a = np.array([0.9, 0.9, 0.9, 0.45, 0.45, 0.45, 0.45, 0.01])
    m = match_density(a, 0.29, solve_for="beta", d0=6.0, max_degree=20)
    assert len(m.roots) == brute_roots(a, 0.29, 6.0, 20.0) >= 2
    # below 1/2 alone the density is monotone: one root
    assert len(match_density([0.1, 0.2, 0.4], 0.6, solve_for="beta", d0=6.0, max_degree=20).roots) == 1


def test_the_rest_at_a_density_is_an_interval():
    m = match_density([0.01, 0.99], 0.5, beta=1.0, max_degree=4)
    assert len(m.roots) == 2  # one unit full, one empty, over a range of d0
    for d0 in (m.roots[0], m.roots.mean(), m.roots[1]):
        assert target_degree([0.01, 0.99], beta=1.0, d0=d0, max_degree=4).mean() == pytest.approx(2.0)


def test_a_rest_without_an_end_shows_the_other():
    a, line = [0.1, 0.2], np.log([9.0, 4.0])
    full = match_density(a, 1.0, beta=1.0, max_degree=6)
    assert full.roots.tolist() == pytest.approx([6 - line[1]])  # the least d0 that fills every unit
    empty = match_density(a, 0.5, beta=1.0, min_degree=3, max_degree=6)
    assert empty.roots.tolist() == pytest.approx([3 - line[0]])  # the largest that leaves every unit at m


def test_where_every_slope_meets_the_density_one_is_given():
    m = match_density([0.1, 0.9], 0.5, solve_for="beta", d0=2.5, max_degree=5)
    assert m.roots.tolist() == [1.0]
    assert m.achieved == pytest.approx(0.5)


def test_full_density_and_dead_units():
    m = match_density([0.2, 0.0], 1.0, beta=1.0, max_degree=4)
    assert m.degree.tolist() == [4.0, 4.0]
    assert match_density([0.0, 0.0], 1.0, beta=1.0, max_degree=4).degree.tolist() == [4.0, 4.0]


def test_a_million_units_at_once():
    a = np.random.default_rng(0).beta(0.5, 1.5, 1_000_000)
    m = match_density(a, 0.3, beta=0.3, max_degree=100, integer=True)
    assert m.degree.sum() == 30_000_000


def test_round_trip(tmp_path):
    m = match_density(units(20), 0.4, rule="uniform", max_degree=10)
    m.save(tmp_path / "m.json")
    assert DensityMatch.load(tmp_path / "m.json") == m
    assert m.to_dict()["beta"] is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"on_rate": [1.2]}, r"on_rate must be numbers in \[0, 1\], got 1.2 at index 0"),
        ({"on_rate": []}, "on_rate must not be empty"),
        ({"density": 0.0}, r"density must be a number in \(0, 1\], got 0.0"),
        ({"density": 1.5}, "density must be"),
        ({"density": None}, "density must be"),
        ({"beta": None}, "beta must be given under rule 'balance'"),
        ({"beta": 0.0}, r"beta must be a number in \(0, inf\)"),
        ({"rule": "best"}, "rule must be one of balance, equal_traffic, uniform"),
        ({"solve_for": "tau"}, "solve_for must be one of d0, beta"),
        ({"solve_for": "beta"}, "must be given d0 and no beta"),
        ({"solve_for": "beta", "rule": "uniform"}, "must go with rule 'balance'"),
        ({"d0": 1.0}, "must not be given d0"),
        ({"max_degree": 0}, "max_degree must be"),
        ({"max_degree": 1e308}, r"max_degree must be a number in \(0, 1e15\]"),
        ({"integer": np.array([True, False])}, "integer must be True or False"),
        ({"rule": np.array(["balance"])}, "rule must be one of"),
        ({"min_degree": 9}, "min_degree must be at most max_degree 8, got 9"),
        ({"max_degree": 8.5, "integer": True}, "max_degree must be a whole number"),
        (
            {"on_rate": [0.0, 0.5], "density": 0.3},
            "density must be reachable by d0: between 0.5 and 1 here, got 0.3",
        ),
        (
            {"on_rate": [0.9, 0.8], "solve_for": "beta", "beta": None, "d0": 2.0, "density": 0.9},
            "reachable by beta: between 0 and 0.25 here, got 0.9",
        ),
    ],
)
def test_bad_input(more, message):
    arguments = {"on_rate": [0.2, 0.3], "density": 0.5, "beta": 1.0, "max_degree": 8} | more
    with pytest.raises(ValueError, match=message):
        match_density(**arguments)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"beta": None}, "beta must be given"),
        ({"d0": np.nan}, "d0 must be"),
        ({"rule": "equal_traffic", "d0": -1.0}, r"d0 must be a number in \[0, 1e15\]"),
        ({"on_rate": [np.nan]}, "on_rate must be"),
    ],
)
def test_bad_input_of_degrees(more, message):
    arguments = {"on_rate": [0.2], "beta": 1.0, "max_degree": 8} | more
    with pytest.raises(ValueError, match=message):
        target_degree(**arguments)

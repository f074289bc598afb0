import math

import numpy as np
import pytest

from bbtheory import match_density, population_multipliers, refresh_map
from bbtheory.theory.entropy import inactivity_log_odds

LINE = {"beta": 0.1, "d0": 10.0, "max_degree": 64.0, "interval": 20, "ema_decay": 0.95}
# an eigenvalue decomposition of a few dozen units
ROUNDING = 1e-9


def units(n=25, seed=0, step_fraction=1.0, n_clipped=0):
    rng = np.random.default_rng(seed)
    a = rng.uniform(0.05, 0.45, n)
    a[:n_clipped] = 0.9
    gain = rng.uniform(0.0, 3.0, n) * 0.1 * a * (1 - a)
    return refresh_map(a, gain=gain, step_fraction=step_fraction, **LINE)


@pytest.mark.parametrize("p", [1.0, 0.4])
def test_alone_they_are_those_of_the_units(p):
    r = units(step_fraction=p)
    found = population_multipliers(r)
    each = np.linalg.eigvals(r.jacobian).ravel()
    assert np.sort(np.abs(found)) == pytest.approx(np.sort(np.abs(each)), abs=1e-7)
    assert np.abs(found[0]) == pytest.approx(r.modulus.max(), abs=1e-7)


def finite_differences(r, step):
    """Multipliers of a map of (estimates, degrees), by central differences."""
    n = r.on_rate.size
    rest = np.concatenate([r.on_rate, r.degree])
    columns = []
    for i in range(2 * n):
        h = 1e-6 * (rest[i] if i < n else 1.0)
        up, down = rest.copy(), rest.copy()
        up[i] += h
        down[i] -= h
        columns.append((step(up) - step(down)) / (2 * h))
    found = np.linalg.eigvals(np.array(columns).T)
    return found[np.argsort(-np.abs(found))]


@pytest.mark.parametrize("hold", ["d0", "density"])
@pytest.mark.parametrize("p", [1.0, 0.4])
def test_coupled_units_by_finite_differences(hold, p):
    """Any coupling; with the density held by solving d0 anew at every refresh."""
    rng = np.random.default_rng(3)
    r = units(n=12, step_fraction=p, n_clipped=3)
    coupling = np.diag(r.gain) + 0.002 * rng.standard_normal((12, 12))

    def step(state):
        estimate, degree = np.split(state, 2)
        on_rate = r.on_rate + coupling @ (degree - r.degree)
        seen = on_rate + r.memory * (estimate - on_rate)
        d0 = 10.0
        if hold == "density":
            d0 = match_density(seen, r.density, beta=0.1, max_degree=64).d0
        target = np.clip(d0 + inactivity_log_odds(seen) / 0.1, 0.0, 64.0)
        return np.concatenate([seen, degree + p * (target - degree)])

    found = population_multipliers(r, coupling, hold=hold)
    expected = finite_differences(r, step)
    assert np.abs(found) == pytest.approx(
        np.abs(expected), abs=2e-4
    )  # a zero of multiplicity n moves by eps^(1/2)
    assert found[0].real == pytest.approx(expected[0].real, abs=1e-6)
    # another coupling must fail
    assert np.abs(population_multipliers(r, 2 * coupling, hold=hold)[0] - expected[0]) > 1e-3


def test_a_feed_forward_network_has_the_multipliers_of_its_units():
    r = units()
    coupling = np.tril(np.random.default_rng(1).standard_normal((25, 25)), -1) + np.diag(r.gain)
    found = population_multipliers(r, coupling)
    assert np.sort(found.real) == pytest.approx(np.sort(population_multipliers(r).real), abs=ROUNDING)


@pytest.mark.parametrize("seed", range(5))
def test_holding_the_density_never_destabilises(seed):
    r = units(seed=seed)
    held = population_multipliers(r, hold="density")
    free = r.multiplier[~r.clipped]
    assert np.abs(held.imag).max() < 1e-6
    kept = held.real[: r.on_rate.size]
    assert kept.max() == pytest.approx(r.memory, abs=ROUNDING)  # one mode feels no feedback
    assert kept.min() >= free.min() - ROUNDING
    # between every two multipliers of units lies one of the population
    assert (np.sort(kept)[:-1] <= np.sort(free)[1:] + ROUNDING).all()
    assert (np.sort(kept)[:-1] >= np.sort(free)[:-1] - ROUNDING).all()


def test_two_equal_units_by_hand():
    r = refresh_map([0.5, 0.5], gain=0.05, **LINE)
    held = population_multipliers(r, hold="density").real
    assert held == pytest.approx([-2 + 3 * r.memory, r.memory, 0, 0], abs=ROUNDING)


def test_all_on_clips():
    r = refresh_map([0.9, 0.95], gain=0.05, **(LINE | {"d0": 0.0}))
    assert population_multipliers(r, hold="density").real == pytest.approx([r.memory] * 2 + [0, 0])


@pytest.mark.parametrize(
    ("coupling", "hold", "message"),
    [
        (np.eye(3), "d0", "coupling must have shape"),
        (np.full((25, 25), math.nan), "d0", "coupling"),
        ("all", "d0", "coupling"),
        (None, "tau", "hold must be one of"),
    ],
)
def test_bad_input(coupling, hold, message):
    with pytest.raises(ValueError, match=message):
        population_multipliers(units(), coupling, hold=hold)


def test_too_many_units():
    r = refresh_map(np.full(4_001, 0.3), gain=0.0, **LINE)
    with pytest.raises(ValueError, match="at most 4000 units, got 4001"):
        population_multipliers(r)

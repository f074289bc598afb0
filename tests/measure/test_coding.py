import itertools

import numpy as np
import pytest

from bbtheory.measure import measure_coding
from bbtheory.theory.entropy import binary_entropy, coding_entropy

ALL = np.array(list(itertools.product([0, 1], repeat=3)))


def correlated(rng, n_samples, n_units, a, copy):
    """Units that copy one shared coin with probability ``copy``: pair correlation copy^2."""
    shared = rng.random((n_samples, 1)) < a
    own = rng.random((n_samples, n_units)) < a
    return np.where(rng.random((n_samples, n_units)) < copy, shared, own)


def test_exact_enumeration_of_independent_units():
    a = np.array([0.1, 0.3, 0.45])
    p = np.prod(np.where(ALL == 1, a, 1 - a), axis=1)
    found = measure_coding(ALL, weights=p)
    np.testing.assert_allclose(found.on_rate, a, rtol=1e-15)
    assert found.coding_entropy == pytest.approx(coding_entropy(a), rel=1e-14)
    assert found.pattern_entropy == pytest.approx(coding_entropy(a), rel=1e-14)
    assert found.redundancy == pytest.approx(0, abs=1e-14)
    assert found.mean_abs_correlation == pytest.approx(0, abs=1e-15)
    chi = a * (1 - a)
    share = chi / chi.sum()
    assert found.participation_ratio == pytest.approx(1 / (share @ share), rel=1e-12)
    assert found.effective_rank == pytest.approx(np.exp(-share @ np.log(share)), rel=1e-12)
    assert (found.pattern_status, found.n_patterns, found.redundancy_stderr) == ("exact", 8, 0.0)


def test_exact_enumeration_of_copies():
    found = measure_coding([[0, 0, 1], [1, 1, 0]], weights=[3, 1])
    assert found.pattern_entropy == pytest.approx(float(binary_entropy(0.25)), rel=1e-14)
    assert found.redundancy == pytest.approx(2 * float(binary_entropy(0.25)), rel=1e-14)
    assert found.mean_abs_correlation == pytest.approx(1, rel=1e-14)
    assert found.rms_correlation == pytest.approx(1, rel=1e-14)
    assert found.effective_rank == pytest.approx(1, abs=1e-12)
    assert found.participation_ratio == pytest.approx(1, rel=1e-12)


def test_corrections_by_hand():
    rows = np.array([[0, 0], [0, 1], [1, 1], [0, 0], [0, 0]])
    found = measure_coding(rows)
    h = binary_entropy([0.2, 0.4]) + 0.1
    np.testing.assert_allclose(found.unit_entropy, np.minimum(h, np.log(2)), rtol=1e-15)
    p = np.array([3, 1, 1]) / 5
    plug_in = -(p @ np.log(p))
    assert found.pattern_entropy_plugin == pytest.approx(plug_in, rel=1e-14)
    assert found.pattern_entropy == pytest.approx(plug_in + 2 / 10, rel=1e-14)
    assert (found.n_patterns, found.n_singletons, found.pattern_status) == (3, 2, "too_few_samples")
    rho = np.corrcoef(rows.T)[0, 1]
    assert found.mean_abs_correlation == pytest.approx(abs(rho), rel=1e-13)


def test_dead_and_saturated_units_change_nothing():
    rng = np.random.default_rng(0)
    rows = correlated(rng, 2000, 5, 0.3, 0.5)
    more = np.hstack([rows, np.zeros((2000, 1), dtype=bool), np.ones((2000, 1), dtype=bool)])
    a, b = measure_coding(rows), measure_coding(more)
    assert b.n_constant == 2
    assert b.unit_entropy[-2:].tolist() == [0, 0]
    for name in (
        "pattern_entropy",
        "mean_abs_correlation",
        "effective_rank",
        "participation_ratio",
        "redundancy",
    ):
        assert getattr(b, name) == pytest.approx(getattr(a, name), rel=1e-12)
    silent = measure_coding(np.zeros((10, 3)))
    assert silent.pattern_entropy == 0
    assert np.isnan(silent.mean_abs_correlation)
    assert np.isnan(silent.effective_rank)
    assert silent.to_dict()["effective_rank"] is None


def test_many_units_are_packed():
    rng = np.random.default_rng(1)
    few = rng.random((300, 6)) < 0.3
    many = np.hstack([few, np.zeros((300, 60), dtype=bool)])
    a, b = measure_coding(few), measure_coding(many)
    assert (a.n_patterns, a.n_singletons) == (b.n_patterns, b.n_singletons)
    assert a.pattern_entropy == pytest.approx(b.pattern_entropy, rel=1e-14)


def test_recovers_a_known_code_and_its_errors():
    a, copy = 0.2, 0.5
    found = [measure_coding(correlated(np.random.default_rng(s), 4000, 6, a, copy)) for s in range(60)]
    mean = np.mean([f.mean_abs_correlation for f in found])
    sd = np.std([f.mean_abs_correlation for f in found], ddof=1)
    assert abs(mean - copy**2) < 3.5 * sd / np.sqrt(60)
    for name in (
        "coding_entropy",
        "pattern_entropy",
        "redundancy",
        "mean_abs_correlation",
        "participation_ratio",
    ):
        spread = np.std([getattr(f, name) for f in found], ddof=1)
        stated = np.mean([getattr(f, f"{name}_stderr") for f in found])
        # 60 seeds know a spread to 9 %, its square to 18 %
        assert abs(stated / spread - 1) < 0.35, name


def test_pattern_entropy_is_corrected():
    a, copy = 0.2, 0.5
    found = [
        measure_coding(correlated(np.random.default_rng(s), 1000, 6, a, copy), n_shuffles=1)
        for s in range(100)
    ]
    # the exact joint entropy: condition on the shared coin
    k = np.arange(7)
    counts = np.array([1, 6, 15, 20, 15, 6, 1])
    high, low = copy + (1 - copy) * a, (1 - copy) * a
    p = a * high**k * (1 - high) ** (6 - k) + (1 - a) * low**k * (1 - low) ** (6 - k)
    true = -(counts * p) @ np.log(p)
    entropies = [f.pattern_entropy for f in found]
    assert abs(np.mean(entropies) - true) < 3.5 * np.std(entropies) / np.sqrt(100)
    plain = [f.pattern_entropy_plugin for f in found]
    assert abs(np.mean(plain) - true) > 3.5 * np.std(plain) / np.sqrt(100)  # negative control: uncorrected


def test_independent_units_show_their_null():
    rows = np.random.default_rng(2).random((500, 30)) < 0.2
    found = measure_coding(rows)
    # |rho| of independent units is |N(0, 1/(n-1))|
    assert found.mean_abs_correlation_null == pytest.approx(np.sqrt(2 / np.pi / 499), rel=0.05)
    away = found.mean_abs_correlation - found.mean_abs_correlation_null
    assert abs(away) < 4 * found.mean_abs_correlation_null / np.sqrt(435)
    assert found.rms_correlation < 0.02
    assert found.pattern_status == "too_few_samples"
    assert found.redundancy > 1  # out of nothing, and the null says so
    assert found.redundancy == pytest.approx(found.redundancy_null, abs=0.15)
    # negative control: what is there is not in the null
    there = measure_coding(correlated(np.random.default_rng(3), 500, 30, 0.2, 0.5))
    assert there.mean_abs_correlation > 5 * there.mean_abs_correlation_null


def test_seed_repeats():
    rows = np.random.default_rng(4).random((50, 4)) < 0.5
    assert measure_coding(rows, seed=3) == measure_coding(rows, seed=3)
    assert measure_coding(rows, seed=3) != measure_coding(rows, seed=4)


BAD = [
    (([[0, 1]],), {}, "samples must be at least 2, got 1"),
    (([0, 1],), {}, "samples must have 2 axes"),
    (([[0.0, np.inf]],), {}, "samples must be finite numbers"),
    ((ALL,), {"threshold": "x"}, "threshold must be a number"),
    ((ALL,), {"n_shuffles": 0}, "n_shuffles must be an integer in"),
    ((ALL,), {"n_shuffles": 10**9}, r"n_shuffles must be an integer in \[1, 1e6\]"),
    ((np.zeros((2, 40000), bool),), {}, "samples must need arrays of at most"),
    ((ALL,), {"seed": -1}, "seed must be an integer in"),
    ((ALL,), {"weights": np.ones(7)}, "weights must have shape"),
    ((ALL,), {"weights": np.zeros(8)}, "weights must have a value above 0"),
]


@pytest.mark.parametrize(("args", "settings", "message"), BAD)
def test_bad_input(args, settings, message):
    with pytest.raises(ValueError, match=message):
        measure_coding(*args, **settings)

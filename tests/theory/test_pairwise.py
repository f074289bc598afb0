import itertools
import time

import numpy as np
import pytest

from bbtheory import (
    BinaryCode,
    ConvergenceError,
    PairwiseCode,
    binary_entropy,
    inactivity_log_odds,
    independent_code,
    match_code,
    pairwise_code,
)
from bbtheory.theory.pairwise import square, state_features


def couplings(n, size, rng):
    return square(size * rng.standard_normal(n * (n - 1) // 2), n)


def brute(field, coupling):
    """States one by one, in the order of the package: unit i is bit i."""
    n = len(field)
    weight = []
    states = [s[::-1] for s in itertools.product((0, 1), repeat=n)]
    for s in states:
        e = sum(field[i] * s[i] for i in range(n))
        e += sum(coupling[i, j] * s[i] * s[j] for i in range(n) for j in range(i))
        weight.append(np.exp(e))
    p = np.array(weight) / sum(weight)
    q = sum(p[t] * np.outer(s, s) for t, s in enumerate(states))
    return p, q, float(np.log(sum(weight)))


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_enumeration_against_brute_force(n):
    rng = np.random.default_rng(n)
    field, coupling = rng.standard_normal(n), couplings(n, 0.7, rng)
    code = pairwise_code(field, coupling)
    p, q, log_partition = brute(field, coupling)
    np.testing.assert_allclose(code.probability, p, rtol=1e-12)
    np.testing.assert_allclose(code.coactivation, q, rtol=1e-12)
    assert code.log_partition == pytest.approx(log_partition, rel=1e-12)
    # H = ln Z - f.a - sum J q
    assert code.entropy == pytest.approx(
        log_partition - field @ code.on_rate - 0.5 * (coupling * (q - np.diag(np.diag(q)))).sum(), rel=1e-12
    )
    # negative control: another order of the bits is another code
    if n > 1:
        assert np.abs(code.probability - p.reshape((2,) * n).transpose().ravel()).max() > 1e-3


def test_moments_are_derivatives_of_the_log_partition():
    rng = np.random.default_rng(3)
    n, h = 6, 1e-5
    field, coupling = rng.standard_normal(n), couplings(n, 0.5, rng)
    code = pairwise_code(field, coupling)
    for i in range(n):
        step = h * np.eye(n)[i]
        slope = (
            pairwise_code(field + step, coupling).log_partition
            - pairwise_code(field - step, coupling).log_partition
        ) / (2 * h)
        assert slope == pytest.approx(code.on_rate[i], rel=1e-8)
    up, down = coupling.copy(), coupling.copy()
    for matrix, sign in ((up, h), (down, -h)):
        matrix[0, 1] += sign
        matrix[1, 0] += sign
    slope = (pairwise_code(field, up).log_partition - pairwise_code(field, down).log_partition) / (2 * h)
    assert slope == pytest.approx(code.coactivation[0, 1], rel=1e-8)


def test_no_coupling_is_independence():
    a = np.array([0.1, 0.5, 0.8, 0.03])
    code = pairwise_code(-inactivity_log_odds(a), np.zeros((4, 4)))
    np.testing.assert_allclose(code.probability, independent_code(a).probability, rtol=1e-13)
    assert code.entropy == pytest.approx(binary_entropy(a).sum(), rel=1e-13)


def test_independent_units_that_never_change():
    code = independent_code([0.0, 1.0, 0.25])
    np.testing.assert_array_equal(code.on_rate, [0.0, 1.0, 0.25])
    assert np.isnan(code.correlation[0]).all()
    assert code.correlation[2, 2] == 1.0
    assert code.entropy == pytest.approx(float(binary_entropy(0.25)))


def test_largest_entropy_among_codes_of_equal_pair_statistics():
    rng = np.random.default_rng(5)
    n = 4
    code = match_code(rng.uniform(0.2, 0.6, n), correlation=np.eye(n) + 0.15 * (1 - np.eye(n)))
    features = np.column_stack([np.ones(2**n), state_features(n)])
    free = np.linalg.svd(features.T)[2][np.linalg.matrix_rank(features) :]  # changes no pair statistic sees
    for direction in free:
        for size in (1e-3, -1e-3):
            other = BinaryCode(probability=code.probability + size * direction)
            np.testing.assert_allclose(other.coactivation, code.coactivation, atol=1e-14)
            assert other.entropy < code.entropy
    # negative control: a change that pair statistics see can raise the entropy
    flat = np.full(2**n, 2.0**-n)
    assert BinaryCode(probability=0.99 * code.probability + 0.01 * flat).entropy > code.entropy


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_matching_recovers_fields_and_couplings(n):
    rng = np.random.default_rng(n)
    field, coupling = rng.standard_normal(n) - 1, couplings(n, 0.5, rng)
    code = pairwise_code(field, coupling)
    found = match_code(code.on_rate, coactivation=code.coactivation)
    np.testing.assert_allclose(found.field, field, atol=1e-10)
    np.testing.assert_allclose(found.coupling, coupling, atol=1e-10)


@pytest.mark.parametrize("rate", [0.5, 0.03, 0.001])
def test_matching_rare_and_strongly_correlated_units(rate):
    matrix = np.eye(4) + 0.5 * (1 - np.eye(4))
    found = match_code(np.full(4, rate), correlation=matrix)
    np.testing.assert_allclose(found.correlation, matrix, rtol=1e-11)
    np.testing.assert_allclose(found.on_rate, rate, rtol=1e-11)


@pytest.mark.parametrize(
    "matrix",
    [
        [[1, 1], [1, 1]],
        [[1, -1], [-1, 1]],
        # rho_01 + rho_02 - rho_12 = 1: a facet of three units, every pair inside its own bounds
        [[1, 0.6, 0.6], [0.6, 1, 0.2], [0.6, 0.2, 1]],
    ],
)
def test_the_boundary_of_the_possible_is_not_matched(matrix):
    with pytest.raises(ConvergenceError, match="couplings grow without bound") as error:
        match_code(np.full(len(matrix), 0.5), correlation=matrix)
    assert isinstance(error.value.record, PairwiseCode)


def test_twenty_units_under_a_second():
    rng = np.random.default_rng(0)
    field, coupling = rng.standard_normal(20) - 1, couplings(20, 0.2, rng)
    start = time.perf_counter()
    code = pairwise_code(field, coupling)
    assert code.coactivation.shape == (20, 20)
    assert code.entropy > 0
    assert time.perf_counter() - start < 1.0


def test_record_keeps_its_states(tmp_path):
    code = pairwise_code([0.1, -1.0, 2.0], square(np.array([0.3, -0.2, 0.1]), 3))
    code.save(tmp_path / "code.json")
    assert PairwiseCode.load(tmp_path / "code.json") == code
    assert "probability" not in code.to_dict()
    assert not code.probability.flags.writeable
    assert not code.on_rate.flags.writeable


@pytest.mark.parametrize(
    ("field", "coupling", "message"),
    [
        ([], np.zeros((0, 0)), "field must not be empty"),
        ([np.inf, 0], np.zeros((2, 2)), "field must be finite"),
        ([0, 0], np.zeros((3, 3)), r"coupling must have shape \(2, 2\)"),
        ([0, 0], [[0, 1], [2, 0]], "coupling must be symmetric"),
        ([0, 0], np.eye(2), "coupling must have a zero diagonal, got 1 at 0"),
        ([0, 0], [[0, np.nan], [np.nan, 0]], "coupling must be finite"),
        (np.zeros(21), np.zeros((21, 21)), "field must have at most 20 units to enumerate"),
    ],
)
def test_bad_input(field, coupling, message):
    with pytest.raises(ValueError, match=message):
        pairwise_code(field, coupling)


@pytest.mark.parametrize(
    ("probability", "message"),
    [
        ([0.5, 0.25, 0.25], "2\\^n elements for 1 to 20 units, got 3"),
        ([1.0], "2\\^n elements for 1 to 20 units, got 1"),
        ([0.5, 0.4], "probability must add to 1, got 0.9"),
        ([-0.5, 1.5], r"numbers in \[0, 1\], got -0.5"),
        ([np.nan, 1], "numbers"),
    ],
)
def test_bad_probability(probability, message):
    with pytest.raises(ValueError, match=message):
        BinaryCode(probability=np.array(probability))


def test_bad_input_of_the_other_ways():
    with pytest.raises(ValueError, match="at most 20 units"):
        independent_code(np.full(21, 0.5))
    with pytest.raises(ValueError, match=r"on_rate must be numbers in \[0, 1\]"):
        independent_code([0.5, 1.2])
    with pytest.raises(ValueError, match="at most 12 units"):
        match_code(np.full(13, 0.5), correlation=np.eye(13))
    with pytest.raises(ValueError, match="units 0 and 1"):
        match_code([0.1, 0.5], correlation=[[1, 0.9], [0.9, 1]])

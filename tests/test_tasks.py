"""Boolean tasks: exact probabilities by two roads, samplers against them."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

from bbtheory.tasks import BooleanTask, dnf, rare_and_common_dnf, xor

N = 200_000
# of a proportion estimated from N draws; a right sampler fails one of 1e7 such tests
N_STDERR = 5.3


def brute_force(task):
    """Return P(term), P(only term), P(label) by a loop over all inputs, written from the definitions."""
    term, only, label = np.zeros(task.n_terms), np.zeros(task.n_terms), 0.0
    for bits in itertools.product([False, True], repeat=task.n_inputs):
        p = math.prod(q if bit else 1 - q for q, bit in zip(task.probability, bits, strict=True))
        true = [[bits[j] if j >= 0 else not bits[~j] for j in literals] for literals in task.terms]
        held = [sum(true[0]) % 2 == 1] if task.rule == "parity" else [all(term) for term in true]
        term += p * np.array(held)
        only += p * np.array([h and sum(held) == 1 for h in held])
        label += p * any(held)
    return term, only, label


TASKS = [
    xor(),
    xor(3, n_distractors=2),
    BooleanTask("parity", (0.1, 0.7, 0.4), ((0, ~2),)),
    rare_and_common_dnf(),
    rare_and_common_dnf(2, 2, n_distractors=1),
    dnf([0.3, 0.01, 0.9], n_literals=3),
    BooleanTask("dnf", (0.3, 0.4, 0.5, 0.6), ((0, 1), (~1, 2), (3,))),
    BooleanTask("dnf", (0.3, 0.4, 0.5, 0.6, 0.2), ((0, 1), (2, 3), (1, ~2), (4,))),
    BooleanTask("dnf", (0.3, 0.4, 0.5, 0.6), ((0, 1), (1, 2), (0, 3))),  # the last meets the first alone
    BooleanTask("dnf", (0.3, 0.4), ((0,), (~0,))),
]


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_probabilities_by_enumeration(task):
    term, only, label = brute_force(task)
    np.testing.assert_allclose(task.term_probability, term, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(task.only_probability, only, rtol=1e-13, atol=1e-15)
    assert task.label_probability == pytest.approx(label, rel=1e-13)
    table = task.truth_table()
    assert table.probability.sum() == pytest.approx(1, rel=1e-14)
    np.testing.assert_allclose(table.probability @ table.terms, term, rtol=1e-13)
    assert table.probability @ table.label == pytest.approx(label, rel=1e-13)
    rows = table.inputs @ (1 << np.arange(task.n_inputs))
    np.testing.assert_array_equal(rows, np.arange(1 << task.n_inputs))


def test_xor_by_hand():
    table = xor().truth_table()
    np.testing.assert_array_equal(table.inputs, [[0, 0], [1, 0], [0, 1], [1, 1]])
    np.testing.assert_array_equal(table.label, [0, 1, 1, 0])
    np.testing.assert_array_equal(table.probability, 0.25)
    np.testing.assert_array_equal(xor().show(table.inputs)[1], [1.0, -1.0])


def test_rare_and_common_by_hand():
    task = rare_and_common_dnf()
    np.testing.assert_allclose(task.term_probability, [1 / 9, 0.7225], rtol=1e-15)
    np.testing.assert_allclose(task.only_probability, [0.2775 / 9, 0.7225 * 8 / 9], rtol=1e-15)
    assert task.label_probability == pytest.approx(1 - 0.2775 * 8 / 9, rel=1e-15)


def test_many_disjoint_terms_need_no_enumeration():
    task = rare_and_common_dnf(30, 0)
    assert task.label_probability == pytest.approx(1 - (8 / 9) ** 30, rel=1e-14)
    np.testing.assert_allclose(task.only_probability, (8 / 9) ** 29 / 9, rtol=1e-14)


def test_the_rarest_terms_keep_their_digits():
    assert dnf([1e-20, 1e-20]).label_probability == pytest.approx(2e-20, rel=1e-12)


def off(found, expected, n=N):
    """Return how many standard errors a proportion is off."""
    return abs(found - expected) / math.sqrt(expected * (1 - expected) / n)


@pytest.mark.parametrize("task", TASKS[:-1], ids=str)
def test_sampler(task):
    sample = task.sample(N, np.random.default_rng(1))
    assert off(sample.inputs.mean(axis=0)[0], task.probability[0]) < N_STDERR
    for t in range(task.n_terms):
        assert off(sample.terms[:, t].mean(), task.term_probability[t]) < N_STDERR
    assert off(sample.label.mean(), task.label_probability) < N_STDERR
    np.testing.assert_array_equal(sample.label, task.labels(sample.inputs))
    np.testing.assert_array_equal(sample.values, np.where(sample.inputs, 1.0, -1.0))


def test_sampler_of_another_task_is_told_apart():
    sample = dnf([0.12, 0.7225]).sample(N, np.random.default_rng(1))
    assert off(sample.terms[:, 0].mean(), rare_and_common_dnf().term_probability[0]) > 2 * N_STDERR


def test_noise():
    task = xor(input_noise=0.3, label_noise=0.1)
    sample = task.sample(N, np.random.default_rng(2))
    noise = sample.values - task.show(sample.inputs)
    assert abs(noise.mean()) < N_STDERR * 0.3 / math.sqrt(2 * N)
    assert noise.std() == pytest.approx(0.3, rel=N_STDERR / math.sqrt(4 * N))
    flipped = sample.label != task.labels(sample.inputs)
    assert off(flipped.mean(), 0.1) < N_STDERR
    again = task.sample(N, np.random.default_rng(2))
    assert again == sample


def test_term_values_of_numbers():
    task = BooleanTask("dnf", (0.5, 0.5), ((0, ~1),))
    np.testing.assert_array_equal(task.term_values(np.array([[1, 0], [1, 1]]))[:, 0], [True, False])


LIST = ((0,),)
BAD = [
    (lambda: BooleanTask("or", (0.5,), LIST), "rule must be one of dnf, parity, got 'or'"),
    (
        lambda: BooleanTask("dnf", (0.5, 1.0), LIST),
        "probability must be numbers in (0, 1), got 1.0 at index 1",
    ),
    (lambda: BooleanTask("dnf", (), LIST), "probability must not be empty"),
    (lambda: BooleanTask("dnf", (0.5,), ()), "terms must be a non-empty tuple of terms, got ()"),
    (lambda: BooleanTask("dnf", (0.5,), ((),)), "terms[0] must be a non-empty tuple of literals, got ()"),
    (lambda: BooleanTask("dnf", (0.5,), ((1,),)), "terms[0] must be an integer in [-1, 0], got 1"),
    (lambda: BooleanTask("dnf", (0.5,), ((0.0,),)), "terms[0] must be an integer in [-1, 0], got 0.0"),
    (
        lambda: BooleanTask("dnf", (0.5,), ((0, ~0),)),
        "terms[0] must name each input at most once, got (0, -1)",
    ),
    (lambda: BooleanTask("parity", (0.5,), ((0,), (0,))), "terms must be one term for a parity, got 2"),
    (
        lambda: BooleanTask("dnf", (0.5,), LIST, (1.0, 1.0)),
        "input_values must differ for false and true, got (1.0, 1.0)",
    ),
    (lambda: xor(input_noise=-1.0), "input_noise must be a number in [0, 1e30], got -1.0"),
    (lambda: xor(label_noise=0.6), "label_noise must be a number in [0, 0.5], got 0.6"),
    (lambda: xor(0), "n_bits must be an integer in [1, 1000], got 0"),
    (lambda: xor(n_distractors=-1), "n_distractors must be an integer in [0, 100000], got -1"),
    (lambda: dnf([]), "term_probability must not be empty"),
    (lambda: dnf([0.5, 0.0]), "term_probability must be numbers in (0, 1), got 0.0 at index 1"),
    (lambda: BooleanTask("dnf", (0.5,), None), "terms must be a non-empty tuple of terms, got None"),
    (
        lambda: dnf([0.5] * 2000, n_literals=1000),
        "n_literals must leave at most 1000000 literals, got 1000 for 2000 terms",
    ),
    (lambda: xor().show([[2, 0]]), "inputs must be numbers in [0, 1], got 2.0 at index (0, 0)"),
    (lambda: xor().term_values([[0, 1], [1]]), "inputs must be a rectangular array, got ragged rows"),
    (lambda: xor().sample(10**12, np.random.default_rng()), "n must need arrays of at most 1e+09 values"),
    (lambda: dnf([0.5], n_literals=0), "n_literals must be an integer in [1, 1000], got 0"),
    (lambda: rare_and_common_dnf(0, 0), "n_rare + n_common must be at least 1, got 0"),
    (lambda: rare_and_common_dnf(-1), "n_rare must be an integer in [0, 1000], got -1"),
    (lambda: xor(21).truth_table(), "n_inputs must be at most 20 to enumerate, got 21"),
    (
        lambda: BooleanTask("dnf", (0.5,) * 21, ((*range(20),), (19, 20))).label_probability,
        "terms must share inputs in groups of at most 20 inputs, got 21",
    ),
    (lambda: xor().term_values(np.zeros((3, 3), bool)), "inputs must have shape (n, 2), got (3, 3)"),
    (lambda: xor().term_values(np.zeros(2, bool)), "inputs must have shape (n, 2), got (2,)"),
    (lambda: xor().labels([[0.5, 0.0]]), "inputs must be booleans or zeros and ones"),
    (lambda: xor().sample(0, np.random.default_rng()), "n must be an integer in [1, inf), got 0"),
    (lambda: xor().sample(1, 0), "rng must be a Generator, got int"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()

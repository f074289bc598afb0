"""Alignment by hand and against every possible alignment; counts by bucket; the buckets."""

import importlib.util
import itertools

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
from bbtheory.train import align_words, count_word_errors, frequency_buckets


def n_errors(pairs):
    return sum(a != b for a, b in pairs)


def every_alignment(reference, hypothesis):
    """All ways to pair up two sequences in order."""
    if not reference and not hypothesis:
        yield []
    if reference and hypothesis:
        for rest in every_alignment(reference[1:], hypothesis[1:]):
            yield [(reference[0], hypothesis[0]), *rest]
    if reference:
        for rest in every_alignment(reference[1:], hypothesis):
            yield [(reference[0], None), *rest]
    if hypothesis:
        for rest in every_alignment(reference, hypothesis[1:]):
            yield [(None, hypothesis[0]), *rest]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("", "", []),
        ("1 2", "", [("1", None), ("2", None)]),
        ("", "1 2", [(None, "1"), (None, "2")]),
        ("1 2 3", "1 2 3", [("1", "1"), ("2", "2"), ("3", "3")]),
        ("1 2 3", "1 3", [("1", "1"), ("2", None), ("3", "3")]),
        ("1 3", "1 2 3", [("1", "1"), (None, "2"), ("3", "3")]),
        ("1 2 3", "1 9 3", [("1", "1"), ("2", "9"), ("3", "3")]),
        # a pair is preferred at the end, so the insertion lies before
        ("1", "1 1", [(None, "1"), ("1", "1")]),
        ("1 2", "2 1", [("1", "2"), ("2", "1")]),
        ("1 2 3 4", "2 3 4 5", [("1", None), ("2", "2"), ("3", "3"), ("4", "4"), (None, "5")]),
    ],
)
def test_alignments_by_hand(reference, hypothesis, expected):
    assert align_words(reference.split(), hypothesis.split()) == expected


def test_no_alignment_has_fewer_errors():
    words = [list(w) for n in range(4) for w in itertools.product("ab", repeat=n)]
    words += [list(w) for w in ("abca", "bcba", "ccab")]
    worse = 0
    for reference, hypothesis in itertools.product(words, words):
        pairs = align_words(reference, hypothesis)
        assert [a for a, _ in pairs if a is not None] == reference
        assert [b for _, b in pairs if b is not None] == hypothesis
        least = min(map(n_errors, every_alignment(reference, hypothesis)))
        assert n_errors(pairs) == least
        # the control: pairing from the left with no thought is worse at times
        worse += n_errors(itertools.zip_longest(reference, hypothesis)) > least
    assert worse > 10


BUCKETS = {"0": "head", "1": "middle", "2": "tail"}


def test_counts_by_hand():
    references = [["0", "0", "1", "2"], ["2", "0"], ["1"], []]
    hypotheses = [["0", "1", "2"], ["1", "0", "0"], [], ["2"]]
    errors = count_word_errors(references, hypotheses, BUCKETS)
    assert errors.bucket == ("head", "middle", "tail")
    np.testing.assert_array_equal(errors.words, [3, 2, 2])
    np.testing.assert_array_equal(errors.substitutions, [0, 0, 1])  # 2 heard as 1 or as 0
    np.testing.assert_array_equal(errors.deletions, [1, 1, 0])
    assert errors.insertions.sum() == 2
    assert errors.insertions[2] == 1
    assert errors.word_error_rate == (1 + 2 + 2) / 7
    assert errors.insertion_rate == 2 / 7
    np.testing.assert_allclose(errors.miss_rate, [1 / 3, 1 / 2, 1 / 2])


def test_errors_add_up_over_buckets():
    rng = np.random.default_rng(0)
    texts = [[str(w) for w in rng.integers(0, 4, rng.integers(0, 6))] for _ in range(60)]
    heard = [[str(w) for w in rng.integers(0, 4, rng.integers(0, 6))] for _ in range(60)]
    errors = count_word_errors(texts, heard, BUCKETS)  # 3 is in no bucket: tail
    total = sum(n_errors(align_words(a, b)) for a, b in zip(texts, heard, strict=True))
    assert (errors.miss_rate * errors.words).sum() + errors.insertions.sum() == pytest.approx(total)
    assert errors.word_error_rate == total / sum(map(len, texts))
    assert errors.words[2] == sum(w in "23" for text in texts for w in text)


def test_trivial_hypotheses():
    references = [["0", "1"], ["2"]]
    silent = count_word_errors(references, [[], []], BUCKETS)
    assert silent.word_error_rate == 1.0
    assert silent.insertion_rate == 0.0
    perfect = count_word_errors(references, references, BUCKETS)
    assert perfect.word_error_rate == 0.0
    babble = count_word_errors(references, [["0"] * 9, []], BUCKETS)
    assert babble.word_error_rate > 1.0
    only = count_word_errors([["0"]], [["0"]], BUCKETS)
    np.testing.assert_array_equal(only.miss_rate, [0.0, np.nan, np.nan])


def test_buckets_follow_counts():
    counts = {str(i): n for i, n in enumerate([100, 50, 30, 20, 15, 10, 8, 6, 4, 2])}
    found = frequency_buckets([[w] * n for w, n in counts.items()])
    assert [found[str(i)] for i in range(10)] == ["head"] + 4 * ["middle"] + 5 * ["tail"]
    assert set(frequency_buckets([["a", "b"], ["a", "b"]]).values()) == {"head"}  # all alike


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: frequency_buckets([[], []]), "texts must hold words"),
        (
            lambda: count_word_errors([["0"]], [], BUCKETS),
            "hypotheses must be as many as references, 1, got 0",
        ),
        (lambda: count_word_errors([[]], [["0"]], BUCKETS), "references must hold words"),
        (lambda: count_word_errors([], [], BUCKETS), "references must hold words"),
        (lambda: count_word_errors([["a"]], [["a"]], {"a": "rare"}), "buckets must be head, middle, tail"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()

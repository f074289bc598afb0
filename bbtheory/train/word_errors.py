"""Word errors: hypotheses aligned with references, and what went wrong counted by how common words are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bbtheory.records import Record

BUCKETS = ("head", "middle", "tail")
_COUNTS = ("words", "substitutions", "deletions", "insertions")
_HEAD, _MIDDLE = 90.0, 50.0  # percentiles of the counts of word types


def align_words(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Align two sequences with the fewest substitutions, deletions and insertions.

    Among alignments with equally few errors, the one is taken that, from the end on, prefers a pair to a
    deletion and a deletion to an insertion.

    Parameters
    ----------
    reference, hypothesis : sequence of str

    Returns
    -------
    list of (word or None, word or None)
        Pairs of a word of the reference and one of the hypothesis, in order; None as the second is a
        deletion, as the first an insertion.
    """
    n, m = len(reference), len(hypothesis)
    # cost[i][j]: errors between the first i words of the one and the first j of the other
    cost = [list(range(m + 1))]
    for i, word in enumerate(reference, 1):
        above, row = cost[-1], [i]
        for j, heard in enumerate(hypothesis, 1):
            row.append(min(above[j - 1] + (word != heard), above[j] + 1, row[-1] + 1))
        cost.append(row)
    pairs: list[tuple[str | None, str | None]] = []
    i, j = n, m
    while i or j:
        here = cost[i][j]
        if i and j and here == cost[i - 1][j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((reference[i], hypothesis[j]))
        elif i and here == cost[i - 1][j] + 1:
            i -= 1
            pairs.append((reference[i], None))
        else:
            j -= 1
            pairs.append((None, hypothesis[j]))
    return pairs[::-1]


def frequency_buckets(texts: Iterable[Sequence[str]]) -> dict[str, str]:
    """Bucket of each word type by its count: head from the 90th percentile of the types' counts on, middle
    from the median on, tail below.

    Parameters
    ----------
    texts : iterable of sequences of str
        What was said in training.

    Returns
    -------
    dict of word to bucket

    Raises
    ------
    ValueError
        If there is no word.

    References
    ----------
    The buckets of the Budgeted Broadcast speech experiment, arXiv 2510.01263, authors' notebook.
    """
    counts = Counter(word for text in texts for word in text)
    if not counts:
        raise ValueError("texts must hold words, got none")
    high, low = np.percentile(list(counts.values()), (_HEAD, _MIDDLE))
    return {w: "head" if n >= high else "middle" if n >= low else "tail" for w, n in counts.items()}


@dataclass(frozen=True, eq=False)
class WordErrors(Record):
    """Word errors of a whole test set, by bucket (head, middle, tail).

    Substitutions and deletions are counted in the bucket of the reference word. Insertions have no reference
    word: they are counted apart, in the bucket of the inserted word, and enter the overall rate alone.
    """

    KIND: ClassVar[str] = "word_errors"
    UNITS: ClassVar[Mapping[str, str]] = {
        name: name for name in ("bucket", "words", "substitutions", "deletions", "insertions", "miss_rate")
    }
    DERIVED: ClassVar[tuple[str, ...]] = ("word_error_rate", "insertion_rate")

    words: np.ndarray  # (3,) in the references
    substitutions: np.ndarray  # (3,)
    deletions: np.ndarray  # (3,)
    insertions: np.ndarray  # (3,)

    @property
    def bucket(self) -> tuple[str, ...]:
        """Names of the buckets."""
        return BUCKETS

    @property
    def word_error_rate(self) -> float:
        """(S + D + I)/N over the whole set; it may exceed 1."""
        wrong = self.substitutions.sum() + self.deletions.sum() + self.insertions.sum()
        return float(wrong / self.words.sum())

    @property
    def insertion_rate(self) -> float:
        """I/N over the whole set."""
        return float(self.insertions.sum() / self.words.sum())

    @property
    def miss_rate(self) -> np.ndarray:
        """(S + D)/N in each bucket, in [0, 1]; NaN where the references hold no word of it."""
        missed = self.substitutions + self.deletions
        return np.divide(missed, self.words, out=np.full(len(BUCKETS), np.nan), where=self.words > 0)


def count_word_errors(
    references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]], buckets: Mapping[str, str]
) -> WordErrors:
    """Count the word errors of hypotheses by bucket.

    Parameters
    ----------
    references, hypotheses : sequence of sequences of str
        One of each per utterance.
    buckets : mapping of word to {"head", "middle", "tail"}
        See `frequency_buckets`; words that are not in it, never heard in training, are tail.

    Returns
    -------
    WordErrors

    Raises
    ------
    ValueError
        If there are not as many of both, the references hold no word, or a bucket is none of the three.
    """
    odd = sorted({str(bucket) for bucket in buckets.values()} - set(BUCKETS))
    if odd:
        raise ValueError(f"buckets must be {', '.join(BUCKETS)}, got {odd[0]!r}")
    if len(references) != len(hypotheses):
        raise ValueError(
            f"hypotheses must be as many as references, {len(references)}, got {len(hypotheses)}"
        )
    counts = {name: np.zeros(len(BUCKETS), np.int64) for name in _COUNTS}
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        for word, heard in align_words(reference, hypothesis):
            said = heard if word is None else word
            place = BUCKETS.index(buckets.get(str(said), BUCKETS[-1]))
            counts["words"][place] += word is not None
            if word is None:
                counts["insertions"][place] += 1
            elif heard is None:
                counts["deletions"][place] += 1
            elif heard != word:
                counts["substitutions"][place] += 1
    if counts["words"].sum() == 0:
        raise ValueError("references must hold words, got none")
    return WordErrors(**counts)

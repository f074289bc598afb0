"""Are two samples of one identity? How well a similarity tells, over pairs of known answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record


@dataclass(frozen=True, eq=False)
class Verification(Record):
    """Error rates of the rule "the same identity if the similarity is at least t".

    Attributes
    ----------
    equal_error_rate : float
        Where false accepts and false rejects are as frequent; 0.5 by chance.
    equal_error_threshold : float
        The t at that place.
    true_accept_rate : float
        Pairs of one identity accepted, where at most ``false_accept_rate`` of the others are.
    accept_threshold : float
        The t there, a similarity that was seen; infinite where any would accept too many.
    false_accept_rate : float
        As asked for.
    n_genuine, n_impostor : int
        Pairs of one identity and of two.
    """

    KIND: ClassVar[str] = "verification"

    equal_error_rate: float
    equal_error_threshold: float
    true_accept_rate: float
    accept_threshold: float
    false_accept_rate: float
    n_genuine: int
    n_impostor: int


def measure_verification(
    genuine: ArrayLike, impostor: ArrayLike, *, false_accept_rate: float = 0.01
) -> Verification:
    """Measure the equal error rate, and the true accept rate at a false accept rate.

    With F(t) the fraction of ``impostor`` that is >= t and R(t) that of ``genuine`` that is < t, the equal
    error rate is F = R on the line between the two neighbouring thresholds where F - R changes its sign.

    Parameters
    ----------
    genuine, impostor : array_like
        Similarities of pairs of one identity and of pairs of two, larger = more alike.
    false_accept_rate : float in [0, 1]

    Returns
    -------
    Verification

    Raises
    ------
    ValueError
        If there are no pairs of either kind, a similarity is not finite, or the rate is outside [0, 1].

    Examples
    --------
    >>> from bbtheory.measure import measure_verification
    >>> measure_verification([0.9, 0.8, 0.3, 0.7], [0.1, 0.4, 0.2, 0.0]).equal_error_rate
    0.25
    """
    same = np.sort(validate.array("genuine", genuine))
    other = np.sort(validate.array("impostor", impostor))
    rate = validate.real("false_accept_rate", false_accept_rate, "[0, 1]")
    # above the last threshold nothing is accepted, where the two rates are 0 and 1
    thresholds = np.append(np.unique(np.concatenate([same, other])), np.inf)
    # from counts, so that a rate that is just met is met
    accepted = (other.size - np.searchsorted(other, thresholds, side="left")) / other.size
    rejected = np.searchsorted(same, thresholds, side="left") / same.size
    # accepted - rejected falls from 1 to -1
    after = int(np.argmax(accepted <= rejected))
    step = slice(after - 1, after + 1)
    gap = accepted[step] - rejected[step]
    share = gap[0] / (gap[0] - gap[1])
    error = accepted[after - 1] + share * (accepted[after] - accepted[after - 1])
    place = int(np.argmax(accepted <= rate))
    return Verification(
        equal_error_rate=float(error),
        equal_error_threshold=float(thresholds[after - 1 if share < 0.5 else after]),
        true_accept_rate=float(1.0 - rejected[place]),
        accept_threshold=float(thresholds[place]),
        false_accept_rate=rate,
        n_genuine=same.size,
        n_impostor=other.size,
    )


def cosine_pairs(vectors: ArrayLike, identity: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosine similarities of all pairs of one identity, and of all pairs of two.

    Parameters
    ----------
    vectors : array_like (n, n_features)
        One per sample; a vector of zeros is similar to nothing (0).
    identity : array_like (n,), int

    Returns
    -------
    genuine, impostor : ndarray

    Raises
    ------
    ValueError
        If the vectors are not finite or the lengths differ.
    """
    v = validate.array("vectors", vectors, ndim=2)
    who = validate.array("identity", identity, shape=(len(v),), keep_integers=True)
    # by powers of two, which is exact: squares neither overflow nor vanish
    v = np.ldexp(v, -np.frexp(np.abs(v).max(axis=1, keepdims=True))[1])
    v = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), np.finfo(float).tiny)
    first, second = np.triu_indices(len(v), 1)
    similarity = (v @ v.T)[first, second]
    same = who[first] == who[second]
    return similarity[same], similarity[~same]

"""How well scores find rare pixels or voxels, and the objects that they form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record


@dataclass(frozen=True, eq=False)
class Detection(Record):
    """Voxels and objects found above a threshold; rates are 0 where nothing could be found or was.

    Attributes
    ----------
    average_precision : float
        sum_n (R_n - R_(n-1)) P_n over all thresholds: the area under precision over recall.
    prevalence : float
        Share of the true voxels: the average precision of scores that say nothing.
    threshold : float
        Scores of at least this are predictions.
    precision, recall, f1 : float
        Of voxels, at the threshold.
    size, covered : ndarray (n_objects,)
        Of each true object: its voxels, and the share of them that was predicted.
    n_predicted, n_right : int
        Predicted objects of at least ``min_size`` voxels, and those of them of whose voxels the share
        ``min_overlap`` or more is true.
    min_overlap : float
    min_size : int
    """

    KIND: ClassVar[str] = "detection"
    UNITS: ClassVar[Mapping[str, str]] = {"size": "size", "covered": "covered"}
    DERIVED: ClassVar[tuple[str, ...]] = (
        "n_objects", "object_recall", "object_precision", "object_f1", "small_object_recall", "small_covered",
    )  # fmt: skip

    average_precision: float
    prevalence: float
    threshold: float
    precision: float
    recall: float
    f1: float
    size: np.ndarray
    covered: np.ndarray
    n_predicted: int
    n_right: int
    min_overlap: float
    min_size: int

    @property
    def n_objects(self) -> int:
        """True objects."""
        return self.size.size

    @property
    def found(self) -> np.ndarray:
        """Whether each true object was found: the share ``min_overlap`` of its voxels or more."""
        return self.covered >= self.min_overlap

    @property
    def is_small(self) -> np.ndarray:
        """Whether each true object is one of the smaller half: the smallest n/2, rounded up."""
        small = np.zeros(self.n_objects, bool)
        small[np.argsort(self.size, kind="stable")[: -(-self.n_objects // 2)]] = True
        return small

    @property
    def object_recall(self) -> float:
        """Share of the true objects that were found."""
        return _ratio(self.found.sum(), self.n_objects)

    @property
    def object_precision(self) -> float:
        """Share of the predicted objects that are right."""
        return _ratio(self.n_right, self.n_predicted)

    @property
    def object_f1(self) -> float:
        """Harmonic mean of both."""
        p, r = self.object_precision, self.object_recall
        return _ratio(2 * p * r, p + r)

    @property
    def small_object_recall(self) -> float:
        """Share of the smaller half of the true objects that was found."""
        small = self.is_small
        return _ratio((self.found & small).sum(), small.sum())

    @property
    def small_covered(self) -> float:
        """Mean share of an object that was predicted, over the smaller half of the true objects."""
        small = self.is_small
        return _ratio(self.covered[small].sum(), small.sum())


def measure_detection(
    score: ArrayLike,
    truth: ArrayLike,
    threshold: float,
    *,
    axes: Sequence[int] | None = None,
    min_overlap: float = 0.5,
    min_size: int = 1,
) -> Detection:
    """Measure voxels and objects found above a threshold.

    Objects are connected components, of what is true and of what is predicted. A true object is found if
    enough of it is predicted, a predicted one is right if enough of it is true: one that covers everything
    finds all and is wrong.

    Parameters
    ----------
    score : array_like, any shape
        Larger = more likely; finite.
    truth : array_like, the same shape, bool
    threshold : float
    axes : sequence of int, optional
        Along which neighbours are connected; all if not given. (1, 2) keeps sections of a stack apart.
    min_overlap : float
        In (0, 1].
    min_size : int
        Voxels that a prediction must have to be an object, >= 1.

    Raises
    ------
    ValueError
        If shapes differ, nothing is true, or an argument is outside its domain.
    """
    score, truth = _pair(score, truth)
    threshold = validate.real("threshold", threshold)
    min_overlap = validate.real("min_overlap", min_overlap, "(0, 1]")
    min_size = validate.integer("min_size", min_size, "[1, inf)")
    predicted = score >= threshold
    both, n_predicted, n_true = (int(a.sum()) for a in (predicted & truth, predicted, truth))
    objects, guesses = label_objects(truth, axes), label_objects(predicted, axes)
    size, covered = _shares(objects, predicted)
    guess_size, guess_true = _shares(guesses, truth)
    large = guess_size >= min_size
    return Detection(
        average_precision=average_precision(score, truth),
        prevalence=n_true / truth.size,
        threshold=threshold,
        precision=_ratio(both, n_predicted),
        recall=_ratio(both, n_true),
        f1=_ratio(2 * both, n_predicted + n_true),
        size=size,
        covered=covered,
        n_predicted=int(large.sum()),
        n_right=int((guess_true[large] >= min_overlap).sum()),
        min_overlap=min_overlap,
        min_size=min_size,
    )


def average_precision(score: ArrayLike, truth: ArrayLike) -> float:
    """Area under precision over recall, sum_n (R_n - R_(n-1)) P_n, n over the distinct scores.

    Parameters
    ----------
    score : array_like
        Finite.
    truth : array_like, the same shape, bool

    Returns
    -------
    float
        In (0, 1].

    Raises
    ------
    ValueError
        If shapes differ, nothing is true, or a score is not finite.
    """
    _, right, chosen = _counts(*_pair(score, truth))
    gained = np.diff(right, prepend=0)
    return float((gained * (right / chosen)).sum() / right[-1])


def best_threshold(score: ArrayLike, truth: ArrayLike) -> float:
    """Score at and above which predictions have the largest F1; the largest such score if several have.

    Parameters
    ----------
    score, truth : see `average_precision`

    Raises
    ------
    ValueError
        As `average_precision`.
    """
    values, right, chosen = _counts(*_pair(score, truth))
    return float(values[np.argmax(2 * right / (chosen + right[-1]))])


def label_objects(mask: ArrayLike, axes: Sequence[int] | None = None) -> np.ndarray:
    """Number the connected components of a mask, from 1 in their order in memory; 0 elsewhere.

    Neighbours share a face. Each voxel takes the least number among its neighbours and then that voxel's own
    (pointer jumping), until nothing changes.

    Parameters
    ----------
    mask : array_like, any shape, bool
    axes : sequence of int, optional
        Along which neighbours are connected; all if not given.

    Returns
    -------
    ndarray, int64, the shape of mask

    Raises
    ------
    ValueError
        If mask is no array of booleans, or an axis is none of its axes.
    """
    mask = _booleans("mask", mask)
    axes = range(mask.ndim) if axes is None else axes
    domain = f"[{-mask.ndim}, {mask.ndim})"
    place = np.flatnonzero(mask)
    number = np.zeros(mask.shape, np.int64)
    number.flat[place] = np.arange(place.size)
    left, right = [], []
    for axis in axes:
        axis = validate.integer("axes", axis, domain)
        ahead, behind = (np.moveaxis(mask, axis, 0)[part] for part in (slice(1, None), slice(-1)))
        touch = ahead & behind
        numbers = np.moveaxis(number, axis, 0)
        left.append(numbers[:-1][touch])
        right.append(numbers[1:][touch])
    a, b = (np.concatenate(side) if side else np.zeros(0, np.int64) for side in (left, right))
    root = np.arange(place.size)
    while True:
        least = np.minimum(root[a], root[b])
        if np.array_equal(least, np.maximum(root[a], root[b])):
            break
        np.minimum.at(root, np.concatenate([root[a], root[b]]), np.concatenate([least, least]))
        while not np.array_equal(root, root[root]):
            root = root[root]
    number.flat[place] = 1 + np.unique(root, return_inverse=True)[1]
    return number


def _counts(score: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct scores, falling, and how many of the true and of all are at least each."""
    order = np.argsort(-score, axis=None, kind="stable")
    falling = score.ravel()[order]
    last = np.append(np.flatnonzero(np.diff(falling)), falling.size - 1)
    return falling[last], np.cumsum(truth.ravel()[order])[last], last + 1


def _shares(labels: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the size of each object, and the share of it that lies inside."""
    size = np.bincount(labels.ravel(), minlength=1)[1:]
    hit = np.bincount(labels[inside], minlength=size.size + 1)[1:]
    return size, hit / np.maximum(size, 1)


def _pair(score: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    score, truth = validate.array("score", score, ndim=None), _booleans("truth", truth)
    if score.shape != truth.shape:
        raise ValueError(f"score and truth must have the same shape, got {score.shape} and {truth.shape}")
    if not truth.any():
        raise ValueError("truth must hold something that is true, got nothing")
    return score, truth


def _booleans(name: str, value: ArrayLike) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype != bool:
        raise ValueError(f"{name} must be an array of booleans, got dtype {array.dtype}")
    return array


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0

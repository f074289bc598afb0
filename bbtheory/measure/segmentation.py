"""A map of yes and no against the truth: counts, overlap, and which of the true regions were found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record


@dataclass(frozen=True, eq=False)
class Segmentation(Record):
    """Labelled pixels by what was predicted and what is true.

    A ratio whose denominator is 0 is 0: nothing to find and nothing claimed is no success either, as the
    published means over images count it.
    """

    KIND: ClassVar[str] = "segmentation"
    DERIVED: ClassVar[tuple[str, ...]] = ("iou", "f1", "precision", "recall", "accuracy")

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def iou(self) -> float:
        """Intersection over union of the positive class, TP/(TP + FP + FN)."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """2 TP/(2 TP + FP + FN)."""
        return _ratio(
            2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives
        )

    @property
    def precision(self) -> float:
        """TP/(TP + FP)."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """TP/(TP + FN)."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def accuracy(self) -> float:
        """Right pixels / all."""
        right = self.true_positives + self.true_negatives
        return _ratio(right, right + self.false_positives + self.false_negatives)


def measure_segmentation(
    predicted: ArrayLike, truth: ArrayLike, labelled: ArrayLike | None = None
) -> Segmentation:
    """Count pixels by prediction and truth, unlabelled ones left out.

    Parameters
    ----------
    predicted, truth : array_like of bool, any one shape
    labelled : array_like of bool, the same shape, optional
        Where the truth is known; everywhere if not given.

    Raises
    ------
    ValueError
        If shapes differ or an array is not boolean.
    """
    found = _flags("predicted", predicted)
    true = _flags("truth", truth, found.shape)
    known = np.ones_like(true) if labelled is None else _flags("labelled", labelled, found.shape)
    counts = np.bincount((2 * true + found)[known].ravel(), minlength=4)
    return Segmentation(int(counts[3]), int(counts[1]), int(counts[2]), int(counts[0]))


def region_recall(predicted: ArrayLike, regions: ArrayLike, share: float = 1.0) -> tuple[float, int, int]:
    """Return the mean, over the smallest regions, of the part of a region that was found.

    Parameters
    ----------
    predicted : array_like of bool, any shape
    regions : array_like of int, the same shape
        Which region a pixel belongs to, from 1; 0: none, as scipy.ndimage.label numbers them.
    share : float in (0, 1]
        Of the regions, smallest first, rounded up; those as large as the last of them count, too.

    Returns
    -------
    recall : float
        NaN where there is no region.
    n_regions, largest : int
        Regions counted, and pixels of the largest of them.

    Raises
    ------
    ValueError
        If shapes differ, a region is negative or no integer, or the share is outside its domain.
    """
    found = _flags("predicted", predicted)
    share = validate.real("share", share, "(0, 1]")
    where = np.asarray(regions)
    if where.shape != found.shape or where.dtype.kind not in "iu" or (where.size and int(where.min()) < 0):
        raise ValueError(
            f"regions must be integers >= 0 of shape {found.shape}, got {where.dtype} of {where.shape}"
        )
    sizes = np.bincount(where.ravel())[1:]
    hits = np.bincount(where[found], minlength=sizes.size + 1)[1:]
    there = sizes > 0
    sizes, hits = sizes[there], hits[there]
    if sizes.size == 0:
        return float("nan"), 0, 0
    largest = int(np.sort(sizes)[int(np.ceil(share * sizes.size)) - 1])
    small = sizes <= largest
    return float(np.mean(hits[small] / sizes[small])), int(small.sum()), largest


def _flags(name: str, value: ArrayLike, shape: tuple[int, ...] | None = None) -> np.ndarray:
    flags = np.asarray(value)
    if flags.dtype != bool or (shape is not None and flags.shape != shape):
        wanted = "" if shape is None else f" of shape {shape}"
        raise ValueError(f"{name} must be bool{wanted}, got {flags.dtype} of shape {flags.shape}")
    return flags


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0

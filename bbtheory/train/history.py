"""The course of a pruning run: what pressed, what remained, what it cost."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.tables import write_csv


@dataclass(frozen=True, eq=False)
class History(Record):
    """Rows of what pressed and what remained, one per call of `Pruner.record`; what nobody measured is NaN.

    Attributes
    ----------
    step : array (n,)
        Optimizer steps so far.
    saliency : array (n,)
        Largest removed score, or the pressure.
    density : array (n,)
        Kept / prunable weights.
    accuracy : array (n,)
        As it was given.
    mean_kept : array (n,)
        Mean score of the weights that were kept.
    flux_low, flux_median : array (n,)
        Quantiles 0.05 and 0.5 of the measured flux of present weights.
    growth : array (n,)
        e: scores of the survivors of one pruning event have grown by 1 + e until the next, median.
    near_growth : array (n,)
        The same of the lowest quarter of them, those just above the threshold.
    rank_correlation : array (n,)
        Spearman's, of the scores of the survivors of one event there and at the next.
    """

    KIND: ClassVar[str] = "pruning_history"
    UNITS: ClassVar[Mapping[str, str]] = {
        name: name
        for name in (
            *("step", "saliency", "density", "accuracy"),
            *("mean_kept", "flux_low", "flux_median", "growth", "near_growth", "rank_correlation"),
        )
    }

    step: np.ndarray
    saliency: np.ndarray
    density: np.ndarray
    accuracy: np.ndarray
    mean_kept: np.ndarray
    flux_low: np.ndarray
    flux_median: np.ndarray
    growth: np.ndarray
    near_growth: np.ndarray
    rank_correlation: np.ndarray

    @classmethod
    def empty(cls) -> History:
        """Return a history without rows."""
        return cls(np.zeros(0, np.int64), *(np.zeros(0) for _ in COLUMNS[1:]))

    def extended(
        self,
        step: int,
        saliency: float,
        density: float,
        accuracy: float,
        measured: Mapping[str, float] | None = None,
    ) -> History:
        """Return the history with one more row; ``measured`` holds what there is of the later columns.

        Raises
        ------
        ValueError
            If saliency or accuracy is not finite, the saliency is negative, or a name is none of a column.
        """
        saliency = validate.real("saliency", saliency, "[0, inf)")
        accuracy = validate.real("accuracy", accuracy)
        row = {"step": np.int64(step), "saliency": saliency, "density": density, "accuracy": accuracy}
        for name, value in (measured or {}).items():
            row[validate.choice("measured", name, COLUMNS[len(REQUIRED) :])] = float(value)
        return History(*(np.append(getattr(self, name), row.get(name, math.nan)) for name in COLUMNS))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write Saliency, Remaining (a fraction), Accuracy: what ``fit pruning-law`` reads."""
        write_csv(path, {"Saliency": self.saliency, "Remaining": self.density, "Accuracy": self.accuracy})


COLUMNS = tuple(field.name for field in dataclasses.fields(History))
REQUIRED = COLUMNS[:4]  # columns that every row has; states of earlier versions hold these alone

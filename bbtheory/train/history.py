"""The course of a pruning run: what pressed, what remained, what it cost."""

from __future__ import annotations

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
    """Rows of (step, saliency, density, accuracy), one per call of `Pruner.record`."""

    KIND: ClassVar[str] = "pruning_history"
    UNITS: ClassVar[Mapping[str, str]] = {
        "step": "step",
        "saliency": "saliency",
        "density": "density",
        "accuracy": "accuracy",
    }

    step: np.ndarray
    saliency: np.ndarray
    density: np.ndarray
    accuracy: np.ndarray

    @classmethod
    def empty(cls) -> History:
        """Return a history without rows."""
        return cls(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0))

    def extended(self, step: int, saliency: float, density: float, accuracy: float) -> History:
        """Return the history with one more row."""
        saliency = validate.real("saliency", saliency, "[0, inf)")
        accuracy = validate.real("accuracy", accuracy)
        new = (np.int64(step), saliency, density, accuracy)
        old = (self.step, self.saliency, self.density, self.accuracy)
        return History(*(np.append(column, value) for column, value in zip(old, new, strict=True)))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write Saliency, Remaining (a fraction), Accuracy: what ``fit pruning-law`` reads."""
        write_csv(path, {"Saliency": self.saliency, "Remaining": self.density, "Accuracy": self.accuracy})

"""What a run under pressure leaves behind, and how it is told that it had settled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from bbtheory.records import Record

SETTLED, UNSETTLED = "settled", "unsettled"


@dataclass(frozen=True, eq=False)
class FluxRun(Record):
    """One training run under pressure, epoch by epoch, and each weight over the last epochs (the window).

    Attributes
    ----------
    pressure : ndarray (n_epochs,)
        gamma applied in each epoch.
    density : ndarray (n_epochs,)
        Fraction of weights present, mean over the forward passes of the epoch.
    end_density : ndarray (n_epochs,)
        The same after the epoch's last step: what a scheduler reads.
    loss : ndarray (n_epochs,)
        Mean loss over the steps, pressure not included.
    n_weights, epoch_steps, n_measured : int
        Weights; steps per epoch; epochs in the window.
    presence : ndarray (n,)
        Fraction of the window's forward passes in which each weight was present.
    flux : ndarray (n,)
        Measured flux: mean pull -kappa N w dL/dtheta while absent, over the window, in the unit of the
        pressure (kappa = 1 in the sigmoid form); NaN for a weight that never was absent.
    weight, presence_variable : ndarray (n,)
        w and t after the last step.
    arrival : ndarray (n,) of int
        Steps taken before the weight was first absent; -1: never.
    travelling : ndarray (n,) of bool
        On its way at the end: never absent in the window while t fell, or never present while it rose.
    settling_step : int or None
        Steps after which the density of every later epoch lies within ``tolerance`` of the window's; None if
        that holds only inside the window.
    tolerance : float
    status : str
        "settled" if there is a settling step and at most a fraction ``tolerance`` is travelling, else
        "unsettled": the densities say how long the run was, not where it would have ended.
    """

    KIND: ClassVar[str] = "flux_run"
    UNITS: ClassVar = {
        "presence": "presence",
        "flux": "flux",
        "weight": "weight",
        "presence_variable": "presence_variable",
        "arrival": "arrival",
        "travelling": "travelling",
    }
    DERIVED: ClassVar = ("final_density", "n_travelling")

    pressure: np.ndarray
    density: np.ndarray
    end_density: np.ndarray
    loss: np.ndarray
    n_weights: int
    epoch_steps: int
    n_measured: int
    presence: np.ndarray
    flux: np.ndarray
    weight: np.ndarray
    presence_variable: np.ndarray
    arrival: np.ndarray
    travelling: np.ndarray
    settling_step: int | None
    tolerance: float
    status: str

    @cached_property
    def final_density(self) -> float:
        """Mean presence over the window."""
        return float(self.presence.mean())

    @cached_property
    def n_travelling(self) -> int:
        """Weights still on their way."""
        return int(self.travelling.sum())


def judge_window(
    density: np.ndarray,
    presence: np.ndarray,
    moved: np.ndarray,
    n_measured: int,
    epoch_steps: int,
    tolerance: float,
) -> tuple[np.ndarray, int | None, str]:
    """Return travelling, settling_step and status of `FluxRun`; ``moved`` is how far t went in it."""
    travelling = ((presence == 1.0) & (moved < 0)) | ((presence == 0.0) & (moved > 0))
    step = find_settling_step(density, n_measured, float(presence.mean()), tolerance, epoch_steps)
    settled = step is not None and travelling.mean() <= tolerance
    return travelling, step, SETTLED if settled else UNSETTLED


def find_settling_step(
    density: np.ndarray, n_measured: int, final: float, tolerance: float, epoch_steps: int
) -> int | None:
    """Steps after which all epochs are within the tolerance of the final density; None inside the window."""
    away = np.flatnonzero(np.abs(density - final) > tolerance)
    n_epochs = int(away[-1]) + 1 if away.size else 0
    return n_epochs * epoch_steps if n_epochs <= density.size - n_measured else None

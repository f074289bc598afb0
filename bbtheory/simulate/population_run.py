"""What becomes of a simulated population: the state it can live on from, and its traces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from bbtheory.records import Record
from bbtheory.simulate.population_rules import PopulationSettings
from bbtheory.theory.entropy import binary_entropy


@dataclass(frozen=True, eq=False)
class PopulationState(Record):
    """All that a population needs to live on from where it is; arrays have shape (n,)."""

    KIND: ClassVar[str] = "population_state"

    on_rate: np.ndarray
    """a_i now, which may lag behind what the links make of it."""
    estimate: np.ndarray
    """What each unit holds its on-rate to be: its average, corrected."""
    ema_weight: float
    """Weight of the samples seen so far in the average, in [0, 1]; 1 once it has forgotten its start."""
    fan_in: np.ndarray
    fan_out: np.ndarray
    bias: np.ndarray
    beta: float
    """Slope or price in force, nats per link; nan under a threshold, which has none."""


@dataclass(frozen=True, eq=False)
class PopulationRun(Record):
    """A population in time; traces have shape (n_refreshes, n_units), row t the interval after refresh t."""

    KIND: ClassVar[str] = "population_run"
    DERIVED: ClassVar[tuple[str, ...]] = ("n_refreshes",)

    settings: PopulationSettings
    start: PopulationState
    """Before the burn-in."""
    final: PopulationState
    on_rate: np.ndarray
    """a_i at the end of each interval."""
    estimate: np.ndarray
    """Average of the activity at the end of each interval, which the next refresh reads."""
    fan_in: np.ndarray
    fan_out: np.ndarray
    beta: np.ndarray
    """Slope or price after each refresh, nats per link, shape (n_refreshes,); nan under a threshold."""

    @property
    def n_refreshes(self) -> int:
        """Refreshes, and rows of every trace."""
        return len(self.beta)

    @cached_property
    def traffic(self) -> np.ndarray:
        """a_i k_i, links per step, shape (n_refreshes, n_units)."""
        return self.on_rate * self.fan_out

    @cached_property
    def coding_entropy(self) -> np.ndarray:
        """Sum of h(a_i) after each refresh, nats, shape (n_refreshes,)."""
        return binary_entropy(self.on_rate).sum(axis=1)

    @cached_property
    def churn(self) -> np.ndarray:
        """Links that each refresh changes at each unit, in and out, shape (n_refreshes, n_units).

        Scores stand still, so a unit's kept links are nested sets and as many change as its degree moves.
        """
        moved = np.zeros_like(self.fan_in)
        for trace, first in ((self.fan_in, self.start.fan_in), (self.fan_out, self.start.fan_out)):
            moved += np.abs(np.diff(trace, axis=0, prepend=first[np.newaxis]))
        return moved

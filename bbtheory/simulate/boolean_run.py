"""A simulated network on a Boolean task: its traces, its links, and what its units have come to detect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.simulate.boolean_assessment import Assessment, propagate
from bbtheory.simulate.boolean_settings import Pruning, Training
from bbtheory.tasks import BooleanTask


@dataclass(frozen=True, eq=False)
class Detectors(Record):
    """Which hidden unit detects which term."""

    KIND: ClassVar[str] = "detectors"
    UNITS: ClassVar[Mapping[str, str]] = {
        "layer": "layer",
        "unit": "unit",
        "term": "term",
        "correlation": "correlation",
        "on_rate": "on_rate",
        "fan_out": "fan_out",
        "traffic": "traffic",
    }

    layer: np.ndarray
    unit: np.ndarray
    term: np.ndarray
    """The term that the unit's being on correlates with most."""
    correlation: np.ndarray
    on_rate: np.ndarray
    fan_out: np.ndarray
    traffic: np.ndarray
    n_detectors: np.ndarray
    """(n_terms,) units with a link left that detect each term."""


@dataclass(frozen=True, eq=False)
class BooleanRun(Record):
    """A network trained and pruned on a Boolean task; hidden units stand layer after layer."""

    KIND: ClassVar[str] = "boolean_run"
    UNITS: ClassVar[Mapping[str, str]] = {
        "layer": "layer",
        "unit": "unit",
        "on_rate": "on_rate",
        "fan_in": "fan_in",
        "fan_out": "fan_out",
        "traffic": "traffic",
    }
    DERIVED: ClassVar[tuple[str, ...]] = ("density",)
    HIDDEN: ClassVar[tuple[str, ...]] = (
        "weights",
        "biases",
        "masks",
        "dormant",
        "scales",
        "on_rate_trace",
        "fan_in_trace",
        "fan_out_trace",
    )

    task: BooleanTask
    training: Training
    pruning: Pruning
    seed: int
    degree_kind: str
    """fan_out | fan_in | both | none: what the actuator of threshold and controller sets."""
    step: np.ndarray
    """(n_traces,) steps done at each row of the traces, taken after the refresh of that step."""
    loss_trace: np.ndarray
    """(n_traces,) mean logistic loss, nats, of labels without label noise."""
    accuracy_trace: np.ndarray
    """(n_traces,) share classified rightly, of labels without label noise."""
    density_trace: np.ndarray
    """(n_traces,) kept share of the links of the prunable matrices."""
    on_rate_trace: np.ndarray
    """(n_traces, n_hidden) average on-rates, corrected for their start: what the refresh acts on."""
    fan_in_trace: np.ndarray
    """(n_traces, n_hidden) links."""
    fan_out_trace: np.ndarray
    """(n_traces, n_hidden) links."""
    weights: tuple[np.ndarray, ...]
    """(n_out, n_in) each; 0 where a link is cut."""
    biases: tuple[np.ndarray, ...]
    masks: tuple[np.ndarray, ...]
    """(n_out, n_in) bool each, True = kept; all True for matrices that are not pruned."""
    dormant: tuple[np.ndarray, ...]
    """(n_out, n_in) each; values of cut links, 0 where a link is kept."""
    scales: tuple[np.ndarray, ...]
    """(width,) each; the factor of the pre-activations of a hidden layer, 1 but for rescale forward."""
    train_accuracy: float
    """Share of all training examples classified rightly, before each step, label noise included."""
    final: Assessment
    """Of the final network."""

    @property
    def density(self) -> float:
        """Kept share of the links of the prunable matrices, at the end."""
        return float(self.density_trace[-1])

    @property
    def layer(self) -> np.ndarray:
        """Hidden layer of each hidden unit, from 0."""
        return np.repeat(np.arange(len(self.training.hidden)), self.training.hidden)

    @property
    def unit(self) -> np.ndarray:
        """Index of each hidden unit within its layer."""
        return np.concatenate([np.arange(width) for width in self.training.hidden])

    @property
    def on_rate(self) -> np.ndarray:
        """P(unit is on) of the final network, (n_hidden,)."""
        return self.final.on_rate

    @property
    def accuracy(self) -> float:
        """P(classified rightly) by the final network."""
        return self.final.accuracy

    @cached_property
    def fan_in(self) -> np.ndarray:
        """Links into each hidden unit at the end, (n_hidden,)."""
        return np.concatenate([mask.sum(axis=1) for mask in self.masks[:-1]])

    @cached_property
    def fan_out(self) -> np.ndarray:
        """Links out of each hidden unit at the end, (n_hidden,)."""
        return np.concatenate([mask.sum(axis=0) for mask in self.masks[1:]])

    @property
    def traffic(self) -> np.ndarray:
        """on_rate fan_out of each hidden unit at the end, (n_hidden,)."""
        return self.on_rate * self.fan_out

    def steps_to_fit(self, *, accuracy: float | None = None, loss: float | None = None) -> float:
        """Return the first traced step with at least this accuracy, or at most this loss; nan if none.

        Raises
        ------
        ValueError
            If not exactly one is given, or it is outside its domain.
        """
        if validate.exactly_one(accuracy=accuracy, loss=loss) == "accuracy":
            there = self.accuracy_trace >= validate.real("accuracy", accuracy, "[0, 1]")
        else:
            there = self.loss_trace <= validate.real("loss", loss, "[0, inf)")
        return float(self.step[np.argmax(there)]) if there.any() else math.nan

    def activations(self, values: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Return hidden activations, (width, n) each, and the logit (n,), for values (n_inputs, n) shown.

        Raises
        ------
        ValueError
            If values are not numbers of that shape.
        """
        shown = validate.array("values", values, ndim=2)
        if shown.shape[0] != self.task.n_inputs:
            raise ValueError(f"values must have shape ({self.task.n_inputs}, n), got {shown.shape}")
        return propagate(self.weights, self.biases, self.scales, shown)

    def detectors(self, least: float = 0.5) -> Detectors:
        """Return which term each hidden unit detects: the one it correlates with most.

        Parameters
        ----------
        least : float
            In (0, 1]; correlation from which a unit with a link left counts as a detector in n_detectors.

        Returns
        -------
        Detectors

        Raises
        ------
        ValueError
            If least is outside its domain.
        """
        least = validate.real("least", least, "(0, 1]")
        term = np.argmax(self.final.term_correlation, axis=1)
        best = np.take_along_axis(self.final.term_correlation, term[:, None], axis=1)[:, 0]
        found = term[(best >= least) & (self.fan_out > 0)]
        counts = np.bincount(found, minlength=self.task.n_terms)
        return Detectors(self.layer, self.unit, term, best, self.on_rate, self.fan_out, self.traffic, counts)

"""The course of a training run as a record, and its state: what an interrupted run goes on from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.train.pruner import Pruner

_VERSION = 1


@dataclass(frozen=True, eq=False)
class TrainingRun(Record):
    """The course of a training run, one row per epoch.

    ``metrics`` holds what ``evaluate`` returned, a column for each of ``metric_names``.
    """

    KIND: ClassVar[str] = "training_run"
    UNITS: ClassVar[Mapping[str, str]] = {name: name for name in ("epoch", "step", "loss", "density")}

    step: np.ndarray  # (n_epochs,) batches' worth of updates so far: calls of optimizer.step()
    loss: np.ndarray  # (n_epochs,) mean over the batches of the epoch, while the model was learning
    density: np.ndarray  # (n_epochs,) kept / prunable weights at the end of the epoch; 1 without a pruner
    metric_names: tuple[str, ...]
    metrics: np.ndarray  # (n_epochs, n_metrics)

    @property
    def epoch(self) -> np.ndarray:
        """Epochs, counted from 1."""
        return np.arange(1, self.step.size + 1)

    def metric(self, name: str) -> np.ndarray:
        """Return one column of the metrics, (n_epochs,).

        Raises
        ------
        ValueError
            If there is no such metric.
        """
        return self.metrics[:, self.metric_names.index(validate.choice("name", name, self.metric_names))]


class Trace:
    """What has happened so far, one entry per epoch."""

    def __init__(self) -> None:
        self.n_steps = 0
        self.rows: dict[str, list[Any]] = {"step": [], "loss": [], "density": [], "metrics": []}
        self.names: list[str] = []

    @property
    def n_epochs(self) -> int:
        """Epochs so far."""
        return len(self.rows["step"])

    def add(self, loss: float, pruner: Pruner | None, metrics: Mapping[str, float]) -> None:
        """End an epoch."""
        if self.n_epochs and list(metrics) != self.names:
            raise ValueError(
                f"evaluate must return {', '.join(self.names) or 'nothing'} after every epoch, got "
                f"{', '.join(metrics) or 'nothing'}"
            )
        self.names = list(metrics)
        density = 1.0 if pruner is None else pruner.current_density
        row = {"step": self.n_steps, "loss": loss, "density": density, "metrics": list(metrics.values())}
        for name, value in row.items():
            self.rows[name].append(value)
        if pruner is not None and "accuracy" in metrics:
            pruner.record(metrics["accuracy"])

    def run(self) -> TrainingRun:
        """Return the record."""
        return TrainingRun(
            step=np.array(self.rows["step"], np.int64),
            loss=np.array(self.rows["loss"]),
            density=np.array(self.rows["density"]),
            metric_names=tuple(self.names),
            metrics=np.array(self.rows["metrics"], np.float64).reshape(self.n_epochs, len(self.names)),
        )


def pack(trace: Trace, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a run: bytes that ``torch.load(weights_only=True)`` reads, in an array."""
    saved = {name: None if part is None else part.state_dict() for name, part in parts.items()}
    buffer = io.BytesIO()
    torch.save({**saved, "rows": trace.rows, "names": trace.names}, buffer)
    return {
        "version": _VERSION,
        "epoch": trace.n_epochs,
        "checkpoint": np.frombuffer(buffer.getvalue(), np.uint8),
    }


def restore(state: Mapping[str, Any], parts: Mapping[str, Any]) -> Trace:
    """Take over a state and return the course that led to it."""
    if not isinstance(state, Mapping) or state.get("version") != _VERSION or "checkpoint" not in state:
        raise ValueError(f"state must be one of train_epochs, version {_VERSION}, got something else")
    try:
        saved = torch.load(
            io.BytesIO(np.asarray(state["checkpoint"], np.uint8).tobytes()),
            map_location="cpu",
            weights_only=True,
        )
    except Exception as error:  # whatever a damaged file makes of it
        raise ValueError(f"state must hold a whole checkpoint, got a damaged one: {error}") from None
    for name, part in parts.items():
        if (saved[name] is None) != (part is None):
            raise ValueError(
                f"state must come from a run {'without' if part is None else 'with'} a {name}, got one "
                f"{'with' if part is None else 'without'} it"
            )
        try:
            if part is not None:
                part.load_state_dict(saved[name])
        except (RuntimeError, KeyError, ValueError) as error:
            raise ValueError(f"state must belong to the same {name}: {error}") from None
    trace = Trace()
    trace.rows, trace.names = saved["rows"], list(saved["names"])
    trace.n_steps = trace.rows["step"][-1]
    return trace

"""What experiments on real tasks share: a network is trained by a method, methods are compared over seeds.

For a seed all methods have the same initial weights, batches, optimizer and number of steps, so differences
are paired by seed. Masks change ``n_refreshes`` times (or some more: intervals are whole steps) between
``warmup`` and ``last_change``, shares of the steps, and each layer meets the density within one link at the
end. The learning rate is each method's own, as tuned for the main metric: units, their entropy and their
correlation are those of networks so trained, and differ by that, too. Methods: dense; random masks; gradual
magnitude (Zhu and Gupta), and the same course by the scores of Wanda, Taylor and the gradient; SET and RigL,
sparse from the start as published; top-k activations, which cut no weight; Budgeted Broadcast with SP-in,
SP-out or both, with SP-in where units on less than 1 % of the time get an average degree (bb_in_awake), and
with SP-in under its ablated rules, all at their density from the first refresh on.

An experiment is then its settings and its task::

    METRICS = (Metric("accuracy", role="main"), Metric("tail_accuracy", role="tail"))

    @dataclasses.dataclass(frozen=True)
    class Config(ContestConfig):
        data: str = "fashion_mnist"

    CPU = Config(methods=CPU_METHODS, densities=CPU_DENSITIES, knobs={...})

    def task(config: Config, data_root: Path | None) -> Task: ...  # of config.seeds[0]; torch imported here

    def run(config: Config, progress: Progress) -> Cell:
        return train(config, task, METRICS, progress)

    def collect(config: Config, cells: Sequence[Cell]) -> Result:
        return _contest.collect(config, cells, METRICS)

with ``cells``, ``Cell`` and ``Result`` imported from here. ``task`` may raise MissingDataError.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import _contest_records
from experiments._contest_methods import make_optimizer, make_pruner, worst_gap
from experiments._contest_records import Cell, Result
from experiments._contest_settings import (
    CPU_DENSITIES,
    CPU_METHODS,
    DEFAULTS,
    METHODS,
    ContestConfig,
    Metric,
    cells,
)
from experiments._contest_statistics import Probe
from experiments.protocol import NotRun, Progress

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "CPU_DENSITIES",
    "CPU_METHODS",
    "DEFAULTS",
    "METHODS",
    "Cell",
    "ContestConfig",
    "Metric",
    "Result",
    "Task",
    "cells",
    "collect",
    "train",
]

collect = _contest_records.collect  # (config, cells, METRICS) -> Result


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be learnt, for one seed.

    Parameters
    ----------
    model : torch.nn.Module
        On the CPU, its weights drawn from the seed.
    batches : callable (epoch) -> iterable of batches
        Equally many in every epoch; such as `TensorBatches`. Counted once if it has no length.
    loss : callable (model, batch) -> scalar tensor
    evaluate : callable (model) -> dict of str to float
        On held-out data; the model is in evaluation mode and gradients are off.
    probe : sequence
        Held-out inputs on which the units are recorded.
    call : callable (model, input), optional
        How the model takes a probe; it moves it to the model's device. By default model(input), or
        model(*input) for a tuple.
    layers : sequence of str, optional
        Masked layers; all if not given.
    granularity, activations, inputs : see `bbtheory.train.Pruner`
    padding : callable (batch) -> bool tensor, optional
        Which positions of a batch are real, see `Pruner.padding`.
    optimizer : callable (parameters, learning rate) -> Optimizer, optional
        AdamW, or Adam without weight decay, if not given.
    baseline : dict of str to float
        Metrics of a trivial answer (the most frequent class, chance).
    """

    model: nn.Module
    batches: Callable[[int], Iterable[Any]]
    loss: Callable[[nn.Module, Any], torch.Tensor]
    evaluate: Callable[[nn.Module], dict[str, float]]
    probe: Sequence[Any]
    call: Callable[[nn.Module, Any], Any] | None = None
    layers: Sequence[str] | None = None
    granularity: str = "weight"
    activations: Mapping[str, Any] | None = None
    inputs: Mapping[str, Any] | None = None
    padding: Callable[[Any], torch.Tensor] | None = None
    optimizer: Callable[[Any, float], torch.optim.Optimizer] | None = None
    baseline: Mapping[str, float] = dataclasses.field(default_factory=dict)


def train(
    config: Any,
    task: Callable[[Any, Path | None], Task],
    metrics: Sequence[Metric],
    progress: Progress,
) -> Cell:
    """Train one network: the first method, density and seed of the settings.

    Raises
    ------
    NotRun
        If the data or the device are missing.
    """
    import torch

    from bbtheory.train import MissingDataError, train_epochs

    if config.device == "cuda" and not torch.cuda.is_available():
        raise NotRun("a CUDA device")
    torch.set_num_threads(1)
    try:
        given = task(config, progress.data_root)
    except MissingDataError as missing:
        raise NotRun(f"data: {missing}") from None
    model = given.model.to(config.device)
    batches: Any = given.batches
    n_batches = len(batches) if isinstance(batches, Sized) else sum(1 for _ in batches(0))
    n_steps = config.epochs * n_batches
    optimizer, scheduler = make_optimizer(given, model, config, n_steps)
    probe = Probe(given, model, config)
    before = probe.samples()
    pruner = make_pruner(given, model, config, n_steps)

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        if pruner is not None and given.padding is not None:
            pruner.padding.valid = given.padding(batch)
        return given.loss(model, batch)

    def keep(state: dict[str, Any]) -> None:
        progress.save({"run": state})
        progress.tick()

    progress.total(config.epochs)
    saved = progress.restore()
    run = train_epochs(
        model,
        optimizer,
        given.batches,
        epochs=config.epochs,
        loss=loss,
        pruner=pruner,
        scheduler=scheduler,
        scheduler_per="step",
        clip=config.clip,
        autocast=torch.bfloat16 if config.precision == "bfloat16" else None,
        seed=config.seeds[0],
        state=None if saved is None else saved["run"],
        on_epoch=keep,
    )
    if pruner is not None:
        pruner.finish()
        pruner.padding.valid = None
    model.eval()
    with torch.no_grad():
        found = given.evaluate(model)
    names = tuple(metric.name for metric in metrics)
    return Cell(
        metric_names=names,
        metrics=np.array([float(found[name]) for name in names]),
        baseline=np.array([float(given.baseline.get(name, math.nan)) for name in names]),
        loss=run.loss,
        density=1.0 if pruner is None else pruner.current_density,
        worst_gap=worst_gap(pruner, config),
        n_refreshes=0 if pruner is None else pruner.n_refreshes,
        n_weights=probe.n_weights,
        layers=probe.statistics(before, probe.samples(), pruner),
    )

"""What experiments on the pruning law share: one dense network per seed, pruned event by event in every way.

An experiment is its settings and its task::

    @dataclasses.dataclass(frozen=True)
    class Config(LawConfig):
        data: str = "mnist"

    def task(config: Config, data_root: Path | None) -> Task: ...  # of config.seeds[0]; torch imported here

    def run(config: Config, progress: Progress) -> Cell:
        return measure(config, task, progress)

with ``cells``, ``collect``, ``Cell`` and ``Result`` imported from here. ``task`` may raise MissingDataError.
Every family goes through one recorder, `bbtheory.train.PruningEvents`, and every curve through one fit.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments._law_records import Cell, Result, collect, fit_law
from experiments._law_settings import Course, LawConfig, cells, course
from experiments.protocol import NotRun, Progress

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bbtheory.train import History, Pruner

__all__ = ["Cell", "LawConfig", "Result", "Task", "cells", "collect", "dense_network", "measure", "prune"]

COLUMNS = (
    *("saliency", "density", "accuracy", "mean_kept"),
    *("flux_low", "flux_median", "growth", "near_growth", "rank_correlation"),
)


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be learnt, for one seed.

    Parameters
    ----------
    model : torch.nn.Module
        Its weights drawn from the seed, on the device of the settings.
    batches : callable (epoch) -> iterable of batches, with a length
    loss : callable (model, batch) -> scalar tensor
    evaluate : callable (model) -> mapping with ``accuracy``
    images : callable (first, last) -> batch
        A part of the training data.
    optimizer : callable (parameters, dense) -> Optimizer
        ``dense`` tells the training before the first event.
    scheduler : callable (optimizer, epochs) -> scheduler, optional
        Of the dense training, stepped once per epoch.
    exclude : sequence of str
        Layers that are not pruned.
    """

    model: nn.Module
    batches: Any
    loss: Callable[[nn.Module, Any], torch.Tensor]
    evaluate: Callable[[nn.Module], Mapping[str, float]]
    images: Callable[[int, int], Any]
    optimizer: Callable[[Any, bool], torch.optim.Optimizer]
    scheduler: Callable[[torch.optim.Optimizer, int], Any] | None = None
    exclude: Sequence[str] = ()


TaskOf = Callable[[Any, "Path | None"], Task]


def measure(config: Any, task_of: TaskOf, progress: Progress) -> Cell:
    """Train, prune by the first family and schedule, and fit the law."""
    task, accuracy = dense_network(config, task_of, progress.data_root)
    history = prune(config, task, progress)
    columns = {name: getattr(history, name) for name in COLUMNS}
    return Cell(
        **columns,
        dense_accuracy=accuracy,
        fit=fit_law(history.saliency, history.density, history.accuracy),
        mean_fit=fit_law(history.mean_kept, history.density, history.accuracy),
    )


def dense_network(config: Any, task_of: TaskOf, data_root: Path | None) -> tuple[Task, float]:
    """Return a task whose model is trained, a copy, and its accuracy.

    Raises
    ------
    NotRun
        If data or the device is missing.
    """
    import torch

    from bbtheory.train import MissingDataError

    torch.set_num_threads(1)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise NotRun("a CUDA device")
    # what the dense network does not depend on
    alike = dataclasses.replace(config, families=("magnitude",), schedules=("base",))
    try:
        task, accuracy = _trained(alike, task_of, data_root)
    except MissingDataError as missing:
        raise NotRun(f"data: {missing}") from None
    return dataclasses.replace(task, model=copy.deepcopy(task.model)), accuracy


@functools.lru_cache(maxsize=8)
def _trained(config: Any, task_of: TaskOf, data_root: Path | None) -> tuple[Task, float]:
    from bbtheory.train import train_epochs

    task = task_of(config, data_root)
    optimizer = task.optimizer(task.model.parameters(), True)
    scheduler = task.scheduler(optimizer, config.dense_epochs) if task.scheduler else None
    train_epochs(
        task.model,
        optimizer,
        task.batches,
        epochs=config.dense_epochs,
        loss=task.loss,
        scheduler=scheduler,
        autocast=_autocast(config),
        seed=config.seeds[0],
    )
    return task, float(task.evaluate(task.model)["accuracy"])


def prune(config: Any, task: Task, progress: Progress) -> History:
    """Make the events of the first family and schedule on a task's model, which is changed."""
    from bbtheory.train import PruningEvents, train_epochs

    family, seed = config.families[0], config.seeds[0]
    plan = course(config)
    pruner = make_pruner(config, task, plan)
    size = config.batch
    events = PruningEvents(
        pruner,
        task.evaluate,
        loss=task.loss,
        score_batches=[task.images(i * size, (i + 1) * size) for i in range(config.score_batches)],
        flux_batches=[task.images(0, config.flux_images)],
        flux_sample=config.flux_sample if config.schedules[0] == "base" else 0,
        seed=seed,
    )
    progress.total(plan.n)
    if not plan.steps:
        for _ in range(plan.n):
            events(task.model)
            progress.tick()
        return pruner.history
    saved = progress.restore()
    if saved is not None:
        events.load_state_dict(saved["events"])

    def keep(state: dict[str, Any]) -> None:
        progress.save({"run": state, "events": events.state_dict()})
        progress.tick()

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "every weight of layer")  # an empty layer shows in the curve
        train_epochs(
            task.model,
            task.optimizer(task.model.parameters(), False),
            lambda event: _steps(task.batches, event, plan.steps),
            epochs=plan.n,
            loss=task.loss,
            pruner=pruner,
            evaluate=events,
            autocast=_autocast(config),
            seed=seed,
            state=None if saved is None else saved["run"],
            on_epoch=keep,
        )
    if family != "hyperflux":
        pruner.verify()
    return pruner.history


def make_pruner(config: Any, task: Task, plan: Course) -> Pruner:
    """Return what prunes in the way of the first family."""
    from bbtheory.train import Flow, Gradient, Hyperflux, Magnitude, RandomRegrowth, Taylor

    family = config.families[0]
    common: dict[str, Any] = {"seed": config.seeds[0], "exclude": task.exclude}
    if family == "hyperflux":
        return Hyperflux(
            task.model,
            lambda interval: plan.pressures[min(interval, plan.n) - 1],
            flow=Flow(lr=config.flow_rate),
            stop_when_empty=False,
            **common,
        )
    common |= {"schedule": "iterative", "kept": plan.kept}
    if family == "random_regrowth":
        return RandomRegrowth(task.model, config.last_density, **common)
    kinds = {"magnitude": Magnitude, "taylor": Taylor, "gradient": Gradient}
    control, _, score = family.rpartition("_")
    kind = kinds[score]
    return kind(task.model, config.last_density, shuffled=control == "shuffled", **common)


def _steps(batches: Any, event: int, n_steps: int) -> Iterator[Any]:
    """Yield the batches of the steps before one event, in an order of their own."""
    n_epochs = -(-n_steps // len(batches))
    epochs: Iterable[Iterable[Any]] = (batches(event * n_epochs + k) for k in range(n_epochs))
    return itertools.islice(itertools.chain.from_iterable(epochs), n_steps)


def _autocast(config: Any) -> Any:
    import torch

    return torch.bfloat16 if config.precision == "bfloat16" else None

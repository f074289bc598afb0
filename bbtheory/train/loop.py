"""The one training loop: epochs that can be interrupted and gone on with, with or without a pruner."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from bbtheory import validate
from bbtheory.train.masked_model import NonFiniteError
from bbtheory.train.pruner import Pruner
from bbtheory.train.seeding import stream_seed
from bbtheory.train.training_run import Trace, TrainingRun, pack, restore

_CHECK_EVERY = 50  # batches between looks at the loss on an accelerator, where each look waits for it


def train_epochs(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int], Iterable[Any]] | Iterable[Any],
    *,
    epochs: int,
    loss: Callable[[nn.Module, Any], torch.Tensor],
    pruner: Pruner | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    scheduler_per: str = "epoch",
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    clip: float | None = None,
    autocast: torch.dtype | None = None,
    accumulate: int = 1,
    seed: int = 0,
    state: Mapping[str, Any] | None = None,
    on_step: Callable[[int], object] | None = None,
    on_epoch: Callable[[dict[str, Any]], object] | None = None,
) -> TrainingRun:
    """Train a model for a number of epochs, or the rest of them.

    Whatever is drawn from torch's global generators within epoch e (dropout, a shuffling DataLoader) follows
    from (seed, e); they are put back at the end. So a run that goes on from the state of an epoch does what
    it would have done without the interruption, bit for bit on a CPU.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place; in the mode it was in afterwards.
    optimizer : torch.optim.Optimizer
    batches : callable (epoch) -> iterable, or iterable
        The batches of an epoch, counted from 0, such as `TensorBatches`; an iterable is gone through anew in
        every epoch. Tensors in tuples, lists and mappings are moved to the model's device.
    epochs : int
        Epochs in all, >= 1, those before the interruption included.
    loss : callable (model, batch) -> scalar tensor
        Such as `cross_entropy`.
    pruner : Pruner, optional
        Its ``step`` is called after each ``optimizer.step``; its history takes a row after every epoch whose
        metrics hold an accuracy. ``finish`` is left to the caller. Training ends early with an epoch in which
        it has said why by ``stopped``.
    scheduler : torch.optim.lr_scheduler.LRScheduler, optional
    scheduler_per : {"epoch", "step"}
        When it steps.
    evaluate : callable (model) -> mapping of name to number, optional
        Called after every epoch, such as `classification`.
    clip : float, optional
        Largest norm of the gradient of all parameters, > 0.
    autocast : torch.dtype, optional
        Compute the loss in mixed precision; with float16 gradients are scaled.
    accumulate : int
        Batches per optimizer step, >= 1; a gradient is the mean over those there are.
    seed : int
        >= 0.
    state : mapping, optional
        What ``on_epoch`` was last given; None starts anew.
    on_step : callable (step), optional
        Called after each optimizer step, the pruner's included.
    on_epoch : callable (state), optional
        Called after each epoch with the state to go on from, a dict of numbers and an array.

    Returns
    -------
    TrainingRun
        Of all epochs, those before the interruption included.

    Raises
    ------
    NonFiniteError
        If the loss is not finite. On a CPU the model is as it was before that batch; the state last given to
        ``on_epoch`` is good.
    ValueError
        If an argument is outside its domain, an epoch has no batch, the metrics change their names, or a
        state belongs to another model, optimizer, scheduler or pruner.
    """
    validate.instance("model", model, nn.Module)
    validate.instance("optimizer", optimizer, torch.optim.Optimizer)
    epochs = validate.integer("epochs", epochs, "[1, inf)")
    per_step = validate.choice("scheduler_per", scheduler_per, ("epoch", "step")) == "step"
    clip = None if clip is None else validate.real("clip", clip, "(0, inf)")
    accumulate = validate.integer("accumulate", accumulate, "[1, inf)")
    seed = validate.integer("seed", seed, "[0, inf)")
    if autocast not in (None, torch.float16, torch.bfloat16):
        raise ValueError(f"autocast must be torch.float16, torch.bfloat16 or None, got {autocast}")
    if pruner is not None and not any(module is pruner.model for module in model.modules()):
        raise ValueError("pruner must prune the model that is trained, got one of another model")
    device = _device(model)
    precise = torch.float32 if device.type == "mps" else torch.float64
    scaler = torch.amp.GradScaler(device.type) if autocast is torch.float16 else None
    if pruner is not None and scaler is not None:
        pruner.scaler = scaler
    parts = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "scaler": scaler,
        "pruner": pruner,
    }
    trace = Trace()
    if state is not None:
        trace = restore(state, parts)
    modes = {module: module.training for module in model.modules()}
    with _own_randomness(device) as reseed:
        try:
            for epoch in range(trace.n_epochs, epochs):
                if pruner is not None and pruner.stopped:
                    break
                reseed(stream_seed(seed, "epoch", epoch))
                model.train()
                total, n_batches = torch.zeros((), dtype=precise, device=device), 0
                source = batches(epoch) if callable(batches) else batches
                for group in _grouped(source, accumulate):
                    optimizer.zero_grad(set_to_none=True)
                    for batch in group:
                        with torch.autocast(device.type, autocast) if autocast else contextlib.nullcontext():
                            value = loss(model, _moved(batch, device))
                        total += value.detach()
                        n_batches += 1
                        if device.type == "cpu" or n_batches % _CHECK_EVERY == 0:
                            _require_finite(total, epoch, trace.n_steps)
                        value = value / len(group)
                        (value if scaler is None else scaler.scale(value)).backward()
                    _step(model, optimizer, scaler, clip)
                    trace.n_steps += 1
                    if pruner is not None:
                        pruner.step()
                    if scheduler is not None and per_step:
                        scheduler.step()
                    if on_step is not None:
                        on_step(trace.n_steps)
                if n_batches == 0:
                    raise ValueError(f"batches must give at least one batch in epoch {epoch + 1}, got none")
                _require_finite(total, epoch, trace.n_steps)
                if scheduler is not None and not per_step:
                    scheduler.step()
                metrics = {} if evaluate is None else {k: float(v) for k, v in evaluate(model).items()}
                trace.add(float(total) / n_batches, pruner, metrics)
                if on_epoch is not None:
                    on_epoch(pack(trace, parts))
        finally:
            for module, mode in modes.items():
                module.training = mode
    return trace.run()


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    clip: float | None,
) -> None:
    if scaler is not None and clip is not None:
        scaler.unscale_(optimizer)
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()


def _require_finite(total: torch.Tensor, epoch: int, step: int) -> None:
    if not math.isfinite(float(total)):
        raise NonFiniteError(
            f"loss must be a finite number, got another by step {step + 1} in epoch {epoch + 1}: training "
            "stopped, go on from the last saved epoch with a smaller learning rate"
        )


def _grouped(source: Iterable[Any], n: int) -> Iterator[list[Any]]:
    iterator = iter(source)
    while group := list(itertools.islice(iterator, n)):
        yield group


def _device(model: nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _moved(batch: Any, device: torch.device) -> Any:
    if torch.is_tensor(batch):
        return batch if batch.device == device else batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: _moved(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_moved(value, device) for value in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(_moved(value, device) for value in batch)
    return batch


@contextlib.contextmanager
def _own_randomness(device: torch.device) -> Iterator[Callable[[int], object]]:
    """Yield what seeds torch's global generators; they are put back at the end."""
    devices = [device] if device.type != "cpu" else []
    kind = device.type if devices else "cuda"
    with torch.random.fork_rng(devices=devices, device_type=kind):
        yield torch.manual_seed

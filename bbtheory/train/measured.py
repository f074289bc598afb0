"""Pruners whose score is measured: by the gradients of the weights, or by the inputs of the layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from bbtheory import validate
from bbtheory.train.masked_model import NonFiniteError
from bbtheory.train.masking import MaskedWeight
from bbtheory.train.ranked import Ranked
from bbtheory.train.recording import Recorder


class Measured(Ranked, ABC):
    """A score that needs recorders, which listen in the last ``batches`` steps before each refresh.

    Before a refresh out of its time, or after training, call `calibrate` first. Recorders are emptied by each
    refresh; what they hold is part of the state.

    Parameters
    ----------
    model, density, schedule and others : see `Ranked`
    batches : int
        Optimizer steps before a refresh that are measured, >= 1.

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """

    def __init__(self, model: nn.Module, density: float, *, batches: int = 1, **settings: Any):
        self.batches = validate.integer("batches", batches, "[1, inf)")
        self.recorders: dict[str, Recorder] = {}
        super().__init__(model, density, **settings)
        with self._or_removed():
            for name, weight in self.weights.items():
                recorder = self.recorder(weight)
                if recorder is not None:
                    self.recorders[name] = recorder
            self._listen()

    @abstractmethod
    def recorder(self, weight: MaskedWeight) -> Recorder | None:
        """What listens for one weight, if anything has to."""

    def measured(self, name: str) -> torch.Tensor:
        """Mean of what was recorded for a layer.

        Raises
        ------
        ValueError
            If nothing was.
        NonFiniteError
            If it is not finite.
        """
        recorder = self.recorders[name]
        if not float(recorder.count):
            raise ValueError(
                f"a refresh must follow training steps or calibrate(), got nothing measured of layer {name!r}"
            )
        if not recorder.finite():
            raise NonFiniteError(
                f"what is measured of layer {name!r} must be finite numbers, got others: refresh at step "
                f"{self.step_count} refused, the masks stay as they are"
            )
        return recorder.mean()

    # -- the course of training

    def step(self) -> None:
        """See `Pruner.step`."""
        before = self.step_count
        super().step()
        if self.step_count == before:
            for recorder in self.recorders.values():
                recorder.drop_broken()
        self._listen()

    def refresh(self) -> None:
        """See `Pruner.refresh`.

        Raises
        ------
        ValueError
            If nothing was measured.
        NonFiniteError
            If weights or what was measured are not finite: masks stay as they are.
        """
        try:
            if self.reduce is not None and self.recorders:
                self.reduce([t for r in self.recorders.values() for t in (r.total, r.count)])
            super().refresh()
        finally:
            for recorder in self.recorders.values():
                recorder.clear()

    def calibrate(
        self, loader: Iterable[Any], forward: Callable[[nn.Module, Any], torch.Tensor] | None = None
    ) -> None:
        """Measure batches now, in evaluation mode, without a change of weights or of their gradients.

        Parameters
        ----------
        loader : iterable of batches
        forward : callable (model, batch), optional
            How to call the model; it returns the loss, a number, where gradients are measured, and must be
            given there. Without it the model is called with a batch, or with its first entry, moved to the
            model's device.

        Raises
        ------
        ValueError
            If the loader is empty.
        """
        was_training = {module: module.training for module in self.model.modules()}
        n_batches = 0
        try:
            self.model.eval()
            self._listen(always=True)
            for batch in loader:
                n_batches += 1
                self._run(batch, forward)
        finally:
            self._listen()
            for module, mode in was_training.items():
                module.training = mode
        if n_batches == 0:
            raise ValueError("loader must give at least one batch, got none")

    def remove(self) -> None:
        """See `Pruner.remove`."""
        super().remove()
        for recorder in self.recorders.values():
            recorder.detach()

    # -- state

    def extra_state(self) -> dict[str, Any]:
        """Saliencies and what was recorded."""
        sums = {n: {"total": r.total.clone(), "count": r.count.clone()} for n, r in self.recorders.items()}
        return super().extra_state() | {"recorders": sums}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take over `extra_state`."""
        super().load_extra_state(state)
        for name, recorder in self.recorders.items():
            recorder.attach()
            recorder.total.copy_(state["recorders"][name]["total"])
            recorder.count.copy_(state["recorders"][name]["count"])
        self._listen()

    # -- inside

    def _run(self, batch: Any, forward: Callable[[nn.Module, Any], torch.Tensor] | None) -> None:
        if forward is None:
            raise ValueError("forward must be given where gradients are measured, got None")
        parameters = [weight.parameter for weight in self.weights.values()]
        # hooks of the weights see these gradients, .grad does not
        torch.autograd.grad(forward(self.model, batch), parameters, allow_unused=True)

    def _attach(self) -> None:
        super()._attach()
        for recorder in self.recorders.values():
            recorder.attach()

    def _listen(self, *, always: bool = False) -> None:
        soon = any(self.is_refresh(self.step_count + ahead + 1) for ahead in range(self.batches))
        for recorder in self.recorders.values():
            if (soon or always) and not recorder.recording:
                recorder.attach()  # the weight may have been replaced or moved since
            recorder.recording = soon or always

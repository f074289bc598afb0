"""What a score needs beside the weights: gradients as the loss has them, and the size of a layer's inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from bbtheory.train.activity import Padding, Tap
from bbtheory.train.layers import CONVOLUTIONS
from bbtheory.train.masking import MaskedWeight


class Recorder(ABC):
    """A sum over what passes by while ``recording`` is set, and the number of times.

    Attributes
    ----------
    total : tensor
    count : tensor, ()
    """

    def __init__(self) -> None:
        self.recording = False
        self.total = torch.zeros(0)
        self.count = torch.zeros(())

    def mean(self) -> torch.Tensor:
        """Sum over count."""
        return self.total / float(self.count)

    def clear(self) -> None:
        """Forget everything."""
        self.total.zero_()
        self.count.zero_()

    def drop_broken(self) -> None:
        """Forget sums that are not finite: their step was skipped."""
        if not self.finite():
            self.clear()

    def finite(self) -> bool:
        """Whether the sums are finite numbers."""
        return bool(torch.isfinite(self.total).all())

    @abstractmethod
    def attach(self) -> None:
        """Follow the model to its device, and listen from now on."""

    @abstractmethod
    def detach(self) -> None:
        """Listen no more."""


class GradientRecorder(Recorder):
    """Sum over backward passes of dL/dw, or of |dL/dw|: dense, before the mask makes it zero at cut weights.

    A cut weight is zero, so this is the gradient of the dense network at the masked weights. A gradient
    scaler's factor is in it, clipping is not.
    """

    def __init__(self, weight: MaskedWeight, *, signed: bool):
        super().__init__()
        self.weight, self.signed = weight, signed
        self._hooked: nn.Parameter | None = None
        self._handle: Any = None
        self.attach()

    def attach(self) -> None:
        """See `Recorder`."""
        parameter = self.weight.parameter
        kind = torch.promote_types(parameter.dtype, torch.float32)
        if self.total.shape != parameter.shape:
            self.total = torch.zeros(parameter.shape, dtype=kind, device=parameter.device)
        elif (self.total.device, self.total.dtype) != (parameter.device, kind):
            self.total = self.total.to(parameter.device, kind)
        self.count = self.count.to(parameter.device)
        if self._hooked is not parameter:
            self.detach()
            if not parameter.requires_grad:
                raise ValueError(
                    f"layers must be trained where gradients are measured: {self.weight.name!r} is frozen; "
                    "exclude it"
                )
            # a hook of the tensor itself sees one backward pass alone, before it is accumulated
            self._handle = parameter.register_hook(self._add)
            self._hooked = parameter

    def detach(self) -> None:
        """See `Recorder`."""
        if self._handle is not None:
            self._handle.remove()
        self._handle, self._hooked = None, None

    @torch.no_grad()
    def _add(self, gradient: torch.Tensor) -> None:
        if self.recording:
            if self.total.device != gradient.device:  # the model was moved
                self.attach()
            self.total.add_(gradient if self.signed else gradient.abs())
            self.count += 1

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_hooked": None}


class InputRecorder(Recorder):
    """Sum of x_j^2 over samples and positions, for each input feature j (of a convolution: channel)."""

    def __init__(self, weight: MaskedWeight, padding: Padding):
        super().__init__()
        for module, parameter in weight.owners:
            if parameter != "weight" or not isinstance(module, (nn.Linear, *CONVOLUTIONS)):
                raise ValueError(
                    "layers must be Linear or convolutions where inputs are measured: what enters "
                    f"{weight.name!r} is not seen; exclude it"
                )
        self.weight, self.padding = weight, padding
        self.any_mode = False  # whether passes in evaluation mode count too
        self._handles: list[Any] = []
        self.attach()

    def attach(self) -> None:
        """See `Recorder`."""
        device = self.weight.parameter.device
        kind = torch.float32 if device.type == "mps" else torch.float64
        if self.total.numel() == 0:
            self.total = torch.zeros(self.weight.n_in, dtype=kind, device=device)
        self.total = self.total.to(device)
        self.count = self.count.to(device, kind)
        if not self._handles:
            tap = Tap(self)
            self._handles = [m.register_forward_pre_hook(tap) for m, _ in self.weight.owners]

    def detach(self) -> None:
        """See `Recorder`."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @torch.no_grad()
    def observe(self, module: nn.Module, h: torch.Tensor) -> None:
        """Add one forward pass."""
        if not self.recording or not (module.training or self.any_mode):
            return
        # activation checkpointing runs a forward pass again within the backward pass: seen already
        if not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1:
            return
        axis = h.dim() - 1 - next((d for kind, d in CONVOLUTIONS.items() if isinstance(module, kind)), 0)
        squares = h.detach().float().square()
        valid = self.padding.valid
        if valid is not None and valid.shape == h.shape[:axis] + h.shape[axis + 1 :]:
            squares = squares * valid.unsqueeze(axis)
            chances = valid.sum()
        else:
            chances = h.numel() // self.weight.n_in
        others = [d for d in range(h.dim()) if d != axis]
        self.total += squares.sum(others) if others else squares
        self.count += chances

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handles": []}

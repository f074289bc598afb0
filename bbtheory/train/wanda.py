"""Pruner that ranks links by weight and input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bbtheory.train.masking import MaskedWeight
from bbtheory.train.measured import Measured
from bbtheory.train.recording import InputRecorder


class Wanda(Measured):
    """Keeps weights by their size and that of what they read, score |w_ij| rms(x_j), within each row.

    The root mean square of input j over samples and positions stands for the original's norm ||X_j||_2:
    within a row, where scores are compared, the order is the same, and scores of rows of different layers are
    of one kind. A convolution's input channel has one size for all places of the kernel.

    One-shot on calibration batches, as published: ``Wanda(model, 0.5)``, ``calibrate(loader)``,
    ``refresh()``. In training: schedule="constant", dormant="stored", measured in the last ``batches`` steps
    before a refresh.

    Parameters
    ----------
    model, density, schedule and others : see `Ranked`
    batches : int
        Optimizer steps before a refresh whose inputs are measured, >= 1.
    allocation : {"row", "layer", "network", "erk", "er"}

    Raises
    ------
    ValueError
        If an argument is outside its domain or a layer's inputs cannot be seen: only those of Linear and of
        convolutions can, nn.MultiheadAttention calls its projections as functions.

    References
    ----------
    Sun et al. 2024 (arXiv 2306.11695), equation 1.
    """

    def __init__(self, model: nn.Module, density: float, *, allocation: str = "row", **settings: Any):
        super().__init__(model, density, allocation=allocation, **settings)

    def recorder(self, weight: MaskedWeight) -> InputRecorder:
        """What listens for one weight."""
        return InputRecorder(weight, self.padding)

    def score(self, name: str, weight: MaskedWeight) -> torch.Tensor:
        """|w_ij| rms(x_j), summed over the link."""
        values = weight.peek().abs()
        size = self.measured(name).sqrt().to(values.dtype)
        # the rows of a group read that group's columns
        by_row = size.reshape(weight.groups, 1, -1).expand(-1, weight.n_out // weight.groups, -1)
        by_row = by_row.reshape(weight.n_out, -1, *[1] * (values.dim() - 2))
        return weight.per_link(values * by_row)

    def _run(self, batch: Any, forward: Callable[[nn.Module, Any], torch.Tensor] | None) -> None:
        with torch.no_grad():
            if forward is not None:
                forward(self.model, batch)
            else:
                x = batch[0] if isinstance(batch, (tuple, list)) else batch
                self.model(x.to(next(self.model.parameters()).device))

    def _listen(self, *, always: bool = False) -> None:
        super()._listen(always=always)
        for recorder in self.recorders.values():
            if isinstance(recorder, InputRecorder):
                recorder.any_mode = always

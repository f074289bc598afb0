"""Samples in memory, in an order that the seed and the epoch fix; and how well a classifier does on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from bbtheory import validate
from bbtheory.train.seeding import stream_seed

_EVALUATION_BATCH = 2048


class TensorBatches:
    """Batches of samples that lie in memory, shuffled anew in every epoch.

    The order of epoch e is a permutation drawn from (seed, e) alone, on the CPU, so that a run which is
    interrupted goes on as if it had not been, on any device.

    Parameters
    ----------
    x, y : tensor or array_like, (n, ...)
        Samples and what belongs to them. Tensors are taken as they are, on the device where they are; other
        float64 numbers become torch's default type.
    batch : int
        Samples per batch, >= 1; the last one of an epoch may be smaller.
    seed : int
        Of the order, >= 0.
    drop_last : bool
        Whether to leave out a last batch that is smaller.

    Raises
    ------
    ValueError
        If there is no sample, x and y differ in length, or an argument is outside its domain.
    """

    def __init__(
        self,
        x: torch.Tensor | ArrayLike,
        y: torch.Tensor | ArrayLike,
        batch: int,
        *,
        seed: int = 0,
        drop_last: bool = False,
    ):
        self.x, self.y = _tensor(x), _tensor(y)
        if self.x.dim() == 0 or self.y.dim() == 0 or len(self.x) != len(self.y):
            raise ValueError(
                f"x and y must hold the same number of samples, got shapes {tuple(self.x.shape)} and "
                f"{tuple(self.y.shape)}"
            )
        self.batch = validate.integer("batch", batch, "[1, inf)")
        self.seed = validate.integer("seed", seed, "[0, inf)")
        self.drop_last = drop_last
        if len(self) == 0:
            raise ValueError(f"x must hold a batch of samples, got {len(self.x)}")

    def __len__(self) -> int:
        n, rest = divmod(len(self.x), self.batch)
        return n + (rest > 0 and not self.drop_last)

    def order(self, epoch: int) -> torch.Tensor:
        """Samples of an epoch in their order, (n,), int64, on the CPU."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "order", epoch))
        return torch.randperm(len(self.x), generator=generator)

    def __call__(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches (x, y) of an epoch."""
        order = self.order(epoch)
        order_x, order_y = order.to(self.x.device), order.to(self.y.device)
        for i in range(len(self)):
            part = slice(i * self.batch, (i + 1) * self.batch)
            yield self.x[order_x[part]], self.y[order_y[part]]


def _tensor(values: torch.Tensor | ArrayLike) -> torch.Tensor:
    if torch.is_tensor(values):
        return values
    array = np.asarray(values)
    if array.dtype == np.float64:
        return torch.tensor(array, dtype=torch.get_default_dtype())
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def cross_entropy(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy of a classifier on a batch (x, y), nats."""
    x, y = batch
    return nn.functional.cross_entropy(model(x), y)


def classification(
    x: torch.Tensor | ArrayLike, y: torch.Tensor | ArrayLike, *, batch: int = _EVALUATION_BATCH
) -> Callable[[nn.Module], dict[str, float]]:
    """Return what measures a classifier on held-out samples: accuracy, and cross-entropy in nats.

    Parameters
    ----------
    x : tensor or array_like, (n, ...)
    y : tensor or array_like, (n,)
        Class of each sample.
    batch : int
        Samples per forward pass, >= 1.

    Returns
    -------
    callable (model) -> dict
        Runs the model in evaluation mode, without gradients, and leaves it in the mode it was in.

    Raises
    ------
    ValueError
        As `TensorBatches`.
    """
    samples = TensorBatches(x, y, batch)

    @torch.no_grad()
    def evaluate(model: nn.Module) -> dict[str, float]:
        modes = {module: module.training for module in model.modules()}
        device = next(model.parameters()).device
        right, loss = 0, 0.0
        model.eval()
        try:
            for xs, ys in zip(samples.x.split(batch), samples.y.split(batch), strict=True):
                ys = ys.to(device)
                out = model(xs.to(device)).float()
                right += int((out.argmax(-1) == ys).sum())
                loss += float(nn.functional.cross_entropy(out, ys, reduction="sum"))
        finally:
            for module, mode in modes.items():
                module.training = mode
        n = len(samples.x)
        return {"accuracy": right / n, "test_loss": loss / n}

    return evaluate

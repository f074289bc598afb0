"""Batches of images with the small changes of pose that a seed and an epoch fix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from bbtheory import validate
from bbtheory.train.seeding import stream_seed


class PosedImages:
    """Batches of images (x, y), shuffled, turned, scaled and shifted anew in every epoch.

    What epoch e shows follows from (seed, e) alone. Outside an image is 0.

    Parameters
    ----------
    images : ndarray or ImageFiles (n_all, channels, size, size), uint8
        Indexed by arrays of indices; given to the model as x/255.
    index : array_like (n,), int
        Which of them.
    y : array_like (n,), int
    batch : int
        >= 1; a last batch of one image is left out, of which BatchNorm could learn no variance.
    angle : float
        Largest turn, degrees, >= 0.
    shift : float
        Largest shift along each axis as a share of the side, >= 0.
    scale : float
        Largest change of size as a share of it, in [0, 1).
    mirror : bool
        Whether left and right are swapped in half of the images.
    seed : int
        >= 0.

    Raises
    ------
    ValueError
        If index and y differ in length, there are fewer than two images, or an argument is outside its
        domain.
    """

    def __init__(
        self,
        images: Any,
        index: ArrayLike,
        y: ArrayLike,
        batch: int,
        *,
        angle: float = 0.0,
        shift: float = 0.0,
        scale: float = 0.0,
        mirror: bool = False,
        seed: int = 0,
    ):
        self.images = images
        self.index, self.y = np.asarray(index), torch.from_numpy(np.array(y, dtype=np.int64))
        if len(self.index) != len(self.y) or len(self.y) < 2:
            raise ValueError(
                f"index and y must name the same two or more images, got {len(self.index)} and {len(self.y)}"
            )
        self.batch = validate.integer("batch", batch, "[1, inf)")
        self.angle = math.radians(validate.real("angle", angle, "[0, inf)"))
        self.shift = validate.real("shift", shift, "[0, inf)")
        self.scale = validate.real("scale", scale, "[0, 1)")
        self.mirror = mirror
        self.seed = validate.integer("seed", seed, "[0, inf)")

    def __len__(self) -> int:
        n, rest = divmod(len(self.y), self.batch)
        return n + (rest > 0 and (rest > 1 or n == 0))

    def __call__(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches (x, y) of an epoch."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "order", epoch))
        order = torch.randperm(len(self.y), generator=generator)
        for part in order.split(self.batch)[: len(self)]:
            x = unit_range(self.images[self.index[part.numpy()]])
            yield self._posed(x, generator), self.y[part]

    def _posed(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n = len(x)
        angle, zoom, dx, dy = 2.0 * torch.rand(4, n, generator=generator) - 1.0
        flip = torch.ones(n)
        if self.mirror:
            flip -= 2.0 * (torch.rand(n, generator=generator) < 0.5)
        if not (self.angle or self.shift or self.scale or self.mirror):
            return x
        angle, zoom = self.angle * angle, 1.0 + self.scale * zoom
        cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
        # affine_grid's coordinates run from -1 to 1: a side is 2
        dx, dy = 2.0 * self.shift * dx, 2.0 * self.shift * dy
        rows = torch.stack([flip * cos, -sin, dx]), torch.stack([flip * sin, cos, dy])
        theta = torch.stack(rows).permute(2, 0, 1)
        grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
        return nn.functional.grid_sample(x, grid, align_corners=False)


def unit_range(images: np.ndarray) -> torch.Tensor:
    """Return bytes as float32 in [0, 1]."""
    return torch.from_numpy(images.astype(np.float32) / np.float32(255.0))

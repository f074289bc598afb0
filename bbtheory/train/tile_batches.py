"""Batches of tiles of image pairs, turned and mirrored as a seed and an epoch fix."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from bbtheory import validate
from bbtheory.train.data_changes import Changes
from bbtheory.train.seeding import stream_seed


class TileBatches:
    """Batches (before, after, label) of the training tiles, in an order and a turn drawn anew in every epoch.

    What epoch e shows follows from (seed, e) alone.

    Parameters
    ----------
    changes : Changes
    batch : int
        Tiles per batch, >= 1.
    turn : bool
        Whether each tile is turned by a multiple of 90 degrees and mirrored or not, both dates alike.
    seed : int
        >= 0.

    Raises
    ------
    ValueError
        If a number is outside its domain.
    """

    def __init__(self, changes: Changes, batch: int, *, turn: bool = True, seed: int = 0):
        self.changes = changes
        self.batch = validate.integer("batch", batch, "[1, inf)")
        self.turn = turn
        self.seed = validate.integer("seed", seed, "[0, inf)")

    def __len__(self) -> int:
        return -(-len(self.changes.train) // self.batch)

    def __call__(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch."""
        rng = np.random.default_rng(stream_seed(self.seed, "order", epoch))
        order = rng.permutation(len(self.changes.train))
        turns, mirrored = rng.integers(0, 4, len(order)), rng.integers(0, 2, len(order)) == 1
        for start in range(0, len(order), self.batch):
            part = order[start : start + self.batch]
            before, after, label = self.changes.train.stack(part)
            for i, place in enumerate(part) if self.turn else ():
                for array in (before[i], after[i], label[i]):
                    turned = np.rot90(array, int(turns[place]), (-2, -1))
                    # a copy: what is written to lies below what is read
                    array[...] = (turned[..., ::-1] if mirrored[place] else turned).copy()
            yield (
                standardised(self.changes, before),
                standardised(self.changes, after),
                torch.from_numpy(label),
            )


def standardised(changes: Changes, images: np.ndarray) -> torch.Tensor:
    """Return bytes (..., bands, height, width) as float32, (x - mean)/scale band by band."""
    mean, scale = (v.astype(np.float32)[:, None, None] for v in (changes.mean, changes.scale))
    return torch.from_numpy((images.astype(np.float32) - mean) / scale)

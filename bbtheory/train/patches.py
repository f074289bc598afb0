"""Patches of a volume to train on, the rare class more often than it occurs; prediction by windows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from bbtheory import validate
from bbtheory.train.seeding import stream_seed


class PatchBatches:
    """Batches of patches of a volume, drawn anew in every epoch.

    The patches of epoch e follow from (seed, e) alone. A share ``rare_share`` of them holds a labelled voxel
    drawn at random, somewhere in the patch; the others lie anywhere. Patches are turned by quarter turns and
    mirrored, within sections and across, at random.

    Parameters
    ----------
    volume : array_like (n_sections, height, width)
        Input values.
    labels : array_like (n_sections, height, width), bool
    patch : (int, int, int)
        Sections, rows and columns of a patch; as many rows as columns.
    n_patches : int
        Per epoch, >= 1.
    batch : int
        Patches per batch, >= 1; the last one of an epoch may be smaller.
    rare_share : float
        In [0, 1].
    seed : int
        >= 0.

    Raises
    ------
    ValueError
        If shapes differ, the patch is larger than the volume or not square, there is no label to over-
        represent, or an argument is outside its domain.
    """

    def __init__(
        self,
        volume: np.ndarray,
        labels: np.ndarray,
        patch: Sequence[int],
        *,
        n_patches: int,
        batch: int,
        rare_share: float = 0.5,
        seed: int = 0,
    ):
        self.volume = np.ascontiguousarray(volume, np.float32)
        self.labels = np.ascontiguousarray(labels, bool)
        if self.volume.ndim != 3 or self.volume.shape != self.labels.shape:
            raise ValueError(
                f"volume and labels must have the same three axes, got shapes {self.volume.shape} and "
                f"{self.labels.shape}"
            )
        self.patch = _window("patch", patch, self.volume.shape)
        if self.patch[1] != self.patch[2]:
            raise ValueError(f"patch must have as many rows as columns, got {self.patch}")
        self.n_patches = validate.integer("n_patches", n_patches, "[1, inf)")
        self.batch = validate.integer("batch", batch, "[1, inf)")
        self.rare_share = validate.real("rare_share", rare_share, "[0, 1]")
        self.seed = validate.integer("seed", seed, "[0, inf)")
        self._rare = np.argwhere(self.labels)
        if rare_share > 0 and len(self._rare) == 0:
            raise ValueError("labels must hold a voxel that is labelled, got none")

    def __len__(self) -> int:
        return -(-self.n_patches // self.batch)

    def __call__(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches (x, y) of an epoch, each (batch, 1, sections, rows, columns) and float32."""
        rng = np.random.default_rng(stream_seed(self.seed, "patches", epoch))
        for first in range(0, self.n_patches, self.batch):
            drawn = [self._draw(rng) for _ in range(min(self.batch, self.n_patches - first))]
            x, y = (np.stack([pair[i] for pair in drawn])[:, None] for i in (0, 1))
            yield torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        last = np.subtract(self.volume.shape, self.patch)
        if rng.random() < self.rare_share:
            at = self._rare[rng.integers(len(self._rare))]
            corner = rng.integers(np.maximum(at - self.patch + 1, 0), np.minimum(at, last) + 1)
        else:
            corner = rng.integers(0, last + 1)
        where = tuple(slice(c, c + n) for c, n in zip(corner, self.patch, strict=True))
        turns, mirrored, upside_down = int(rng.integers(4)), rng.random() < 0.5, rng.random() < 0.5
        pair = []
        for part in (self.volume[where], self.labels[where]):
            part = np.rot90(part, turns, (1, 2))
            part = part[:, ::-1] if mirrored else part
            pair.append(part[::-1] if upside_down else part)
        return pair[0], pair[1]


def rare_class_loss(
    positive_weight: float = 1.0, dice_share: float = 0.5
) -> Callable[[nn.Module, tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
    """Return a loss for voxels of which few are positive: weighted cross-entropy and soft Dice.

    (1 - s) mean_v [-w y ln p - (1-y) ln(1-p)] + s (1 - (2 sum p y + 1) / (sum p + sum y + 1)), p the
    predicted probability and y in {0, 1} the label of voxel v of the batch.

    Parameters
    ----------
    positive_weight : float
        w > 0.
    dice_share : float
        s in [0, 1].

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    Milletari et al. 2016, arXiv 1606.04797 (with sums of p for sums of p^2; the ones are this project's,
    for batches without a positive voxel).
    """
    weight = validate.real("positive_weight", positive_weight, "(0, inf)")
    share = validate.real("dice_share", dice_share, "[0, 1]")

    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x, y = batch
        logits = model(x).float()
        pos = torch.tensor(weight, device=logits.device)
        cross = nn.functional.binary_cross_entropy_with_logits(logits, y, pos_weight=pos)
        p = logits.sigmoid()
        dice = (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
        return (1 - share) * cross + share * (1 - dice)

    return loss


@torch.no_grad()
def predict_volume(
    model: nn.Module,
    volume: np.ndarray,
    window: Sequence[int],
    *,
    overlap: float = 0.5,
    batch: int = 4,
) -> np.ndarray:
    """Predict a volume by windows that slide over it, averaged where they overlap.

    The weight of a window falls linearly from its middle to its borders, where the network sees least.

    Parameters
    ----------
    model : torch.nn.Module
        Returns logits in the shape of its input, (batch, 1, sections, rows, columns); in evaluation mode.
    volume : ndarray (n_sections, height, width)
    window : (int, int, int)
        At most the volume's shape; rows and columns multiples of ``model.multiple``, where it has one.
    overlap : float
        Share of a window, on each axis, that the next one covers again, at least; in [0, 1).
    batch : int
        Windows per forward pass, >= 1.

    Returns
    -------
    ndarray (n_sections, height, width), float32
        Probabilities.

    Raises
    ------
    ValueError
        If the window does not fit the volume or the model, or an argument is outside its domain.
    """
    volume = np.ascontiguousarray(volume, np.float32)
    window = _window("window", window, volume.shape)
    multiple = getattr(model, "multiple", 1)
    if window[1] % multiple or window[2] % multiple:
        raise ValueError(f"window must have rows and columns that are multiples of {multiple}, got {window}")
    overlap = validate.real("overlap", overlap, "[0, 1)")
    batch = validate.integer("batch", batch, "[1, inf)")
    device = next(model.parameters()).device
    ramps = [np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) / n for n in window]
    weight = np.einsum("i,j,k->ijk", *ramps)
    total, weights = np.zeros(volume.shape), np.zeros(volume.shape)
    starts = [_starts(n, w, overlap) for n, w in zip(volume.shape, window, strict=True)]
    places = [
        tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        for corner in itertools.product(*starts)
    ]
    for first in range(0, len(places), batch):
        part = places[first : first + batch]
        x = torch.from_numpy(np.stack([volume[where] for where in part])[:, None])
        out = model(x.to(device)).float().sigmoid().cpu().numpy()[:, 0]
        for where, p in zip(part, out, strict=True):
            total[where] += weight * p
            weights[where] += weight
    return (total / weights).astype(np.float32)


def _starts(n: int, window: int, overlap: float) -> np.ndarray:
    """Return where windows begin on an axis: as few as the overlap allows, evenly spread."""
    step = max(int(window * (1 - overlap)), 1)
    return np.linspace(0, n - window, -(-(n - window) // step) + 1).round().astype(int)


def _window(name: str, value: Sequence[int], shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(value) != 3:
        raise ValueError(f"{name} must be sections, rows and columns, got {tuple(value)}")
    sides = [validate.integer(name, side, "[1, inf)") for side in value]
    if any(side > whole for side, whole in zip(sides, shape, strict=True)):
        raise ValueError(f"{name} must fit a volume of shape {shape}, got {tuple(sides)}")
    return sides[0], sides[1], sides[2]

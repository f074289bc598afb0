"""Images in files, one folder per class, as ImageNet has them: read as they are needed, by Pillow.

A set NAME is a folder with ``train/CLASS/*`` and ``val/CLASS/*`` (or ``test``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bbtheory import validate
from bbtheory.train.image_files import SUFFIXES, image_paths, open_image
from bbtheory.train.packs import MissingDataError, data_folder
from bbtheory.train.seeding import stream_seed


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """A set with one folder of files per class; images are read as they are needed.

    Attributes
    ----------
    name : str
    train_paths, test_paths : tuple of Path
    y_train, y_test : ndarray (n,), int64
        Class of each file: the place of its folder's name among ``class_names``.
    class_names : tuple of str
        Sorted names of the folders of ``train``.
    size : int
        Height and width of an image as it is read.
    """

    name: str
    train_paths: tuple[Path, ...]
    y_train: np.ndarray
    test_paths: tuple[Path, ...]
    y_test: np.ndarray
    class_names: tuple[str, ...]
    size: int


def load_image_folder(
    name: str, data_root: str | os.PathLike[str] | None = None, *, size: int = 224
) -> ImageFolder:
    """List a set of images with ``train/CLASS/*`` and ``val/CLASS/*`` (or ``test``).

    Parameters
    ----------
    name : str
        Folder below ``data_root``.
    data_root : path, optional
        None: the folder BBTHEORY_DATA names.
    size : int
        Pixels, >= 1: the shorter side is scaled to it and the middle taken.

    Returns
    -------
    ImageFolder

    Raises
    ------
    MissingDataError
        If a folder is not there.
    ValueError
        If a folder holds no image, or a class of the test images is not among those of training.
    """
    size = validate.integer("size", size, "[1, inf)")
    wanted = f"put the folders {name}/train/CLASS and {name}/val/CLASS of image files"
    folder = data_folder(name, data_root, wanted) / name
    train = folder / "train"
    test = next((folder / part for part in ("val", "test") if (folder / part).is_dir()), None)
    if not train.is_dir() or test is None:
        raise MissingDataError(f"{folder} lacks {'val' if train.is_dir() else 'train'}: {wanted} there")
    names = tuple(sorted(part.name for part in train.iterdir() if part.is_dir()))
    return ImageFolder(name, *_listed(train, names), *_listed(test, names), names, size)


def _listed(folder: Path, names: Sequence[str]) -> tuple[tuple[Path, ...], np.ndarray]:
    others = sorted(part.name for part in folder.iterdir() if part.is_dir() and part.name not in names)
    if others:
        raise ValueError(f"{folder} must have the classes of the training images, got {others[0]!r}")
    paths, labels = [], []
    for label, name in enumerate(names):
        if (folder / name).is_dir():
            own = image_paths(folder / name)
            paths += own
            labels += [label] * len(own)
    if not paths:
        raise ValueError(f"{folder} must hold image files ({', '.join(SUFFIXES)}) in class folders, got none")
    return tuple(paths), np.array(labels, np.int64)


def read_image(path: str | os.PathLike[str], size: int) -> np.ndarray:
    """Read an image file as (3, size, size) uint8: shorter side scaled to size, the middle taken.

    Raises
    ------
    ValueError
        If it is no whole image.
    ImportError
        If Pillow is not installed.
    """
    image = open_image(Path(path), 3)
    from PIL import ImageOps

    return np.asarray(ImageOps.fit(image, (size, size))).transpose(2, 0, 1).copy()


class FolderBatches:
    """Batches (x, y) of images read from files by threads, in an order that the seed and the epoch fix.

    Parameters
    ----------
    paths : sequence of path
    labels : ndarray (n,), int64
    batch, size : int
        Images per batch, pixels per side.
    seed : int
        Of the order, >= 0.
    threads : int
        That read files.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: np.ndarray,
        batch: int,
        *,
        size: int,
        seed: int = 0,
        threads: int = 4,
    ):
        self.paths, self.labels = list(paths), torch.from_numpy(np.array(labels, np.int64))
        self.batch = validate.integer("batch", batch, "[1, inf)")
        self.size, self.seed, self.threads = size, seed, validate.integer("threads", threads, "[1, inf)")
        if not self.paths or len(self.paths) != len(self.labels):
            raise ValueError(
                f"paths and labels must be equally many, got {len(self.paths)} and {len(self.labels)}"
            )

    def __len__(self) -> int:
        return -(-len(self.paths) // self.batch)

    def __call__(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch, x in [0, 1]."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "order", epoch))
        yield from self._read(torch.randperm(len(self.paths), generator=generator))

    def in_order(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield all batches in the order of the files."""
        yield from self._read(torch.arange(len(self.paths)))

    def _read(self, order: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        with ThreadPoolExecutor(self.threads) as pool:
            for part in order.split(self.batch):
                images = list(pool.map(lambda i: read_image(self.paths[i], self.size), part.tolist()))
                yield torch.from_numpy(np.stack(images)).float() / 255.0, self.labels[part]

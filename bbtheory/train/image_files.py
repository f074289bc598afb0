"""Image files of a folder, read when they are asked for; made into arrays of one size."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff", ".webp")
_THREADS = 4
MODES = {1: "L", 3: "RGB"}  # channels -> Pillow's mode


def image_paths(folder: Path) -> list[Path]:
    """Return the image files that lie in a folder itself, in the order of their names."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())


def open_image(path: Path, n_channels: int) -> Any:
    """Return a Pillow image with 1 (grey) or 3 channels of 8 bits.

    Raises
    ------
    ImportError
        If Pillow is missing.
    ValueError
        If the file is damaged, too large to be an image, or no image.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("image files need Pillow: pip install pillow", name="PIL") from None
    try:
        with Image.open(path) as image:
            return image.convert(MODES[n_channels])
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} must be an image file: {error}") from None


class ImageFiles:
    """Image files as an array (n, channels, size, size), uint8, read as they are indexed.

    The middle square of an image is averaged down (or repeated up) to ``size`` pixels a side.

    Parameters
    ----------
    paths : sequence of Path
    size : int
    n_channels : {1, 3}
    negative : bool
        Whether to swap black and white.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, paths: Iterable[Path], size: int, n_channels: int = 3, negative: bool = False):
        self.paths = list(paths)
        self.size, self.n_channels, self.negative = size, n_channels, negative

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the array."""
        return len(self.paths), self.n_channels, self.size, self.size

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read the images of an array of indices or of a slice."""
        places = np.atleast_1d(np.arange(len(self.paths))[index])
        out = np.zeros((len(places), *self.shape[1:]), np.uint8)
        with ThreadPoolExecutor(_THREADS) as pool:
            for i, image in enumerate(pool.map(lambda place: self._read(self.paths[place]), places)):
                out[i] = image
        return out

    def _read(self, path: Path) -> np.ndarray:
        image = open_image(path, self.n_channels)
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        square = np.asarray(image.crop((left, top, left + side, top + side)))
        planes = square[None] if square.ndim == 2 else square.transpose(2, 0, 1)
        return shrink((255 - planes if self.negative else planes) / np.float32(255.0), self.size)


def shrink(images: np.ndarray, size: int) -> np.ndarray:
    """Average images (n, h, w) in [0, 1] over equal areas to (n, size, size), as uint8 from 0 to 255."""
    rows, columns = (_areas(length, size) for length in images.shape[1:])
    out = np.empty((len(images), size, size), np.uint8)
    for part in range(0, len(images), 512):  # bounds what is held as floating-point numbers
        block = images[part : part + 512].astype(np.float32)
        out[part : part + 512] = np.rint(255.0 * (rows @ block @ columns.T)).astype(np.uint8)
    return out


def _areas(n: int, size: int) -> np.ndarray:
    """Share of each of n pixels in each of ``size`` equal parts of their length, (size, n)."""
    edges = np.linspace(0.0, n, size + 1)
    pixel = np.arange(n)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (np.clip(overlap, 0.0, None) * (size / n)).astype(np.float32)

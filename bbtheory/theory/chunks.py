"""Populations too large for memory: fan-outs that are read chunk by chunk, on-rates that are written so."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from bbtheory import validate
from bbtheory.storage import atomic

# units a chunk: its buffers, 6 MB, stay in the processor's cache, and a loop over chunks costs nothing
SIZE = 2**18


class Chunks:
    """A long array of numbers, read as often as one likes in chunks that share one buffer.

    Parameters
    ----------
    source : path or array_like, (n,)
        A .npy file; or anything with a shape, a dtype and slices that NumPy turns into arrays: a memory map,
        a dask.array (read block by block), a data set of an HDF5 file. A file, and a memory map of a whole
        file, are read with ordinary reads: the pages of a map would count as resident memory.
    name : str
        Name of the argument, for messages.

    Attributes
    ----------
    size : int
    dtype : dtype
    n_passes : int
        How often all has been read.
    on_read : callable
        May be set: is told the number of values of each chunk that has been dealt with.

    Raises
    ------
    ValueError
        If it is empty, not one axis of real numbers, or no .npy file.
    OSError
        If the file cannot be read.
    """

    def __init__(self, source: Any, name: str = "fan_out"):
        if isinstance(source, (str, os.PathLike)):
            source = _mapped(Path(source))
        elif not (hasattr(source, "shape") and isinstance(getattr(source, "dtype", None), np.dtype)):
            source = np.asarray(source)  # a list; a tensor, whose dtype is its own
        validate.unmasked(name, source)
        if len(source.shape) != 1:
            raise ValueError(f"{name} must have 1 axis, got shape {source.shape}")
        if np.dtype(source.dtype).kind not in "iuf":
            raise ValueError(f"{name} must be an array of real numbers, got dtype {source.dtype}")
        if source.shape[0] != source.shape[0]:  # dask's nan
            raise ValueError(f"{name} must have chunks of known sizes (compute_chunk_sizes())")
        if source.shape[0] == 0:
            raise ValueError(f"{name} must not be empty")
        self.source, self.name = source, name
        self.size, self.dtype = int(source.shape[0]), np.dtype(source.dtype)
        self.n_passes = 0
        self.on_read: Callable[[int], object] = lambda n: None

    @property
    def path(self) -> Path | None:
        """The file that is read, None for arrays."""
        whole = isinstance(self.source, np.memmap) and isinstance(self.source.base, mmap.mmap)
        return Path(self.source.filename) if whole and self.source.filename else None

    def __iter__(self) -> Iterator[np.ndarray]:
        for part in self._from_file() if self.path else self._from_slices():
            yield part
            self.on_read(part.size)
        self.n_passes += 1

    def with_costs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each chunk as it is, and as float64 in a buffer that is used again."""
        buffer = np.empty(SIZE)
        for part in self:
            cost = buffer[: part.size]
            np.copyto(cost, part)
            yield part, cost

    def _from_file(self) -> Iterator[np.ndarray]:
        assert self.path is not None
        buffer = np.empty(min(SIZE, self.size), self.dtype)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.source.offset)
            for start in range(0, self.size, SIZE):
                part = buffer[: min(SIZE, self.size - start)]
                view = part.view(np.uint8).data
                while view.nbytes:
                    n = file.readinto(view)
                    if not n:
                        raise ValueError(f"{self.path} must hold {self.size:,} numbers, it was cut short")
                    view = view[n:]
                yield part

    def _from_slices(self) -> Iterator[np.ndarray]:
        source = self.source
        # a block of dask's is computed as a whole: once, not once a slice
        for block in source.blocks if hasattr(source, "blocks") else [source]:
            whole = np.asarray(block) if block is not source else source
            for start in range(0, whole.shape[0], SIZE):
                yield np.asarray(whole[start : start + SIZE])


def _mapped(path: Path) -> np.ndarray:
    """Open a .npy file without reading its values."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        if isinstance(error, ValueError) and "empty" in str(error):
            raise ValueError(f"{path} must not be empty") from None
        raise ValueError(f"{path} must be a .npy file with an array of numbers, got something else") from None
    if not isinstance(found, np.ndarray):
        found.close()
        raise ValueError(f"{path} must be a .npy file with one array, got an archive")
    return found


@contextmanager
def writing(path: str | os.PathLike[str], size: int) -> Iterator[Callable[[np.ndarray], object]]:
    """Yield a function that appends float64 values to a .npy file; the file is there once it is whole.

    Raises
    ------
    ValueError
        If the name does not end in .npy, or names no regular file.
    OSError
        If it cannot be written.
    """
    if Path(path).suffix.lower() != ".npy":
        raise ValueError(f"output must be a .npy file, got {os.fspath(path)!r}")
    with atomic(path) as temporary, temporary.open("wb") as file:
        header = {"descr": npy.dtype_to_descr(np.dtype(np.float64)), "fortran_order": False, "shape": (size,)}
        npy.write_array_header_1_0(file, header)
        yield lambda values: file.write(values.data)

"""Image data sets: digits (bundled with scikit-learn), MNIST and Fashion-MNIST read from a folder, verified.

A folder of data holds, for NAME mnist or fashion_mnist, either ``NAME.npz`` (arrays x_train, y_train, x_test,
y_test) or the four IDX files as published, plain or .gz, in ``NAME/`` or in torchvision's ``MNIST/raw/`` and
``FashionMNIST/raw/``. Files are untrusted: nothing in them is executed, sizes and checksums are checked.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from bbtheory import validate
from bbtheory.train.packs import MissingDataError, data_folder, read_pack, verify

NAMES = ("digits", "mnist", "fashion_mnist")
PARTS = ("x_train", "y_train", "x_test", "y_test")

_ARRAYS = {part: ("uint8", 3 if part.startswith("x") else 1) for part in PARTS}

# sha256 over the bytes (uint8) of x_train, y_train, x_test, y_test, one after the other
CHECKSUMS = {
    "digits": "596f49518be352e33d09305db7e9b99d75fe817f421cfd8ead9fa009871723b9",
    "mnist": "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16",
    "fashion_mnist": "ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f",
}
CLASS_NAMES = {
    "digits": tuple("0123456789"),
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}
_TORCHVISION = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}
# Yann LeCun's names and the variant with a dot that some mirrors use
_IDX_FILES = {
    "x_train": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "y_train": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
    "x_test": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
    "y_test": ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
}
_LARGEST = 2**31  # bytes an IDX header may announce; the sets read here have 47 million
_DIGITS_TEST = 5  # every fifth digit is for testing: scikit-learn's order runs through the writers


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of one data set, in its official order and split, read-only.

    Attributes
    ----------
    name : str
    x_train, x_test : ndarray (n, height, width), uint8
        Grey values from 0 to ``white``.
    y_train, y_test : ndarray (n,), int64
        Class of each image.
    white : int
        Largest grey value, 255 or, for digits, 16.
    class_names : tuple of str
    checksum : str
        sha256 of the arrays, as verified.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    white: int
    class_names: tuple[str, ...]
    checksum: str

    def __post_init__(self) -> None:
        for part in PARTS:
            getattr(self, part).flags.writeable = False

    def flat(self, part: str) -> np.ndarray:
        """Return the images of "train" or "test" as float32 rows (n, height * width) in [0, 1]."""
        x = self.x_train if validate.choice("part", part, ("train", "test")) == "train" else self.x_test
        return x.reshape(len(x), -1).astype(np.float32) / np.float32(self.white)


def load_data(name: str = "digits", data_root: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set by name and verify it by its checksum.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion_mnist"}
        digits needs no files: 1438 training and 359 test images of 8 x 8, bundled with scikit-learn.
    data_root : path, optional
        Folder of the data sets (see the module's docstring); None: the one BBTHEORY_DATA names.

    Returns
    -------
    Dataset

    Raises
    ------
    MissingDataError
        If no folder is given or the data set is not in it.
    ValueError
        If the name is unknown, or a file is damaged, not of its format, or other data than its name says.
    """
    validate.choice("name", name, NAMES)
    if name == "digits":
        arrays, source = _digits(), "scikit-learn's digits"
    else:
        arrays, source = _read(name, data_root)
    checksum = verify(source, name, (arrays[part].astype(np.uint8) for part in PARTS), CHECKSUMS[name])
    return Dataset(
        name=name,
        x_train=arrays["x_train"],
        y_train=arrays["y_train"].astype(np.int64),
        x_test=arrays["x_test"],
        y_test=arrays["y_test"].astype(np.int64),
        white=16 if name == "digits" else 255,
        class_names=CLASS_NAMES[name],
        checksum=checksum,
    )


def _digits() -> dict[str, np.ndarray]:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()  # scikit-learn's signature allows for return_X_y, which is off
    x, y = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    test = np.arange(len(x)) % _DIGITS_TEST == _DIGITS_TEST - 1
    return {"x_train": x[~test], "y_train": y[~test], "x_test": x[test], "y_test": y[test]}


def _read(name: str, data_root: str | os.PathLike[str] | None) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays of a data set and where they were found."""
    wanted = (
        f"put {name}.npz (arrays {', '.join(PARTS)}) or the four IDX files ({_IDX_FILES['x_train'][0]}[.gz], "
        f"...) in {name}/"
    )
    root = data_folder(name, data_root, wanted)
    pack = root / f"{name}.npz"
    if pack.is_file():
        return read_pack(pack, _ARRAYS), str(pack)
    for folder in (root / name, root / _TORCHVISION[name]):
        paths = {part: _idx_path(folder, part) for part in PARTS}
        found = {part: path for part, path in paths.items() if path is not None}
        if len(found) == len(PARTS):
            return {part: read_idx(path) for part, path in found.items()}, str(folder)
        if found:
            lacking = ", ".join(_IDX_FILES[part][0] for part in PARTS if part not in found)
            raise MissingDataError(f"{folder} lacks {lacking} of {name}")
    raise MissingDataError(f"{root} holds no {name}: {wanted} there")


def _idx_path(folder: Path, part: str) -> Path | None:
    for stem in _IDX_FILES[part]:
        for path in (folder / stem, folder / f"{stem}.gz"):
            if path.is_file():
                return path
    return None


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file of bytes (the form MNIST is published in), plain or .gz.

    Big-endian header: two zero bytes, the type (8 = unsigned byte), the number of axes, then each length as
    four bytes; the data follow in C order.

    Parameters
    ----------
    path : path

    Returns
    -------
    ndarray, uint8

    Raises
    ------
    ValueError
        If the file is not IDX of bytes, or shorter or longer than its header says.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        try:
            return _parse_idx(cast(BinaryIO, file), path)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path} must be a whole gzip file: {error}") from None


def _parse_idx(file: BinaryIO, path: Path) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4 or head[:3] != b"\0\0\x08" or not 1 <= head[3] <= 3:
        raise ValueError(f"{path} must be an IDX file of bytes with 1 to 3 axes, got the header {head!r}")
    lengths = file.read(4 * head[3])
    if len(lengths) < 4 * head[3]:
        raise ValueError(f"{path} must be an IDX file, got one that ends in its header")
    shape = tuple(int(n) for n in np.frombuffer(lengths, dtype=">u4"))
    size = math.prod(shape)
    if size > _LARGEST:
        raise ValueError(f"{path} must hold less than {_LARGEST} bytes, its header says {size}")
    data = file.read(size + 1)  # one more, to see that the file ends here
    if len(data) != size:
        got = f"only {len(data)}" if len(data) < size else "more"
        raise ValueError(f"{path} must hold {size} bytes of data as its header {shape} says, got {got}")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape).copy()

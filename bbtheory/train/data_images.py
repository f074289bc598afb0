"""Images in memory: those of data.py with an axis of channels, and CIFAR-10 and CIFAR-100 in binary form.

A folder of data holds CIFAR as published "for C programs": ``cifar-10-batches-bin/`` (data_batch_1.bin to
data_batch_5.bin, test_batch.bin, batches.meta.txt) and ``cifar-100-binary/`` (train.bin, test.bin,
fine_label_names.txt). Files are untrusted: sizes and labels are checked, nothing in them is executed; the
pickled "python" form is not read.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np

from bbtheory import validate
from bbtheory.train.data import load_data
from bbtheory.train.packs import MissingDataError, data_folder

GREY = ("digits", "mnist", "fashion_mnist")
CIFAR = ("cifar10", "cifar100")
_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_FOLDERS = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}
_TRAIN_FILES = {"cifar10": [f"data_batch_{i}.bin" for i in range(1, 6)], "cifar100": ["train.bin"]}
_TEST_FILES = {"cifar10": "test_batch.bin", "cifar100": "test.bin"}
_NAME_FILES = {"cifar10": "batches.meta.txt", "cifar100": "fine_label_names.txt"}
_N_CLASSES = {"cifar10": 10, "cifar100": 100}
_LABEL_BYTES = {"cifar10": 1, "cifar100": 2}  # coarse before fine
_N_IMAGES = {"cifar10": 10_000, "cifar100": 50_000}  # of a training file; both test files have 10,000
_N_TEST = 10_000


@dataclass(frozen=True, eq=False)
class Images:
    """Images and labels in memory, in their official order and split, read-only.

    Attributes
    ----------
    name : str
    x_train, x_test : ndarray (n, channels, height, width), uint8
        From 0 to ``white``.
    y_train, y_test : ndarray (n,), int64
    white : int
    class_names : tuple of str
    checksum : str
        sha256 of x_train, y_train, x_test, y_test (uint8): verified for digits, MNIST and Fashion-MNIST, of
        CIFAR only stated.
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
        for part in ("x_train", "y_train", "x_test", "y_test"):
            getattr(self, part).flags.writeable = False


def load_images(name: str = "digits", data_root: str | os.PathLike[str] | None = None) -> Images:
    """Load a set of images that fits into memory.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion_mnist", "cifar10", "cifar100"}
        The first three as `load_data`, with an axis of one channel.
    data_root : path, optional
        Folder of the data sets; None: the one BBTHEORY_DATA names.

    Returns
    -------
    Images

    Raises
    ------
    MissingDataError
        If no folder is given or files are not in it.
    ValueError
        If the name is unknown, or a file is damaged or of another size or has labels that there are not.
    """
    if validate.choice("name", name, (*GREY, *CIFAR)) in GREY:
        data = load_data(name, data_root)
        images = {part: getattr(data, part)[:, None] for part in ("x_train", "x_test")}
        return Images(
            name=name,
            **images,
            y_train=data.y_train,
            y_test=data.y_test,
            white=data.white,
            class_names=data.class_names,
            checksum=data.checksum,
        )
    files = [*_TRAIN_FILES[name], _TEST_FILES[name], _NAME_FILES[name]]
    wanted = f"put the files of {name}'s binary version ({files[0]}, ...) in {_FOLDERS[name]}/"
    root = data_folder(name, data_root, wanted)
    folder = next((f for f in (root / _FOLDERS[name], root / name) if f.is_dir()), None)
    if folder is None:
        raise MissingDataError(
            f"{root} holds no {name}: {wanted} there; they are at https://www.cs.toronto.edu/~kriz/cifar.html"
        )
    for file in files:
        if not (folder / file).is_file():
            raise MissingDataError(f"{folder} lacks {file} of {name}: {wanted}")
    train = [read_cifar(folder / file, name, _N_IMAGES[name]) for file in _TRAIN_FILES[name]]
    x_train, y_train = (np.concatenate(parts) for parts in zip(*train, strict=True))
    x_test, y_test = read_cifar(folder / _TEST_FILES[name], name, _N_TEST)
    names = (folder / _NAME_FILES[name]).read_text(encoding="utf-8", errors="replace").split()
    if len(names) != _N_CLASSES[name]:
        raise ValueError(
            f"{folder / _NAME_FILES[name]} must name {_N_CLASSES[name]} classes, got {len(names)}"
        )
    digest = hashlib.sha256()
    for part in (x_train, y_train, x_test, y_test):
        digest.update(part.astype(np.uint8).tobytes())
    return Images(name, x_train, y_train, x_test, y_test, 255, tuple(names), digest.hexdigest())


def read_cifar(
    path: str | os.PathLike[str], name: str, n_images: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of CIFAR's binary version: per image its label (CIFAR-100: two) and 3 x 32 x 32 bytes.

    Parameters
    ----------
    path : path
    name : {"cifar10", "cifar100"}
    n_images : int, optional
        That must be in it.

    Returns
    -------
    (ndarray (n, 3, 32, 32) uint8, ndarray (n,) int64)
        Images and labels, of CIFAR-100 the fine ones.

    Raises
    ------
    ValueError
        If the size of the file is not that of whole images, or a label is not one of the classes.
    OSError
        If it cannot be read.
    """
    validate.choice("name", name, CIFAR)
    row = _LABEL_BYTES[name] + _PIXELS
    raw = np.fromfile(path, dtype=np.uint8)
    n, rest = divmod(raw.size, row)
    if rest or n == 0 or (n_images is not None and n != n_images):
        wanted = "whole images" if n_images is None else f"{n_images} images"
        raise ValueError(f"{path} must hold {wanted} of {row} bytes, got {raw.size} bytes")
    rows = raw.reshape(n, row)
    y = rows[:, _LABEL_BYTES[name] - 1].astype(np.int64)
    if y.max() >= _N_CLASSES[name]:
        raise ValueError(f"{path} must have labels below {_N_CLASSES[name]}, got {y.max()}")
    return rows[:, _LABEL_BYTES[name] :].reshape(n, 3, _SIDE, _SIDE).copy(), y

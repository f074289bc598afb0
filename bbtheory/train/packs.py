"""Data files that a user names the folder of: found or asked for, read without trust, verified.

Files are untrusted: nothing in them is executed, and what they hold is checked before it is used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bbtheory.storage import read_npz


class MissingDataError(FileNotFoundError):
    """A data set is not where it should be; the message says what to put where."""


def data_folder(name: str, data_root: str | os.PathLike[str] | None, wanted: str) -> Path:
    """Return the folder of the data sets: the one given, or the one that BBTHEORY_DATA names.

    Parameters
    ----------
    name : str
        Of the data set.
    data_root : path, optional
    wanted : str
        What to put there, as a request: "put NAME.npz (...)".

    Raises
    ------
    MissingDataError
        If no folder is named or it is not there.
    """
    given = data_root if data_root is not None else os.environ.get("BBTHEORY_DATA")
    if not given:
        raise MissingDataError(f"{name} needs a data folder: {wanted} and name the folder by BBTHEORY_DATA")
    root = Path(given)
    if not root.is_dir():
        raise MissingDataError(f"the data folder {root} is not there: {wanted} in it")
    return root


def read_pack(path: Path, arrays: Mapping[str, tuple[str, int]]) -> dict[str, np.ndarray]:
    """Read arrays of an npz file and check their types and axes.

    Parameters
    ----------
    path : Path
    arrays : mapping of name to (type, number of axes)
        Types as numpy names them, such as "uint8"; "str" for texts.

    Returns
    -------
    dict of ndarray
        Those named, and no others.

    Raises
    ------
    ValueError
        If the file is damaged, is no npz file, or lacks an array, or one has another type or number of axes.
    """
    try:
        read = read_npz(path, arrays)
    except ValueError as error:
        raise ValueError(f"{path} must be an npz file of {', '.join(arrays)}: {error}") from None
    for name, (kind, n_axes) in arrays.items():
        array = read[name]
        found = "str" if array.dtype.kind == "U" else array.dtype.name
        if found != kind or array.ndim != n_axes:
            axes = "axis" if n_axes == 1 else "axes"
            raise ValueError(
                f"{path}: {name} must be {kind} with {n_axes} {axes}, got {found} of shape {array.shape}"
            )
    return read


def verify(source: object, name: str, parts: Iterable[np.ndarray | bytes], expected: str) -> str:
    """Check the sha256 over the bytes of arrays, one after the other, and return it.

    Raises
    ------
    ValueError
        If it is another one.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    found = digest.hexdigest()
    if found != expected:
        raise ValueError(
            f"{source} must be the original {name}: sha256 {expected[:12]}..., got {found[:12]}..."
        )
    return found

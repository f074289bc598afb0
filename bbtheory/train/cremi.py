"""Reads HDF5 volumes in the layout of the CREMI challenge, without trust and section by section."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from bbtheory import validate

RAW, CLEFTS = "volumes/raw", "volumes/labels/clefts"
_WHOLE = 1e-3  # voxels: an offset over a size, both floats in nm, counts as a whole number within this


def read_cremi(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Read grey values and synaptic clefts of the sections that are labelled.

    ``volumes/raw`` holds grey values (uint8), ``volumes/labels/clefts`` a number for each synapse; background
    is the largest number of its type, as CREMI has it, the data set's fill value, or zero. Where raw is the
    larger (a padded volume), the attributes ``offset`` of the labels and ``resolution`` of raw, both in nm,
    say where the labels lie.

    Parameters
    ----------
    path : Path

    Returns
    -------
    raw : ndarray (n_sections, height, width), uint8
    synapse : ndarray (n_sections, height, width), bool
    voxel_size : (float, float, float)
        nm; NaN where raw has no ``resolution``.

    Raises
    ------
    ImportError
        If h5py is not installed.
    ValueError
        If the file is damaged, is no HDF5 file, lacks a volume, has one of another type or size, or leads to
        another file.
    """
    try:
        import h5py  # pyright: ignore[reportMissingImports]  # an extra
    except ImportError:
        raise ImportError(
            f"{path} is an HDF5 file, which needs h5py: pip install h5py", name="h5py"
        ) from None
    try:
        with h5py.File(path, "r") as file:
            raw, clefts = (_volume(h5py, file, path, name) for name in (RAW, CLEFTS))
            if raw.dtype != np.uint8:
                raise ValueError(f"{RAW} must be uint8, got {raw.dtype}")
            # what is read; a padded volume may be far larger
            validate.room(CLEFTS, clefts.shape, math.prod(clefts.shape))
            if clefts.dtype.kind not in "iu":
                raise ValueError(f"{CLEFTS} must be integers, got {clefts.dtype}")
            voxel_size = _three(raw, "resolution", math.nan)
            corner = _corner(raw, clefts, voxel_size)
            background = [np.iinfo(clefts.dtype).max, 0, clefts.fillvalue]
            shape = clefts.shape
            grey, synapse = np.empty(shape, np.uint8), np.empty(shape, bool)
            rows, columns = (slice(c, c + n) for c, n in zip(corner[1:], shape[1:], strict=True))
            for i in range(shape[0]):  # labels take eight times the memory of what is kept of them
                grey[i] = raw[corner[0] + i, rows, columns]
                synapse[i] = ~np.isin(clefts[i], np.array(background, clefts.dtype))
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:  # h5py raises any of these
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} must be an HDF5 file of {RAW} and {CLEFTS}: {reason}") from None
    return grey, synapse, voxel_size


def _volume(h5py: Any, file: Any, path: Path, name: str) -> Any:
    """Return a data set of three axes that lies in this very file."""
    at = file
    for part in name.split("/"):
        link = at.get(part, getlink=True) if isinstance(at, h5py.Group) else None
        if link is None:
            raise ValueError(f"it has no {name}")
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{name} must lie in this file, got a link")
        at = at[part]
    if not isinstance(at, h5py.Dataset) or at.shape is None or len(at.shape) != 3 or 0 in at.shape:
        raise ValueError(f"{name} must be a volume of three axes, got shape {getattr(at, 'shape', None)}")
    if at.external or at.is_virtual:
        raise ValueError(f"{name} must lie in this file, got one that is stored elsewhere")
    return at


def _three(volume: Any, attribute: str, missing: float) -> tuple[float, float, float]:
    """Return an attribute of three numbers."""
    if attribute not in volume.attrs:
        return missing, missing, missing
    values = validate.array(attribute, volume.attrs[attribute], shape=(3,))
    return float(values[0]), float(values[1]), float(values[2])


def _corner(raw: Any, clefts: Any, voxel_size: tuple[float, float, float]) -> list[int]:
    """Return where the labels begin within raw, voxels."""
    offset = np.subtract(_three(clefts, "offset", 0.0), _three(raw, "offset", 0.0))
    if not offset.any():
        corner = np.zeros(3)
    elif min(voxel_size) > 0:
        corner = offset / voxel_size
    else:
        raise ValueError(f"resolution of {RAW} must be three numbers > 0 where labels have an offset")
    whole = np.round(corner)
    if np.abs(corner - whole).max() > _WHOLE or (whole < 0).any() or (whole + clefts.shape > raw.shape).any():
        at = tuple(corner.tolist())
        raise ValueError(f"{CLEFTS} must lie within {RAW}, got {clefts.shape} at {at} of {raw.shape}")
    return [int(c) for c in whole]

"""Volumes of electron microscopy with labelled synapses: read from a folder, verified, split by sections.

A volume is a stack of sections, (sections, height, width). Known by name are ``em_vnc_stack1``, the pack
``em_vnc_stack1.npz`` (Drosophila ventral nerve cord, 20 sections of 50 nm, pixels of 4.6 nm; Gerhard et al.
2013, doi 10.6084/m9.figshare.856713), and ``generated``, a small stack made by a formula, of dark spots on
noise, which needs no files and is no electron microscopy. Any other name is that of an HDF5 file in the
layout of the CREMI challenge, see cremi.py. Files are untrusted: nothing in them is executed, and none leads
to another.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bbtheory import validate
from bbtheory.train.cremi import CLEFTS, RAW, read_cremi
from bbtheory.train.packs import MissingDataError, data_folder, read_pack, verify
from bbtheory.train.seeding import stream_seed

NAMES = ("generated", "em_vnc_stack1")
ENDINGS = (".h5", ".hdf", ".hdf5")

_PACK = {"raw": 3, "labels": 3, "membrane": 3, "synapse": 3, "is_test": 1}
# sha256 over the bytes of the arrays of the pack, one after the other in this order
CHECKSUMS = {"em_vnc_stack1": "260cd1e991cf55a23c69c647fb19b459f1ab1d9ae54830669abbe56ca5e24b1e"}
LABELS = (0, 32, 64, 96, 128, 159, 191, 223, 255)  # codes of the pack's labels
_VOXEL = {"em_vnc_stack1": (50.0, 4.6, 4.6), "generated": (50.0, 20.0, 20.0)}
_TEST_SHARE = 5  # of a volume without a split of its own every fifth section, the last ones, is for testing


@dataclass(frozen=True, eq=False)
class Volume:
    """A stack of sections, read-only.

    Attributes
    ----------
    name : str
    raw : ndarray (n_sections, height, width), uint8
        Grey values; synapses are dark.
    synapse : ndarray (n_sections, height, width), bool
        Whether a voxel belongs to a synapse.
    is_test : ndarray (n_sections,), bool
        Sections held out for testing: the last ones.
    voxel_size : (float, float, float)
        Thickness of a section, height and width of a pixel; nm. NaN where the file does not say.
    checksum : str
        sha256 of the arrays as read; of a known set the one it must have.
    """

    name: str
    raw: np.ndarray
    synapse: np.ndarray
    is_test: np.ndarray
    voxel_size: tuple[float, float, float]
    checksum: str

    def __post_init__(self) -> None:
        for array in (self.raw, self.synapse, self.is_test):
            array.flags.writeable = False

    @property
    def prevalence(self) -> float:
        """Share of the voxels that belong to synapses."""
        return float(self.synapse.mean())

    def coarser(self, factor: int) -> Volume:
        """Return the volume with ``factor`` x ``factor`` pixels of each section made into one.

        Grey values are averaged; a pixel is synapse where at least half of what it is made of is. Rows and
        columns that are left over are cut off.

        Raises
        ------
        ValueError
            If the factor is no integer in [1, inf) or leaves no pixel.
        """
        factor = validate.integer("factor", factor, "[1, inf)")
        if min(self.raw.shape[1:]) < factor:
            raise ValueError(f"factor must leave a pixel of sections of {self.raw.shape[1:]}, got {factor}")
        if factor == 1:
            return self
        return Volume(
            self.name,
            np.round(_blocks(self.raw, factor)).astype(np.uint8),
            _blocks(self.synapse, factor) >= 0.5,
            self.is_test.copy(),
            (self.voxel_size[0], self.voxel_size[1] * factor, self.voxel_size[2] * factor),
            self.checksum,
        )

    def split(self, n_validation: int, gap: int) -> Split:
        """Cut the sections into training, validation and test sections.

        In their order: training sections, ``gap`` sections left out, ``n_validation`` validation sections,
        the test sections. With a gap of at least the receptive field's reach across sections no held-out
        section, and none that it is seen with, is trained on; validation and test sections need none between
        them.

        Parameters
        ----------
        n_validation : int
            >= 1.
        gap : int
            >= 0.

        Raises
        ------
        ValueError
            If no section is left to train on, or a part holds no synapse or nothing else.
        """
        n_validation = validate.integer("n_validation", n_validation, "[1, inf)")
        gap = validate.integer("gap", gap, "[0, inf)")
        n_test = int(self.is_test.sum())
        first_test = len(self.raw) - n_test
        first_held_out = first_test - n_validation
        n_train = first_held_out - gap
        if n_train < 1:
            raise ValueError(
                f"n_validation and gap must leave a section to train on, got {n_validation} and {gap} of "
                f"{first_test} sections"
            )
        parts = (range(n_train), range(first_held_out, first_test), range(first_test, len(self.raw)))
        split = Split(*(slice(part.start, part.stop) for part in parts))
        for what, part in zip(("training", "validation", "test"), parts, strict=True):
            if len(part) == 0 or not 0 < (share := self.synapse[part.start : part.stop].mean()) < 1:
                held = f"a share of {share:g}" if len(part) else "no section"
                raise ValueError(f"{what} sections of {self.name} must hold synapses and others, got {held}")
        return split


@dataclass(frozen=True)
class Split:
    """Slices of sections: those trained on, those that settings are chosen on, those tested on."""

    train: slice
    validation: slice
    test: slice


def load_volume(name: str = "generated", data_root: str | os.PathLike[str] | None = None) -> Volume:
    """Load a volume by name.

    Parameters
    ----------
    name : str
        "generated", "em_vnc_stack1", or the name of an HDF5 file (.h5, .hdf, .hdf5) in the layout of CREMI,
        in the folder of data sets.
    data_root : path, optional
        Folder of the data sets (see the module's docstring); None: the one BBTHEORY_DATA names.

    Returns
    -------
    Volume

    Raises
    ------
    MissingDataError
        If no folder is given or the file is not in it.
    ImportError
        If an HDF5 file is asked for and h5py is not installed.
    ValueError
        If the name is unknown, or a file is damaged, not of its format, or other data than its name says.
    """
    if isinstance(name, str) and name.endswith(ENDINGS):
        root = data_folder(name, data_root, f"put {name} (HDF5: {RAW}, {CLEFTS}; from cremi.org)")
        path = root / name
        if not path.is_file():
            raise MissingDataError(
                f"{root} holds no {name}: put the HDF5 file ({RAW}, {CLEFTS}; from cremi.org) there"
            )
        return _cremi(name, path)
    if name not in NAMES:
        raise ValueError(
            f"name must be one of {', '.join(NAMES)} or end with {', '.join(ENDINGS)}, got {name!r}"
        )
    return _generated() if name == "generated" else _stack1(data_root)


def _cremi(name: str, path: Path) -> Volume:
    raw, synapse, voxel_size = read_cremi(path)
    n_test = max(len(raw) // _TEST_SHARE, 1)
    checksum = hashlib.sha256(raw.tobytes() + synapse.tobytes()).hexdigest()
    return Volume(name, raw, synapse, np.arange(len(raw)) >= len(raw) - n_test, voxel_size, checksum)


def _stack1(data_root: str | os.PathLike[str] | None) -> Volume:
    name = "em_vnc_stack1"
    wanted = f"put {name}.npz (arrays {', '.join(_PACK)}; of doi 10.6084/m9.figshare.856713)"
    root = data_folder(name, data_root, wanted)
    path = root / f"{name}.npz"
    if not path.is_file():
        raise MissingDataError(f"{root} holds no {name}: {wanted} there")
    arrays = read_pack(path, {part: ("bool" if n == 1 else "uint8", n) for part, n in _PACK.items()})
    shape = arrays["raw"].shape
    for part, n_axes in _PACK.items():
        if arrays[part].shape != shape[:n_axes] or 0 in shape:
            raise ValueError(
                f"{path}: {part} must have the shape of raw, {shape[:n_axes]} and not empty, got "
                f"{arrays[part].shape}"
            )
    for part, codes in (("labels", LABELS), ("membrane", (0, 1)), ("synapse", (0, 1))):
        odd = np.setdiff1d(arrays[part], codes)
        if odd.size:
            raise ValueError(f"{path}: {part} must be one of {', '.join(map(str, codes))}, got {odd[0]}")
    _check_last(path, arrays["is_test"])
    checksum = verify(path, name, (arrays[part] for part in _PACK), CHECKSUMS[name])
    return Volume(name, arrays["raw"], arrays["synapse"] > 0, arrays["is_test"], _VOXEL[name], checksum)


def _check_last(path: Path, is_test: np.ndarray) -> None:
    n = int(is_test.sum())
    if not 0 < n < len(is_test) or not is_test[-n:].all():
        raise ValueError(f"{path}: is_test must name the last sections, got {np.flatnonzero(is_test)}")


def _blocks(sections: np.ndarray, factor: int) -> np.ndarray:
    """Mean of each factor x factor block of pixels, float64."""
    n, height, width = (sections.shape[0], *(side // factor for side in sections.shape[1:]))
    cut = sections[:, : height * factor, : width * factor]
    return cut.reshape(n, height, factor, width, factor).mean((2, 4))


# of the generated volume
_SECTIONS, _SIDE, _N_SPOTS = 12, 48, 40
_SPOT = (0.6, 2.5)  # radius of a spot: sections, pixels


def _generated() -> Volume:
    """Dark spots among darker lines on noise: what a network can tell apart and brightness alone cannot."""
    rng = np.random.default_rng(stream_seed(0, "generated volume"))
    at = np.arange(_SIDE)
    raw = rng.normal(140.0, 25.0, (_SECTIONS, _SIDE, _SIDE))
    for i in range(_SECTIONS):  # lines as thin as membranes, as dark as spots
        for shift, slope in zip(rng.uniform(0, _SIDE, 3), rng.uniform(-1, 1, 3), strict=True):
            distance = np.abs(at[:, None] - shift - slope * (at - _SIDE / 2)) / np.hypot(1, slope)
            raw[i][distance < 1.0] -= 70.0
    synapse = np.zeros(raw.shape, bool)
    section = np.arange(_SECTIONS)[:, None, None]
    for spot in range(_N_SPOTS):
        z = (spot + 0.5) * _SECTIONS / _N_SPOTS  # in every part of the stack
        y, x = rng.uniform(_SPOT[1], _SIDE - _SPOT[1], 2)
        far = ((section - z) / _SPOT[0]) ** 2 + ((at[:, None] - y) ** 2 + (at - x) ** 2) / _SPOT[1] ** 2
        synapse |= far < 1
    raw[synapse] = rng.normal(70.0, 25.0, int(synapse.sum()))
    raw = np.clip(raw, 0, 255).astype(np.uint8)
    checksum = hashlib.sha256(raw.tobytes() + synapse.tobytes()).hexdigest()
    is_test = np.arange(_SECTIONS) >= _SECTIONS - 3
    return Volume("generated", raw, synapse, is_test, _VOXEL["generated"], checksum)

"""Images of identities: faces or any other set with a folder per identity, and handwritten characters.

A folder of data holds ``omniglot_small.npz``, or Omniglot as published:
``omniglot/ALPHABET/characterNN/*.png`` (also below ``images_background`` and ``images_evaluation``). Any
other set is a folder in which each folder that holds images is one identity. Files are untrusted: nothing in
them is executed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bbtheory import validate
from bbtheory.train.image_files import ImageFiles, image_paths, shrink
from bbtheory.train.packs import MissingDataError, data_folder, read_pack, verify

NAMES = ("digits", "omniglot_small", "omniglot")
TEST_SHARE = 0.25  # the last samples of each identity: 5 of Omniglot's 20 drawers

# sha256 over the bytes of images_packed, identity, drawer
CHECKSUM = "eb8ecb2096e01591bbd43d31213bb742fd6dddb4b57c490444a1a438b376cd09"
_PACK = {
    "images_packed": ("uint8", 2),
    "shape": ("int64", 1),
    "identity": ("int16", 1),
    "drawer": ("uint8", 1),
    "alphabet": ("uint8", 1),
    "alphabet_names": ("str", 1),
}


@dataclass(frozen=True, eq=False)
class Faces:
    """Images, whose they are, and which sample of its identity each is.

    Attributes
    ----------
    name : str
    images : ndarray or ImageFiles (n, channels, size, size), uint8
        Files are read as they are indexed, by an array of indices.
    identity : ndarray (n,), int64
        From 0 without gaps.
    sample : ndarray (n,), int64
        From 0 within an identity: who drew a character, the order of names else.
    identity_names : tuple of str
    checksum : str
        Of a pack, as verified; empty else.
    """

    name: str
    images: Any
    identity: np.ndarray
    sample: np.ndarray
    identity_names: tuple[str, ...]
    checksum: str

    @property
    def n_identities(self) -> int:
        """Number of identities."""
        return len(self.identity_names)

    @property
    def is_test(self) -> np.ndarray:
        """Last quarter of the samples of each identity, (n,) bool."""
        n = np.bincount(self.identity)[self.identity]
        return self.sample >= n - np.rint(TEST_SHARE * n)


def load_faces(
    name: str | os.PathLike[str] = "digits",
    data_root: str | os.PathLike[str] | None = None,
    *,
    size: int | None = None,
    grey: bool = False,
) -> Faces:
    """Load images of identities by name, or from a folder.

    Parameters
    ----------
    name : {"digits", "omniglot_small", "omniglot"} or path
        digits stands in where there are no files: ten identities of about 180 samples, 8 x 8 pixels, bundled
        with scikit-learn. A path, absolute or below the folder of data, names a folder per identity.
    data_root : path, optional
        Folder of the data sets (see the module's docstring); None: the one BBTHEORY_DATA names.
    size : int, optional
        Pixels a side, >= 1, averaged over areas; 8, 35 and 224 for digits, Omniglot and others if not given.
    grey : bool
        Whether images of a folder are made grey; Omniglot is.

    Returns
    -------
    Faces

    Raises
    ------
    MissingDataError
        If no folder is given or the data set is not in it.
    ValueError
        If a file is damaged or holds other data than its name says, or the size is outside its domain.
    ImportError
        If image files are to be read and Pillow is missing.
    """
    size = None if size is None else validate.integer("size", size, "[1, inf)")
    if name == "digits":
        return _digits(8 if size is None else size)
    if name == "omniglot_small":
        return _read_small(data_root, 35 if size is None else size)
    if name == "omniglot":
        wanted = "put the folders ALPHABET/characterNN (github.com/brendenlake/omniglot) in omniglot/"
        root = data_folder("omniglot", data_root, wanted) / "omniglot"
        if not root.is_dir():
            raise MissingDataError(f"{root} is not there: {wanted}")
        return _read_folder(root, "omniglot", 35 if size is None else size, grey=True, negative=True)
    path = Path(name)
    if not path.is_absolute():
        wanted = f"put a folder of images for each identity in {path}/"
        path = data_folder(str(name), data_root, wanted) / path
    if not path.is_dir():
        raise MissingDataError(
            f"{path} is not there: name one of {', '.join(NAMES)}, or a folder that holds a folder of images "
            "for each identity"
        )
    return _read_folder(path, path.name, 224 if size is None else size, grey=grey, negative=False)


def _digits(size: int) -> Faces:
    from bbtheory.train.data import load_data

    digits = load_data("digits")
    images = np.concatenate([digits.x_train, digits.x_test])
    identity = np.concatenate([digits.y_train, digits.y_test])
    images = shrink(images / np.float32(digits.white), size)
    return Faces("digits", images[:, None], identity, _ranks(identity), digits.class_names, digits.checksum)


def _read_small(data_root: str | os.PathLike[str] | None, size: int) -> Faces:
    wanted = f"put omniglot_small.npz (arrays {', '.join(_PACK)})"
    path = data_folder("omniglot_small", data_root, wanted) / "omniglot_small.npz"
    if not path.is_file():
        raise MissingDataError(f"{path} is not there: {wanted} there")
    arrays = read_pack(path, _PACK)
    shape = tuple(int(n) for n in arrays["shape"])
    n = len(arrays["images_packed"])
    n_pixels = int(np.prod(shape[1:]))
    if len(shape) != 3 or shape[0] != n or arrays["images_packed"].shape[1] != -(-n_pixels // 8):
        raise ValueError(f"{path}: images_packed must hold images of shape {shape}, got {n} rows")
    for part in ("identity", "drawer", "alphabet"):
        if len(arrays[part]) != n:
            raise ValueError(f"{path}: {part} must have {n} values, one per image, got {len(arrays[part])}")
    identity, alphabets = arrays["identity"].astype(np.int64), arrays["alphabet_names"]
    counts = np.bincount(identity) if identity.size and identity.min() >= 0 else np.zeros(1)
    if not counts.all():
        raise ValueError(f"{path}: identity must number identities from 0 without gaps")
    if int(arrays["alphabet"].max()) >= len(alphabets):
        raise ValueError(f"{path}: alphabet must be below {len(alphabets)}, got {arrays['alphabet'].max()}")
    parts = (arrays[part] for part in ("images_packed", "identity", "drawer"))
    checksum = verify(path, "omniglot_small", parts, CHECKSUM)
    # each image is filled up to whole bytes
    ink = np.unpackbits(arrays["images_packed"], axis=1, count=n_pixels).reshape(shape)
    first = np.unique(identity, return_index=True)[1]
    of = arrays["alphabet"][first]
    names = tuple(
        f"{alphabets[a]}/character{np.count_nonzero(of[:i] == a) + 1:02d}" for i, a in enumerate(of)
    )
    images = shrink(ink, size)[:, None]
    return Faces("omniglot_small", images, identity, arrays["drawer"].astype(np.int64), names, checksum)


def _read_folder(root: Path, name: str, size: int, *, grey: bool, negative: bool) -> Faces:
    paths: list[Path] = []
    identity: list[int] = []
    names: list[str] = []
    for folder in sorted(p for p in root.rglob("*") if p.is_dir()):
        found = image_paths(folder)
        if found:
            identity += [len(names)] * len(found)
            names.append(folder.relative_to(root).as_posix())
            paths += found
    if len(names) < 2:
        raise MissingDataError(
            f"{root} must hold a folder of images for each identity, at least 2, got {len(names)}"
        )
    who = np.array(identity)
    images = ImageFiles(paths, size, 1 if grey else 3, negative)
    images[:1]  # a first one, so that a missing library or a wrong file shows now
    return Faces(name, images, who, _ranks(who), tuple(names), "")


def _ranks(identity: np.ndarray) -> np.ndarray:
    """Number of earlier samples of the same identity."""
    order = np.argsort(identity, kind="stable")
    starts = np.cumsum(np.bincount(identity)) - np.bincount(identity)
    ranks = np.empty(len(identity), dtype=np.int64)
    ranks[order] = np.arange(len(identity)) - starts[identity[order]]
    return ranks


@dataclass(frozen=True, eq=False)
class FaceSplit:
    """Which images train, which are held out, and which show identities that training never sees.

    Attributes
    ----------
    train, held_out : ndarray of int
        Images of known identities, by index.
    train_class, held_out_class : ndarray of int
        Their class, from 0.
    unseen : ndarray of int
        Images of the other identities, for verification.
    counts : ndarray (n_classes,), int
        Training images of each class, from many to few.
    in_tail : ndarray (n_classes,), bool
        The third of the classes with the fewest.
    """

    train: np.ndarray
    train_class: np.ndarray
    held_out: np.ndarray
    held_out_class: np.ndarray
    unseen: np.ndarray
    counts: np.ndarray
    in_tail: np.ndarray

    @property
    def n_classes(self) -> int:
        """Known identities."""
        return self.counts.size


def split_faces(
    faces: Faces, *, n_unseen: int, imbalance: float = 1.0, validation: bool = False, seed: int = 0
) -> FaceSplit:
    """Split identities into known and unseen, the samples of known ones into training and held-out.

    The r-th of K known identities (r = 0, ..., K-1, in an order drawn once) keeps the fraction
    imbalance^(-r/(K-1)) of its training samples, one at least: a long tail.

    Parameters
    ----------
    faces : Faces
    n_unseen : int
        Identities kept out for verification, >= 2; as many again are kept out for validation.
    imbalance : float
        Training samples of the most frequent / of the rarest identity, >= 1.
    validation : bool
        Hold out a quarter of the training samples, and the identities kept out for validation, in place of
        the test samples and identities, which are not touched.
    seed : int
        Of the order of identities and of which samples a rare one keeps, >= 0.

    Raises
    ------
    ValueError
        If fewer than 3 identities are left to train on, those of the tail have no held-out sample or the
        unseen ones no two samples of one, or an argument is outside its domain.
    """
    n_unseen = validate.integer("n_unseen", n_unseen, "[2, inf)")
    imbalance = validate.real("imbalance", imbalance, "[1, inf)")
    rng = np.random.default_rng(validate.integer("seed", seed, "[0, inf)"))
    order = rng.permutation(faces.n_identities)
    known = order[2 * n_unseen :]
    if known.size < 3:
        raise ValueError(
            f"n_unseen must leave 3 identities of {faces.n_identities} to train on, got {n_unseen} twice"
        )
    unseen = order[n_unseen : 2 * n_unseen] if validation else order[:n_unseen]
    train, held_out = [], []
    for rank, who in enumerate(known):
        own = np.flatnonzero(faces.identity == who)
        own = own[np.argsort(faces.sample[own])]
        tested = faces.is_test[own]
        pool, test = own[~tested], own[tested]
        if validation:
            cut = max(1, pool.size - max(1, round(TEST_SHARE * pool.size)))
            pool, test = pool[:cut], pool[cut:]
        n_kept = max(1, round(pool.size * imbalance ** (-rank / (known.size - 1))))
        train.append(np.sort(rng.permutation(pool)[:n_kept]))
        held_out.append(test)
    counts = np.array([len(part) for part in train])
    classes = np.arange(known.size)
    in_tail = classes >= known.size - known.size // 3
    if not any(len(held_out[c]) for c in classes[in_tail]):
        raise ValueError(
            "faces must have so many samples of the rare identities that some are held out, got "
            f"{np.bincount(faces.identity)[known].max()} of one at the most"
        )
    if np.bincount(faces.identity)[unseen].max() < 2:
        raise ValueError("faces must have two samples of an unseen identity, got one of each")
    return FaceSplit(
        train=np.concatenate(train),
        train_class=np.repeat(classes, counts),
        held_out=np.concatenate(held_out),
        held_out_class=np.repeat(classes, [len(part) for part in held_out]),
        unseen=np.flatnonzero(np.isin(faces.identity, unseen)),
        counts=counts,
        in_tail=in_tail,
    )

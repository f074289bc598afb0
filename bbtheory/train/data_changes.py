"""Pairs of images of one place at two dates, and where it changed; cut into tiles, never resized.

A folder of data holds ``change_landsat_taizhou.npz``, a pair of one scene that is split by blocks; or a
folder in LEVIR-CD's form: ``train``, ``val`` and ``test`` with ``A`` (before), ``B`` (after) and ``label``
each, PNG files of the same name. Files are untrusted: nothing in them is executed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from bbtheory import validate
from bbtheory.train.image_files import image_paths, open_image
from bbtheory.train.packs import MissingDataError, data_folder, read_pack, verify

NAMES = ("generated", "change_landsat_taizhou", "levir_cd")
CHANGE, SAME, UNLABELLED = 1, 0, 255
ROLES = {"train": "t", "validation": "v", "test": "e"}
LAYOUT = ("et", "vt")

# sha256 over the bytes of t1_2000, t2_2003, label
CHECKSUM = "febb1b9798f599fe3d279e9c31ab6bcf92d6e3e1822a04f1252e85eb4b1ebc0a"
_PACK = {"t1_2000": ("uint8", 3), "t2_2003": ("uint8", 3), "label": ("uint8", 2)}
_FOLDERS = {"train": "train", "validation": "val", "test": "test"}

Scene = tuple[np.ndarray, np.ndarray, np.ndarray]  # before, after (bands, h, w), label (h, w), uint8


@dataclass(frozen=True, eq=False)
class Tiles:
    """Windows of scenes.

    Attributes
    ----------
    scenes : tuple of callable () -> (before, after, label)
        Images (bands, height, width) and label (height, width), uint8; 1 change, 0 none, 255 unlabelled.
    windows : ndarray (n, 5), int
        Scene, first row, first column, height, width.
    """

    scenes: tuple[Callable[[], Scene], ...]
    windows: np.ndarray

    def __len__(self) -> int:
        return len(self.windows)

    def tile(self, i: int) -> Scene:
        """Return one tile: before, after, label."""
        scene, row, column, height, width = self.windows[i]
        before, after, label = self.scenes[scene]()
        part = slice(row, row + height), slice(column, column + width)
        return before[:, *part], after[:, *part], label[part]

    def stack(self, places: Sequence[int] | np.ndarray) -> Scene:
        """Return tiles of equal size as arrays (n, ...)."""
        before, after, label = zip(*(self.tile(int(i)) for i in places), strict=True)
        return np.stack(before), np.stack(after), np.stack(label)


@dataclass(frozen=True, eq=False)
class Changes:
    """A data set of pairs in three parts.

    Attributes
    ----------
    name : str
    train, validation, test : Tiles
    n_bands : int
    mean, scale : ndarray (n_bands,)
        Of the bands in the training part, both dates: networks are given (x - mean)/scale.
    checksum : str
        Of a pack, as verified; empty else.
    """

    name: str
    train: Tiles
    validation: Tiles
    test: Tiles
    n_bands: int
    mean: np.ndarray
    scale: np.ndarray
    checksum: str


def load_changes(
    name: str | os.PathLike[str] = "generated",
    data_root: str | os.PathLike[str] | None = None,
    *,
    tile: int = 64,
    stride: int | None = None,
    margin: int = 0,
    layout: Sequence[str] = LAYOUT,
) -> Changes:
    """Load pairs by name, or from a folder in LEVIR-CD's form.

    Parameters
    ----------
    name : {"generated", "change_landsat_taizhou", "levir_cd"} or path
        generated stands in where there are no files: a pair of 96 x 96 pixels, made up. A path, absolute or
        below the folder of data, names a folder in LEVIR-CD's form; levir_cd is one of two usual names. Its
        images are kept once read: 7 bytes per pixel pair, 4.7 GB for all of LEVIR-CD.
    data_root : path, optional
        Folder of the data sets (see the module's docstring); None: the one BBTHEORY_DATA names.
    tile : int
        Pixels a side of training tiles, >= 1, and of all tiles of a folder.
    stride : int, optional
        From one training tile to the next, >= 1; ``tile`` if not given.
    margin : int
        How far the network sees, >= 0 (`split_blocks`); a folder has its own split.
    layout : sequence of str
        Which block of the scene is which part (`split_blocks`).

    Returns
    -------
    Changes

    Raises
    ------
    MissingDataError
        If no folder is given or the data set is not in it.
    ValueError
        If a file is damaged or holds other data than its name says, images of a pair differ in size, a part
        of a scene that is split shows no change or nothing else, or an argument is outside its domain.
    ImportError
        If image files are to be read and Pillow is missing.
    """
    tile = validate.integer("tile", tile, "[1, inf)")
    stride = tile if stride is None else validate.integer("stride", stride, "[1, inf)")
    margin = validate.integer("margin", margin, "[0, inf)")
    if name == "generated":
        return _blocks("generated", _generate(96, 6), "", tile, stride, margin, layout)
    if name == "change_landsat_taizhou":
        scene, checksum = _read_pair(data_root)
        return _blocks(str(name), scene, checksum, tile, stride, margin, layout)
    path = Path(name)
    if not path.is_absolute():
        wanted = (
            f"put LEVIR-CD's folders {', '.join(_FOLDERS.values())} (justchenhao.github.io/LEVIR) in {path}/"
        )
        root = data_folder(str(name), data_root, wanted)
        usual = root / "LEVIR-CD"
        path = usual if name == "levir_cd" and usual.is_dir() else root / path
    if not path.is_dir():
        raise MissingDataError(
            f"{path} is not there: name one of {', '.join(NAMES)}, or a folder with train, val and test, "
            "each with the folders A, B and label"
        )
    parts = {part: _folder_tiles(path / folder, tile, stride if part == "train" else tile)
             for part, folder in _FOLDERS.items()}  # fmt: skip
    return Changes(path.name, **parts, n_bands=3, mean=np.zeros(3), scale=np.full(3, 255.0), checksum="")


def split_blocks(
    label: np.ndarray, layout: Sequence[str] = LAYOUT, margin: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, list[tuple[int, int, int, int]]]]:
    """Split one scene by blocks, so that no test pixel's receptive field holds a training label.

    The scene is divided evenly into the letters of ``layout``: t training, v validation, e test, any other
    left out. A training label within ``margin`` pixels (along both axes) of a validation or test block is
    dropped, and a validation label within it of a test block.

    Parameters
    ----------
    label : ndarray (height, width), uint8
    layout : sequence of str of equal length
        Rows of blocks.
    margin : int
        >= 0, pixels.

    Returns
    -------
    labels : dict of part to ndarray (height, width), uint8
        255 wherever a pixel is not of this part.
    blocks : dict of part to list of (row, column, height, width)

    Raises
    ------
    ValueError
        If the layout is no rectangle or finer than the scene, or a part lacks labels of either kind.
    """
    margin = validate.integer("margin", margin, "[0, inf)")
    n_rows, n_columns = len(layout), len(layout[0]) if layout else 0
    height, width = label.shape
    if not n_columns or any(len(row) != n_columns for row in layout) or n_rows > height or n_columns > width:
        raise ValueError(
            f"layout must be rows of equal length, no more than {height} x {width}, got {layout}"
        )
    rows = np.linspace(0, height, n_rows + 1).astype(int)
    columns = np.linspace(0, width, n_columns + 1).astype(int)
    blocks: dict[str, list[tuple[int, int, int, int]]] = {part: [] for part in ROLES}
    own = {part: np.zeros(label.shape, bool) for part in ROLES}
    near = {part: np.zeros(label.shape, bool) for part in ROLES}
    for part, letter in ROLES.items():
        for i, j in zip(*np.nonzero(np.array([list(row) for row in layout]) == letter), strict=True):
            top, bottom, left, right = rows[i], rows[i + 1], columns[j], columns[j + 1]
            blocks[part].append((int(top), int(left), int(bottom - top), int(right - left)))
            own[part][top:bottom, left:right] = True
            around = (
                slice(max(top - margin, 0), bottom + margin),
                slice(max(left - margin, 0), right + margin),
            )
            near[part][around] = True
    barred = {
        "train": near["validation"] | near["test"],
        "validation": near["test"],
        "test": np.zeros(label.shape, bool),
    }
    labels = {part: np.where(own[part] & ~barred[part], label, UNLABELLED).astype(np.uint8) for part in ROLES}
    for part, values in labels.items():
        if not (np.any(values == CHANGE) and np.any(values == SAME)):
            raise ValueError(
                f"layout must give the {part} part labels of change and of none at margin {margin}, got "
                f"{np.count_nonzero(values == CHANGE)} and {np.count_nonzero(values == SAME)}"
            )
    return labels, blocks


def _blocks(
    name: str, scene: Scene, checksum: str, tile: int, stride: int, margin: int, layout: Sequence[str]
) -> Changes:
    before, after, label = scene
    labels, blocks = split_blocks(label, layout, margin)
    parts: dict[str, Tiles] = {}
    for part in ROLES:
        windows: list[tuple[int, int, int, int, int]] = []
        for top, left, height, width in blocks[part]:
            if part == "train":  # nothing beyond its own blocks, not even for BatchNorm
                windows += [(0, top + i, left + j, h, w) for i, j, h, w in _cut(height, width, tile, stride)]
            else:  # with what lies around as far as the network sees; its labels are of no part
                first, start = max(top - margin, 0), max(left - margin, 0)
                bottom = min(top + height + margin, label.shape[0])
                right = min(left + width + margin, label.shape[1])
                windows.append((0, first, start, bottom - first, right - start))
        parts[part] = Tiles((partial(_same, (before, after, labels[part])),), np.array(windows))
    inside = np.concatenate(
        [date[:, t : t + h, e : e + w].reshape(len(date), -1) for date in (before, after)
         for t, e, h, w in blocks["train"]], axis=1
    )  # fmt: skip
    scale = np.maximum(inside.std(axis=1), 1.0)  # a band that never changes
    return Changes(
        name, **parts, n_bands=len(before), mean=inside.mean(axis=1), scale=scale, checksum=checksum
    )


def _same(scene: Scene) -> Scene:
    return scene


def _cut(height: int, width: int, tile: int, stride: int) -> list[tuple[int, int, int, int]]:
    """Windows of at most tile x tile pixels that cover height x width, the last ones flush with the end."""
    if tile > min(height, width):
        raise ValueError(f"tile must be at most the block's {height} x {width} pixels, got {tile}")
    starts = [sorted({*range(0, length - tile + 1, stride), length - tile}) for length in (height, width)]
    return [(i, j, tile, tile) for i in starts[0] for j in starts[1]]


def _read_pair(data_root: str | os.PathLike[str] | None) -> tuple[Scene, str]:
    wanted = f"put change_landsat_taizhou.npz (arrays {', '.join(_PACK)})"
    path = data_folder("change_landsat_taizhou", data_root, wanted) / "change_landsat_taizhou.npz"
    if not path.is_file():
        raise MissingDataError(f"{path} is not there: {wanted} there")
    arrays = read_pack(path, _PACK)
    before, after, label = (arrays[part] for part in _PACK)
    if before.shape != after.shape or before.shape[1:] != label.shape:
        raise ValueError(
            f"{path}: both dates and the label must show the same pixels, got {before.shape}, {after.shape} "
            f"and {label.shape}"
        )
    _check_label(path, label, (SAME, CHANGE, UNLABELLED))
    checksum = verify(path, "change_landsat_taizhou", (before, after, label), CHECKSUM)
    return (before, after, label), checksum


def _check_label(path: Path, label: np.ndarray, allowed: Sequence[int]) -> None:
    wrong = label[~np.isin(label, allowed)]
    if wrong.size:
        raise ValueError(f"{path}: labels must be one of {', '.join(map(str, allowed))}, got {wrong[0]}")


def _folder_tiles(folder: Path, tile: int, stride: int) -> Tiles:
    paths = {}
    for kind in ("A", "B", "label"):
        if not (folder / kind).is_dir():
            raise MissingDataError(f"{folder / kind} is not there: LEVIR-CD has A, B and label in each part")
        paths[kind] = image_paths(folder / kind)
    names = [path.name for path in paths["A"]]
    if not names:
        raise MissingDataError(f"{folder / 'A'} must hold images, got none")
    for kind in ("B", "label"):
        other = [path.name for path in paths[kind]]
        if other != names:
            odd = sorted(set(names) ^ set(other))[0]
            raise MissingDataError(
                f"{folder} must have each image in A, B and label, got {odd} in one of them"
            )
    scenes, windows = [], []
    for i, triple in enumerate(zip(paths["A"], paths["B"], paths["label"], strict=True)):
        # one cache for each scene: what is read once is kept
        scenes.append(lru_cache(maxsize=1)(partial(_read_triple, *triple)))
        width, height = open_image(triple[2], 1).size
        windows += [(i, *window) for window in _cut(height, width, tile, stride)]
    return Tiles(tuple(scenes), np.array(windows))


def _read_triple(a: Path, b: Path, c: Path) -> Scene:
    before, after = (np.asarray(open_image(path, 3)).transpose(2, 0, 1) for path in (a, b))
    label = np.asarray(open_image(c, 1))
    if before.shape != after.shape or before.shape[1:] != label.shape:
        raise ValueError(
            f"{a}, {b.parent.name}/ and {c.parent.name}/ must show the same pixels, got {before.shape}, "
            f"{after.shape} and {label.shape}"
        )
    _check_label(c, label, (0, 1, 255))
    return before, after, (label > 0).astype(np.uint8)


def _generate(size: int, n_bands: int) -> Scene:
    """Make up a pair: a smooth scene, noise, another light at the second date, rectangles that changed."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(40.0, 160.0, (n_bands, size // 8, size // 8))
    ground = coarse.repeat(8, axis=1).repeat(8, axis=2)
    dates = [ground + rng.normal(0.0, 14.0, ground.shape), 0.9 * ground + 15.0]
    dates[1] += rng.normal(0.0, 14.0, ground.shape)
    towards = np.where(np.arange(n_bands) % 2 == 0, 1.0, -1.0)[:, None, None]  # one kind of change
    label = np.where(rng.random((size, size)) < 0.3, SAME, UNLABELLED).astype(np.uint8)
    for row in range(4, size - 8, 12):
        for column in range(4, size - 8, 12):
            height, width = rng.integers(1, 9, 2)
            if rng.random() < 0.8:
                part = slice(row, row + height), slice(column, column + width)
                dates[1][:, *part] += towards * 35.0
                label[part] = CHANGE
    before, after = (np.clip(np.rint(date), 0, 255).astype(np.uint8) for date in dates)
    return before, after, label

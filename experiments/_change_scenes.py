"""What a network sees and finds in a few squares of the test images: kept for pictures, never measured on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory.records import Record

_N_SQUARES = 3
_CHANGE = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Squares(Record):
    """Squares of the test images and what networks found there.

    Parameters
    ----------
    before, after : ndarray (n, side, side, 3), uint8
        Red, green and blue.
    truth : ndarray (n, side, side), uint8
        1 change, 0 none, 255 unlabelled.
    found : ndarray (n_networks, n, side, side), uint8
        1 where a network says change.
    methods : tuple of str
    densities : ndarray (n_networks,)
        Those wanted.
    """

    KIND: ClassVar[str] = "change_squares"
    HIDDEN: ClassVar[tuple[str, ...]] = ("before", "after", "truth", "found")

    before: np.ndarray
    after: np.ndarray
    truth: np.ndarray
    found: np.ndarray
    methods: tuple[str, ...]
    densities: np.ndarray


def look(
    tiles: Any,
    side: int,
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray],
    method: str,
    density: float,
) -> Squares:
    """Return the squares with most labelled change, whatever a network finds there.

    Parameters
    ----------
    tiles : Tiles
    side : int
        Pixels of a square, no more than a tile has.
    predict : callable (before, after) -> ndarray of bool (height, width)
        Given whole tiles.
    method, density
        Of the network.
    """
    places = []
    for i in range(len(tiles)):
        change = tiles.tile(i)[2] == _CHANGE
        for row in range(0, change.shape[0] - side + 1, side):
            for column in range(0, change.shape[1] - side + 1, side):
                n = int(change[row : row + side, column : column + side].sum())
                places.append((-n, i, row, column))
    before, after, truth, found = [], [], [], []
    for _, i, row, column in sorted(places)[:_N_SQUARES]:
        part = slice(row, row + side), slice(column, column + side)
        first, second, label = tiles.tile(i)
        before.append(_colours(first)[part])
        after.append(_colours(second)[part])
        truth.append(label[part])
        found.append(predict(first, second)[part].astype(np.uint8))
    return Squares(
        before=np.array(before),
        after=np.array(after),
        truth=np.array(truth),
        found=np.array([found]),
        methods=(method,),
        densities=np.array([density]),
    )


def side_by_side(seen: Sequence[Squares | None]) -> Squares | None:
    """Return what several networks found in the same squares; None if one was not asked."""
    known = [squares for squares in seen if squares is not None]
    if len(known) < len(seen) or not known:
        return None
    return dataclasses.replace(
        known[0],
        found=np.concatenate([squares.found for squares in known]),
        methods=tuple(method for squares in known for method in squares.methods),
        densities=np.concatenate([squares.densities for squares in known]),
    )


def _colours(image: np.ndarray) -> np.ndarray:
    """Return red, green, blue last; Landsat's bands begin with blue, green, red."""
    bands = (0, 1, 2) if len(image) == 3 else (2, 1, 0)
    return np.moveaxis(image[list(bands)], 0, -1)

"""A small network in training: one flat aligned array of parameters and all that belongs to each of them."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

_LINE = 64  # bytes: a cache line, and the widest vector register


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return zeros that begin on a cache line."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.zeros(size + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size].view(dtype).reshape(shape)


class Network:
    """Parameters, gradients, moments, masks and dormant values of a network, changed in place.

    Weight matrices are (n_out, n_in) and begin on cache lines; ``mask`` is 1 where a link is kept (and for
    biases), ``dormant`` holds the values of cut links; a weight is 0 where its mask is, a dormant value where
    the mask is 1.
    """

    def __init__(self, sizes: tuple[int, ...], dtype: str, rng: np.random.Generator):
        self.sizes = sizes
        self.dtype = np.dtype(dtype)
        self._shapes: list[tuple[int, ...]] = []
        for below, above in pairwise(sizes):
            self._shapes += [(above, below), (above,)]
        step = _LINE // self.dtype.itemsize
        lengths = [-(-math.prod(shape) // step) * step for shape in self._shapes]
        self._starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
        flat = (self._starts[-1],)
        self.parameters, self.slopes, self.mask, self.first, self.second, self.dormant = (
            aligned(flat, self.dtype) for _ in range(6)
        )
        self.mask[:] = 1
        self.weights, self.biases = self.matrices(self.parameters), self.vectors(self.parameters)
        self.scales = tuple(np.ones(width, self.dtype) for width in sizes[1:-1])
        for weight in self.weights:
            # He's variance for the rectified layers, half of it for the output
            gain = 1.0 if weight is self.weights[-1] else 2.0
            weight[:] = math.sqrt(gain / weight.shape[1]) * rng.standard_normal(weight.shape)

    def _views(self, flat: np.ndarray, first: int) -> tuple[np.ndarray, ...]:
        return tuple(
            flat[self._starts[i] : self._starts[i] + math.prod(self._shapes[i])].reshape(self._shapes[i])
            for i in range(first, len(self._shapes), 2)
        )

    def matrices(self, flat: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return views of the weight matrices' part of a flat array."""
        return self._views(flat, 0)

    def vectors(self, flat: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return views of the biases' part of a flat array."""
        return self._views(flat, 1)

    @property
    def kept(self) -> tuple[np.ndarray, ...]:
        """Masks of the weight matrices, bool copies."""
        return tuple(mask > 0 for mask in self.matrices(self.mask))

    def full(self, layer: int) -> np.ndarray:
        """Return the weights of a matrix, dormant values where links are cut; float64."""
        return (self.weights[layer] + self.matrices(self.dormant)[layer]).astype(np.float64)

    def set_kept(self, layer: int, kept: np.ndarray) -> None:
        """Cut and bring back links of a matrix; those that change start with moments of zero."""
        weight, mask, dormant, first, second = (
            self.matrices(flat)[layer]
            for flat in (self.parameters, self.mask, self.dormant, self.first, self.second)
        )
        cut, back = (mask > 0) & ~kept, (mask == 0) & kept
        dormant[cut], weight[cut] = weight[cut], 0
        weight[back], dormant[back] = dormant[back], 0
        first[cut | back] = second[cut | back] = 0
        mask[:] = kept

    def multiply_rows(self, layer: int, factor: np.ndarray) -> None:
        """Multiply rows of a weight matrix, dormant values included."""
        for flat in (self.parameters, self.dormant):
            self.matrices(flat)[layer][:] *= factor[:, None].astype(self.dtype)

    def fan_in(self) -> np.ndarray:
        """Links into each hidden unit, layer after layer."""
        return np.concatenate([kept.sum(axis=1) for kept in self.kept[:-1]])

    def fan_out(self) -> np.ndarray:
        """Links out of each hidden unit, layer after layer."""
        return np.concatenate([kept.sum(axis=0) for kept in self.kept[1:]])

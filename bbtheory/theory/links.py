"""The links into one layer: a dense matrix with a mask, or a sparse one that is its own mask.

``weight`` (n_out, n_in) is 0 where a link is cut; a kept link may have weight 0 and still counts.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csc_array, csr_array, issparse

from bbtheory import validate

Matrix = Any  # numpy.ndarray or scipy.sparse array: both carry @, .T, abs and .shape
Triple = tuple[np.ndarray, np.ndarray, np.ndarray | None]


class DenseLinks:
    """Links stored as a full matrix and a boolean mask."""

    def __init__(self, weight: np.ndarray, mask: np.ndarray):
        self.weight, self.mask = weight, mask
        weight.flags.writeable = mask.flags.writeable = False

    @cached_property
    def squared(self) -> Matrix:
        """Squared weights: they carry variances as the weights carry means."""
        return self.weight * self.weight

    @cached_property
    def fan_in(self) -> np.ndarray:
        """Kept links into each unit of this layer."""
        return self.mask.sum(axis=1, dtype=np.int64)

    @cached_property
    def fan_out(self) -> np.ndarray:
        """Kept links out of each unit (or input feature) of the layer below."""
        return self.mask.sum(axis=0, dtype=np.int64)

    @cached_property
    def indicator(self) -> Matrix | None:
        """The links as a matrix of 1 and 0, None where all are there."""
        return None if self.mask.all() else self.mask.astype(np.float64)

    def push(self, mean: np.ndarray, spread: np.ndarray, cut: np.ndarray | None, compiled: bool) -> Triple:
        """Return W m, (W o W) v and, for each source, the sum of ``cut`` over its targets (if asked)."""
        if compiled:
            from bbtheory.theory.response_kernel import push_dense

            mu, variance = push_dense(self.weight, mean, spread)
        else:
            mu, variance = self.weight @ mean, self.squared @ spread
        if cut is None:
            return mu, variance, None
        counted = self.indicator
        return mu, variance, np.full(len(mean), cut.sum()) if counted is None else counted.T @ cut

    def pull(self, mu: np.ndarray, variance: np.ndarray, lost: np.ndarray | None, compiled: bool) -> Triple:
        """Return the transpose of `push`: W^T p, (W o W)^T q and the sum of ``lost`` over sources."""
        if compiled:
            from bbtheory.theory.response_kernel import pull_dense

            mean, spread = pull_dense(self.weight, mu, variance)
        else:
            mean, spread = self.weight.T @ mu, self.squared.T @ variance
        if lost is None:
            return mean, spread, None
        counted = self.indicator
        return mean, spread, np.full(len(mu), lost.sum()) if counted is None else counted @ lost

    def into(self, target: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (sources, weights) of a unit's incoming links, sources ascending."""
        sources = np.flatnonzero(self.mask[target])
        return sources, self.weight[target, sources]

    def out_of(self, source: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (targets, weights) of the links out of a unit below, targets ascending."""
        targets = np.flatnonzero(self.mask[:, source])
        return targets, self.weight[targets, source]

    def at(self, targets: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (which of these links are kept, their weights)."""
        return self.mask[targets, sources], self.weight[targets, sources]

    def weakened(self, targets: np.ndarray, sources: np.ndarray, cuts: np.ndarray) -> DenseLinks:
        """Return the links with some scaled by 1 - cut, and cut where that is 0."""
        weight, mask = self.weight.copy(), self.mask.copy()
        weight[targets, sources] *= 1.0 - cuts
        mask[targets, sources] = cuts < 1.0
        return DenseLinks(weight, mask)


class SparseLinks:
    """Links stored as a CSR matrix whose stored entries are the kept ones, zeros included."""

    def __init__(self, weight: Any):
        self.weight = weight

    @cached_property
    def squared(self) -> Matrix:
        """Squared weights: they carry variances as the weights carry means."""
        return self._with_data(self.weight.data**2)

    @cached_property
    def fan_in(self) -> np.ndarray:
        """Kept links into each unit of this layer."""
        return np.diff(self.weight.indptr).astype(np.int64)

    @cached_property
    def fan_out(self) -> np.ndarray:
        """Kept links out of each unit (or input feature) of the layer below."""
        return np.bincount(self.weight.indices, minlength=self.weight.shape[1]).astype(np.int64)

    @cached_property
    def _columns(self) -> Any:
        return csc_array(self.weight)

    def _with_data(self, data: np.ndarray) -> Any:
        return csr_array((data, self.weight.indices, self.weight.indptr), shape=self.weight.shape)

    @cached_property
    def indicator(self) -> Matrix:
        """The links as a matrix of 1 and 0."""
        return self._with_data(np.ones(self.weight.nnz))

    def push(self, mean: np.ndarray, spread: np.ndarray, cut: np.ndarray | None, compiled: bool) -> Triple:
        """Return W m, (W o W) v and, for each source, the sum of ``cut`` over its targets (if asked)."""
        if not compiled:
            count = None if cut is None else self.indicator.T @ cut
            return self.weight @ mean, self.squared @ spread, count
        from bbtheory.theory.response_kernel import push_sparse

        w, table = self.weight, np.zeros((len(mean), 4))
        table[:, 0], table[:, 1] = mean, spread
        asked = np.zeros(w.shape[0]) if cut is None else cut
        mu, variance = push_sparse(w.indptr, w.indices, w.data, table, asked)
        return mu, variance, None if cut is None else table[:, 2]

    def pull(self, mu: np.ndarray, variance: np.ndarray, lost: np.ndarray | None, compiled: bool) -> Triple:
        """Return the transpose of `push`: W^T p, (W o W)^T q and the sum of ``lost`` over sources."""
        if not compiled:
            count = None if lost is None else self.indicator @ lost
            return self.weight.T @ mu, self.squared.T @ variance, count
        from bbtheory.theory.response_kernel import pull_sparse

        w, table = self.weight, np.zeros((self.weight.shape[1], 4))
        if lost is not None:
            table[:, 2] = lost
        count = pull_sparse(w.indptr, w.indices, w.data, table, mu, variance)
        return table[:, 0], table[:, 1], None if lost is None else count

    def into(self, target: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (sources, weights) of a unit's incoming links, sources ascending."""
        row = slice(self.weight.indptr[target], self.weight.indptr[target + 1])
        return self.weight.indices[row].astype(np.int64), self.weight.data[row]

    def out_of(self, source: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (targets, weights) of the links out of a unit below, targets ascending."""
        column = slice(self._columns.indptr[source], self._columns.indptr[source + 1])
        return self._columns.indices[column].astype(np.int64), self._columns.data[column]

    def _places(self, targets: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (which of these links are stored, their places in the data)."""
        n_in = self.weight.shape[1]
        rows = np.repeat(np.arange(self.weight.shape[0], dtype=np.int64), self.fan_in)
        keys = rows * n_in + self.weight.indices
        wanted = targets * n_in + sources
        places = np.searchsorted(keys, wanted)
        found = places < len(keys)
        found[found] = keys[places[found]] == wanted[found]
        return found, places

    def at(self, targets: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (which of these links are kept, their weights)."""
        found, places = self._places(targets, sources)
        weights = np.zeros(len(places))
        weights[found] = self.weight.data[places[found]]
        return found, weights

    def weakened(self, targets: np.ndarray, sources: np.ndarray, cuts: np.ndarray) -> SparseLinks:
        """Return the links with some scaled by 1 - cut, and cut where that is 0."""
        _, places = self._places(targets, sources)
        data, kept = self.weight.data.copy(), np.ones(self.weight.nnz, dtype=bool)
        data[places] *= 1.0 - cuts
        kept[places] = cuts < 1.0
        left = np.concatenate([[0], np.cumsum(kept)])[self.weight.indptr]
        return SparseLinks(csr_array((data[kept], self.weight.indices[kept], left), shape=self.weight.shape))


Links = DenseLinks | SparseLinks


def make_links(layer: int, weight: Any, mask: Any) -> Links:
    """Check one layer's weight and mask; errors name the layer."""
    name = f"weights[{layer}]"
    if issparse(weight):
        if mask is not None:
            raise ValueError(
                f"masks[{layer}] must be None: the stored entries of a sparse {name} are its links"
            )
        sparse = csr_array(weight, dtype=np.float64, copy=True)
        sparse.sum_duplicates()
        if sparse.nnz:
            validate.array(name, sparse.data)
        return SparseLinks(sparse)
    dense = validate.array(name, weight, ndim=2)
    if mask is None:
        return DenseLinks(dense.copy(), np.ones(dense.shape, dtype=bool))
    kept = np.array(mask)
    if kept.dtype != bool:
        raise ValueError(f"masks[{layer}] must be boolean (True = kept), got dtype {kept.dtype}")
    if kept.shape != dense.shape:
        raise ValueError(f"masks[{layer}] must have the shape of {name}, {dense.shape}, got {kept.shape}")
    return DenseLinks(np.where(kept, dense, 0.0), kept)

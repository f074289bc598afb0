"""Which links are kept: density, fan-in, fan-out, and what two masks have in common beyond chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record


@dataclass(frozen=True, eq=False)
class Sparsity(Record):
    """Kept links of one or several masked layers.

    Attributes
    ----------
    layers : tuple of str
        Names, in the order given.
    n_links, n_kept : ndarray (n_layers,)
        Links that there are and that are kept.
    fan_in : ndarray (sum of n_out,), links
        Kept links into each unit, layer after layer.
    fan_in_layer : ndarray (sum of n_out,)
        Index of the layer that each value of ``fan_in`` belongs to.
    fan_out : ndarray (sum of n_in,), links
        Kept links out of each source, layer after layer.
    fan_out_layer : ndarray (sum of n_in,)
    """

    KIND: ClassVar[str] = "sparsity"
    UNITS: ClassVar[dict[str, str]] = {
        "layer": "layers",
        "n_links": "n_links",
        "n_kept": "n_kept",
        "density": "layer_density",
        "n_without_input": "n_without_input",
        "n_without_audience": "n_without_audience",
    }
    DERIVED: ClassVar[tuple[str, ...]] = ("density",)
    HIDDEN: ClassVar[tuple[str, ...]] = ("fan_in_layer", "fan_out_layer")

    layers: tuple[str, ...]
    n_links: np.ndarray
    n_kept: np.ndarray
    fan_in: np.ndarray
    fan_in_layer: np.ndarray
    fan_out: np.ndarray
    fan_out_layer: np.ndarray

    @property
    def density(self) -> float:
        """Kept fraction of the links of all layers."""
        return float(self.n_kept.sum() / self.n_links.sum())

    @property
    def layer_density(self) -> np.ndarray:
        """Kept fraction of the links of each layer."""
        return self.n_kept / self.n_links

    @property
    def n_without_input(self) -> np.ndarray:
        """Units of each layer with fan-in 0."""
        return np.bincount(self.fan_in_layer[self.fan_in == 0], minlength=len(self.layers))

    @property
    def n_without_audience(self) -> np.ndarray:
        """Sources of each layer with fan-out 0."""
        return np.bincount(self.fan_out_layer[self.fan_out == 0], minlength=len(self.layers))


@dataclass(frozen=True, eq=False)
class Overlap(Record):
    """What two masks of the same layers have in common.

    Attributes
    ----------
    layers : tuple of str
    n_links : ndarray (n_layers,)
    n_first, n_second : ndarray (n_layers,)
        Links kept by each mask.
    n_common : ndarray (n_layers,)
        Links kept by both.
    """

    KIND: ClassVar[str] = "overlap"
    UNITS: ClassVar[dict[str, str]] = {
        "layer": "layers",
        "n_links": "n_links",
        "n_first": "n_first",
        "n_second": "n_second",
        "n_common": "n_common",
        "n_common_by_chance": "n_common_by_chance",
    }
    DERIVED: ClassVar[tuple[str, ...]] = (
        "jaccard",
        "above_chance",
        "z_score",
        "n_cut",
        "n_grown",
        "turnover",
    )

    layers: tuple[str, ...]
    n_links: np.ndarray
    n_first: np.ndarray
    n_second: np.ndarray
    n_common: np.ndarray

    @property
    def jaccard(self) -> float:
        """Common over kept by either, |A n B|/|A u B|; NaN if neither keeps a link."""
        common = self.n_common.sum()
        union = self.n_first.sum() + self.n_second.sum() - common
        return float(common / union) if union else np.nan

    @property
    def n_common_by_chance(self) -> np.ndarray:
        """Common links of random masks of the same density in each layer, n_first n_second/n_links."""
        return self.n_first * (self.n_second / self.n_links)

    @property
    def above_chance(self) -> float:
        """(common - chance)/(most possible - chance): 0 at chance, 1 if one mask holds the other.

        Negative below chance; NaN where the numbers of kept links leave no choice.
        """
        chance = float(self.n_common_by_chance.sum())
        room = float(np.minimum(self.n_first, self.n_second).sum()) - chance
        return (float(self.n_common.sum()) - chance) / room if room > 0 else np.nan

    @property
    def z_score(self) -> float:
        """(common - chance) in standard deviations of random masks (hypergeometric); NaN without choice."""
        n = self.n_links.astype(np.float64)
        p, q = self.n_first / n, self.n_second / n
        variance = float((n * p * q * (1 - p) * (1 - q) * n / np.maximum(n - 1, 1)).sum())
        excess = float(self.n_common.sum() - self.n_common_by_chance.sum())
        return excess / float(np.sqrt(variance)) if variance > 0 else np.nan

    @property
    def n_cut(self) -> int:
        """Links that only the first mask keeps."""
        return int((self.n_first - self.n_common).sum())

    @property
    def n_grown(self) -> int:
        """Links that only the second mask keeps."""
        return int((self.n_second - self.n_common).sum())

    @property
    def turnover(self) -> float:
        """(cut + grown)/(kept by the first + kept by the second): 0 if alike, 1 if nothing is common."""
        kept = int(self.n_first.sum() + self.n_second.sum())
        return (self.n_cut + self.n_grown) / kept if kept else np.nan


def measure_sparsity(mask: ArrayLike | Mapping[str, ArrayLike]) -> Sparsity:
    """Count the kept links: density, fan-in and fan-out.

    Parameters
    ----------
    mask : array_like (n_out, n_in, ...), or a mapping from layer names to such masks
        Bool or 0-1, True = kept. Further axes (those of a convolution's kernel) count as links of their own.

    Returns
    -------
    Sparsity
        One mask is the layer ``"mask"``.

    Raises
    ------
    ValueError
        If a mask is empty, has fewer than two axes, or holds anything but 0 and 1, there is none, or two
        layers have one name.

    Examples
    --------
    >>> from bbtheory.measure import measure_sparsity
    >>> found = measure_sparsity([[1, 0, 1], [1, 0, 0]])
    >>> found.density, found.fan_in.tolist(), found.fan_out.tolist()
    (0.5, [2, 1], [2, 0, 1])
    """
    masks = _masks("mask", mask)
    rest = [tuple(range(2, m.ndim)) for m in masks.values()]
    fan_in = [np.count_nonzero(m, axis=(1, *axes)) for m, axes in zip(masks.values(), rest, strict=True)]
    fan_out = [np.count_nonzero(m, axis=(0, *axes)) for m, axes in zip(masks.values(), rest, strict=True)]
    index = np.arange(len(masks))
    return Sparsity(
        layers=tuple(masks),
        n_links=np.array([m.size for m in masks.values()]),
        n_kept=np.array([f.sum() for f in fan_in]),
        fan_in=np.concatenate(fan_in),
        fan_in_layer=np.repeat(index, [f.size for f in fan_in]),
        fan_out=np.concatenate(fan_out),
        fan_out_layer=np.repeat(index, [f.size for f in fan_out]),
    )


def measure_overlap(
    first: ArrayLike | Mapping[str, ArrayLike], second: ArrayLike | Mapping[str, ArrayLike]
) -> Overlap:
    """Compare two masks of the same layers: overlap, overlap beyond chance, turnover.

    Parameters
    ----------
    first, second : array_like (n_out, n_in, ...), or mappings from layer names to such masks
        For turnover: the earlier and the later mask.

    Returns
    -------
    Overlap

    Raises
    ------
    ValueError
        As `measure_sparsity`, or if names or shapes differ.

    References
    ----------
    Jaccard (1912). Random masks of given numbers of links share a hypergeometric number.
    """
    a, b = _masks("first", first), _masks("second", second)
    if a.keys() != b.keys():
        raise ValueError(f"second must have the layers of first, {', '.join(a)}, got {', '.join(b)}")
    for name, m in a.items():
        if m.shape != b[name].shape:
            raise ValueError(f"second must have shape {m.shape} in layer {name}, got {b[name].shape}")
    return Overlap(
        layers=tuple(a),
        n_links=np.array([m.size for m in a.values()]),
        n_first=np.array([np.count_nonzero(m) for m in a.values()]),
        n_second=np.array([np.count_nonzero(b[name]) for name in a]),
        n_common=np.array([np.count_nonzero(m & b[name]) for name, m in a.items()]),
    )


def _masks(name: str, value: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    if isinstance(value, Mapping):
        if not value:
            raise ValueError(f"{name} must hold at least one mask, got none")
        if len({str(layer) for layer in value}) < len(value):
            raise ValueError(
                f"{name} must have names that differ as strings, got {', '.join(map(str, value))}"
            )
        return {str(layer): _mask(f"{name}[{layer!r}]", m) for layer, m in value.items()}
    return {"mask": _mask(name, value)}


def _mask(name: str, value: ArrayLike) -> np.ndarray:
    validate.unmasked(name, value)
    try:
        raw = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be a rectangular array, got ragged rows") from None
    if raw.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be an array of bool or 0 and 1, got dtype {raw.dtype}")
    if raw.ndim < 2 or raw.size == 0:
        raise ValueError(f"{name} must have at least 2 axes and a link, got shape {raw.shape}")
    if raw.dtype.kind == "b":
        return raw
    kept = raw == 1
    if not (kept | (raw == 0)).all():
        raise ValueError(f"{name} must hold 0 and 1 only, got {raw[~(kept | (raw == 0))].flat[0]:g}")
    return kept

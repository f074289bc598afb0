"""Shocks: sets of links cut, or weakened, at once. SP-in takes links into a unit, SP-out links out of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csr_array

from bbtheory import validate
from bbtheory.theory.network import Network


class LayerChange(NamedTuple):
    """What a shock does to one layer: additions to the weights and to the squared weights, both sparse."""

    weight: csr_array
    squared: csr_array


def _indices(name: str, value: ArrayLike) -> np.ndarray:
    indices = np.atleast_1d(np.asarray(value))
    if indices.ndim != 1 or indices.size == 0 or indices.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be a non-empty list of integers, got shape {indices.shape}, dtype {indices.dtype}"
        )
    return indices.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Shock:
    """Links to cut or weaken: each weight w becomes (1 - cut) w.

    The links are targets[i] <- sources[i] in layer layers[i] (the layer of the target). `Shock.sp_in` and
    `Shock.sp_out` build the shocks of one unit; ``a + b`` is both at once.

    Parameters
    ----------
    layers, targets, sources : array_like of int (n_links,)
        Layer of the link, unit it enters, unit (or input feature, in layer 0) it leaves.
    cuts : array_like (n_links,), optional
        Fraction of its strength that a link loses, in (0, 1]; 1 (default) cuts it, and only a cut link leaves
        the fan-out of its source.

    Raises
    ------
    ValueError
        If the arrays are empty, not integer or of different lengths, or a cut is outside (0, 1].
    """

    layers: np.ndarray
    targets: np.ndarray
    sources: np.ndarray
    cuts: np.ndarray | float = 1.0

    def __post_init__(self) -> None:
        for name in ("layers", "targets", "sources"):
            object.__setattr__(self, name, _indices(name, getattr(self, name)))
        if not len(self.layers) == len(self.targets) == len(self.sources):
            lengths = f"{len(self.layers)}, {len(self.targets)}, {len(self.sources)}"
            raise ValueError(f"layers, targets and sources must have one length, got {lengths}")
        cuts = (
            np.broadcast_to(np.asarray(self.cuts), self.layers.shape)
            if np.ndim(self.cuts) == 0
            else self.cuts
        )
        object.__setattr__(self, "cuts", validate.array("cuts", cuts, "(0, 1]", shape=self.layers.shape))

    @classmethod
    def sp_in(
        cls, network: Network, layer: int, unit: int, sources: ArrayLike | None = None, *, cut: float = 1.0
    ) -> Shock:
        """Shock the links into a unit: those from ``sources``, or all kept ones.

        Raises
        ------
        ValueError
            If there is no such unit, or it has no incoming link.
        """
        kept, _ = network.links_in(layer, unit)
        sources = kept if sources is None else _indices("sources", sources)
        if len(kept) == 0:
            raise ValueError(f"unit must have an incoming link, layer {layer} unit {unit} has none")
        return cls(np.full(len(sources), layer), np.full(len(sources), unit), sources, cut)

    @classmethod
    def sp_out(
        cls, network: Network, layer: int, unit: int, targets: ArrayLike | None = None, *, cut: float = 1.0
    ) -> Shock:
        """Shock the links out of a unit: those to ``targets`` in the next layer, or all kept ones.

        Raises
        ------
        ValueError
            If there is no such unit, or it has no outgoing link.
        """
        kept, _ = network.links_out(layer, unit)
        if len(kept) == 0:
            raise ValueError(f"unit must have an outgoing link, layer {layer} unit {unit} has none")
        targets = kept if targets is None else _indices("targets", targets)
        return cls(np.full(len(targets), layer + 1), targets, np.full(len(targets), unit), cut)

    def __add__(self, other: Shock) -> Shock:
        if not isinstance(other, Shock):
            return NotImplemented
        pairs = (np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self))
        return Shock(*pairs)

    def __len__(self) -> int:
        return len(self.layers)

    def _at(self, network: Network, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return (targets, sources, cuts, weights) of the links in one layer, checked to exist once."""
        here = self.layers == layer
        targets, sources, cuts = self.targets[here], self.sources[here], np.asarray(self.cuts)[here]
        n_out, n_in = network.links[layer].weight.shape
        for name, index, n in (("target", targets, n_out), ("source", sources, n_in)):
            bad = (index < 0) | (index >= n)
            if bad.any():
                raise ValueError(
                    f"shock: {name} of a link in layer {layer} must be in [0, {n - 1}], got {index[bad][0]}"
                )
        pairs, counts = np.unique(targets * n_in + sources, return_counts=True)
        if (counts > 1).any():
            t, s = divmod(int(pairs[counts > 1][0]), n_in)
            raise ValueError(f"shock must name each link once, got {t} <- {s} in layer {layer} twice")
        exists, weights = network.links[layer].at(targets, sources)
        if not exists.all():
            t, s = int(targets[~exists][0]), int(sources[~exists][0])
            raise ValueError(f"shock must name kept links, got {t} <- {s} in layer {layer}, which is cut")
        return targets, sources, cuts, weights

    def changes(self, network: Network) -> list[LayerChange | None]:
        """Return the additions to weights and squared weights, layer by layer; None where nothing changes.

        Raises
        ------
        ValueError
            If a layer, unit or link of the shock does not exist in the network, or a link is named twice.
        """
        n_layers = len(network.sizes)
        bad = (self.layers < 0) | (self.layers >= n_layers)
        if bad.any():
            raise ValueError(f"shock: layers must be in [0, {n_layers - 1}], got {self.layers[bad][0]}")
        out: list[LayerChange | None] = []
        for layer, links in enumerate(network.links):
            targets, sources, cuts, w = self._at(network, layer)
            if len(targets) == 0:
                out.append(None)
                continue
            first, second = -cuts * w, cuts * (cuts - 2.0) * w * w  # (1 - cut)^2 - 1 = cut (cut - 2)
            place = (targets, sources)
            out.append(
                LayerChange(
                    csr_array(coo_array((first, place), shape=links.weight.shape)),
                    csr_array(coo_array((second, place), shape=links.weight.shape)),
                )
            )
        return out

    def apply(self, network: Network) -> Network:
        """Return the network after the shock.

        Raises
        ------
        ValueError
            If a layer, unit or link of the shock does not exist in the network, or a link is named twice.
        """
        self.changes(network)
        links = list(network.links)
        for layer in np.unique(self.layers):
            targets, sources, cuts, _ = self._at(network, layer)
            links[layer] = links[layer].weakened(targets, sources, cuts)
        return network.with_links(links)

    def fan_out_change(self, network: Network) -> np.ndarray:
        """Return the change of every unit's fan-out: minus its links that are cut whole."""
        gone = (np.asarray(self.cuts) == 1.0) & (self.layers > 0)
        units = network.offsets[self.layers[gone] - 1] + self.sources[gone]
        return -np.bincount(units, minlength=network.n_units).astype(np.int64)

"""A layered network as the closure sees it: weights, masks, biases, activations and the moments of its input.

Units are addressed by (layer, unit), layers counted from 0 at the first hidden layer; arrays over all units
are in that order. The raw input has no units: its features have no on-rate. Weights are (n_out, n_in).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgError, cholesky, eigvalsh

from bbtheory import validate
from bbtheory.theory.gaussian import ACTIVATIONS
from bbtheory.theory.links import Links, make_links

# Rounding moves the eigenvalues and the symmetry of a float64 covariance estimate by 1e-15 of its trace;
# a defect beyond this share of the trace is no rounding.
_DEFECT = 1e-10


class Network:
    """A layered network and the first two moments of its input; immutable, checked at construction.

    u_l = W_l f(u_{l-1}) + b_l, W_l = weight where its mask is True, else 0.

    Parameters
    ----------
    weights : sequence of (n_out, n_in) arrays
        Signed link strengths; a scipy.sparse matrix is taken as it is, its stored entries are the links.
    input_mean : array_like (n_0,)
        Mean of the input features.
    input_variance : array_like (n_0,), optional
        Their variances, >= 0. Exactly one of the two must be given.
    input_covariance : array_like (n_0, n_0), optional
        Their covariance: symmetric, positive semidefinite, not all zero. Given, correlations are carried
        through all layers.
    biases : sequence of (n_out,) arrays, optional
        One per layer, None: 0.
    masks : sequence of (n_out, n_in) boolean arrays, optional
        True = kept; None: every link is there. A kept link of weight 0 counts as a link.
    activations : str or sequence of str, optional
        "relu", "gelu" (exact, u Phi(u)), "step" or "linear", one per layer. A single name serves the hidden
        layers, and the last layer is then linear.

    Attributes
    ----------
    links : tuple of links, one per layer: ``weight`` (0 where cut), ``squared``, ``fan_in``, ``fan_out``
    biases : tuple of ndarray
    activations : tuple of str
    input_mean, input_variance : ndarray (n_0,)
    input_covariance : ndarray (n_0, n_0) or None
    sizes : tuple of int, units of each layer
    offsets : ndarray, place of each layer's first unit in arrays over all units, their total at the end

    Raises
    ------
    ValueError
        If shapes do not chain (the message names the layer), a mask is not boolean, a number is not finite,
        an activation is unknown, both or none of variance and covariance are given, or the covariance is
        asymmetric, indefinite or zero.
    """

    def __init__(
        self,
        weights: Sequence[Any],
        input_mean: ArrayLike,
        input_variance: ArrayLike | None = None,
        *,
        input_covariance: ArrayLike | None = None,
        biases: Sequence[Any] | None = None,
        masks: Sequence[Any] | None = None,
        activations: str | Sequence[str] = "relu",
    ):
        n = len(weights)
        if n == 0:
            raise ValueError("weights must hold at least one layer, got none")
        mean = _frozen(validate.array("input_mean", input_mean))
        given = validate.exactly_one(input_variance=input_variance, input_covariance=input_covariance)
        if given == "input_covariance":
            covariance = _checked_covariance(input_covariance, len(mean))
            variance = _frozen(np.maximum(np.diagonal(covariance), 0.0))
        else:
            covariance = None
            variance = validate.array("input_variance", input_variance, "[0, inf)", shape=mean.shape)
            variance = _frozen(variance)
        if isinstance(activations, str):
            activations = [validate.choice("activations", activations, ACTIVATIONS)] * (n - 1) + ["linear"]
        names = _per_layer("activations", activations, n)
        links, shifts = [], []
        below, source = len(mean), "input_mean"
        for layer, (weight, mask, bias) in enumerate(
            zip(weights, _per_layer("masks", masks, n), _per_layer("biases", biases, n), strict=True)
        ):
            links.append(make_links(layer, weight, mask))
            n_out, n_in = links[-1].weight.shape
            if n_in != below or n_out == 0:
                raise ValueError(
                    f"weights[{layer}] must have shape (n_out, {below}), one column per entry of {source}, "
                    f"got {(n_out, n_in)}"
                )
            validate.choice(f"activations[{layer}]", names[layer], ACTIVATIONS)
            shift = np.zeros(n_out) if bias is None else bias
            shifts.append(_frozen(validate.array(f"biases[{layer}]", shift, shape=(n_out,))))
            below, source = n_out, f"layer {layer}"
        self.links: tuple[Links, ...] = tuple(links)
        self.biases: tuple[np.ndarray, ...] = tuple(shifts)
        self.activations: tuple[str, ...] = tuple(names)
        self.input_mean, self.input_variance, self.input_covariance = mean, variance, covariance
        self.sizes: tuple[int, ...] = tuple(len(b) for b in shifts)
        self.offsets = _frozen(np.concatenate([[0], np.cumsum(self.sizes)]))
        self._sealed = True

    def __setattr__(self, name: str, value: Any) -> None:
        if getattr(self, "_sealed", False):
            raise AttributeError(f"a Network cannot change: {name} is read-only")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        shape = "-".join(str(n) for n in (len(self.input_mean), *self.sizes))
        moments = "variance" if self.input_covariance is None else "covariance"
        return f"Network({shape}, {', '.join(self.activations)}, input {moments})"

    @property
    def n_units(self) -> int:
        """Number of units of all layers."""
        return int(self.offsets[-1])

    @cached_property
    def layer(self) -> np.ndarray:
        """Layer of each unit."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def unit(self) -> np.ndarray:
        """Index of each unit inside its layer."""
        return np.concatenate([np.arange(n) for n in self.sizes])

    @cached_property
    def fan_in(self) -> np.ndarray:
        """Kept incoming links of each unit."""
        return np.concatenate([links.fan_in for links in self.links])

    @cached_property
    def fan_out(self) -> np.ndarray:
        """Kept outgoing links of each unit, its audience; 0 in the last layer."""
        counts = [links.fan_out for links in self.links[1:]]
        return np.concatenate([*counts, np.zeros(self.sizes[-1], dtype=np.int64)])

    def index(self, layer: int, unit: int) -> int:
        """Return the place of a unit in arrays over all units.

        Raises
        ------
        ValueError
            If there is no such layer or unit.
        """
        layer = validate.integer("layer", layer, f"[0, {len(self.sizes) - 1}]")
        return int(self.offsets[layer]) + validate.integer("unit", unit, f"[0, {self.sizes[layer] - 1}]")

    def links_in(self, layer: int, unit: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (sources, weights) of the kept links into a unit, sources ascending.

        Raises
        ------
        ValueError
            If there is no such unit.
        """
        self.index(layer, unit)
        return self.links[layer].into(unit)

    def links_out(self, layer: int, unit: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (targets in the next layer, weights) of the kept links out of a unit, targets ascending.

        Raises
        ------
        ValueError
            If there is no such unit.
        """
        self.index(layer, unit)
        if layer + 1 == len(self.sizes):
            return np.empty(0, dtype=np.int64), np.empty(0)
        return self.links[layer + 1].out_of(unit)

    def without_covariance(self) -> Network:
        """Return the same network fed with uncorrelated inputs of the same variances."""
        return self._with(input_covariance=None)

    def with_links(self, links: Sequence[Links]) -> Network:
        """Return this network with other links of the same shapes."""
        return self._with(links=tuple(links))

    def _with(self, **changed: Any) -> Network:
        other = object.__new__(Network)
        names = (
            "links",
            "biases",
            "activations",
            "input_mean",
            "input_variance",
            "input_covariance",
            "sizes",
        )
        for name in (*names, "offsets"):
            setattr(other, name, changed.get(name, getattr(self, name)))
        other._sealed = True
        return other


def _frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only copy, so that a caller's later changes do not reach the network."""
    array = array.copy()
    array.flags.writeable = False
    return array


def _per_layer(name: str, values: Sequence[Any] | None, n: int) -> list[Any]:
    values = [None] * n if values is None else list(values)
    if len(values) != n:
        raise ValueError(f"{name} must have one entry per layer ({n}), got {len(values)}")
    return values


def _checked_covariance(value: Any, n: int) -> np.ndarray:
    name = "input_covariance"
    covariance = validate.array(name, value, shape=(n, n))
    trace = float(np.abs(np.diagonal(covariance)).sum())
    if trace == 0:
        raise ValueError(f"{name} must not be zero on its whole diagonal: without variance nothing responds")
    skew = np.abs(covariance - covariance.T)
    if skew.max() > _DEFECT * trace:
        i, j = (int(k) for k in np.unravel_index(skew.argmax(), skew.shape))
        raise ValueError(
            f"{name} must be symmetric, got {covariance[i, j]:.6g} at ({i}, {j}) "
            f"and {covariance[j, i]:.6g} at ({j}, {i})"
        )
    covariance = 0.5 * (covariance + covariance.T)
    try:
        cholesky(covariance + _DEFECT * trace * np.eye(n), lower=True)
    except LinAlgError:
        low = float(eigvalsh(covariance, subset_by_index=(0, 0))[0])
        raise ValueError(
            f"{name} must be positive semidefinite, got an eigenvalue {low:.6g} with trace {trace:.6g}"
        ) from None
    return _frozen(covariance)

"""Top-k activations: units are silenced sample by sample, no weight is cut."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bbtheory import validate
from bbtheory.train.activity import Tap, remove_dead_taps
from bbtheory.train.layers import Layer, Site
from bbtheory.train.pruner import Pruner
from bbtheory.train.tracing import POSITIVE
from bbtheory.train.unit_report import PruningReport

_BY = ("value", "magnitude")


class Gate(Tap):
    """A forward hook that replaces what it sees; copies of a model carry a dead one."""

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any = None) -> Any:
        """Return the gated output, or the inputs with the first one gated."""
        if self.activity is None:
            return None
        if output is not None:
            return self.activity.observe(module, output)
        return self.activity.observe(module, inputs[0]), *inputs[1:]


class GatedLayer:
    """Keeps the k largest of a layer's D units at every sample, token or position, zero elsewhere."""

    def __init__(self, layer: Layer, density: float, by: str, factor: bool):
        self.name, self.n_units, self.unit_dim = layer.name, layer.n_out, layer.unit_dim
        site = layer.site
        if site is None:
            raise ValueError(f"activations must name a module for layer {layer.name!r}, got none")
        # an activation that is positive everywhere has to be gated behind it, zero is not silence before
        self.site = Site(site.module, "output") if isinstance(site.module, POSITIVE) else site
        self.k = max(1, round(density * self.n_units))
        self.by = by
        self.factor = math.sqrt(self.n_units / self.k) if factor else 1.0
        self.open = True
        self._handle: Any = None

    def attach(self) -> None:
        """Gate from now on."""
        self.detach()
        module = self.site.module
        output = self.site.side == "output"
        register = module.register_forward_hook if output else module.register_forward_pre_hook
        self._handle = register(Gate(self))

    def detach(self) -> None:
        """Gate no more."""
        if self._handle is not None:
            self._handle.remove()
        self._handle = None

    def observe(self, module: nn.Module, h: torch.Tensor) -> torch.Tensor:
        """Return the activations with the k largest of each position kept."""
        if self.open:
            return h
        axis = h.dim() + self.unit_dim
        size = h.detach().abs() if self.by == "magnitude" else h.detach()
        chosen = size.topk(self.k, dim=axis, sorted=False).indices
        keep = torch.zeros_like(h, dtype=torch.bool).scatter(axis, chosen, True)
        return torch.where(keep, h * self.factor, torch.zeros_like(h))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}


class TopKActivation(Pruner):
    """Keeps the k = round(density D) most active of a layer's D units for each sample, the others are zero.

    This gates activations, not weights: every weight is kept, and any of them may be used by some sample.
    Here ``density``, `current_density` and the history mean k/D, the share of gated units that may be active
    at once; the report counts weights, all of which are kept, and says so in its note. For a sequence the
    choice is made per token, for a convolution per position, over channels. Ties are broken as torch.topk
    does. From the first refresh on the gate works in training and in evaluation; it is part of the function,
    so `remove` and a copy of the model alone leave a different, ungated one.

    A layer is gated where its activation is seen: behind an activation that is a module; before one that is
    called as a function, which is the same where it is increasing and 0 at 0, as ReLU, and ``by`` is "value".
    Layers that no activation follows are not gated.

    Parameters
    ----------
    model, warmup, layers, exclude, activations and others : see `Pruner`
    density : float
        k/D, in (0, 1]; k >= 1.
    by : {"value", "magnitude"}
        Largest h, or largest |h|.
    rescale : bool
        Whether what is kept is multiplied by sqrt(D/k).

    Raises
    ------
    ValueError
        If an argument is outside its domain, or no layer is followed by an activation.

    References
    ----------
    The "Top-K" baseline of the authors' code of Budgeted Broadcast (arXiv 2510.01263): token-wise, by value,
    with the factor. k winners per sample: Makhzani and Frey 2014 (arXiv 1312.5663), by value, without it.
    """

    def __init__(
        self, model: nn.Module, density: float, *, by: str = "value", rescale: bool = False, **settings: Any
    ):
        validate.choice("by", by, _BY)
        if not isinstance(rescale, bool):
            raise ValueError(f"rescale must be True or False, got {rescale!r}")
        self.gates: dict[str, GatedLayer] = {}
        settings.setdefault("dormant", "zero")
        super().__init__(model, density, **settings)
        sites = {}  # layers whose sum is activated have one gate
        for name in self.weights:
            site = self.graph[name].site
            if site is not None:
                sites.setdefault((id(site.module), site.side), self.graph[name])
        if not sites:
            raise ValueError("activations must be given: no activation was found after any layer")
        self.gates = {layer.name: GatedLayer(layer, self.density, by, rescale) for layer in sites.values()}
        self._attach()

    @property
    def current_density(self) -> float:
        """Share k/D of the gated units that may be active at once, now."""
        n_units = sum(gate.n_units for gate in self.gates.values())
        return sum(gate.n_units if gate.open else gate.k for gate in self.gates.values()) / n_units

    def is_refresh(self, step: int) -> bool:
        """Whether a step closes the gates: the first refresh does."""
        return self.n_refreshes == 0 and super().is_refresh(step)

    def choose(self) -> dict[str, torch.Tensor]:
        """Masks as they are: all weights."""
        return {name: weight.mask.clone() for name, weight in self.weights.items()}

    def apply(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Close the gates."""
        for gate in self.gates.values():
            gate.open = False

    def saliency(self) -> float:
        """Return 0: nothing is ranked over the whole run."""
        return 0.0

    def finish(self) -> PruningReport:
        """End training: close the gates if they are not, verify, and report."""
        if self.n_refreshes == 0:
            self.refresh()
        self.verify()
        return self.report()

    def report(self, example_input: Any = None) -> PruningReport:
        """See `Pruner.report`; the note says what is sparse."""
        from dataclasses import replace

        note = (
            f"No weight is cut: {self.current_density:.6g} of the units of {', '.join(self.gates)} "
            "may be active for one sample, others for the next. Every count above is of weights. Gates cost "
            "time; dense hardware multiplies by the zeros."
        )
        return replace(super().report(example_input), note=note)

    def remove(self) -> None:
        """See `Pruner.remove`; the model is ungated then."""
        super().remove()
        for gate in self.gates.values():
            gate.detach()

    def compact(self, example_input: Any) -> Any:
        """Refuse with a ValueError: every unit serves some sample, and a copy would be ungated."""
        raise ValueError(
            "compact() must have units without links to remove, got a pruner that cuts no weight"
        )

    def extra_state(self) -> dict[str, Any]:
        """Whether the gates are open."""
        return {"open": {name: gate.open for name, gate in self.gates.items()}}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take over `extra_state`."""
        for name, gate in self.gates.items():
            gate.open = bool(state["open"][name])

    def _attach(self) -> None:
        super()._attach()
        remove_dead_taps(self.model)
        for gate in self.gates.values():
            gate.attach()

"""The table of units, one row per unit with its on-rate, fan-in, fan-out and traffic; of any model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.tables import write_csv
from bbtheory.theory.entropy import traffic
from bbtheory.train.activity import DEFINITIONS, watch_layers
from bbtheory.train.layers import Layer, choose_layers, find_layers, masked_weights, place_activities
from bbtheory.train.masking import MaskedWeight
from bbtheory.train.tracing import trace_layers

COLUMNS = ("layer", "unit", "on_rate", "fan_in", "fan_out", "traffic")


@dataclass(frozen=True, eq=False)
class UnitTable(Record):
    """Units of the layers whose on-rate was measured; a layer without an activation after it has none.

    ``layer`` holds layer names. fan_in counts the kept links of a unit's own row, fan_out those that read it
    in the layers fed by it; it is 0 where no layer was found that reads it.
    """

    KIND: ClassVar[str] = "unit_table"
    UNITS: ClassVar[Mapping[str, str]] = {name: name for name in COLUMNS}

    layer: tuple[str, ...]
    unit: np.ndarray
    on_rate: np.ndarray
    fan_in: np.ndarray
    fan_out: np.ndarray

    @property
    def traffic(self) -> np.ndarray:
        """Traffic a_i k_i, k_i the fan-out; links per step."""
        return traffic(self.on_rate, self.fan_out) if self.on_rate.size else self.on_rate

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write layer,unit,on_rate,fan_in,fan_out,traffic, which `fit balance` and `solve --on-rate` read."""
        write_csv(path, {name: getattr(self, name) for name in COLUMNS})


def measure_model(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    activations: Mapping[str, str | nn.Module] | None = None,
    inputs: Mapping[str, str | Sequence[str]] | None = None,
    on: str = "positive",
    scale: float = 1.0,
    granularity: str = "weight",
) -> UnitTable:
    """Measure on-rates and degrees of a model, pruned or not: a link is a weight that is not zero.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode, without gradients, and left in the mode it was in.
    loader : iterable of batches
        A batch, or the first entry of a tuple or list, is what the model is called with, moved to the device
        of its first parameter.
    forward : callable (model, batch), optional
        How to call the model instead.
    activations, inputs : see `Pruner`
    on, scale : see `Activity`
    granularity : {"weight", "channel"}
        Whether links of a convolution are weights or pairs of channels.

    Returns
    -------
    UnitTable

    Raises
    ------
    ValueError
        If the loader gives no samples or something else than tensors, activations are not finite, no layer
        is followed by an activation, or an argument is outside its domain.
    """
    validate.choice("on", on, DEFINITIONS)
    graph = find_layers(validate.instance("model", model, nn.Module))
    chosen = choose_layers(model, graph, None, ())
    trace_layers(model, graph)
    place_activities(model, graph, activations, inputs)
    weights = masked_weights(graph, chosen, granularity, "zero")
    for weight in weights.values():
        weight.mask.copy_(weight.per_link(weight.parameter.detach().abs()) > 0)
    activities = watch_layers(graph, on=on, scale=scale, training_only=False)
    if not activities:
        raise ValueError("activations must be given: no activation was found after any layer")
    was_training = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    n_batches = 0
    try:
        for activity in activities.values():
            activity.attach()
        model.eval()
        with torch.no_grad():
            for batch in loader:
                n_batches += 1
                if forward is not None:
                    forward(model, batch)
                else:
                    x = batch[0] if isinstance(batch, (tuple, list)) else batch
                    if not torch.is_tensor(x):
                        raise ValueError(
                            "forward must be given where the loader's batches are neither tensors nor start "
                            f"with one, got {type(x).__name__}"
                        )
                    model(x.to(device))
    finally:
        for activity in activities.values():
            activity.detach()
        for module, mode in was_training.items():
            module.training = mode
    if n_batches == 0:
        raise ValueError("loader must give at least one batch, got none")
    for name, activity in activities.items():
        if not bool(torch.isfinite(activity.health)):
            raise ValueError(f"activations of layer {name!r} must be finite numbers, got others")
    if not any(activity.count > 0 for activity in activities.values()):
        raise ValueError(f"loader must give samples that reach {', '.join(activities)}, got none")
    rates = {n: (a.total / a.count).cpu().to(torch.float64) for n, a in activities.items() if a.count > 0}
    return unit_table(graph, weights, rates, granularity)


def unit_table(
    graph: Mapping[str, Layer],
    weights: Mapping[str, MaskedWeight],
    on_rates: Mapping[str, torch.Tensor],
    granularity: str = "weight",
) -> UnitTable:
    """Bring on-rates and masks together; layers without a mask have the links that are not zero."""
    linked = {name: weights.get(name) or _bare(layer, granularity) for name, layer in graph.items()}
    layer: list[str] = []
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("unit", "on_rate", "fan_in", "fan_out")}
    for name, rates in on_rates.items():
        n_units = rates.numel()
        layer += [name] * n_units
        columns["unit"].append(np.arange(n_units))
        columns["on_rate"].append(rates.clamp(0.0, 1.0).numpy())
        columns["fan_in"].append(linked[name].fan_in().cpu().numpy())
        columns["fan_out"].append(fan_out_of(name, n_units, graph, linked).numpy())
    joined = {k: np.concatenate(v) if v else np.zeros(0) for k, v in columns.items()}
    return UnitTable(tuple(layer), **joined)


def fan_out_of(
    name: str, n_units: int, graph: Mapping[str, Layer], weights: Mapping[str, MaskedWeight]
) -> torch.Tensor:
    """Kept links that read each unit of a layer, in all layers fed by it, int64 on the CPU."""
    fan_out = torch.zeros(n_units, dtype=torch.int64)
    for reader in graph.values():
        if name in reader.inputs and weights[reader.name].n_in % n_units == 0:
            fan_out += weights[reader.name].fan_out().cpu().reshape(n_units, -1).sum(1)
    return fan_out


def _bare(layer: Layer, granularity: str) -> MaskedWeight:
    weight = MaskedWeight(
        layer.name, layer.owners, groups=layer.groups, granularity=granularity, dormant="zero"
    )
    weight.mask.copy_(weight.per_link(weight.parameter.detach().abs()) > 0)
    return weight

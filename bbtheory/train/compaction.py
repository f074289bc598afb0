"""Dead units removed: a smaller dense model that computes the same function."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.train.chains import LAYERS, Chain, find_chains, pass_on, trace

# of the largest output: sums of other length are rounded otherwise, in every layer; on CUDA float32
# convolutions are rounded to 11 bits (TF32) unless told not to be. What a tracer overlooks differs by more
_TOLERANCES = {torch.float64: 1e-10, torch.float32: 2e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


@dataclass(frozen=True, eq=False)
class CompactReport(Record):
    """What `compact` removed from each layer, and why no more."""

    KIND: ClassVar[str] = "compact-report"
    UNITS: ClassVar[dict[str, str]] = {
        "layer": "layer",
        "n_units": "n_units",
        "n_removed": "n_removed",
        "n_folded": "n_folded",
        "note": "note",
    }
    DERIVED: ClassVar[tuple[str, ...]] = ("parameters_kept",)

    layer: tuple[str, ...]
    """Names of the Linear and Conv layers."""
    n_units: np.ndarray
    """Units of each layer before."""
    n_removed: np.ndarray
    """Units removed from each layer."""
    n_folded: np.ndarray
    """Those among them that were constants other than 0, now in the next layer's bias."""
    note: tuple[str, ...]
    """Why units of the layer stayed, though dead, or why the layer was left alone; empty otherwise."""
    n_parameters_before: int
    n_parameters: int
    difference: float
    """Largest |compact - masked| output on the example, over the largest |masked|; in eval mode."""

    @property
    def parameters_kept(self) -> float:
        """Parameters after over before."""
        return self.n_parameters / self.n_parameters_before


@dataclass
class _Layer:
    """A layer while units are taken out of it."""

    module: Any
    links: Tensor
    """Which links are kept, (n_out, n_in)."""
    removed: Tensor
    """Which units are removed, (n_out,)."""
    inputs_removed: Tensor
    """Which inputs are removed, (n_in,)."""
    n_folded: int = 0
    note: str = ""


def compact(
    model: nn.Module, masks: Mapping[str, Tensor] | None, example_input: Any
) -> tuple[nn.Module, CompactReport]:
    """Return a copy of the model without its dead hidden units, and what was removed.

    A unit whose outgoing links are all cut changes nothing. One whose incoming links are all cut is a
    constant f(bias): what it adds to the next layer goes into that layer's bias, b += W[:, u] f(b_u).
    Removing units may leave others without links; this goes on until none is left. In eval mode (batch norms
    use their running statistics, dropout is off) the result computes the same function, up to rounding.

    Parameters
    ----------
    model : Module
        Not changed. Traced with torch.fx; a model that cannot be traced comes back whole, as the report says.
    masks : mapping of layer name to Tensor of bool, or None
        Kept links of a Linear or Conv, in the shape of its weight or (n_out, n_in); they are applied to the
        copy. Where a layer has none, links that are not 0 are kept.
    example_input : Tensor or tuple
        Arguments of one call; on them both models are compared.

    Returns
    -------
    (Module, CompactReport)
        The copy in the mode the model is in.

    Raises
    ------
    ValueError
        If a mask names no Linear or Conv, or does not fit its weight.
    RuntimeError
        If the compact model's output on the example differs by more than rounding: then the tracer did not
        see all the model does.

    Notes
    -----
    Left alone are: layers whose output goes to more than one place (residual connections), meets another
    path, passes through an operation that mixes units (layer norm, softmax, attention) or is the model's
    output; grouped convolutions; layers that are called more than once, or share a parameter. A convolution
    with zero padding sees a constant map end at the border: a constant other than 0 before one is kept. So is
    the last unit of a layer.
    """
    validate.instance("model", model, nn.Module)
    small = copy.deepcopy(model).eval()
    n_before = sum(parameter.numel() for parameter in small.parameters())
    layers = {
        name: _layer(name, module, None if masks is None else masks.get(name))
        for name, module in small.named_modules()
        if type(module) in LAYERS
    }
    for name in masks or ():
        if name not in layers:
            raise ValueError(f"masks must name Linear or Conv layers of the model, got {name!r}")
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    with torch.no_grad():
        wanted = small(*inputs)
        chains: list[Chain] = []
        try:
            chains, reasons = find_chains(small, trace(small, inputs))
        except Exception as error:  # a tracer fails in as many ways as models are written
            reasons = dict.fromkeys(layers, f"the model cannot be traced: {str(error).splitlines()[0][:80]}")
        for name, reason in reasons.items():
            if name in layers:
                layers[name].note = reason
        modules = dict(small.named_modules())
        while any(_clear(chain, layers, modules) for chain in chains):
            pass
        for chain in chains:
            _shrink(chain, layers, modules)
        difference = _difference(small(*inputs), wanted)
    dtype = next((layer.module.weight.dtype for layer in layers.values()), torch.float32)
    if not difference <= _TOLERANCES.get(dtype, _TOLERANCES[torch.float16]):
        raise RuntimeError(f"the compact model's output differs from the masked model's by {difference:.3g}")
    report = CompactReport(
        layer=tuple(layers),
        n_units=np.array([layer.removed.numel() for layer in layers.values()], np.int64),
        n_removed=np.array([int(layer.removed.sum()) for layer in layers.values()], np.int64),
        n_folded=np.array([layer.n_folded for layer in layers.values()], np.int64),
        note=tuple(layer.note for layer in layers.values()),
        n_parameters_before=n_before,
        n_parameters=sum(parameter.numel() for parameter in small.parameters()),
        difference=difference,
    )
    for ours, theirs in zip(small.modules(), model.modules(), strict=True):
        ours.training = theirs.training
    return small, report


def _layer(name: str, module: Any, mask: Tensor | None) -> _Layer:
    """Return the layer's links, its mask applied."""
    weight = module.weight.detach()
    if mask is not None:
        validate.instance(f"masks[{name!r}]", mask, Tensor)
        if mask.dtype != torch.bool or mask.shape not in (weight.shape, weight.shape[:2]):
            raise ValueError(
                f"masks[{name!r}] must be bool of shape {tuple(weight.shape)} or {tuple(weight.shape[:2])}, "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
        mask = mask.to(weight.device).reshape(*mask.shape, *(1,) * (weight.ndim - mask.ndim))
        with torch.no_grad():
            # no multiplication: an infinite weight that is cut would leave a NaN
            module.weight.masked_fill_(~mask, 0.0)
        kept = mask.expand_as(weight)
    else:
        kept = weight != 0
    links = kept.reshape(*weight.shape[:2], -1).any(2)
    n_out, n_in = links.shape
    return _Layer(
        module,
        links,
        removed=torch.zeros(n_out, dtype=torch.bool, device=weight.device),
        inputs_removed=torch.zeros(n_in, dtype=torch.bool, device=weight.device),
    )


def _clear(chain: Chain, layers: dict[str, _Layer], modules: dict[str, nn.Module]) -> bool:
    """Mark the units of one chain that have no links on one side; return whether there were any."""
    layer, following = layers[chain.layer], layers[chain.next_layer]
    outgoing = following.links.any(0).reshape(-1, chain.n_features).any(1)
    constant = ~layer.links.any(1) & outgoing & ~layer.removed
    dead = ~outgoing & ~layer.removed
    value = None
    if constant.any():
        value, foldable = _constant(chain, layers, modules)
        if (constant & ~foldable).any():
            layer.note = f"constant units stay: {chain.next_layer} sees other values at the border"
        constant &= foldable
    if (layer.removed | dead | constant).all():
        layer.note = "one unit stays: a layer cannot be empty"
        last = int((~layer.removed).nonzero()[-1])
        dead[last] = constant[last] = False
    if not (dead | constant).any():
        return False
    if value is not None and constant.any():
        _fold(chain, layer, following, value, constant)
    gone = dead | constant
    layer.removed |= gone
    layer.links[gone] = False
    features = gone.repeat_interleave(chain.n_features)
    following.links[:, features] = False
    following.inputs_removed |= features
    return True


def _constant(
    chain: Chain, layers: dict[str, _Layer], modules: dict[str, nn.Module]
) -> tuple[Tensor, Tensor]:
    """Return what each input of the next layer gets from units without incoming links, and which can fold."""
    module, following = layers[chain.layer].module, layers[chain.next_layer].module
    bias = module.bias if module.bias is not None else module.weight.new_zeros(module.weight.shape[0])
    value = pass_on(chain, modules, bias.detach())
    if isinstance(following, nn.Linear):
        foldable = value.isfinite().reshape(-1, chain.n_features).all(1)
        return value, foldable
    maps = value.flatten(1)
    flat = (maps == maps[:, :1]).all(1) & maps[:, 0].isfinite()
    pads = following.kernel_size if following.padding == "same" else following.padding
    ends = following.padding_mode == "zeros" and pads != "valid" and any(pads)
    return maps[:, 0], flat & (maps[:, 0] == 0) if ends else flat


def _fold(chain: Chain, layer: _Layer, following: _Layer, value: Tensor, constant: Tensor) -> None:
    """Add what constant units give to the next layer's bias."""
    features = constant.repeat_interleave(chain.n_features)
    layer.n_folded += int((value != 0).logical_and(features).reshape(-1, chain.n_features).any(1).sum())
    module = following.module
    weight = module.weight.detach().double().flatten(2).sum(2) if module.weight.ndim > 2 else module.weight
    added = weight.double()[:, features] @ value.double()[features]
    if module.bias is None and not added.any():
        return
    bias = added if module.bias is None else module.bias.detach().double() + added
    module.bias = nn.Parameter(bias.to(module.weight.dtype), module.weight.requires_grad)


def _shrink(chain: Chain, layers: dict[str, _Layer], modules: dict[str, nn.Module]) -> None:
    """Cut the removed units out of the tensors on both sides and of the batch norms between."""
    layer, following = layers[chain.layer], layers[chain.next_layer]
    if not layer.removed.any():
        return
    kept = ~layer.removed
    _cut(layer.module, kept, ("weight", "bias"))
    inputs = ~following.inputs_removed
    weight = following.module.weight
    following.module.weight = nn.Parameter(weight.detach()[:, inputs].clone(), weight.requires_grad)
    linear = isinstance(layer.module, nn.Linear)
    setattr(layer.module, "out_features" if linear else "out_channels", int(kept.sum()))
    linear = isinstance(following.module, nn.Linear)
    setattr(following.module, "in_features" if linear else "in_channels", int(inputs.sum()))
    for name in chain.norms:
        norm: Any = modules[name]
        _cut(norm, kept, ("weight", "bias", "running_mean", "running_var"))
        norm.num_features = int(kept.sum())


def _cut(module: Any, kept: Tensor, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(module, name)
        if isinstance(value, nn.Parameter):
            setattr(module, name, nn.Parameter(value.detach()[kept].clone(), value.requires_grad))
        elif value is not None:
            setattr(module, name, value[kept].clone())


def _difference(got: Any, wanted: Any) -> float:
    """Return the largest difference of two outputs over the largest |wanted|."""
    if isinstance(wanted, Tensor):
        if not wanted.numel():
            return 0.0
        scale = float(wanted.double().abs().max())
        return float((got.double() - wanted.double()).abs().max()) / (scale if scale > 0.0 else 1.0)
    if isinstance(wanted, Mapping):
        return max((_difference(got[key], wanted[key]) for key in wanted), default=0.0)
    if isinstance(wanted, (tuple, list)):
        return max((_difference(a, b) for a, b in zip(got, wanted, strict=True)), default=0.0)
    return 0.0

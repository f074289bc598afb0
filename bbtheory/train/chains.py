"""Which two layers share their hidden units and nothing else does: found by tracing a model.

A `Chain` is a Linear or Conv whose output goes, through operations that treat every unit on its own, into
exactly one next Linear or Conv. There a unit can be removed. Everything else is left alone, and the reason
given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_POINTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus),
    *(
        nn.Sigmoid,
        nn.Tanh,
        nn.Hardtanh,
        nn.Hardswish,
        nn.Hardsigmoid,
        nn.LogSigmoid,
        nn.Softsign,
        nn.Threshold,
    ),
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
)
_POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
# functions and methods by name: torch.relu, torch.nn.functional.relu and Tensor.relu are one to a tracer
_POINTWISE_NAMES = {
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus"),
    *("sigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid", "logsigmoid", "softsign", "dropout"),
    *("contiguous", "clone"),
}
_POOL_NAMES = {
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
}
_FLATTEN_NAMES = {"flatten", "view", "reshape"}
_ASKS_SHAPE = {"size", "dim"}


@dataclass(frozen=True)
class Chain:
    """Two layers and what lies between them."""

    layer: str
    next_layer: str
    between: tuple[fx.Node, ...]
    norms: tuple[str, ...]
    """Names of the batch norms among them."""
    unit_shape: tuple[int, ...]
    """Shape of one unit's output of the layer in one example: () for a Linear, the map's for a Conv."""
    n_features: int
    """Inputs of the next layer for each unit: above 1 where a map was flattened."""


def trace(model: nn.Module, example_input: Any) -> fx.GraphModule:
    """Return the traced model with the shape of every node.

    Raises
    ------
    Exception
        Whatever the model raises while it is traced or run.
    """
    traced = fx.symbolic_trace(model)
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    with torch.no_grad():
        ShapeProp(traced).propagate(*inputs)
    return traced


def find_chains(model: nn.Module, traced: fx.GraphModule) -> tuple[list[Chain], dict[str, str]]:
    """Return the chains in the order of the calls, and the reason for each layer that begins none."""
    modules = dict(model.named_modules())
    calls: dict[str, list[fx.Node]] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            calls.setdefault(str(node.target), []).append(node)
    owners: dict[int, int] = {}
    for module in modules.values():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1

    def own(name: str) -> str:
        """Return why the module cannot change its shape, or nothing."""
        module, n_calls = modules[name], len(calls.get(name, ()))
        if n_calls != 1:
            return f"{name} is called {n_calls} times on its own"
        if type(module) not in LAYERS + NORMS:
            return f"{name} is a {type(module).__name__}"
        if isinstance(module, LAYERS) and "weight" not in dict(module.named_parameters(recurse=False)):
            return f"the weight of {name} is computed"
        if any(owners[id(parameter)] > 1 for parameter in module.parameters()):
            return f"{name} shares a parameter"
        read = any(n.op == "get_attr" and str(n.target).startswith(f"{name}.") for n in traced.graph.nodes)
        return f"{name} is read outside of its call" if read else ""

    chains: list[Chain] = []
    reasons: dict[str, str] = {}
    for name, module in modules.items():
        if not isinstance(module, LAYERS):
            continue
        found = own(name) or _follow(calls[name][0], modules, own)
        if isinstance(found, str):
            reasons[name] = found
        else:
            chains.append(found)
    order = {name: place for place, name in enumerate(calls)}
    return sorted(chains, key=lambda chain: order[chain.layer]), reasons


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    shape = getattr(node.meta.get("tensor_meta"), "shape", None)
    return None if shape is None else tuple(shape)


def _follow(start: fx.Node, modules: dict[str, nn.Module], own: Any) -> Chain | str:
    """Return the chain that begins at a layer's call, or why there is none."""
    layer: Any = modules[str(start.target)]
    shape = _shape(start)
    if shape is None:
        return "its output is no tensor"
    if isinstance(layer, nn.Linear):
        axis = len(shape) - 1
    elif layer.groups != 1:
        return "it is grouped"
    elif len(shape) != layer.weight.ndim:
        return "its input has no batch axis"
    else:
        axis = 1
    between: list[fx.Node] = []
    norms: list[str] = []
    n_features = 1
    node = start
    while True:
        users = [user for user in node.users if not _asks_shape(user)]
        if len(users) != 1:
            return f"its output goes to {len(users)} places"
        previous, node = node, users[0]
        before, after = _shape(previous), _shape(node)
        if node.op == "output":
            return "its output is the model's"
        if before is None or after is None:
            return f"it reaches {node.name}, which gives no tensor"
        others = [other for other in node.all_input_nodes if other is not previous]
        if not all(_asks_shape(other) for other in others):
            return f"it meets another path in {node.name}"
        if node.args[:1] != (previous,):
            return f"it reaches {node.name} as no first argument"
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        name = "" if module is not None else getattr(node.target, "__name__", str(node.target))
        if isinstance(module, LAYERS):
            reason = own(str(node.target))
            if reason:
                return reason
            if getattr(module, "groups", 1) != 1:
                return f"{node.target} is grouped"
            if axis != (len(before) - 1 if isinstance(module, nn.Linear) else 1):
                return f"its units are not the inputs of {node.target}"
            return Chain(
                layer=str(start.target),
                next_layer=str(node.target),
                between=tuple(between),
                norms=tuple(norms),
                unit_shape=() if isinstance(layer, nn.Linear) else shape[2:],
                n_features=n_features,
            )
        if isinstance(module, NORMS):
            if axis != 1:
                return f"its units are not the channels of {node.target}"
            reason = own(str(node.target))
            if reason:
                return reason
            norms.append(str(node.target))
        elif isinstance(module, _POOLS) or name in _POOL_NAMES:
            if axis != 1 or len(before) < 3 or before[:2] != after[:2]:
                return f"{node.name} does not pool each unit on its own"
        elif isinstance(module, nn.Flatten) or name in _FLATTEN_NAMES:
            if axis != 1 or after != (before[0], math.prod(before[1:])) or not _adapts(node, module, name):
                return f"{node.name} does not flatten each unit on its own"
            n_features *= math.prod(before[2:])
        elif others or not (isinstance(module, _POINTWISE) or name in _POINTWISE_NAMES):
            return f"it reaches {node.target if module is not None else name}"
        between.append(node)


def _asks_shape(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in _ASKS_SHAPE
    function = getattr(node.target, "__name__", "") if node.op == "call_function" else ""
    if function == "getattr":
        return node.args[1] in ("shape", "ndim", "device", "dtype")
    first = node.args[0] if node.args else None
    # an entry of a shape that was asked for
    return function == "getitem" and isinstance(first, fx.Node) and _asks_shape(first)


def _adapts(node: fx.Node, module: nn.Module | None, name: str) -> bool:
    """Tell whether a flattening has no fixed number of features in it."""
    if module is not None or name == "flatten":
        return True
    sizes: Any = node.args[1] if isinstance(node.args[1], (tuple, list)) else node.args[1:]
    return len(sizes) == 2 and bool(sizes[1] == -1)


def pass_on(chain: Chain, modules: dict[str, nn.Module], values: Tensor) -> Tensor:
    """Return what reaches the next layer where each unit of the layer gives one value, everywhere.

    Parameters
    ----------
    chain : Chain
    modules : dict of str to Module
        The model's modules, in eval mode.
    values : Tensor, shape (n_units,)

    Returns
    -------
    Tensor, shape (n_units * n_features,) after a flattening or a Linear, (n_units, *map) else
    """
    x = values.reshape(1, -1, *(1 for _ in chain.unit_shape)).expand(1, -1, *chain.unit_shape)
    x = x.clone()  # some activations work in place
    for node in chain.between:
        if node.op == "call_module":
            x = modules[str(node.target)](x)
        elif getattr(node.target, "__name__", str(node.target)) in _FLATTEN_NAMES:
            x = x.flatten(1)
        else:
            rest = node.args[1:]
            kwargs = dict(node.kwargs)
            if "training" in kwargs:
                kwargs["training"] = False
            x = (
                getattr(x, str(node.target))(*rest, **kwargs)
                if node.op == "call_method"
                else node.target(x, *rest, **kwargs)  # type: ignore[operator]  # of call_function a callable
            )
    return x[0]

"""Which weights of a model can be pruned, where the on-rate of a layer is seen, and which layer feeds which.

The graph is traced symbolically (torch.fx), module by module where the whole model cannot be. A layer's
on-rate is that of the activation that follows it, through normalisation, dropout, pooling and residual sums;
its inputs are the units of the layers whose activation it reads, through the same and flattening.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from bbtheory.train.masking import MaskedWeight

CONVOLUTIONS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
KINDS = "Linear, Conv1d, Conv2d, Conv3d, MultiheadAttention"


@dataclass
class Site:
    """Where the activity of a layer's units is seen: the output or the first input of a module."""

    module: nn.Module
    side: str  # output | input


@dataclass
class Layer:
    """A layer with weights (n_out, n_in/groups, ...), pruned or not, and its place among the others.

    ``inputs`` names the layers whose units this one reads; each unit stands for n_in / n_units neighbouring
    columns (those of a flattened map). ``unit_dim`` is the axis of units in what the layer puts out.
    """

    name: str
    owners: list[tuple[nn.Module, str]]
    groups: int = 1
    unit_dim: int = -1
    site: Site | None = None
    inputs: tuple[str, ...] = ()
    unseen: bool = False  # whether an activation follows that no module sees

    @property
    def parameter(self) -> nn.Parameter:
        """The weight as its first owner holds it now."""
        module, name = self.owners[0]
        return getattr(module, name)

    @property
    def n_out(self) -> int:
        """Units of the layer."""
        return self.parameter.shape[0]


def find_layers(model: nn.Module) -> dict[str, Layer]:
    """Return every layer of a model that has a prunable weight, by name, tied weights once.

    Raises
    ------
    ValueError
        If a weight is not there yet (a lazy module before its first call).
    """
    layers: dict[str, Layer] = {}
    by_weight: dict[int, str] = {}
    for name, module in model.named_modules():
        for parameter, layer in _weights_of(name, module):
            weight = module._parameters.get(parameter)
            if weight is None:  # not there, or made anew at each call by a parametrization
                continue
            if isinstance(weight, nn.parameter.UninitializedParameter):
                raise ValueError(
                    f"model must be called once before it is pruned: {layer!r} has no weight yet"
                )
            if id(weight) in by_weight:
                layers[by_weight[id(weight)]].owners.append((module, parameter))
                continue
            dims = next((d for kind, d in CONVOLUTIONS.items() if isinstance(module, kind)), 0)
            groups = int(getattr(module, "groups", 1)) if dims else 1
            by_weight[id(weight)] = layer
            layers[layer] = Layer(layer, [(module, parameter)], groups, -(dims + 1))
    return layers


def _weights_of(name: str, module: nn.Module) -> list[tuple[str, str]]:
    """Return (parameter name, layer name) of the prunable weights that a module holds itself."""
    if isinstance(module, (nn.Linear, *CONVOLUTIONS)):
        return [("weight", name)]
    if isinstance(module, nn.MultiheadAttention):
        return [(p, f"{name}.{p.removesuffix('_weight')}".lstrip(".")) for p in _ATTENTION]
    return []


def name_layer(graph: dict[str, Layer], entry: tuple[nn.Module, str], model: nn.Module) -> str:
    """Add a weight that a user names as (module, parameter name) and return its layer name.

    Raises
    ------
    ValueError
        If the module is not part of the model, is a transposed convolution, or has no such parameter of two
        or more axes.
    """
    module, parameter = entry
    name = next((name for name, part in model.named_modules() if part is module), None)
    if name is None:
        raise ValueError(f"layers must name modules of the model, got {type(module).__name__} outside it")
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        raise ValueError(
            f"layers must have a row of weights per unit that receives, got {type(module).__name__} "
            f"{name!r}, whose rows are units that send"
        )
    weight = module._parameters.get(parameter)
    if weight is None or weight.dim() < 2:
        raise ValueError(
            f"layers must name parameters with two or more axes, got {parameter!r} of {type(module).__name__}"
        )
    known = next((n for n, layer in graph.items() if layer.parameter is weight), None)
    if known is None:
        known = f"{name}.{parameter}".lstrip(".")
        graph[known] = Layer(known, [(module, parameter)])
    return known


def choose_layers(
    model: nn.Module,
    graph: dict[str, Layer],
    layers: Sequence[str | tuple[nn.Module, str]] | None,
    exclude: Sequence[str],
) -> list[str]:
    """Return the names of the layers to prune: all, or those named, less those excluded.

    Raises
    ------
    ValueError
        If a name is unknown or nothing is left.
    """
    if layers is None:
        chosen = list(graph)
    else:
        chosen = []
        for entry in layers:
            if isinstance(entry, str):
                _known("layers", [entry], graph)
                chosen.append(entry)
            else:
                chosen.append(name_layer(graph, entry, model))
    _known("exclude", exclude, graph)
    chosen = [name for name in dict.fromkeys(chosen) if name not in set(exclude)]
    if not chosen:
        left = " that is not excluded" if exclude else ""
        raise ValueError(f"model must have a prunable layer ({KINDS}){left}, got {type(model).__name__}")
    return chosen


def _known(argument: str, names: Iterable[str], graph: Mapping[str, Layer]) -> None:
    for name in names:
        if name not in graph:
            raise ValueError(f"{argument} must name layers of the model ({', '.join(graph)}), got {name!r}")


def place_activities(
    model: nn.Module,
    graph: Mapping[str, Layer],
    activations: Mapping[str, str | nn.Module] | None,
    inputs: Mapping[str, str | Sequence[str]] | None,
) -> None:
    """Overwrite what was traced by what the user knows: a layer's activation, the layers that feed it.

    Raises
    ------
    ValueError
        If a layer or module is unknown.
    """
    modules = dict(model.named_modules())
    for layer, activation in (activations or {}).items():
        _known("activations", [layer], graph)
        module = modules.get(activation) if isinstance(activation, str) else activation
        if module is None or all(module is not m for m in modules.values()):
            raise ValueError(f"activations must name modules of the model, got {activation!r} for {layer!r}")
        graph[layer].site, graph[layer].unseen = Site(module, "output"), False
    for layer, sources in (inputs or {}).items():
        names = (sources,) if isinstance(sources, str) else tuple(sources)
        _known("inputs", [layer, *names], graph)
        graph[layer].inputs = names


def masked_weights(
    graph: Mapping[str, Layer],
    chosen: Sequence[str],
    granularity: str,
    dormant: str,
    kind: type[MaskedWeight] = MaskedWeight,
) -> dict[str, MaskedWeight]:
    """Return the chosen layers' weights with full masks."""
    return {
        name: kind(
            name, graph[name].owners, groups=graph[name].groups, granularity=granularity, dormant=dormant
        )
        for name in chosen
    }

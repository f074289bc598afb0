"""The order of layers and activations in a model, read from its symbolic trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import fx, nn

from bbtheory.train.layers import Layer, Site

# on where the input is: their output has the sign of their input
_SIGNED = (
    nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.ELU, nn.SELU, nn.CELU, nn.LeakyReLU,
    nn.PReLU, nn.RReLU, nn.Tanh, nn.Softsign, nn.Hardtanh, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink,
)  # fmt: skip
# positive everywhere: on where the pre-activation is positive
POSITIVE = (nn.Sigmoid, nn.Softplus, nn.Hardsigmoid)
NONNEGATIVE = (nn.ReLU, nn.ReLU6)
_ACTIVATION_NAMES = {
    "relu", "relu_", "relu6", "gelu", "silu", "silu_", "mish", "hardswish", "elu", "elu_", "selu", "celu",
    "leaky_relu", "leaky_relu_", "tanh", "tanh_", "softsign", "sigmoid", "sigmoid_", "softplus",
    "hardtanh", "clamp_min",
}  # fmt: skip
_PASSING = (
    nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm,
    nn.modules.dropout._DropoutNd, nn.Identity, nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd, nn.Upsample, nn.Flatten, nn.Unflatten,
)  # fmt: skip
_PASSING_NAMES = {
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "dropout", "dropout1d",
    "dropout2d", "dropout3d", "alpha_dropout", "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "boolean_dispatch",
    "interpolate", "contiguous", "float", "to", "clone", "flatten", "reshape", "view", "squeeze", "mean",
}  # fmt: skip
_SUMS, _PRODUCTS = {"add", "add_", "iadd"}, {"mul", "mul_", "imul"}
# layers whose own forward holds control flow that cannot be traced: {class: ((layer, reader), ...)}
_KNOWN = {
    nn.TransformerEncoderLayer: ("linear1", "linear2"),
    nn.TransformerDecoderLayer: ("linear1", "linear2"),
}


def trace_layers(model: nn.Module, graph: Mapping[str, Layer]) -> None:
    """Fill in where each layer's activity is seen and which layers it reads; what is not found is left."""
    names = {id(layer.owners[0][0]): layer.name for layer in graph.values() if layer.owners[0][1] == "weight"}
    _trace(model, graph, names)


def _trace(module: nn.Module, graph: Mapping[str, Layer], names: Mapping[int, str]) -> None:
    if not any(id(part) in names for part in module.modules()):
        return
    known = next((pair for kind, pair in _KNOWN.items() if isinstance(module, kind)), None)
    if known is not None:
        first, second = (names[id(getattr(module, part))] for part in known)
        # its activation is called as a function, between linear1 and dropout: seen before it, by its sign
        graph[first].site = Site(getattr(module, known[0]), "output")
        graph[second].inputs = (first,)
        return
    if not list(module.children()) or isinstance(module, nn.MultiheadAttention):
        return
    try:
        traced = _Tracer(names).trace(module)
    except Exception:  # any forward may fail in any way on symbols; its parts are tried instead
        for part in module.children():
            _trace(part, graph, names)
        return
    _Reader(module, traced, graph, names).read()


class _Tracer(fx.Tracer):
    def __init__(self, names: Mapping[int, str]):
        super().__init__()
        self.names = names

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # wrappers give modules classes of their own: known by what they are, not by where their class is from
        if id(m) in self.names or isinstance(m, (nn.MultiheadAttention, *_KNOWN, *_PASSING)):
            return True
        inner = any(id(part) in self.names for part in m.modules())
        return not inner and (_is_activation(m) or super().is_leaf_module(m, module_qualified_name))

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # the forward pass alone: hooks of a module (sharding, our own) must not run on symbols
        return super().call_module(m, m.forward, args, kwargs)


def _is_activation(module: nn.Module) -> bool:
    if isinstance(module, (*_SIGNED, *POSITIVE)):
        return True
    # those of other libraries, say GELUActivation: small modules named after what they are
    name = type(module).__name__.lower()
    return not any(True for _ in module.children()) and any(
        word in name for word in ("relu", "gelu", "silu", "swish", "mish")
    )


class _Reader:
    """Walks a traced graph, forwards from layers to their activation, backwards from layers to inputs."""

    def __init__(
        self, root: nn.Module, traced: fx.Graph, graph: Mapping[str, Layer], names: Mapping[int, str]
    ):
        self.graph, self.names = graph, names
        self.modules = dict(root.named_modules())
        self.nodes = list(traced.nodes)
        self.calls: dict[int, int] = {}
        for node in self.nodes:
            module = self.module(node)
            if module is not None:
                self.calls[id(module)] = self.calls.get(id(module), 0) + 1

    def read(self) -> None:
        layer_nodes = {node: name for node in self.nodes if (name := self.layer(node)) is not None}
        activations: dict[fx.Node, fx.Node] = {}
        for node in layer_nodes:
            found = set(self.forwards(node))
            if len(found) == 1:
                activations[node] = found.pop()
        for node, name in layer_nodes.items():
            layer = self.graph[name]
            if node in activations and layer.site is None:
                layer.site = self.site(activations[node])
                layer.unseen = layer.site is None
            read = {
                a for source in node.args[:1] if isinstance(source, fx.Node) for a in self.backwards(source)
            }
            if len(read) == 1:
                activation = read.pop()
                fed = [self.layer(other) for other in layer_nodes if activations.get(other) is activation]
                layer.inputs = layer.inputs or tuple(dict.fromkeys(name for name in fed if name is not None))
        known = (m for m in map(self.module, self.nodes) if m is not None and isinstance(m, tuple(_KNOWN)))
        for part in {id(m): m for m in known}.values():
            _trace(part, self.graph, self.names)

    def module(self, node: fx.Node) -> nn.Module | None:
        return self.modules.get(str(node.target)) if node.op == "call_module" else None

    def layer(self, node: fx.Node) -> str | None:
        return self.names.get(id(self.module(node)))

    def function(self, node: fx.Node) -> str:
        if node.op == "call_method":
            return str(node.target)
        return getattr(node.target, "__name__", "") if node.op == "call_function" else ""

    def activates(self, node: fx.Node) -> bool:
        module = self.module(node)
        return _is_activation(module) if module is not None else self.function(node) in _ACTIVATION_NAMES

    def passes(self, node: fx.Node) -> bool:
        module = self.module(node)
        if module is not None:
            return isinstance(module, _PASSING) or type(module).__name__.endswith("RMSNorm")
        return self.function(node) in _PASSING_NAMES

    def forwards(self, node: fx.Node) -> Iterator[fx.Node]:
        """Activations that the output of a node goes through next."""
        for user in node.users:
            if self.activates(user):
                yield user
            elif self.passes(user) or self.function(user) in _SUMS:
                yield from self.forwards(user)
            elif self.function(user) in _PRODUCTS:
                # a gated unit is on where its gate is
                yield from (a for a in user.all_input_nodes if a is not node and self.activates(a))

    def backwards(self, node: fx.Node) -> Iterator[fx.Node]:
        """Activations that a node's value comes from, unit by unit."""
        if self.activates(node):
            yield node
        elif self.passes(node):
            yield from self.backwards(node.all_input_nodes[0])
        elif self.function(node) in _PRODUCTS:
            for source in node.all_input_nodes:
                yield from self.backwards(source)

    def site(self, activation: fx.Node) -> Site | None:
        """A module whose output or input tells when the activation is on, and that is called for it alone."""
        module = self.module(activation)
        if module is not None and self.once(module):
            return Site(module, "input" if isinstance(module, POSITIVE) else "output")
        before = activation.all_input_nodes[0]
        source = self.module(before)
        if source is not None and self.once(source):
            return Site(source, "output")
        for user in activation.users:
            reader = self.module(user)
            if reader is not None and self.once(reader) and user.args and user.args[0] is activation:
                return Site(reader, "input")
        return None

    def once(self, module: nn.Module) -> bool:
        return self.calls[id(module)] == 1


def is_nonnegative(site: Site) -> bool:
    """Whether what is seen at a site is never negative."""
    return site.side == "output" and isinstance(site.module, NONNEGATIVE)

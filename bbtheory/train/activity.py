"""Long-term on-rates of units: exponentially weighted sums of on-events and of chances, by forward hooks.

With s(t) the on-events of a unit in step t and n(t) its chances (samples, positions, tokens),

    S <- d S + s(t),   N <- d N + n(t),   on-rate a = S/N,

which is the bias-corrected moving average with decay d: there is no initial value to forget, a step weighs as
much as it holds samples, and sums of S and of N over processes give the on-rate of all. Everything is a
tensor, so that counting neither waits for a device nor recompiles a compiled model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import nn

from bbtheory.train.layers import Layer, Site
from bbtheory.train.tracing import is_nonnegative

DEFINITIONS = ("positive", "threshold", "soft")


class Padding:
    """Which positions of the current batch are real; shared by the activities of one model.

    ``valid`` is None (all) or a boolean tensor of the shape of an activation without its axis of units, such
    as (batch, tokens); activations of other shapes are counted whole.
    """

    valid: torch.Tensor | None = None


class Activity:
    """On-rate of each unit of one layer.

    Parameters
    ----------
    site : Site
        Module whose output or input is looked at.
    n_units, unit_dim : int
        Units, and their axis in what is looked at (counted from the end); the others are averaged over, so a
        convolution's channel is on as often as its map is, over samples and positions.
    on : {"positive", "threshold", "soft"}
        h > 0, which for ReLU, GELU and SiLU alike is a positive pre-activation; |h| > scale; or the soft
        count 1/(1 + exp(-h/scale)).
    scale : float
        Of the last two, in units of h.
    training_only : bool
        Whether to count only while the module looked at is in training mode.
    device : torch.device
    """

    def __init__(
        self,
        site: Site,
        n_units: int,
        unit_dim: int,
        *,
        on: str = "positive",
        scale: float = 1.0,
        training_only: bool = True,
        device: torch.device | None = None,
        padding: Padding | None = None,
    ):
        self.site = site
        self.n_units, self.unit_dim = n_units, unit_dim
        self.on, self.scale = on, scale
        self.training_only = training_only
        self.padding = padding if padding is not None else Padding()
        self.nonnegative = is_nonnegative(site)
        # float64 counts every event however many there are; one accelerator has no float64
        kind = torch.float32 if device is not None and device.type == "mps" else torch.float64
        self.total = torch.zeros(n_units, dtype=kind, device=device)
        self.count = torch.zeros((), dtype=kind, device=device)
        # stays finite as long as every activation does
        self.health = torch.zeros((), dtype=torch.float32, device=device)
        self._handle: Any = None

    def attach(self) -> None:
        """Count from now on."""
        self.detach()
        tap = Tap(self)
        register = self.site.module.register_forward_hook
        if self.site.side == "input":
            register = self.site.module.register_forward_pre_hook
        self._handle = register(tap)

    def detach(self) -> None:
        """Count no more."""
        if self._handle is not None:
            self._handle.remove()
        self._handle = None

    def observe(self, module: nn.Module, h: torch.Tensor) -> None:
        """Count the on-events of one forward pass."""
        if self.training_only and not module.training:
            return
        # activation checkpointing runs a forward pass again within the backward pass: seen already
        if not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1:
            return
        if h.shape[self.unit_dim] != self.n_units:
            raise ValueError(
                f"activations must name a module with {self.n_units} units on axis {self.unit_dim}, got "
                f"{type(module).__name__} of shape {tuple(h.shape)}"
            )
        if self.total.device != h.device:
            self.to(h.device)
        h = h.detach()
        axis = h.dim() + self.unit_dim
        others = [d for d in range(h.dim()) if d != axis]
        on = self._on(h)
        valid = self.padding.valid
        if valid is not None and valid.shape == h.shape[:axis] + h.shape[axis + 1 :]:
            on = on * valid.unsqueeze(axis).to(on.dtype)
            chances = valid.sum()
        else:
            chances = h.numel() // self.n_units
        self.total += on.sum(others, dtype=torch.float32) if others else on
        self.count += chances
        self.health += h.sum(dtype=torch.float32)

    def _on(self, h: torch.Tensor) -> torch.Tensor:
        if self.on == "threshold":
            return h.abs() > self.scale
        if self.on == "soft":
            return torch.sigmoid(h / self.scale)
        # the sign of what is not negative: three times as fast as comparing and converting
        return torch.sign(h if self.nonnegative else h.clamp(min=0))

    def to(self, device: torch.device) -> None:
        """Follow the model to a device."""
        for name in ("total", "count", "health"):
            setattr(self, name, getattr(self, name).to(device))

    def recover(self) -> None:
        """Go on after what was not finite; sums that it has spoilt are forgotten."""
        self.health.zero_()
        if not bool(torch.isfinite(self.total).all()):
            self.reset()

    def reset(self) -> None:
        """Forget everything seen."""
        for tensor in (self.total, self.count, self.health):
            tensor.zero_()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}


def watch_layers(graph: Mapping[str, Layer], **settings: Any) -> dict[str, Activity]:
    """Return an activity for each layer that is followed by an activation."""
    return {
        layer.name: Activity(
            layer.site, layer.n_out, layer.unit_dim, device=layer.parameter.device, **settings
        )
        for layer in graph.values()
        if layer.site is not None
    }


class Observer(Protocol):
    """What a tap reports to."""

    def observe(self, module: nn.Module, h: torch.Tensor) -> Any:
        """Take note of an output, or of a first input."""


class Tap:
    """A forward hook that reports to an observer; copies of a model carry a dead one."""

    def __init__(self, activity: Observer | None):
        self.activity = activity

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any = None) -> None:
        """Hand over the output, or the first input where there is none."""
        if self.activity is not None:
            self.activity.observe(module, inputs[0] if output is None else output)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tap:
        return Tap(None)

    def __reduce__(self) -> tuple[Any, ...]:
        return Tap, (None,)


def remove_dead_taps(model: nn.Module) -> None:
    """Take out the hooks that a copy of a model inherited."""
    for module in model.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key in [k for k, hook in hooks.items() if isinstance(hook, Tap) and hook.activity is None]:
                del hooks[key]


def decay(activities: Iterable[Activity], factor: float) -> None:
    """End a step: sums and counts so far weigh less by a factor."""
    tensors = [tensor for activity in activities for tensor in (activity.total, activity.count)]
    if tensors:
        torch._foreach_mul_(tensors, factor)  # pyright: ignore[reportPrivateImportUsage]  # no public one

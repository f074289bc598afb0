"""One weight and its presence t: theta = w H(t), present where t >= 0, and the gradient that moves t.

The parameter holds theta in every forward and backward pass, the values of absent weights lie aside, so that
presence costs the model nothing. The hook of `MaskedWeight` sees dL/dtheta whole, absent weights included,
before it is masked, clipped or summed over processes: there the product w dL/dtheta is taken for t, and
w is left with H(t) dL/dtheta. While an optimizer steps, the parameter holds w itself: weight decay and
momentum act on absent weights as on others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from bbtheory.train.flow import Flow
from bbtheory.train.masking import _SMALL, MaskedWeight, _flat
from bbtheory.train.sharding import is_sharded, whole

KAPPA = 0.25  # dH/dt, the constant of the authors' code: the largest slope of a logistic function
GATES = ("constant", "sigmoid")


class _Arrays(NamedTuple):
    """Views of the memory of tensors, each on one axis."""

    kernel: Any  # the compiled loops
    pointer: int  # to the parameter's memory, which a move of the model changes
    t: np.ndarray
    moments: tuple[np.ndarray, ...]
    split: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # pulled, parameter, dormant, mask as bytes


class PresentWeight(MaskedWeight):
    """A weight whose mask is H(t).

    Attributes
    ----------
    t : tensor
        Presence, in the shape of the weight; float32 where weights are of half precision.
    moments : tuple of tensor
        What the optimizer of t remembers.
    pulled : tensor
        w dL/dtheta, summed since the last step where ``is_pulled``.
    held : bool
        Whether absent weights keep their values, out of the optimizer's reach.
    shown : bool
        Whether the parameter holds w in place of theta: while an optimizer steps, until `move`.
    healthy : bool
        Whether every product in ``pulled`` is known to be finite.
    is_compiled : bool
        Whether compiled loops are wanted: they take half a second to load.
    """

    def __init__(self, name: str, owners: Sequence[tuple[nn.Module, str]], **settings: Any):
        super().__init__(name, owners, **settings)
        weight = self.parameter
        self.t = torch.zeros(weight.shape, dtype=_precise(weight.dtype), device=weight.device)
        self.moments: tuple[torch.Tensor, ...] = ()
        self.pulled = torch.zeros_like(self.t)
        self.is_pulled = False
        self.held = False
        self.shown = False
        self.healthy = True
        self.is_compiled = weight.numel() >= _SMALL
        self._fresh = True
        self._arrival: Any = None
        self._memory: _Arrays | None = None

    def start(self, low: float, high: float, n_moments: int, generator: torch.Generator) -> None:
        """Draw t from a uniform distribution, and forget all moments."""
        draw = torch.rand(self.t.shape, generator=generator, dtype=torch.float64)
        self.t.copy_(low + (high - low) * draw)
        self.moments = tuple(torch.zeros_like(self.t) for _ in range(n_moments))
        self._memory = None
        self._present()

    # -- where the values of absent weights are

    @torch.no_grad()
    def show(self) -> None:
        """Let the parameter hold w, that an optimizer may act on all of it."""
        show_all([self])

    @torch.no_grad()
    def hide(self) -> None:
        """Let the parameter hold theta again."""
        if self.shown:
            self._split()

    @property
    def _stored(self) -> torch.Tensor:
        """The values of absent weights."""
        assert self.dormant is not None
        return self.dormant

    def _split(self) -> None:
        """Part w, which the parameter holds, by the mask."""
        weight = self.parameter.data
        torch.mul(weight, 1 - self._factor(), out=self._stored)
        weight.mul_(self._factor())
        self.shown = False

    @torch.no_grad()
    def _present(self) -> None:
        """Follow t, which was written."""
        self.show()
        if self.held:
            self.parameter.data.add_(self._stored)
        torch.ge(self.t, 0, out=self.mask)
        self._split()

    @torch.no_grad()
    def project(self, mask: torch.Tensor) -> None:
        """Take a mask, and move t where it says otherwise, to the nearest number that does not."""
        least = -torch.finfo(self.t.dtype).tiny
        self.t.masked_fill_(mask & (self.t < 0), 0.0).masked_fill_(~mask & (self.t >= 0), least)
        self._present()

    @torch.no_grad()
    def take(self, values: torch.Tensor, t: torch.Tensor) -> None:
        """Take over w, absent values included, and t, as if they had been trained here."""
        self.parameter.data.copy_(values)
        self._stored.zero_()
        self.t.copy_(t)
        self._present()

    # -- the gradient of t

    def _mask_gradient(self, weight: torch.Tensor) -> None:
        gradient = weight.grad
        if gradient is None:
            return
        if self.shown:
            raise ValueError(
                f"step() of Hyperflux must follow every step of the optimizer, got a backward pass of "
                f"{self.name!r} between the two"
            )
        more = self.is_pulled and not self._fresh
        arrays = self._arrays(weight)
        if arrays is not None and gradient.is_contiguous() and gradient.dtype == self.t.dtype:
            take = arrays.kernel.pull_more if more else arrays.kernel.pull
            healthy = bool(take(gradient.detach().numpy().reshape(-1), *arrays.split))
            self.healthy = healthy and (self.healthy or not more)
        else:
            self._pull(weight, gradient, more)
        self.is_pulled = True
        self._fresh = False

    @torch.no_grad()
    def _pull(self, weight: torch.Tensor, gradient: torch.Tensor, more: bool) -> None:
        if self.mask.device != gradient.device:  # the model was moved after Hyperflux was made
            self.follow()
        # a product of two halves need not be a half
        product = (weight.detach() + self._stored).to(self.t.dtype) * gradient
        if more:
            product.add_(self.pulled.masked_fill_(self.mask, 0.0))
        self.pulled.copy_(product)
        self.healthy = False  # not known
        gradient.mul_(self._factor())

    def _before_arrival(self, gradient: torch.Tensor) -> None:
        """Note whether the gradient that comes is the first since it was set to None."""
        hooked = self._hooked
        self._fresh = hooked is None or hooked.grad is None

    def drop(self) -> None:
        """Forget what was pulled: its step was not made."""
        self.is_pulled, self.healthy = False, True

    def is_finite(self) -> bool:
        """Whether what was pulled is finite; it is looked through where that is not known."""
        if self.is_pulled and not self.healthy:
            self.healthy = bool(whole(torch.isfinite(self.pulled).all()))
        return self.healthy or not self.is_pulled

    def gain(self) -> float:
        """By what the gradient was divided after it was taken, read off the weight of the largest product."""
        gradient = self.parameter.grad
        if not self.is_pulled or gradient is None:
            return 1.0
        product = (self.parameter.detach() * gradient).to(self.t.dtype).flatten()
        i = int(product.abs().argmax())
        return float(self.pulled.flatten()[i] / product[i]) if float(product[i]) else 1.0

    # -- a step

    def move(
        self, flow: Flow, lr: float, number: int, scale: float, push: float, floor: float, gate: str
    ) -> None:
        """Step t along H'(t) w dL/dtheta + push, and let the parameter hold theta of the new t.

        Parameters
        ----------
        flow : Flow
        lr : float
        number : int
            Of the step, >= 1.
        scale : float
            What ``pulled`` has to be multiplied by: 1 over the loss scale and the number of processes.
        push : float
            gamma/N, on t above the floor.
        floor : float
        gate : {"constant", "sigmoid"}
        """
        if self.held:
            self.enforce()  # what the optimizer did to absent weights
        if not self.shown:
            with torch.no_grad():
                self.parameter.data.add_(self._stored)
        arrays = self._arrays(self.parameter) if gate == "constant" else None
        if not self.is_pulled:
            self.pulled.zero_()
        if arrays is not None:
            self._move_compiled(arrays, flow, lr, number, KAPPA * scale, push, floor)
        else:
            self._move(flow, lr, number, scale, push, floor, gate)
        self.shown = False
        self.drop()

    @torch.no_grad()
    def _move(
        self, flow: Flow, lr: float, number: int, scale: float, push: float, floor: float, gate: str
    ) -> None:
        pushed = push if math.isinf(floor) else (self.t > floor).to(self.t.dtype).mul_(push)
        if gate == "constant":
            gradient = self.pulled.mul_(KAPPA * scale).add_(pushed)
        else:
            s = torch.sigmoid(self.t)
            gradient = self.pulled.mul_(scale).add_(pushed).mul_(s.mul_(1.0 - s))
        flow.update(self.t, self.moments, gradient, lr, number)
        torch.ge(self.t, 0, out=self.mask)
        self._split()

    def _move_compiled(
        self, arrays: _Arrays, flow: Flow, lr: float, number: int, slope: float, push: float, floor: float
    ) -> None:
        kind = arrays.t.dtype.type
        if flow.rule == "adam":
            step, root = flow.adam_step(lr, number)
            numbers = (slope, push, floor, *flow.betas, step, root, flow.eps)
            tensors = (arrays.t, *arrays.moments, *arrays.split)
            arrays.kernel.adam(*tensors, *map(kind, numbers))
        else:
            velocity = arrays.moments[0] if arrays.moments else arrays.split[0]
            numbers = (slope, push, floor, flow.momentum, lr)
            arrays.kernel.sgd(arrays.t, velocity, *arrays.split, *map(kind, numbers))

    def _arrays(self, weight: torch.Tensor) -> _Arrays | None:
        """The memory of everything here, for compiled loops; None where they cannot run or are not wanted."""
        pointer = weight.data_ptr()
        if self._memory is None or self._memory.pointer != pointer:
            parts = (weight, self._stored, self.pulled, self.t, *self.moments)
            fits = self.is_compiled and all(
                part.device.type == "cpu"
                and part.dtype == self.t.dtype
                and part.is_contiguous()
                and not is_sharded(part)
                for part in parts
            )
            if not fits:
                return None
            from bbtheory.train import presence_kernel

            weight_, dormant, pulled, t, *moments = map(_flat, parts)
            kept = _flat(self._factor())
            self._memory = _Arrays(
                presence_kernel, pointer, t, tuple(moments), (pulled, weight_, dormant, kept)
            )
        return None if torch.compiler.is_compiling() else self._memory

    # -- hooks

    def follow(self) -> None:
        """Follow the parameter to its device and type."""
        before = self.mask, self.dormant
        super().follow()
        if self.mask is not before[0] or self.dormant is not before[1]:
            self._memory = None
        weight = self.parameter
        device, kind = weight.device, _precise(weight.dtype)
        if self.t.device != device or self.t.dtype != kind:
            self.t, self.pulled = self.t.to(device, kind), self.pulled.to(device, kind)
            self.moments = tuple(m.to(device, kind) for m in self.moments)
            self._memory = None

    def attach(self) -> bool:
        """See `MaskedWeight.attach`."""
        new = super().attach()
        if new:
            self._arrival = self.parameter.register_hook(self._before_arrival)
        return new

    def detach(self) -> None:
        """See `MaskedWeight.detach`."""
        super().detach()
        if self._arrival is not None:
            self._arrival.remove()
        self._arrival = None

    @property
    def is_settled(self) -> bool:
        """Whether the parameter is the one that is hooked, where it was."""
        weight = self.parameter
        return (
            self._hooked is weight and self._memory is not None and self._memory.pointer == weight.data_ptr()
        )

    @property
    def is_trained(self) -> bool:
        """Whether the weight gets gradients; without them t stays."""
        return self.parameter.requires_grad

    def __getstate__(self) -> dict[str, Any]:
        """Leave the hooks behind."""
        return super().__getstate__() | {"_arrival": None, "_memory": None}


def show_all(weights: Sequence[PresentWeight]) -> None:
    """`PresentWeight.show` for all, in one call for those that compiled loops do not reach."""
    others = []
    for weight in weights:
        if not weight.shown and not weight.held:
            arrays = weight._arrays(weight.parameter)
            if arrays is None:
                others.append(weight)
            else:
                _, parameter, dormant, _ = arrays.split
                np.add(parameter, dormant, out=parameter)
            weight.shown = True
    if others:
        shown, stored = [w.parameter.data for w in others], [w._stored for w in others]
        with torch.no_grad():
            torch._foreach_add_(shown, stored)  # pyright: ignore[reportPrivateImportUsage]  # no public one


def _precise(kind: torch.dtype) -> torch.dtype:
    """Type of t: a step of 1e-3 is lost in half precision."""
    return kind if kind in (torch.float32, torch.float64) else torch.float32

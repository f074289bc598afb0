"""Keeping the variance of a pre-activation when its fan-in is cut: three forms that are not the same.

With I the full fan-in of a unit and k its fan-in now:

"weight": the whole row, cut values included, carries the factor sqrt(I/k); a refresh multiplies it by the
change of that factor. Magnitudes keep their order within a row. The bias is not scaled.
"incremental": at a refresh, weights that survive it are multiplied by sqrt(k_before/k_after); a weight that
returns has the value it was cut with. The product telescopes to "weight" only while nothing returns.
"forward": weights are left alone and the layer's output, bias included, is multiplied by sqrt(I/k) at every
forward pass; the on-rate of a unit whose inputs do not change stays the same.

All three over-scale a selection by magnitude: the k largest weights hold more than k/I of a row's energy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bbtheory.train.masking import MaskedWeight

FORMS = ("weight", "incremental", "forward")


class Rescaling:
    """Factors of each row of each weight, in one of the three forms."""

    def __init__(self, form: str, weights: Mapping[str, MaskedWeight], unit_dims: Mapping[str, int]):
        self.form = form
        self.weights = dict(weights)
        self.factors: dict[str, torch.Tensor] = {}
        self.hooks: dict[str, _Multiply] = {}
        for name, weight in weights.items():
            parameter = weight.parameter
            self.factors[name] = torch.ones(weight.n_out, dtype=parameter.dtype, device=parameter.device)
            if form == "forward":
                module, parameter_name = weight.owners[0]
                called = isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))
                if (
                    len(weight.owners) > 1
                    or not called
                    or isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear)
                ):
                    raise ValueError(
                        f"rescale must not be 'forward' for {name!r}: {parameter_name} of "
                        f"{type(module).__name__} is not used by a forward pass of its own"
                    )
                self.hooks[name] = _Multiply(self.factors[name], unit_dims[name])
                module.register_forward_hook(self.hooks[name])

    def apply(self, name: str, mask: torch.Tensor) -> None:
        """Put a mask in place and scale for it."""
        weight = self.weights[name]
        before = weight.fan_in().to(torch.float64)
        after = weight.rows(mask).sum(1).to(torch.float64)
        factor = self.factors[name]
        if factor.device != mask.device:
            factor = self.factors[name] = factor.to(mask.device)
            if name in self.hooks:
                self.hooks[name].factor = factor
        if self.form == "incremental":
            change = torch.where((before > 0) & (after > 0), before / after.clamp(min=1), 1.0).sqrt()
            survives = weight.per_weight(weight.mask & mask)
            values = weight.candidates()
            values = torch.where(survives, values * _rows(change.to(values.dtype), values), values)
            weight.set_mask(mask, values)
            factor.mul_(change.to(factor.dtype))
            return
        wanted = torch.where(after > 0, weight.fan_in_limit / after.clamp(min=1), 1.0).sqrt().to(factor.dtype)
        if self.form == "weight":
            values = weight.candidates()
            weight.set_mask(mask, values.mul_(_rows(wanted / factor, values)))
        else:
            weight.set_mask(mask)
        factor.copy_(wanted)

    @torch.no_grad()
    def fold(self) -> None:
        """Take the hooks out; the factor they applied goes into weight and bias, so the function stays."""
        for name, hook in self.hooks.items():
            module = self.weights[name].owners[0][0]
            for key in [k for k, installed in module._forward_hooks.items() if installed is hook]:
                del module._forward_hooks[key]
            weight = self.weights[name].parameter
            weight.data.mul_(_rows(hook.factor, weight))
            if isinstance(bias := getattr(module, "bias", None), torch.Tensor):
                bias.data.mul_(hook.factor)
        self.hooks = {}

    def state(self) -> dict[str, torch.Tensor]:
        """Copies of the factors."""
        return {name: factor.clone() for name, factor in self.factors.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over factors."""
        for name, factor in self.factors.items():
            factor.copy_(state[name])


class _Multiply:
    """A forward hook that multiplies each unit; a copy of the model keeps its own, with its own factor."""

    def __init__(self, factor: torch.Tensor, unit_dim: int):
        self.factor, self.unit_dim = factor, unit_dim

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        factor = self.factor.to(device=output.device, dtype=output.dtype)
        return output * factor.reshape(-1, *[1] * (-self.unit_dim - 1))


def _rows(factor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return factor.reshape(-1, *[1] * (like.dim() - 1))

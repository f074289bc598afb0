"""One prunable weight: its mask, its links seen by rows and by columns, its dormant values, its gradient.

The parameter is zero wherever its mask is False, and stays so at no cost per forward: its gradient is masked
as soon as it is accumulated (before clipping, unscaling and any all-reduce see it), and what an optimizer
remembers of cut weights is cleared. A refresh changes the parameter in place and never replaces it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from bbtheory.train.sharding import check_layout, is_sharded, placed, whole

# below, compiled loops gain less than the half second that loading them takes
_SMALL = 1 << 12

GRANULARITIES = ("weight", "channel")
DORMANT = ("stored", "zero")


class MaskedWeight:
    """A weight (n_out, n_in/groups, *kernel) and the boolean mask of its links, True = kept.

    Attributes
    ----------
    name : str
        Name of the layer.
    owners : list of (module, parameter name)
        Who holds the parameter; more than one where weights are tied. The parameter is looked up anew at
        every use, so that a wrapper may replace it.
    mask : bool tensor
        One byte per link: the parameter's shape, or (n_out, n_in/groups) where a link is a pair of channels
        and lives or dies with its whole kernel. Sharded as the parameter is.
    dormant : tensor or None
        Values of the cut weights, zero at kept ones; None where cut weights are forgotten.
    link_size : int
        Weights per link: 1, or those of a kernel.
    groups : int
    record_gradient : bool
        Whether the gradient that the loss has with respect to cut weights is added to ``dead_gradient``
        before it is masked: for growth by gradient.
    """

    def __init__(
        self,
        name: str,
        owners: Sequence[tuple[nn.Module, str]],
        *,
        groups: int = 1,
        granularity: str = "weight",
        dormant: str = "stored",
    ):
        self.name = name
        self.owners = list(owners)
        self.groups = groups
        weight = self.parameter
        self.by_channel = granularity == "channel" and weight.dim() > 2
        shape = weight.shape[:2] if self.by_channel else weight.shape
        ones = torch.ones(shape, dtype=torch.bool, device=weight.device)
        if is_sharded(weight):
            check_layout(name, weight)
        self.mask = placed(ones, weight)
        self.dormant = torch.zeros_like(weight, requires_grad=False) if dormant == "stored" else None
        self.link_size = weight.numel() // self.mask.numel()
        self.record_gradient = False
        self.dead_gradient: torch.Tensor | None = None
        self._hooked: nn.Parameter | None = None
        self._handle: Any = None
        self._merged = False  # whether dormant holds the kept values too, within a refresh

    # -- the parameter and its links

    @property
    def parameter(self) -> nn.Parameter:
        """The parameter as its first owner holds it now."""
        module, name = self.owners[0]
        return getattr(module, name)

    @property
    def n_out(self) -> int:
        """Rows: units that receive."""
        return self.mask.shape[0]

    @property
    def n_in(self) -> int:
        """Columns: units that send."""
        return self.groups * self.mask.shape[1]

    @property
    def fan_in_limit(self) -> int:
        """Links of a full row."""
        return math.prod(self.mask.shape[1:])

    @property
    def fan_out_limit(self) -> int:
        """Links of a full column."""
        return self.mask.numel() // self.n_in

    @property
    def n_kept(self) -> int:
        """Weights kept."""
        return count_kept(self.mask) * self.link_size

    def rows(self, links: torch.Tensor) -> torch.Tensor:
        """View links by receiving unit, (n_out, fan_in_limit)."""
        return links.reshape(self.n_out, -1)

    def columns(self, links: torch.Tensor) -> torch.Tensor:
        """Copy links by sending unit, (n_in, fan_out_limit)."""
        grouped = links.reshape(self.groups, self.n_out // self.groups, self.mask.shape[1], -1)
        return grouped.transpose(1, 2).reshape(self.n_in, -1)

    def from_columns(self, links: torch.Tensor) -> torch.Tensor:
        """Undo `columns`."""
        grouped = links.reshape(self.groups, self.mask.shape[1], self.n_out // self.groups, -1)
        return grouped.transpose(1, 2).reshape(self.mask.shape)

    def fan_in(self) -> torch.Tensor:
        """Kept links of each receiving unit, (n_out,)."""
        return whole(self.rows(self.mask).sum(1))

    def fan_out(self) -> torch.Tensor:
        """Kept links of each sending unit, (n_in,)."""
        return self.columns(whole(self.mask)).sum(1)

    def per_link(self, weights: torch.Tensor) -> torch.Tensor:
        """Sum a non-negative quantity of weights over each link, in the shape of the mask."""
        return weights.flatten(2).sum(2) if self.by_channel else weights

    def per_weight(self, links: torch.Tensor) -> torch.Tensor:
        """Spread a quantity of links (in the shape of the mask) so that it broadcasts over the weights."""
        return links.reshape(*links.shape, *[1] * (self.parameter.dim() - 2)) if self.by_channel else links

    # -- values

    def candidates(self) -> torch.Tensor:
        """Copy of the values that compete for a place: kept weights, and dormant ones if they are stored."""
        weight = self.parameter.detach()
        if self.dormant is None:
            return weight.clone()
        # either is zero where the other is not, so the sum is exact
        return self.dormant.clone() if self._merged else weight + self.dormant

    def peek(self) -> torch.Tensor:
        """`candidates` to be read only; not copied within a refresh."""
        return self.parameter.detach() if self.dormant is None else self.merge()

    @torch.no_grad()
    def merge(self) -> torch.Tensor:
        """Lay the kept values beside the dormant ones, until `set_mask` or `unmerge`; no memory is taken."""
        if self.dormant is None:
            return self.parameter.detach()
        if not self._merged:
            self.dormant.add_(self.parameter.detach())
            self._merged = True
        return self.dormant

    @torch.no_grad()
    def unmerge(self) -> None:
        """Undo `merge`, bit for bit."""
        if self._merged and self.dormant is not None:
            self.dormant.sub_(self.parameter.detach())
        self._merged = False

    @torch.no_grad()
    def set_mask(self, mask: torch.Tensor, values: torch.Tensor | None = None) -> None:
        """Keep the links of ``mask``: weights take their candidate values there, zero elsewhere.

        Parameters
        ----------
        mask : bool tensor
            In the shape of ``self.mask``.
        values : tensor, optional
            Values of all weights; the `candidates` if not given.

        Raises
        ------
        ValueError
            If the mask is not boolean or has another shape.
        """
        if mask.shape != self.mask.shape or mask.dtype != torch.bool:
            raise ValueError(
                f"mask of {self.name!r} must be boolean of shape {tuple(self.mask.shape)}, "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
        weight, dormant = self.parameter.data, self.dormant
        if values is None and dormant is not None and self.can_exchange and mask.is_contiguous():
            from bbtheory.train import masking_kernel

            old, new = self.mask.view(torch.uint8), mask.view(torch.uint8)
            masking_kernel.exchange(*map(_flat, (old, new, weight, dormant)))
            self.mask.copy_(mask)
            return
        values = self.merge() if values is None else values
        self.mask.copy_(mask)
        torch.mul(values, self._factor(), out=weight)
        if dormant is not None:
            torch.sub(values, weight, out=dormant)
        self._merged = False

    @torch.no_grad()
    def enforce(self) -> None:
        """Set cut weights to zero, where something from outside has moved them."""
        self.clear_cut(self.parameter.data)

    def clear_cut(self, values: torch.Tensor) -> None:
        """Set to zero, in place, what belongs to cut weights."""
        if self._compiled(values):
            from bbtheory.train import masking_kernel

            masking_kernel.clear(_flat(values), _flat(self._factor()))
        else:
            values.mul_(self._factor())

    @torch.no_grad()
    def leaks(self) -> bool:
        """Whether a cut weight is not zero."""
        # compared before it is masked: NaN counts as a leak where it is cut, and not where it is kept
        return bool(whole(self.parameter.detach().ne(0).mul(1 - self._factor()).any()))

    @torch.no_grad()
    def settle(self) -> bool:
        """Set cut weights to zero, had something else written there; return whether all are finite."""
        weight = self.parameter.data
        if self._compiled(weight):
            from bbtheory.train import masking_kernel

            return bool(masking_kernel.settle(_flat(weight), _flat(self._factor())))
        self.enforce()
        # one pass; a sum of finite numbers can overflow, so only a bad one is looked into
        if math.isfinite(float(whole(weight.sum(dtype=torch.float32)))):
            return True
        return bool(whole(torch.isfinite(weight).all()))

    def _factor(self) -> torch.Tensor:
        """The mask as 0 and 1 over the weights; multiplying by bytes is four times as fast as by bools."""
        return self.per_weight(self.mask.view(torch.uint8))

    @property
    def can_exchange(self) -> bool:
        """Whether weights and dormant values may change places where they lie, without being merged."""
        weight, dormant = self.parameter.detach(), self.dormant
        return dormant is not None and not self._merged and self._compiled(weight) and self._compiled(dormant)

    def _compiled(self, values: torch.Tensor) -> bool:
        """Whether compiled loops may run over values of the weights, and gain more than they cost."""
        return (
            values.device.type == "cpu"
            and values.dtype in (torch.float32, torch.float64)
            and values.shape == self.mask.shape
            and values.numel() >= _SMALL
            and values.is_contiguous()
            and self.mask.is_contiguous()
            and not is_sharded(values)
            and not torch.compiler.is_compiling()
        )

    # -- hooks

    def follow(self) -> None:
        """Follow the parameter to its device, type and shards.

        Raises
        ------
        ValueError
            If it is sharded in another way than by rows.
        """
        weight = self.parameter
        if is_sharded(weight) != is_sharded(self.mask):
            self._move_rows(weight)
        if self.mask.device != weight.device:
            self.mask = self.mask.to(weight.device)
        if self.dormant is not None and (
            self.dormant.device != weight.device or self.dormant.dtype != weight.dtype
        ):
            self.dormant = self.dormant.to(weight.device, weight.dtype)

    def attach(self) -> bool:
        """Follow the parameter, and mask the gradient that it has from now on; return whether that is new.

        Raises
        ------
        ValueError
            If another pruner masks it, or it is sharded in another way than by rows.
        """
        self.follow()
        weight = self.parameter
        if self._hooked is not weight:
            self.detach()
            if not weight.requires_grad:  # frozen: hooked once it is trained
                return False
            if any(self._is_masking(hook) for hook in (weight._post_accumulate_grad_hooks or {}).values()):
                raise ValueError(
                    f"model must not be pruned already, got a weight {self.name!r} that another pruner "
                    "masks: call its remove() first"
                )
            self._handle = weight.register_post_accumulate_grad_hook(self._mask_gradient)
            self._hooked = weight
            return True
        return False

    @staticmethod
    def _is_masking(hook: Any) -> bool:
        return isinstance(getattr(hook, "__self__", None), MaskedWeight)

    def _move_rows(self, weight: torch.Tensor) -> None:
        """Take the layout of a parameter that was sharded, or gathered, since."""
        if is_sharded(weight):
            check_layout(self.name, weight)
        self.mask = placed(self.mask, weight)
        if self.dormant is not None:
            self.dormant = placed(self.dormant, weight)
        if self.dead_gradient is not None:
            self.dead_gradient = placed(self.dead_gradient, weight)

    def detach(self) -> None:
        """Leave the parameter's gradient alone from now on."""
        if self._handle is not None:
            self._handle.remove()
        self._handle, self._hooked = None, None

    @torch.no_grad()
    def _mask_gradient(self, weight: torch.Tensor) -> None:
        gradient = weight.grad
        if gradient is None:
            return
        if self.mask.device != gradient.device:  # the model was moved after the pruner was made
            self.mask = self.mask.to(gradient.device)
        if self.record_gradient:
            # accumulated gradients of cut weights are zero, so this is what the last backward pass added
            dead = gradient * (1 - self._factor())
            self.dead_gradient = dead if self.dead_gradient is None else self.dead_gradient.add_(dead)
        self.clear_cut(gradient)

    def take_dead_gradient(self) -> torch.Tensor | None:
        """Return the recorded gradient of cut weights (zero at kept ones) and forget it."""
        taken, self.dead_gradient = self.dead_gradient, None
        return taken

    def drop_broken_gradient(self) -> None:
        """Forget a recorded gradient that is not finite: its step was skipped."""
        if self.dead_gradient is not None and not bool(whole(torch.isfinite(self.dead_gradient).all())):
            self.dead_gradient = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the hook behind: hooks of parameters are not copied, a copy attaches anew."""
        return {**self.__dict__, "_handle": None, "_hooked": None}


def _flat(values: torch.Tensor) -> np.ndarray:
    """View the memory of a contiguous tensor as one axis."""
    return values.detach().view(-1).numpy()


def count_kept(mask: torch.Tensor) -> int:
    """Count the True entries of a mask, on the CPU ten times as fast as a sum."""
    if mask.device.type == "cpu" and not is_sharded(mask):
        return int(np.count_nonzero(mask.numpy()))
    return int(whole(torch.count_nonzero(mask)))

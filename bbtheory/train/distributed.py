"""Training in several processes: on-rates and recorded gradients of all of them, masks equal on all of them.

With data parallelism every process sees other samples. On-rates S/N (see activity.py) and gradients for
growth are summed over all processes at every refresh; weights, the generator's seed and the order of ties are
equal already, so each process chooses the same masks by itself. Nothing has to be configured: processes are
found when ``torch.distributed`` is initialised.

    pruner.reduce = sum_over_processes      the default: all processes
    pruner.reduce = Processes(group)        those of one group
    pruner.reduce = alone                   this process prunes for itself, as in a sweep of separate runs

A gradient is masked before DistributedDataParallel averages, on every process, so the average is masked too.
The pruner may be made before or after the model is wrapped; made after, it looks inside the wrapper, and its
names are those of the plain model.

Under FSDP2 masks are sharded by rows with their weights (sharding.py), for rules that choose row by row:
SP-in, and ``allocation="row"`` of `Pruner`. SP-out, choices over a layer or the network, and rescales are
refused.

A state is of one process: sums S and N are its own. Let each process save its own, or call
``pruner.pool_statistics()`` on all processes before one of them saves for all. A sharded pruner does so by
itself in ``state_dict()``, which all processes then have to call, as ``torch.distributed.checkpoint.save``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn

from bbtheory.train.sharding import is_sharded

if TYPE_CHECKING:
    from bbtheory.train.masked_model import MaskedModel

Reduce = Callable[[list[torch.Tensor]], None]


def n_processes(group: Any = None) -> int:
    """Processes of a group, of all by default; 1 where ``torch.distributed`` is not initialised."""
    return dist.get_world_size(group) if dist.is_available() and dist.is_initialized() else 1


class Processes:
    """Sums tensors over the processes of a group, in place; all of them must call it with the same shapes.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        All processes by default.
    """

    def __init__(self, group: Any = None):
        self.group = group

    def __call__(self, tensors: list[torch.Tensor]) -> None:
        """Sum each tensor over the processes: one message for each type of number and device."""
        if n_processes(self.group) == 1:
            return
        for kind in dict.fromkeys((t.dtype, t.device) for t in tensors):
            same = [t for t in tensors if (t.dtype, t.device) == kind]
            flat = torch.cat([t.reshape(-1) for t in same]).to(self._device(kind[1]))
            dist.all_reduce(flat, group=self.group)
            for tensor, total in zip(same, flat.split([t.numel() for t in same]), strict=True):
                tensor.copy_(total.reshape(tensor.shape))

    def _device(self, device: torch.device) -> torch.device:
        """Return where a message has to lie: NCCL sends from CUDA alone."""
        if device.type == "cpu" and dist.get_backend(self.group) == "nccl":
            return torch.device("cuda", torch.cuda.current_device())
        return device

    def __deepcopy__(self, memo: dict[int, Any]) -> Processes:
        return self  # a group of processes is one thing, whoever uses it


sum_over_processes = Processes()


def alone(tensors: list[torch.Tensor]) -> None:
    """Sum over this process only: leave all as it is."""


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside DistributedDataParallel, DataParallel and torch.compile."""
    while True:
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif isinstance(inner := model._modules.get("_orig_mod"), nn.Module):
            model = inner
        else:
            return model


def check_agreement(masked: MaskedModel, group: Any = None) -> None:
    """Check that masks and the generator are the same in all processes; all of them must call it.

    Parameters
    ----------
    masked : MaskedModel
    group : torch.distributed.ProcessGroup, optional
        All processes by default.

    Raises
    ------
    ValueError
        In every process, naming the first layer whose masks differ. A sharded mask exists once and is not
        compared.
    """
    if n_processes(group) == 1:
        return
    masks = {name: weight.mask for name, weight in masked.weights.items()}
    hashes = {f"masks of layer {n!r}": _hash(mask) for n, mask in masks.items() if not is_sharded(mask)}
    generator = getattr(masked, "generator", None)
    if generator is not None:
        hashes["random generators"] = _hash(generator.get_state())
    # the smallest of h and of -h: equal and opposite where all have the same
    own = torch.tensor([[h, -h] for h in hashes.values()], dtype=torch.int64)
    least = own.to("cuda") if dist.get_backend(group) == "nccl" else own.clone()
    dist.all_reduce(least, op=dist.ReduceOp.MIN, group=group)
    for what, (low, minus_high) in zip(hashes, least.tolist(), strict=True):
        if low != -minus_high:
            raise ValueError(f"{what} must be the same in all processes, got different ones")


def _hash(tensor: torch.Tensor) -> int:
    """63 bits that tell tensors apart."""
    content = tensor.detach().to("cpu").contiguous().view(torch.uint8).numpy()
    return int.from_bytes(hashlib.blake2b(content.data, digest_size=8).digest(), "big") >> 1

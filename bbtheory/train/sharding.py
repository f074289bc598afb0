"""Weights whose rows are spread over processes, as ``fully_shard`` (FSDP2) leaves them: DTensor, Shard(0).

Masks and dormant values of such a weight are DTensors of the same layout, so a process holds one byte for
each weight of its own rows, element-wise operations need no communication, and
``torch.distributed.checkpoint`` saves and re-shards them like the weights. What is chosen row by row is
chosen locally; what competes across rows would have to be gathered first and is refused.

``item()``, float() and bool() of a reduced DTensor read this process's part alone: `whole` comes first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bbtheory.train.selection import keep_largest


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a DTensor; torch.distributed.tensor is not imported to find out."""
    return hasattr(tensor, "placements")


def check_layout(name: str, tensor: Any) -> None:
    """Refuse a DTensor that is not sharded by rows.

    Raises
    ------
    ValueError
        If it is sharded along another axis, or twice.
    """
    placements = tuple(tensor.placements)
    rows = [p for p in placements if p.is_shard(0) and "Strided" not in type(p).__name__]
    if len(rows) != 1 or len(rows) + sum(p.is_replicate() for p in placements) != len(placements):
        raise ValueError(
            f"weight of layer {name!r} must be sharded by rows, once (Shard(0), else Replicate), "
            f"got {placements}"
        )


def whole(tensor: Any) -> torch.Tensor:
    """Gather a tensor from its processes; a plain one is returned as it is."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def own_rows(tensor: torch.Tensor, like: Any) -> torch.Tensor:
    """Of a plain tensor that all processes have alike, return the rows that this one holds of ``like``."""
    axis = next(i for i, p in enumerate(like.placements) if p.is_shard(0))
    parts = tensor.chunk(like.device_mesh.size(axis))
    own = like.device_mesh.get_local_rank(axis)
    return parts[own] if own < len(parts) else tensor[:0]


def placed(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a tensor in the layout of another one, whichever of the two is sharded; of the same rows."""
    if is_sharded(tensor) == is_sharded(like):
        return tensor
    return _joined(own_rows(tensor, like), like, tensor) if is_sharded(like) else whole(tensor)


def keep_rows(
    score: torch.Tensor,
    counts: torch.Tensor,
    *,
    magnitude: bool = False,
    other: torch.Tensor | None = None,
) -> torch.Tensor:
    """`keep_largest` within rows (n_rows, n_columns), each process in its own; counts are of all rows."""
    if not is_sharded(score):
        return keep_largest(score, counts, magnitude=magnitude, other=other)
    if other is not None:
        score = score + other
    sharded: Any = score  # a DTensor, whose module is not imported for plain tensors
    local = sharded.to_local()
    mask = keep_largest(local, own_rows(counts, score), magnitude=magnitude)
    return _joined(mask, score, score)


def reshard(model: nn.Module) -> None:
    """Give up gathered weights: after a forward pass without a backward pass FSDP keeps some of them."""
    for module in model.modules():
        give_up = getattr(module, "reshard", None)
        if callable(give_up) and hasattr(module, "unshard"):
            give_up()


def _joined(local: torch.Tensor, like: Any, shaped: torch.Tensor) -> torch.Tensor:
    from torch.distributed.tensor import DTensor

    shape = shaped.shape
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(
        local.contiguous(), like.device_mesh, like.placements, run_check=False, shape=shape, stride=stride
    )

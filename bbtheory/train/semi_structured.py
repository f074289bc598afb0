"""2:4 weights in the storage of sparse tensor cores, through torch alone, and what they gain on this device.

Nothing is promised: on many shapes 2:4 is slower than dense. `measure_semi_structured` says for one shape.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bbtheory import validate
from bbtheory.records import Record

_CAPABILITY = (8, 0)  # sparse tensor cores came with Ampere
_TYPES = (torch.float16, torch.bfloat16)
_ROWS, _COLUMNS = 32, 64  # multiples that the kernels for two-byte floats take


def to_semi_structured(weight: Tensor, mask: Tensor) -> Tensor:
    """Return the masked weight in 2:4 storage: half its numbers and two bits for each.

    The result takes the place of a Linear's weight: ``linear.weight = torch.nn.Parameter(result)``; it is for
    inference.

    Parameters
    ----------
    weight : Tensor, shape (n_out, n_in)
        float16 or bfloat16 on a CUDA device of capability 8.0 or higher; n_out a multiple of 32, n_in of 64.
    mask : Tensor of bool, shape (n_out, n_in)
        At most 2 of every 4 neighbours of a row, as `project_to_groups` makes it.

    Returns
    -------
    Tensor
        torch's semi-structured sparse tensor.

    Raises
    ------
    ValueError
        If the mask is not 2:4, or the device, dtype or shape is none that torch's kernels take.
    """
    validate.instance("weight", weight, Tensor)
    validate.instance("mask", mask, Tensor)
    if weight.ndim != 2 or weight.shape[0] % _ROWS or weight.shape[1] % _COLUMNS or not weight.numel():
        raise ValueError(
            f"weight must have a multiple of {_ROWS} rows and of {_COLUMNS} columns, "
            f"got shape {tuple(weight.shape)}"
        )
    if mask.dtype != torch.bool or mask.shape != weight.shape:
        raise ValueError(
            f"mask must be bool of shape {tuple(weight.shape)}, got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    most = int(mask.reshape(-1, 4).sum(1).max())
    if most > 2:
        raise ValueError(f"mask must keep at most 2 of every 4 neighbours, got {most}")
    if weight.dtype not in _TYPES:
        raise ValueError(f"weight must be float16 or bfloat16, got {weight.dtype}")
    if not weight.is_cuda:
        raise ValueError(f"weight must be on a CUDA device with sparse tensor cores, got {weight.device}")
    capability = torch.cuda.get_device_capability(weight.device)
    if capability < _CAPABILITY:
        raise ValueError(f"weight must be on a CUDA device of capability 8.0 or higher, got {capability}")
    from torch.sparse import to_sparse_semi_structured

    try:
        return to_sparse_semi_structured(weight.detach() * mask)
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"weight must be one that torch stores as 2:4 on this device, got {weight.dtype} of shape "
            f"{tuple(weight.shape)}: {error}"
        ) from error


@dataclass(frozen=True, eq=False)
class SemiStructuredTiming(Record):
    """Dense and 2:4 product of one layer, timed in turn on one device."""

    KIND: ClassVar[str] = "semi-structured-timing"

    device: str
    shape: tuple[int, int]
    """n_out, n_in."""
    n_inputs: int
    dense_s: float
    """Median time of one dense product, seconds."""
    sparse_s: float
    """Median time of one 2:4 product, seconds."""
    ratio: float
    """Median of dense time / sparse time over the pairs: above 1 the 2:4 product is faster."""
    low: float
    """Smallest of these ratios."""
    high: float
    """Largest of these ratios."""
    n: int
    """Pairs."""
    difference: float
    """Largest |sparse - dense| over the largest |dense|."""


def measure_semi_structured(
    weight: Tensor, mask: Tensor, n_inputs: int = 4096, *, n_repeats: int = 31
) -> SemiStructuredTiming:
    """Time one layer's product with the masked weight stored densely and as 2:4, in turn.

    Parameters
    ----------
    weight, mask : Tensor
        As `to_semi_structured` takes them.
    n_inputs : int
        Rows of the input, drawn normally; a multiple of 64.
    n_repeats : int
        Timed pairs, after one that is not.

    Returns
    -------
    SemiStructuredTiming

    Raises
    ------
    ValueError
        As `to_semi_structured`, and if ``n_inputs`` is no multiple of 64 or ``n_repeats`` below 1.
    """
    n_inputs = validate.integer("n_inputs", n_inputs, "[1, inf)")
    if n_inputs % _COLUMNS:
        raise ValueError(f"n_inputs must be a multiple of {_COLUMNS}, got {n_inputs}")
    n_repeats = validate.integer("n_repeats", n_repeats, "[1, inf)")
    sparse = to_semi_structured(weight, mask)
    dense = weight.detach() * mask
    generator = torch.Generator(weight.device).manual_seed(0)
    inputs = torch.randn(
        (n_inputs, weight.shape[1]), generator=generator, device=weight.device, dtype=weight.dtype
    )
    linear = torch.nn.functional.linear
    with torch.no_grad():
        want, got = linear(inputs, dense).double(), linear(inputs, sparse).double()
        pairs = [
            (_seconds(lambda: linear(inputs, dense)), _seconds(lambda: linear(inputs, sparse)))
            for _ in range(n_repeats)
        ]
    ratios = [slow / fast for slow, fast in pairs]
    return SemiStructuredTiming(
        device=torch.cuda.get_device_name(weight.device),
        shape=(weight.shape[0], weight.shape[1]),
        n_inputs=n_inputs,
        dense_s=statistics.median(slow for slow, _ in pairs),
        sparse_s=statistics.median(fast for _, fast in pairs),
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        n=n_repeats,
        difference=float((got - want).abs().max() / want.abs().max()),
    )


def _seconds(call: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start

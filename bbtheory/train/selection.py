"""Which links are kept: exactly the largest so many of each row, each column, or all layers together.

One definition, three roads: compiled loops over the tensor's own memory on the CPU, one kernel per row on
CUDA, plain tensor operations everywhere else. They agree bit for bit, ties included, so that a mask depends
neither on the machine nor on the road.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import torch
from torch import Tensor

from bbtheory import validate

# the integer type as wide as each float type, which holds its bits
_BITS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
}
# below, the compiled loops gain less than the half second that loading them takes
_SMALL = 1 << 12


def keep_largest(
    score: Tensor,
    counts: Tensor | int,
    *,
    dim: int = 1,
    magnitude: bool = False,
    other: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Keep exactly the largest so many scores of each row: sum_j mask[r, j] = counts[r].

    Scores are compared by value: infinities are numbers as any other, -0 equals 0. Of equal scores those at
    the lowest index are kept. The result is the same on every device, bit for bit.

    Parameters
    ----------
    score : Tensor, shape (n_rows, n_columns)
        Larger = keep; float64, float32, bfloat16 or float16, without NaN. Only read, and without a copy
        where it or its transpose is contiguous.
    counts : Tensor of integers, shape (n_rows,) for ``dim=1``, (n_columns,) for ``dim=0``, or int
        How many to keep, in [0, n_columns], for ``dim=0`` in [0, n_rows]; one number holds for all.
    dim : int
        The axis along which scores compete: 1, within each row (a unit's fan-in), or 0, within each column
        (its fan-out).
    magnitude : bool
        Compare |score| in place of score; no array of magnitudes is made.
    other : Tensor, optional
        Of the shape, type and device of ``score``, and zero wherever that is not: their sum is compared. On
        the CPU no array of sums is made where magnitudes are compared and both are contiguous.
    out : Tensor of bool, shape (n_rows, n_columns), optional
        Where to write the mask. If a NaN is met its content is undefined.

    Returns
    -------
    Tensor of bool, shape (n_rows, n_columns)
        True = kept; ``out`` if given.

    Raises
    ------
    ValueError
        If ``score`` is no matrix of floats or holds a NaN, if ``counts`` are no integers, too many or too
        few of them or out of range, if ``dim`` is neither 0 nor 1, if ``other`` or ``out`` does not fit.

    Notes
    -----
    On an accelerator one call waits for the device twice, for the checks of ``counts`` and of NaN.
    """
    _check_floats("score", score)
    if score.ndim != 2:
        raise ValueError(f"score must have 2 axes, got shape {tuple(score.shape)}")
    dim = validate.integer("dim", dim, "[0, 1]")
    counts = clean_counts("counts", counts, score.shape[1 - dim], score.shape[dim], score.device)
    if out is not None and (out.shape, out.dtype, out.device) != (score.shape, torch.bool, score.device):
        raise ValueError(
            f"out must be a bool tensor of shape {tuple(score.shape)} on {score.device}, "
            f"got {out.dtype} of shape {tuple(out.shape)} on {out.device}"
        )
    score = score.detach()
    if other is not None:
        if (other.shape, other.dtype, other.device) != (score.shape, score.dtype, score.device):
            raise ValueError(
                f"other must be as score is, {score.dtype} of shape {tuple(score.shape)} on {score.device}, "
                f"got {other.dtype} of shape {tuple(other.shape)} on {other.device}"
            )
        other = other.detach()
        if not (magnitude and _is_compiled(score) and score.is_contiguous() and other.is_contiguous()):
            score, other = score + other, None
    turned = score.t().is_contiguous() and not score.is_contiguous()
    if turned:  # the rows of a transposed tensor are columns in memory
        score, dim = score.t(), 1 - dim
    score = score.contiguous()
    target = None if out is None else out.t() if turned else out
    mask = (
        target if target is not None and target.is_contiguous() else torch.empty_like(score, dtype=torch.bool)
    )
    line = _select(score, other, counts, dim, magnitude, mask) if score.numel() else -1
    if line >= 0:
        raise ValueError(f"score must be numbers, got nan in {'row' if dim != turned else 'column'} {line}")
    if target is not None and target is not mask:
        target.copy_(mask)
    if out is not None:
        return out
    return mask.t() if turned else mask


def keep_largest_overall(scores: Sequence[Tensor], count: int, *, magnitude: bool = False) -> list[Tensor]:
    """Keep exactly the ``count`` largest scores of all tensors together: sum_l sum mask_l = count.

    Of equal scores those of the first tensor are kept, in it those at the lowest index (row by row). Scores
    of different float types are compared by value.

    Parameters
    ----------
    scores : sequence of Tensor, any shapes
        Larger = keep; float64, float32, bfloat16 or float16, without NaN; on any devices.
    count : int
        How many to keep, in [0, total number of scores].
    magnitude : bool
        Compare |score| in place of score.

    Returns
    -------
    list of Tensor of bool
        One mask for each tensor, in its shape and on its device.

    Raises
    ------
    ValueError
        If ``scores`` is empty, holds anything but tensors of floats, or a NaN, or if ``count`` is out of
        range.
    """
    if not scores:
        raise ValueError("scores must hold at least one tensor, got none")
    for index, score in enumerate(scores):
        _check_floats(f"scores[{index}]", score)
    count = validate.integer("count", count, f"[0, {sum(score.numel() for score in scores)}]")
    kind = scores[0].dtype
    for score in scores:
        kind = torch.promote_types(kind, score.dtype)
    flat = [score.detach().to(kind).reshape(-1) for score in scores]
    masks = [torch.empty(part.shape, dtype=torch.bool, device=part.device) for part in flat]
    if all(part.device.type == "cpu" for part in flat) and sum(part.numel() for part in flat) >= _SMALL:
        from bbtheory.train import selection_kernel

        parts = [part.view(_BITS[kind]).numpy() for part in flat]
        outs = [mask.numpy() for mask in masks]
        index = selection_kernel.select_overall(parts, count, _infinity(kind), magnitude, outs)
    else:
        index = _bisect_overall(flat, count, magnitude, masks)
    if index >= 0:
        raise ValueError(f"scores[{index}] must be numbers, got nan")
    return [mask.reshape(score.shape) for mask, score in zip(masks, scores, strict=True)]


def _check_floats(name: str, score: Tensor) -> None:
    validate.instance(name, score, Tensor)
    if score.dtype not in _BITS:
        raise ValueError(f"{name} must be float64, float32, bfloat16 or float16, got {score.dtype}")


def clean_counts(name: str, counts: Tensor | int, n_lines: int, n: int, device: torch.device) -> Tensor:
    """Return one count in [0, n] for each of the lines, int64."""
    if not isinstance(counts, Tensor):
        return torch.full((n_lines,), validate.integer(name, counts, f"[0, {n}]"), device=device)
    if counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool:
        raise ValueError(f"{name} must be integers, got {counts.dtype}")
    if counts.shape != (n_lines,):
        raise ValueError(f"{name} must have shape ({n_lines},), got {tuple(counts.shape)}")
    if n_lines:
        low, high = torch.stack(counts.detach().aminmax()).tolist()
        if low < 0 or high > n:
            raise ValueError(f"{name} must be integers in [0, {n}], got {low if low < 0 else high}")
    return counts.to(device=device, dtype=torch.int64).contiguous()


def _infinity(kind: torch.dtype) -> int:
    return int(torch.tensor(torch.inf, dtype=kind).view(_BITS[kind]))


def _is_compiled(score: Tensor) -> bool:
    return score.device.type == "cpu" and score.numel() >= _SMALL


def _select(
    score: Tensor, other: Tensor | None, counts: Tensor, dim: int, magnitude: bool, mask: Tensor
) -> int:
    """Fill ``mask``, contiguous as ``score`` is; return the row or column with a NaN, or -1."""
    kind = score.dtype
    if _is_compiled(score):
        from bbtheory.train import selection_kernel

        select = selection_kernel.select_rows if dim else selection_kernel.select_columns
        bits = score.view(_BITS[kind]).numpy()
        rest = bits if other is None else other.view(_BITS[kind]).numpy()
        return select(bits, rest, counts.numpy(), bits.dtype.type(_infinity(kind)), magnitude, mask.numpy())
    if score.is_cuda and importlib.util.find_spec("triton") is not None:
        from bbtheory.train import selection_triton_kernel

        if score.shape[dim] <= selection_triton_kernel.LONGEST:
            # a turned copy costs two passes; reading columns in place would fetch each line many times
            rows = score if dim else score.t().contiguous()
            kept = mask if dim else torch.empty_like(rows, dtype=torch.bool)
            bits = rows.view(_BITS[kind])
            line = selection_triton_kernel.select_rows(bits, counts, _infinity(kind), magnitude, kept)
            if not dim:
                mask.copy_(kept.t())
            return line
    return _sort(score, counts, dim, magnitude, mask)


def _sort(score: Tensor, counts: Tensor, dim: int, magnitude: bool, mask: Tensor) -> int:
    """`_select` by plain tensor operations: a stable sort leaves equal scores in the order of their index."""
    nan = score.isnan().any(dim)
    if bool(nan.any()):
        return int(nan.to(torch.int8).argmax())
    competing = score.abs() if magnitude else score
    order = competing.sort(dim=dim, descending=True, stable=True).indices
    rank = torch.arange(score.shape[dim], device=score.device)
    first = rank < counts[:, None] if dim else rank[:, None] < counts
    mask.scatter_(dim, order, first.expand_as(order))
    return -1


def _bisect_overall(flat: list[Tensor], count: int, magnitude: bool, masks: list[Tensor]) -> int:
    """Fill ``masks`` by plain tensor operations, without a copy of all scores; return the part with a NaN."""
    kind = flat[0].dtype
    largest = torch.iinfo(_BITS[kind]).max
    for index, part in enumerate(flat):
        if bool(part.isnan().any()):
            return index
    keys = []
    for part in flat:
        bits = part.view(_BITS[kind])
        size = bits & largest
        keys.append(size if magnitude else torch.where(bits < 0, -size, size))
    # at least count keys reach low, fewer reach high: but for count 0, which no low has to serve
    low, high = -_infinity(kind), _infinity(kind) + 1
    while low + 1 < high:
        middle = (low + high) // 2
        if sum(int((key >= middle).sum()) for key in keys) >= count:
            low = middle
        else:
            high = middle
    quota = count - sum(int((key > low).sum()) for key in keys)
    for key, mask in zip(keys, masks, strict=True):
        tied = key == low
        mask.copy_((key > low) | (tied & (tied.cumsum(0) <= quota)))
        quota -= min(int(tied.sum()), max(quota, 0))
    return -1

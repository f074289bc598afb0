"""The selection of selection.py on CUDA: one program per row, held in registers, read once and written once.

The same bisection over the bits of the numbers as in selection_kernel.py.
"""

from __future__ import annotations

import torch
import triton  # pyright: ignore[reportMissingImports]  # comes with builds of torch for CUDA
import triton.language as tl  # pyright: ignore[reportMissingImports]

LONGEST = 1 << 15  # numbers in a row: 32 keys in the registers of each of 1024 threads


@triton.jit
def _select_row(
    bits_pointer,
    counts_pointer,
    kept_pointer,
    nan_pointer,
    n,
    INFINITY: tl.constexpr,
    LARGEST: tl.constexpr,
    MAGNITUDE: tl.constexpr,
    KEY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    inside = place < n
    bits = tl.load(bits_pointer + row * n + place, mask=inside, other=0).to(KEY)
    size = bits & LARGEST  # all bits but the sign
    tl.store(nan_pointer + row, (tl.max(size, 0) > INFINITY).to(tl.int8))
    key = size
    if not MAGNITUDE:
        key = tl.where(bits < 0, -size, size)
    high = tl.max(tl.where(inside, key, -LARGEST), 0) + 1
    low = tl.min(tl.where(inside, key, LARGEST), 0)
    key = tl.where(inside, key, -LARGEST)  # below -inf: no middle reaches down to it

    count = tl.load(counts_pointer + row)
    # all keys reach low, none reaches high; ``reached`` of them reach low
    low = tl.where(count == 0, high, low)
    reached = tl.where(count == 0, count, count * 0 + n)
    while (reached != count) & (low + 1 < high):
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        found = tl.sum((key >= middle).to(tl.int32), 0)
        enough = found >= count
        low = tl.where(enough, middle, low)
        reached = tl.where(enough, found, reached)
        high = tl.where(enough, high, middle)

    keep = key >= low
    if reached > count:  # one value is tied: its first places are kept
        tied = key == low
        number = tl.cumsum(tied.to(tl.int32), 0)
        keep = (key > low) | (tied & (number <= count - tl.sum((key > low).to(tl.int32), 0)))
    tl.store(kept_pointer + row * n + place, keep.to(tl.int8), mask=inside)


def select_rows(
    bits: torch.Tensor, counts: torch.Tensor, infinity: int, magnitude: bool, out: torch.Tensor
) -> int:
    """Keep the ``counts[r]`` largest of each row of at most `LONGEST` numbers; as in selection_kernel.py.

    ``bits`` and ``out`` are contiguous.
    """
    n_rows, n = bits.shape
    block = triton.next_power_of_2(n)
    nan = torch.empty(n_rows, dtype=torch.int8, device=bits.device)
    with torch.cuda.device_of(bits):
        _select_row[(n_rows,)](  # pyright: ignore[reportIndexIssue]  # how a grid is given
            bits,
            counts.to(torch.int32),
            out.view(torch.int8),
            nan,
            n,
            INFINITY=infinity,
            LARGEST=torch.iinfo(bits.dtype).max,
            MAGNITUDE=magnitude,
            KEY=tl.int64 if bits.dtype == torch.int64 else tl.int32,
            BLOCK=block,
            num_warps=min(max(block // 512, 1), 32),
        )
    row = int(nan.argmax())
    return row if int(nan[row]) else -1

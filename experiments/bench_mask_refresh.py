"""How long does an exact mask refresh take, beside the authors' loop over rows and one pass over the weights?

Source: none for ours. The peer "loop over rows" restates the mask of the Budgeted Broadcast authors' public
layer: one torch.topk of the largest count for all rows, then a Python loop that takes the first counts[r]
indices of row r. As published the topk is unsorted, so that its first indices are not the largest;
``exactness`` counts the rows that come out wrong. "Sorted" is the same with a sorted topk, which is right.
The floor is ``w.abs() >= t`` in torch, one pass with one threshold for all. Ours writes into the mask that is
there, as a refresh does, unless a case says "a new mask".

Time: 4 min on one core (CPU preset); the GPU preset seconds on one card. What would count against the
selection, on one thread, at 4096 x 1024 with counts in 16..511 and at 14336 x 4096: a mask that differs
from that of a sort, less than 15 times the speed of the loop over rows (ratio below 15), more than two
floors (ratio below 0.5); on CUDA at 14336 x 4096 more than three reads of the weights (ratio below 0.33).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from bbtheory import validate
from bbtheory.records import Record
from experiments._timing import Row, interleaved
from experiments.protocol import NotRun, Progress

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = ("uniform", "heavy_tailed", "tied", "bfloat16")
THRESHOLD = 0.01  # of the floor; which one it is costs nothing


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    shapes : tuple of (int, int)
        Rows and columns of the weights.
    min_count : int
        Smallest count; the largest is half a row, exclusive.
    device : str
        "cpu" (one thread) or "cuda".
    n_repeats : int
        Timed pairs of ours and peer.
    seeds : tuple of int
        The first draws weights and counts.
    """

    shapes: tuple[tuple[int, int], ...] = ((4096, 1024), (14336, 4096))
    min_count: int = 16
    device: str = "cpu"
    n_repeats: int = 15
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        validate.integer("min_count", self.min_count, "[0, inf)")
        for shape in self.shapes:
            validate.integer("shapes", min(shape), f"[{2 * self.min_count + 2}, inf)")
        validate.choice("device", self.device, ("cpu", "cuda"))
        validate.integer("n_repeats", self.n_repeats, "[7, inf)")


SMOKE = Config(shapes=((256, 160),), n_repeats=7)
CPU = Config(n_repeats=7)
GPU = Config(device="cuda")


@dataclass(frozen=True, eq=False)
class Exactness(Record):
    """Masks against those of a stable sort, the definition: ties to the lowest index."""

    KIND: ClassVar[str] = "bench_mask_refresh-exactness"

    case: str
    n_rows: int
    wrong_rows: int
    """Rows in which our mask differs."""
    published_wrong_rows: int
    """Rows in which the loop over rows as published keeps other magnitudes than the largest."""
    published_wrong_bits: float
    """Fraction of its bits that differ."""
    sorted_wrong_rows: int
    """Rows in which the loop with a sorted topk keeps other magnitudes than the largest."""


@dataclass(frozen=True, eq=False)
class Result(Record):
    """Timings, and which masks are right."""

    KIND: ClassVar[str] = "bench_mask_refresh"

    rows: tuple[Row, ...]
    exactness: tuple[Exactness, ...]


def loop_over_rows(weight: Tensor, counts: Tensor, *, in_order: bool) -> Tensor:
    """Return the mask of the authors' layer; as published ``in_order`` is False."""
    import torch

    indices = weight.abs().topk(int(counts.max()), dim=1, sorted=in_order).indices
    mask = torch.zeros_like(weight, dtype=torch.bool)
    for row, count in enumerate(counts.tolist()):
        mask[row, indices[row, :count]] = True
    return mask


def run(config: Config, progress: Progress) -> Result:
    """Time every case."""
    import torch

    if config.device == "cuda" and not torch.cuda.is_available():
        raise NotRun("a CUDA device")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        progress.total(len(config.shapes) * len(WEIGHTS))
        rows: list[Row] = []
        exactness: list[Exactness] = []
        for shape in config.shapes:
            for kind in WEIGHTS:
                weight, counts = _draw(config, shape, kind)
                case = f"{shape[0]} x {shape[1]}, {kind}"
                exactness.append(_exactness(case, weight, counts[0]))
                rows.extend(_timed(config, case, weight, counts, loops=kind == "uniform"))
                progress.tick()
    finally:
        torch.set_num_threads(threads)
    return Result(rows=tuple(rows), exactness=tuple(exactness))


def _draw(config: Config, shape: tuple[int, int], kind: str) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the weights, and the counts of their rows and of their columns."""
    import torch

    generator = torch.Generator().manual_seed(config.seeds[0])
    bound = shape[1] ** -0.5  # of nn.Linear at the start
    weight = torch.empty(shape)
    if kind == "heavy_tailed":  # Cauchy
        weight.cauchy_(generator=generator).mul_(bound)
    elif kind == "tied":  # about fifty different magnitudes
        weight.normal_(generator=generator).mul_(16).round_().div_(16)
    else:
        weight.uniform_(-bound, bound, generator=generator)
    if kind == "bfloat16":
        weight = weight.bfloat16()
    n_rows, n_columns = shape
    by_row = torch.randint(config.min_count, n_columns // 2, (n_rows,), generator=generator)
    by_column = torch.randint(config.min_count, n_rows // 2, (n_columns,), generator=generator)
    device = config.device
    return weight.to(device), (by_row.to(device), by_column.to(device))


def _exactness(case: str, weight: Tensor, counts: Tensor) -> Exactness:
    import torch

    from bbtheory.train import keep_largest

    size = weight.abs()
    order = size.sort(dim=1, descending=True, stable=True)
    rank = torch.arange(weight.shape[1], device=weight.device)
    right = torch.zeros_like(weight, dtype=torch.bool).scatter_(1, order.indices, rank < counts[:, None])
    least = order.values.gather(1, counts[:, None] - 1)  # of the kept magnitudes

    def wrong_rows(mask: Tensor) -> int:
        # which of equal magnitudes it keeps is the loop's own affair
        lower = (mask & (size < least)).any(1)
        return int((lower | (mask.sum(1) != counts)).sum())

    published = loop_over_rows(weight, counts, in_order=False)
    ours = keep_largest(weight, counts, magnitude=True)
    return Exactness(
        case=case,
        n_rows=len(counts),
        wrong_rows=int((ours != right).any(1).sum()),
        published_wrong_rows=wrong_rows(published),
        published_wrong_bits=float((published != right).float().mean()),
        sorted_wrong_rows=wrong_rows(loop_over_rows(weight, counts, in_order=True)),
    )


def _timed(
    config: Config, case: str, weight: Tensor, counts: tuple[Tensor, Tensor], *, loops: bool
) -> Iterator[Row]:
    import torch

    from bbtheory.train import keep_largest, keep_largest_overall

    by_row, by_column = counts

    def row(what: str, ours: Callable[[], Any], peer: str, theirs: Callable[[], Any]) -> Row:
        return interleaved(
            f"{case}, {what}", _waited(config, ours), peer, _waited(config, theirs), config.n_repeats
        )

    kept = torch.empty_like(weight, dtype=torch.bool)
    rows = partial(keep_largest, weight, by_row, magnitude=True, out=kept)
    columns = partial(keep_largest, weight, by_column, dim=0, magnitude=True, out=kept)

    def floor() -> Tensor:
        return weight.abs() >= THRESHOLD

    yield row("rows", rows, "w.abs() >= t", floor)
    if loops:
        anew = partial(keep_largest, weight, by_row, magnitude=True)
        yield row("rows, a new mask", anew, "w.abs() >= t", floor)
        for peer, in_order in (("loop over rows", False), ("loop over rows, sorted", True)):
            yield row("rows", rows, peer, partial(loop_over_rows, weight, by_row, in_order=in_order))
        overall = partial(keep_largest_overall, [weight], weight.numel() // 5, magnitude=True)
        yield row("overall", overall, "w.abs() >= t", floor)
    if config.device == "cuda":
        yield row("rows", rows, "w.sum(), one read", weight.sum)
    yield row("columns", columns, "w.abs() >= t", floor)


def _waited(config: Config, call: Callable[[], Any]) -> Callable[[], Any]:
    """Return the call with the wait for the device that a clock needs."""
    if config.device == "cpu":
        return call
    import torch

    def waited() -> None:
        call()
        torch.cuda.synchronize()

    return waited

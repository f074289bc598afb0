"""What do masks, on-rates and refreshes cost at 1.2 billion parameters, and does 2:4 gain the time back?

Source: none; a decoder of OLMo-1B's shape (arXiv 2402.00838) with random weights learns random tokens in
mixed precision, so that only time and memory are looked at. Masks are on the feed-forward layers, by SP-in or
by both actuators. In one process the dense network takes its steps first, then the same one under a pruner,
then the refreshes; steps are forward, backward, AdamW and pruner.step without a refresh. Memory is the most
that tensors held. Products of the feed-forward matrices in 2:4 storage are timed in turn with dense bf16.

Time: 3 min a cell on one GPU of 80 GB (extrapolated, not yet run); it needs a CUDA device, the smoke preset
takes a tiny network on the CPU. What would count against it: a step over 4 % longer than the dense one; a
refresh of more than 1 % of the steps between two; 2:4 products slower than dense ones.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from bbtheory import validate
from bbtheory.records import Record
from experiments.protocol import NotRun, Progress

PARTS = ("bb_in", "bb_both", "semi_structured")
_NEVER = 10**9  # steps
_RATE = 1e-5  # of learning: weights hardly move, a step costs the same at the start and at the end
_FEWEST = 7  # refreshes that are timed


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    parts : tuple of str
        Actuators, and 2:4 products.
    vocabulary, width, depth, heads, ffn, context : int
        See `bbtheory.train.TransformerShape`.
    batch : int
        Sequences of ``context`` tokens a step.
    density : float
        Of the feed-forward layers.
    interval : int
        Steps between refreshes, for their share.
    n_repeats : int
        Timed steps, dense and masked each, and pairs of products.
    device : {"cpu", "cuda"}
    precision : {"float32", "bfloat16"}
    seeds : tuple of int
        The first draws weights and tokens.
    """

    parts: tuple[str, ...] = PARTS
    vocabulary: int = 50_304
    width: int = 2048
    depth: int = 16
    heads: int = 16
    ffn: int = 8192
    context: int = 2048
    batch: int = 4
    density: float = 0.5
    interval: int = 100
    n_repeats: int = 31
    device: str = "cuda"
    precision: str = "bfloat16"
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for part in self.parts:
            validate.choice("parts", part, PARTS)
        for name in ("vocabulary", "width", "depth", "heads", "ffn", "context", "batch", "interval"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        validate.real("density", self.density, "(0, 0.5]")
        validate.integer("n_repeats", self.n_repeats, "[7, inf)")
        validate.choice("device", self.device, ("cpu", "cuda"))
        validate.choice("precision", self.precision, ("float32", "bfloat16"))


SMOKE = Config(
    parts=PARTS[:2],
    vocabulary=64,
    width=32,
    depth=2,
    heads=2,
    ffn=64,
    context=16,
    interval=10,
    n_repeats=7,
    device="cpu",
    precision="float32",
)
CPU = Config()  # without a CUDA device a record says that it was not run
GPU = Config()


@dataclasses.dataclass(frozen=True, eq=False)
class Overhead(Record):
    """Steps of one network, dense and then masked: medians, and the smallest and largest."""

    KIND: ClassVar[str] = "overhead_at_scale_overhead"

    part: str
    device: str
    n_parameters: int
    n_masked: int
    tokens: int  # of a step
    n: int
    dense_s: float
    dense_low: float
    dense_high: float
    masked_s: float
    masked_low: float
    masked_high: float
    ratio: float  # masked / dense, of the medians
    refresh_s: float
    refresh_low: float
    refresh_high: float
    refresh_share: float  # of a refresh in the dense steps from one to the next
    dense_bytes: float  # the most that tensors held at once; NaN on a CPU
    masked_bytes: float
    refresh_bytes: float


@dataclasses.dataclass(frozen=True, eq=False)
class Product(Record):
    """One matrix with dense and with 2:4 weights."""

    KIND: ClassVar[str] = "overhead_at_scale_product"

    layer: str
    n_out: int
    n_in: int
    n_inputs: int
    dense_s: float
    sparse_s: float
    ratio: float  # dense / 2:4: above 1 the 2:4 product is faster
    low: float
    high: float
    n: int
    difference: float  # largest, over the largest entry


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Timings and memory."""

    KIND: ClassVar[str] = "overhead_at_scale"

    overhead: tuple[Overhead, ...]
    products: tuple[Product, ...]


def cells(config: Config) -> list[Config]:
    """Return one setting per part."""
    return [dataclasses.replace(config, parts=(part,)) for part in config.parts]


def run(config: Config, progress: Progress) -> Result:
    """Time one part.

    Raises
    ------
    NotRun
        If there is no CUDA device and the settings ask for one.
    """
    import torch

    if config.device == "cuda" and not torch.cuda.is_available():
        raise NotRun("a CUDA device")
    if config.device == "cpu":
        torch.set_num_threads(1)
    if config.parts[0] == "semi_structured":
        return Result((), tuple(_products(config)))
    return Result((_overhead(config, progress),), ())


def collect(config: Config, cells: Sequence[Result]) -> Result:
    """Put the parts together."""
    return Result(
        overhead=tuple(row for cell in cells for row in cell.overhead),
        products=tuple(row for cell in cells for row in cell.products),
    )


def _overhead(config: Config, progress: Progress) -> Overhead:
    import torch

    from bbtheory.train import BudgetedBroadcast, TransformerShape, next_token_loss, transformer

    shape = TransformerShape(
        config.vocabulary, config.width, config.depth, config.heads, config.ffn, config.context
    )
    model = transformer(shape, seed=config.seeds[0], device=config.device)
    optimizer = torch.optim.AdamW(model.parameters(), _RATE, fused=True)
    generator = torch.Generator(config.device).manual_seed(config.seeds[0])
    codes = torch.randint(
        config.vocabulary, (config.batch, config.context + 1), generator=generator, device=config.device
    )
    batch = codes[:, :-1], codes[:, 1:]
    kind = torch.bfloat16 if config.precision == "bfloat16" else None

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(config.device, kind, enabled=kind is not None):
            loss = next_token_loss(model, batch)
        loss.backward()
        optimizer.step()

    progress.total(3)
    dense, dense_bytes = _timed(step, config.n_repeats, config.device)
    progress.tick()
    part = config.parts[0]
    pruner = BudgetedBroadcast(
        model,
        config.density,
        sp_in=True,
        sp_out=part == "bb_both",
        layers=shape.ffn_layers,
        allocation="layer",
        interval=_NEVER,
        warmup=_NEVER,
    )

    def masked_step() -> None:
        step()
        pruner.step()

    masked_step()
    refresh, refresh_bytes = _timed(pruner.refresh, _FEWEST, config.device)
    progress.tick()
    masked, masked_bytes = _timed(masked_step, config.n_repeats, config.device)
    progress.tick()
    once = statistics.median(refresh)
    return Overhead(
        part=part,
        device=torch.cuda.get_device_name() if config.device == "cuda" else "cpu",
        n_parameters=sum(p.numel() for p in model.parameters()),
        n_masked=pruner.n_weights,
        tokens=config.batch * config.context,
        n=config.n_repeats,
        **_spread("dense", dense),
        **_spread("masked", masked),
        ratio=statistics.median(masked) / statistics.median(dense),
        **_spread("refresh", refresh),
        refresh_share=once / (config.interval * statistics.median(dense)),
        dense_bytes=dense_bytes,
        masked_bytes=masked_bytes,
        refresh_bytes=refresh_bytes,
    )


def _products(config: Config) -> list[Product]:
    """Time the feed-forward matrices in 2:4 storage."""
    import torch

    from bbtheory.train import measure_semi_structured, project_to_groups

    found = []
    generator = torch.Generator(config.device).manual_seed(config.seeds[0])
    for layer, shape in (("gate", (config.ffn, config.width)), ("down", (config.width, config.ffn))):
        weight = torch.randn(shape, generator=generator, device=config.device).to(torch.bfloat16)
        mask = project_to_groups(weight.float(), round(config.density * shape[1]))
        timing = measure_semi_structured(
            weight, mask, config.batch * config.context, n_repeats=config.n_repeats
        )
        found.append(
            Product(
                layer=layer,
                n_out=shape[0],
                n_in=shape[1],
                n_inputs=timing.n_inputs,
                dense_s=timing.dense_s,
                sparse_s=timing.sparse_s,
                ratio=timing.ratio,
                low=timing.low,
                high=timing.high,
                n=timing.n,
                difference=timing.difference,
            )
        )
    return found


def _timed(call: Callable[[], Any], n: int, device: str) -> tuple[list[float], float]:
    """Return the seconds of n calls after one that is not timed, and the most bytes held meanwhile."""
    import torch

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    call()
    wait()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(n):
        start = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - start)
    return times, float(torch.cuda.max_memory_allocated()) if device == "cuda" else math.nan


def _spread(name: str, times: Sequence[float]) -> dict[str, float]:
    return {f"{name}_s": statistics.median(times), f"{name}_low": min(times), f"{name}_high": max(times)}

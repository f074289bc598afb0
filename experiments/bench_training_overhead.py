"""How much longer does a training step take with masks and counted on-rates, beside the dense step?

Source: none, this project's pruner through its public calls. Peers are the same network trained dense, and as
the rule's public code trains it: weights times mask in every forward pass and an average of on-events,
written anew here. Ours and both peers take steps in turn. A step is zero_grad, forward, backward,
optimizer.step and, for ours, pruner.step without a refresh: a ratio to the dense step of 0.9615 or more is an
overhead of 4 % or less. A refresh of all layers is set against the dense steps between two refreshes: a ratio
of 100 or more is 1 % or less. Bytes are those of the tensors held beside model and optimizer.

Time: 2 min on one core (CPU preset, extrapolated from a busy machine), no accelerator. What would count
against it, on one thread with 4 layers of width 1024: a step that takes over 4 % more than the dense one; a
refresh every 10 steps that adds over 1 %; more than a byte per weight for masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bbtheory import validate
from bbtheory.records import Record
from experiments._timing import Row, compare, seconds
from experiments.protocol import Progress

if TYPE_CHECKING:
    from torch import nn

    from bbtheory.train import Pruner

DENSE, REFERENCE = "dense step", "weights times mask in forward, EMA"
_LEARNING_RATE = 1e-3  # weights hardly move: a step costs the same at the start and at the end
_EMA_DECAY = 0.99
_NEVER = 10**9  # steps
_FEWEST = 7  # repeats of a bench


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    width, depth, batch : int
        Of the large network, layers of width x width.
    density : float
    interval : int
        Optimizer steps from refresh to refresh, for its share.
    n_repeats : int
        Timed rounds of ours and both peers; refreshes are timed as often.
    seeds : tuple of int
        The first draws inputs and weights.
    """

    width: int = 1024
    depth: int = 4
    batch: int = 256
    density: float = 0.3
    interval: int = 10
    n_repeats: int = 61
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for name in ("width", "depth", "batch", "interval"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        validate.real("density", self.density, "(0, 1)")
        validate.integer("n_repeats", self.n_repeats, "[7, inf)")


SMOKE = Config(width=64, batch=32, n_repeats=7)
CPU = Config()


@dataclass(frozen=True, eq=False)
class Memory(Record):
    """What a pruner holds beside model and optimizer."""

    KIND: ClassVar[str] = "bench_training_overhead_memory"

    case: str
    n_weights: int
    mask_bytes_per_weight: float
    dormant_bytes_per_weight: float
    other_bytes_per_unit: float  # on-rates: sums, counts and what guards them


@dataclass(frozen=True, eq=False)
class Result(Record):
    """Timings and memory."""

    KIND: ClassVar[str] = "bench_training_overhead"

    rows: tuple[Row, ...]
    memory: tuple[Memory, ...]


def run(config: Config, progress: Progress) -> Result:
    """Time every network."""
    import torch

    torch.set_num_threads(1)
    networks = _networks(config)
    progress.total(len(networks))
    rows: list[Row] = []
    memory: list[Memory] = []
    for case, make, shape in networks:
        x = torch.randn(*shape, generator=torch.Generator().manual_seed(config.seeds[0]))
        models = [make(), make(), make()]
        pruner = _attach(models[0], config)
        _as_published(models[2], config)
        ours, dense, reference = (_stepper(model, x) for model in models)

        def pruned(step: Callable[[], Any] = ours, pruner: Pruner = pruner) -> None:
            step()
            pruner.step()

        calls = (pruned, dense, reference)
        for call in calls:
            call()
        pruner.refresh()
        times, refreshes = [], []
        for _ in range(config.n_repeats):
            times.append([seconds(call) for call in calls])
            refreshes.append((seconds(pruner.refresh), config.interval * times[-1][1]))
        rows.append(compare(f"{case}, step", DENSE, [(own, other) for own, other, _ in times]))
        rows.append(compare(f"{case}, step", REFERENCE, [(own, other) for own, _, other in times]))
        rows.append(compare(f"{case}, refresh", f"{config.interval} dense steps", refreshes))
        both = _attach(make(), config, both=True)
        _stepper(both.model, x)()
        both.step()
        intersections = [(seconds(both.refresh), config.interval * times[i][1]) for i in range(_FEWEST)]
        peer = f"{config.interval} dense steps"
        rows.append(compare(f"{case}, refresh of both actuators", peer, intersections))
        memory.append(_memory(case, pruner))
        progress.tick()
    return Result(rows=tuple(rows), memory=tuple(memory))


def _networks(config: Config) -> list[tuple[str, Callable[[], nn.Module], tuple[int, ...]]]:
    """Return (case, maker, shape of a batch)."""
    from torch import nn

    from bbtheory.train import lenet_300_100, mlp

    def conv() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 10),
        )

    seed = config.seeds[0]
    return [
        (
            f"{config.depth} layers of width {config.width}, batch {config.batch}",
            lambda: mlp((config.width,) * (config.depth + 1), seed=seed),
            (config.batch, config.width),
        ),
        ("LeNet-300-100, batch 128", lambda: lenet_300_100(seed=seed), (128, 784)),
        ("2 convolutions of 16 and 32 channels on 28 x 28, batch 64", conv, (64, 1, 28, 28)),
    ]


def _stepper(model: nn.Module, x: Any) -> Callable[[], Any]:
    import torch

    optimizer = torch.optim.SGD(model.parameters(), _LEARNING_RATE)

    def step() -> None:
        optimizer.zero_grad()
        model(x).pow(2).mean().backward()
        optimizer.step()

    return step


def _attach(model: nn.Module, config: Config, both: bool = False) -> Pruner:
    """Return a pruner that refreshes at its first step, and then only when it is told to."""
    from bbtheory.train import BudgetedBroadcast

    return BudgetedBroadcast(
        model, config.density, beta=1.0, interval=_NEVER, ema_decay=_EMA_DECAY, sp_out=both
    )


def _as_published(model: nn.Module, config: Config) -> None:
    """Turn a network into one whose layers multiply weights by a mask and average on-events as they go."""
    import torch
    from torch import nn

    def masked(module: Any, mask: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        if isinstance(module, nn.Linear):
            return lambda h: nn.functional.linear(h, module.weight * mask, module.bias)
        return lambda h: module._conv_forward(h, module.weight * mask, module.bias)

    def averaging(module: nn.Module, inputs: Any, h: torch.Tensor) -> None:
        on = (h.detach() > 0).float().mean([d for d in range(h.dim()) if d != 1])
        if not hasattr(module, "ema"):
            module.register_buffer("ema", torch.zeros_like(on))
        module.get_buffer("ema").mul_(_EMA_DECAY).add_(on, alpha=1.0 - _EMA_DECAY)

    generator = torch.Generator().manual_seed(config.seeds[0])
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            drawn = torch.rand(module.weight.shape, generator=generator)
            layer: Any = module  # to the type checker a method is nothing to assign to
            layer.forward = masked(layer, (drawn < config.density).float())
        elif isinstance(module, nn.ReLU):
            module.register_forward_hook(averaging)


def _memory(case: str, pruner: Pruner) -> Memory:
    n_units = max(sum(activity.n_units for activity in pruner.activities.values()), 1)
    held = [t for a in pruner.activities.values() for t in (a.total, a.count, a.health)]
    masks = [weight.mask for weight in pruner.weights.values()]
    dormant = [weight.dormant for weight in pruner.weights.values() if weight.dormant is not None]

    def size(tensors: list[Any]) -> int:
        return sum(t.numel() * t.element_size() for t in tensors)

    return Memory(
        case=case,
        n_weights=pruner.n_weights,
        mask_bytes_per_weight=size(masks) / pruner.n_weights,
        dormant_bytes_per_weight=size(dormant) / pruner.n_weights,
        other_bytes_per_unit=size(held) / n_units,
    )

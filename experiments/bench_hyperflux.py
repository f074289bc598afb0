"""How much longer does a training step take with Hyperflux, beside the dense step with the same optimizer?

Source: none, this project's Hyperflux through its public calls. Peers are the same network trained dense, and
as the authors' public code trains it, written anew here: weights times H(t) in every forward pass through an
autograd function, the pressure in the loss, a second Adam for t. All three take steps in turn, under SGD,
Adam and fused Adam on the weights. A step is zero_grad, forward, backward, optimizer.step and flux.step.

Against the dense step a ratio of 0.769 or more is an overhead of 30 % or less, 0.952 one of 5 % or less.

Time: 1.5 min on one core (CPU preset, extrapolated from a busy machine), no accelerator. What would count
against it, on one thread: an overhead above 30 % on LeNet-300-100 in batches of 128, above 5 % on the
convolutions; a step that is not faster than the published way.
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
    import torch
    from torch import nn

DENSE, REFERENCE = "dense step, same optimizer", "weights times H(t) in forward, Adam on t"
OPTIMIZERS = ("SGD", "Adam", "fused Adam")
_LEARNING_RATE = 1e-5  # weights and presence hardly move: a step costs the same at the start and at the end
_FEWEST = 7


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers of the perceptron.
    batch : int
        Of the perceptron; half of it for the convolutions.
    optimizers : tuple of str
        Of the weights, from `OPTIMIZERS`.
    pressure : float
    n_repeats : int
        Timed rounds of ours and both peers, >= 7.
    n_steps : int
        Steps in a row per round and network.
    seeds : tuple of int
        The first draws inputs, weights and presence.
    """

    hidden: tuple[int, ...] = (300, 100)
    batch: int = 128
    optimizers: tuple[str, ...] = OPTIMIZERS
    pressure: float = 0.5
    n_repeats: int = 61
    n_steps: int = 4
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        validate.integer("batch", self.batch, "[2, inf)")
        for name in self.optimizers:
            validate.choice("optimizers", name, OPTIMIZERS)
        validate.real("pressure", self.pressure, "[0, inf)")
        validate.integer("n_repeats", self.n_repeats, f"[{_FEWEST}, inf)")
        validate.integer("n_steps", self.n_steps, "[1, inf)")


SMOKE = Config(hidden=(30, 20), batch=16, optimizers=("Adam",), n_repeats=7, n_steps=1)
CPU = Config()


@dataclass(frozen=True, eq=False)
class Result(Record):
    """Timings, and bytes per weight beside model and optimizer: t and two moments, pull, dormant, mask."""

    KIND: ClassVar[str] = "bench_hyperflux"

    rows: tuple[Row, ...]
    bytes_per_weight: float


def run(config: Config, progress: Progress) -> Result:
    """Time every network under every optimizer."""
    import torch

    from bbtheory.train import Hyperflux

    torch.set_num_threads(1)
    networks = _networks(config)
    progress.total(len(networks) * len(config.optimizers))
    rows: list[Row] = []
    bytes_per_weight = 0.0
    for case, make, shape in networks:
        generator = torch.Generator().manual_seed(config.seeds[0])
        x = torch.randn(*shape, generator=generator)
        y = torch.randint(0, 10, shape[:1], generator=generator)
        for name in config.optimizers:
            model = make()
            flux = Hyperflux(model, config.pressure, interval=10**9, seed=config.seeds[0])
            bytes_per_weight = _bytes(flux) / flux.n_weights
            ours, dense = _stepper(model, name, x, y), _stepper(make(), name, x, y)

            def pressed(step: Callable[[], Any] = ours, flux: Hyperflux = flux) -> None:
                step()
                flux.step()

            calls = (pressed, dense, _as_published(make(), name, x, y, config))
            for call in calls:
                seconds(call, 3)
            times = [[seconds(call, config.n_steps) for call in calls] for _ in range(config.n_repeats)]
            rows.append(compare(f"{case}, {name}", DENSE, [(own, other) for own, other, _ in times]))
            rows.append(compare(f"{case}, {name}", REFERENCE, [(own, other) for own, _, other in times]))
            progress.tick()
    return Result(rows=tuple(rows), bytes_per_weight=bytes_per_weight)


def _networks(config: Config) -> list[tuple[str, Callable[[], nn.Module], tuple[int, ...]]]:
    """Return (case, maker, shape of a batch)."""
    from torch import nn

    from bbtheory.train import mlp

    seed, half = config.seeds[0], config.batch // 2

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

    widths = (784, *config.hidden, 10)
    return [
        (
            f"{'-'.join(map(str, widths))}, batch {config.batch}",
            lambda: mlp(widths, seed=seed),
            (config.batch, 784),
        ),
        (f"2 convolutions of 16 and 32 channels on 28 x 28, batch {half}", conv, (half, 1, 28, 28)),
    ]


def _optimizer(name: str, parameters: Any) -> torch.optim.Optimizer:
    import torch

    if name == "SGD":
        return torch.optim.SGD(parameters, _LEARNING_RATE)
    return torch.optim.Adam(parameters, _LEARNING_RATE, fused=name == "fused Adam")


def _stepper(model: nn.Module, name: str, x: torch.Tensor, y: torch.Tensor) -> Callable[[], Any]:
    from torch.nn.functional import cross_entropy

    optimizer = _optimizer(name, model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def _as_published(
    model: nn.Module, name: str, x: torch.Tensor, y: torch.Tensor, config: Config
) -> Callable[[], Any]:
    """Return a step of the authors' way: H(t) by autograd, an Adam for t, the pressure in the loss."""
    import torch
    from torch import nn

    class Present(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, t: torch.Tensor) -> torch.Tensor:
            return (t >= 0).float()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return 0.25 * gradient

    optimizer = _optimizer(name, list(model.parameters()))
    generator = torch.Generator().manual_seed(config.seeds[0])
    presence: list[torch.Tensor] = []

    def masked(module: Any, t: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        if isinstance(module, nn.Linear):
            return lambda h: nn.functional.linear(h, module.weight * Present.apply(t), module.bias)
        return lambda h: module._conv_forward(h, module.weight * Present.apply(t), module.bias)

    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            t = (0.2 + 0.3 * torch.rand(module.weight.shape, generator=generator)).requires_grad_()
            presence.append(t)
            layer: Any = module  # to the type checker a method is nothing to assign to
            layer.forward = masked(layer, t)
    flow = torch.optim.Adam(presence, 1e-3)
    n_weights = sum(t.numel() for t in presence)

    def step() -> None:
        optimizer.zero_grad()
        flow.zero_grad()
        penalty = torch.stack([t.sum() for t in presence]).sum() / n_weights
        (nn.functional.cross_entropy(model(x), y) + config.pressure * penalty).backward()
        optimizer.step()
        flow.step()

    return step


def _bytes(flux: Any) -> int:
    held = [p for w in flux.weights.values() for p in (w.t, *w.moments, w.pulled, w.dormant, w.mask)]
    return sum(part.numel() * part.element_size() for part in held)

"""Is the density of a small convolutional network a power of what it takes to remove a weight?

Source: Fashion-MNIST, its official split, from --data-root or BBTHEORY_DATA; the smoke preset takes
scikit-learn's digits. Four 3x3 convolutions with stride 2 and one linear layer, 62,608 weights for 28 x 28
images; all else as `pruning_law_lenet`, the base schedule alone in the CPU preset.

Time: 25 min on one core (CPU preset, 45 cells of 10 to 90 s, extrapolated from the time of a step), no
accelerator. What would count against the law: as there, and another form than LeNet's.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from bbtheory import validate
from experiments import _law
from experiments._law import Cell, LawConfig, Result, Task, cells, collect
from experiments.protocol import Progress
from experiments.pruning_law_lenet import smoothed_loss

__all__ = ["CPU", "SMOKE", "Cell", "Config", "Result", "cells", "collect", "convnet", "run", "task"]


@dataclasses.dataclass(frozen=True)
class Config(LawConfig):
    """Settings; see `LawConfig` for the others.

    Parameters
    ----------
    data : {"fashion_mnist", "mnist", "cifar10", "digits"}
    channels : tuple of int
        Of the convolutions.
    n_test : int
        Test images on which an event measures the accuracy, the first of them.
    """

    data: str = "fashion_mnist"
    channels: tuple[int, ...] = (16, 32, 64, 64)
    n_test: int = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.choice("data", self.data, ("fashion_mnist", "mnist", "cifar10", "digits"))
        for n in self.channels:
            validate.integer("channels", n, "[1, inf)")
        validate.integer("n_test", self.n_test, "[1, inf)")


SMOKE = Config(
    data="digits",
    families=("taylor", "hyperflux", "shuffled_taylor"),
    schedules=("base",),
    channels=(8, 16),
    dense_epochs=1,
    kept=0.6,
    last_density=0.05,
    steps=2,
    low=-4.0,
    high=0.0,
    per_octave=1,
    pressure_steps=6,
    flow_rate=0.05,
    score_batches=1,
    flux_images=64,
    flux_sample=2,
    n_test=200,
    seeds=(0,),
)
CPU = Config(
    schedules=("base",),
    dense_epochs=3,
    kept=0.85,
    last_density=0.004,
    steps=60,
    low=-5.0,
    high=6.0,
    pressure_steps=250,
    flow_rate=6e-3,
    flux_images=256,
    flux_sample=8,
    n_test=2000,
)


def run(config: Config, progress: Progress) -> Cell:
    """Train and prune one network."""
    return _law.measure(config, task, progress)


def convnet(n_channels: int, side: int, channels: tuple[int, ...], *, seed: int) -> Any:
    """3x3 convolutions with stride 2, ReLU after each, and a linear layer to 10 classes."""
    import torch
    from torch import nn

    parts: list[Any] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for n in channels:
            parts += [nn.Conv2d(n_channels, n, 3, 2, 1), nn.ReLU()]
            n_channels, side = n, -(-side // 2)
        return nn.Sequential(*parts, nn.Flatten(), nn.Linear(n_channels * side**2, 10))


def task(config: Config, data_root: Path | None) -> Task:
    """Return images, model and loss of a seed."""
    import torch

    from bbtheory.train import TensorBatches, classification

    x, y, x_test, y_test = images(config.data, data_root)
    seed, device = config.seeds[0], config.device
    return Task(
        model=convnet(x.shape[1], x.shape[-1], config.channels, seed=seed).to(device),
        batches=TensorBatches(x.to(device), y.to(device), config.batch, seed=seed),
        loss=smoothed_loss,
        evaluate=classification(x_test[: config.n_test], y_test[: config.n_test]),
        images=lambda first, last: (x[first:last].to(device), y[first:last].to(device)),
        optimizer=lambda parameters, dense: torch.optim.Adam(parameters, config.learning_rate, fused=True),
    )


@functools.lru_cache(maxsize=2)
def images(name: str, data_root: Path | None, side: int = 0) -> tuple[Any, Any, Any, Any]:
    """Return images in [0, 1] with their channels, and labels, of training and test, padded to a side."""
    import torch
    from torch.nn import functional

    from bbtheory.train import load_images

    data = load_images(name, data_root)
    parts = []
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        pixels = torch.from_numpy(x.copy()).float() / data.white
        if (more := side - pixels.shape[-1]) > 0:
            pixels = functional.pad(pixels, (more // 2, more - more // 2) * 2)
        parts += [pixels, torch.from_numpy(y.copy())]
    return tuple(parts)

"""Is the density of ResNet-50 a power of what it takes to remove a weight, in every way of pruning?

Source: Fashion-MNIST padded to 32 x 32, its official split, from --data-root or BBTHEORY_DATA; the full
setting takes CIFAR-10 where its binary files are there. ResNet-50 in its form for small images (3x3 first
convolution, no pooling), 23.5 million weights. The dense network is trained by SGD with Nesterov momentum at
0.1 along a cosine, weight decay 5e-4; between events, as in the authors' runs (arXiv 2504.05349), the rate is
constant, 0.01; under Hyperflux SGD has no weight decay. No augmentation: the question is the curve, not the
accuracy. All else as `pruning_law_lenet`.

Time: not measured. By arithmetic a step of 128 images is 1 TFLOP, some 15 ms on an H100 in bfloat16, and a
run of the GPU preset 8,000 to 13,000 steps: 2 to 4 minutes and as long for the dense network of each seed, 18
runs in about an hour and a half; a run goes on from its last event. The CPU preset trains a residual network
of 5,000 weights on scikit-learn's digits, 2 min on one core: it shows that all runs, not what ResNet-50 does.
What would count against the law: as there.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from bbtheory import validate
from experiments import _law
from experiments._law import Cell, LawConfig, Result, Task, cells, collect
from experiments._law_settings import EFFECTIVE, LAW
from experiments.protocol import Progress
from experiments.pruning_law_convnet import images
from experiments.pruning_law_lenet import smoothed_loss

__all__ = ["CPU", "GPU", "SMOKE", "Cell", "Config", "Result", "cells", "collect", "run", "task"]

_SIDE = 32


@dataclasses.dataclass(frozen=True)
class Config(LawConfig):
    """Settings; see `LawConfig` for the others.

    Parameters
    ----------
    data : {"cifar10", "fashion_mnist", "mnist", "digits"}
    blocks, widths : tuple of int
        See `bbtheory.train.resnet`.
    dense_rate : float
        Of SGD on the dense network, at the start; ``learning_rate`` is that between events.
    n_test : int
        Test images on which an event measures the accuracy, the first of them.
    """

    data: str = "cifar10"
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    dense_rate: float = 0.1
    learning_rate: float = 0.01
    n_test: int = 10_000
    device: str = "cuda"
    precision: str = "bfloat16"
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.choice("data", self.data, ("cifar10", "fashion_mnist", "mnist", "digits"))
        for n in (*self.blocks, *self.widths):
            validate.integer("blocks and widths", n, "[1, inf)")
        validate.real("dense_rate", self.dense_rate, "(0, inf)")
        validate.integer("n_test", self.n_test, "[1, inf)")


SMOKE = Config(
    data="digits",
    families=("magnitude", "hyperflux"),
    schedules=("base",),
    blocks=(1, 1),
    widths=(4, 8),
    dense_epochs=1,
    kept=0.4,
    last_density=0.05,
    steps=1,
    low=-4.0,
    high=-2.0,
    per_octave=1,
    pressure_steps=2,
    flow_rate=0.1,
    score_batches=1,
    flux_images=32,
    flux_sample=2,
    n_test=64,
    batch=256,
    device="cpu",
    precision="float32",
    seeds=(0,),
)
CPU = Config(
    data="digits",
    families=LAW,
    schedules=("base",),
    blocks=(1, 1),
    widths=(8, 16),
    dense_epochs=10,
    kept=0.8,
    last_density=0.01,
    steps=20,
    low=-8.0,
    high=2.0,
    pressure_steps=60,
    flow_rate=0.01,
    score_batches=4,
    flux_sample=0,
    device="cpu",
    precision="float32",
)
GPU = Config(
    data="fashion_mnist",
    families=(*EFFECTIVE, "static_magnitude"),
    schedules=("base",),
    dense_epochs=15,
    kept=0.85,
    last_density=0.002,
    steps=235,
    low=-9.0,
    high=4.0,
    pressure_steps=470,
    flow_rate=4e-3,
    flux_sample=64,
)


def run(config: Config, progress: Progress) -> Cell:
    """Train and prune one network."""
    return _law.measure(config, task, progress)


def task(config: Config, data_root: Path | None) -> Task:
    """Return images, model and loss of a seed."""
    import torch

    from bbtheory.train import TensorBatches, classification, resnet

    x, y, x_test, y_test = images(config.data, data_root, _SIDE if config.device == "cuda" else 0)
    seed, device = config.seeds[0], config.device
    model = resnet(config.blocks, config.widths, n_channels=x.shape[1], n_classes=10, seed=seed)
    no_decay = config.families[0] == "hyperflux"

    def optimizer(parameters: Any, dense: bool) -> Any:
        return torch.optim.SGD(
            parameters,
            config.dense_rate if dense else config.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=0.0 if no_decay and not dense else 5e-4,
        )

    return Task(
        model=model.to(device),
        batches=TensorBatches(x.to(device), y.to(device), config.batch, seed=seed),
        loss=smoothed_loss,
        evaluate=classification(x_test[: config.n_test], y_test[: config.n_test]),
        images=lambda first, last: (x[first:last].to(device), y[first:last].to(device)),
        optimizer=optimizer,
        scheduler=lambda made, epochs: torch.optim.lr_scheduler.CosineAnnealingLR(made, epochs),
    )

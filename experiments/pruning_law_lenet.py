"""Is the density of LeNet-300-100 a power of what it takes to remove a weight, in every way of pruning?

Source: MNIST, its official split, from --data-root or BBTHEORY_DATA; the smoke preset takes scikit-learn's
digits. The hypothesis is the pruning law of arXiv 2504.05349: density = c saliency^-alpha between the largest
removed saliency and the density left, for any saliency that works. One dense network per seed, trained by
Adam at 1e-3, label smoothing 0.1 as in the authors' code, is pruned by magnitude, by Taylor's |w dL/dw|, by
the gradient, at random with regrowth of what the loss pulls back, and by Hyperflux under a rising pressure,
with training between the events; and in ways for which no law should hold: without training in between, and
with scores that change places. Two more schedules, a quarter of the steps and events of double size, show
what the exponent owes to the schedule. Each curve is fitted and judged by `bbtheory.fit_power_law`.

Time: 40 min on one core (CPU preset, 75 cells of 10 to 75 s, extrapolated from parts of runs on a busy
machine), no accelerator. What would count against the law: verdicts of "curved"; exponents that move with the
window or the schedule; controls that are as straight; families whose curves differ in form.
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

__all__ = ["CPU", "SMOKE", "Cell", "Config", "Result", "cells", "collect", "run", "task"]

DATA = ("mnist", "fashion_mnist", "digits")
_SMOOTHING = 0.1


@dataclasses.dataclass(frozen=True)
class Config(LawConfig):
    """Settings; see `LawConfig` for the others.

    Parameters
    ----------
    data : {"mnist", "fashion_mnist", "digits"}
    widths : (int, int)
        Units of the hidden layers.
    """

    data: str = "mnist"
    widths: tuple[int, int] = (300, 100)

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.choice("data", self.data, DATA)
        for width in self.widths:
            validate.integer("widths", width, "[1, inf)")


SMOKE = Config(
    data="digits",
    families=("magnitude", "random_regrowth", "hyperflux", "shuffled_magnitude", "static_taylor"),
    schedules=("base",),
    dense_epochs=2,
    kept=0.6,
    last_density=0.02,
    steps=3,
    low=-4.0,
    high=2.0,
    per_octave=1,
    pressure_steps=6,
    flow_rate=0.05,
    score_batches=2,
    flux_images=64,
    flux_sample=2,
    seeds=(0,),
)
CPU = Config(
    dense_epochs=5,
    steps=80,
    low=-9.0,
    high=5.0,
    pressure_steps=400,
    flow_rate=4e-3,
    flux_sample=16,
)


def run(config: Config, progress: Progress) -> Cell:
    """Train and prune one network."""
    return _law.measure(config, task, progress)


def task(config: Any, data_root: Path | None) -> Task:
    """Return images, model and loss of a seed."""
    import torch

    from bbtheory.train import TensorBatches, classification, mlp

    x, y, x_test, y_test = images(config.data, data_root)
    seed = config.seeds[0]
    return Task(
        model=mlp((x.shape[1], *config.widths, 10), seed=seed).to(config.device),
        batches=TensorBatches(x.to(config.device), y.to(config.device), config.batch, seed=seed),
        loss=smoothed_loss,
        evaluate=classification(x_test, y_test),
        images=lambda first, last: (x[first:last].to(config.device), y[first:last].to(config.device)),
        optimizer=lambda parameters, dense: torch.optim.Adam(parameters, config.learning_rate, fused=True),
    )


def smoothed_loss(model: Any, batch: Any) -> Any:
    """Cross-entropy with the label smoothing of the authors' code."""
    from torch.nn import functional

    return functional.cross_entropy(model(batch[0]), batch[1], label_smoothing=_SMOOTHING)


@functools.lru_cache(maxsize=2)
def images(name: str, data_root: Path | None) -> tuple[Any, Any, Any, Any]:
    """Return images as rows and labels, of training and test."""
    import torch

    from bbtheory.train import load_data

    data = load_data(name, data_root)
    parts = (data.flat("train"), data.y_train.copy(), data.flat("test"), data.y_test.copy())
    return tuple(torch.from_numpy(part) for part in parts)  # pyright: ignore[reportReturnType]  # as many

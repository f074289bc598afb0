"""LeNet-300-100 while it is pruned: what the experiments with Hyperflux share.

Images are in [0, 1]; the authors take them less their mean over their standard deviation, with which no
pixel is always 0. `fixed_pressure_lenet`, which is held against their numbers, does as they do.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bbtheory import validate
from experiments.protocol import NotRun, Progress

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bbtheory.train import Pruner, TrainingRun

DATA = ("mnist", "digits")
LAYERS = ("fc1", "fc2", "fc3")
_LATE = 0.1  # of the epochs, at the end, over which spread and drift are taken
# The authors' scheduler for this network: epochs of pruning and of regrowth, step of the recursion of the
# pressure, factor on the flow in regrowth and its decay.
PHASES, STEP, SCALER, DECAY = (30, 30), 0.3, 0.1, 0.95


@dataclasses.dataclass(frozen=True)
class Training:
    """How one network is trained: by Adam without decay, on plain cross-entropy.

    Parameters
    ----------
    data : {"mnist", "digits"}
    epochs, batch : int
    learning_rate, last_rate : float
        At the start and at the end of a cosine over all steps; equal ones stay.
    seed : int
        Of weights and batches.
    """

    data: str
    epochs: int
    batch: int
    learning_rate: float
    last_rate: float
    seed: int

    def __post_init__(self) -> None:
        validate.choice("data", self.data, DATA)
        validate.integer("epochs", self.epochs, "[1, inf)")
        validate.integer("batch", self.batch, "[1, inf)")
        validate.real("learning_rate", self.learning_rate, "(0, inf)")
        validate.real("last_rate", self.last_rate, "[0, inf)")


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network, and what became of it after each epoch."""

    run: TrainingRun
    model: nn.Module
    pruner: Pruner | None
    test: Callable[[nn.Module], dict[str, float]]  # accuracy and test_loss

    @property
    def density(self) -> np.ndarray:
        """Kept / prunable weights, (n_epochs,)."""
        return self.run.density

    @property
    def accuracy(self) -> np.ndarray:
        """On the test images, (n_epochs,)."""
        return self.run.metric("accuracy")

    @property
    def layer_density(self) -> np.ndarray:
        """Share of each layer's weights that are not zero, (n_epochs, 3)."""
        return np.stack([self.run.metric(layer) for layer in LAYERS], axis=1)


@functools.lru_cache(maxsize=1)
def load(name: str, data_root: Path | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return training images and labels, test images and labels, or raise NotRun."""
    import torch

    from bbtheory.train import MissingDataError, load_data

    try:
        data = load_data(name, data_root)
    except MissingDataError as missing:
        raise NotRun(f"data: {missing}") from None
    parts = (data.flat("train"), data.y_train.copy(), data.flat("test"), data.y_test.copy())
    x, y, x_test, y_test = (torch.from_numpy(part) for part in parts)
    return x, y, x_test, y_test


def train(
    how: Training,
    make_pruner: Callable[[nn.Module, int], Pruner | None],
    progress: Progress,
    measure: Callable[[nn.Module], dict[str, float]] = lambda model: {},
) -> Trained:
    """Train LeNet-300-100, from the state of a run that was cut off if there is one.

    ``make_pruner`` is given the model and the number of steps; ``measure`` adds metrics after each epoch.
    """
    import torch

    from bbtheory.train import TensorBatches, classification, cross_entropy, lenet_300_100, train_epochs

    torch.set_num_threads(1)
    x, y, x_test, y_test = load(how.data, progress.data_root)
    batches = TensorBatches(x, y, how.batch, seed=how.seed)
    n_steps = how.epochs * len(batches)
    model = lenet_300_100(x.shape[1], 10, seed=how.seed)
    optimizer = torch.optim.Adam(model.parameters(), how.learning_rate, fused=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps, eta_min=how.last_rate)
    pruner = make_pruner(model, n_steps)
    test = classification(x_test, y_test)
    progress.total(how.epochs)

    def evaluate(model: nn.Module) -> dict[str, float]:
        weights = {layer: model.get_parameter(f"{layer}.weight") for layer in LAYERS}
        shares = {layer: float(torch.count_nonzero(w)) / w.numel() for layer, w in weights.items()}
        return test(model) | shares | measure(model)

    def keep(state: dict[str, Any]) -> None:
        progress.save(state)
        progress.tick()

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "every weight of layer")  # the records tell
        run = train_epochs(
            model,
            optimizer,
            batches,
            epochs=how.epochs,
            loss=cross_entropy,
            pruner=pruner,
            scheduler=scheduler,
            scheduler_per="step",
            evaluate=evaluate,
            seed=how.seed,
            state=progress.restore(),
            on_epoch=keep,
        )
    return Trained(run, model, pruner, test)


def by_row(courses: Sequence[np.ndarray], n_seeds: int) -> np.ndarray:
    """Return the courses of all cells, seeds innermost, as (n_rows, n_seeds, n_times)."""
    return np.reshape(courses, (-1, n_seeds, len(courses[0])))


def late(density: np.ndarray) -> np.ndarray:
    """Return the last tenth of the epochs, one at least."""
    return density[-max(round(_LATE * density.size), 1) :]


def spread(density: np.ndarray) -> float:
    """Return the standard deviation over the last tenth of the epochs, over the mean."""
    last = late(density)
    return float(last.std() / last.mean()) if last.mean() > 0 else math.nan


def drift(density: np.ndarray) -> float:
    """Return the relative change over the last tenth of the epochs, along the line of least squares.

    NaN for fewer than three epochs there.
    """
    last = late(density)
    if last.size < 3 or last.mean() == 0:
        return math.nan
    return float(np.polyfit(np.arange(last.size), last, 1)[0] * (last.size - 1) / last.mean())

"""Does a network learn rare classes better under Budgeted Broadcast than under its rivals, at equal density?

Source: Fashion-MNIST (or MNIST, CIFAR-10, CIFAR-100, or a folder of class folders as ImageNet) from
--data-root or BBTHEORY_DATA; the smoke preset takes scikit-learn's digits. The rule is that of arXiv
2510.01263, whose claim is that it spares rare features. Training images are made long-tailed: class r in an
order that the seed draws keeps the share imbalance^(-r/(C-1)) of the largest class, so which class is rare
changes from seed to seed. Of each class as many images as a tenth of the smallest are never trained on (the
validation split of tuning); test images are the official ones, of all classes alike. Main metric: accuracy;
tail: mean accuracy of the rarest third of the classes; head: of the most frequent third. The trivial answer
is always the most frequent class.

The rows of bb_uniform, equal degrees, tell what the on-rates add to choosing weights unit by unit.

Time: 22 min on one core (CPU preset, 65 cells of 15 to 22 s on a busy machine); the GPU preset has not been
run. What would count against the rule: a tail accuracy below that of gradual magnitude by an interval that
excludes 0.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bbtheory import validate
from experiments import _contest
from experiments._contest import (
    CPU_DENSITIES,
    CPU_METHODS,
    Cell,
    ContestConfig,
    Metric,
    Result,
    Task,
    cells,
    train,
)
from experiments.protocol import Progress

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Cell", "Result", "cells"]

METRICS = (
    Metric("accuracy", role="main"),
    Metric("tail_accuracy", role="tail"),
    Metric("head_accuracy"),
    Metric("test_loss", higher_is_better=False),
)
NETWORKS = ("lenet_300_100", "resnet8", "resnet50")
IN_MEMORY = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100")
_HELD_OUT = 0.1  # of each class, never trained on
_FOLDER_SIZE = 224  # pixels of an image from a folder
_PROBE_BATCH = 250


@dataclasses.dataclass(frozen=True)
class Config(ContestConfig):
    """Settings of the contest (see `ContestConfig`) and of its task.

    Parameters
    ----------
    data : str
        digits, mnist, fashion_mnist, cifar10, cifar100, or the name of a folder with train/CLASS and
        val/CLASS.
    network : {"lenet_300_100", "resnet8", "resnet50"}
        The residual ones in the form for small images; for a folder resnet50 has the stem for large ones.
    imbalance : float
        Images of the most frequent class over those of the rarest, >= 1.
    largest : int
        Images of the most frequent class, at most.
    """

    data: str = "fashion_mnist"
    network: str = "lenet_300_100"
    imbalance: float = 100.0
    largest: int = 5400
    epochs: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.choice("network", self.network, NETWORKS)
        validate.real("imbalance", self.imbalance, "[1, inf)")
        validate.integer("largest", self.largest, "[2, inf)")


SMOKE = Config(
    methods=("dense", "magnitude", "rigl", "bb_in", "bb_both"),
    densities=(0.3,),
    data="digits",
    imbalance=5.0,
    epochs=6,
    batch=32,
    learning_rate=3e-3,
    n_refreshes=6,
    most_samples=100,
    most_units=16,
    seeds=(0,),
)
# chosen by tune_image_classification, preset cpu
_KNOBS: dict[str, dict[str, float]] = {
    "dense": {"learning_rate_factor": 1.0},
    "random": {"learning_rate_factor": 4.0},
    "magnitude": {"learning_rate_factor": 4.0, "reached": 0.35},
    "rigl": {"learning_rate_factor": 4.0, "fraction": 0.3},
    "bb_in": {"learning_rate_factor": 2.0, "nats": 64.0},
    "bb_both": {"learning_rate_factor": 4.0, "nats": 24.0},
    "bb_in_awake": {"learning_rate_factor": 2.0, "nats": 10.0},
    "bb_uniform": {"learning_rate_factor": 2.0},
}
CPU = Config(methods=(*CPU_METHODS, "bb_in_awake", "bb_uniform"), densities=CPU_DENSITIES, knobs=_KNOBS)
GPU = Config(
    methods=CPU_METHODS,
    densities=CPU_DENSITIES,
    data="fashion_mnist",
    network="resnet50",
    epochs=15,
    weight_decay=5e-4,
    device="cuda",
    precision="bfloat16",
    seeds=(0, 1, 2),
)


def task(config: Config, data_root: Path | None) -> Task:
    """Return long-tailed images, a network and its metrics, for the first seed."""
    import torch

    from bbtheory.train import TensorBatches, cross_entropy

    if config.data not in IN_MEMORY:
        return _folder_task(config, data_root)
    x, y, x_test, y_test, n_classes = _images(config.data, data_root)
    seed = config.seeds[0]
    chosen, held_out, order = long_tailed(y, n_classes, config.imbalance, config.largest, seed)
    if config.validation:
        x_test, y_test = x[held_out], y[held_out]
    flat = config.network == "lenet_300_100"
    train_x, test_x = (torch.from_numpy(a.reshape(len(a), -1) if flat else a) for a in (x[chosen], x_test))
    test_y = torch.from_numpy(y_test)
    if config.device != "cpu":
        train_x, test_x = train_x.to(config.device), test_x.to(config.device)
    return Task(
        batches=TensorBatches(train_x, torch.from_numpy(y[chosen]), config.batch, seed=seed),
        loss=cross_entropy,
        evaluate=_evaluation(lambda: zip(test_x.split(1000), test_y.split(1000), strict=True), order),
        probe=list(test_x[: config.most_samples].split(_PROBE_BATCH)),
        baseline=_baseline(np.bincount(y[chosen], minlength=n_classes), order),
        **_network(config, x.shape[1:], n_classes, "small"),
    )


def run(config: Config, progress: Progress) -> Cell:
    """Train one network."""
    return train(config, task, METRICS, progress)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Set methods against each other over seeds."""
    return _contest.collect(config, cells, METRICS)


def long_tailed(
    y: np.ndarray, n_classes: int, imbalance: float, largest: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose images so that classes fall off geometrically in number.

    Parameters
    ----------
    y : ndarray (n,), int64
        Class of each image.
    n_classes : int
    imbalance : float
        Most over fewest images of a class.
    largest : int
        Images of the most frequent class, at most; less where a class has less.
    seed : int
        Of the order of the classes and of the images.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        Images to train on, images held out (equally many of all classes, not among the former), and the
        classes from the most frequent to the rarest.

    Raises
    ------
    ValueError
        If a class has fewer than two images.
    """
    rng = np.random.default_rng((seed, n_classes))
    order = rng.permutation(n_classes)
    fewest = int(np.bincount(y, minlength=n_classes).min())
    n_held_out = max(1, round(_HELD_OUT * fewest))
    if fewest <= n_held_out:
        raise ValueError(f"y must have two images of each class, got {fewest}")
    most = min(largest, fewest - n_held_out)
    chosen, held_out = [], []
    for rank, label in enumerate(order):
        own = rng.permutation(np.flatnonzero(y == label))
        n = max(1, round(most * imbalance ** (-rank / max(n_classes - 1, 1))))
        held_out.append(own[:n_held_out])
        chosen.append(own[n_held_out : n_held_out + n])
    return np.sort(np.concatenate(chosen)), np.sort(np.concatenate(held_out)), order


@functools.lru_cache(maxsize=1)
def _images(name: str, data_root: Path | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    from bbtheory.train import load_images

    data = load_images(name, data_root)
    x_train, x_test = (x.astype(np.float32) / np.float32(data.white) for x in (data.x_train, data.x_test))
    return x_train, data.y_train.copy(), x_test, data.y_test.copy(), len(data.class_names)


def _network(config: Config, shape: Sequence[int], n_classes: int, stem: str) -> dict[str, Any]:
    """Return the network as a task names it: links of convolutions are pairs of channels."""
    from bbtheory.train import block_convolutions, lenet_300_100, resnet

    seed = config.seeds[0]
    if config.network == "lenet_300_100":
        return {"model": lenet_300_100(math.prod(shape), n_classes, seed=seed)}
    small = {"blocks": (1, 1, 1), "widths": (16, 32, 64), "bottleneck": False}
    form: dict[str, Any] = small if config.network == "resnet8" else {}
    model = resnet(n_channels=shape[0], n_classes=n_classes, stem=stem, seed=seed, **form)
    return {"model": model, "layers": block_convolutions(model), "granularity": "channel"}


def _evaluation(batches: Callable[[], Any], order: np.ndarray) -> Callable[[nn.Module], dict[str, float]]:
    """Return what measures accuracy, mean over classes, over the rarest and over the commonest third."""

    def evaluate(model: nn.Module) -> dict[str, float]:
        import torch

        device = next(model.parameters()).device
        right, seen, loss = np.zeros(len(order)), np.zeros(len(order)), 0.0
        for x, y in batches():
            logits = model(x.to(device)).float().cpu()
            loss += float(torch.nn.functional.cross_entropy(logits, y, reduction="sum"))
            hit = (logits.argmax(1) == y).numpy()
            seen += np.bincount(y.numpy(), minlength=len(order))
            right += np.bincount(y.numpy()[hit], minlength=len(order))
        n_third = max(1, round(len(order) / 3))
        by_class = right / np.maximum(seen, 1)
        return {
            "accuracy": float(by_class.mean()),
            "tail_accuracy": float(by_class[order[-n_third:]].mean()),
            "head_accuracy": float(by_class[order[:n_third]].mean()),
            "test_loss": float(loss / seen.sum()),
        }

    return evaluate


def _baseline(counts: np.ndarray, order: np.ndarray) -> dict[str, float]:
    """Return the metrics of the answer that is always the most frequent class, with its share as odds."""
    share = counts / counts.sum()
    return {
        "accuracy": 1.0 / len(order),
        "tail_accuracy": 0.0,
        "head_accuracy": 1.0 / max(1, round(len(order) / 3)),
        "test_loss": float(-np.log(share).mean()),
    }


def _folder_task(config: Config, data_root: Path | None) -> Task:
    """Return the task of a folder of class folders, whose files are read as they are needed."""
    from bbtheory.train import FolderBatches, cross_entropy, load_image_folder

    data = load_image_folder(config.data, data_root, size=_FOLDER_SIZE)
    seed, n_classes = config.seeds[0], len(data.class_names)
    chosen, held_out, order = long_tailed(data.y_train, n_classes, config.imbalance, config.largest, seed)
    test_paths, y_test = data.test_paths, data.y_test
    if config.validation:
        test_paths, y_test = tuple(data.train_paths[i] for i in held_out), data.y_train[held_out]
    paths, y = [data.train_paths[i] for i in chosen], data.y_train[chosen]
    test = FolderBatches(test_paths, y_test, config.batch, size=data.size)
    spread = np.linspace(0, len(test_paths) - 1, min(len(test_paths), _PROBE_BATCH)).round().astype(int)
    probe = FolderBatches([test_paths[i] for i in spread], y_test[spread], 32, size=data.size)
    return Task(
        batches=FolderBatches(paths, y, config.batch, size=data.size, seed=seed),
        loss=cross_entropy,
        evaluate=_evaluation(test.in_order, order),
        probe=[x for x, _ in probe.in_order()],
        baseline=_baseline(np.bincount(y, minlength=n_classes), order),
        **_network(config, (3, data.size, data.size), n_classes, "large"),
    )

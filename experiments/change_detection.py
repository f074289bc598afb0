"""Does a network find rare changes between two dates better under Budgeted Broadcast, at equal density?

Source: a Landsat pair of Taizhou (2000 and 2003, six bands, 400 x 400 pixels) whose pixels are labelled to
13 %, from --data-root or BBTHEORY_DATA; or a folder in the form of LEVIR-CD, the set of arXiv 2510.01263,
cut into tiles and never resized. The smoke preset makes up a small pair. The scene is split into quadrants:
two to train on, one for validation (of tuning), one for the test: of three layouts the one where a threshold
and the dense network, both seen on the test quadrant, do worst, so that there is something to gain. Training
labels within the reach of the network of the other two are dropped: no test pixel's receptive field holds a
training label, and training tiles show nothing beyond their own quadrants. Seeds differ in weights and
order, not in the split: intervals say nothing of other scenes.

The network is FC-Siam-conc (Daudt et al. 2018); convolution with bias, BatchNorm and ReLU have one order in
dense and pruned networks alike, which in the authors' notebook they have not. Masked are its 3 x 3
convolutions but for the first and the last, by pairs of channels; the notebook masks the first of each level
of the encoder.

Loss and metrics are of labelled pixels only. Main metric: F1 of change over all of them; others: intersection
over union, and both as means over images, an image without change counting 0, as is usual on LEVIR-CD; tail:
found part of the smallest half of the connected regions of change, mean over regions. The baseline: the
length of the difference of standardised bands above a threshold, tuned on the training labels (change vector
analysis). The trivial answer that all has changed has an F1 of 0.42 and an intersection over union of 0.26.

Time: 20 min on one core (CPU preset, 55 cells of 20 s of processor time, extrapolated from three); the GPU
preset (LEVIR-CD) has not been run. What would count against the rule: a recall of small regions below that of
gradual magnitude by an interval that excludes 0.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.measure import Segmentation, measure_segmentation, region_recall
from experiments import _contest
from experiments._change_scenes import Squares, look, side_by_side
from experiments._contest import CPU_DENSITIES, CPU_METHODS, ContestConfig, Metric, Task, cells, train
from experiments.protocol import Progress

if TYPE_CHECKING:
    from torch import nn

    from bbtheory.train import Changes, Tiles

__all__ = ["cells"]

METRICS = (
    Metric("f1", role="main"),
    Metric("small_recall", role="tail"),
    Metric("iou"),
    Metric("image_f1"),
    Metric("image_iou"),
    Metric("precision"),
    Metric("recall"),
)
SMALL = 0.5  # of the regions
_UNLABELLED = 255
_N_THRESHOLDS = 400
_MOST_PIXELS = 200_000  # that tune a threshold


@dataclasses.dataclass(frozen=True)
class Config(ContestConfig):
    """Settings of the contest (see `ContestConfig`) and of its task.

    Parameters
    ----------
    data : str
        generated, change_landsat_taizhou, levir_cd, or a folder in its form.
    tile, stride : int
        Pixels a side of a training tile, and from one to the next.
    widths, depths : tuple of int
        Channels and convolutions of each level, see `bbtheory.train.siamese_network`.
    dropout : float
    """

    data: str = "change_landsat_taizhou"
    tile: int = 64
    stride: int = 32
    widths: tuple[int, ...] = (16, 32)
    depths: tuple[int, ...] = (2, 2)
    dropout: float = 0.1
    epochs: int = 20
    batch: int = 4
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.integer("tile", self.tile, "[1, inf)")
        validate.integer("stride", self.stride, "[1, inf)")


SMOKE = Config(
    methods=("dense", "magnitude", "bb_in"),
    densities=(0.3,),
    data="generated",
    tile=24,
    stride=12,
    widths=(8, 8),
    depths=(1, 1),
    dropout=0.0,
    epochs=6,
    batch=2,
    learning_rate=1e-2,
    n_refreshes=4,
    most_samples=100,
    most_units=16,
    seeds=(0,),
)
# chosen by tune_change_detection, preset cpu
_KNOBS: dict[str, dict[str, float]] = {
    "dense": {"learning_rate_factor": 1.0},
    "random": {"learning_rate_factor": 1.4},
    "magnitude": {"learning_rate_factor": 2.0, "reached": 0.95},
    "rigl": {"learning_rate_factor": 1.0, "fraction": 0.3},
    "bb_in": {"learning_rate_factor": 2.0, "nats": 10.0},
    "bb_both": {"learning_rate_factor": 1.0, "nats": 4.0},
}
CPU = Config(methods=CPU_METHODS, densities=CPU_DENSITIES, knobs=_KNOBS)
GPU = Config(
    methods=CPU_METHODS,
    densities=CPU_DENSITIES,
    data="levir_cd",
    tile=256,
    stride=256,
    widths=(32, 64, 128, 256),
    depths=(2, 2, 3, 3),
    epochs=5,
    batch=16,
    learning_rate=1e-3,
    device="cuda",
    precision="bfloat16",
    seeds=(0, 1, 2),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(_contest.Cell):
    """One trained network, and what it found in a few squares; None in earlier records."""

    squares: Squares | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Result(_contest.Result):
    """All networks, and what those of the first seed found in the same squares; None in earlier records."""

    HIDDEN: ClassVar[tuple[str, ...]] = ("squares",)

    squares: Squares | None = None


def task(config: Config, data_root: Path | None) -> Task:
    """Return tiles of a pair, a Siamese network and its metrics, for the first seed."""
    from bbtheory.train import TileBatches, change_loss, siamese_network
    from bbtheory.train.tile_batches import standardised

    changes = _changes(config.data, data_root, config.tile, config.stride, config.depths)
    seed = config.seeds[0]
    model = siamese_network(changes.n_bands, config.widths, config.depths, dropout=config.dropout, seed=seed)
    tiles = changes.validation if config.validation else changes.test
    probe = [tiles.tile(i)[:2] for i in range(min(len(tiles), 8))]
    return Task(
        model=model,
        batches=TileBatches(changes, config.batch, seed=seed),
        loss=change_loss,
        evaluate=lambda model: measure_changes(tiles, _predicting(model, changes)),
        probe=[tuple(standardised(changes, image[None]) for image in pair) for pair in probe],
        layers=model.inner,
        granularity="channel",
        baseline=measure_changes(tiles, vector_analysis(changes)),
    )


def run(config: Config, progress: Progress) -> Cell:
    """Train one network."""
    seen: list[Squares] = []

    def looking(config: Config, data_root: Path | None) -> Task:
        given = task(config, data_root)
        changes = _changes(config.data, data_root, config.tile, config.stride, config.depths)
        tiles = changes.validation if config.validation else changes.test

        def evaluate(model: nn.Module) -> dict[str, float]:
            predict = _predicting(model, changes)
            seen.append(look(tiles, config.tile, predict, config.methods[0], config.densities[0]))
            return dict(given.evaluate(model))

        return dataclasses.replace(given, evaluate=evaluate)

    cell = train(config, looking, METRICS, progress)
    return Cell(
        **{field.name: getattr(cell, field.name) for field in dataclasses.fields(cell)}, squares=seen[-1]
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Set methods against each other over seeds."""
    found = _contest.collect(config, cells, METRICS)
    squares = side_by_side([cell.squares for cell in cells[:: len(config.seeds)]])
    return Result(
        **{field.name: getattr(found, field.name) for field in dataclasses.fields(found)}, squares=squares
    )


def measure_changes(
    tiles: Tiles, predict: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> dict[str, float]:
    """Measure what a rule finds in tiles: over all labelled pixels, image by image, and by regions.

    Parameters
    ----------
    tiles : Tiles
    predict : callable (before, after) -> ndarray of bool (height, width)
    """
    from scipy import ndimage

    by_image: dict[int, list[int]] = {}
    predicted, regions = [], []
    n_regions = 0
    for i, window in enumerate(tiles.windows):
        before, after, label = tiles.tile(i)
        found = predict(before, after)
        counts = _counts(measure_segmentation(found, label == 1, label != _UNLABELLED))
        image = int(window[0])
        by_image[image] = [a + b for a, b in zip(by_image.get(image, [0] * 4), counts, strict=True)]
        # regions of change, corners included; what a tile cuts counts as two
        numbered: Any = ndimage.label(label == 1, np.ones((3, 3)))
        own = numbered[0]
        regions.append(np.where(own > 0, own + n_regions, 0).ravel())
        predicted.append(found.ravel())
        n_regions += int(own.max())
    whole = Segmentation(*np.sum(list(by_image.values()), axis=0).tolist())
    each = [Segmentation(*counts) for counts in by_image.values()]
    recall, _, _ = region_recall(np.concatenate(predicted), np.concatenate(regions), SMALL)
    return {
        "f1": whole.f1,
        "iou": whole.iou,
        "precision": whole.precision,
        "recall": whole.recall,
        "small_recall": recall,
        "image_f1": float(np.mean([image.f1 for image in each])),
        "image_iou": float(np.mean([image.iou for image in each])),
    }


def vector_analysis(changes: Changes) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the rule |(difference - its median)/scale| > threshold, of the best F1 on the training labels.

    The median over the training part takes out what all pixels have in common, such as the light.
    """
    tiles = changes.train
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(tiles))[: max(1, _MOST_PIXELS // int(np.prod(tiles.windows[0, 3:])))]
    before, after, label = tiles.stack(chosen)
    scale = changes.scale[:, None, None]
    difference = (after.astype(float) - before) / scale
    middle = np.median(difference.swapaxes(0, 1).reshape(changes.n_bands, -1), axis=1)[:, None, None]
    length = np.linalg.norm(difference - middle, axis=1)
    known = label != _UNLABELLED
    thresholds = np.quantile(length[known], np.linspace(0.0, 1.0, _N_THRESHOLDS))
    f1 = [measure_segmentation(length > t, label == 1, known).f1 for t in thresholds]
    best = thresholds[int(np.argmax(f1))]

    def predict(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return np.linalg.norm((after.astype(float) - before) / scale - middle, axis=0) > best

    return predict


@functools.lru_cache(maxsize=1)
def _changes(name: str, data_root: Path | None, tile: int, stride: int, depths: tuple[int, ...]) -> Changes:
    from bbtheory.train import load_changes, siamese_reach

    return load_changes(name, data_root, tile=tile, stride=stride, margin=siamese_reach(depths))


def _predicting(model: nn.Module, changes: Changes) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    from bbtheory.train.tile_batches import standardised

    device = next(model.parameters()).device

    def predict(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        pair = (standardised(changes, image[None]).to(device) for image in (before, after))
        return (model(*pair)[0] > 0).cpu().numpy()

    return predict


def _counts(found: Segmentation) -> list[int]:
    return [found.true_positives, found.false_positives, found.false_negatives, found.true_negatives]

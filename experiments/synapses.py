"""Does a network find rare synapses better under Budgeted Broadcast than under its rivals, at equal density?

Source: 20 sections of electron microscopy (``em_vnc_stack1``) from --data-root or BBTHEORY_DATA, or an HDF5
volume in the layout of CREMI; the smoke preset takes a small volume made by a formula. The rule is that of
arXiv 2510.01263; its network and protocol for this task are not public, so both are this project's: a 3-D
U-Net with pools within sections only, trained on patches half of which hold a synapse, by weighted
cross-entropy plus soft Dice. Sections in their order: training, a gap as wide as the network reaches across
sections, validation, test (the official last four). Nothing seen together with a held-out section is trained
on. Synapses are 1 % of the training voxels and 0.3 % of the test voxels.

Links are single weights, not pairs of channels as in the authors' convolutions: with 8 channels a density of
0.1 would leave a unit with one pair or none. The first layer, which reads grey values, and the head stay
dense.

Main metric: average precision of voxels. The threshold of all others is that of the best F1 on validation
sections (where tuning is scored, too); objects are connected within a section and found if half of their
voxels are. Tail: the share that is found of an object's voxels, mean over the smaller half of the objects.
Recall of whole objects is reported beside it, but the test sections hold 6, so it moves in steps of a third
and the dense network finds them all. Seeds vary weights and patches, never the sections: intervals say
nothing of other tissue. The trivial answer is how dark a voxel is; ``prevalence`` is the average precision of
scores that say nothing.

Time: 21 to 26 min on one core (CPU preset, extrapolated from 23 to 28 s of processor time a cell, dense and
SP-in, on a busy machine). Its dense network of seed 0 had an average precision of 0.80, darkness 0.16,
prevalence 0.003. The network of the GPU and full presets has the depth and the first width of the published
3-D U-Net; it has not been run on a GPU. What would count against the rule: an average precision, or a tail,
below that of gradual magnitude by an interval that excludes 0.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
from experiments.protocol import NotRun, Progress

if TYPE_CHECKING:
    from torch import nn

    from bbtheory.train.data_volumes import Volume

__all__ = ["Cell", "Result", "cells"]

METRICS = (
    Metric("average_precision", role="main"),
    Metric("small_covered", role="tail"),
    Metric("small_object_recall"),
    Metric("f1"),
    Metric("precision"),
    Metric("recall"),
    Metric("object_recall"),
    Metric("object_precision"),
    Metric("object_f1"),
    Metric("prevalence"),
)
_MOST_SECTIONS = 16  # of a window in prediction; more of a larger volume take several windows
_WITHIN = (1, 2)  # objects are connected along these axes


@dataclasses.dataclass(frozen=True)
class Config(ContestConfig):
    """Settings of the contest (see `ContestConfig`) and of its task.

    Parameters
    ----------
    data : str
        generated, em_vnc_stack1, or the name of an HDF5 file in the layout of CREMI.
    factor : int
        Pixels that are made into one, on each side.
    width, depth, n_deep : int
        Of the network, see `UNet3d`.
    norm : {"batch", "group"}
    n_sections, side : int
        Of a patch, sections and pixels.
    n_patches : int
        Per epoch.
    rare_share : float
        Of the patches that are drawn around a synapse voxel.
    positive_weight, dice_share : float
        Of the loss, see `rare_class_loss`.
    n_validation : int
        Validation sections.
    overlap : float
        Of windows in prediction.
    min_overlap : float
        Share of an object that must be right.
    min_area : float
        Of a prediction to be an object, pixels of the original volume.
    granularity : {"weight", "channel"}
    """

    data: str = "em_vnc_stack1"
    factor: int = 1
    width: int = 32
    depth: int = 4
    n_deep: int = 2
    norm: str = "batch"
    n_sections: int = 8
    side: int = 256
    n_patches: int = 120
    rare_share: float = 0.5
    positive_weight: float = 2.0
    dice_share: float = 0.5
    n_validation: int = 4
    overlap: float = 0.5
    min_overlap: float = 0.5
    min_area: float = 160.0
    granularity: str = "weight"
    epochs: int = 100
    batch: int = 4
    learning_rate: float = 1e-3
    learning_rate_warmup: float = 0.05
    device: str = "cuda"
    precision: str = "bfloat16"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("factor", "width", "n_sections", "side", "n_patches", "n_validation"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        validate.integer("depth", self.depth, "[2, 16]")
        validate.integer("n_deep", self.n_deep, f"[0, {self.depth}]")
        if self.side % 2 ** (self.depth - 1):
            raise ValueError(f"side must be a multiple of {2 ** (self.depth - 1)}, got {self.side}")
        validate.choice("norm", self.norm, ("batch", "group"))
        validate.choice("granularity", self.granularity, ("weight", "channel"))
        validate.real("rare_share", self.rare_share, "[0, 1]")
        validate.real("dice_share", self.dice_share, "[0, 1]")
        validate.real("positive_weight", self.positive_weight, "(0, inf)")
        validate.real("overlap", self.overlap, "[0, 1)")
        validate.real("min_overlap", self.min_overlap, "(0, 1]")
        validate.real("min_area", self.min_area, "[0, inf)")


SMOKE = Config(
    methods=("dense", "magnitude", "bb_in"),
    densities=(0.3,),
    data="generated",
    width=4,
    depth=2,
    n_deep=1,
    n_sections=2,
    side=16,
    n_patches=32,
    n_validation=2,
    min_area=4.0,
    epochs=2,
    learning_rate=1e-2,
    n_refreshes=3,
    most_samples=100,
    most_units=8,
    device="cpu",
    precision="float32",
    seeds=(0,),
)
# chosen by tune_synapses, preset cpu
_KNOBS: dict[str, dict[str, float]] = {
    "dense": {"learning_rate_factor": 1.0},
    "random": {"learning_rate_factor": 2.0},
    "magnitude": {"learning_rate_factor": 1.0, "reached": 0.35},
    "rigl": {"learning_rate_factor": 4.0, "fraction": 0.1},
    "bb_in": {"learning_rate_factor": 2.0, "nats": 10.0},
    "bb_both": {"learning_rate_factor": 1.0, "nats": 4.0},
}
CPU = Config(
    methods=CPU_METHODS,
    densities=CPU_DENSITIES,
    factor=4,
    width=8,
    depth=3,
    n_deep=1,
    n_sections=4,
    side=64,
    n_patches=100,
    epochs=8,
    learning_rate=3e-3,
    device="cpu",
    precision="float32",
    knobs=_KNOBS,
)
GPU = Config(methods=CPU_METHODS, densities=CPU_DENSITIES, epochs=20, seeds=(0, 1, 2))


def task(config: Config, data_root: Path | None) -> Task:
    """Return patches of the training sections, a network, and its metrics on held-out sections.

    Raises
    ------
    NotRun
        If the volume is an HDF5 file and h5py is not installed.
    """
    from bbtheory.train.models_unet import UNet3d, unet_reach
    from bbtheory.train.patches import PatchBatches, predict_volume, rare_class_loss

    try:
        volume = _volume(config.data, config.factor, data_root)
    except ImportError as missing:
        raise NotRun(str(missing.name)) from None
    seed, reach = config.seeds[0], unet_reach(config.n_deep)
    split = volume.split(config.n_validation, reach)
    prior = max(float(volume.synapse[split.train].mean()), 1e-3)  # of no section that is held out
    network = {"n_deep": config.n_deep, "norm": config.norm, "seed": seed}
    model = UNet3d(config.width, config.depth, **network, prior=prior)
    seen = volume.raw[split.train]
    raw = ((volume.raw - seen.mean()) / seen.std()).astype(np.float32)
    held_out = split.validation if config.validation else split.test
    test = raw[_with_context(held_out, reach)]

    def score(model: nn.Module, part: slice) -> np.ndarray:
        context = _with_context(part, reach)
        window = (min(context.stop - context.start, _MOST_SECTIONS), config.side, config.side)
        out = predict_volume(model, raw[context], window, overlap=config.overlap, batch=config.batch)
        return out[part.start - context.start :]

    def evaluate(model: nn.Module) -> dict[str, float]:
        tuned = score(model, split.validation)
        return _figures(
            config,
            volume,
            split.validation,
            tuned,
            held_out,
            tuned if config.validation else score(model, held_out),
        )

    return Task(
        model=model,
        batches=PatchBatches(
            raw[split.train],
            volume.synapse[split.train],
            (config.n_sections, config.side, config.side),
            n_patches=config.n_patches,
            batch=config.batch,
            rare_share=config.rare_share,
            seed=seed,
        ),
        loss=rare_class_loss(config.positive_weight, config.dice_share),
        evaluate=evaluate,
        probe=_tiles(test, config.side),
        layers=model.hidden,
        granularity=config.granularity,
        baseline=_figures(config, volume, split.validation, -raw[split.validation], held_out, -raw[held_out]),
    )


def run(config: Config, progress: Progress) -> Cell:
    """Train one network."""
    return train(config, task, METRICS, progress)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Set methods against each other over seeds."""
    return _contest.collect(config, cells, METRICS)


@functools.lru_cache(maxsize=1)
def _volume(name: str, factor: int, data_root: Path | None) -> Volume:
    from bbtheory.train.data_volumes import load_volume

    return load_volume(name, data_root).coarser(factor)


def _with_context(part: slice, reach: int) -> slice:
    """Return sections and those before them that their prediction depends on; none of these is trained on."""
    return slice(max(part.start - reach, 0), part.stop)


def _tiles(raw: np.ndarray, side: int) -> list:
    """Cut sections into squares that do not overlap, (1, 1, n_sections, side, side) each."""
    import torch

    corners = [range(0, n - side + 1, side) for n in raw.shape[1:]]
    tiles = [raw[None, None, :, y : y + side, x : x + side] for y in corners[0] for x in corners[1]]
    return [torch.from_numpy(np.ascontiguousarray(tile)) for tile in tiles]


def _figures(
    config: Config,
    volume: Volume,
    validation: slice,
    validation_score: np.ndarray,
    held_out: slice,
    score: np.ndarray,
) -> dict[str, float]:
    """Return the metrics of scores of held-out sections, thresholds from those of validation sections."""
    from bbtheory.measure.detection import best_threshold, measure_detection

    found = measure_detection(
        score,
        volume.synapse[held_out],
        best_threshold(validation_score, volume.synapse[validation]),
        axes=_WITHIN,
        min_overlap=config.min_overlap,
        min_size=max(1, round(config.min_area / config.factor**2)),
    )
    return {metric.name: float(getattr(found, metric.name)) for metric in METRICS}

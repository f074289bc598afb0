"""Does the dense network of the contests do as well as others report of such networks?

Source: LeNet-300-100 on all training images of MNIST and Fashion-MNIST, by Adam without decay for the epochs
of the contest, and a character model of nanoGPT's shape for a CPU on Tiny Shakespeare, from --data-root or
BBTHEORY_DATA, by the code that trains the dense arm of image_classification and language_model; the smoke
preset takes scikit-learn's digits. The known figures are single runs reported by others: their spread over
seeds is taken to be ours. A control is within noise where the known figure lies in the interval for one more
run; a worse one would make every comparison with dense networks too easy.

Time: 30 min on one core (CPU preset: 10 cells of 1.5 min and 5 of 3 min), no accelerator. What would count
against the contests: a verdict "worse".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.records import Record
from experiments import _contest, image_classification, language_model
from experiments._contest import Metric, Task
from experiments.protocol import Progress

if TYPE_CHECKING:
    from torch import nn

_CONFIDENCE = 0.95
_BATCH = 64  # windows


@dataclasses.dataclass(frozen=True)
class Known:
    """What others report of a network: ``value`` of a metric, ``n_windows`` if estimated from a sample."""

    metric: str
    value: float
    source: str
    higher_is_better: bool = True
    n_windows: int = 0


KNOWN = {
    "digits": Known("accuracy", 0.97, "scikit-learn's example of hand-written digits, SVC"),
    "mnist": Known("accuracy", 0.9836, "LeNet-300-100, error 1.64 %: Han et al. 2015, arXiv 1506.02626"),
    "fashion_mnist": Known("accuracy", 0.900, "MLP 256-128-64: README of zalandoresearch/fashion-mnist"),
    "tinyshakespeare": Known(
        "nats", 1.88, "README of karpathy/nanoGPT, the run on a CPU", higher_is_better=False, n_windows=240
    ),
}
METRICS = {
    "accuracy": (Metric("accuracy", role="main"),),
    "nats": (Metric("nats", higher_is_better=False, role="main"), Metric("window_spread")),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    controls : tuple of {"mnist", "fashion_mnist", "tinyshakespeare", "digits"}
    epochs : int
        On images; the text takes nanoGPT's 2000 steps.
    seeds : tuple of int
    """

    controls: tuple[str, ...] = ("mnist", "fashion_mnist", "tinyshakespeare")
    epochs: int = 40
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        for control in self.controls:
            validate.choice("controls", control, tuple(KNOWN))
        validate.integer("epochs", self.epochs, "[1, inf)")


SMOKE = Config(controls=("digits",), epochs=8, seeds=(0, 1))
CPU = Config()


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One dense network: its metric, what a trivial answer reaches, and the spread over windows of a text."""

    KIND: ClassVar[str] = "dense_controls_cell"

    value: float
    trivial: float
    window_spread: float


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One control over seeds.

    Parameters
    ----------
    control, metric, source : str
    known, trivial, mean, spread : float
        Reported by others; of the trivial answer; ours, and its standard deviation over seeds.
    n : int
    low, high : float
        Where one more run, judged as theirs was, is expected at 95 %.
    verdict : str
        within noise, better or worse.
    """

    KIND: ClassVar[str] = "dense_controls_row"

    control: str
    metric: str
    known: float
    trivial: float
    mean: float
    spread: float
    n: int
    low: float
    high: float
    verdict: str
    source: str


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All controls."""

    KIND: ClassVar[str] = "dense_controls"

    rows: tuple[Row, ...]


def cells(config: Config) -> list[Config]:
    """Return one setting per control and seed."""
    return [
        dataclasses.replace(config, controls=(control,), seeds=(seed,))
        for control in config.controls
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network."""
    known = KNOWN[config.controls[0]]
    task = _text_task if known.metric == "nats" else _image_task
    found = _contest.train(_settings(config), task, METRICS[known.metric], progress)
    value, *spread = found.metrics.tolist()
    return Cell(value, float(found.baseline[0]), *(spread or [math.nan]))


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Set each control against its known figure."""
    from scipy.stats import t

    rows = []
    n = len(config.seeds)
    for i, control in enumerate(config.controls):
        known, group = KNOWN[control], cells[n * i : n * (i + 1)]
        values = np.array([cell.value for cell in group])
        mean, spread = float(values.mean()), float(values.std(ddof=1)) if n > 1 else math.nan
        sampled = group[0].window_spread ** 2 / known.n_windows if known.n_windows else 0.0
        quantile = float(t.ppf(0.5 + _CONFIDENCE / 2, max(n - 1, 1)))
        half = quantile * math.sqrt(spread**2 * (1 + 1 / n) + sampled)
        more = (mean - known.value) * (1 if known.higher_is_better else -1)
        verdict = "worse" if more < -half else "better" if more > half else "within noise"
        rows.append(
            Row(
                control=control,
                metric=known.metric,
                known=known.value,
                trivial=group[0].trivial,
                mean=mean,
                spread=spread,
                n=n,
                low=mean - half,
                high=mean + half,
                verdict="undecided" if math.isnan(half) else verdict,
                source=known.source,
            )
        )
    return Result(rows=tuple(rows))


def _settings(config: Config) -> Any:
    """Return the settings of the contest's dense arm."""
    control, dense = config.controls[0], {"methods": ("dense",), "densities": (1.0,), "seeds": config.seeds}
    if control != "tinyshakespeare":
        return image_classification.Config(data=control, imbalance=1.0, epochs=config.epochs, **dense)
    return language_model.Config(
        **dense,
        width=128,
        depth=4,
        heads=4,
        ffn=512,
        context=64,
        activation="gelu",
        dropout=0.0,
        epochs=20,
        steps=100,
        batch=12,
        learning_rate=1e-3,
        learning_rate_warmup=0.05,
    )


def _image_task(config: Any, data_root: Path | None) -> Task:
    """Return the task of image_classification, learnt from all training images."""
    import torch

    from bbtheory.train import TensorBatches, load_data

    task = image_classification.task(config, data_root)
    data = load_data(config.data, data_root)
    x, y = torch.from_numpy(data.flat("train")), torch.from_numpy(data.y_train.copy())
    return dataclasses.replace(task, batches=TensorBatches(x, y, config.batch, seed=config.seeds[0]))


def _text_task(config: Any, data_root: Path | None) -> Task:
    """Return the task of language_model, judged in nats per character."""
    import torch
    from torch.nn.functional import cross_entropy

    text = language_model.read_corpus(config, data_root)

    def evaluate(model: nn.Module) -> dict[str, float]:
        # windows side by side, their first characters included, as nanoGPT estimates its loss
        n = (len(text.test) - 1) // config.context
        end = n * config.context
        seen, next_ = (torch.from_numpy(text.test[i : i + end]).reshape(n, -1) for i in (0, 1))
        nats = torch.cat(
            [
                cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)
                for x, y in zip(seen.split(_BATCH), next_.split(_BATCH), strict=True)
            ]
        )
        return {"nats": float(nats.mean()), "window_spread": float(nats.std())}

    task = language_model.task(config, data_root)
    trivial = {"nats": math.log(task.baseline["perplexity"])}
    return dataclasses.replace(task, evaluate=evaluate, baseline=trivial)

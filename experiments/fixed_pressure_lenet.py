"""Where does the density of LeNet-300-100 settle under a pressure that is held?

Source: MNIST, its official split, from --data-root or BBTHEORY_DATA; the smoke preset takes scikit-learn's
digits. Settings follow the authors' code of Hyperflux (arXiv 2504.05349) of January 2025, when it made their
curves of this network: weights from scratch by Adam at 5e-3, along a cosine to 1e-7, no decay; presence by
Adam at 7.5e-4, from uniform (0.2, 0.5); a pressure that acts on t above -0.3 alone (their later code has no
such floor); plain cross-entropy (later, labels smoothed by 0.1); images less their mean over their standard
deviation; batches of 128; 300 epochs. Nothing is tuned. One run for each pressure 2^k and seed; at its end
the flux of absent weights is measured, and that of some present ones by removing them, and set against the
pressure. A first run had no floor and images in [0, 1]: at 2^-5 it ended at densities of 6.2 and 6.0 %.

Time: 3 hours on one core (CPU preset: 18 cells of 10 minutes of processor time), longer than other CPU
presets, and resumable after every epoch; the GPU preset trains all pressures and seeds in one cell, side by
side, and has not been run. What would count against the claim that a held pressure sets the density: a
density that is still falling at the end, or that differs between seeds by more than it does between
pressures; a least flux of present weights far from the pressure.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import finite_mean, mean_low_high
from bbtheory.records import Record
from experiments._hyperflux import by_row, drift, load, spread
from experiments.protocol import NotRun, Progress

if TYPE_CHECKING:
    import torch

    from bbtheory.train import Hyperflux, TensorBatches

_LAST_RATE = 1e-7  # of Adam on the weights, authors' code
_FLUX_IMAGES = 2048  # the first of the training images
_SAVE_EVERY = 25  # epochs of stacked networks, whose state is large
_LOW = 0.05  # quantile that stands for the least flux of present weights


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    data : {"mnist", "digits"}
    exponents : tuple of int
        k of the pressures 2^k.
    epochs, batch : int
    learning_rate, flow_rate : float
        Of Adam on weights, at the start; of Adam on presence.
    smoothing : float
        Of labels, in [0, 1).
    standardize : bool
        Whether images are taken less their mean over their standard deviation, those of the training images
        (0.1307 and 0.3081 on MNIST), and not in [0, 1].
    floor : float
        The pressure acts on t above it alone.
    n_removed : int
        Present weights that are removed one by one, for their flux.
    device : {"cpu", "cuda"}
    stacked : bool
        Whether all pressures and seeds are trained side by side, in one cell.
    seeds : tuple of int
    """

    data: str = "mnist"
    exponents: tuple[int, ...] = tuple(range(-6, 8))
    epochs: int = 300
    batch: int = 128
    learning_rate: float = 5e-3
    flow_rate: float = 7.5e-4
    smoothing: float = 0.0
    standardize: bool = True
    floor: float = -0.3
    n_removed: int = 200
    device: str = "cpu"
    stacked: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        validate.choice("data", self.data, ("mnist", "digits"))
        for exponent in self.exponents:
            validate.integer("exponents", exponent, "[-60, 60]")
        validate.integer("epochs", self.epochs, "[1, inf)")
        validate.integer("batch", self.batch, "[1, inf)")
        validate.real("learning_rate", self.learning_rate, "(0, inf)")
        validate.real("flow_rate", self.flow_rate, "(0, inf)")
        validate.real("smoothing", self.smoothing, "[0, 1)")
        validate.real("floor", self.floor, "[-inf, 0)")
        validate.integer("n_removed", self.n_removed, "[0, inf)")
        validate.choice("device", self.device, ("cpu", "cuda"))


SMOKE = Config(data="digits", exponents=(0,), epochs=3, flow_rate=1e-2, n_removed=20, seeds=(0,))
CPU = Config(exponents=(-5, -3, -1, 1, 3, 5))
GPU = Config(device="cuda", stacked=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Network(Record):
    """One pressure and seed.

    Parameters
    ----------
    density, accuracy, loss : array (epochs,)
        At the end of each epoch.
    layer_density : array (3,)
        At the end.
    absent_cases : array (3, 4)
        Absent weights of each layer by case of sign, see `bbtheory.train.LayerFlux`.
    empty : tuple of str
        Layers without a weight at the end.
    flux_low, flux_median : float
        Quantiles 0.05 and 0.5 of the flux of present weights, of those removed; NaN without any.
    absent_above : float
        Share of all absent weights whose flux is above the pressure.
    """

    KIND: ClassVar[str] = "fixed_pressure_lenet_network"

    density: np.ndarray
    accuracy: np.ndarray
    loss: np.ndarray
    layer_density: np.ndarray
    absent_cases: np.ndarray
    empty: tuple[str, ...]
    flux_low: float
    flux_median: float
    absent_above: float


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """The networks that were trained together, seeds innermost; one where they are not stacked."""

    KIND: ClassVar[str] = "fixed_pressure_lenet_cell"

    networks: tuple[Network, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One pressure over seeds; intervals are Student's, 95 %."""

    KIND: ClassVar[str] = "fixed_pressure_lenet_row"

    pressure: float
    n: int
    density: float  # after the last epoch
    low: float
    high: float
    spread: float  # standard deviation over the last tenth of the epochs, over the density; mean over seeds
    drift: float  # relative change over the last tenth of the epochs, on the line of least squares; mean
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    fc1: float
    fc2: float
    fc3: float
    flux_low: float
    flux_median: float
    absent_above: float
    n_empty: int  # runs that end with an empty layer


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All pressures; `python -m bbtheory.fit pruning-law` reads pressure and density.

    Parameters
    ----------
    rows : tuple of Row
    courses, accuracies : ndarray (n_rows, n_seeds, epochs)
        Density and accuracy at the end of each epoch.
    """

    KIND: ClassVar[str] = "fixed_pressure_lenet"
    HIDDEN: ClassVar[tuple[str, ...]] = ("courses", "accuracies")

    rows: tuple[Row, ...]
    courses: np.ndarray
    accuracies: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per pressure and seed; the whole where networks are stacked."""
    return [config] if config.stacked else _networks(config)


def _networks(config: Config) -> list[Config]:
    return [
        dataclasses.replace(config, exponents=(exponent,), seeds=(seed,))
        for exponent in config.exponents
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network under one pressure, or all of them side by side."""
    import torch

    from bbtheory.train import Flow, Hyperflux, TensorBatches, lenet_300_100

    if config.device == "cuda" and not torch.cuda.is_available():
        raise NotRun("a CUDA device")
    torch.set_num_threads(1)
    x, y, *held_out = (part.to(config.device) for part in load(config.data, progress.data_root))
    if config.standardize:
        mean, deviation = x.mean(), x.std()
        x, held_out[0] = (x - mean) / deviation, (held_out[0] - mean) / deviation
    test = held_out[0], held_out[1]
    each: list[tuple[Hyperflux, TensorBatches]] = []
    for network in _networks(config):
        seed = network.seeds[0]
        batches = TensorBatches(x, y, config.batch, seed=seed)
        model = lenet_300_100(x.shape[1], 10, seed=seed)
        flux = Hyperflux(
            model if config.stacked else model.to(config.device),
            2.0 ** network.exponents[0],
            interval=len(batches),
            flow=Flow(lr=config.flow_rate),
            floor=config.floor,
            stop_when_empty=False,
            seed=seed,
        )
        each.append((flux, batches))
    progress.total(config.epochs)
    if config.stacked:
        courses = _train_stacked(config, each, test, progress)
    else:
        courses = _train(config, each[0][0], each[0][1], test, progress)
    return Cell(
        tuple(
            _measured(network, flux, batches, *course)
            for network, (flux, batches), course in zip(_networks(config), each, courses, strict=True)
        )
    )


_Courses = list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # density, accuracy and loss of each network


def _train(
    config: Config,
    flux: Hyperflux,
    batches: TensorBatches,
    test: tuple[torch.Tensor, torch.Tensor],
    progress: Progress,
) -> _Courses:
    import torch

    from bbtheory.train import classification, train_epochs

    optimizer = torch.optim.Adam(flux.model.parameters(), config.learning_rate, fused=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs, eta_min=_LAST_RATE)

    def keep(state: dict[str, Any]) -> None:
        progress.save(state)
        progress.tick()

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "every weight of layer")  # that is stated in the record
        trained = train_epochs(
            flux.model,
            optimizer,
            batches,
            epochs=config.epochs,
            loss=_loss(config),
            pruner=flux,
            scheduler=scheduler,
            evaluate=classification(*test),
            seed=config.seeds[0],
            state=progress.restore(),
            on_epoch=keep,
        )
    return [(trained.density, trained.metric("accuracy"), trained.loss)]


def _train_stacked(
    config: Config,
    each: Sequence[tuple[Hyperflux, TensorBatches]],
    test: tuple[torch.Tensor, torch.Tensor],
    progress: Progress,
) -> _Courses:
    import torch

    from bbtheory.train import HyperfluxStack

    stack = HyperfluxStack(
        [flux for flux, _ in each],
        each[0][1].x,
        each[0][1].y,
        learning_rate=config.learning_rate,
        smoothing=config.smoothing,
    )
    found = np.full((config.epochs, 3, len(each)), math.nan)
    state, first = progress.restore(), 0
    if state is not None:
        stack.load_state(state)
        found, first = state["found"], int(state["epoch"])
        progress.tick(first)
    for epoch in range(first, config.epochs):
        falling = 0.5 * (1.0 + math.cos(math.pi * epoch / config.epochs))
        stack.learn_at(_LAST_RATE + (config.learning_rate - _LAST_RATE) * falling)
        loss = stack.epoch(torch.stack([batches.order(epoch) for _, batches in each]), config.batch)
        parts = (stack.density(), stack.accuracy(*test), loss)
        found[epoch] = torch.stack(parts).cpu().numpy()
        if (epoch + 1) % _SAVE_EVERY == 0:
            progress.save({**stack.state(), "found": found, "epoch": epoch + 1})
        progress.tick()
    stack.put_back()
    return [(found[:, 0, i], found[:, 1, i], found[:, 2, i]) for i in range(len(each))]


def _loss(config: Config) -> Any:
    from torch.nn.functional import cross_entropy

    def loss(model: Any, batch: Any) -> Any:
        return cross_entropy(model(batch[0]), batch[1], label_smoothing=config.smoothing)

    return loss


def _measured(
    config: Config,
    flux: Hyperflux,
    batches: TensorBatches,
    density: np.ndarray,
    accuracy: np.ndarray,
    loss: np.ndarray,
) -> Network:
    """Measure the flux of a trained network's weights."""
    from bbtheory.train import measure_flux

    flux.finish()
    images = [(batches.x[:_FLUX_IMAGES], batches.y[:_FLUX_IMAGES])]
    found = measure_flux(flux, images, _loss(config), probes=2, sample=config.n_removed, seed=config.seeds[0])
    present = found.sample_exact
    n_absent = np.array([layer.n_absent for layer in found.layers])
    returning = np.array([layer.absent_above for layer in found.layers])
    low, median = np.quantile(present, (_LOW, 0.5)) if present.size else (math.nan, math.nan)
    return Network(
        density=density,
        accuracy=accuracy,
        loss=loss,
        layer_density=np.array([w.n_kept / w.mask.numel() for w in flux.weights.values()]),
        empty=flux.empty_layers,
        absent_cases=np.array([layer.absent_cases for layer in found.layers]),
        flux_low=float(low),
        flux_median=float(median),
        absent_above=float(np.sum(n_absent * np.nan_to_num(returning)) / max(n_absent.sum(), 1)),
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds."""
    rows = []
    n = len(config.seeds)
    networks = [network for cell in cells for network in cell.networks]
    for i, exponent in enumerate(config.exponents):
        group = networks[n * i : n * (i + 1)]
        density = np.array([network.density[-1] for network in group])
        layers = np.mean([network.layer_density for network in group], axis=0)
        rows.append(
            Row(
                2.0**exponent,
                n,
                *mean_low_high(density),
                finite_mean([spread(network.density) for network in group]),
                finite_mean([drift(network.density) for network in group]),
                *mean_low_high([network.accuracy[-1] for network in group]),
                fc1=float(layers[0]),
                fc2=float(layers[1]),
                fc3=float(layers[2]),
                flux_low=finite_mean([network.flux_low for network in group]),
                flux_median=finite_mean([network.flux_median for network in group]),
                absent_above=finite_mean([network.absent_above for network in group]),
                n_empty=sum(bool(network.empty) for network in group),
            )
        )
    return Result(
        tuple(rows),
        courses=by_row([network.density for network in networks], n),
        accuracies=by_row([network.accuracy for network in networks], n),
    )

"""Does the density under a held pressure converge, how, and to the same place for Adam and SGD on presence?

Source: LeNet-300-100 on MNIST, from --data-root or BBTHEORY_DATA; the smoke preset takes scikit-learn's
digits. Hyperflux (arXiv 2504.05349) with the authors' settings for this network, but images in [0, 1] and a
pressure without a floor: presence by Adam from uniform (0.2, 0.5), or by SGD with momentum 0.9 from (0.0002,
0.0005); weights by Adam, at a rate that is held or falls along a cosine. Nothing is tuned. Slow SGD has a
third of the rate, and arrives (below) when Adam does: it tells the optimizer from its speed. It was added
when a first record had SGD end lower.

What the separable loss says (weights at their optimum that do not interact): t falls to 0 at one speed,
``arrival`` epochs after the start (t over the rate for Adam, t N (1 - momentum)/(rate gamma) steps for SGD),
then slides on 0, and the density is that of the limit at once, the same for both optimizers. So whatever
falls later is due to weights that learn and interact, and ``late_fall`` measures it: the share of what is
left at twice the arrival that is gone at the end. From there on, epochs e counted anew, three courses are
fitted, with relative errors of equal size: s + a exp(-e/tau), s + a e^-b, and a e^-b, which never converges;
AICc chooses.
Residuals of a course are autocorrelated, so that the choice describes it and tests nothing.

Time: 20 min on one core (CPU preset: 18 cells of 60 to 70 s of processor time), no accelerator. What would
count against convergence: a course without a limit, or a drift at the end; against one limit: an interval of
the ratio of densities, SGD to Adam, that excludes 1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import aicc, finite_mean, gaussian_log_likelihood, mean_low_high
from bbtheory.records import Record
from experiments._hyperflux import Training, by_row, drift, spread, train
from experiments.protocol import Progress

if TYPE_CHECKING:
    from torch import nn

    from bbtheory.train import Pruner

FLOWS = ("adam", "sgd", "sgd_slow")
SCHEDULES = ("held", "cosine")
COURSES = ("exponential", "power", "no_limit")
_MOMENTUM = 0.9
_SLOW = 1.0 / 3.0  # of the rate of SGD
_LAST_RATE = 1e-7
_N_SHAPES = 60  # of decay times and of powers that are tried
_FEWEST = 6  # epochs that are fitted
_LEAST_SQUARES = 1e-16  # far below what densities of whole weights can show; an exact fit stays finite


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    data : {"mnist", "digits"}
    pressure : float
        gamma > 0.
    flows : tuple of {"adam", "sgd", "sgd_slow"}
    schedules : tuple of {"held", "cosine"}
        Of the learning rate of the weights.
    learning_rate : float
        Of Adam on weights, at the start.
    adam_rate, sgd_rate : float
        Of presence.
    epochs, batch : int
    seeds : tuple of int
    """

    data: str = "mnist"
    pressure: float = 2.0
    flows: tuple[str, ...] = FLOWS
    schedules: tuple[str, ...] = SCHEDULES
    learning_rate: float = 1e-3
    adam_rate: float = 7.5e-4
    sgd_rate: float = 0.03
    epochs: int = 300
    batch: int = 128
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        validate.real("pressure", self.pressure, "(0, inf)")
        for flow in self.flows:
            validate.choice("flows", flow, FLOWS)
        for schedule in self.schedules:
            validate.choice("schedules", schedule, SCHEDULES)
        validate.real("adam_rate", self.adam_rate, "(0, inf)")
        validate.real("sgd_rate", self.sgd_rate, "(0, inf)")


SMOKE = Config(
    data="digits",
    schedules=("held",),
    learning_rate=5e-3,
    adam_rate=2e-2,
    sgd_rate=0.1,
    epochs=10,
    seeds=(0,),
)
CPU = Config(epochs=40)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One network.

    Parameters
    ----------
    density, accuracy : array (epochs,)
        After each epoch.
    layer_density : array (3,)
        At the end.
    arrival : float
        Epochs after which the mean t is 0 if the pressure alone moves it.
    """

    KIND: ClassVar[str] = "convergence_at_fixed_pressure_cell"

    density: np.ndarray
    accuracy: np.ndarray
    layer_density: np.ndarray
    arrival: float


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One optimizer of presence and one schedule over seeds; intervals are Student's, 95 %."""

    KIND: ClassVar[str] = "convergence_at_fixed_pressure_row"

    flow: str
    schedule: str
    n: int
    density: float  # at the end
    low: float
    high: float
    ratio: float  # to that of the first optimizer, paired by seed
    ratio_low: float
    ratio_high: float
    drift: float  # relative change over the last tenth of the epochs
    spread: float  # standard deviation there, relative
    arrival: float
    halved: float  # epochs until half of the weights are gone
    late_fall: float
    late_fall_low: float
    late_fall_high: float
    limit: float  # of the course that AICc chooses; 0 where there is none
    tau: float  # epochs, of the exponential
    power: float  # b of the power to a limit
    courses: str  # chosen, with the number of seeds
    accuracy: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All settings; ``course`` is the density after each epoch, (n_rows, n_seeds, epochs)."""

    KIND: ClassVar[str] = "convergence_at_fixed_pressure"

    pressure: float
    rows: tuple[Row, ...]
    course: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per schedule, optimizer and seed."""
    return [
        dataclasses.replace(config, schedules=(schedule,), flows=(flow,), seeds=(seed,))
        for schedule in config.schedules
        for flow in config.flows
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network under one pressure."""
    from bbtheory.train import Flow, Hyperflux

    kind, seed, rate = config.flows[0], config.seeds[0], config.learning_rate
    if kind == "adam":
        flow = Flow(lr=config.adam_rate)
    else:
        slower = _SLOW if kind == "sgd_slow" else 1.0
        flow = Flow("sgd", lr=config.sgd_rate * slower, momentum=_MOMENTUM)
    arrival = 0.0

    def make(model: nn.Module, n_steps: int) -> Pruner:
        nonlocal arrival
        length = n_steps // config.epochs
        flux = Hyperflux(model, config.pressure, interval=length, flow=flow, stop_when_empty=False, seed=seed)
        start = sum(float(w.t.sum()) for w in flux.weights.values()) / flux.n_weights
        push = config.pressure / flux.n_weights
        speed = flow.lr if kind == "adam" else flow.lr * push / (1.0 - flow.momentum)
        arrival = start / speed / length
        return flux

    last = rate if config.schedules[0] == "held" else _LAST_RATE
    trained = train(Training(config.data, config.epochs, config.batch, rate, last, seed), make, progress)
    return Cell(trained.density, trained.accuracy, trained.layer_density[-1], arrival)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and compare with the first optimizer."""
    rows = []
    n, size = len(config.seeds), len(config.seeds) * len(config.flows)
    for i, setting in enumerate(_cells(config)[::n]):
        group = cells[n * i : n * (i + 1)]
        first = cells[n * i // size * size :][:n]
        last = np.array([cell.density[-1] for cell in group])
        reference = np.array([cell.density[-1] for cell in first])
        fits = [fit_course(after_arrival(cell)) for cell in group]
        chosen = [fit.chosen for fit in fits]
        rows.append(
            Row(
                setting.flows[0],
                setting.schedules[0],
                n,
                *mean_low_high(last),
                *mean_low_high(last / np.where(reference > 0, reference, np.nan)),
                drift=finite_mean([drift(cell.density) for cell in group]),
                spread=finite_mean([spread(cell.density) for cell in group]),
                arrival=finite_mean([cell.arrival for cell in group]),
                halved=finite_mean([first_below(cell.density, 0.5) for cell in group]),
                **dict(
                    zip(
                        ("late_fall", "late_fall_low", "late_fall_high"),
                        mean_low_high([late_fall(cell) for cell in group]),
                        strict=True,
                    )
                ),
                limit=finite_mean([fit.limit for fit in fits]),
                tau=finite_mean([fit.tau for fit in fits]),
                power=finite_mean([fit.power for fit in fits]),
                courses=", ".join(f"{chosen.count(c)} {c}" for c in (*COURSES, "") if c in chosen),
                accuracy=finite_mean([cell.accuracy[-1] for cell in group]),
            )
        )
    return Result(config.pressure, tuple(rows), by_row([cell.density for cell in cells], n))


_cells = cells  # ``collect`` has the records of the cells under this name


def first_below(density: np.ndarray, level: float) -> float:
    """Return the epoch at which the density falls to a level, along straight lines; NaN if it does not."""
    course = np.append(1.0, density)
    below = np.flatnonzero(course <= level)
    if not below.size:
        return math.nan
    k = int(below[0])
    return k - 1 + float((course[k - 1] - level) / (course[k - 1] - course[k])) if k else 0.0


def after_arrival(cell: Cell) -> np.ndarray:
    """Return the densities from twice the arrival on."""
    return cell.density[max(math.ceil(2.0 * cell.arrival), 1) - 1 :]


def late_fall(cell: Cell) -> float:
    """Return which share of the density at twice the arrival is gone at the end; NaN if that is never."""
    late = after_arrival(cell)
    return float(1.0 - late[-1] / late[0]) if late.size and late[0] > 0 else math.nan


@dataclasses.dataclass(frozen=True)
class Course:
    """Fits to one course of densities; the limit is that of the chosen one, "" and NaN where none is made."""

    chosen: str
    limit: float
    tau: float
    power: float


def fit_course(density: np.ndarray) -> Course:
    """Fit densities after epochs 1, 2, ... by s + a exp(-e/tau), s + a e^-b and a e^-b, s >= 0.

    Least squares of relative residuals: for each of a number of tau or b, s and a are linear.
    """
    if density.size < _FEWEST or density.min() <= 0:
        return Course("", math.nan, math.nan, math.nan)
    epoch = np.arange(1.0, density.size + 1.0)
    taus = np.geomspace(0.5, 10.0 * density.size, _N_SHAPES)
    powers = np.geomspace(0.02, 5.0, _N_SHAPES)
    found = {
        "exponential": min((*_solve(np.exp(-epoch / tau), density, True), tau) for tau in taus),
        "power": min((*_solve(epoch**-b, density, True), b) for b in powers),
        "no_limit": min((*_solve(epoch**-b, density, False), b) for b in powers),
    }
    n, scores = density.size, {}
    for name, (squares, *_) in found.items():
        likelihood = gaussian_log_likelihood(max(squares, _LEAST_SQUARES), n)
        scores[name] = aicc(likelihood, 3 if name == "no_limit" else 4, n)  # sigma counts
    chosen = min(scores, key=scores.__getitem__)
    return Course(chosen, found[chosen][1], found["exponential"][2], found["power"][2])


def _solve(shape: np.ndarray, density: np.ndarray, has_limit: bool) -> tuple[float, float]:
    """Return the sum of squares of (s + a shape)/density - 1 and s >= 0, or s = 0."""
    weighted = shape / density
    if has_limit:
        design = np.column_stack([1.0 / density, weighted])
        (s, a), *_ = np.linalg.lstsq(design, np.ones(density.size), rcond=None)
        if s >= 0:
            return float(np.sum((design @ [s, a] - 1.0) ** 2)), float(s)
    a = weighted.sum() / (weighted @ weighted)
    return float(np.sum((a * weighted - 1.0) ** 2)), 0.0

"""By how much does the density overshoot in the regrowth phase, over the flow's learning rate and its decay?

Source: LeNet-300-100 on MNIST, from --data-root or BBTHEORY_DATA; the smoke preset takes scikit-learn's
digits. The authors' scheduler (arXiv 2504.05349, their code) with their settings for this network prunes to
a target in 30 intervals; one more follows under the last pressure; then the pressure is 0, and the learning
rate of presence is multiplied by scaler decay^k in the k-th of 30 intervals. Runs of a seed are the same up
to there, so differences are paired. Control: a scaler of 0, under which no mask may change.

Without a pressure an absent weight that the loss pulls back returns if its presence gets to 0, and Adam moves
it by no more than its rate: ``reach`` is the sum of rates over all steps of regrowth. If depth alone decided,
the density would depend on scaler and decay through it only.

Full is the authors' 60 epochs; the CPU preset has 12, and presence and its intervals five times as fast.

Time: 25 min on one core (CPU preset, extrapolated from 30 s a cell on a busy machine), no accelerator. What
would count against an overshoot: an interval of the ratio of densities, after regrowth to before, that
holds 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import finite_mean, mean_low_high
from bbtheory.records import Record
from experiments._hyperflux import DECAY, PHASES, SCALER, STEP, Training, by_row, train
from experiments.protocol import Progress

if TYPE_CHECKING:
    from torch import nn

    from bbtheory.train import Pruner

_PRUNED = PHASES[0] + 1  # intervals under pressure


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    data : {"mnist", "digits"}
    target : float
        Density that pruning aims at, in (0, 1).
    scalers : tuple of float
        On the flow in regrowth, >= 0; the authors' is 0.1 here, 1 to 50 for larger networks.
    decays : tuple of float
        Per interval, in (0, 1]; a scaler of 0 takes the first only.
    epochs, batch : int
    learning_rate : float
        Of Adam on weights at the start; it falls along a cosine to 1e-6.
    flow_rate : float
        Of Adam on presence.
    seeds : tuple of int
    """

    data: str = "mnist"
    target: float = 0.01
    scalers: tuple[float, ...] = (0.0, SCALER, 1.0, 10.0)
    decays: tuple[float, ...] = (0.75, DECAY, 1.0)
    epochs: int = 60
    batch: int = 128
    learning_rate: float = 1e-3
    flow_rate: float = 1e-3
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        validate.real("target", self.target, "(0, 1)")
        for scaler in self.scalers:
            validate.real("scalers", scaler, "[0, inf)")
        for decay in self.decays:
            validate.real("decays", decay, "(0, 1]")
        validate.real("flow_rate", self.flow_rate, "(0, inf)")


SMOKE = Config(
    data="digits",
    target=0.1,
    scalers=(0.0, 1.0),
    decays=(0.75,),
    epochs=8,
    batch=24,
    flow_rate=8e-3,
    seeds=(0,),
)
CPU = Config(epochs=12, flow_rate=5e-3)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One network.

    Parameters
    ----------
    density : array (60,)
        After each interval.
    reach : float
        Sum of the rates of presence over the steps of regrowth.
    accuracy : array (epochs,)
        After each epoch.
    layer_density : array (3,)
        At the end.
    """

    KIND: ClassVar[str] = "regrowth_phase_cell"

    density: np.ndarray
    reach: float
    accuracy: np.ndarray
    layer_density: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One scaler and decay over seeds; intervals are Student's, 95 %."""

    KIND: ClassVar[str] = "regrowth_phase_row"

    scaler: float
    decay: float
    n: int
    reach: float
    before: float  # density when the pressure ends
    after: float  # density at the end
    overshoot: float  # after / before
    low: float
    high: float
    target_ratio: float  # after / target
    target_low: float
    target_high: float
    half_interval: float  # of regrowth, at which half of the change is made
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All scalers and decays; ``course`` is the density after each interval, (n_rows, n_seeds, 60)."""

    KIND: ClassVar[str] = "regrowth_phase"

    target: float
    rows: tuple[Row, ...]
    course: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per scaler, decay and seed; without a flow there is one decay."""
    return [
        dataclasses.replace(config, scalers=(scaler,), decays=(decay,), seeds=(seed,))
        for scaler in config.scalers
        for decay in (config.decays if scaler > 0 else config.decays[:1])
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network."""
    from bbtheory.train import Flow, FollowTrajectory, Hyperflux, Setting

    class Noting(FollowTrajectory):
        """The authors' scheduler, which takes down the density after each interval."""

        densities: tuple[float, ...] = ()

        def after(self, interval: int, density: float) -> Setting:
            self.densities += (density,)
            return super().after(interval, density)

        def state_dict(self) -> dict[str, Any]:
            return {**super().state_dict(), "densities": list(self.densities)}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.densities = tuple(state["densities"])
            super().load_state_dict({k: v for k, v in state.items() if k != "densities"})

    seed, scaler, decay = config.seeds[0], config.scalers[0], config.decays[0]
    rule = Noting(config.target, *PHASES, step=STEP, flow=scaler, decay=decay)
    n_intervals = sum(PHASES)
    length = 0

    def make(model: nn.Module, n_steps: int) -> Pruner:
        nonlocal length
        length = n_steps // n_intervals
        flow = Flow(lr=config.flow_rate)
        return Hyperflux(model, rule, interval=length, flow=flow, stop_when_empty=False, seed=seed)

    how = Training(config.data, config.epochs, config.batch, config.learning_rate, 1e-6, seed)
    trained = train(how, make, progress)
    decays = decay ** np.arange(1, n_intervals - _PRUNED + 1)
    return Cell(
        density=np.array(rule.densities[:n_intervals]),
        reach=float(config.flow_rate * scaler * length * decays.sum()),
        accuracy=trained.accuracy,
        layer_density=trained.layer_density[-1],
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds."""
    rows = []
    n = len(config.seeds)
    for i, setting in enumerate(_cells(config)[::n]):
        group = cells[n * i : n * (i + 1)]
        before = np.array([cell.density[_PRUNED - 1] for cell in group])
        after = np.array([cell.density[-1] for cell in group])
        rows.append(
            Row(
                setting.scalers[0],
                setting.decays[0],
                n,
                finite_mean([cell.reach for cell in group]),
                finite_mean(before),
                finite_mean(after),
                *mean_low_high(after / np.where(before > 0, before, np.nan)),
                *mean_low_high(after / config.target),
                finite_mean([half_interval(cell.density[_PRUNED - 1 :]) for cell in group]),
                *mean_low_high([cell.accuracy[-1] for cell in group]),
            )
        )
    return Result(config.target, tuple(rows), by_row([cell.density for cell in cells], n))


def half_interval(density: np.ndarray) -> float:
    """Return when half of the way from the first density to the last is made; NaN where they are the same."""
    change = density[-1] - density[0]
    if change == 0:
        return float("nan")
    done = (density - density[0]) / change
    k = int(np.argmax(done >= 0.5))
    return float(k - 1 + (0.5 - done[k - 1]) / (done[k] - done[k - 1]))


_cells = cells  # ``collect`` has the records of the cells under this name

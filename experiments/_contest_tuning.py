"""Tuning: each method of a contest gets the same number of trials, on held-out training data, at one density.

A trial is a learning-rate factor and, where a method has a knob of its own, a value of that: eight points of
a 4 x 4 grid that hold each value twice, the defaults among them; methods without one get eight factors. The
best of the main metric is chosen, on one seed. One at the end of its range may have a better one beyond it:
the record has all trials. A tuning experiment is::

    @dataclasses.dataclass(frozen=True)
    class Config(Tuning, contest.Config):
        '''Settings of the contest on its validation split.'''

    CPU = tuning_preset(Config, contest.CPU)
    cells, Cell, Result = tune_cells, Trial, TuningResult

    def run(config: Config, progress: Progress) -> Trial:
        return tune_run(config, contest.task, contest.METRICS, progress)

    def collect(config: Config, cells: Sequence[Trial]) -> TuningResult:
        return tune_collect(config, cells, contest.METRICS)

and ``contest.CPU.knobs`` repeats `chosen_knobs` of its record as literals.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bbtheory import validate
from bbtheory.records import Record
from experiments import _contest
from experiments._contest import Metric, Task
from experiments._contest_settings import OWN_KNOB
from experiments.protocol import Progress

N_TRIALS = 8
RATES = (0.5, 1.0, 2.0, 4.0)  # of the learning rate, for methods with a knob of their own
RATES_ALONE = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
VALUES = {
    "reached": (0.35, 0.55, 0.75, 0.95),
    "fraction": (0.1, 0.2, 0.3, 0.5),
    "nats": (4.0, 10.0, 24.0, 64.0),
}


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What differs from the contest's settings; for the first place among the bases of a Config.

    Parameters
    ----------
    n_trials : int
        Of each method, at most 8.
    """

    densities: tuple[float, ...] = (0.3,)
    validation: bool = True
    seeds: tuple[int, ...] = (0,)
    n_trials: int = N_TRIALS


@dataclasses.dataclass(frozen=True, eq=False)
class Trial(Record):
    """The main metric on the validation split; NaN if training broke down."""

    KIND: ClassVar[str] = "contest_trial"

    value: float


@dataclasses.dataclass(frozen=True, eq=False)
class TrialRow(Record):
    """One trial of one method; ``knob`` is the method's own, "" if it has none."""

    KIND: ClassVar[str] = "contest_trial_row"

    method: str
    trial: int
    learning_rate_factor: float
    knob: str
    knob_value: float
    value: float
    chosen: bool


@dataclasses.dataclass(frozen=True, eq=False)
class TuningResult(Record):
    """All trials; ``value`` is ``metric`` on the validation split."""

    KIND: ClassVar[str] = "contest_tuning"

    rows: tuple[TrialRow, ...]
    metric: str
    density: float


def tuning_preset(kind: Any, of: Any, **changes: Any) -> Any:
    """Return the settings ``kind`` that tune a preset of the contest.

    Parameters
    ----------
    kind : type
        A Config derived from `Tuning` and the contest's.
    of : ContestConfig
        The contest's preset; its densities, seeds and knobs play no part.
    """
    own = {field.name for field in dataclasses.fields(Tuning)} | {"knobs"}
    shared = {f.name: getattr(of, f.name) for f in dataclasses.fields(of) if f.name not in own}
    return kind(**shared | changes)


def trials_of(method: str, n_trials: int = N_TRIALS) -> list[dict[str, float]]:
    """Return the knobs of a method's trials."""
    validate.integer("n_trials", n_trials, f"[1, {N_TRIALS}]")
    knob = OWN_KNOB.get(method)
    if knob is None:
        return [{"learning_rate_factor": rate} for rate in RATES_ALONE[:n_trials]]
    grid = [(i, (i + shift) % len(RATES)) for i in range(len(VALUES[knob])) for shift in (1, 3)]
    return [{"learning_rate_factor": RATES[j], knob: VALUES[knob][i]} for i, j in grid[:n_trials]]


def tune_cells(config: Any) -> list[Any]:
    """Return one setting per method and trial."""
    return [
        dataclasses.replace(config, methods=(method,), knobs={method: trial})
        for method in config.methods
        for trial in trials_of(method, config.n_trials)
    ]


def tune_run(
    config: Any, task: Callable[[Any, Path | None], Task], metrics: Sequence[Metric], progress: Progress
) -> Trial:
    """Train one network and keep its main metric."""
    from bbtheory.train import NonFiniteError

    if config.methods == ("dense",):
        config = dataclasses.replace(config, densities=(1.0,))
    try:
        cell = _contest.train(config, task, metrics, progress)
    except NonFiniteError:  # too large a learning rate is a finding
        return Trial(math.nan)
    return Trial(float(cell.metrics[cell.metric_names.index(_main(metrics).name)]))


def tune_collect(config: Any, trials: Sequence[Trial], metrics: Sequence[Metric]) -> TuningResult:
    """Return all trials with the best of each method marked; the first of equal ones."""
    main = _main(metrics)
    sign = 1.0 if main.higher_is_better else -1.0
    settings = [(cell.methods[0], cell.knobs[cell.methods[0]]) for cell in tune_cells(config)]
    rows = []
    for method in config.methods:
        own = [i for i, (name, _) in enumerate(settings) if name == method]
        worth = {i: sign * trials[i].value for i in own if not math.isnan(trials[i].value)}
        best = max(worth, key=lambda i: worth[i]) if worth else None
        knob = OWN_KNOB.get(method, "")
        for trial, i in enumerate(own):
            knobs = settings[i][1]
            rate, value = knobs["learning_rate_factor"], knobs.get(knob, math.nan)
            rows.append(TrialRow(method, trial, rate, knob, value, trials[i].value, i == best))
    return TuningResult(tuple(rows), main.name, config.densities[0])


def chosen_knobs(result: TuningResult) -> dict[str, dict[str, float]]:
    """Return the knobs of the chosen trials as `ContestConfig.knobs` has them."""
    return {
        row.method: {"learning_rate_factor": row.learning_rate_factor}
        | ({row.knob: row.knob_value} if row.knob else {})
        for row in result.rows
        if row.chosen
    }


def _main(metrics: Sequence[Metric]) -> Metric:
    return next(metric for metric in metrics if metric.role == "main")

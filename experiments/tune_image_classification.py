"""Which knobs let each method of image_classification do best at density 0.3, on images held out of training?

The contest is fair where no method is better tuned than another: 8 trials each, one seed, chosen by accuracy
on the validation split (equally many images of all classes); `_contest_tuning` says which trials. The chosen
knobs stand in the contest's presets. Time: 19 min on one core (CPU preset, 56 cells).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from experiments import image_classification as contest
from experiments._contest_tuning import (
    Trial,
    Tuning,
    TuningResult,
    tune_cells,
    tune_collect,
    tune_run,
    tuning_preset,
)
from experiments.protocol import Progress


@dataclasses.dataclass(frozen=True)
class Config(Tuning, contest.Config):
    """Settings of the contest, on its validation split."""


SMOKE = tuning_preset(Config, contest.SMOKE, methods=("random", "bb_in"), n_trials=2)
CPU = tuning_preset(Config, contest.CPU)
GPU = tuning_preset(Config, contest.GPU)
cells, Cell, Result = tune_cells, Trial, TuningResult


def run(config: Config, progress: Progress) -> Trial:
    """Train one network."""
    return tune_run(config, contest.task, contest.METRICS, progress)


def collect(config: Config, cells: Sequence[Trial]) -> TuningResult:
    """Choose the best trial of each method."""
    return tune_collect(config, cells, contest.METRICS)

"""Does the spectrum of a dense network, before anything is cut, predict the exponent of its pruning law?

Source: LeNets of two widths on MNIST and Fashion-MNIST, from --data-root or BBTHEORY_DATA; the smoke preset
takes scikit-learn's digits. Predictions are this project's (theory.compensated_exponent,
density_under_pressure), made from the dense network alone but for nu:

    magnitude, taylor   static exponent, of the largest of the dense scores that are removed down to the
                        densities of the run, and 1/alpha_0 = 1/alpha_static + nu, with nu =
                        ln(1 + e)/ln(1/q) measured while it is pruned: scores of survivors grow by 1 + e from
                        one event to the next, of which each keeps the share q; nu assumes all grow alike
    hyperflux           density mean max(0, 1 - gamma/F) of the fluxes F of weights that are removed one by
                        one from the dense network, at the pressures of the run; the law fitted to it

Predicted and measured curves go through the same fit. The end of the first region is predicted twice: as
1/(1 + alpha_0), what a pure power spectrum has, and as the first break of the curve that the measured
spectrum predicts.

Time: 30 min on one core (CPU preset, 90 cells of 5 to 45 s, extrapolated from parts of runs on a busy
machine), no accelerator. What would count against the theory: measured over predicted exponents whose
interval over seeds excludes 1; ranks that are not kept where nu assumes it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory import (
    compensated_exponent,
    density_under_pressure,
    region_end_density,
    validate,
)
from bbtheory.fit.uncertainty import finite_mean, mean_low_high
from bbtheory.records import Record
from experiments import _law, pruning_law_lenet
from experiments._law_records import WINDOW, LawFit, compensation, fit_law, named
from experiments._law_records import Cell as LawCell
from experiments._law_settings import LAW, course
from experiments.protocol import Progress


@dataclasses.dataclass(frozen=True)
class Config(pruning_law_lenet.Config):
    """Settings; see `pruning_law_lenet.Config` for the others.

    Parameters
    ----------
    sets : tuple of str
        Data sets; takes the place of ``data``.
    sizes : tuple of (int, int)
        Widths of the hidden layers; takes the place of ``widths``.
    n_removed : int
        Weights of the dense network that are removed one by one, for its fluxes.
    """

    families: tuple[str, ...] = LAW
    schedules: tuple[str, ...] = ("base",)
    sets: tuple[str, ...] = ("mnist", "fashion_mnist")
    sizes: tuple[tuple[int, int], ...] = ((75, 25), (150, 50), (300, 100), (600, 200))
    n_removed: int = 4000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.sets:
            validate.choice("sets", name, pruning_law_lenet.DATA)
        for family in self.families:
            validate.choice("families", family, LAW)
        validate.integer("n_removed", self.n_removed, "[2, inf)")


SMOKE = Config(
    families=("magnitude", "hyperflux"),
    sets=("digits",),
    sizes=((20, 10),),
    dense_epochs=2,
    kept=0.7,
    last_density=0.05,
    steps=3,
    low=-4.0,
    high=2.0,
    per_octave=1,
    pressure_steps=6,
    flow_rate=0.05,
    score_batches=2,
    flux_images=64,
    flux_sample=0,
    n_removed=40,
    seeds=(0,),
)
CPU = Config(
    sizes=((75, 25), (150, 50), (300, 100)),
    dense_epochs=3,
    kept=0.85,
    steps=80,
    low=-9.0,
    high=4.0,
    pressure_steps=200,
    flow_rate=8e-3,
    flux_sample=0,
    n_removed=1000,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One network, one way to prune it.

    Parameters
    ----------
    spectrum : array (100,)
        Quantiles 0.005, 0.015, ... of the dense network's scores or fluxes.
    static : float
        Exponent that the dense spectrum has in the window: of its scores by spacings; of its fluxes, of the
        density they predict.
    predicted : float
        With nu where scores are compared; of fluxes the same as ``static``.
    compensation : float
        nu; NaN for hyperflux.
    near_compensation : float
        The same from what stands near the threshold; nu if all survivors grow alike.
    rank_correlation : float
        Of scores from event to event, mean over events; NaN for hyperflux.
    predicted_breaks : array (2,)
        Of the predicted curve, densities.
    predicted_log_rms : float
        Root mean square of ln(measured/predicted density) over the pressures or thresholds in the window.
    share_positive : float
        Of the fluxes; 1 for scores.
    fit : LawFit
        Of the measured curve.
    dense_accuracy : float
    """

    KIND: ClassVar[str] = "spectrum_cell"

    spectrum: np.ndarray
    static: float
    predicted: float
    compensation: float
    near_compensation: float
    rank_correlation: float
    predicted_breaks: np.ndarray
    predicted_log_rms: float
    share_positive: float
    fit: LawFit
    dense_accuracy: float


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One data set, width and family: means over ``n`` seeds with Student's 95 % intervals.

    Ratios are of measured over predicted, by their logarithms. ``agrees`` says whether 1 lies in the interval
    of ``ratio`` and the interval within 25 % of 1.
    """

    KIND: ClassVar[str] = "spectrum_row"

    data: str
    widths: str
    family: str
    n: int
    measured: float
    measured_low: float
    measured_high: float
    static: float
    static_low: float
    static_high: float
    predicted: float
    predicted_low: float
    predicted_high: float
    static_ratio: float
    static_ratio_low: float
    static_ratio_high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    compensation: float
    compensation_low: float
    compensation_high: float
    near_compensation: float
    rank_correlation: float
    log_rms: float
    first_break: float  # density, geometric means
    first_break_low: float
    first_break_high: float
    edge: float  # 1/(1 + measured exponent)
    edge_low: float
    edge_high: float
    spectrum_break: float  # of the curve that the measured spectrum predicts
    spectrum_break_low: float
    spectrum_break_high: float
    share_positive: float
    n_curved: int
    agrees: bool
    dense_accuracy: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All networks and ways; spectra are means over seeds of the logarithms of quantiles.

    Parameters
    ----------
    rows : tuple of Row
    levels : array (100,)
    spectra : array (n_rows, 100)
        NaN where a quantile is not positive.
    measured, predicted : array (n_rows, n_seeds)
        Exponents.
    """

    KIND: ClassVar[str] = "spectrum_predicts_exponent"

    rows: tuple[Row, ...]
    levels: np.ndarray
    spectra: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray


LEVELS = (np.arange(100) + 0.5) / 100
_TOLERANCE = 0.25  # a prediction that is further off is of no use


def cells(config: Config) -> list[Config]:
    """Return one setting per data set, width, family and seed."""
    return [
        dataclasses.replace(config, sets=(name,), sizes=(size,), families=(family,), seeds=(seed,))
        for name in config.sets
        for size in config.sizes
        for family in config.families
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Measure the spectrum of a dense network, then prune it."""
    family = config.families[0]
    lenet = dataclasses.replace(config, data=config.sets[0], widths=config.sizes[0])
    task, accuracy = _law.dense_network(lenet, pruning_law_lenet.task, progress.data_root)
    spectrum = dense_spectrum(lenet, task)
    history = _law.prune(lenet, task, progress)
    found = LawCell(
        **{name: getattr(history, name) for name in _law.COLUMNS},
        dense_accuracy=accuracy,
        fit=fit_law(history.saliency, history.density, history.accuracy),
        mean_fit=fit_law(history.mean_kept, history.density),
    )
    nu = near = kept_ranks = math.nan
    if family == "hyperflux":
        expected = density_under_pressure(spectrum, history.saliency).density
        law = fit_law(history.saliency, expected)
        predicted = law.exponent
    else:
        expected = density_under_pressure(spectrum, history.saliency, law="threshold").density
        law = static_law(spectrum, history.density)
        nu, near = compensation(found.density, found.growth), compensation(found.density, found.near_growth)
        kept_ranks = finite_mean(found.rank_correlation)
        predicted = _compensated(law.exponent, nu)
    used = (history.density > WINDOW[0]) & (history.density <= WINDOW[1]) & (expected > 0)
    off = np.log(history.density[used] / expected[used])
    return Cell(
        spectrum=np.quantile(spectrum, LEVELS),
        static=law.exponent,
        predicted=predicted,
        compensation=nu,
        near_compensation=near,
        rank_correlation=kept_ranks,
        predicted_breaks=law.breaks,
        predicted_log_rms=float(np.sqrt(np.mean(off**2))) if off.size else math.nan,
        share_positive=float(np.mean(spectrum > 0)),
        fit=found.fit,
        dense_accuracy=accuracy,
    )


def static_law(scores: np.ndarray, density: np.ndarray) -> LawFit:
    """Fit the law of a network that is not trained while its lowest scores are removed, to some densities.

    A tail index of the scores would not do: it weighs ranks, the line weighs densities, and the two agree for
    exact power laws only.
    """
    return fit_law(np.quantile(scores, 1.0 - density), density)


def dense_spectrum(config: Any, task: _law.Task) -> np.ndarray:
    """Scores of all weights of a task's network in the way of the first family, or fluxes of a sample.

    The network is left as it is.
    """
    from bbtheory.train import Pruner, measure_flux

    if config.families[0] == "hyperflux":
        masked = Pruner(task.model, exclude=task.exclude)
        try:
            batches = [task.images(0, config.flux_images)]
            sample = config.n_removed
            found = measure_flux(masked, batches, task.loss, probes=2, sample=sample, seed=config.seeds[0])
        finally:
            masked.remove()
        return found.sample_exact
    pruner: Any = _law.make_pruner(config, task, course(config))
    try:
        if config.families[0] == "taylor":
            size = config.batch
            batches = [task.images(i * size, (i + 1) * size) for i in range(config.score_batches)]
            pruner.calibrate(batches, task.loss)
        scores = [score.detach().flatten().double().cpu().numpy() for score in pruner.scores().values()]
    finally:
        pruner.remove()
    return np.concatenate(scores)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and set measured against predicted."""
    n = len(config.seeds)
    rows, spectra = [], []
    for i, setting in enumerate(_cells(config)[::n]):
        group = cells[n * i : n * (i + 1)]
        rows.append(_row(setting, group))
        each = np.array([cell.spectrum for cell in group])
        safe = np.where(each > 0, each, np.nan)
        spectra.append(np.exp(np.mean(np.log(safe), axis=0)))
    shape = (len(rows), n)
    return Result(
        rows=tuple(rows),
        levels=LEVELS,
        spectra=np.array(spectra),
        measured=np.array([cell.fit.exponent for cell in cells]).reshape(shape),
        predicted=np.array([cell.predicted for cell in cells]).reshape(shape),
    )


_cells = cells  # ``collect`` has the records of the cells under this name


def _row(setting: Config, group: Sequence[Cell]) -> Row:
    measured = np.array([cell.fit.exponent for cell in group])
    static = np.array([cell.static for cell in group])
    predicted = np.array([cell.predicted for cell in group])
    edge = np.where(measured > 0, region_end_density(np.maximum(measured, 1e-9)), np.nan)
    ratio, low, high = _geometric(measured / predicted)
    return Row(
        data=setting.sets[0],
        widths="-".join(map(str, setting.sizes[0])),
        family=setting.families[0],
        n=len(group),
        **named("measured", mean_low_high(measured)),
        **named("static", mean_low_high(static)),
        **named("predicted", mean_low_high(predicted)),
        **named("static_ratio", _geometric(measured / static)),
        **named("ratio", (ratio, low, high)),
        **named("compensation", mean_low_high(np.array([cell.compensation for cell in group]))),
        near_compensation=finite_mean([cell.near_compensation for cell in group]),
        rank_correlation=finite_mean([cell.rank_correlation for cell in group]),
        log_rms=finite_mean([cell.predicted_log_rms for cell in group]),
        **named("first_break", _geometric(np.array([cell.fit.breaks[0] for cell in group]))),
        **named("edge", mean_low_high(edge)),
        **named("spectrum_break", _geometric(np.array([cell.predicted_breaks[0] for cell in group]))),
        share_positive=finite_mean([cell.share_positive for cell in group]),
        n_curved=sum(cell.fit.verdict == "curved" for cell in group),
        agrees=1.0 / (1.0 + _TOLERANCE) <= low <= 1.0 <= high <= 1.0 + _TOLERANCE,
        dense_accuracy=finite_mean([cell.dense_accuracy for cell in group]),
    )


def _geometric(values: np.ndarray) -> tuple[float, float, float]:
    """Geometric mean and its interval over what is positive."""
    usable = np.isfinite(values) & (values > 0)
    mean, low, high = mean_low_high(np.log(values[usable])) if usable.any() else (math.nan,) * 3
    return math.exp(mean), math.exp(low), math.exp(high)


def _compensated(static: float, nu: float) -> float:
    if not (math.isfinite(static) and math.isfinite(nu) and 1.0 / static + nu > 0):
        return math.nan
    return compensated_exponent(static, nu)

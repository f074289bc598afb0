"""Curves of density against saliency, the pruning law fitted to each, and what is seen over seeds."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory import fit_power_law
from bbtheory.fit.uncertainty import finite_mean, mean_low_high
from bbtheory.records import Record
from experiments._law_settings import cells as cells_of

WINDOW = (0.005, 0.5)  # densities of the window that the law is claimed in
_N_NUMBERS = 11  # of `LawFit` before its arrays
_BOOTSTRAP = 200  # resamples behind the interval of one curve; what is reported are intervals over seeds


@dataclasses.dataclass(frozen=True, eq=False)
class LawFit(Record):
    """The pruning law fitted to one curve by `bbtheory.fit_power_law`; NaN where there is too little to fit.

    Parameters
    ----------
    exponent, hac_stderr, low, high : float
        Inside the window, with its interval by bootstrap.
    prefactor, r_squared, durbin_watson : float
    bend : float
        Root mean square distance of ln density from the line.
    curvature_p : float
    least, largest : float
        Exponents as the edges of the window are moved.
    slopes : array (3,)
        Exponents of the three segments through all points.
    breaks : array (2,)
        Densities where they meet, descending.
    n, n_dropped, n_collapsed : int
        Points in the window; rows without a logarithm; points in the window of networks below 75 % of the
        best accuracy.
    verdict, reason : str
    """

    KIND: ClassVar[str] = "law_fit"

    exponent: float
    hac_stderr: float
    low: float
    high: float
    prefactor: float
    r_squared: float
    durbin_watson: float
    bend: float
    curvature_p: float
    least: float
    largest: float
    slopes: np.ndarray
    breaks: np.ndarray
    n: int
    n_dropped: int
    n_collapsed: int
    verdict: str
    reason: str


def fit_law(saliency: np.ndarray, density: np.ndarray, accuracy: np.ndarray | None = None) -> LawFit:
    """Fit and judge one curve; zeros and negative saliencies have no logarithm and are left out."""
    known = np.isfinite(saliency) & np.isfinite(density)
    saliency, density = np.maximum(saliency[known], 0.0), density[known]
    accuracy = None if accuracy is None else accuracy[known]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # collapsed networks are counted in the record
            found = fit_power_law(saliency, density, accuracy=accuracy, n_bootstrap=_BOOTSTRAP)
    except ValueError as error:  # too few points
        unknown = dict.fromkeys([field.name for field in dataclasses.fields(LawFit)][:_N_NUMBERS], math.nan)
        return LawFit(
            **unknown,
            slopes=np.full(3, np.nan),
            breaks=np.full(2, np.nan),
            n=0,
            n_dropped=int(np.sum((saliency <= 0) | (density <= 0))),
            n_collapsed=0,
            verdict="undecided",
            reason=str(error),
        )
    line, inside = found.window, found.in_window
    distance = np.log(found.density[inside] / line.prefactor) + line.exponent * np.log(found.saliency[inside])
    low, high = line.exponent_interval
    least, largest = found.window_spread
    return LawFit(
        exponent=line.exponent,
        hac_stderr=line.exponent_hac_stderr,
        low=float(low),
        high=float(high),
        prefactor=line.prefactor,
        r_squared=line.r_squared,
        durbin_watson=found.durbin_watson,
        bend=float(np.sqrt(np.mean(distance**2))) if distance.size else math.nan,
        curvature_p=found.curvature.p,
        least=float(least),
        largest=float(largest),
        slopes=found.segments.exponents,
        breaks=found.segments.break_densities,
        n=line.n,
        n_dropped=found.n_dropped,
        n_collapsed=found.n_collapsed or 0,
        verdict=found.verdict,
        reason=found.reason,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One run: its events, and the law fitted to them.

    Parameters
    ----------
    saliency to rank_correlation : array (n_events,)
        See `bbtheory.train.History`; the accuracy is that before an event.
    dense_accuracy : float
    fit : LawFit
        Density against saliency.
    mean_fit : LawFit
        Density against the mean saliency of the kept.
    """

    KIND: ClassVar[str] = "law_cell"

    saliency: np.ndarray
    density: np.ndarray
    accuracy: np.ndarray
    mean_kept: np.ndarray
    flux_low: np.ndarray
    flux_median: np.ndarray
    growth: np.ndarray
    near_growth: np.ndarray
    rank_correlation: np.ndarray
    dense_accuracy: float
    fit: LawFit
    mean_fit: LawFit


def compensation(density: np.ndarray, growth: np.ndarray) -> float:
    """Return nu = ln(1 + growth)/ln(1/q) over the events in the window, q the share an event keeps."""
    after, growth = density[1:], growth[1:]
    used = (after > WINDOW[0]) & (after <= WINDOW[1]) & np.isfinite(growth)
    fall = -float(np.sum(np.log(after[used] / density[:-1][used])))
    return float(np.sum(np.log1p(growth[used]))) / fall if fall > 0 else math.nan


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One family under one schedule: means over ``n`` seeds with Student's 95 % intervals."""

    KIND: ClassVar[str] = "law_row"

    family: str
    schedule: str
    n: int
    exponent: float
    exponent_low: float
    exponent_high: float
    r_squared: float
    r_squared_low: float
    r_squared_high: float
    bend: float
    bend_low: float
    bend_high: float
    durbin_watson: float
    n_power_law: int
    n_curved: int
    n_undecided: int
    n_points: float  # in the window
    n_collapsed: float
    spread: float  # of the exponent over windows: (largest - least)/exponent
    spread_low: float
    spread_high: float
    against_base: float  # exponent over that of the base schedule, paired by seed; 1 for the base itself
    against_base_low: float
    against_base_high: float
    first_break: float  # density, geometric mean
    first_break_low: float
    first_break_high: float
    last_break: float
    last_break_low: float
    last_break_high: float
    slope_first: float
    slope_middle: float
    slope_last: float
    mean_exponent: float  # of density against the mean saliency of the kept
    mean_exponent_low: float
    mean_exponent_high: float
    compensation: float  # nu
    rank_correlation: float
    dense_accuracy: float
    accuracy_at_tenth: float  # of the network nearest density 0.1
    accuracy_at_hundredth: float


@dataclasses.dataclass(frozen=True, eq=False)
class Curves(Record):
    """The curves behind a row, (n_seeds, n_events), and what was found on each."""

    KIND: ClassVar[str] = "law_curves"

    family: str
    schedule: str
    saliency: np.ndarray
    density: np.ndarray
    accuracy: np.ndarray
    mean_kept: np.ndarray
    flux_median: np.ndarray
    exponent: np.ndarray  # (n_seeds,)
    bend: np.ndarray
    r_squared: np.ndarray
    breaks: np.ndarray  # (n_seeds, 2), densities
    verdicts: tuple[str, ...]
    mean_verdicts: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All families and schedules: `rows` for reading, `curves` for drawing, in the same order."""

    KIND: ClassVar[str] = "pruning_law"

    rows: tuple[Row, ...]
    curves: tuple[Curves, ...]

    def row(self, family: str, schedule: str = "base") -> Row | None:
        """Return a row, None if it was not run."""
        found = [r for r in self.rows if (r.family, r.schedule) == (family, schedule)]
        return found[0] if found else None

    def curve(self, family: str, schedule: str = "base") -> Curves | None:
        """Return the curves of a row, None if it was not run."""
        found = [c for c in self.curves if (c.family, c.schedule) == (family, schedule)]
        return found[0] if found else None


def collect(config: Any, cells: Sequence[Cell]) -> Result:
    """Gather the seeds."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for setting, cell in zip(cells_of(config), cells, strict=True):
        found.setdefault((setting.families[0], setting.schedules[0]), []).append(cell)
    return Result(
        rows=tuple(_row(family, schedule, found) for family, schedule in found),
        curves=tuple(_curves(*key, group) for key, group in found.items()),
    )


def _row(family: str, schedule: str, found: Mapping[tuple[str, str], list[Cell]]) -> Row:
    group = found[family, schedule]
    fits = [cell.fit for cell in group]
    exponent = np.array([fit.exponent for fit in fits])
    base = np.array([cell.fit.exponent for cell in found.get((family, "base"), [])])
    ratio = exponent / base if base.size else np.full(exponent.size, np.nan)
    breaks = np.log(np.array([fit.breaks for fit in fits]))
    verdicts = [fit.verdict for fit in fits]
    return Row(
        family=family,
        schedule=schedule,
        n=len(group),
        **_interval_of("exponent", exponent),
        **_interval_of("r_squared", [fit.r_squared for fit in fits]),
        **_interval_of("bend", [fit.bend for fit in fits]),
        durbin_watson=finite_mean([fit.durbin_watson for fit in fits]),
        n_power_law=verdicts.count("power_law"),
        n_curved=verdicts.count("curved"),
        n_undecided=verdicts.count("undecided"),
        n_points=finite_mean([fit.n for fit in fits]),
        n_collapsed=finite_mean([fit.n_collapsed for fit in fits]),
        **_interval_of("spread", [(fit.largest - fit.least) / fit.exponent for fit in fits]),
        **_interval_of("against_base", ratio),
        **named("first_break", [math.exp(v) for v in mean_low_high(breaks[:, 0])]),
        **named("last_break", [math.exp(v) for v in mean_low_high(breaks[:, 1])]),
        slope_first=finite_mean([fit.slopes[0] for fit in fits]),
        slope_middle=finite_mean([fit.slopes[1] for fit in fits]),
        slope_last=finite_mean([fit.slopes[2] for fit in fits]),
        **_interval_of("mean_exponent", [cell.mean_fit.exponent for cell in group]),
        compensation=finite_mean([compensation(cell.density, cell.growth) for cell in group]),
        rank_correlation=finite_mean([finite_mean(cell.rank_correlation) for cell in group]),
        dense_accuracy=finite_mean([cell.dense_accuracy for cell in group]),
        accuracy_at_tenth=finite_mean([_accuracy_at(cell, 0.1, family) for cell in group]),
        accuracy_at_hundredth=finite_mean([_accuracy_at(cell, 0.01, family) for cell in group]),
    )


def named(name: str, found: Sequence[float]) -> dict[str, Any]:
    """Return mean, low and high under the names of a row."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


def _interval_of(name: str, values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    return named(name, mean_low_high(values))


def _curves(family: str, schedule: str, group: Sequence[Cell]) -> Curves:
    columns = ("saliency", "density", "accuracy", "mean_kept", "flux_median")
    return Curves(
        family,
        schedule,
        *(np.array([getattr(cell, name) for cell in group]) for name in columns),
        exponent=np.array([cell.fit.exponent for cell in group]),
        bend=np.array([cell.fit.bend for cell in group]),
        r_squared=np.array([cell.fit.r_squared for cell in group]),
        breaks=np.array([cell.fit.breaks for cell in group]),
        verdicts=tuple(cell.fit.verdict for cell in group),
        mean_verdicts=tuple(cell.mean_fit.verdict for cell in group),
    )


def _accuracy_at(cell: Cell, density: float, family: str) -> float:
    """Accuracy of the network nearest a density, in the logarithm."""
    accuracy, left = cell.accuracy, cell.density
    if family != "hyperflux":  # an event that removes weights comes after the accuracy in its row
        accuracy, left = accuracy[1:], left[:-1]
    known = left > 0
    if not known.any():
        return math.nan
    return float(accuracy[known][np.argmin(np.abs(np.log(left[known] / density)))])

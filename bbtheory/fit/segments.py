"""Three continuous straight lines through points, both knots found exactly, with profile intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.fit.resampling import autoregressive_errors, percentile_interval
from bbtheory.fit.uncertainty import LeastSquares, floor_squares, least_squares, polynomial_design
from bbtheory.records import Record

_PER_LINE = 3
MIN_POINTS = 3 * _PER_LINE
N_PARAMETERS = 7  # four of the lines, two knots, sigma


@dataclass(frozen=True, eq=False)
class SegmentedLine(Record):
    """Three continuous straight lines fitted by least squares, knots in ascending x."""

    KIND: ClassVar[str] = "segmented-line"
    DERIVED: ClassVar[tuple[str, ...]] = ("knot_intervals",)
    HIDDEN: ClassVar[tuple[str, ...]] = ("x", "y")

    knots: np.ndarray  # (2,), x where the slope changes
    knot_values: np.ndarray  # (2,), fitted y there
    slopes: np.ndarray  # (3,)
    sum_squares: float
    n: int
    level: float  # of the intervals
    x: np.ndarray  # (n,), ascending
    y: np.ndarray  # (n,)

    def predict(self, x: ArrayLike) -> np.ndarray:
        """Return the fitted y at ``x`` (any shape)."""
        at = np.asarray(x, dtype=np.float64)
        below = np.minimum(at - self.knots[0], 0.0) * self.slopes[0]
        above = np.maximum(at - self.knots[1], 0.0) * self.slopes[2]
        return self.knot_values[0] + below + self._middle(at) + above

    def _middle(self, at: np.ndarray) -> np.ndarray:
        width = self.knots[1] - self.knots[0]
        share = np.clip((at - self.knots[0]) / width, 0.0, 1.0)
        return share * (self.knot_values[1] - self.knot_values[0])

    @property
    def residuals(self) -> np.ndarray:
        """Observed minus fitted y, (n,)."""
        return self.y - self.predict(self.x)

    @cached_property
    def knot_intervals(self) -> np.ndarray:
        """Profile intervals (2, 2) of the knots: all t with SSE(t) <= SSE (1 + F/(n - 6)).

        SSE(t) is the least sum of squares with that knot at t and everything else free, F the quantile of
        the F distribution with 1 and n - 6 degrees of freedom. An interval may be stopped by the rule of
        three points on each line. Right for independent errors; autocorrelated ones need wider intervals.
        """
        from bbtheory.fit import segments_kernel as kernel

        return kernel.profile_intervals(self.x, self.y, self.knots, self._limit())

    def _limit(self) -> float:
        from scipy.special import fdtri

        dof = self.n - N_PARAMETERS + 1
        return floor_squares(self.sum_squares, self.y) * (1.0 + float(fdtri(1, dof, self.level)) / dof)

    def tangent(self) -> LeastSquares:
        """Return the fit linearised at its optimum: while knots move with them, three free lines."""
        distinct = np.unique(self.x)
        # a knot on a data point may count it to either side: to the one that leaves three points on each line
        first, second = np.searchsorted(distinct, self.knots, side="right")
        first = min(max(first, _PER_LINE), distinct.size - 2 * _PER_LINE)
        second = min(max(second, first + _PER_LINE), distinct.size - _PER_LINE)
        line = np.searchsorted(distinct[[first, second]], self.x, side="right")
        ramp = polynomial_design(self.x, 1)
        design = np.concatenate([ramp * (line == which)[:, None] for which in range(3)], axis=1)
        linear = least_squares(design, self.y)
        squares = floor_squares(self.sum_squares, self.y)
        # the residuals are the fit's own, the leverage that of the linearised one
        exact = squares > self.sum_squares
        return replace(linear, residuals=self.residuals, sum_squares=squares, exact=exact)


@dataclass(frozen=True, eq=False)
class SegmentedBootstrap(Record):
    """Knots and slopes of refits to resampled points."""

    KIND: ClassVar[str] = "segmented-bootstrap"
    HIDDEN: ClassVar[tuple[str, ...]] = ("knots", "slopes")

    knots: np.ndarray  # (n_bootstrap, 2)
    slopes: np.ndarray  # (n_bootstrap, 3)
    knot_intervals: np.ndarray  # (2, 2)
    slope_intervals: np.ndarray  # (3, 2)
    level: float


def fit_segments(x: ArrayLike, y: ArrayLike, *, level: float = 0.95) -> SegmentedLine:
    """Fit three continuous straight lines, min over knots t1 < t2 and lines of sum (y - f(x; t1, t2))^2.

    The optimum is found exactly: each line holds at least three distinct abscissae, and for each of the
    O(n^2) ways to divide the points the best knots have a closed form (three free lines that meet inside
    their gaps, or a knot on a data point). There is no starting value, no tolerance and no local optimum.

    Parameters
    ----------
    x : array_like (n,)
        Finite, in any order, at least nine distinct values; equal values are averaged with their count as
        weight.
    y : array_like (n,)
        Finite.
    level : float in (0, 1)
        Of the profile intervals of the knots, which are computed when asked for.

    Returns
    -------
    SegmentedLine
        Its x and y are sorted by x.

    Raises
    ------
    ValueError
        If x and y differ in length, hold NaN or infinities, or x has fewer than nine distinct values.

    References
    ----------
    Hudson, J. Am. Stat. Assoc. 61 (1966) 1097, types of joins for one knot; the enumeration for two knots
    from running sums is this project's derivation, in `bbtheory.fit.segments_kernel`.
    """
    from bbtheory.fit import segments_kernel as kernel

    x = validate.array("x", x)
    y = validate.array("y", y, shape=x.shape)
    level = validate.real("level", level, "(0, 1)")
    if x.size > 1 and not bool((x[1:] >= x[:-1]).all()):
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    squares, t1, t2, y1, y2, slope1, slope2, slope3, distinct = kernel.fit(x, y)
    if distinct < MIN_POINTS:
        raise ValueError(
            f"x must hold at least {MIN_POINTS} distinct values for three lines, got {int(distinct)}"
        )
    return SegmentedLine(
        knots=np.array([t1, t2]),
        knot_values=np.array([y1, y2]),
        slopes=np.array([slope1, slope2, slope3]),
        sum_squares=squares,
        n=x.size,
        level=level,
        x=x,
        y=y,
    )


def bootstrap_segments(
    fit: SegmentedLine, *, n_bootstrap: int = 1000, level: float = 0.95, seed: int = 0
) -> SegmentedBootstrap:
    """Refit resampled points, fitted curve plus resampled errors, each to its own exact optimum.

    The errors are an autoregressive series of order 1 resampled from the fit's residuals
    (`bbtheory.fit.resampling.autoregressive_errors`), because curves of density against saliency leave
    residuals that follow one another.

    Parameters
    ----------
    fit : SegmentedLine
    n_bootstrap : int >= 100
    level : float in (0, 1)
    seed : int >= 0

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """
    from bbtheory.fit import segments_kernel as kernel

    n_bootstrap = validate.integer("n_bootstrap", n_bootstrap, "[100, 1e6]")
    level = validate.real("level", level, "(0, 1)")
    rng = np.random.default_rng(validate.integer("seed", seed, "[0, inf)"))
    errors = autoregressive_errors(fit.tangent(), n_bootstrap, rng)
    refits = kernel.fit_many(fit.x, fit.predict(fit.x) + errors)
    knots, slopes = refits[:, 1:3].copy(), refits[:, 5:8].copy()
    dof = fit.n - N_PARAMETERS + 1
    return SegmentedBootstrap(
        knots=knots,
        slopes=slopes,
        knot_intervals=percentile_interval(knots, level, dof).T.copy(),
        slope_intervals=percentile_interval(slopes, level, dof).T.copy(),
        level=level,
    )

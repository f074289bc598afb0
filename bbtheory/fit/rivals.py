"""The laws a straight line in log-log has to stand up to: log-quadratic, smoothly broken, three segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bbtheory.fit.segments import N_PARAMETERS, SegmentedLine
from bbtheory.fit.uncertainty import (
    aicc,
    bic,
    floor_squares,
    gaussian_log_likelihood,
    least_squares,
    polynomial_design,
)
from bbtheory.records import Record

LINE, LOG_QUADRATIC, SMOOTHLY_BROKEN, THREE_SEGMENTS = (
    "line",
    "log_quadratic",
    "smoothly_broken",
    "three_segments",
)
_PARAMETERS = {LINE: 3, LOG_QUADRATIC: 4, SMOOTHLY_BROKEN: 6, THREE_SEGMENTS: N_PARAMETERS}  # sigma included
# The bend's width as a share of the range of x: narrower is a corner, wider a parabola.
_WIDTHS = (0.01, 1.0)
# On 150 sets this search ends at most 1e-6 above least squares from many starts, in a tenth of the time.
_GRID = (60, 12)  # positions, widths of the bend that are tried first
_PEAKS, _ROUNDS, _SHRINK = 6, 14, 0.6  # peaks that are refined, how often, by how much
_NEAR = np.stack(np.meshgrid(np.linspace(-1, 1, 7), np.linspace(-1, 1, 7)), axis=-1).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class ModelScore(Record):
    """How well one law describes one set of points; smaller criteria are better."""

    KIND: ClassVar[str] = "model-score"

    model: str
    points: str  # "window" or "all"
    n: int
    k: int  # fitted numbers: coefficients, breaks, sigma
    aicc: float  # inf if n <= k + 1
    bic: float


def smoothly_broken_squares(x: np.ndarray, y: np.ndarray) -> float:
    """Return the least sum of squares of y = c0 + c1 x + c2 w ln(1 + exp((x - t)/w)), x ascending.

    A power law whose exponent changes from -c1 to -(c1 + c2) around x = t over a width w. For given (t, w)
    the coefficients follow by projection, so only these two are searched: a grid, then ever finer grids
    around its peaks. t keeps three points on either side, w lies between 1 and 100 % of the range.
    """
    span = x[-1] - x[0]
    basis, _ = np.linalg.qr(polynomial_design(x, 1))
    straight = y - basis @ (basis.T @ y)

    def gains(at: np.ndarray) -> np.ndarray:
        """Return the squares that a bend at each (t, ln w) explains beyond a straight line."""
        width = span * np.exp(at[:, 1:])
        bend = width * np.logaddexp(0.0, (x - at[:, :1]) / width)
        bend -= (bend @ basis) @ basis.T
        norm = np.einsum("ij,ij->i", bend, bend)
        return (bend @ straight) ** 2 / np.where(norm > 0, norm, np.inf)

    low, high = np.array([x[2], np.log(_WIDTHS[0])]), np.array([x[-3], np.log(_WIDTHS[1])])
    share = np.stack(np.meshgrid(*(np.linspace(0, 1, m) for m in _GRID), indexing="ij"), axis=-1)
    grid = low + share * (high - low)
    found = gains(grid.reshape(-1, 2)).reshape(_GRID)
    padded = np.pad(found, 1, constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max(axis=(2, 3))
    peaks = np.argwhere(found >= around)
    best = 0.0
    for peak in peaks[np.argsort(-found[tuple(peaks.T)], kind="stable")[:_PEAKS]]:
        centre, reach = grid[tuple(peak)], (high - low) / (np.array(_GRID) - 1)
        for _ in range(_ROUNDS):
            near = np.clip(centre + _NEAR * reach, low, high)
            gain = gains(near)
            centre, reach = near[np.argmax(gain)], reach * _SHRINK
            best = max(best, float(gain.max()))
    return max(float(straight @ straight) - best, 0.0)


def score_models(
    x: np.ndarray, y: np.ndarray, points: str, segments: SegmentedLine | None = None
) -> tuple[ModelScore, ...]:
    """Score every law that ``x``, ``y`` (sorted by x) have enough points for: at least two beyond its k.

    ``segments`` is the three-segment fit to the same points, left out if None.
    """
    n = x.size
    squares: dict[str, float] = {}
    for model, degree in ((LINE, 1), (LOG_QUADRATIC, 2)):
        if n > _PARAMETERS[model] + 1 and np.unique(x).size > degree + 1:
            squares[model] = least_squares(polynomial_design(x, degree), y).sum_squares
    if n > _PARAMETERS[SMOOTHLY_BROKEN] + 1 and x[2] < x[-3]:
        squares[SMOOTHLY_BROKEN] = floor_squares(smoothly_broken_squares(x, y), y)
    if segments is not None:
        squares[THREE_SEGMENTS] = floor_squares(segments.sum_squares, y)
    scores = []
    for model, total in squares.items():
        k, log_likelihood = _PARAMETERS[model], gaussian_log_likelihood(total, n)
        scores.append(ModelScore(model, points, n, k, aicc(log_likelihood, k, n), bic(log_likelihood, k, n)))
    return tuple(scores)

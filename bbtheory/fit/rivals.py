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
_GRID = (24, 8)  # positions, widths of the bend that are tried first
_STARTS = 4  # best of them that are refined


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


def polynomial_design(x: np.ndarray, degree: int) -> np.ndarray:
    """Return columns 1, z, ..., z^degree with z = x centred and scaled to [-1, 1]."""
    mid, half = 0.5 * (x.min() + x.max()), 0.5 * (x.max() - x.min())
    return np.vander((x - mid) / half, degree + 1, increasing=True)


def smoothly_broken_squares(x: np.ndarray, y: np.ndarray) -> float:
    """Return the least sum of squares of y = c0 + c1 x + c2 w ln(1 + exp((x - t)/w)).

    A power law whose exponent changes from -c1 to -(c1 + c2) around x = t over a width w. For given (t, w)
    the coefficients follow by projection, so only these two are searched: a grid, then least squares from its
    best points; t keeps three points on either side, w lies between 1 and 100 % of the range.
    """
    from scipy.optimize import least_squares as search

    span = x[-1] - x[0]
    basis, _ = np.linalg.qr(polynomial_design(x, 1))
    straight = y - basis @ (basis.T @ y)

    def bends(t: np.ndarray, log_width: np.ndarray) -> np.ndarray:
        """Return unit bends (m, n), orthogonal to every straight line."""
        width = span * np.exp(log_width)[:, None]
        bend = width * np.logaddexp(0.0, (x - t[:, None]) / width)
        bend -= (bend @ basis) @ basis.T
        norm = np.linalg.norm(bend, axis=1, keepdims=True)
        return bend / np.where(norm > 0, norm, 1.0)

    def residuals(at: np.ndarray) -> np.ndarray:
        bend = bends(at[:1], at[1:])[0]
        return straight - bend * (bend @ straight)

    low, high = np.array([x[2], np.log(_WIDTHS[0])]), np.array([x[-3], np.log(_WIDTHS[1])])
    grid = np.meshgrid(*(np.linspace(a, b, m) for a, b, m in zip(low, high, _GRID, strict=True)))
    starts = np.stack([g.ravel() for g in grid], axis=1)
    gains = (bends(starts[:, 0], starts[:, 1]) @ straight) ** 2
    total = float(straight @ straight)
    best = total - float(gains.max())
    for start in starts[np.argsort(-gains, kind="stable")[:_STARTS]]:
        inside = np.clip(start, low + 1e-6 * (high - low), high - 1e-6 * (high - low))
        found = search(residuals, inside, bounds=(low, high), x_scale=high - low)
        best = min(best, 2.0 * float(found.cost))
    return best


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

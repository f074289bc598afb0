"""The straight line in log-log inside a window of densities: exponent, prefactor, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bbtheory.fit.resampling import autoregressive_errors, percentile_interval
from bbtheory.fit.uncertainty import LeastSquares, hac_covariance, least_squares, ols_covariance
from bbtheory.records import Record

MIN_WINDOW = 4  # fewer points leave a line with no uncertainty of any use
# The window's edges are moved by these factors: 0.2 to 3 % and 30 to 70 % for the reference window.
_LOW_FACTORS, _HIGH_FACTORS = (0.4, 1.0, 2.0, 4.0, 6.0), (0.6, 0.8, 1.0, 1.2, 1.4)


@dataclass(frozen=True, eq=False)
class WindowFit(Record):
    """The power law density = prefactor * saliency^-exponent inside low < density <= high; NaN if too few."""

    KIND: ClassVar[str] = "window-fit"

    low: float
    high: float
    n: int
    exponent: float
    exponent_stderr: float  # ordinary least squares
    exponent_hac_stderr: float  # robust to autocorrelation
    exponent_interval: np.ndarray  # (2,), autoregressive bootstrap
    prefactor: float  # density (a fraction) at saliency 1
    prefactor_interval: np.ndarray  # (2,), the same bootstrap
    r_squared: float
    note: str  # why there is no fit, else empty


def _too_few(x: np.ndarray) -> str:
    if x.size < MIN_WINDOW:
        return f"{x.size} points in the window, a line needs {MIN_WINDOW}"
    return "" if x.min() < x.max() else "all points in the window have the same saliency"


def fit_window(
    x: np.ndarray,
    y: np.ndarray,
    edges: tuple[float, float],
    n_bootstrap: int,
    level: float,
    rng: np.random.Generator,
) -> tuple[WindowFit, LeastSquares | None]:
    """Fit y = ln c - alpha x to the points inside the window (ln density, ln saliency, sorted by x)."""
    note = _too_few(x)
    if note:
        nan, pair = np.nan, np.full(2, np.nan)
        return WindowFit(*edges, x.size, nan, nan, nan, pair, nan, pair.copy(), nan, note), None
    fit = least_squares(np.stack([np.ones_like(x), x], axis=1), y)
    level_at_1, slope = fit.coefficients
    errors = autoregressive_errors(fit, n_bootstrap, rng)
    refits = fit.coefficients + errors @ fit.design @ fit.inverse_gram
    intervals = percentile_interval(refits, level, fit.dof)
    total = float(np.sum((y - y.mean()) ** 2))
    with np.errstate(over="ignore", under="ignore"):  # far from saliency 1 the prefactor may leave float64
        prefactor, prefactor_interval = np.exp(level_at_1), np.exp(intervals[:, 0])
    line = WindowFit(
        *edges,
        n=x.size,
        exponent=float(-slope),
        exponent_stderr=float(np.sqrt(ols_covariance(fit)[1, 1])),
        exponent_hac_stderr=float(np.sqrt(hac_covariance(fit)[1, 1])),
        exponent_interval=-intervals[::-1, 1],
        prefactor=float(prefactor),
        prefactor_interval=prefactor_interval,
        r_squared=1.0 - float(fit.residuals @ fit.residuals) / total if total > 0 else np.nan,
        note="",
    )
    return line, fit


def window_spread(x: np.ndarray, y: np.ndarray, edges: tuple[float, float]) -> np.ndarray:
    """Return the least and largest exponent over windows whose edges are moved by fixed factors, (2,)."""
    density = np.exp(y)
    exponents = []
    for low in edges[0] * np.array(_LOW_FACTORS):
        for high in edges[1] * np.array(_HIGH_FACTORS):
            inside = (density > low) & (density <= high)
            if not _too_few(x[inside]):
                centred = x[inside] - x[inside].mean()
                exponents.append(-float(centred @ y[inside]) / float(centred @ centred))
    return np.array([min(exponents), max(exponents)]) if exponents else np.full(2, np.nan)

"""How a unit's on-rate answers to its own degree, and the degree at which the refresh leaves it alone.

Units are taken one by one: a = A_i(k) with k the unit's own degree. The refresh targets k = T(a), so its
fixed point is the root of T(A(k)) - k, which lies in [m, D] whatever A is, because T maps into [m, D].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bbtheory import validate
from bbtheory.theory.entropy import on_rate_from_log_odds

# the root is located to this part of the largest degree: far below a link, above the rounding of T(A(k))
DEGREE_TOLERANCE = 1e-12
# a bracket closed to this many last digits cannot be halved again
_CLOSED = 4.0 * np.finfo(np.float64).eps
# inverse quadratic steps and bisections: 53 halvings close any bracket, three times that a sticky one
_MOST_STEPS = 160
# step of the central difference: balances its truncation h^2 with the rounding eps/h
_DIFFERENCE_STEP = float(np.finfo(np.float64).eps) ** (1.0 / 3.0)


@dataclass(frozen=True)
class LinearResponse:
    """Log-odds that fall by ``slope`` nats with each link: L(A(k)) = L(a_ref) - slope (k - k_ref).

    A line in the on-rate itself would leave (0, 1) for rare units. Here the loop gain g = slope/beta is the
    same everywhere, and the fixed point is where two lines cross.
    """

    log_odds: np.ndarray
    degree: np.ndarray
    slope: np.ndarray

    def __call__(self, degree: np.ndarray) -> np.ndarray:
        return on_rate_from_log_odds(self.log_odds - self.slope * (degree - self.degree))

    def fixed_degree(self, beta: float, d0: float, low: float, high: float) -> np.ndarray:
        """Where the refresh rests: the crossing, or the clip to which a unit with g <= -1 runs from it."""
        # T(A(k)) - k = (1 + g) (crossing - k), seen from the degree that the first refresh sets
        stiffness = 1.0 + self.slope / beta
        with np.errstate(over="ignore", invalid="ignore"):
            start = d0 + self.log_odds / beta
            gap = start + self.slope * self.degree / beta - stiffness * np.clip(start, low, high)
            crossing = np.clip(start, low, high) + gap / np.where(stiffness > 0, stiffness, np.nan)
        runs = np.where(gap > 0, high, np.where(gap < 0, low, np.clip(start, low, high)))
        # a unit without log-odds sits on a clip, whatever its slope
        return np.where((stiffness > 0) & np.isfinite(start), np.clip(crossing, low, high), runs)


@dataclass(frozen=True)
class GivenResponse:
    """A function of the degrees that survive, A(k) = function(kept_share k), what it returns checked."""

    function: Callable[[np.ndarray], np.ndarray]
    kept_share: float

    def __call__(self, degree: np.ndarray) -> np.ndarray:
        on_rate = self.function(self.kept_share * degree)
        return validate.array("response(degree)", on_rate, "[0, 1]", shape=degree.shape)

    def slope(self, degree: np.ndarray, low: float, high: float) -> np.ndarray:
        """da/dk of each unit, by a central difference inside [low, high]."""
        step = _DIFFERENCE_STEP * np.maximum(degree, 1.0)
        below, above = np.maximum(degree - step, low), np.minimum(degree + step, high)
        width = above - below
        return (self(above) - self(below)) / np.where(width > 0, width, 1.0)


class Root(NamedTuple):
    """Degree of each unit, how far the line is from it (links), and how many evaluations it took."""

    degree: np.ndarray
    gap: np.ndarray
    closed: bool
    n_evaluations: int


def fixed_degree(
    respond: Callable[[np.ndarray], np.ndarray],
    target: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    low: float,
    high: float,
) -> Root:
    """Root of T(A(k)) - k of every unit, by Chandrupatla's method.

    The bracket runs from the start to that end of [m, D] to which the refresh first moves the degree, and
    keeps T(A(k)) > k below and < k above, so that a root which repels is stepped over.

    Parameters
    ----------
    respond, target : callables
        A and T, unit by unit.
    start : ndarray (n,)
        First degrees, inside [low, high].
    low, high : float
        m and D, links.

    Returns
    -------
    Root
    """

    def gap(degree: np.ndarray) -> np.ndarray:
        return target(respond(degree)) - degree

    tolerance = DEGREE_TOLERANCE * high
    new, f_new = start, gap(start)
    old = np.where(f_new > 0, high, low)
    f_old = gap(old)
    far, f_far = old, f_old
    best, f_best = new, f_new
    split = np.full(start.shape, 0.5)
    for n_evaluations in range(3, _MOST_STEPS):
        width = np.abs(old - new)
        done = (np.abs(f_best) <= tolerance) | (width <= _CLOSED * high)
        if done.all():
            return Root(best, f_best, True, n_evaluations - 1)
        trial = new + split * (old - new)
        f_trial = gap(trial)
        # the new bracket is the trial point and the side whose sign is opposite
        same = (f_trial > 0) == (f_new > 0)
        far, f_far = np.where(same, new, old), np.where(same, f_new, f_old)
        old, f_old = np.where(same, old, new), np.where(same, f_old, f_new)
        new, f_new = trial, f_trial
        better = np.abs(f_new) < np.abs(f_old)
        best, f_best = np.where(better, new, old), np.where(better, f_new, f_old)
        split = _next_split(new, f_new, old, f_old, far, f_far, tolerance)
    return Root(best, f_best, False, _MOST_STEPS)


def _next_split(
    new: np.ndarray,
    f_new: np.ndarray,
    old: np.ndarray,
    f_old: np.ndarray,
    far: np.ndarray,
    f_far: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """Where in the bracket to look next: by inverse quadratic interpolation where safe, else the middle."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x = (new - old) / (far - old)
        f = (f_new - f_old) / (f_far - f_old)
        safe = (f**2 < x) & ((1.0 - f) ** 2 < 1.0 - x)
        quadratic = f_new / (f_old - f_new) * (f_far / (f_old - f_far)) + (far - new) / (old - new) * (
            f_new / (f_far - f_new)
        ) * (f_old / (f_far - f_old))
        nearest = tolerance / np.abs(old - new)
    split = np.where(safe & np.isfinite(quadratic), quadratic, 0.5)
    nearest = np.minimum(np.where(np.isfinite(nearest), nearest, 0.5), 0.5)
    return np.clip(split, nearest, 1.0 - nearest)

"""What checks on courses of density share: a difference counts against one limit once it is at rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bbtheory.fit.uncertainty import mean_low_high
from paper_checks._intervals import within
from paper_checks.protocol import REFUTED, UNDECIDED

if TYPE_CHECKING:
    from experiments.convergence_at_fixed_pressure import Row
    from experiments.learning_rate_convergence import Row as RateRow

TOLERANCE = 0.1  # of a ratio of densities
STILL = 0.05  # largest drift over the last tenth of the epochs of a density at rest
LEFT = 0.1  # largest part of what is left by which a difference at rest has shrunk over the last third


def rests(differences: np.ndarray) -> bool:
    """Return whether the mean of differences (n_seeds, epochs) is at rest: it does not go to 0, for sure.

    For sure: by the upper end of the 95 % interval, over seeds, of how much it shrank. What shrinks more may
    vanish in a longer run.
    """
    last = differences[:, -1]
    ago = differences[:, -1 - differences.shape[1] // 3]
    shrunk = mean_low_high(np.sign(last.mean()) * (ago - last))[2]
    return shrunk <= LEFT * abs(last.mean())


def one_density(rows: Sequence[Row] | Sequence[RateRow], at_rest: Iterable[bool]) -> str:
    """Judge ratios of densities: are all 1 within `TOLERANCE`? Only a ratio at rest can refute it."""
    bounds = 1 - TOLERANCE, 1 + TOLERANCE
    intervals = [(row.ratio_low, row.ratio_high) for row in rows]
    verdict = within(intervals, *bounds)
    rested = [interval for interval, rests in zip(intervals, at_rest, strict=True) if rests]
    return UNDECIDED if verdict == REFUTED and within(rested, *bounds) != REFUTED else verdict


def ratio_in_words(row: Row | RateRow, at_rest: bool) -> str:
    """Return a ratio with its interval."""
    more = "" if at_rest else " (not at rest)"
    return f"{row.ratio:.3f} [{row.ratio_low:.3f}, {row.ratio_high:.3f}]{more}"

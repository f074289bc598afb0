"""What checks on intervals share: are numbers within bounds, for sure or not at all?"""

from __future__ import annotations

import math
from collections.abc import Iterable

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED


def within(intervals: Iterable[tuple[float, float]], least: float, most: float) -> str:
    """Confirmed if all intervals lie within the bounds, refuted if one lies wholly outside, else undecided.

    An interval that is NaN says nothing, and nothing is confirmed without one.
    """
    found = list(intervals)
    if any(low > most or high < least for low, high in found):
        return REFUTED
    sure = [math.isfinite(low + high) and low >= least and high <= most for low, high in found]
    return CONFIRMED if found and all(sure) else UNDECIDED

"""A sum of clipped lines, F(u) = sum_i clip(o_i + s_i u, m, D), and all u at which it takes a value.

Every degree rule is of this form in its knob, so a density is met exactly, segment by segment between the
knots where a unit reaches a bound, rather than by iteration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# a target is met to the rounding of a sum of degrees, as a share of the largest sum there could be
SUM_TOLERANCE = 1e-12


@dataclass(frozen=True)
class ClippedSum:
    """Lines o + s u of units, clipped to [m, D]; an infinite offset or slope keeps a unit on a bound."""

    offset: np.ndarray
    slope: np.ndarray
    low: float
    high: float

    def terms(self, u: float) -> np.ndarray:
        """clip(o_i + s_i u, m, D)."""
        steep = np.isinf(self.slope)
        with np.errstate(over="ignore"):
            line = self.offset + np.where(steep, 0.0, self.slope) * u
        return np.clip(np.where(steep, self.slope, line), self.low, self.high)

    @property
    def _tolerance(self) -> float:
        return SUM_TOLERANCE * self.high * self.offset.size

    def _knots(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the units that move, and where each starts and stops moving."""
        moving = np.isfinite(self.offset) & np.isfinite(self.slope) & (self.slope != 0)
        o, s = self.offset[moving], self.slope[moving]
        with np.errstate(over="ignore"):
            at_low, at_high = (self.low - o) / s, (self.high - o) / s
        return moving, np.minimum(at_low, at_high), np.maximum(at_low, at_high)

    def _between(self, left: float, right: float, target: float) -> float:
        """Root inside one segment, where the set of moving units is fixed and F is a line."""
        middle = 0.5 * left + 0.5 * right if np.isfinite(right) else 2.0 * abs(left) + 1.0
        terms = self.terms(middle)
        free = (terms > self.low) & (terms < self.high)
        slope = float(self.slope[free].sum())
        if slope == 0:
            return left
        root = (target - float(terms[~free].sum()) - float(self.offset[free].sum())) / slope
        return min(max(root, left), right)

    def invert_rising(self, target: float) -> tuple[np.ndarray, tuple[float, float]]:
        """Roots of F(u) = target where all slopes are >= 0, with the range F covers.

        One root, or the two ends of the interval on which F rests at the target (its finite end where the
        interval has no other), or none. By bisection over the knots.
        """
        _, enter, leave = self._knots()
        knots = np.unique(np.concatenate([enter, leave]))
        knots = knots[np.isfinite(knots)]
        if knots.size == 0:
            total = float(self.terms(1.0).sum())
            rests = abs(total - target) <= self._tolerance
            return (np.array([0.0]) if rests else np.empty(0)), (total, total)

        def first(reached) -> int:
            """Index of the first knot whose sum satisfies a condition that then holds for all after it."""
            left, right = 0, knots.size
            while left < right:
                middle = (left + right) // 2
                left, right = (
                    (left, middle) if reached(self.terms(knots[middle]).sum()) else (middle + 1, right)
                )
            return left

        least, most = float(self.terms(knots[0]).sum()), float(self.terms(knots[-1]).sum())
        tolerance = self._tolerance
        if not least - tolerance <= target <= most + tolerance:
            return np.empty(0), (least, most)
        at = first(lambda total: total >= target - tolerance)
        beyond = first(lambda total: total > target + tolerance)
        if at < beyond:  # knots at .. beyond - 1 lie at the target
            return np.unique([knots[at], knots[beyond - 1]]), (least, most)
        return np.array([self._between(knots[at - 1], knots[at], target)]), (least, most)

    def invert(self, target: float) -> tuple[np.ndarray, tuple[float, float]]:
        """Roots u > 0 of F(u) = target for slopes of either sign, ascending, with the range F covers.

        Every crossing; of an interval on which F rests at the target its finite ends above 0 (1 where it has
        none, because every u is a root).
        """
        moving, enter, leave = self._knots()
        o, s = self.offset[moving], self.slope[moving]
        fixed = float(self.terms(1.0)[~moving].sum())
        before, after = np.where(s > 0, self.low, self.high), np.where(s > 0, self.high, self.low)
        knots = np.unique(np.concatenate([[0.0], enter, leave]))
        knots = knots[np.isfinite(knots) & (knots >= 0)]

        def below(events: np.ndarray, *values: np.ndarray) -> list[np.ndarray]:
            """Sum of each of the values over the units whose event lies at or below each knot."""
            order = np.argsort(events, kind="stable")
            until = np.searchsorted(events[order], knots, side="right")
            return [np.concatenate([[0.0], np.cumsum(v[order])])[until] for v in values]

        o_in, s_in, waiting = below(enter, o, s, before)
        o_out, s_out, done = below(leave, o, s, after)
        total = fixed + (before.sum() - waiting) + (o_in - o_out) + (s_in - s_out) * knots + done
        sign = np.where(np.abs(total - target) <= self._tolerance, 0, np.sign(total - target))
        roots = [
            self._between(knots[j], knots[j + 1], target) for j in np.flatnonzero(sign[:-1] * sign[1:] < 0)
        ]
        rests = np.concatenate([[False], sign == 0, [False]])
        starts, stops = np.flatnonzero(rests[1:] & ~rests[:-1]), np.flatnonzero(rests[:-1] & ~rests[1:]) - 1
        for start, stop in zip(starts, stops, strict=True):
            if start > 0:
                roots.append(float(knots[start]))
            if stop < knots.size - 1:
                roots.append(float(knots[stop]))
        if not roots and (sign == 0).all():
            roots = [1.0]  # every u is a root
        found = np.unique(np.array(roots, dtype=np.float64))
        return found[found > 0], (float(total.min()), float(total.max()))

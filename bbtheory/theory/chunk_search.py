"""The search of dual.py for the multiplier of a population that is read anew at each step."""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import numpy as np

from bbtheory.theory import dual
from bbtheory.theory.chunk_census import Census
from bbtheory.theory.chunks import SIZE, Chunks
from bbtheory.theory.population import check_population

# a relative step of beta below this is likely to be the last: the pass after it computes the certificate too
_LAST_STEP = 5e-3


class Certificate(NamedTuple):
    """Sums over all units at one multiplier, and the proof of their on-rates."""

    traffic: float
    """sum_i c_i a_i."""
    slope: float
    """-dT/dbeta."""
    coding_entropy: float
    """Nats."""
    n_underflow: int
    """On-rates that are 0."""
    stationarity: float
    """As in `Residuals`."""


class ChunkSearch:
    """Multipliers and certificates of a population in chunks, on-rates between two bounds.

    Parameters
    ----------
    chunks : Chunks
    census : Census
        Of these chunks.
    lower, upper : float
        Bounds on the on-rates.
    write : callable or None
        Is given the on-rates of each chunk in turn, once, by `certify`.
    """

    def __init__(self, chunks: Chunks, census: Census, lower: float, upper: float, write: Any = None):
        self._chunks, self._census, self._bounds, self._write = chunks, census, (lower, upper), write
        self._scale = 1.0 / census.largest  # multipliers below are of costs scaled to at most 1
        self._last = math.inf
        self._certified: tuple[float, Certificate] | None = None

    def root(self, budget: float) -> tuple[float, bool, int]:
        """Find the multiplier of a binding budget; return (beta, converged, steps)."""
        target = np.array([budget * self._scale])
        floor = self._census.total * self._bounds[0] * self._scale
        high = dual.bracket(float(self._chunks.size), target, floor)
        found = dual.find_roots(self._measure, target, np.array([self._guess(budget)]), high)
        return float(found.beta[0]) * self._scale, bool(found.converged[0]), found.n_iterations

    def certify(self, beta: float) -> Certificate:
        """Compute all on-rates at a multiplier and what proves them; write them where that is asked for."""
        if self._certified is None or self._certified[0] * self._scale != beta:
            # an infinite multiplier would leave units without audience undefined
            self._certify(min(beta / self._scale, sys.float_info.max))
        assert self._certified is not None
        return self._certified[1]

    def _guess(self, budget: float) -> float:
        """Solve for the sample's share of the budget; share by fan-outs, so that it scatters little."""
        total, sample = self._census.total, self._census.sample
        part = float(sample.sum())
        if part == 0:
            scale = self._scale
            return float(dual.first_guess(self._chunks.size, total * scale, 0.5 * budget * scale))
        lower, upper = self._bounds
        sampled = check_population(sample, lower=lower, upper=upper)
        return dual.search(sampled, budget * (part / total))[0] / self._scale

    def _measure(self, rows: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, ...]:
        """Moments for `dual.find_roots`; in what is likely its last call, the certificate too."""
        from bbtheory.theory import chunk_kernel

        at = float(beta[0])
        near = abs(at - self._last) <= _LAST_STEP * at
        self._last = at
        if near and self._write is None:
            return self._certify(at)
        sums = [
            chunk_kernel.measure_chunk(cost, self._scale, at, *self._bounds)
            for _, cost in self._chunks.with_costs()
        ]
        return tuple(np.array([math.fsum(column)]) for column in zip(*sums, strict=True))

    def _certify(self, beta: float) -> tuple[np.ndarray, ...]:
        """Keep the certificate at a scaled multiplier; return the moments."""
        from bbtheory.theory import chunk_kernel

        on_rate = np.empty(SIZE)
        sums = []
        for _, cost in self._chunks.with_costs():
            out = on_rate[: cost.size]
            sums.append(chunk_kernel.certify_chunk(cost, self._scale, beta, *self._bounds, out))
            if self._write is not None:
                self._write(out)
        *moments, entropy, n_underflow, stationarity = zip(*sums, strict=True)
        s, s1, s2, s3 = (math.fsum(column) for column in moments)
        largest = self._census.largest
        found = Certificate(
            s * largest,
            s1 * largest * largest,
            math.fsum(entropy),
            sum(n_underflow),
            float(np.max(stationarity)),
        )
        self._certified = beta, found
        return tuple(np.array([moment]) for moment in (s, s1, s2, s3))

"""What one pass tells of a population in chunks: sum, ends, a sample, and counts where they say it all."""

from __future__ import annotations

import math

import numpy as np

from bbtheory.theory.chunks import SIZE, Chunks

# whole fan-outs up to here are counted: 8 MB of counts
LARGEST_COUNTED = 2**20
# one unit in this many is in the sample, whose solution then costs less than half a pass ...
_SAMPLED = 16
# ... and no more units than give beta to 1e-3, from where a step of order four reaches rounding
_SAMPLE = 2**22


class Census:
    """One pass over fan-outs, which it checks.

    Attributes
    ----------
    total, least, largest : float
        Sum (inf where it overflows) and ends.
    n_silent : int
        Units without an audience.
    counts : ndarray or None
        How many units have each fan-out 0, 1, ...; None where they are not whole or too large.
    sample : ndarray
        Units at equal distances.

    Raises
    ------
    ValueError
        If a fan-out is negative or not finite.
    """

    def __init__(self, chunks: Chunks):
        from bbtheory.theory import chunk_kernel

        stride = max(1, min(_SAMPLED, chunks.size // _SAMPLED), chunks.size // _SAMPLE)
        counts = np.zeros(LARGEST_COUNTED + 1, np.int64) if chunks.dtype.kind in "iu" else None
        whole = np.empty(SIZE, np.int64)
        sums, sample, seen = [], [], 0
        self.least, self.largest, self.n_silent = np.inf, 0.0, 0
        for part, cost in chunks.with_costs():
            least, largest = part.min(), part.max()
            if not (least >= 0 and largest < np.inf):
                at = int(np.flatnonzero(~((part >= 0) & (part < np.inf)))[0])
                raise ValueError(
                    f"{chunks.name} must be finite numbers in [0, inf), got {part[at]} at index {seen + at}"
                )
            self.least, self.largest = min(self.least, float(least)), max(self.largest, float(largest))
            if counts is not None and largest <= LARGEST_COUNTED:
                np.copyto(whole[: part.size], part, casting="unsafe")
                chunk_kernel.count(whole[: part.size], counts)
            else:
                counts = None
            with np.errstate(over="ignore"):
                sums.append(float(cost.sum()))
            sample.append(cost[-seen % stride :: stride].copy())
            if least == 0:
                self.n_silent += part.size - int(np.count_nonzero(part))
            seen += part.size
        self.counts, self.sample = counts, np.concatenate(sample)
        try:
            self.total = math.fsum(sums)
        except OverflowError:
            self.total = math.inf

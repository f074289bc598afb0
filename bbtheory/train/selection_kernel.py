"""The selection of selection.py as compiled loops over a tensor's own memory; loaded where it pays.

Numbers are compared by their bits: those of a non-negative IEEE number, read as an integer, are in the
order of the numbers themselves. One search over integers so serves every float type, and it vectorises.
The keys keep the numbers' own width: wider ones would halve the lanes.

Each ``select_`` takes bits (C-contiguous integers of the floats' width), ``infinity`` (the bits of +inf,
same type) and ``magnitude`` (compare |x| in place of x), fills ``out`` (bool, same shape) and returns the
row, column or part in which it found a NaN, or -1; ``out`` is then not to be used. Rows and columns are those
of ``bits | other``: where one of two numbers is zero, that is the size of the other one, and ``bits`` itself
where there is one array only.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# columns searched together: whole cache lines, none read twice, and few enough for the second-level cache
_TILE = 32
# a power of two between the columns of a tile would put all of them into the same few sets of the cache
_PAD = 24
# probes by interpolation before halves; a way to a probe that still fits 64 bits
_INTERPOLATED = 8
_FAR = 2.0**62
# probes between looks at the keys left in its bracket: one value tied in many places ends it
_TIGHTEN = 8
# bits told apart in one pass over all tensors: counts of 2^16 digits stay in the second-level cache
_DIGIT = 16


@njit(inline="always", error_model="numpy")
def _key(bits, largest, magnitude):
    """Return an integer in the order of the numbers, the same for 0 and -0."""
    size = bits & largest
    return size if magnitude or bits >= 0 else -size


@njit(cache=True, error_model="numpy")
def _reaching(keys, t):
    """Return how many keys are >= t."""
    n = np.int32(0)
    for i in range(keys.size):
        n = np.int32(n + np.int32(keys[i] >= t))  # a sum in int64 would halve the lanes
    return np.int64(n)


@njit(cache=True, error_model="numpy")
def _range(keys):
    """Return the smallest and the largest key."""
    low = high = keys[0]
    for i in range(1, keys.size):
        low = min(low, keys[i])
        high = max(high, keys[i])
    return np.int64(low), np.int64(high)


@njit(cache=True, error_model="numpy")
def _load(bits, other, largest, magnitude, keys):
    """Write the keys of one row; return the smallest and the largest."""
    low, high = largest, -largest
    for i in range(bits.size):
        key = _key(bits[i] | other[i], largest, magnitude)
        keys[i] = key
        low = min(low, key)
        high = max(high, key)
    return np.int64(low), np.int64(high)


@njit(cache=True, error_model="numpy")
def _tightened(keys, lower, last):
    """Return the smallest key >= lower, and the largest <= last plus 1."""
    low, high = last, lower
    for i in range(keys.size):
        low = min(low, keys[i] if keys[i] >= lower else last)
        high = max(high, keys[i] if keys[i] <= last else lower)
    return np.int64(low), np.int64(high) + 1


@njit(cache=True, error_model="numpy")
def _threshold(keys, low, high, k, guess):
    """Return (t, extra): the k largest are the keys >= t but the last ``extra`` of those equal to t.

    The bracket lies between ``low``, the smallest key, which all reach, and ``high`` + 1, which none does. It
    ends as soon as k keys reach a probe, or where it holds a single value, which is tied then. Probes are the
    ``guess``, such as the last row's threshold, then where a straight line through the counts at both ends
    meets k; after the first few the middle, which bounds their number.
    """
    lower, upper = low, high + 1
    if k == 0:
        return upper, 0
    if k == keys.size:
        return lower, 0
    reached, beyond = keys.size, 0
    step = 0
    while lower + 1 < upper:
        probe = (lower >> 1) + (upper >> 1) + (lower & upper & 1)  # the difference of two keys may overflow
        if step == 0:
            probe = guess if lower < guess < upper else probe
        elif step < _INTERPOLATED:
            way = (float(upper) - float(lower)) * ((reached - k) / (reached - beyond))
            line = lower + np.int64(min(way, _FAR))
            probe = line if lower < line < upper else probe
        n = _reaching(keys, keys.dtype.type(probe))
        if n == k:
            return probe, 0
        if n > k:
            lower, reached = probe, n
        else:
            upper, beyond = probe, n
        step += 1
        if step % _TIGHTEN == 0:
            lower, upper = _tightened(keys, keys.dtype.type(lower), keys.dtype.type(upper - 1))
    return lower, reached - k


@njit(cache=True, error_model="numpy")
def _keep(keys, t, extra, out):
    """Write the mask of one row."""
    for i in range(keys.size):
        out[i] = keys[i] >= t
    i = keys.size
    while extra > 0:
        i -= 1
        if keys[i] == t:
            out[i] = False
            extra -= 1


@njit(cache=True, error_model="numpy")
def select_rows(bits, other, counts, infinity, magnitude, out):
    """Keep the ``counts[r]`` largest of each row."""
    n_rows, n = bits.shape
    largest = bits.dtype.type(np.iinfo(bits.dtype).max)
    keys = np.empty(n, bits.dtype)
    t = np.int64(0)
    for r in range(n_rows):
        low, high = _load(bits[r], other[r], largest, magnitude, keys)
        if high > infinity or low < -infinity:
            return r
        t, extra = _threshold(keys, low, high, counts[r], t)
        _keep(keys, keys.dtype.type(t), extra, out[r])
    return -1


@njit(cache=True, error_model="numpy")
def _gather(bits, other, first, last, largest, magnitude, tile):
    """Write the keys of some columns into the rows of ``tile``."""
    for i in range(bits.shape[0]):
        # contiguous for the compiler, which a slice of columns is not
        line, rest = bits[i, first:last], other[i, first:last]
        if line.size == _TILE:  # a constant length is unrolled: five times as fast
            for c in range(_TILE):
                tile[c, i] = _key(line[c] | rest[c], largest, magnitude)
        else:
            for c in range(line.size):
                tile[c, i] = _key(line[c] | rest[c], largest, magnitude)


@njit(cache=True, error_model="numpy")
def _spread(bits, other, first, last, thresholds, largest, magnitude, out):
    """Write the mask of some columns, whose lines of the tensor are in the cache still."""
    for i in range(bits.shape[0]):
        line, rest, kept = bits[i, first:last], other[i, first:last], out[i, first:last]
        for c in range(line.size):
            kept[c] = bits.dtype.type(_key(line[c] | rest[c], largest, magnitude)) >= thresholds[c]


@njit(cache=True, error_model="numpy")
def select_columns(bits, other, counts, infinity, magnitude, out):
    """Keep the ``counts[c]`` largest of each column, tile by tile: gathered, then searched as rows are."""
    n, n_columns = bits.shape
    largest = bits.dtype.type(np.iinfo(bits.dtype).max)
    tile = np.empty((_TILE, n + _PAD), bits.dtype)
    thresholds = np.empty(_TILE, bits.dtype)
    extra = np.empty(_TILE, np.int64)
    t = np.int64(0)
    for first in range(0, n_columns, _TILE):
        last = min(first + _TILE, n_columns)
        _gather(bits, other, first, last, largest, magnitude, tile)
        for c in range(last - first):
            keys = tile[c, :n]
            low, high = _range(keys)
            if high > infinity or low < -infinity:
                return first + c
            t, extra[c] = _threshold(keys, low, high, counts[first + c], t)
            thresholds[c] = bits.dtype.type(t)
        _spread(bits, other, first, last, thresholds, largest, magnitude, out)
        for c in range(last - first):
            i = n
            while extra[c] > 0:
                i -= 1
                if tile[c, i] == thresholds[c]:
                    out[i, first + c] = False
                    extra[c] -= 1
    return -1


@njit(cache=True, error_model="numpy")
def count_digits(bits, infinity, magnitude, base, shift, histogram):
    """Add the keys of one tensor to the histogram of ``(key >> shift) - base``; return whether one is a NaN.

    What lies outside of the histogram is not counted.
    """
    largest = bits.dtype.type(np.iinfo(bits.dtype).max)
    nan = False
    for i in range(bits.size):
        key = np.int64(_key(bits[i], largest, magnitude))
        nan |= key > infinity or key < -infinity
        digit = (key >> shift) - base
        if 0 <= digit < histogram.size:
            histogram[digit] += 1
    return nan


@njit(cache=True, error_model="numpy")
def keep_above(bits, magnitude, t, quota, out):
    """Keep the keys above ``t`` and the first ``quota`` of those equal to it; return what is left of it."""
    largest = bits.dtype.type(np.iinfo(bits.dtype).max)
    for i in range(bits.size):
        key = np.int64(_key(bits[i], largest, magnitude))
        tied = key == t and quota > 0
        out[i] = key > t or tied
        quota -= np.int64(tied)
    return quota


def select_overall(parts, count, infinity, magnitude, outs):
    """Keep the ``count`` largest of all ``parts`` (flat arrays of one type), found 16 bits after 16."""
    width = 8 * parts[0].dtype.itemsize
    base = -(1 << (_DIGIT - 1))
    above = 0
    for shift in range(width - _DIGIT, -1, -_DIGIT):
        histogram = np.zeros(1 << _DIGIT, np.int64)
        for index, bits in enumerate(parts):
            if count_digits(bits, infinity, magnitude, base, shift, histogram):
                return index
        reaching = above + np.cumsum(histogram[::-1])
        place = int(
            np.searchsorted(reaching, count)
        )  # the first digit from above with which count is reached
        above = int(reaching[place - 1]) if place else above
        digit = base + histogram.size - 1 - place
        base = digit << _DIGIT
    quota = count - above
    for bits, out in zip(parts, outs, strict=True):
        quota = keep_above(bits, magnitude, digit, quota, out)
    return -1

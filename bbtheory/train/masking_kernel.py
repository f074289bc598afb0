"""What a mask of bytes does to a weight, as compiled loops over a tensor's own memory; loaded where they pay.

They do what the tensor operations of masking.py do, in a fraction of the passes over memory.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_WORD = 8  # bytes of a mask that are compared at once


@njit(cache=True, error_model="numpy")
def clear(values, kept):
    """Multiply in place, v_i <- v_i m_i; torch makes an array of floats of the bytes first."""
    for i in range(values.size):
        values[i] *= kept[i]


@njit(cache=True, error_model="numpy")
def settle(values, kept):
    """`clear`, and return whether all that is left is finite."""
    finite = True
    for i in range(values.size):
        v = values[i] * kept[i]
        values[i] = v
        finite &= v - v == 0
    return finite


@njit(cache=True, error_model="numpy")
def exchange(old, new, weight, dormant):
    """Let weight and dormant value change places where two masks differ; one of them is zero there."""
    whole = old.size // _WORD * _WORD
    before, after = old[:whole].view(np.uint64), new[:whole].view(np.uint64)
    for word in range(before.size):
        if before[word] != after[word]:
            for i in range(_WORD * word, _WORD * (word + 1)):
                if old[i] != new[i]:
                    weight[i], dormant[i] = dormant[i], weight[i]
    for i in range(whole, old.size):
        if old[i] != new[i]:
            weight[i], dormant[i] = dormant[i], weight[i]

"""Compiled choice of links: the strongest of each row, and the local rule that cuts the weakest.

A row is a unit, its columns the links it may keep; equal scores are ranked by index, the lower one stronger.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def keep_strongest(score, candidate, degree):
    """Return the mask that keeps the degree[i] highest-scoring candidates of each row i, or all there are."""
    n, width = score.shape
    kept = np.zeros((n, width), np.bool_)
    for i in range(n):
        order = np.argsort(-score[i], kind="mergesort")  # stable: ties stay in order
        left = degree[i]
        for at in range(width):
            if left <= 0:
                break
            j = order[at]
            if candidate[i, j]:
                kept[i, j] = True
                left -= 1
    return kept


@njit(cache=True, error_model="numpy")
def cut_weakest(score, kept, on_rate, tau, floor, cap, cuts, regrow):
    """Apply the local rule to each row of the mask ``kept``, in place.

    While a k > tau and k > floor the weakest kept link goes; with ``regrow``, while a (k+1) <= tau and
    k < cap, the strongest dormant one returns; at most ``cuts`` changes a row (0: no limit).
    """
    n, width = score.shape
    for i in range(n):
        degree = 0
        for j in range(width):
            degree += kept[i, j]
        changed = 0
        while (cuts == 0 or changed < cuts) and degree > floor and on_rate[i] * degree > tau:
            worst = -1
            for j in range(width):
                if kept[i, j] and (worst < 0 or score[i, j] <= score[i, worst]):
                    worst = j
            kept[i, worst] = False
            degree -= 1
            changed += 1
        if not regrow or changed > 0:
            continue
        while (cuts == 0 or changed < cuts) and degree < cap and on_rate[i] * (degree + 1) <= tau:
            best = -1
            for j in range(width):
                if not kept[i, j] and (best < 0 or score[i, j] > score[i, best]):
                    best = j
            kept[i, best] = True
            degree += 1
            changed += 1

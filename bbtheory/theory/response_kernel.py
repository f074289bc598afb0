"""One pass over the links of a layer for the linear response; loaded only where there are links enough.

``W m`` and ``(W o W) v`` read the same weights, and the links of a sparse matrix are counted on the way: one
compiled loop then costs little more than one product. A table (n_in, 4) keeps what belongs to one source in
one cache line: its mean, its variance and the count, the fourth column is unused.
"""

from __future__ import annotations

from numba import njit
from numpy import empty, zeros

# sums may be reordered into vector lanes, products fused; NaN and infinities keep their meaning
_FAST = {"reassoc", "contract", "nsz"}


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def push_dense(weight, mean, spread):
    """Return W m and (W o W) v; two rows at once, so that the vectors are read half as often."""
    n_out, n_in = weight.shape
    mu, variance = empty(n_out), empty(n_out)
    for i in range(0, n_out - 1, 2):
        first, second, third, fourth = 0.0, 0.0, 0.0, 0.0
        for j in range(n_in):
            a, b = weight[i, j], weight[i + 1, j]
            first += a * mean[j]
            second += a * a * spread[j]
            third += b * mean[j]
            fourth += b * b * spread[j]
        mu[i], variance[i], mu[i + 1], variance[i + 1] = first, second, third, fourth
    if n_out % 2:
        first, second = 0.0, 0.0
        for j in range(n_in):
            a = weight[n_out - 1, j]
            first += a * mean[j]
            second += a * a * spread[j]
        mu[n_out - 1], variance[n_out - 1] = first, second
    return mu, variance


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def pull_dense(weight, mu, variance):
    """Return W^T p and (W o W)^T q; four rows at once, so that the sums are written a quarter as often."""
    n_out, n_in = weight.shape
    mean, spread = zeros(n_in), zeros(n_in)
    whole = n_out - n_out % 4
    for i in range(0, whole, 4):
        p0, p1, p2, p3 = mu[i], mu[i + 1], mu[i + 2], mu[i + 3]
        q0, q1, q2, q3 = variance[i], variance[i + 1], variance[i + 2], variance[i + 3]
        for j in range(n_in):
            a, b, c, d = weight[i, j], weight[i + 1, j], weight[i + 2, j], weight[i + 3, j]
            mean[j] += a * p0 + b * p1 + c * p2 + d * p3
            spread[j] += a * a * q0 + b * b * q1 + c * c * q2 + d * d * q3
    for i in range(whole, n_out):
        for j in range(n_in):
            a = weight[i, j]
            mean[j] += a * mu[i]
            spread[j] += a * a * variance[i]
    return mean, spread


# rows of a sparse matrix are short: reordering their sums made this loop slower (measured)
@njit(cache=True, error_model="numpy", fastmath={"contract"})
def push_sparse(starts, indices, data, table, cut):
    """Return W m and (W o W) v of a CSR matrix; adds to the table, for each source, what its targets cut."""
    n_out = len(starts) - 1
    mu, variance = empty(n_out), empty(n_out)
    for i in range(n_out):
        first, second = 0.0, 0.0
        for e in range(starts[i], starts[i + 1]):
            w, j = data[e], indices[e]
            first += w * table[j, 0]
            second += w * w * table[j, 1]
            table[j, 2] += cut[i]
        mu[i], variance[i] = first, second
    return mu, variance


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def pull_sparse(starts, indices, data, table, mu, variance):
    """Add W^T p and (W o W)^T q to the table; return, for each target, the sum of its third column."""
    count = empty(len(starts) - 1)
    for i in range(len(starts) - 1):
        total = 0.0
        for e in range(starts[i], starts[i + 1]):
            w, j = data[e], indices[e]
            table[j, 0] += w * mu[i]
            table[j, 1] += w * w * variance[i]
            total += table[j, 2]
        count[i] = total
    return count

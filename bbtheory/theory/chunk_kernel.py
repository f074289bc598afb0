"""The passes over one chunk of a large population, compiled: counts, exact moments, and the certificate.

Chunks are float64 costs c, bounds are numbers; as in dual.py, y = c scale and beta is the multiplier of y.
"""

from __future__ import annotations

from numba import njit

from bbtheory.theory.dual_kernel import (
    FAST,
    LN2_HIGH,
    LN2_LOW,
    ROUND,
    add,
    as_bits,
    as_float,
    exp_minus,
)
from bbtheory.theory.population import BLOCK

_ROOT_HALF_BITS = 0x3FE6A09E667F3BCD  # of sqrt(1/2): mantissas are taken from [sqrt(1/2), sqrt(2))
_TINY = 2.2250738585072014e-308  # the smallest normal float64


@njit(forceinline=True, error_model="numpy", fastmath={"contract"})
def log_of(x):
    """Natural logarithm of a normal number to 2 ulp, in arithmetic that vectorises; finite whatever x is."""
    exponent = (as_bits(x) - _ROOT_HALF_BITS) >> 52
    f = as_float(as_bits(x) - (exponent << 52)) - 1.0
    k = as_float(as_bits(ROUND) + exponent) - ROUND
    s = f / (2.0 + f)
    z = s * s
    # (atanh(s)/s - 1)/z interpolated at seven Chebyshev nodes: times z to 5e-18
    p = 0.07308224842521703
    p = p * z + 0.07665860800278021
    p = p * z + 0.09091444562630861
    p = p * z + 0.1111110556739754
    p = p * z + 0.14285714312987743
    p = p * z + 0.19999999999949752
    p = p * z + 0.3333333333333335
    return k * LN2_HIGH + (2.0 * s + (2.0 * s * (z * p) + k * LN2_LOW))


@njit(forceinline=True, error_model="numpy", fastmath={"contract"})
def minus_log_of_silence(a):
    """-ln(1 - a) for a in [0, 1), exact also where 1 - a rounds."""
    u = 1.0 - a  # exact from a = 1/2 on; below, what it lost needs no division by u
    return (a + (u - 1.0)) - log_of(u)


@njit(cache=True, error_model="numpy")
def count(c, counts):
    """Add to counts[v] how often each v occurs."""
    for j in range(c.size):
        counts[c[j]] += 1


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _moments_of_block(c, scale, beta, lower, upper):
    s = s1 = s2 = s3 = 0.0
    for j in range(c.size):
        y = c[j] * scale
        e = exp_minus(beta * y)
        a = e / (1.0 + e)
        bounded = min(max(a, lower), upper)
        chi = a * (1.0 - a) if bounded == a else 0.0
        s += y * bounded
        d = y * y * chi
        s1 += d
        d *= y
        s2 += d * (1.0 - 2.0 * a)
        s3 += d * y * (1.0 - 6.0 * chi)
    return s, s1, s2, s3


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _certify_block(c, scale, beta, lower, upper, on_rate):
    s = s1 = s2 = s3 = entropy = 0.0
    n_underflow = 0
    worst = as_bits(0.0)  # numbers >= 0 are ordered as their bits are, and the largest integer vectorises
    for j in range(c.size):
        y = c[j] * scale
        x = beta * y
        e = exp_minus(x)
        free = e / (1.0 + e)
        a = min(max(free, lower), upper)
        on_rate[j] = a
        chi = a * (1.0 - a) if a == free else 0.0
        s += y * a
        d = y * y * chi
        s1 += d
        d *= y
        s2 += d * (1.0 - 2.0 * a)
        s3 += d * y * (1.0 - 6.0 * chi)
        log_odds = log_of((1.0 - a) / a)
        entropy += a * log_odds + minus_log_of_silence(a) if a < 1.0 else 0.0
        n_underflow += a == 0.0
        gap = log_odds - x
        # on the lower bound the price may exceed the log-odds, on the upper bound it may fall short of them
        gap = abs(gap) if a == free else max(gap if a > free else -gap, 0.0)
        gap = gap / max(1.0, x) if (a >= _TINY) & (lower < upper) else 0.0
        worst = max(worst, as_bits(gap))
    return s, s1, s2, s3, entropy, n_underflow, as_float(worst)


@njit(cache=True, error_model="numpy")
def measure_chunk(c, scale, beta, lower, upper):
    """Traffic and the sizes of its first three derivatives in beta as in `dual.moments`, exact."""
    s = lost = s1 = s2 = s3 = 0.0
    for start in range(0, c.size, BLOCK):
        part = _moments_of_block(c[start : start + BLOCK], scale, beta, lower, upper)
        s, lost = add(s, lost, part[0])
        s1, s2, s3 = s1 + part[1], s2 + part[2], s3 + part[3]
    return s + lost, s1, s2, s3


@njit(cache=True, error_model="numpy")
def certify_chunk(c, scale, beta, lower, upper, on_rate):
    """Write the on-rates at beta; return what proves them.

    Returns
    -------
    s, s1, s2, s3 : float
        As `measure_chunk`, of these on-rates.
    entropy : float, nats
    n_underflow : int
        On-rates that are 0.
    stationarity : float
        As in `Residuals`.
    """
    s = lost = entropy = lost_entropy = s1 = s2 = s3 = worst = 0.0
    n_underflow = 0
    for start in range(0, c.size, BLOCK):
        out = on_rate[start : start + BLOCK]
        part = _certify_block(c[start : start + BLOCK], scale, beta, lower, upper, out)
        s, lost = add(s, lost, part[0])
        s1, s2, s3 = s1 + part[1], s2 + part[2], s3 + part[3]
        entropy, lost_entropy = add(entropy, lost_entropy, part[4])
        n_underflow += part[5]
        worst = max(worst, part[6])
    return s + lost, s1, s2, s3, entropy + lost_entropy, n_underflow, worst

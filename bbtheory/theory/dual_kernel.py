"""The search of dual.py as one compiled loop over a population; loaded only where n is large enough to pay.

What the speed rests on: ``error_model="numpy"`` (the default division check stops vectorisation), and an
exponential written out as a polynomial (numba's own is a scalar library call). One pass over the array costs
about as much as one np.exp of it.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from bbtheory.theory import dual
from bbtheory.theory.dual import BETA_TOLERANCE, MAX_ITERATIONS, PATIENCE, SUM_TOLERANCE
from bbtheory.theory.population import BLOCK

# sums may be reordered into vector lanes, products fused; NaN and infinities keep their meaning
FAST = {"reassoc", "contract", "nsz"}

_LOG2_E = 1.4426950408889634
LN2_HIGH = 0.693147180369123816490  # the upper bits of ln 2: times any exponent exact
LN2_LOW = 1.90821492927058770002e-10
ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, which the low bits then hold
_UNDERFLOW = 750.0  # e^-750 is below the smallest subnormal float64

# Sums run in blocks, the blocks' sums compensated: one long sum of a million equal terms is off by 1e-13.
# Block loops are functions of their own because only there may sums be reordered.
_BLOCK = BLOCK

# in a population of at least twice this many units, this many of them give the first beta to a few %
_SAMPLE = 1024
# a relative step d leaves about 0.01 d^4 (measured, lognormal costs): below this, little enough to correct
_NEAR = 5e-2
# moments in the search are this close, relative
_ROUGH = 1e-7
# on-rates are moved by the Taylor series of their sigmoid to second order, in place of a new exponential,
# while max |y dbeta| is below this: what is neglected is its cube, under 1e-16
_CORRECTABLE = 4e-6


@intrinsic
def as_float(typing_context, bits=None):
    """Return the float64 of 64 bits."""

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic
def as_bits(typing_context, number=None):
    """Return the bits of a float64."""

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


# fastmath is said, not left out: unsaid it is inherited from the first caller, and reordering would undo the
# rounding trick; fusing products is safe
@njit(forceinline=True, error_model="numpy", fastmath={"contract"})
def exp_minus(x):
    """e^-x for x >= 0 to 1 ulp, subnormals included, in arithmetic that vectorises."""
    x = min(x, _UNDERFLOW)
    shifted = ROUND - x * _LOG2_E
    n = shifted - ROUND
    r = (-x - n * LN2_HIGH) - n * LN2_LOW  # |r| <= ln(2)/2
    # (e^r - 1 - r)/r^2 interpolated at ten Chebyshev nodes: e^r to 1.3e-17
    p = 2.51003758422237e-08
    p = p * r + 2.7620075892548164e-07
    p = p * r + 2.7557268480289716e-06
    p = p * r + 2.480152132234228e-05
    p = p * r + 0.00019841269863040559
    p = p * r + 0.0013888888917196736
    p = p * r + 0.008333333333330065
    p = p * r + 0.041666666666624164
    p = p * r + 0.16666666666666669
    p = p * r + 0.5
    p = p * (r * r) + r + 1.0
    exponent = as_bits(shifted) - as_bits(ROUND)
    half = exponent >> 1  # 2^n in two factors reaches the subnormals
    return p * as_float((half + 1023) << 52) * as_float((exponent - half + 1023) << 52)


@njit(forceinline=True, error_model="numpy", fastmath={"contract"})
def exp_minus_roughly(x):
    """e^-x for x >= 0 to 8e-9, flat beyond x = 708: what a search needs, in fewer operations."""
    x = min(x, 708.0)
    shifted = ROUND - x * _LOG2_E
    n = shifted - ROUND
    r = (-x - n * LN2_HIGH) - n * LN2_LOW
    p = 0.0013926176127402982  # as above, at five nodes
    p = p * r + 0.008363173080491618
    p = p * r + 0.041666554662005695
    p = p * r + 0.16666577025562093
    p = p * r + 0.5
    p = p * (r * r) + r + 1.0
    return p * as_float((as_bits(shifted) - as_bits(ROUND) + 1023) << 52)


_step = njit(inline="always", error_model="numpy")(dual.step)
_bracket = njit(inline="always", error_model="numpy")(dual.bracket)
_first_guess = njit(inline="always", error_model="numpy")(dual.first_guess)


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _totals(c, scale, count, lower, upper):
    """Number of units, sum of y, traffic at beta = 0 and at the lower bounds; roughly, for a first guess."""
    n = total = free = floor = 0.0
    for j in range(c.size):
        weight = 1.0 if count is None else float(count[j])
        y = weight * (c[j] * scale)
        n += weight
        total += y
        if lower is not None:
            floor += y * lower[j]
            free += y * min(max(0.5, lower[j]), upper[j])
    if lower is None:
        free = 0.5 * total
    return n, total, free, floor


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _moments_of_block(c, scale, beta, count, lower, upper):
    s = s1 = s2 = s3 = 0.0
    for j in range(c.size):
        y = c[j] * scale
        e = exp_minus_roughly(beta * y)
        a = e / (1.0 + e)
        chi = a * (1.0 - a)
        weight = y if count is None else y * count[j]
        if lower is None:
            s += weight * a
        else:
            bounded = min(max(a, lower[j]), upper[j])
            s += weight * bounded
            chi = chi if bounded == a else 0.0
        d = weight * y * chi
        s1 += d
        d *= y
        s2 += d * (1.0 - 2.0 * a)
        s3 += d * y * (1.0 - 6.0 * chi)
    return s, s1, s2, s3


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _fill_of_block(c, scale, beta, count, lower, upper, on_rate):
    s = s1 = s2 = 0.0
    for j in range(c.size):
        y = c[j] * scale
        e = exp_minus(beta * y)
        a = e / (1.0 + e)
        chi = a * (1.0 - a)
        weight = y if count is None else y * count[j]
        if lower is not None:
            bounded = min(max(a, lower[j]), upper[j])
            chi = chi if bounded == a else 0.0
            a = bounded
        on_rate[j] = a
        s += weight * a
        d = weight * y * chi
        s1 += d
        s2 += d * y * (1.0 - 2.0 * a)
    return s, s1, s2


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _correct_of_block(c, scale, change, count, lower, upper, on_rate):
    s = 0.0
    for j in range(c.size):
        y = c[j] * scale
        a = on_rate[j]
        v = y * change
        moved = a - a * (1.0 - a) * (v - 0.5 * (1.0 - 2.0 * a) * v * v)
        weight = y if count is None else y * count[j]
        if lower is not None:
            on_bound = (a <= lower[j]) | (a >= upper[j])
            moved = a if on_bound else min(max(moved, lower[j]), upper[j])
        on_rate[j] = moved
        s += weight * moved
    return s


@njit(cache=True, error_model="numpy")
def _part(values, start):
    """One block of an optional array."""
    return None if values is None else values[start : start + _BLOCK]


@njit(cache=True, error_model="numpy")
def add(total, lost, term):
    """Compensated addition: return the rounded sum and what rounding has lost so far (Neumaier)."""
    new = total + term
    small, large = (term, total) if abs(total) >= abs(term) else (total, term)
    return new, lost + ((large - new) + small)


@njit(cache=True, error_model="numpy")
def _moments(c, scale, beta, count, lower, upper):
    """Traffic and the sizes of its first three derivatives as in `dual.moments`, to the 1e-8 a step needs."""
    s = lost = s1 = s2 = s3 = 0.0
    for start in range(0, c.size, _BLOCK):
        w, lo, hi = _part(count, start), _part(lower, start), _part(upper, start)
        parts = _moments_of_block(c[start : start + _BLOCK], scale, beta, w, lo, hi)
        s, lost = add(s, lost, parts[0])
        s1, s2, s3 = s1 + parts[1], s2 + parts[2], s3 + parts[3]
    return s + lost, s1, s2, s3


@njit(cache=True, error_model="numpy")
def _fill(c, scale, beta, count, lower, upper, on_rate):
    """Write the on-rates at beta; return their traffic and its first two derivatives, S' = -s1, S'' = s2."""
    s = lost = s1 = s2 = 0.0
    for start in range(0, c.size, _BLOCK):
        w, lo, hi = _part(count, start), _part(lower, start), _part(upper, start)
        out = on_rate[start : start + _BLOCK]
        parts = _fill_of_block(c[start : start + _BLOCK], scale, beta, w, lo, hi, out)
        s, lost = add(s, lost, parts[0])
        s1, s2 = s1 + parts[1], s2 + parts[2]
    return s + lost, s1, s2


@njit(cache=True, error_model="numpy")
def _correct(c, scale, change, count, lower, upper, on_rate):
    """Move the on-rates by the effect of a tiny change of beta; return their traffic."""
    s = lost = 0.0
    for start in range(0, c.size, _BLOCK):
        w, lo, hi = _part(count, start), _part(lower, start), _part(upper, start)
        out = on_rate[start : start + _BLOCK]
        s, lost = add(s, lost, _correct_of_block(c[start : start + _BLOCK], scale, change, w, lo, hi, out))
    return s + lost


@njit(cache=True, error_model="numpy")
def _search(c, scale, target, beta, high, count, lower, upper):
    """Step towards the root from rough moments until a relative step is below _NEAR; return (beta, steps)."""
    low = 0.0
    for iteration in range(MAX_ITERATIONS):
        s, s1, s2, s3 = _moments(c, scale, beta, count, lower, upper)
        excess = s - target
        if abs(excess) <= _ROUGH * target:
            return beta, iteration + 1
        if excess > 0:
            low = beta
        else:
            high = beta
        new = beta + _step(s, s1, s2, s3, target)
        inside = (new > low) & (new < high) & ((iteration < PATIENCE) | (iteration % 2 == 0))
        if not inside:
            new = _between(low, high)
        change = abs(new - beta)
        beta = new
        if inside and change <= _NEAR * beta:
            return beta, iteration + 1
    return beta, MAX_ITERATIONS


@njit(cache=True, error_model="numpy")
def _between(low, high):
    """A point inside a bracket, halfway in the logarithm."""
    return np.sqrt(low) * np.sqrt(high) if low > 0 else 1e-3 * high


@njit(cache=True, error_model="numpy")
def solve_population(c, scale, budget, n, total, floor, count, lower, upper, ratio, on_rate):
    """Solve one binding budget and write the on-rates.

    Parameters
    ----------
    c : (n,) costs; scale : 1/max c; budget : T, in units of c
    n, total, floor : number of units, sum of c, traffic of the lower bounds, multiplicities counted
    ratio : what the first guess of beta is multiplied by
    count, lower, upper : (n,) arrays or None
    on_rate : (n,) output

    Returns
    -------
    beta : float
        Multiplier of c.
    converged : bool
    n_iterations : int
        Passes over the population that search or verify.
    ratio : float
        beta over the first guess.
    """
    target = budget * scale
    top = _bracket(n, target, floor * scale)
    first = _first_guess(n, total * scale, min(target, 0.499 * total * scale))
    beta = min(ratio * first, top)
    if c.size >= 2 * _SAMPLE:
        stride = c.size // _SAMPLE
        sample = c[::stride].copy()  # contiguous: strided passes would each wait for memory again
        w = None if count is None else count[::stride].copy()
        lo = None if lower is None else lower[::stride].copy()
        hi = None if upper is None else upper[::stride].copy()
        part, _, part_free, part_floor = _totals(sample, scale, w, lo, hi)
        part_target = target * part / n
        if part_floor < part_target < part_free:
            part_top = _bracket(part, part_target, part_floor)
            beta = min(_search(sample, scale, part_target, beta, part_top, w, lo, hi)[0], top)
    beta, n_iterations = _search(c, scale, target, beta, top, count, lower, upper)
    low, high = 0.0, top
    while n_iterations < MAX_ITERATIONS:
        s, s1, s2 = _fill(c, scale, beta, count, lower, upper, on_rate)
        n_iterations += 1
        excess = s - target
        newton = excess / s1 if s1 > 0 else np.inf
        if abs(newton) <= _CORRECTABLE:  # y <= 1
            change = newton * (1.0 + 0.5 * newton * s2 / s1)
            beta += change
            s = _correct(c, scale, change, count, lower, upper, on_rate)
            excess = s - target
        if abs(excess) <= target * SUM_TOLERANCE + beta * s1 * BETA_TOLERANCE:
            return beta * scale, True, n_iterations, beta / first
        # rare: a unit changed its bound, or the step was not as small as the search took it for
        if excess > 0:
            low = max(low, beta)
        else:
            high = min(high, beta)
        beta = beta + excess / s1 if s1 > 0 else np.inf
        if not low < beta < high or (n_iterations > PATIENCE and n_iterations % 2 == 1):
            beta = _between(low, high)
    return beta * scale, False, n_iterations, 1.0


@njit(cache=True, error_model="numpy")
def solve_populations(c, scale, budget, total, floor, binding, lower, upper, on_rate, beta, converged):
    """Solve each row of costs whose budget binds; the others are left as they are."""
    n_iterations = 0
    ratio = 1.0  # populations beside each other are often alike: start where the last one's guess was off to
    for p in range(c.shape[0]):
        if binding[p]:
            lo = None if lower is None else lower[p]
            hi = None if upper is None else upper[p]
            beta[p], converged[p], used, ratio = solve_population(
                c[p], scale[p], budget[p], c.shape[1], total[p], floor[p], None, lo, hi, ratio, on_rate[p]
            )
            n_iterations = max(n_iterations, used)
    return n_iterations


@njit(cache=True, error_model="numpy")
def fill_on_rate(c, beta, lower, upper, on_rate):
    """Write the on-rates that a given beta implies."""
    _fill(c, 1.0, beta, None, lower, upper, on_rate)

"""Compiled loops of the three-segment fit; loaded at the first fit, because numba takes a third of a second.

Points come sorted by distinct abscissae u with weights w. A knot pair (t1, t2) lies in a cell: t1 between the
neighbours u[i-1], u[i] and t2 between u[j-1], u[j], with at least three points on every line. Inside a cell
the sum of squares has no local optimum but that of three free lines (the map from lines to knots is smooth
while slopes change), so the best knots are either where three free lines meet, if they meet inside the cell,
or one or both of them sit on a data point, where what is left is a smaller problem of the same kind. All
cells and all data points are tried: O(n^2) cases, each solved in closed form from running sums.

All of it is one file, because numba's cache does not notice a change in another file that a kernel calls.
"""

from __future__ import annotations

import numpy as np
from numba import njit

MIN_POINTS = 3  # distinct abscissae on each line
# A gap below this share of the range counts as a tie: the slope across it would be rounding error.
_TIE = 1e-12


@njit(cache=True, error_model="numpy")
def merge_ties(x, y):
    """Return (u, v, w, spread): distinct abscissae of sorted x, mean of y at each, its count, and the sum of
    squares within ties, which no function of x can explain.
    """
    n = x.size
    u, v, w = np.empty(n), np.empty(n), np.empty(n)
    tie = _TIE * (x[n - 1] - x[0])
    spread = 0.0
    m = -1
    for k in range(n):
        if m >= 0 and x[k] - u[m] <= tie:
            w[m] += 1.0
            step = y[k] - v[m]
            v[m] += step / w[m]
            spread += step * (y[k] - v[m])
        else:
            m += 1
            u[m], v[m], w[m] = x[k], y[k], 1.0
    return u[: m + 1], v[: m + 1], w[: m + 1], spread


@njit(cache=True, error_model="numpy")
def standardise(u, v, w):
    """Map u to [-1, 1] and replace v by its residuals from one straight line, in place of their own size.

    Returns (mid, half, level, slope, size) that undo it: v = level + slope s + size v', s = (u - mid)/half.
    """
    n = u.size
    mid, half = 0.5 * (u[0] + u[n - 1]), 0.5 * (u[n - 1] - u[0])
    total = mean_u = mean_v = suu = suv = 0.0
    for k in range(n):
        u[k] = (u[k] - mid) / half
        total += w[k]
        du, dv = u[k] - mean_u, v[k] - mean_v
        mean_u += w[k] * du / total
        mean_v += w[k] * dv / total
        suu += w[k] * du * (u[k] - mean_u)
        suv += w[k] * du * (v[k] - mean_v)
    slope = suv / suu
    size = 0.0
    for k in range(n):
        v[k] -= mean_v + slope * (u[k] - mean_u)
        size = max(size, abs(v[k]))
    if size == 0.0:
        size = 1.0
    for k in range(n):
        v[k] /= size
    return mid, half, mean_v - slope * mean_u, slope, size


@njit(cache=True, error_model="numpy")
def _line_table(u, v, w):
    """Return rows (sum of squares, mean u, mean v, slope) of the line through the first j points."""
    n = u.size
    table = np.empty((n + 1, 4))
    total = mean_u = mean_v = suu = suv = svv = 0.0
    for k in range(n):
        total += w[k]
        du, dv = u[k] - mean_u, v[k] - mean_v
        mean_u += w[k] * du / total
        mean_v += w[k] * dv / total
        suu += w[k] * du * (u[k] - mean_u)
        suv += w[k] * du * (v[k] - mean_v)
        svv += w[k] * dv * (v[k] - mean_v)
        table[k + 1, 0] = max(svv - suv * suv / suu, 0.0) if k > 0 else 0.0
        table[k + 1, 1], table[k + 1, 2] = mean_u, mean_v
        table[k + 1, 3] = suv / suu if k > 0 else 0.0
    return table


@njit(cache=True, error_model="numpy")
def _arm(u, v, w, count, knot):
    """Return the first ``count`` points' share of the normal equations of a line that starts at ``knot``.

    With its slope eliminated: (weight of the knot's value, right-hand side, squares explained by the slope).
    """
    s0 = s1 = s2 = r0 = r1 = 0.0
    for k in range(count):
        d = u[k] - knot
        s0 += w[k]
        s1 += w[k] * d
        s2 += w[k] * d * d
        r0 += w[k] * v[k]
        r1 += w[k] * d * v[k]
    return s0 - s1 * s1 / s2, r0 - s1 * r1 / s2, r1 * r1 / s2


@njit(cache=True, error_model="numpy")
def _arm_table(u, v, w):
    """Return `_arm` at every data point from the third on (the points up to it, it included)."""
    table = np.zeros((u.size, 3))
    for p in range(MIN_POINTS - 1, u.size):
        table[p, 0], table[p, 1], table[p, 2] = _arm(u, v, w, p + 1, u[p])
    return table


@njit(cache=True, error_model="numpy")
def _mirror(u, v, w):
    """Return the points turned around: a last line becomes a first one."""
    return -u[::-1].copy(), v[::-1].copy(), w[::-1].copy()


@njit(cache=True, error_model="numpy")
def _cumulative_squares(v, w):
    """Return the sum of squares of the first j values, j = 0..n."""
    total = np.zeros(v.size + 1)
    for k in range(v.size):
        total[k + 1] = total[k] + w[k] * v[k] * v[k]
    return total


@njit(cache=True, error_model="numpy")
def _free_knots(u, v, w, left, right, best):
    """Improve best = (squares, t1, t2) by three free lines that meet inside their cell."""
    n = u.size
    for i in range(MIN_POINTS, n - 2 * MIN_POINTS + 1):
        total = mean_u = mean_v = suu = suv = svv = 0.0
        for j in range(i + 1, n - MIN_POINTS + 1):
            k = j - 1
            total += w[k]
            du, dv = u[k] - mean_u, v[k] - mean_v
            share = w[k] / total
            mean_u += share * du
            mean_v += share * dv
            suu += w[k] * du * (u[k] - mean_u)
            suv += w[k] * du * (v[k] - mean_v)
            svv += w[k] * dv * (v[k] - mean_v)
            if j - i < MIN_POINTS:
                continue
            outer = left[i, 0] + right[n - j, 0]
            if outer >= best[0]:
                continue
            squares = outer + max(svv - suv * suv / suu, 0.0)
            if squares >= best[0]:
                continue
            slope = suv / suu
            level = mean_v - slope * mean_u
            t1 = (level - left[i, 2] + left[i, 3] * left[i, 1]) / (left[i, 3] - slope)
            # the right table is mirrored: its abscissa and slope change sign
            t2 = (level - right[n - j, 2] + right[n - j, 3] * right[n - j, 1]) / (-right[n - j, 3] - slope)
            if u[i - 1] <= t1 <= u[i] and u[j - 1] <= t2 <= u[j]:
                best = (squares, t1, t2)
    return best


@njit(cache=True, error_model="numpy")
def _first_knot_at(u, v, w, arms, right, squares_to, knot, first, low_j, both, best):
    """Improve best by a first knot at ``knot`` and a second one anywhere beyond.

    ``first`` is the first point beyond the knot, ``arms`` holds `_arm_table` of the mirrored points,
    ``squares_to[j]`` the sum of squares of the first j points, and j >= ``low_j`` counts the points on the
    first two lines. Second knots on a data point are tried only if ``both``.
    """
    n = u.size
    weight, side, explained = _arm(u, v, w, first, knot)
    s0 = s1 = s2 = r0 = r1 = 0.0
    for k in range(first, n - MIN_POINTS + 1):
        # the second knot on data point k; the points between the knots are already in the sums
        if both and k >= low_j - 1:
            h = 1.0 / (u[k] - knot)
            m22 = h * h * s2
            m12 = h * s1 - m22
            m11 = weight + s0 - 2.0 * h * s1 + m22
            g2 = h * r1
            g1 = side + r0 - g2
            mirrored = n - 1 - k
            m22 += arms[mirrored, 0]
            g2 += arms[mirrored, 1]
            det = m11 * m22 - m12 * m12
            fitted = (m22 * g1 * g1 - 2.0 * m12 * g1 * g2 + m11 * g2 * g2) / det
            squares = squares_to[n] - explained - arms[mirrored, 2] - fitted
            if squares < best[0]:
                best = (squares, knot, u[k])
        if k == n - MIN_POINTS:
            break
        d = u[k] - knot
        s0 += w[k]
        s1 += w[k] * d
        s2 += w[k] * d * d
        r0 += w[k] * v[k]
        r1 += w[k] * d * v[k]
        # the second knot free between data points j-1 and j
        j = k + 1
        if j >= low_j:
            outer = right[n - j, 0] + squares_to[j] - explained
            level = (side + r0 - s1 * r1 / s2) / (weight + s0 - s1 * s1 / s2)
            squares = outer - r1 * r1 / s2 - level * (side + r0 - s1 * r1 / s2)
            if squares < best[0]:
                slope = (r1 - level * s1) / s2
                far = right[n - j, 2] - right[n - j, 3] * right[n - j, 1]
                t2 = (level - slope * knot - far) / (-right[n - j, 3] - slope)
                if u[j - 1] <= t2 <= u[j]:
                    best = (squares, knot, t2)
    return best


@njit(cache=True, error_model="numpy")
def _knots_on_points(u, v, w, arms, right, both, best):
    """Improve best by every first knot on a data point."""
    n = u.size
    squares_to = _cumulative_squares(v, w)
    for p in range(MIN_POINTS - 1, n - 2 * MIN_POINTS + 1):
        low_j = max(MIN_POINTS, p) + MIN_POINTS
        best = _first_knot_at(u, v, w, arms, right, squares_to, u[p], p + 1, low_j, both, best)
    return best


@njit(cache=True, error_model="numpy")
def best_knots(u, v, w):
    """Return (sum of squares, t1, t2) of the best continuous three lines through standardised points."""
    mu, mv, mw = _mirror(u, v, w)
    left, right = _line_table(u, v, w), _line_table(mu, mv, mw)
    best = (np.inf, np.nan, np.nan)
    best = _free_knots(u, v, w, left, right, best)
    best = _knots_on_points(u, v, w, _arm_table(mu, mv, mw), right, True, best)
    # the mirror image turns a second knot on a data point into a first one; pairs on points were all tried
    best = (best[0], -best[2], -best[1])
    squares, t2, t1 = _knots_on_points(mu, mv, mw, _arm_table(u, v, w), left, False, best)
    return squares, -t1, -t2


@njit(cache=True, error_model="numpy")
def lines_at(u, v, w, t1, t2):
    """Return (sum of squares, value at t1, value at t2, first slope, last slope) of the best lines there."""
    n = u.size
    first = 0
    while first < n and u[first] <= t1:
        first += 1
    beyond = first
    while beyond < n and u[beyond] < t2:
        beyond += 1
    mu, mv, mw = _mirror(u, v, w)
    m11, g1, _ = _arm(u, v, w, first, t1)
    m22, g2, _ = _arm(mu, mv, mw, n - beyond, -t2)
    m12 = 0.0
    for k in range(first, beyond):
        share = (u[k] - t1) / (t2 - t1)
        m11 += w[k] * (1.0 - share) ** 2
        m12 += w[k] * (1.0 - share) * share
        m22 += w[k] * share**2
        g1 += w[k] * (1.0 - share) * v[k]
        g2 += w[k] * share * v[k]
    det = m11 * m22 - m12 * m12
    level1, level2 = (m22 * g1 - m12 * g2) / det, (m11 * g2 - m12 * g1) / det
    slope1 = slope3 = below1 = below3 = 0.0
    for k in range(first):
        slope1 += w[k] * (u[k] - t1) * (v[k] - level1)
        below1 += w[k] * (u[k] - t1) ** 2
    for k in range(beyond, n):
        slope3 += w[k] * (u[k] - t2) * (v[k] - level2)
        below3 += w[k] * (u[k] - t2) ** 2
    slope1, slope3 = slope1 / below1, slope3 / below3
    squares = 0.0
    for k in range(n):
        if k < first:
            fitted = level1 + slope1 * (u[k] - t1)
        elif k < beyond:
            fitted = level1 + (level2 - level1) * (u[k] - t1) / (t2 - t1)
        else:
            fitted = level2 + slope3 * (u[k] - t2)
        squares += w[k] * (v[k] - fitted) ** 2
    return squares, level1, level2, slope1, slope3


@njit(cache=True, error_model="numpy")
def fit(x, y):
    """Fit three continuous lines to points sorted by x.

    Returns (sum of squares, x and y of both knots, three slopes, distinct abscissae); NaN for fewer than
    nine distinct abscissae.
    """
    u, v, w, spread = merge_ties(x, y)
    if u.size < 3 * MIN_POINTS:
        return np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, float(u.size)
    mid, half, level, slope, size = standardise(u, v, w)
    _, t1, t2 = best_knots(u, v, w)
    squares, level1, level2, slope1, slope3 = lines_at(u, v, w, t1, t2)
    slope2 = (level2 - level1) / (t2 - t1)
    return (
        spread + squares * size * size,
        mid + half * t1,
        mid + half * t2,
        level + slope * t1 + size * level1,
        level + slope * t2 + size * level2,
        (slope + size * slope1) / half,
        (slope + size * slope2) / half,
        (slope + size * slope3) / half,
        float(u.size),
    )


@njit(cache=True, error_model="numpy")
def fit_many(x, y):
    """Return `fit` of every row of y (m, n), without the count: (m, 8)."""
    out = np.empty((y.shape[0], 8))
    for row in range(y.shape[0]):
        found = fit(x, y[row])
        for column in range(8):
            out[row, column] = found[column]
    return out


@njit(cache=True, error_model="numpy")
def _least_with_first_knot(u, v, w, arms, right, squares_to, t):
    """Return the profile: the least sum of squares whose first knot is at t."""
    first = 0
    while first < u.size and u[first] <= t:
        first += 1
    # a knot on a data point may count it to either side; the reach of the second knot takes the wider
    on_point = u[first - 1] == t
    low_j = max(MIN_POINTS, first - 1 if on_point else first) + MIN_POINTS
    none = (np.inf, np.nan, np.nan)
    return _first_knot_at(u, v, w, arms, right, squares_to, t, first, low_j, True, none)[0]


@njit(cache=True, error_model="numpy")
def _first_knot_interval(u, v, w, knot, limit):
    """Return the outermost positions of the first knot at which the profile is within ``limit``."""
    steps, halvings = 8, 40  # positions tried between neighbours; bisections of the gap that holds the end
    mu, mv, mw = _mirror(u, v, w)
    arms, right, squares_to = _arm_table(mu, mv, mw), _line_table(mu, mv, mw), _cumulative_squares(v, w)
    low_gap, high_gap = MIN_POINTS - 1, u.size - 2 * MIN_POINTS
    ends = (knot, knot)
    for side in range(2):
        inside, outside, found = knot, knot, False
        for step in range((high_gap - low_gap) * steps + 1):
            gap, part = low_gap + step // steps, step % steps
            if side == 1:
                gap, part = high_gap - step // steps, -part
            t = u[gap]
            if part > 0:
                t += part * (u[gap + 1] - u[gap]) / steps
            elif part < 0:
                t += part * (u[gap] - u[gap - 1]) / steps
            if (side == 0 and t >= knot) or (side == 1 and t <= knot):
                found = step > 0
                break
            if _least_with_first_knot(u, v, w, arms, right, squares_to, t) <= limit:
                inside, found = t, step > 0
                break
            outside = t
        if found:
            for _ in range(halvings):
                middle = 0.5 * (inside + outside)
                if _least_with_first_knot(u, v, w, arms, right, squares_to, middle) <= limit:
                    inside = middle
                else:
                    outside = middle
        ends = (inside, ends[1]) if side == 0 else (ends[0], inside)
    return ends


@njit(cache=True, error_model="numpy")
def profile_intervals(x, y, knots, limit):
    """Return the (2, 2) intervals of both knots within which the sum of squares can stay below ``limit``."""
    u, v, w, spread = merge_ties(x, y)
    mid, half, _, _, size = standardise(u, v, w)
    allowed = (limit - spread) / (size * size)
    mu, mv, mw = _mirror(u, v, w)
    first = _first_knot_interval(u, v, w, (knots[0] - mid) / half, allowed)
    second = _first_knot_interval(mu, mv, mw, -(knots[1] - mid) / half, allowed)
    out = np.empty((2, 2))
    out[0, 0], out[0, 1] = mid + half * first[0], mid + half * first[1]
    out[1, 0], out[1, 1] = mid - half * second[1], mid - half * second[0]
    return out

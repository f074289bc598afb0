"""How sure a fit is, by resampling: an autoregressive bootstrap, its intervals, a permutation test."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bbtheory.fit.uncertainty import RELATIVE_FLOOR, LeastSquares, student_quantile

# The correction for small-sample bias may pass 1; a stationary process needs less, and its variance inflation
# 1/(1 - rho^2) is then 10 at most.
_MOST_PERSISTENT = 0.95
_CHUNK = 2_000_000  # elements of the largest temporary array


def persistence(fit: LeastSquares) -> float:
    """Lag-1 autocorrelation of the errors, corrected for the residuals' small-sample bias, in [0, 0.95].

    Residuals of k fitted coefficients have E r_1 = rho - (k + (k+2) rho)/n + O(1/n^2); solved for rho. It is
    not let below 0: a fit only seems surer for negative values, which short series show by chance.

    References
    ----------
    Marriott & Pope, Biometrika 41 (1954) 390, for k = 1; this project's extension to k columns, whose
    coverage the tests measure.
    """
    k = fit.design.shape[1]
    total = float(fit.residuals @ fit.residuals)
    if fit.exact or fit.n <= k + 2 or total == 0.0:
        return 0.0
    r1 = float(fit.residuals[1:] @ fit.residuals[:-1]) / total
    return min(max((fit.n * r1 + k) / (fit.n - k - 2), 0.0), _MOST_PERSISTENT)


def autoregressive_errors(fit: LeastSquares, n_bootstrap: int, rng: np.random.Generator) -> np.ndarray:
    """Draw resampled error series e_t = rho e_(t-1) + u_t, u_t from the fit's own innovations.

    The innovations are scaled so that the residuals of such series have on average the squares of those at
    hand, which undoes the shrinking of residuals by the fit. With rho = 0 this is the residual bootstrap.

    Returns
    -------
    ndarray (n_bootstrap, n)

    References
    ----------
    Buehlmann, Bernoulli 3 (1997) 123 (the autoregressive sieve, here of order 1).
    """
    from scipy.signal import lfilter

    n, rho = fit.n, persistence(fit)
    innovations = fit.residuals[1:] - rho * fit.residuals[:-1] if rho > 0 else fit.residuals
    innovations = innovations - innovations.mean()
    size = math.sqrt(float(innovations @ innovations) / innovations.size)
    if fit.exact or size == 0.0:
        return np.zeros((n_bootstrap, n))
    correlation = rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n))) if rho > 0 else np.eye(n)
    hat = fit.design @ fit.inverse_gram @ fit.design.T
    variance = fit.sum_squares / (n - float(np.sum(hat * correlation)))
    innovations *= math.sqrt(variance * (1.0 - rho * rho)) / size
    drawn = innovations[rng.integers(0, innovations.size, (n_bootstrap, n))]
    if rho == 0:
        return drawn
    drawn[:, 0] /= math.sqrt(1.0 - rho * rho)  # starts in the stationary state
    return np.asarray(lfilter([1.0], [1.0, -rho], drawn, axis=1))


def percentile_interval(samples: np.ndarray, level: float, dof: int) -> np.ndarray:
    """Return the (low, high) percentiles of bootstrap ``samples`` (first axis), widened for few points.

    The tail probability alpha/2 is replaced by Phi(-t), t Student's quantile, so that a normal statistic gets
    the width of the t interval.

    References
    ----------
    Hesterberg, Am. Stat. 69 (2015) 371, section 4.3 (the expanded percentile interval).
    """
    from scipy.special import ndtr

    tail = float(ndtr(-student_quantile(level, dof)))
    return np.quantile(samples, [tail, 1.0 - tail], axis=0)


def permutation_p(
    statistic: Callable[[np.ndarray], np.ndarray],
    y: np.ndarray,
    n_permutations: int,
    rng: np.random.Generator,
) -> float:
    """P that a statistic is as large as observed when ``y`` is shuffled, (1 + hits)/(1 + n): one-sided.

    ``statistic`` maps rows of values (m, n) to (m,).
    """
    # ties with the observed value count as hits, so rounding must not split them
    observed = float(statistic(y[None, :])[0])
    observed -= RELATIVE_FLOOR * abs(observed)
    hits, left = 0, n_permutations
    while left > 0:
        rows = min(left, max(1, _CHUNK // y.size))
        shuffled = rng.permuted(np.broadcast_to(y, (rows, y.size)), axis=1)
        hits += int(np.count_nonzero(statistic(shuffled) >= observed))
        left -= rows
    return (1 + hits) / (1 + n_permutations)

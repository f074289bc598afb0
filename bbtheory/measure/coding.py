"""What a population encodes: entropy by unit and by pattern, correlation, effective rank, redundancy.

Every number comes with a standard error (delete-a-group jackknife over consecutive groups of samples, which
covers samples correlated in time, too) and with what shuffled samples, in which units are independent but
keep their on-rates, would show: finite samples make correlation and redundancy out of nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.measure.activity import binary_rows, probabilities
from bbtheory.records import Record
from bbtheory.theory.entropy import binary_entropy, coding_entropy

N_GROUPS = 20  # of samples left out in turn

# Good-Turing: the chance that the next pattern is a new one is the share of samples whose pattern was seen
# once. The corrected entropy of random codes is low by about as many nats as this share (0.006 at 0.5-1 %,
# 0.04 at 2-5 %, 0.9 at 30-100 %).
_MOST_NEW = 0.01

_PACKED = 62  # units whose pattern fits an integer
EXACT, SAMPLED, TOO_FEW = "exact", "sampled", "too_few_samples"


@dataclass(frozen=True, eq=False)
class Coding(Record):
    """The code of a population of binary units; entropies in nats.

    ``*_stderr`` is the jackknife's standard error of a number, ``*_null`` its mean over shuffled samples.

    Attributes
    ----------
    on_rate : ndarray (n_units,)
    unit_entropy : ndarray (n_units,)
        h(a_i) + 1/(2n) for units seen both on and off (Miller-Madow), at most ln 2; 0 for others.
    pattern_entropy : float
        Joint entropy of the patterns, plug-in + (n_patterns - 1)/(2n) (Miller-Madow). With too few samples it
        is a number between ln n and a little above, that says nothing: see ``pattern_status``.
    pattern_entropy_plugin : float
        Without the correction.
    pattern_status : str
        ``"exact"``; ``"sampled"``; or ``"too_few_samples"``: more than 1 % of the samples show a pattern seen
        only once, so that unseen patterns carry entropy no correction finds.
    n_patterns, n_singletons : int
        Patterns seen, and seen once.
    mean_abs_correlation : float
        Mean |rho_ij| over pairs of units that are neither dead nor saturated.
    rms_correlation : float
        Root mean square rho_ij less its noise, sqrt(max(0, mean rho_ij^2 - 1/(n-1))).
    effective_rank : float
        exp of the entropy of the shares of the eigenvalues of the covariance matrix.
    participation_ratio : float
        (sum of the eigenvalues)^2 / (sum of their squares): the number of directions that carry variance.
    n_samples : int
    n_constant : int
        Dead and saturated units: in entropies and patterns (with 0), not in correlations.
    seed, n_shuffles : int
        Of the shuffled samples.
    """

    KIND: ClassVar[str] = "coding"
    UNITS: ClassVar[dict[str, str]] = {"on_rate": "on_rate", "unit_entropy": "unit_entropy"}
    DERIVED: ClassVar[tuple[str, ...]] = ("n_units", "coding_entropy", "redundancy")

    on_rate: np.ndarray
    unit_entropy: np.ndarray
    coding_entropy_stderr: float
    pattern_entropy: float
    pattern_entropy_stderr: float
    pattern_entropy_plugin: float
    pattern_status: str
    n_patterns: int
    n_singletons: int
    redundancy_stderr: float
    redundancy_null: float
    mean_abs_correlation: float
    mean_abs_correlation_stderr: float
    mean_abs_correlation_null: float
    rms_correlation: float
    rms_correlation_stderr: float
    effective_rank: float
    effective_rank_stderr: float
    effective_rank_null: float
    participation_ratio: float
    participation_ratio_stderr: float
    participation_ratio_null: float
    n_samples: int
    n_constant: int
    seed: int
    n_shuffles: int

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self.on_rate.size

    @property
    def coding_entropy(self) -> float:
        """Sum of the units' entropies, sum_i h(a_i), nats."""
        return float(self.unit_entropy.sum())

    @property
    def redundancy(self) -> float:
        """sum_i h(a_i) - H: what correlation costs, nats; compare with ``redundancy_null``."""
        return self.coding_entropy - self.pattern_entropy


def measure_coding(
    samples: ArrayLike,
    *,
    threshold: float = 0.0,
    weights: ArrayLike | None = None,
    n_shuffles: int = 10,
    seed: int = 0,
) -> Coding:
    """Measure entropies, correlations and ranks of binary activity [activity > threshold].

    Parameters
    ----------
    samples : array_like (n_samples, n_units)
        Activities, bool or numbers, at least 2 samples; in order of time if they are correlated in time.
    threshold : float
        A unit is on where its activity is above it.
    weights : array_like (n_samples,), >= 0, optional
        The rows are all cases there are, these their relative probabilities: every number is then exact,
        without correction, with standard error 0, and the null is the independent code itself.
    n_shuffles : int, 1 to 1e6
        Shuffles (each unit's samples permuted on their own) that the nulls are means over.
    seed : int >= 0

    Returns
    -------
    Coding
        Correlations are NaN with fewer than two units that change, ranks with none.

    Raises
    ------
    ValueError
        If samples are not finite or fewer than two, or an argument is outside its domain.

    References
    ----------
    Miller (1955); Good (1953) for unseen patterns; Roy and Vetterli, EUSIPCO (2007) for the effective rank;
    Miller, Biometrika 61 (1974) 1 for the jackknife.

    Examples
    --------
    Two units that are always alike, each a fair coin:

    >>> from bbtheory.measure import measure_coding
    >>> found = measure_coding([[0, 0], [1, 1]], weights=[0.5, 0.5])
    >>> round(found.redundancy, 6), round(found.mean_abs_correlation, 6)
    (0.693147, 1.0)
    """
    threshold = validate.real("threshold", threshold, "(-inf, inf)")
    n_shuffles = validate.integer("n_shuffles", n_shuffles, "[1, 1e6]")
    seed = validate.integer("seed", seed, "[0, inf)")
    rows = binary_rows(samples, threshold)
    n, n_units = rows.shape
    validate.room("samples", f"{n_units} units", n_units**2)
    if weights is not None:
        p = probabilities(weights, n)
        return _exact(rows[p > 0], p[p > 0], n_shuffles, seed)
    if n < 2:
        raise ValueError(f"samples must be at least 2, got {n}")
    edges = np.linspace(0, n, min(N_GROUPS, n) + 1).astype(int)
    index, n_patterns = _pattern_index(rows)
    total, counts = _coactivations(rows), np.bincount(index)
    found = _statistics(total, counts, n)
    left_out = np.array(
        [
            _statistics(
                total - _coactivations(rows[low:high]),
                counts - np.bincount(index[low:high], minlength=n_patterns),
                int(n - high + low),
            )
            for low, high in pairwise(edges)
        ]
    )
    groups = len(left_out)
    stderr = np.sqrt((groups - 1) / groups * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    rng = np.random.default_rng(seed)
    shuffled = []
    for _ in range(n_shuffles):
        mixed = rng.permuted(rows, axis=0)
        shuffled.append(_statistics(_coactivations(mixed), np.bincount(_pattern_index(mixed)[0]), n))
    null = np.mean(shuffled, axis=0)
    a = np.diagonal(total) / n
    n_singletons = int(np.count_nonzero(counts == 1))
    return Coding(
        on_rate=a,
        unit_entropy=_unit_entropy(a, n),
        pattern_entropy_plugin=float(found[1] - (n_patterns - 1) / (2.0 * n)),
        pattern_status=SAMPLED if n_singletons <= _MOST_NEW * n else TOO_FEW,
        n_patterns=n_patterns,
        n_singletons=n_singletons,
        n_samples=n,
        n_constant=int(np.count_nonzero((a == 0) | (a == 1))),
        seed=seed,
        n_shuffles=n_shuffles,
        **_named(found, stderr, null),
    )


def _exact(rows: np.ndarray, p: np.ndarray, n_shuffles: int, seed: int) -> Coding:
    index, n_patterns = _pattern_index(rows)
    probability = np.bincount(index, weights=p, minlength=n_patterns)
    q = (rows * p[:, None]).T @ rows.astype(np.float64)
    # rounding may leave some 1e-16 above 1
    a = np.where(rows.all(axis=0), 1.0, np.minimum(np.diagonal(q), 1.0))
    np.fill_diagonal(q, a)
    entropy = float(-(probability @ np.log(probability)))
    found = np.array([coding_entropy(a), entropy, 0.0, *_second_order(q, np.inf)])
    found[2] = found[0] - found[1]
    alone = np.outer(a, a)
    np.fill_diagonal(alone, a)
    null = np.array([found[0], found[0], 0.0, *_second_order(alone, np.inf)])
    return Coding(
        on_rate=a,
        unit_entropy=binary_entropy(a),
        pattern_entropy_plugin=entropy,
        pattern_status=EXACT,
        n_patterns=n_patterns,
        n_singletons=0,
        n_samples=len(rows),
        n_constant=int(np.count_nonzero((a == 0) | (a == 1))),
        seed=seed,
        n_shuffles=n_shuffles,
        **_named(found, np.zeros_like(found), null),
    )


def _named(found: np.ndarray, stderr: np.ndarray, null: np.ndarray) -> dict[str, float]:
    """Spread the statistics, in the order of `_statistics`, over the fields of `Coding`."""
    names = (
        "coding_entropy",
        "pattern_entropy",
        "redundancy",
        "mean_abs_correlation",
        "rms_correlation",
        "effective_rank",
        "participation_ratio",
    )
    derived = ("coding_entropy", "redundancy")
    without_null = ("coding_entropy", "pattern_entropy", "rms_correlation")
    fields = {}
    for i, name in enumerate(names):
        if name not in derived:
            fields[name] = float(found[i])
        fields[f"{name}_stderr"] = float(stderr[i])
        if name not in without_null:
            fields[f"{name}_null"] = float(null[i])
    return fields


def _statistics(together: np.ndarray, counts: np.ndarray, n: int) -> np.ndarray:
    """Return every number of `Coding` that has a standard error, from counts over n samples."""
    q = together / n
    by_unit = float(_unit_entropy(np.diagonal(q), n).sum())
    seen = counts[counts > 0]
    by_pattern = np.log(n) - float(seen @ np.log(seen)) / n + (seen.size - 1) / (2.0 * n)
    return np.array([by_unit, by_pattern, by_unit - by_pattern, *_second_order(q, n)])


def _unit_entropy(a: np.ndarray, n: int) -> np.ndarray:
    changes = (a > 0) & (a < 1)
    return np.where(changes, np.minimum(binary_entropy(a) + 0.5 / n, np.log(2.0)), 0.0)


def _second_order(q: np.ndarray, n: float) -> tuple[float, float, float, float]:
    """Return mean |rho|, rms rho, effective rank and participation ratio from co-activations."""
    a = np.diagonal(q)
    changes = (a > 0) & (a < 1)
    a, q = a[changes], q[np.ix_(changes, changes)]
    if a.size == 0:
        return np.nan, np.nan, np.nan, np.nan
    covariance = q - np.outer(a, a)
    variance = np.diagonal(covariance)
    mean_abs = rms = np.nan
    if a.size > 1:
        scale = np.sqrt(variance)
        rho = (covariance / np.outer(scale, scale))[np.triu_indices(a.size, 1)]
        mean_abs = float(np.abs(rho).mean())
        rms = float(np.sqrt(max(0.0, float(np.mean(rho**2)) - 1.0 / (n - 1.0))))
    # rounding leaves some 1e-16 below 0
    share = np.maximum(np.linalg.eigvalsh(covariance), 0.0) / float(variance.sum())
    filled = share[share > 0]
    rank = float(np.exp(-(filled @ np.log(filled))))
    return mean_abs, rms, rank, 1.0 / float(share @ share)


def _coactivations(rows: np.ndarray) -> np.ndarray:
    """Return how often i and j are on together; a matrix product in float32 is exact below 2^24 samples."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), 65536):
        x = rows[start : start + 65536].astype(np.float32)
        total += x.T @ x
    return total


def _pattern_index(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the number of each row's pattern, counted from 0, and how many patterns there are."""
    n_units = rows.shape[1]
    if n_units <= _PACKED:
        keys = rows @ (1 << np.arange(n_units))
    else:
        packed = np.ascontiguousarray(np.packbits(rows, axis=1))
        keys = packed.view([("", np.void, packed.shape[1])]).ravel()
    patterns, index = np.unique(keys, return_inverse=True)
    return index.ravel(), patterns.size

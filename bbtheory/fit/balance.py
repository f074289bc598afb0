"""The selectivity-audience balance in measured units: is ln((1-a)/a) a line in fan-out, or a k constant?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.fit.hyperbola import Hyperbola, fit_hyperbola
from bbtheory.fit.resampling import permutation_p
from bbtheory.fit.uncertainty import (
    LeastSquares,
    aicc,
    floor_squares,
    gaussian_log_likelihood,
    hc3_covariance,
    least_squares,
    polynomial_design,
    student_quantile,
)
from bbtheory.records import Record
from bbtheory.theory.entropy import inactivity_log_odds

LINE, HYPERBOLA, CONSTANT = "line", "hyperbola", "constant"
_PARAMETERS = {LINE: 3, HYPERBOLA: 2, CONSTANT: 2}  # sigma included
MIN_UNITS = 5  # AICc of a line
MIN_NONE = 20  # units that can carry the verdict none
MIN_DELTA = 6.0  # of AICc between line and hyperbola
CLEAR_P, ABSENT_P = 0.01, 0.05


@dataclass(frozen=True, eq=False)
class BalanceScore(Record):
    """How well one law describes the log-odds of a group; smaller is better."""

    KIND: ClassVar[str] = "balance-score"

    model: str
    k: int
    aicc: float


@dataclass(frozen=True, eq=False)
class GroupFit(Record):
    """The line ln((1-a)/a) = intercept + slope * fan_out through one group of units; NaN if it has none."""

    KIND: ClassVar[str] = "balance-group"

    group: str
    slope: float  # beta, nats per link
    slope_stderr: float  # HC3: robust to unequal errors
    slope_interval: np.ndarray  # (2,), slope -+ Student t times HC3
    intercept: float  # -beta d0, nats
    intercept_interval: np.ndarray  # (2,), the same way
    r_squared: float
    tau: float  # of the hyperbola: traffic per unit, links per step
    tau_interval: np.ndarray  # (2,), from the curvature of the likelihood
    n_used: int
    n_dead: int  # on-rate 0: no log-odds
    n_saturated: int  # on-rate 1: no log-odds
    n_clipped: int  # fan-out on a clip: set by the clip, not by the on-rate
    n_silent: int  # used units of fan-out 0: in the line, not in the comparison (the hyperbola has none)
    permutation_p: float  # that shuffled units give as large a slope, one-sided
    comparison: tuple[BalanceScore, ...]
    verdict: str  # balanced, hyperbolic, none or undecided
    reason: str


@dataclass(frozen=True, eq=False)
class BalanceFit(Record):
    """Units judged against the selectivity-audience balance, group by group."""

    KIND: ClassVar[str] = "balance"
    HIDDEN: ClassVar[tuple[str, ...]] = ("on_rate", "fan_out", "group")

    groups: tuple[GroupFit, ...]
    degree_kind: str  # fan_out or fan_in
    min_degree: float | None
    max_degree: float | None
    level: float
    on_rate: np.ndarray  # (n,)
    fan_out: np.ndarray  # (n,), of the kind degree_kind
    group: np.ndarray  # (n,) text

    @property
    def used(self) -> np.ndarray:
        """Which units entered a fit, (n,) bool."""
        return _inside(self.on_rate) & ~_clipped(self.fan_out, self.min_degree, self.max_degree)


def fit_balance(
    on_rate: ArrayLike,
    fan_out: ArrayLike,
    *,
    group: ArrayLike | None = None,
    min_degree: float | None = None,
    max_degree: float | None = None,
    degree_kind: str = "fan_out",
    level: float = 0.95,
    n_permutations: int = 4999,
    seed: int = 0,
) -> BalanceFit:
    """Fit ln((1-a)/a) = beta (k - d0) + error to each group of units and judge it against a k = tau.

    Least squares with HC3 errors; a permutation test of the slope (one-sided: the balance predicts beta > 0);
    AICc of the line, the hyperbola and a constant as likelihoods of the same log-odds given the fan-outs, for
    the units that have links. The verdict is ``balanced`` or ``hyperbolic`` if p < 0.01 and that law leads
    the other by more than 6 in AICc, ``none`` if p >= 0.05 with at least 20 units, else ``undecided``.

    Parameters
    ----------
    on_rate : array_like (n,)
        a in [0, 1]; dead (0) and saturated (1) units have no log-odds and are counted apart.
    fan_out : array_like (n,)
        k >= 0, links.
    group : array_like (n,), optional
        Label of each unit, its layer for instance; one group if not given.
    min_degree, max_degree : float >= 0, optional
        Clips of the controller: units with fan_out <= min_degree or >= max_degree are counted in
        ``n_clipped`` and left out.
    degree_kind : {"fan_out", "fan_in"}
        What ``fan_out`` holds; only recorded.
    level : float in (0, 1)
        Of the intervals.
    n_permutations : int >= 99
    seed : int >= 0

    Returns
    -------
    BalanceFit
        Groups in order of appearance. A group with fewer than 5 usable units, or all of one fan-out, holds
        NaN, is undecided, and says why in ``reason``.

    Raises
    ------
    ValueError
        If an array is empty, not numeric, holds NaN, infinities or values outside its domain, lengths differ,
        or a setting is outside its domain.

    References
    ----------
    arXiv 2510.01263 (log((1-a)/a) = beta k; k = d0 + log-odds/beta); the hyperbola as the equilibrium of a
    bare threshold, and the verdict rule: this project's.
    """
    a = validate.array("on_rate", on_rate, "[0, 1]")
    k = validate.array("fan_out", fan_out, "[0, 1e15]", shape=a.shape)
    labels = np.full(a.size, "all") if group is None else np.asarray(group)
    if labels.shape != a.shape:
        raise ValueError(f"group must have shape {a.shape}, got {labels.shape}")
    labels = labels.astype(str)
    low = None if min_degree is None else validate.real("min_degree", min_degree, "[0, inf)")
    high = None if max_degree is None else validate.real("max_degree", max_degree, "[0, inf)")
    if low is not None and high is not None and not low < high:
        raise ValueError(f"max_degree must be above min_degree {low:g}, got {high:g}")
    validate.choice("degree_kind", degree_kind, ("fan_out", "fan_in"))
    level = validate.real("level", level, "(0, 1)")
    n_permutations = validate.integer("n_permutations", n_permutations, "[99, 1e7]")
    rng = np.random.default_rng(validate.integer("seed", seed, "[0, inf)"))
    clipped = _clipped(k, low, high)
    groups = []
    for label in dict.fromkeys(labels.tolist()):
        members = labels == label
        groups.append(_fit_group(label, a[members], k[members], clipped[members], level, n_permutations, rng))
    return BalanceFit(tuple(groups), degree_kind, low, high, level, a, k, labels)


def _inside(a: np.ndarray) -> np.ndarray:
    return (a > 0) & (a < 1)


def _clipped(k: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    on_clip = np.zeros(k.size, dtype=bool)
    if low is not None:
        on_clip |= k <= low
    if high is not None:
        on_clip |= k >= high
    return on_clip


def _fit_group(
    label: str,
    a: np.ndarray,
    k: np.ndarray,
    clipped: np.ndarray,
    level: float,
    n_permutations: int,
    rng: np.random.Generator,
) -> GroupFit:
    used = _inside(a) & ~clipped
    counts = {
        "n_used": int(used.sum()),
        "n_dead": int(np.count_nonzero(a == 0)),
        "n_saturated": int(np.count_nonzero(a == 1)),
        "n_clipped": int(np.count_nonzero(_inside(a) & clipped)),
        "n_silent": int(np.count_nonzero(used & (k == 0))),
    }
    a, k = a[used], k[used]
    unfit = ""
    if a.size < MIN_UNITS:
        unfit = f"{a.size} usable units, a line needs {MIN_UNITS}"
    elif k.min() == k.max():
        unfit = f"all {a.size} usable units have fan-out {k[0]:g}"
    if unfit:
        nan, pair = np.nan, np.full(2, np.nan)
        return GroupFit(
            group=label, slope=nan, slope_stderr=nan, slope_interval=pair, intercept=nan,
            intercept_interval=pair.copy(), r_squared=nan, tau=nan, tau_interval=pair.copy(),
            permutation_p=nan, comparison=(), verdict="undecided", reason=unfit, **counts,
        )  # fmt: skip
    log_odds = inactivity_log_odds(a)
    fit = least_squares(np.stack([np.ones_like(k), k], axis=1), log_odds)
    stderr = np.sqrt(np.diag(hc3_covariance(fit)))
    half = student_quantile(level, fit.dof) * stderr
    centred = k - k.mean()
    p = permutation_p(lambda rows: rows @ centred, log_odds, n_permutations, rng)
    linked = k > 0
    scores, hyperbola = _compare(log_odds[linked], a[linked], k[linked])
    verdict, reason = _judge(float(fit.coefficients[1]), p, scores, a.size)
    reach = student_quantile(level, a.size - 1) * hyperbola.log_tau_stderr
    with np.errstate(over="ignore"):  # an interval without an upper end is an answer
        tau, tau_low, tau_high = np.exp(hyperbola.log_tau + np.array([0.0, -reach, reach]))
    return GroupFit(
        group=label,
        slope=float(fit.coefficients[1]),
        slope_stderr=float(stderr[1]),
        slope_interval=fit.coefficients[1] + half[1] * np.array([-1.0, 1.0]),
        intercept=float(fit.coefficients[0]),
        intercept_interval=fit.coefficients[0] + half[0] * np.array([-1.0, 1.0]),
        r_squared=_r_squared(fit, log_odds),
        tau=float(tau),
        tau_interval=np.array([tau_low, tau_high]),
        permutation_p=p,
        comparison=tuple(BalanceScore(m, _PARAMETERS[m], scores[m]) for m in scores),
        verdict=verdict,
        reason=reason,
        **counts,
    )


def _r_squared(fit: LeastSquares, y: np.ndarray) -> float:
    total = float(np.sum((y - y.mean()) ** 2))
    return 1.0 - float(fit.residuals @ fit.residuals) / total if total > 0 else np.nan


def _compare(log_odds: np.ndarray, a: np.ndarray, k: np.ndarray) -> tuple[dict[str, float], Hyperbola]:
    """Return AICc of each law for units that have links, and the hyperbola; nothing for too few of them."""
    if k.size < MIN_UNITS or k.min() == k.max():
        return {}, Hyperbola(np.nan, np.nan, np.nan)
    line = least_squares(polynomial_design(k, 1), log_odds)
    deviation = log_odds - log_odds.mean()
    hyperbola = fit_hyperbola(a, k)
    likelihoods = {
        LINE: gaussian_log_likelihood(line.sum_squares, k.size),
        HYPERBOLA: hyperbola.log_likelihood,
        CONSTANT: gaussian_log_likelihood(floor_squares(float(deviation @ deviation), log_odds), k.size),
    }
    return {m: aicc(value, _PARAMETERS[m], k.size) for m, value in likelihoods.items()}, hyperbola


def _judge(slope: float, p: float, scores: dict[str, float], n: int) -> tuple[str, str]:
    """Return (verdict, reason)."""
    test = f"slope {slope:.3g} nats per link, permutation p = {p:.2g}"
    if p >= ABSENT_P:
        if n >= MIN_NONE:
            return "none", f"log-odds do not rise with fan-out: {test}, {n} units"
        return "undecided", f"{n} units show no rise, the verdict none needs {MIN_NONE}: {test}"
    if p >= CLEAR_P:
        return "undecided", f"the rise with fan-out is not clear: {test}"
    if not scores:
        return "undecided", f"{test}; too few units have links to tell a line from a hyperbola"
    lead = scores[HYPERBOLA] - scores[LINE]
    if lead > MIN_DELTA:
        return "balanced", f"{test}; the line leads the hyperbola by {lead:.1f} in AICc"
    if lead < -MIN_DELTA:
        return "hyperbolic", f"{test}; the hyperbola leads the line by {-lead:.1f} in AICc"
    return "undecided", f"{test}; line and hyperbola are within {abs(lead):.1f} in AICc"

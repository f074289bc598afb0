"""The balance read backwards: which audience does an on-rate call for, and which knob meets a density.

The controller's rule k_i = clip(d0 + L(a_i)/beta, m, D) takes the line L(a) = beta (k - d0) as given. It is
no second optimum: entropy does not depend on k (see equilibrium.py). Two rival rules share its signature:
equal traffic k_i = d0/a_i, the optimum of an audience utility mu sum ln k_i at fixed on-rates with
mu = beta d0, and uniform k_i = d0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.clipped_sum import ClippedSum
from bbtheory.theory.entropy import inactivity_log_odds

RULES = ("balance", "equal_traffic", "uniform")


def target_degree(
    on_rate: ArrayLike,
    *,
    rule: str = "balance",
    beta: float | None = None,
    d0: float = 0.0,
    min_degree: float = 0.0,
    max_degree: float,
    integer: bool = False,
) -> np.ndarray:
    """Degree a unit of given on-rate is set to.

    balance: k = clip(d0 + L(a)/beta, m, D); equal_traffic: k = clip(d0/a, m, D); uniform: k = clip(d0, m, D).

    Parameters
    ----------
    on_rate : array_like, (n,)
        a in [0, 1]. Under the first two rules a dead unit goes to D, whatever d0; under the balance a
        saturated one goes to m.
    rule : {"balance", "equal_traffic", "uniform"}
    beta : float
        Slope > 0, nats per link; needed by the balance, unused by the others.
    d0 : float
        Degree of a unit at a = 1/2 (balance), traffic per unit >= 0 (equal_traffic), the degree (uniform).
    min_degree, max_degree : float
        0 <= m <= D, links.
    integer : bool
        Round to whole links, halves to even.

    Returns
    -------
    ndarray of float, (n,), links

    Raises
    ------
    ValueError
        If an argument is outside its domain or beta is missing.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263, the degree controller; equal traffic: the rule of its authors'
    language-model code.

    Examples
    --------
    >>> target_degree([0.5, 0.1, 0.01], beta=0.5, d0=2, max_degree=32, integer=True).tolist()
    [2.0, 6.0, 11.0]
    """
    a = validate.array("on_rate", on_rate, "[0, 1]")
    low, high = degree_range(min_degree, max_degree, integer)
    offset, slope = _line(a, rule, beta)
    d0 = validate.real("d0", d0, "[0, 1e15]" if rule == "equal_traffic" else "[-1e15, 1e15]")
    degree = ClippedSum(offset, slope, low, high).terms(d0)
    return np.rint(degree) if integer else degree


@dataclass(frozen=True, eq=False)
class DensityMatch(Record):
    """Degrees whose mean is a requested share of the largest degree, and the knob that makes them so."""

    KIND: ClassVar[str] = "density_match"
    UNITS: ClassVar[Mapping[str, str]] = {"on_rate": "on_rate", "degree": "degree"}
    DERIVED: ClassVar[tuple[str, ...]] = ("achieved",)

    rule: str
    """balance | equal_traffic | uniform."""
    solve_for: str
    """d0 | beta: the knob that was solved for."""
    density: float
    """Requested mean degree / D, in (0, 1]."""
    beta: float
    """Slope, nats per link (nan under the rules without one); the first of the roots if solved for."""
    d0: float
    """Offset, links (traffic under equal_traffic)."""
    roots: np.ndarray
    """Every value of the solved knob that meets the density, ascending; an interval shows its two ends."""
    min_degree: float
    max_degree: float
    integer: bool
    on_rate: np.ndarray
    degree: np.ndarray
    """k_i at the first root, links; whole links if integer."""

    @property
    def achieved(self) -> float:
        """Mean degree / D of the degrees; with integer, within one link of the request."""
        return float(self.degree.mean() / self.max_degree)


def match_density(
    on_rate: ArrayLike,
    density: float,
    *,
    solve_for: str = "d0",
    rule: str = "balance",
    beta: float | None = None,
    d0: float | None = None,
    min_degree: float = 0.0,
    max_degree: float,
    integer: bool = False,
) -> DensityMatch:
    """Find the knob at which the mean target degree is a given share of the largest, mean k_i = density D.

    In d0 the mean degree is piecewise linear and never falls; in u = 1/beta it is piecewise linear, and falls
    or rises as units with a > 1/2 or a < 1/2 lead. Both are inverted exactly, segment by segment.

    Parameters
    ----------
    on_rate : array_like, (n,)
        a in [0, 1].
    density : float
        Mean degree / D, in (0, 1].
    solve_for : {"d0", "beta"}
        The knob; the other one must be given (beta only under the balance).
    rule, beta, d0, min_degree, max_degree : see `target_degree`
    integer : bool
        Whole links that sum to round(density n D): real degrees rounded down, the links left over given to
        the largest remainders, ties to the lower index.

    Returns
    -------
    DensityMatch

    Raises
    ------
    ValueError
        If an argument is outside its domain, or no value of the knob reaches the density (the message says
        the reachable range).

    References
    ----------
    This project's derivation; d0-monotonicity: ``derive_density_monotonicity``.

    Examples
    --------
    >>> m = match_density([0.5, 0.1, 0.01], 0.25, beta=0.5, max_degree=32)
    >>> (round(m.d0, 4), round(m.achieved, 12))
    (3.4718, 0.25)
    """
    a = validate.array("on_rate", on_rate, "[0, 1]")
    density = validate.real("density", density, "(0, 1]")
    validate.choice("solve_for", solve_for, ("d0", "beta"))
    low, high = degree_range(min_degree, max_degree, integer)
    if solve_for == "beta":
        if rule != "balance":
            raise ValueError(f"solve_for='beta' must go with rule 'balance', got rule {rule!r}")
        if beta is not None or d0 is None:
            raise ValueError(f"solve_for='beta' must be given d0 and no beta, got d0={d0}, beta={beta}")
        d0 = validate.real("d0", d0, "[-1e15, 1e15]")
        curve = ClippedSum(np.full(a.shape, d0), inactivity_log_odds(a), low, high)
        knobs, reach = curve.invert(density * high * a.size)
        roots = np.sort(1.0 / knobs)
    else:
        if d0 is not None:
            raise ValueError(f"solve_for='d0' must not be given d0, got {d0}")
        curve = ClippedSum(*_line(a, rule, beta), low, high)
        knobs, reach = curve.invert_rising(density * high * a.size)
        roots = knobs
    if roots.size == 0:
        least, most = (total / (high * a.size) for total in reach)
        raise ValueError(
            f"density must be reachable by {solve_for}: between {least:.6g} and {most:.6g} here, "
            f"got {density:g}"
        )
    root = float(roots[0])
    degree = curve.terms(1.0 / root if solve_for == "beta" else root)
    if integer:
        degree = _whole(degree, round(density * a.size * high))
    beta = root if solve_for == "beta" else beta
    d0 = root if d0 is None else d0
    slope = math.nan if beta is None else beta
    return DensityMatch(rule, solve_for, density, slope, d0, roots, low, high, integer, a, degree)


def degree_range(min_degree: float, max_degree: float, integer: bool = False) -> tuple[float, float]:
    """Check the bounds 0 <= m <= D on degrees, whole links if integer."""
    if not isinstance(integer, (bool, np.bool_)):
        raise ValueError(f"integer must be True or False, got {integer!r}")
    high = validate.real("max_degree", max_degree, "(0, 1e15]")
    low = validate.real("min_degree", min_degree, "[0, inf)")
    if low > high:
        raise ValueError(f"min_degree must be at most max_degree {high:g}, got {low:g}")
    for name, bound in (("min_degree", low), ("max_degree", high)):
        if integer and bound != int(bound):
            raise ValueError(f"{name} must be a whole number of links with integer=True, got {bound:g}")
    return low, high


def _line(a: np.ndarray, rule: str, beta: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Return (offset, slope) of k = offset + slope d0 for each unit."""
    validate.choice("rule", rule, RULES)
    if rule == "balance":
        if beta is None:
            raise ValueError("beta must be given under rule 'balance', got None")
        beta = validate.real("beta", beta, "(0, inf)")
        with np.errstate(over="ignore"):
            return inactivity_log_odds(a) / beta, np.ones_like(a)
    if rule == "equal_traffic":
        with np.errstate(divide="ignore", over="ignore"):
            return np.zeros_like(a), 1.0 / a
    return np.zeros_like(a), np.ones_like(a)


def _whole(degree: np.ndarray, n_links: int) -> np.ndarray:
    """Round degrees down and give the links left over to the largest remainders, ties to the lower index."""
    whole = np.floor(degree)
    left = n_links - int(whole.sum())
    whole[np.argsort(whole - degree, kind="stable")[:left]] += 1
    return whole

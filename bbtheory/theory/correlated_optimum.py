"""The exact optimum of a few correlated units under a traffic budget, whichever statistic is held fixed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError, Record
from bbtheory.theory.binary_code import at_most
from bbtheory.theory.correlated import held_slope
from bbtheory.theory.entropy import inactivity_log_odds, on_rate_from_log_odds
from bbtheory.theory.entropy_curvature import entropy_curvature
from bbtheory.theory.equilibrium import CONVERGED, NOT_BINDING, UNCONVERGED
from bbtheory.theory.pair_statistics import symmetric
from bbtheory.theory.pairwise import pairwise_code, square, state_features

MAX_UNITS = 10  # 55 unknowns and 1024 states

_TOLERANCE = 1e-10  # on all equations together; the solver usually leaves 1e-14
_STAGES = (1.0, 0.5, 0.25, 0.1)  # first share of the correlation tried when the whole is too far


@dataclass(frozen=True, eq=False)
class CorrelatedOptimum(Record):
    """Stationary on-rates of correlated units under a traffic budget, exact.

    Attributes
    ----------
    fan_out : ndarray (n,), links
    on_rate : ndarray (n,)
    coactivation : ndarray (n, n)
    coupling : ndarray (n, n), nats
        Multipliers of the co-activations.
    beta : float, nats per link
    budget : float, links per step
        T; the traffic itself where beta was given.
    entropy : float, nats
        Joint entropy H(h).
    curvature : float, nats
        Largest eigenvalue of the second derivative of S - beta sum_i a_i k_i by the on-rates, at fixed
        ``hold`` and, where a budget binds, along it. Negative: a maximum. Always negative with co-activations
        held.
    hold : str
    status : str
        converged | budget_not_binding | not_converged (only inside a ConvergenceError).
    residual : float
        Largest error of the held statistics (as correlations), the balance (nats) and the budget (relative).
    """

    KIND: ClassVar[str] = "correlated_optimum"
    UNITS: ClassVar[Mapping[str, str]] = {"fan_out": "fan_out", "on_rate": "on_rate", "shift": "shift"}
    DERIVED: ClassVar[tuple[str, ...]] = ("traffic", "is_maximum")

    fan_out: np.ndarray
    on_rate: np.ndarray
    coactivation: np.ndarray
    coupling: np.ndarray
    beta: float
    budget: float
    entropy: float
    curvature: float
    hold: str
    status: str
    residual: float

    @property
    def traffic(self) -> float:
        """sum_i a_i k_i, links per step."""
        return float(self.on_rate @ self.fan_out)

    @property
    def is_maximum(self) -> bool:
        """Whether no neighbouring on-rates have a larger entropy at the same price or traffic."""
        return self.curvature < 0

    @property
    def shift(self) -> np.ndarray:
        """L(a_i) - beta k_i, nats: how far each unit is off the balance line of independent units."""
        return inactivity_log_odds(self.on_rate) - self.beta * self.fan_out


def solve_correlated(
    fan_out: ArrayLike,
    *,
    beta: float | None = None,
    budget: float | None = None,
    coactivation: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    correlation: ArrayLike | None = None,
) -> CorrelatedOptimum:
    """Find the on-rates of largest joint entropy under a traffic budget with a pair statistic held fixed.

    Stationary points of H(h) - beta sum_i a_i k_i over all distributions of the 2^n states: pairwise
    maximum-entropy codes whose fields obey -f_i - sum_j J_ij dq_ij/da_i = beta k_i, dq_ij/da_i at what is
    held. The problem is concave with co-activations held; with covariances or correlations it is not, the
    result is the stationary point continued from independent units, and its ``curvature`` says whether it is
    a maximum.

    Parameters
    ----------
    fan_out : array_like (n,), >= 0, links
        k_i, n <= 10.
    beta, budget : float, >= 0 and > 0
        Exactly one: the price of traffic in nats per link, or the traffic sum_i a_i k_i not to be exceeded.
    coactivation, covariance, correlation : array_like (n, n)
        Exactly one: what is held fixed, symmetric. The diagonal of correlations is 1; that of the others is
        not read, since it belongs to the on-rates that are sought.

    Returns
    -------
    CorrelatedOptimum

    Raises
    ------
    ValueError
        If an argument is outside its domain, or a statistic is impossible at any on-rates (names the pair).
    ConvergenceError
        If no stationary point is found: the statistic may be impossible at the on-rates that fan-outs and
        budget ask for. ``record`` is the last state.

    References
    ----------
    This project's derivation.
    """
    k = validate.array("fan_out", fan_out, "[0, inf)")
    n = k.size
    at_most("fan_out", n, MAX_UNITS)
    given = {"coactivation": coactivation, "covariance": covariance, "correlation": correlation}
    hold = validate.exactly_one(**given)
    held = _possible(hold, symmetric(hold, given[hold], n))
    if validate.exactly_one(beta=beta, budget=budget) == "beta":
        return _solve(k, validate.real("beta", beta, "[0, inf)"), None, held, hold, CONVERGED)
    T = validate.real("budget", budget, "(0, inf)")
    free = _solve(k, 0.0, T, held, hold, NOT_BINDING)
    if free.traffic > T:
        return _solve(k, None, T, held, hold, CONVERGED)
    warnings.warn(
        f"the budget {T:g} does not bind: without it the units carry {free.traffic:g}", stacklevel=2
    )
    return free


def _possible(hold: str, matrix: np.ndarray) -> np.ndarray:
    """Return the held values of all pairs i < j, checked against what any on-rates allow."""
    n = matrix.shape[0]
    if hold == "correlation" and n and not np.allclose(np.diagonal(matrix), 1.0, rtol=0, atol=1e-8):
        i = int(np.abs(np.diagonal(matrix) - 1.0).argmax())
        raise ValueError(f"correlation must have 1 on its diagonal, got {matrix[i, i]:.9g} at {i}")
    rows, columns = np.triu_indices(n, 1)
    pairs = matrix[rows, columns]
    low, high = {"coactivation": (0.0, 1.0), "covariance": (-0.25, 0.25), "correlation": (-1.0, 1.0)}[hold]
    bad = np.flatnonzero((pairs <= low) | (pairs >= high))
    if bad.size:
        i, j = int(rows[bad[0]]), int(columns[bad[0]])
        raise ValueError(
            f"{hold} of any two units must be in ({low:g}, {high:g}), got {matrix[i, j]:.6g} for {i} and {j}"
        )
    if hold == "correlation" and n > 1 and (smallest := float(np.linalg.eigvalsh(matrix)[0])) <= 0:
        raise ValueError(f"correlation must be positive definite, got {smallest:.6g} as smallest eigenvalue")
    return pairs


def _solve(
    k: np.ndarray, beta: float | None, budget: float | None, held: np.ndarray, hold: str, status: str
) -> CorrelatedOptimum:
    from scipy.optimize import root

    n = k.size
    rows, columns = np.triu_indices(n, 1)
    features = state_features(n)

    def equations(x: np.ndarray, target: np.ndarray) -> np.ndarray:
        moment = _moments(features, x[: n + rows.size])
        a, q = moment[:n], moment[n:]
        sd = np.sqrt(a * (1.0 - a))
        scale = sd[rows] * sd[columns]
        c = q - a[rows] * a[columns]
        error = {"coactivation": q - target, "covariance": c - target, "correlation": c - target * scale}[
            hold
        ]
        slope = held_slope(a, square(c / scale, n), hold)
        price = x[-1] if beta is None else beta
        balance = -x[:n] - (square(x[n : n + rows.size], n) * slope).sum(axis=1) - price * k
        out = [error / scale, balance]
        if beta is None:
            assert budget is not None
            out.append(np.array([(a @ k) / budget - 1.0]))
        return np.concatenate(out)

    a = on_rate_from_log_odds((0.0 if beta is None else beta) * k)
    start = a[rows] * a[columns] if hold == "coactivation" else np.zeros(rows.size)
    x0 = np.concatenate([-inactivity_log_odds(a), np.zeros(rows.size), [] if beta is not None else [0.0]])
    x, residual = x0, np.inf
    for stage in _STAGES:
        x, shares = x0, np.arange(stage, 1.0 + 1e-9, stage)
        for share in shares:
            target = (1.0 - share) * start + share * held
            # a trial step far off may overflow on its way to being rejected
            with np.errstate(all="ignore"):
                x = root(equations, x, args=(target,), method="hybr", tol=1e-14).x
        with np.errstate(all="ignore"):
            residual = float(np.abs(equations(x, held)).max())
        if residual <= _TOLERANCE:
            break
    converged = residual <= _TOLERANCE
    code = pairwise_code(np.nan_to_num(x[:n]), square(np.nan_to_num(x[n : n + rows.size]), n))
    price = float(x[-1]) if beta is None else beta
    result = CorrelatedOptimum(
        fan_out=k,
        on_rate=code.on_rate,
        coactivation=code.coactivation,
        coupling=code.coupling,
        beta=price,
        budget=float(code.on_rate @ k) if budget is None else budget,
        entropy=code.entropy,
        curvature=entropy_curvature(code, hold, k if beta is None else None) if converged else np.nan,
        hold=hold,
        status=status if converged else UNCONVERGED,
        residual=residual,
    )
    if not converged:
        raise ConvergenceError(
            f"no stationary on-rates were found with this {hold} held (residual {residual:.3g}): it may be "
            "impossible at the on-rates that fan-outs and budget ask for",
            result,
        )
    return result


def _moments(features: np.ndarray, x: np.ndarray) -> np.ndarray:
    energy = features @ x
    p = np.exp(energy - energy.max())
    return p @ features / p.sum()

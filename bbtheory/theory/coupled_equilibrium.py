"""On-rates of coupled units under a traffic budget: exact, naive mean field, TAP.

Units of given couplings J maximise H(h) + sum_{i<j} J_ij q_ij - beta sum_i a_i k_i: the couplings are the
multipliers of co-activations held fixed, so this is the balance with co-activations fixed, told by them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError, Record
from bbtheory.theory.binary_code import MAX_UNITS, at_most
from bbtheory.theory.correlated import TRUSTED_ERROR
from bbtheory.theory.entropy import coding_entropy, inactivity_log_odds, on_rate_from_log_odds
from bbtheory.theory.equilibrium import CONVERGED, NOT_BINDING, UNCONVERGED
from bbtheory.theory.pairwise import coupling_matrix, pairwise_code

METHODS = ("exact", "tap", "mean_field")

_TOLERANCE = (
    1e-12  # of the log-odds, relative beyond 1; rounding of the sums over neighbours leaves some 1e-15
)
_NEAR = 0.1  # an error from which Newton's steps are tried
_MAX_STEPS = 2000
_LEAST_SHARE = 1 / 64  # of an update taken where whole ones overshoot
_BUDGET = 1e-10  # relative miss of the budget that the search over beta may leave


@dataclass(frozen=True, eq=False)
class CoupledEquilibrium(Record):
    """On-rates of coupled units under a traffic budget.

    Attributes
    ----------
    fan_out : ndarray (n,), links
    coupling : ndarray (n, n), nats
    on_rate : ndarray (n,)
    beta : float, nats per link
    budget : float, links per step
        T; the traffic itself where beta was given.
    entropy : float, nats
        Exact, or that of the approximation: sum h(a_i), for TAP less 1/2 sum_{i<j} J_ij^2 chi_i chi_j.
    error_estimate : ndarray (n,), nats
        Magnitude of the first order of J that the approximation leaves out of L(a_i); 0 if exact.
    method : str
    status : str
        converged | budget_not_binding | not_converged (only inside a ConvergenceError).
    stationarity : float
        Largest error of the equations for L(a_i), over max(1, |L(a_i)|).
    n_steps : int
        Iterations at the final beta.
    """

    KIND: ClassVar[str] = "coupled_equilibrium"
    UNITS: ClassVar[Mapping[str, str]] = {
        "fan_out": "fan_out",
        "on_rate": "on_rate",
        "shift": "shift",
        "error_estimate": "error_estimate",
        "valid": "valid",
    }
    DERIVED: ClassVar[tuple[str, ...]] = ("traffic",)
    HIDDEN: ClassVar[tuple[str, ...]] = ("coupling",)

    fan_out: np.ndarray
    coupling: np.ndarray
    on_rate: np.ndarray
    beta: float
    budget: float
    entropy: float
    error_estimate: np.ndarray
    method: str
    status: str
    stationarity: float
    n_steps: int

    @property
    def traffic(self) -> float:
        """sum_i a_i k_i, links per step."""
        return float(self.on_rate @ self.fan_out)

    @property
    def shift(self) -> np.ndarray:
        """L(a_i) - beta k_i, nats: how far each unit is off the balance line of independent units."""
        return inactivity_log_odds(self.on_rate) - self.beta * self.fan_out

    @property
    def valid(self) -> np.ndarray:
        """Whether the error estimate is at most 1/4 of the shift; an iteration converges beyond that, too."""
        return self.error_estimate <= TRUSTED_ERROR * np.abs(self.shift)


def solve_coupled(
    fan_out: ArrayLike,
    coupling: ArrayLike,
    *,
    beta: float | None = None,
    budget: float | None = None,
    method: str = "exact",
) -> CoupledEquilibrium:
    """Solve for the on-rates of units with couplings J under a traffic budget.

    Exact: marginals of p(h) = exp(-beta sum_i k_i h_i + sum_{i<j} J_ij h_i h_j)/Z over all states.
    Naive mean field: L(a_i) = beta k_i - sum_j J_ij a_j, error of order J^2.
    TAP: L(a_i) = beta k_i - sum_j J_ij a_j - 1/2 (1-2a_i) sum_j J_ij^2 chi_j, error of order J^3.
    Both approximations need weak couplings, J_ij^2 chi_i chi_j << 1; strong positive ones give them several
    solutions, of which the iteration from the independent units finds one.

    Parameters
    ----------
    fan_out : array_like (n,), >= 0, links
        k_i; n <= 20 for the exact method.
    coupling : array_like (n, n), nats
        J_ij, symmetric with zero diagonal.
    beta, budget : float, >= 0 and > 0
        Exactly one: the price of traffic in nats per link, or the traffic sum_i a_i k_i not to be exceeded.
    method : {"exact", "tap", "mean_field"}

    Returns
    -------
    CoupledEquilibrium

    Raises
    ------
    ValueError
        If an argument is outside its domain, ``coupling`` does not fit, not exactly one of ``beta`` and
        ``budget`` is given, or there are more than 20 units for the exact method.
    ConvergenceError
        If the iteration does not reach 1e-12, or the traffic of an approximation jumps across the budget.
        ``record`` is the last state, its ``status`` not_converged.

    References
    ----------
    Thouless, Anderson and Palmer (1977) and Plefka (1982) in the variables 0 and 1; this project's
    derivation.
    """
    k = validate.array("fan_out", fan_out, "[0, inf)")
    J = coupling_matrix(coupling, k.size)
    validate.choice("method", method, METHODS)
    if method == "exact":
        at_most("fan_out", k.size, MAX_UNITS)
    if validate.exactly_one(beta=beta, budget=budget) == "beta":
        return _at(k, J, validate.real("beta", beta, "[0, inf)"), None, method)
    T = validate.real("budget", budget, "(0, inf)")
    free = _at(k, J, 0.0, T, method)
    if free.traffic <= T:
        warnings.warn(
            f"the budget {T:g} does not bind: without it the units carry {free.traffic:g}", stacklevel=2
        )
        return free
    try:
        result = _meet(k, J, T, method)
    except ConvergenceError as error:
        raise ConvergenceError(f"the search for the budget {T:.9g} ended: {error}", error.record) from None
    if abs(result.traffic - T) > _BUDGET * T:
        raise ConvergenceError(
            f"the traffic of {method} jumps across the budget {T:.9g} at beta = {result.beta:.9g}", result
        )
    return result


def _meet(k: np.ndarray, J: np.ndarray, budget: float, method: str) -> CoupledEquilibrium:
    """Find the price at which the traffic, which falls as beta grows, is the budget."""
    from scipy.optimize import brentq

    low, high = 0.0, 1.0 / float(k.max())
    while _at(k, J, high, budget, method).traffic > budget:
        low, high = high, 2.0 * high
    beta: Any = brentq(  # a number, without full_output
        lambda b: _at(k, J, b, budget, method).traffic - budget,
        low,
        high,
        xtol=1e-300,
        rtol=4 * np.finfo(float).eps,
    )
    return _at(k, J, float(beta), budget, method)


def _at(k: np.ndarray, J: np.ndarray, beta: float, budget: float | None, method: str) -> CoupledEquilibrium:
    field = beta * k
    if method == "exact":
        code = pairwise_code(-field, J)
        a, entropy, steps, stationarity = code.on_rate, code.entropy, 0, 0.0
        error = np.zeros_like(k)
    else:
        a, steps, stationarity = _iterate(field, J, method == "tap")
        chi = a * (1.0 - a)
        second = 0.5 * (1.0 - 2.0 * a) * (J**2 @ chi)
        if method == "tap":
            entropy = coding_entropy(a) - 0.25 * float(chi @ J**2 @ chi)
            weighted = J * chi
            loops = 0.5 * ((weighted @ weighted) * J).sum(axis=1)
            error = np.abs(
                (1.0 - 6.0 * chi) * (J**3 @ (chi * (1.0 - 2.0 * a))) / 6.0 + (1.0 - 2.0 * a) * loops
            )
        else:
            entropy = coding_entropy(a)
            error = np.abs(second)
    converged = stationarity <= _TOLERANCE
    status = CONVERGED if converged else UNCONVERGED
    if converged and beta == 0 and budget is not None:
        status = NOT_BINDING
    result = CoupledEquilibrium(
        fan_out=k,
        coupling=J,
        on_rate=a,
        beta=beta,
        budget=float(a @ k) if budget is None else budget,
        entropy=entropy,
        error_estimate=error,
        method=method,
        status=status,
        stationarity=stationarity,
        n_steps=steps,
    )
    if not converged:
        raise ConvergenceError(
            f"{method} at beta = {beta:.9g} left an error of {stationarity:.3g} after {steps} steps; "
            "the couplings may be too strong for it",
            result,
        )
    return result


def _iterate(field: np.ndarray, J: np.ndarray, onsager: bool) -> tuple[np.ndarray, int, float]:
    """Damped iteration of the log-odds x, then Newton steps once it has come near."""
    J2 = J**2

    def update(x: np.ndarray) -> tuple[np.ndarray, float]:
        a = on_rate_from_log_odds(x)
        new = field - J @ a
        if onsager:
            new -= 0.5 * (1.0 - 2.0 * a) * (J2 @ (a * (1.0 - a)))
        step = new - x
        return step, float((np.abs(step) / np.maximum(1.0, np.abs(x))).max())

    def newton(x: np.ndarray, step: np.ndarray) -> np.ndarray:
        a = on_rate_from_log_odds(x)
        chi, odd = a * (1.0 - a), 1.0 - 2.0 * a
        slope = -J  # of the new x by a; da/dx = -chi
        if onsager:
            slope = slope - 0.5 * np.outer(odd, odd) * J2 + np.diag(J2 @ chi)
        return np.linalg.solve(np.eye(x.size) + slope * chi, step)

    x = field.copy()
    share = 1.0
    step, error = update(x)
    steps = 0
    while error > _TOLERANCE and steps < _MAX_STEPS:
        steps += 1
        if error < _NEAR:
            leap = newton(x, step)
            next_step, next_error = update(x + leap)
            # against the direction of the iteration lies a solution that it would leave
            if next_error < error / 2.0 and leap @ step > 0:
                x, step, error = x + leap, next_step, next_error
                continue
        trial = x + share * step
        next_step, next_error = update(trial)
        # the error may rise on the way past a solution that has just vanished: only turning back is too far
        if next_step @ step < 0 and share > _LEAST_SHARE:
            share /= 2.0
        else:
            x, step, error, share = trial, next_step, next_error, min(1.0, 1.5 * share)
    return on_rate_from_log_odds(x), steps, error

"""Density under pressure when weights interact: the duty-cycle law of a quadratic loss in many dimensions.

With weights w held, loss 1/2 (theta - w*)^T C (theta - w*) and theta = w H(t), the pull on each t is linear
in H. Averaged over time it equals the pressure for a weight whose t slides on 0, is at most the pressure for
one that is gone, at least the pressure for one that never leaves. So the absent fractions a solve, exactly
and whatever the noise,

    minimise  1/2 a^T M a + (d - gamma) . a  over 0 <= a <= 1,   M_jk = kappa N w_j C_jk w_k,

d_j = kappa N w_j [C (w* - w)]_j (zero at w = w*): these are its Karush-Kuhn-Tucker conditions. A diagonal C
gives back a_j = min(1, gamma/F_j), F_j = M_jj.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError, Record

_KAPPA = 0.25  # straight-through constant of the authors' code
_PATIENCE = 10  # rounds without fewer broken conditions before they are mended one by one
_MAX_PIVOTS = 100  # per weight; a few rounds in all are usual
_ROUNDING = 1e-13  # of the terms of a sum: below it a condition counts as met
_TOLERANCE = (
    1e-9  # of the conditions, relative to the pressure: the solver is finite, rounding is all there is
)


@dataclass(frozen=True, eq=False)
class CoupledPresence(Record):
    """Fraction of time each of the interacting weights is present under one pressure.

    Attributes
    ----------
    pressure : float
        gamma.
    flux : ndarray (n,)
        F_j = kappa N C_jj w_j^2, the flux each would feel if it alone were absent (at w = w*).
    presence : ndarray (n,)
        1 - a_j.
    pull : ndarray (n,)
        Time-averaged pull on t in the unit of the pressure, (M a + d)_j.
    residual : float
        Largest violation of the conditions, relative to the pressure (absolute at gamma = 0).
    status : str
        "converged".
    """

    KIND: ClassVar[str] = "coupled_presence"
    UNITS: ClassVar = {"flux": "flux", "presence": "presence", "pull": "pull"}
    DERIVED: ClassVar = ("density",)

    pressure: float
    flux: np.ndarray
    presence: np.ndarray
    pull: np.ndarray
    residual: float
    status: str

    @cached_property
    def density(self) -> float:
        """Mean presence, the expected density at a moment."""
        return float(self.presence.mean())


def solve_coupled_presence(
    gram: ArrayLike, weight: ArrayLike, pressure: float, *, optimum: ArrayLike | None = None
) -> CoupledPresence:
    """Presence of held weights of a quadratic loss, min 1/2 a^T M a + (d - gamma) . a in [0, 1].

    Exact for SGD with or without momentum, any step size and any gradient noise of mean zero, once no t is
    on its way any more.

    Parameters
    ----------
    gram : array_like (n, n)
        C, the curvature of the loss: second moments of the features of a regression. Symmetric, positive
        definite.
    weight : array_like (n,)
        w_j, none zero.
    pressure : float
        gamma >= 0.
    optimum : array_like (n,), optional
        w*; equal to ``weight`` by default.

    Returns
    -------
    CoupledPresence

    Raises
    ------
    ValueError
        If an argument is outside its domain, lengths differ or C is not symmetric and positive definite.
    ConvergenceError
        If the conditions are violated by more than rounding; carries the record.

    References
    ----------
    This project's derivation, ``derive_coupled_presence``, for the model of Hyperflux (arXiv 2504.05349).
    """
    w = validate.array("weight", weight)
    if (w == 0).any():
        raise ValueError(f"weight must hold no zero, got one at index {int(np.argmin(np.abs(w)))}")
    c = validate.array("gram", gram, shape=(w.size, w.size))
    gamma = validate.real("pressure", pressure, "[0, inf)")
    target = w if optimum is None else validate.array("optimum", optimum, shape=w.shape)
    scale = _KAPPA * w.size
    coupling = scale * w[:, None] * c * w
    constant = scale * w * (c @ (target - w))
    try:
        if not np.allclose(
            c, c.T, rtol=1e-10, atol=0.0
        ):  # a product of float64 matrices is symmetric to this
            raise np.linalg.LinAlgError
        np.linalg.cholesky(c)
    except np.linalg.LinAlgError:
        raise ValueError("gram must be symmetric and positive definite") from None
    absent = _least_in_box(coupling, gamma - constant)
    pull = coupling @ absent + constant
    excess = pull - gamma
    # a pull above the pressure brings a weight back, one below it removes it
    violated = np.maximum(np.where(absent > 0, excess, 0.0), np.where(absent < 1, -excess, 0.0))
    residual = float(np.maximum(violated, 0.0).max()) / (gamma if gamma > 0 else 1.0)
    record = CoupledPresence(
        pressure=gamma,
        flux=np.diag(coupling).copy(),
        presence=1.0 - absent,
        pull=pull,
        residual=residual,
        status="converged" if residual <= _TOLERANCE else "not_converged",
    )
    if residual > _TOLERANCE:
        raise ConvergenceError(
            f"the presence of coupled weights is off by {residual:.3g} of the pressure", record
        )
    return record


def _least_in_box(matrix: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Minimise 1/2 a^T M a - linear . a over 0 <= a <= 1, M positive definite, by block principal pivoting.

    Every variable is free or on a bound. All that break a condition change sides at once as long as their
    number falls within a few rounds, else only the last one does, which ends for any positive definite M
    (Judice and Pires, Computers and Operations Research 21 (1994) 587).
    """
    n = linear.size
    side = np.where(linear > np.diag(matrix), 1, 0)  # -1 at 0, 0 free, 1 at 1
    side[linear <= 0] = -1
    fewest, patience = n + 1, _PATIENCE
    value = np.zeros(n)
    for _ in range(_MAX_PIVOTS * (n + 1)):
        free = side == 0
        value = (side > 0).astype(np.float64)
        value[free] = np.linalg.solve(
            matrix[np.ix_(free, free)], linear[free] - matrix[np.ix_(free, ~free)] @ value[~free]
        )
        excess = matrix @ value - linear
        slack = _ROUNDING * (np.abs(matrix) @ np.abs(value) + np.abs(linear))
        under, over = free & (value < 0), free & (value > 1)
        freed = ((side < 0) & (excess < -slack)) | ((side > 0) & (excess > slack))
        broken = np.flatnonzero(under | over | freed)
        if broken.size == 0:
            break
        if broken.size < fewest:
            fewest, patience = broken.size, _PATIENCE
        else:
            patience -= 1
        if patience < 0:
            broken = broken[-1:]
        side[broken] = np.where(under[broken], -1, np.where(over[broken], 1, 0))
    return np.clip(value, 0.0, 1.0)

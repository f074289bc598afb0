"""The inverse problem: which distribution of fluxes a measured curve of density against pressure implies.

Under the duty-cycle law s(gamma) = E[max(0, 1 - gamma/F)] is a mixture of decreasing kinked lines, so it is
convex, starts at s(0) = 1 and gives the tail back as P(F > gamma) = s - gamma ds/dgamma. A measured curve
that is not convex has no spectrum at all under that law. Under a hard threshold s is the tail itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import ConvergenceError, Record
from bbtheory.theory.flux import LAWS

_EXACT = 1e-9  # relative violation of a curve given without errors: above what float64 arithmetic leaves
_SIGMAS = 3.0  # violation of a curve with standard errors that chance does not explain
_FIRM = 1e4  # weight of "all atoms together are at most 1" over the data: holds to its square, 1e-8


@dataclass(frozen=True, eq=False)
class ImpliedSpectrum(Record):
    """Flux distribution that a curve implies under a law, and the points no distribution can explain.

    Attributes
    ----------
    law : str
        "duty_cycle" or "threshold".
    pressure, density : ndarray (m,)
        The curve, sorted by pressure.
    fitted : ndarray (m,)
        Nearest curve the law allows (weighted least squares): convex and decreasing from at most 1, or only
        decreasing under "threshold".
    tail_low, tail_high : ndarray (m,)
        Bounds on P(F > gamma): any spectrum whose curve passes through the fitted points obeys them.
    tail : ndarray (m,)
        Estimate between the bounds, fitted (1 + local log-log slope); equal to the bounds under "threshold".
    excess : ndarray (m,)
        How far a density lies above the highest convex decreasing (or decreasing) curve below all points and
        (0, 1): at least this much must be wrong with the point or with a neighbour that is too low.
    violates : ndarray (m,) of bool
        Above that curve and above ``fitted`` by more than 3 standard errors, or by more than rounding where
        none are given.
    probabilities, quantiles : ndarray (q,)
        Implied quantiles of the flux; NaN where the measured pressures do not reach them.
    log_rms : float
        Root mean square of ln(density/fitted).
    status : str
        "consistent", or "violated" if any point violates the law.
    """

    KIND: ClassVar[str] = "implied_spectrum"
    UNITS: ClassVar = {
        name: name
        for name in (
            "pressure",
            "density",
            "fitted",
            "tail_low",
            "tail",
            "tail_high",
            "excess",
            "violates",
        )
    }
    DERIVED: ClassVar = ("n_violations",)

    law: str
    pressure: np.ndarray
    density: np.ndarray
    fitted: np.ndarray
    tail_low: np.ndarray
    tail: np.ndarray
    tail_high: np.ndarray
    excess: np.ndarray
    violates: np.ndarray
    probabilities: np.ndarray
    quantiles: np.ndarray
    log_rms: float
    status: str

    @cached_property
    def n_violations(self) -> int:
        """Points that violate the law."""
        return int(self.violates.sum())


def implied_spectrum(
    pressure: ArrayLike,
    density: ArrayLike,
    *,
    law: str = "duty_cycle",
    density_stderr: ArrayLike | None = None,
    probabilities: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
) -> ImpliedSpectrum:
    """Spectrum behind a curve, P(F > gamma) = s - gamma ds/dgamma (duty-cycle law) or s (hard threshold).

    The curve is first projected on what the law allows: under the duty-cycle law by non-negative least
    squares over point masses of flux at the measured pressures, which spans all convex decreasing curves
    through these pressures; under the threshold law by isotonic regression.

    Parameters
    ----------
    pressure : array_like (m,)
        gamma > 0, m >= 3 different values in any order.
    density : array_like (m,)
        s in (0, 1] at these pressures.
    law : {"duty_cycle", "threshold"}
        How the curve came about.
    density_stderr : array_like (m,) or float, optional
        Standard errors > 0. Without them the fit takes equal relative errors, and violations are judged
        against rounding.
    probabilities : sequence of float
        Of the implied quantiles, in (0, 1).

    Returns
    -------
    ImpliedSpectrum

    Raises
    ------
    ValueError
        If an argument is outside its domain, lengths differ or pressures repeat.
    ConvergenceError
        If the non-negative least squares do not end; carries the record with ``fitted`` NaN.

    References
    ----------
    This project's derivation, ``derive_spectrum_tail``.
    """
    gamma = validate.array("pressure", pressure, "(0, inf)")
    s = validate.array("density", density, "(0, 1]", shape=gamma.shape)
    if gamma.size < 3:
        raise ValueError(f"pressure must hold at least 3 values, got {gamma.size}")
    law = validate.choice("law", law, LAWS)
    levels = validate.array("probabilities", probabilities, "(0, 1)")
    if density_stderr is None:
        sigma, tolerance = s, _EXACT * s
    else:
        sigma = validate.array("density_stderr", density_stderr, "(0, inf)", ndim=None)
        if sigma.ndim and sigma.shape != s.shape:
            raise ValueError(f"density_stderr must have shape {s.shape} or be a number, got {sigma.shape}")
        sigma = np.broadcast_to(sigma, s.shape)
        tolerance = _SIGMAS * sigma
    order = np.argsort(gamma)
    gamma, s, sigma, tolerance = gamma[order], s[order], sigma[order], tolerance[order]
    if np.any(gamma[1:] == gamma[:-1]):
        again = gamma[1:][gamma[1:] == gamma[:-1]][0]
        raise ValueError(f"pressure must hold different values, got {again!r} twice")
    if law == "threshold":
        from scipy.optimize import isotonic_regression

        fitted = isotonic_regression(s, weights=sigma**-2.0, increasing=False).x
        low = high = tail = fitted
        excess = s - np.minimum.accumulate(s)
        converged = True
    else:
        fitted, low, high, converged = _project(gamma, s, sigma)
        tail = np.clip(fitted * (1.0 + _log_slope(gamma, fitted)), low, high)
        excess = np.maximum(s - _envelope(gamma, s), 0.0)
    # the envelope hangs on the lowest points, which noise has lowered: above it alone would accuse many
    violates = np.minimum(excess, s - fitted) > tolerance
    record = ImpliedSpectrum(
        law=law,
        pressure=gamma,
        density=s,
        fitted=fitted,
        tail_low=low,
        tail=tail,
        tail_high=high,
        excess=excess,
        violates=violates,
        probabilities=levels,
        quantiles=_quantiles(gamma, tail, levels),
        log_rms=float(np.sqrt(np.mean(np.log(s / fitted) ** 2))),
        status="violated" if violates.any() else "consistent",
    )
    if not converged:
        raise ConvergenceError("the non-negative least squares behind the spectrum did not end", record)
    return record


def _project(
    gamma: np.ndarray, s: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Return (nearest convex decreasing curve, bounds on its tail, converged).

    Atoms of flux sit at the pressures from the second on and at infinity: atom x adds (1 - gamma/x)+. Flux
    below the first pressure shows nowhere, so the atoms may sum to less than 1, not to more.
    """
    from scipy.optimize import nnls

    m = gamma.size
    design = np.ones((m, m))
    design[:, :-1] = np.maximum(1.0 - gamma[:, None] / gamma[None, 1:], 0.0)
    rows, target = design / sigma[:, None], s / sigma
    try:
        mass = nnls(rows, target)[0]
        if mass.sum() > 1.0:
            firm = _FIRM * np.abs(rows).max()
            mass = nnls(np.vstack([rows, np.full(m, firm)]), np.append(target, firm))[0]
    except RuntimeError:
        nothing = np.full(m, np.nan)
        return nothing, nothing, nothing, False
    above = np.cumsum(mass[::-1])[::-1]  # atoms at gamma_{k+1} or beyond
    return design @ mass, above, np.append(1.0, above[:-1]), True


def _log_slope(gamma: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return -d ln s/d ln gamma from the parabola through each point and its neighbours."""
    return -np.gradient(np.log(s), np.log(gamma), edge_order=2)


def _envelope(gamma: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Highest convex decreasing curve below all points and (0, 1), at the points."""
    x, y = np.append(0.0, gamma), np.append(1.0, s)
    lowest = int(np.argmin(y))
    hull = [0]
    for i in range(1, lowest + 1):
        while len(hull) > 1 and _above_chord(x, y, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return np.interp(gamma, x[hull], y[hull])  # flat beyond the lowest point


def _above_chord(x: np.ndarray, y: np.ndarray, a: int, b: int, c: int) -> bool:
    return (y[b] - y[a]) * (x[c] - x[a]) >= (y[c] - y[a]) * (x[b] - x[a])


def _quantiles(gamma: np.ndarray, tail: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Pressures where the tail falls through 1 - level, log-log between points."""
    if np.isnan(tail).any():
        return np.full(levels.size, np.nan)
    positive = tail > 0
    x, y = np.log(gamma[positive][::-1]), np.log(tail[positive][::-1])
    return np.exp(np.interp(np.log1p(-levels), y, x, left=np.nan, right=np.nan))

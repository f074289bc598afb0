"""Static pruning and what training adds to it: the exponent of a saliency distribution, and compensation.

Cutting a fixed distribution at a threshold gives s(gamma) = P(saliency > gamma), so its exponent is the local
slope of the distribution's tail. If training multiplies the survivors near the threshold by A(s) ~ s^-nu and
keeps their ranks, the threshold at density s is A(s) times the static quantile, and 1/alpha_0 =
1/alpha_static + nu: compensation makes the measured law shallower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record


@dataclass(frozen=True, eq=False)
class StaticExponent(Record):
    """Exponent of a saliency distribution between two densities.

    Attributes
    ----------
    exponent, exponent_stderr : float
        alpha_static and its standard error for independent draws, alpha/sqrt(n_used).
    low_density, high_density : float
        Ranks over n between which the slope was taken.
    n_used, n_weights : int
        Spacings used; weights in the sample.
    status : str
        "resolved".
    """

    KIND: ClassVar[str] = "static_exponent"

    exponent: float
    exponent_stderr: float
    low_density: float
    high_density: float
    n_used: int
    n_weights: int
    status: str


def static_exponent(
    saliency: ArrayLike, *, low_density: float = 0.005, high_density: float = 0.5
) -> StaticExponent:
    """Exponent of static pruning, -d ln P(S > gamma)/d ln gamma between two densities.

    With the saliencies in decreasing order X_1 >= X_2 ..., the spacings i (ln X_i - ln X_(i+1)) of a power
    tail are independent with mean 1/alpha; the estimate is one over their mean for i between the two ranks.

    Parameters
    ----------
    saliency : array_like (n,)
        S >= 0, larger is kept; those inside the window must be positive.
    low_density, high_density : float
        Window of kept fractions, 0 < low < high <= 1, that holds at least two ranks; the rank of the
        largest saliency is the least.

    Returns
    -------
    StaticExponent

    Raises
    ------
    ValueError
        If an argument is outside its domain, the window holds fewer than two ranks or a zero saliency, or all
        saliencies inside it are equal.

    References
    ----------
    This project's derivation, after Hill (Annals of Statistics 3, 1975).
    """
    saliency = validate.array("saliency", saliency, "[0, inf)")
    high_density = validate.real("high_density", high_density, "(0, 1]")
    low_density = validate.real("low_density", low_density, "(0, 1]")
    if low_density >= high_density:
        raise ValueError(f"low_density must be below high_density = {high_density!r}, got {low_density!r}")
    n = saliency.size
    first, last = max(int(np.ceil(low_density * n)), 1), int(high_density * n)
    if last - first < 1:
        raise ValueError(
            f"the window of densities must hold at least two of {n} ranks, "
            f"got {low_density!r} to {high_density!r}"
        )
    ordered = np.partition(saliency, n - last)[n - last :]
    ordered.sort()
    kept = ordered[::-1][first - 1 : last]
    if kept[-1] <= 0:
        raise ValueError(
            f"saliency must be positive at all densities up to {high_density!r}, "
            f"got {np.sum(kept > 0) + first - 1} positive values of {n}"
        )
    ranks = np.arange(first, last)
    mean = float(np.mean(ranks * -np.diff(np.log(kept))))
    if mean == 0:
        raise ValueError(
            f"saliency must vary between the densities of the window, got {kept[0]:.6g} throughout"
        )
    return StaticExponent(
        exponent=1.0 / mean,
        exponent_stderr=1.0 / mean / float(np.sqrt(ranks.size)),
        low_density=first / n,
        high_density=last / n,
        n_used=int(ranks.size),
        n_weights=n,
        status="resolved",
    )


def compensation_exponent(growth: float, kept: float) -> float:
    """Compensation exponent of iterative pruning, nu = ln(1 + e)/ln(1/q).

    Parameters
    ----------
    growth : float
        e > -1: a round of training multiplies the survivors near the threshold by 1 + e.
    kept : float
        q in (0, 1): a round keeps this part of the weights.

    Returns
    -------
    float
        nu of A(s) = s^-nu; negative if the survivors shrink.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    This project's derivation, ``derive_compensation``.
    """
    growth = validate.real("growth", growth, "(-1, inf)")
    kept = validate.real("kept", kept, "(0, 1)")
    return float(-np.log1p(growth) / np.log(kept))


def compensated_exponent(static: float, compensation: float) -> float:
    """Exponent of pruning with training in between, 1/alpha_0 = 1/alpha_static + nu.

    Parameters
    ----------
    static : float
        alpha_static > 0.
    compensation : float
        nu > -1/alpha_static; at or below that the threshold would not rise as weights are cut.

    Returns
    -------
    float
        alpha_0.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    This project's derivation, ``derive_compensation``.
    """
    static = validate.real("static", static, "(0, inf)")
    compensation = validate.real("compensation", compensation)
    if 1.0 / static + compensation <= 0:
        raise ValueError(f"compensation must be above -1/static = {-1.0 / static:.6g}, got {compensation!r}")
    return 1.0 / (1.0 / static + compensation)

"""Multipliers of a whole population whose units act on each other between refreshes.

With C_ij = da_i/dk_j and the line's slope w_j = 1/(beta a_j (1-a_j)) (0 on a clip), the loop gain becomes a
matrix G = C diag(w), and each of its eigenvalues stands where a single unit has its g. Meeting the density at
every refresh moves d0 with all estimates: G = C (diag(w) - f w^T/n_f), f marking the n_f units off the clips.

Units that act only on units further on (a feed-forward network) make C triangular: the multipliers are those
of the units one by one. Where each answers to itself alone with da/dk >= 0, holding the density
leaves all loop gains real, between 0 and the largest g, one of them 0: it never destabilises.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.theory.refresh import RefreshMap
from bbtheory.theory.refresh_stability import multiplier_pair

HOLDS = ("d0", "density")
# an eigenvalue decomposition of this many units takes minutes
LARGEST_POPULATION = 4_000


def population_multipliers(
    refresh: RefreshMap, coupling: ArrayLike | None = None, *, hold: str = "d0"
) -> np.ndarray:
    """Multipliers of all modes of a population, those of `RefreshMap.advance` with coupled on-rates.

    Parameters
    ----------
    refresh : RefreshMap
        The population at its fixed point, at most 4,000 units.
    coupling : array_like, (n, n), optional
        C_ij = da_i/dk_j, per link that unit j chooses; the diagonal is a unit's answer to its own degree.
        Left out: diag(refresh.gain).
    hold : {"d0", "density"}
        What stays the same from refresh to refresh: the offset of the line, or the mean target degree.

    Returns
    -------
    ndarray of complex, (2 n,)
        In falling order of modulus; with full steps the n trailing ones are 0. Stable iff all moduli are
        below 1.

    Raises
    ------
    ValueError
        If the coupling is not a finite (n, n) matrix, the population is too large, or hold is unknown.

    References
    ----------
    This project's derivation.

    Examples
    --------
    >>> from bbtheory import refresh_map
    >>> line = dict(beta=0.1, d0=10.0, max_degree=64.0, interval=50, ema_decay=0.98)
    >>> r = refresh_map([0.1, 0.3], gain=0.01, **line)
    >>> population_multipliers(r, hold="density").real[:2].round(3).tolist()
    [0.364, -0.14]
    """
    n = refresh.on_rate.size
    if n > LARGEST_POPULATION:
        raise ValueError(f"refresh must have at most {LARGEST_POPULATION} units, got {n}")
    if coupling is None:
        answer = np.diag(refresh.gain)
    else:
        answer = validate.array("coupling", coupling, ndim=2, shape=(n, n))
    free = (~refresh.clipped).astype(np.float64)
    chi = refresh.on_rate * (1.0 - refresh.on_rate)
    slope = np.divide(1.0, refresh.beta * chi, out=np.zeros(n), where=free > 0)
    loop = answer * slope
    if validate.choice("hold", hold, HOLDS) == "density" and free.any():
        loop = loop - np.outer(answer @ free / free.sum(), slope)
    pairs = multiplier_pair(np.linalg.eigvals(loop), refresh.memory, refresh.step_fraction)
    flat = pairs.ravel()
    return flat[np.argsort(-np.abs(flat), kind="stable")]

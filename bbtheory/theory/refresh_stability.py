"""Stability of the refresh loop of one unit: what its loop gain, the EMA's memory and the step allow.

Between two refreshes the EMA keeps a part M = d^Delta of its deviation and takes up the rest from an on-rate
that answers to the degree set before; the refresh moves the degree a fraction p of the way to its target.
Around the fixed point, with the loop gain g = (da/dk)/(beta a (1-a)) of the unit's own degree,

    estimate' = M estimate + (1-M) (da/dk) degree
    degree'   = (1-p) degree - p/(beta a (1-a)) estimate'

whose multipliers are the roots of  x^2 - (M + q - p (1-M) g) x + M q = 0,  q = 1 - p: with full steps
x = M - (1-M) g alone. Both roots lie inside the unit circle iff -1 < g < (1+M)(2-p)/((1-M) p).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate

STABLE, OSCILLATING, UNSTABLE = "stable", "oscillating", "unstable"
ONSETS = ("instability", "oscillation")


def gain_limit(memory: ArrayLike, step_fraction: float = 1.0) -> np.ndarray:
    """Loop gain at which the period-2 oscillation no longer decays, (1+M)(2-p)/((1-M) p)."""
    m = np.asarray(memory, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.divide((1.0 + m) * (2.0 - step_fraction), (1.0 - m) * step_fraction)


def oscillation_gain(memory: ArrayLike, step_fraction: float = 1.0) -> np.ndarray:
    """Loop gain above which a deviation changes sign as it decays, (sqrt M - sqrt q)^2/((1-M) p).

    With full steps M/(1-M), where the multiplier crosses 0; with partial steps the roots turn complex there.
    """
    m, q = np.asarray(memory, dtype=np.float64), 1.0 - step_fraction
    with np.errstate(divide="ignore"):
        return np.divide((np.sqrt(m) - np.sqrt(q)) ** 2, (1.0 - m) * step_fraction)


def gain_margin(gain: ArrayLike, memory: float, step_fraction: float = 1.0) -> np.ndarray:
    """Part of the admissible loop gain left unused, 1 - g/limit for g >= 0 and 1 + g below."""
    g = np.asarray(gain, dtype=np.float64)
    used = np.maximum(g / gain_limit(memory, step_fraction), -g)
    return np.subtract(1.0, used)


def leading_multiplier(gain: ArrayLike, memory: float, step_fraction: float = 1.0) -> np.ndarray:
    """Real part of the root of larger modulus; with full steps the multiplier M - (1-M) g."""
    g, q = np.asarray(gain, dtype=np.float64), 1.0 - step_fraction
    trace = np.multiply(g, -step_fraction * (1.0 - memory))
    trace += memory + q
    if q == 0:
        return trace
    squared = trace * trace - 4.0 * memory * q
    return 0.5 * (trace + np.copysign(np.sqrt(np.maximum(squared, 0.0)), trace))


def leading_modulus(gain: ArrayLike, memory: float, step_fraction: float = 1.0) -> np.ndarray:
    """Modulus of that root; two complex ones have the modulus sqrt(M q), the geometric mean of any two."""
    real = np.abs(leading_multiplier(gain, memory, step_fraction))
    return np.maximum(real, np.sqrt(memory * (1.0 - step_fraction)))


def multiplier_pair(gain: ArrayLike, memory: float, step_fraction: float = 1.0) -> np.ndarray:
    """Both roots, complex, along a new last axis; ``gain`` may be complex, as those of coupled units are.

    References
    ----------
    This project's derivation, ``derive_partial_steps``.
    """
    g, q = np.asarray(gain), 1.0 - step_fraction
    trace = (memory + q - step_fraction * (1.0 - memory) * g).astype(np.complex128)
    root = np.sqrt(trace * trace - 4.0 * memory * q)
    root = np.where((trace.conjugate() * root).real >= 0, root, -root)
    first = 0.5 * (trace + root)
    # the product of the roots gives the smaller one without cancellation
    second = np.where(first == 0, 0.0, memory * q / np.where(first == 0, 1.0, first))
    return np.stack([first, second], axis=-1)


def stability_boundary(
    sensitivity: ArrayLike,
    *,
    interval: ArrayLike | None = None,
    ema_decay: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    step_fraction: float = 1.0,
    onset: str = "instability",
) -> np.ndarray:
    """Where the refresh starts to oscillate or to diverge: the third of interval, ema_decay, beta from two.

    There g = sensitivity/beta is (1+M)(2-p)/((1-M) p), or (sqrt M - sqrt q)^2/((1-M) p), M = d^Delta.

    Parameters
    ----------
    sensitivity : array_like
        (da/dk)/(a (1-a)) > 0, nats per link: how far a unit's log-odds fall with each link of its own. (Where
        they rise, no interval matters: the unit runs away for beta below the rise.)
    interval : array_like, optional
        Steps between refreshes, >= 1; real, so that a curve is smooth.
    ema_decay : array_like, optional
        d in [0, 1).
    beta : array_like, optional
        Slope of the balance > 0, nats per link. Exactly two of the three, of shapes that broadcast.
    step_fraction : float
        p in (0, 1], the part of the way to its target that a refresh moves a degree.
    onset : {"instability", "oscillation"}
        Period 2 growing, or a deviation that changes sign at all.

    Returns
    -------
    ndarray
        The missing one. interval: the longest on the quiet side (real; infinite where every one is, 0 where
        none is); ema_decay: the smallest (0 where every one is); beta: the smallest (0 where every one is).
        With partial steps oscillation can cease again at much longer intervals; the first onset is given.

    Raises
    ------
    ValueError
        If an argument is outside its domain, or not exactly two of the three are given.

    References
    ----------
    This project's derivation, ``derive_partial_steps``.

    Examples
    --------
    >>> float(stability_boundary(1.0, ema_decay=0.98, beta=0.5).round(2))
    54.38
    """
    given = {"interval": interval, "ema_decay": ema_decay, "beta": beta}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) != 1:
        named = ", ".join(name for name in given if name not in missing) or "none"
        raise ValueError(f"exactly two of interval, ema_decay, beta must be given, got {named}")
    slope = validate.array("sensitivity", sensitivity, "(0, inf)", ndim=None)
    p = validate.real("step_fraction", step_fraction, "(0, 1]")
    limit = gain_limit if validate.choice("onset", onset, ONSETS) == "instability" else oscillation_gain
    delta = None if interval is None else validate.array("interval", interval, "[1, inf)", ndim=None)
    decay = None if ema_decay is None else validate.array("ema_decay", ema_decay, "[0, 1)", ndim=None)
    price = None if beta is None else validate.array("beta", beta, "(0, inf)", ndim=None)
    with np.errstate(divide="ignore", invalid="ignore"):
        if price is None:
            assert decay is not None
            assert delta is not None
            return slope / limit(decay**delta, p)
        memory = _memory_at(slope / price, p, limit is gain_limit)
        if delta is not None:
            return memory ** (1.0 / delta)
        assert decay is not None
        longest = np.where(memory == 0, np.inf, np.log(memory) / np.log(decay))
        return np.where((decay == 0) & (memory > 0), 0.0, longest)


def _memory_at(gain: np.ndarray, p: float, instability: bool) -> np.ndarray:
    """Memory M at which the limit equals the gain; 0 where it never falls to it."""
    if instability:
        return np.maximum((gain * p - (2.0 - p)) / (gain * p + (2.0 - p)), 0.0)
    q = 1.0 - p
    return ((np.sqrt(q) + np.sqrt(gain * p * (p + gain * p))) / (1.0 + gain * p)) ** 2

"""Codes of up to 20 binary units, exactly: the probability of every state and what follows from it.

State s of 2^n has unit i on where bit i of s is set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record

MAX_UNITS = 20  # 2^20 states: 8 MB a vector

_NORMALISED = 1e-9  # probabilities from a file or a histogram add to one up to rounding


@dataclass(frozen=True, eq=False)
class BinaryCode(Record):
    """A distribution over the states of n binary units.

    Attributes
    ----------
    probability : ndarray (2^n,)
        p(h), state s has unit i on where bit i of s is set.
    """

    KIND: ClassVar[str] = "binary_code"
    UNITS: ClassVar[Mapping[str, str]] = {"on_rate": "on_rate"}
    DERIVED: ClassVar[tuple[str, ...]] = ("n_units", "entropy")
    HIDDEN: ClassVar[tuple[str, ...]] = ("probability",)

    probability: np.ndarray

    def __post_init__(self) -> None:
        """Check that the probabilities are one distribution over 2^n states.

        Raises
        ------
        ValueError
            If ``probability`` has another length, a value outside [0, 1], or does not add to one.
        """
        p = validate.array("probability", self.probability, "[0, 1]")
        n = p.size.bit_length() - 1
        if p.size != 2**n or not 1 <= n <= MAX_UNITS:
            raise ValueError(f"probability must have 2^n elements for 1 to {MAX_UNITS} units, got {p.size}")
        if abs(p.sum() - 1.0) > _NORMALISED:
            raise ValueError(f"probability must add to 1, got {p.sum():.12g}")
        object.__setattr__(self, "probability", p)
        super().__post_init__()

    @property
    def n_units(self) -> int:
        """Number of units n."""
        return self.probability.size.bit_length() - 1

    @cached_property
    def entropy(self) -> float:
        """H(h) = -sum_h p ln p, nats: the coding entropy of the units together."""
        p = self.probability
        return float(-(p * np.log(np.where(p > 0, p, 1.0))).sum())

    @property
    def on_rate(self) -> np.ndarray:
        """a_i = E[h_i], shape (n,)."""
        return np.diagonal(self.coactivation)

    @cached_property
    def coactivation(self) -> np.ndarray:
        """q_ij = E[h_i h_j], shape (n, n), q_ii = a_i.

        Marginals by folding: units are summed out from the last on, so all pairs cost some 4 passes.
        """
        n, p = self.n_units, self.probability
        q = np.empty((n, n))
        for i in reversed(range(n)):
            on = p[2**i :]
            q[i, i] = on.sum()
            p = p[: 2**i] + on
            for j in reversed(range(i)):
                q[i, j] = q[j, i] = on[2**j :].sum()
                on = on[: 2**j] + on[2**j :]
        q.flags.writeable = False
        return q

    @cached_property
    def covariance(self) -> np.ndarray:
        """C_ij = q_ij - a_i a_j, shape (n, n)."""
        return self.coactivation - np.outer(self.on_rate, self.on_rate)

    @cached_property
    def correlation(self) -> np.ndarray:
        """rho_ij = C_ij / sqrt(C_ii C_jj), shape (n, n); NaN beside a unit that never changes."""
        sd = np.sqrt(np.diagonal(self.covariance))
        scale = np.outer(sd, sd)
        rho = np.full(scale.shape, np.nan)
        np.divide(self.covariance, scale, out=rho, where=scale > 0)
        rho[np.diag_indices_from(rho)] = np.where(sd > 0, 1.0, np.nan)
        return rho


def independent_code(on_rate: ArrayLike) -> BinaryCode:
    """Code of independent units, p(h) = prod_i a_i^h_i (1-a_i)^(1-h_i).

    Parameters
    ----------
    on_rate : array_like (n,)
        a_i in [0, 1], n <= 20.

    Returns
    -------
    BinaryCode

    Raises
    ------
    ValueError
        If an on-rate is outside [0, 1] or there are more than 20 units.
    """
    a = validate.array("on_rate", on_rate, "[0, 1]")
    at_most("on_rate", a.size, MAX_UNITS)
    p = np.ones(1)
    for rate in a:
        p = np.concatenate([p * (1.0 - rate), p * rate])
    return BinaryCode(probability=p)


def at_most(name: str, n: int, limit: int) -> None:
    """Raise ValueError if there are more units than can be enumerated."""
    if n > limit:
        raise ValueError(f"{name} must have at most {limit} units to enumerate their states, got {n}")

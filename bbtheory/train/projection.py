"""Masks that hardware and block kernels can use, as close as possible to the degrees a theory asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.entropy import inactivity_log_odds
from bbtheory.train.selection import clean_counts, keep_largest


def project_to_groups(weight: Tensor, degrees: Tensor | int, *, n: int = 2, m: int = 4) -> Tensor:
    """Keep at most n of every m neighbouring weights of a row, and of them the row's degree: an N:M mask.

    maximise sum_j mask_j |w_j|
    subject to sum over each group <= n, sum over the row = min(degree, capacity).

    The groups begin at column 0; a last one of fewer columns may keep n as well. ``capacity`` is the most
    that all groups of a row together may keep.

    Parameters
    ----------
    weight : Tensor, shape (n_out, n_in)
        Weights without NaN; compared by magnitude.
    degrees : Tensor of integers, shape (n_out,), or int
        Links each row is to keep, in [0, n_in].
    n, m : int
        1 <= n <= m. 2 and 4 is what sparse tensor cores take.

    Returns
    -------
    Tensor of bool, shape (n_out, n_in)
        True = kept; of equal magnitudes the lowest index.

    Raises
    ------
    ValueError
        If ``weight`` or ``degrees`` do not fit `keep_largest`, or n and m not each other.

    Notes
    -----
    Each group nominates its n largest; the row keeps its ``degree`` largest nominees. This greedy choice is
    optimal: take any mask that meets the constraints. Its j-th largest weight of a group is at most the
    group's j-th nominee, so putting nominees in place of the kept weights, group by group, loses nothing and
    leaves ``degree`` of them; the largest ``degree`` nominees are worth at least as much, and break no
    group's limit. (The constraints are a partition matroid, truncated.)

    References
    ----------
    This project's derivation; the greedy theorem of matroids is Edmonds (1971).
    """
    m = validate.integer("m", m, "[1, inf)")
    n = validate.integer("n", n, f"[1, {m}]")
    n_out, n_in = _shape(weight)
    degrees = clean_counts("degrees", degrees, n_out, n_in, weight.device)
    size = weight.detach().abs()
    n_groups = -(-n_in // m)
    padded = size.new_full((n_out, n_groups * m), -torch.inf)  # padding stands behind every weight
    padded[:, :n_in] = size
    nominated = keep_largest(padded.reshape(-1, m), n).reshape(n_out, -1)[:, :n_in]
    capacity = n * (n_in // m) + min(n, n_in % m)
    return keep_largest(size.masked_fill(~nominated, -torch.inf), degrees.clamp(max=capacity))


def project_to_blocks(weight: Tensor, degrees: Tensor | int, *, block: tuple[int, int] = (4, 4)) -> Tensor:
    """Keep or cut whole blocks, as many in each row of blocks as brings its rows closest to their degrees.

    q = argmin sum_r |q b_in - degree_r| over the b_out rows of a row of blocks; then the q blocks with the
    largest sum of |w|.

    Parameters
    ----------
    weight : Tensor, shape (n_out, n_in)
        Weights without NaN; compared by magnitude.
    degrees : Tensor of integers, shape (n_out,), or int
        Links each row is to keep, in [0, n_in].
    block : (int, int)
        Rows b_out and columns b_in of a block; they divide n_out and n_in.

    Returns
    -------
    Tensor of bool, shape (n_out, n_in)
        True = kept; all rows of a row of blocks have one degree, a multiple of b_in. Of equal sums the lowest
        index is kept, of equally close q the smaller.

    Raises
    ------
    ValueError
        If ``weight`` or ``degrees`` do not fit `keep_largest`, or ``block`` does not divide the weights.

    Notes
    -----
    The deviation is convex in q and least, over the reals, where q b_in is a median of the degrees: the best
    integer is one of the two beside it. Blocks do not compete across rows of blocks, so the q largest are the
    best q.
    """
    n_out, n_in = _shape(weight)
    if not isinstance(block, tuple) or len(block) != 2:
        raise ValueError(f"block must be two integers, got {block!r}")
    b_out, b_in = (validate.integer("block", side, "[1, inf)") for side in block)
    if n_out % b_out or n_in % b_in:
        raise ValueError(f"block must divide the weights' shape {(n_out, n_in)}, got {block}")
    degrees = clean_counts("degrees", degrees, n_out, n_in, weight.device).reshape(-1, b_out)
    below = degrees.median(dim=1).values // b_in
    above = (below + 1).clamp(max=n_in // b_in)
    miss_below = (below[:, None] * b_in - degrees).abs().sum(1)
    miss_above = (above[:, None] * b_in - degrees).abs().sum(1)
    n_kept = torch.where(miss_above < miss_below, above, below)
    size = weight.detach().abs().double().reshape(n_out // b_out, b_out, n_in // b_in, b_in)
    kept = keep_largest(size.sum((1, 3)), n_kept)
    return kept.repeat_interleave(b_out, dim=0).repeat_interleave(b_in, dim=1)


def _shape(weight: Tensor) -> tuple[int, int]:
    validate.instance("weight", weight, Tensor)
    if weight.ndim != 2:
        raise ValueError(f"weight must have 2 axes, got shape {tuple(weight.shape)}")
    return weight.shape[0], weight.shape[1]


@dataclass(frozen=True, eq=False)
class Projection(Record):
    """What a projected mask left of the degrees, the weights and the balance (`measure_projection`)."""

    KIND: ClassVar[str] = "projection"
    UNITS: ClassVar[dict[str, str]] = {"target": "target", "degree": "degree", "deviation": "deviation"}
    DERIVED: ClassVar[tuple[str, ...]] = ("density", "mean_deviation", "max_deviation", "kept_of_free")

    n_in: int
    """Links a row could have."""
    target: np.ndarray
    """Degree each row was to have."""
    degree: np.ndarray
    """Degree each row has."""
    kept_magnitude: float
    """Sum of |w| over the mask, as a fraction of the sum over all weights (NaN if that is 0)."""
    free_magnitude: float
    """The same of the mask that keeps the largest |w| of each row at the target degrees."""
    target_slope: float
    """Least-squares slope of the inactivity log-odds against the target degree, nats per link; NaN without
    on-rates or where all degrees are equal."""
    slope: float
    """The same against the degree after the projection."""

    @property
    def deviation(self) -> np.ndarray:
        """Links of each row above its target."""
        return self.degree - self.target

    @property
    def density(self) -> float:
        """Kept fraction of all weights."""
        return float(self.degree.mean() / self.n_in)

    @property
    def mean_deviation(self) -> float:
        """Mean |degree - target| in links."""
        return float(np.abs(self.deviation).mean())

    @property
    def max_deviation(self) -> int:
        """Largest |degree - target| in links."""
        return int(np.abs(self.deviation).max())

    @property
    def kept_of_free(self) -> float:
        """kept_magnitude / free_magnitude: what the pattern, and a changed degree, cost."""
        return self.kept_magnitude / self.free_magnitude if self.free_magnitude > 0.0 else float("nan")


def measure_projection(
    weight: Tensor, mask: Tensor, degrees: Tensor | int, on_rate: Tensor | None = None
) -> Projection:
    """Compare a projected mask with the degrees it was to have: degrees, kept magnitude, balance.

    Parameters
    ----------
    weight : Tensor, shape (n_out, n_in)
        Weights before the projection.
    mask : Tensor of bool, shape (n_out, n_in)
        Mask after it.
    degrees : Tensor of integers, shape (n_out,), or int
        Links each row was to keep.
    on_rate : Tensor, shape (n_out,), optional
        On-rates a_i in [0, 1], for the slope beta of the balance log((1-a)/a) = beta (k - d0); units at 0 or
        1, whose log-odds are infinite, are left out of it.

    Returns
    -------
    Projection

    Raises
    ------
    ValueError
        If shapes, dtypes or domains do not fit.
    """
    n_out, n_in = _shape(weight)
    validate.instance("mask", mask, Tensor)
    if mask.dtype != torch.bool or mask.shape != weight.shape:
        raise ValueError(
            f"mask must be bool of shape {(n_out, n_in)}, got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    target = clean_counts("degrees", degrees, n_out, n_in, weight.device)
    free = keep_largest(weight, target, magnitude=True)
    size = weight.detach().abs().double()
    total = float(size.sum())

    def fraction(kept: Tensor) -> float:
        return float(size[kept].sum()) / total if total > 0.0 else float("nan")

    log_odds = np.full(n_out, np.inf)
    if on_rate is not None:
        values = on_rate.detach().double().cpu().numpy()
        log_odds = inactivity_log_odds(validate.array("on_rate", values, "[0, 1]", shape=(n_out,)))
    wanted, got = target.cpu().numpy(), mask.sum(1).cpu().numpy()
    return Projection(
        n_in=n_in,
        target=wanted,
        degree=got,
        kept_magnitude=fraction(mask),
        free_magnitude=fraction(free),
        target_slope=_slope(wanted, log_odds),
        slope=_slope(got, log_odds),
    )


def _slope(degree: np.ndarray, log_odds: np.ndarray) -> float:
    finite = np.isfinite(log_odds)
    if not finite.any():
        return float("nan")
    centred = degree[finite] - degree[finite].mean()
    spread = float(centred @ centred)
    return float(centred @ log_odds[finite]) / spread if spread > 0.0 else float("nan")

"""SparseGPT: weights of one layer are cut column by column, and those not yet looked at make up for it."""

from __future__ import annotations

import torch
from torch import Tensor

from bbtheory import validate
from bbtheory.train.selection import keep_largest

_DAMPING = 0.01  # of the mean diagonal, added to it: inputs that nearly never vary
_BLOCK = 128


def sparse_gpt(
    weight: Tensor,
    gram: Tensor,
    density: float,
    *,
    groups: tuple[int, int] | None = None,
    mask: Tensor | None = None,
    damping: float = _DAMPING,
    block: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Cut links of a layer so that its outputs change little: minimise |W X - W' X|^2 for inputs X.

    With H = X X^T and U the upper Cholesky factor of its inverse, H^-1 = U^T U, the columns are gone through
    from left to right. A weight w_rj of score w_rj^2 / U_jj^2 that is cut leaves the error e = w_rj / U_jj,
    and the columns after it take over what they can, w_rk -= e U_jk for k > j: the optimal brain surgeon's
    update over the columns not yet looked at. Which links go is decided in blocks of columns, those of the
    lowest scores in the block's rows together; where n of every m are kept, in each group when its first
    column is reached. Fewer than n of every m are chosen in blocks, among the n best of each group.

    Parameters
    ----------
    weight : Tensor, shape (n_out, n_in)
    gram : Tensor, shape (n_in, n_in)
        H up to a factor, such as sum or mean of x x^T over samples and positions.
    density : float
        Kept / all weights, in (0, 1]; met within one link. With groups at most n/m.
    groups : (n, m), optional
        At most n of every m neighbours of a row; m divides n_in.
    mask : Tensor of bool, shape (n_out, n_in), optional
        True = kept, chosen beforehand; then density and groups are not used.
    damping : float
        Share of the mean of H's diagonal that is added to it, >= 0.
    block : int, optional
        Columns that are decided together, >= 1; rounded up to whole groups. By default 128, the original's,
        or a quarter of the columns where that is fewer.

    Returns
    -------
    weight, mask : Tensors
        The new weight, zero where it is cut, of the old one's type; True = kept.

    Raises
    ------
    ValueError
        If shapes, types or domains do not fit, or H is not positive definite with its damping.

    Notes
    -----
    Columns whose input is always zero have no say: their H_jj is set to 1 and their weights to 0, so they go
    first. U_jj falls from left to right within the columns that are left to make up for column j: in a block
    that is most of a narrow layer, the left columns would be cut whole.

    References
    ----------
    Frantar and Alistarh 2023 (arXiv 2301.00774), algorithm 1 and section 3.4 (n:m).
    """
    validate.instance("weight", weight, Tensor)
    validate.instance("gram", gram, Tensor)
    if weight.dim() != 2 or gram.shape != (weight.shape[1],) * 2:
        raise ValueError(
            f"gram must have a row and a column for each column of weight {tuple(weight.shape)}, "
            f"got shape {tuple(gram.shape)}"
        )
    density = validate.real("density", density, "(0, 1]")
    damping = validate.real("damping", damping, "[0, inf)")
    n_out, n_in = weight.shape
    few = max(min(_BLOCK, n_in // 4), 1)
    block = few if block is None else validate.integer("block", block, "[1, inf)")
    n, m = (1, 1) if groups is None else (validate.integer("groups", g, "[1, inf)") for g in groups)
    if groups is not None and (n > m or n_in % m or (mask is None and density > n / m)):
        raise ValueError(
            f"groups must be n:m with m a divisor of {n_in} and n/m at least the density {density:g}, "
            f"got {groups}"
        )
    if mask is not None and (mask.dtype != torch.bool or mask.shape != weight.shape):
        raise ValueError(f"mask must be bool of shape {(n_out, n_in)}, got {mask.dtype} {tuple(mask.shape)}")
    kind = torch.float64 if weight.device.type == "cpu" else torch.float32
    w, h = weight.detach().to(kind, copy=True), gram.detach().to(kind, copy=True)
    silent = h.diagonal() == 0
    h.diagonal()[silent] = 1.0
    w[:, silent] = 0.0
    factor = _inverse_factor(h, damping)
    kept = torch.zeros_like(weight, dtype=torch.bool) if mask is None else mask.clone()
    by_group = mask is None and groups is not None and density == n / m
    size = -(-block // m) * m
    used = 0
    for begin in range(0, n_in, size):
        end = min(begin + size, n_in)
        part, u = w[:, begin:end], factor[begin:end, begin:end]
        if mask is None and not by_group:
            wanted = round(density * n_out * end) - used
            used += wanted
            kept[:, begin:end] = _best((part / u.diagonal()).square(), wanted, n, m)
        error = torch.zeros_like(part)
        for j in range(end - begin):
            if by_group and j % m == 0:
                group = slice(j, j + m)
                score = (part[:, group] / u.diagonal()[group]).square()
                kept[:, begin + j : begin + j + m] = keep_largest(score, n)
            keep = kept[:, begin + j]
            error[:, j] = part[:, j].masked_fill(keep, 0.0) / u[j, j]
            part[:, j] *= keep
            part[:, j + 1 :] -= error[:, j : j + 1] * u[j, j + 1 :]
        w[:, end:] -= error @ factor[begin:end, end:]
    return w.masked_fill_(~kept, 0.0).to(weight.dtype), kept


def _inverse_factor(h: Tensor, damping: float) -> Tensor:
    """Return U of H^-1 = U^T U, upper, after damping."""
    h.diagonal().add_(damping * h.diagonal().mean())
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
        return torch.linalg.cholesky(inverse, upper=True)
    except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage]  # documented there
        raise ValueError(
            "gram must be positive definite with its damping, got one that is not: give a larger damping or "
            "more samples"
        ) from None


def _best(score: Tensor, wanted: int, n: int, m: int) -> Tensor:
    """Keep the best scores of a block; of every m neighbours in a row at most n, where m > 1."""
    if m > 1:
        nominated = keep_largest(score.reshape(-1, m), n).reshape(score.shape)
        score = score.masked_fill(~nominated, -1.0)
    return keep_largest(score.reshape(1, -1), wanted).reshape(score.shape)

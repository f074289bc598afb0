"""Experimental: which keys each attention head keeps under a budget of traffic or by the balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.train.attention import AttentionTraffic


@dataclass(frozen=True, eq=False)
class TokenBudget(Record):
    """Keys that each head keeps, and what they carry: a row per head, token. Experimental."""

    KIND: ClassVar[str] = "token_budget"
    UNITS: ClassVar[Mapping[str, str]] = {n: n for n in ("head", "token", "traffic", "kept")}
    DERIVED: ClassVar[tuple[str, ...]] = ("n_keys", "attention_kept")

    rule: str
    n_heads: int
    head: np.ndarray
    token: np.ndarray
    traffic: np.ndarray
    kept: np.ndarray
    on_rate: np.ndarray
    target: np.ndarray  # keys that the balance asks of each head, before rounding; NaN under the threshold

    @property
    def mask(self) -> np.ndarray:
        """Bool (n_heads, n_tokens), True = kept."""
        return self.kept.reshape(self.n_heads, -1)

    @property
    def n_keys(self) -> np.ndarray:
        """Keys kept by each head."""
        return self.mask.sum(1)

    @property
    def attention_kept(self) -> np.ndarray:
        """Share of each head's attention that went to the keys it keeps, in [0, 1]."""
        return (self.mask * self.on_rate.reshape(self.n_heads, -1)).sum(1)

    def attn_mask(self, n_queries: int, valid: torch.Tensor) -> torch.Tensor:
        """Return the mask as nn.MultiheadAttention takes it: True = not attended.

        Parameters
        ----------
        n_queries : int
        valid : bool tensor (batch, n_tokens)
            Real key tokens; all True where nothing is padded. In a sequence where padding has taken all keys
            of a head, the head keeps every real one.

        Returns
        -------
        bool tensor (batch * n_heads, n_queries, n_tokens)
            ``~mask.unflatten(0, (-1, n_heads))`` is what ``scaled_dot_product_attention`` takes.

        Raises
        ------
        ValueError
            If n_queries is not positive or valid has another shape or type.
        """
        n_queries = validate.integer("n_queries", n_queries, "[1, inf)")
        mask = torch.from_numpy(self.mask.copy()).to(valid.device)
        if valid.dtype != torch.bool or valid.dim() != 2 or valid.shape[1] != mask.shape[1]:
            raise ValueError(
                f"valid must be bool of shape (batch, {mask.shape[1]}), "
                f"got {valid.dtype} of shape {tuple(valid.shape)}"
            )
        kept = mask & valid[:, None]  # (batch, heads, tokens)
        kept = torch.where(kept.any(2, keepdim=True), kept, valid[:, None])
        return ~kept.flatten(0, 1)[:, None].expand(-1, n_queries, -1)


def budget_tokens(
    measured: AttentionTraffic,
    *,
    tau: float | None = None,
    beta: float | None = None,
    d0: float | None = None,
    always: Sequence[int] = (),
) -> TokenBudget:
    """Choose the keys that each head keeps, by one of two rules; padding is never kept.

    threshold (tau): a key stays while its traffic is within tau, a_hj k_h <= tau, as a unit's links under
    the threshold rule; the busiest keys go. balance (beta, d0): head h keeps n_h keys, the most attended,
    n_h = clip(d0 + L(a_h)/beta, 1, real keys) rounded half up; heads that attend widely keep more. Either
    way a head keeps one key at least: the one of least traffic, or the most attended. Ties: lowest index.

    Parameters
    ----------
    measured : AttentionTraffic
    tau : float
        Links per query, > 0.
    beta : float
        Nats per key, > 0.
    d0 : float
        Keys of a head at a_h = 1/2.
    always : sequence of int
        Tokens kept in any case where they are real, beside the others; under a causal mask the first one has
        to be among them, for a query that sees no key gives NaN.

    Returns
    -------
    TokenBudget

    Raises
    ------
    ValueError
        If not exactly one rule is given, a number is outside its domain, or a token does not exist.

    References
    ----------
    This project's definition (experimental); the rules of units: Budgeted Broadcast, arXiv 2510.01263.
    """
    validate.instance("measured", measured, AttentionTraffic)
    rule = {"tau": "threshold", "beta": "balance"}[validate.exactly_one(tau=tau, beta=beta)]
    if (beta is None) != (d0 is None):
        raise ValueError(f"d0 must be given with beta and only then, got d0={d0!r}, beta={beta!r}")
    shape = (measured.n_heads, -1)
    real, traffic = measured.real.reshape(shape), measured.traffic.reshape(shape)
    target = np.full(measured.n_heads, np.nan)
    if tau is not None:
        kept = real & (traffic <= validate.real("tau", tau, "(0, inf)"))
        least = np.where(real, traffic, np.inf).argmin(1)
        kept[np.arange(len(kept)), least] = True
    else:
        slope = validate.real("beta", beta, "(0, inf)")
        wanted = validate.real("d0", d0) + measured.head_log_odds / slope
        target = np.clip(wanted, 1.0, real.sum(1))
        order = np.argsort(np.where(real, -measured.on_rate.reshape(shape), np.inf), axis=1, kind="stable")
        rank = np.argsort(order, axis=1)
        kept = rank < np.floor(target + 0.5)[:, None]
    for token in always:
        token = validate.integer("always", token, f"[0, {real.shape[1]})")
        kept[:, token] = real[:, token]
    return TokenBudget(
        rule=rule,
        n_heads=measured.n_heads,
        head=measured.head,
        token=measured.token,
        traffic=measured.traffic,
        kept=kept.reshape(-1),
        on_rate=measured.on_rate,
        target=target,
    )

"""Experimental: traffic in attention, where the source of Budgeted Broadcast leaves the question open.

A key token j is "on" for a query i of head h to the degree that it is attended, A_hij in [0, 1] with
sum_j A_hij = 1. This project's definition, no source's:

    on-rate   a_hj = mean over queries i and sequences of A_hij      (attention received per query),
    fan-out   k_h  = kept output weights that read the values of head h,
    traffic   t_hj = a_hj k_h                                        (links per query).

The on-rates of a head sum to 1 over its keys, so unlike those of units they are not free of each other: a
head's traffic is k_h however it attends, and only its spread over tokens is a matter of attention. The
balance is read from the log-odds L(a) = ln((1-a)/a). A head's own on-rate is that of the key which an
attended event meets,

    a_h = sum_j a_hj^2 / sum_j a_hj                                  (1: one key gets all; 1/n: all n alike),

so that L(a_h) is large where a head attends widely. token_budget.py says which keys a head keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.entropy import inactivity_log_odds


@dataclass(frozen=True, eq=False)
class AttentionTraffic(Record):
    """Attention received by each key token of each head, and the links it drives: a row per head, token."""

    KIND: ClassVar[str] = "attention_traffic"
    UNITS: ClassVar[Mapping[str, str]] = {
        n: n for n in ("head", "token", "on_rate", "fan_out", "traffic", "real")
    }
    DERIVED: ClassVar[tuple[str, ...]] = ("head_fan_out", "head_on_rate", "head_log_odds")

    n_heads: int
    n_queries: int  # real ones, over all sequences
    head: np.ndarray
    token: np.ndarray
    on_rate: np.ndarray
    fan_out: np.ndarray
    real: np.ndarray  # whether the token is one in any sequence, not padding in all

    @property
    def traffic(self) -> np.ndarray:
        """Links that a token drives per query."""
        return self.on_rate * self.fan_out

    @property
    def head_fan_out(self) -> np.ndarray:
        """Kept output weights of each head."""
        return self.fan_out.reshape(self.n_heads, -1)[:, 0]

    @property
    def head_on_rate(self) -> np.ndarray:
        """On-rate a_h of each head."""
        rates = self.on_rate.reshape(self.n_heads, -1)
        return np.minimum((rates**2).sum(1) / rates.sum(1), 1.0)

    @property
    def head_log_odds(self) -> np.ndarray:
        """Log-odds L(a_h) of each head, to be held against `head_fan_out`; -inf where one key gets all."""
        return inactivity_log_odds(self.head_on_rate)


def measure_attention(
    attention: nn.MultiheadAttention,
    query: torch.Tensor,
    key: torch.Tensor | None = None,
    *,
    valid: torch.Tensor | None = None,
    attn_mask: torch.Tensor | None = None,
) -> AttentionTraffic:
    """Measure who is attended to in one batch, t_hj = a_hj k_h.

    Parameters
    ----------
    attention : nn.MultiheadAttention
        Run without gradients and in evaluation mode (no dropout of attention), and left in its mode.
    query, key : tensors
        As the module takes them, with a batch; key is the query if not given (self-attention).
    valid : bool tensor (batch, n_keys), optional
        Real key tokens; in self-attention the others do not ask either.
    attn_mask : tensor, optional
        As the module takes it.

    Returns
    -------
    AttentionTraffic

    Raises
    ------
    ValueError
        If the module is no MultiheadAttention, the input has no batch, or no token is real.

    References
    ----------
    This project's definition (experimental).
    """
    validate.instance("attention", attention, nn.MultiheadAttention)
    if query.dim() != 3:
        raise ValueError(f"query must have 3 axes, with a batch, got shape {tuple(query.shape)}")
    if valid is not None and not bool(valid.any()):
        raise ValueError("valid must name at least one real token, got none")
    keys = query if key is None else key
    was_training = attention.training
    try:
        attention.eval()
        with torch.no_grad():
            weights = attention(
                query,
                keys,
                keys,
                key_padding_mask=None if valid is None else ~valid,
                attn_mask=attn_mask,
                average_attn_weights=False,
            )[1]
    finally:
        attention.train(was_training)
    weights = weights.to(torch.float64)  # (batch, heads, queries, keys)
    asks = torch.ones(weights.shape[0], weights.shape[2], dtype=torch.bool, device=weights.device)
    if valid is not None and key is None:
        asks = valid
    n_queries = int(asks.sum())
    received = (weights * asks[:, None, :, None]).sum((0, 2)) / n_queries
    n_heads, n_keys = received.shape
    real = np.ones(n_keys, bool) if valid is None else valid.any(0).cpu().numpy()
    kept = attention.out_proj.weight.detach().ne(0).sum(0).reshape(n_heads, -1).sum(1)
    return AttentionTraffic(
        n_heads=n_heads,
        n_queries=n_queries,
        head=np.repeat(np.arange(n_heads), n_keys),
        token=np.tile(np.arange(n_keys), n_heads),
        on_rate=received.reshape(-1).cpu().numpy(),
        fan_out=np.repeat(kept.cpu().numpy(), n_keys),
        real=np.tile(real, n_heads),
    )

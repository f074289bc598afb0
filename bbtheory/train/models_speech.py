"""A speech recogniser: a convolution that shortens time, a Pre-LN Transformer encoder, and CTC."""

from __future__ import annotations

import math

import torch
from torch import nn

from bbtheory import validate
from bbtheory.train.utterances import Batch

BLANK = 0  # of CTC
STRIDE = 4  # frames from one position to the next


class FeedForward(nn.Module):
    """lin2(GELU(lin1(x))), position by position."""

    def __init__(self, d_model: int, d_ff: int, dropout: float):
        super().__init__()
        self.lin1 = nn.Linear(d_model, d_ff)
        self.act = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.lin2 = nn.Linear(d_ff, d_model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., d_model) to (..., d_model)."""
        return self.lin2(self.dropout(self.act(self.lin1(x))))


class SelfAttention(nn.Module):
    """Multi-head attention of positions to real positions."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """(batch, positions, d_model); ``real`` (batch, positions) says which are no padding."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None, :])
        return self.out(mixed.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)); the latter at real positions only."""

    def __init__(self, d_model: int, d_ff: int, n_heads: int, dropout: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = SelfAttention(d_model, n_heads)
        self.norm2 = nn.LayerNorm(d_model)
        self.ffn = FeedForward(d_model, d_ff, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, real: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(batch, positions, d_model); ``places`` are the real positions, counted through the batch."""
        x = x + self.dropout(self.attention(self.norm1(x), real))
        # padding never enters the feed-forward part: on-rates, scores and gradients see real positions alone
        rows = x.flatten(0, 1)
        change = self.dropout(self.ffn(self.norm2(rows[places])))
        return rows.index_add(0, places, change.to(rows.dtype)).view_as(x)


class SpeechEncoder(nn.Module):
    """A convolution of stride 4 in time, n_layers of a Pre-LN Transformer encoder, and a linear output.

    The convolution spans 7 frames and is linear: with activations of its own it would do the work of the
    feed-forward parts, whose masks could then change nothing (random masks of density 0.01 did as well as the
    dense network). What is computed for an utterance does not depend on the padding of its batch (up to
    rounding), and the layers ``layers.i.ffn.lin1`` and ``lin2`` never see padding.

    Parameters
    ----------
    n_mels : int
        Features per frame.
    n_symbols : int
        Without the blank, which is output 0.
    d_model, d_ff, n_layers, n_heads : int
        The defaults are those of the Budgeted Broadcast speech experiment (encoder).
    dropout : float
        In [0, 1).
    seed : int
        Of the weights, >= 0; the global generator is left alone.

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """

    def __init__(
        self,
        n_mels: int,
        n_symbols: int,
        *,
        d_model: int = 384,
        d_ff: int = 1536,
        n_layers: int = 4,
        n_heads: int = 8,
        dropout: float = 0.1,
        seed: int = 0,
    ):
        super().__init__()
        n_mels = validate.integer("n_mels", n_mels, "[1, inf)")
        n_symbols = validate.integer("n_symbols", n_symbols, "[1, inf)")
        d_ff = validate.integer("d_ff", d_ff, "[1, inf)")
        n_layers = validate.integer("n_layers", n_layers, "[1, inf)")
        n_heads = validate.integer("n_heads", n_heads, "[1, inf)")
        d_model = validate.integer("d_model", d_model, "[2, inf)")
        dropout = validate.real("dropout", dropout, "[0, 1)")
        if d_model % n_heads or d_model % 2:
            raise ValueError(f"d_model must be even and a multiple of n_heads={n_heads}, got {d_model}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(validate.integer("seed", seed, "[0, inf)"))
            self.conv = nn.Conv1d(n_mels, d_model, 2 * STRIDE - 1, stride=STRIDE, padding=STRIDE - 1)
            self.dropout = nn.Dropout(dropout)
            self.layers = nn.ModuleList(
                EncoderLayer(d_model, d_ff, n_heads, dropout) for _ in range(n_layers)
            )
            self.norm = nn.LayerNorm(d_model)
            self.head = nn.Linear(d_model, n_symbols + 1)

    @property
    def ffn_layers(self) -> list[str]:
        """Names of the layers in the feed-forward parts."""
        return [f"layers.{i}.ffn.{part}" for i in range(len(self.layers)) for part in ("lin1", "lin2")]

    def forward(self, features: torch.Tensor, n_frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (batch, positions, 1 + n_symbols), and how many positions of each utterance are real.

        Parameters
        ----------
        features : tensor (batch, frames, n_mels)
            Zero behind the end of an utterance.
        n_frames : int tensor (batch,)
            Frames of each utterance, >= 1.
        """
        x = self.conv(features.transpose(1, 2)).transpose(1, 2)
        n_positions = (n_frames + STRIDE - 1) // STRIDE
        real = _real(n_positions, x.shape[1])
        places = real.flatten().nonzero().squeeze(1)
        x = self.dropout(x + sinusoids(x.shape[1], x.shape[2]).to(x.device))
        for layer in self.layers:
            x = layer(x, real, places)
        return self.head(self.norm(x)), n_positions


def _real(n: torch.Tensor, length: int) -> torch.Tensor:
    return torch.arange(length, device=n.device) < n[:, None]


def sinusoids(n: int, d_model: int) -> torch.Tensor:
    """Positions as sin(p w_j) and cos(p w_j), w_j = 10000^(-2j/d_model), (n, d_model)."""
    rates = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
    angles = torch.arange(n)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def ctc_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Mean CTC loss of a batch, nats per target symbol; utterances too short for their targets count 0.

    Parameters
    ----------
    model : Module
        Called with features and numbers of frames, such as `SpeechEncoder`.
    batch : tuple of 4 tensors
        As `SpeechBatches` gives them.

    References
    ----------
    Graves et al. 2006, Connectionist temporal classification.
    """
    features, n_frames, targets, n_targets = batch
    logits, n_positions = model(features, n_frames)
    log_p = logits.float().log_softmax(-1).transpose(0, 1)
    return nn.functional.ctc_loss(log_p, targets, n_positions, n_targets, BLANK, zero_infinity=True)


def greedy_decode(logits: torch.Tensor, n_positions: torch.Tensor) -> list[list[int]]:
    """Symbols of each utterance: the best output of each position, repetitions merged, then blanks dropped.

    Parameters
    ----------
    logits : tensor (batch, positions, 1 + n_symbols)
    n_positions : int tensor (batch,)

    Returns
    -------
    list of list of int
    """
    best = logits.argmax(-1)
    found = []
    for row, n in zip(best.tolist(), n_positions.tolist(), strict=True):
        row = row[:n]
        found.append([s for i, s in enumerate(row) if s != BLANK and (i == 0 or s != row[i - 1])])
    return found

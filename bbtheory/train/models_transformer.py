"""Transformers whose feed-forward layers a pruner finds: Pre-LN, rotary positions, from toys to OLMo-1B.

Block l is ``blocks.l`` with ``attention_norm``, ``attention`` (query_key_value, output), ``ffn_norm`` and
``ffn``. The gated feed-forward is down(silu(gate(x)) * up(x)), the plain one down(gelu(up(x))); activations
are modules, so that tracing finds that unit i of ``gate`` and of ``up`` is on where its gate is positive, and
that ``down`` reads it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from bbtheory import validate

ACTIVATIONS = ("swiglu", "gelu")
_STD = 0.02  # of all weights; those that write into the residual stream less, as GPT-2 has it
_ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class TransformerShape:
    """Shape of a Transformer.

    Parameters
    ----------
    vocabulary : int
        Codes that are read and predicted.
    width, depth, heads, ffn : int
        Of the residual stream, blocks, attention heads, units of a feed-forward layer; width is a multiple of
        2 heads.
    context : int
        Most tokens of a sequence.
    activation : {"swiglu", "gelu"}
    causal : bool
        Whether a token sees those before it only (a decoder), or all (an encoder).
    dropout : float
        In [0, 1), after attention and feed-forward layers.

    Raises
    ------
    ValueError
        If a number is outside its domain or width does not split into heads.
    """

    vocabulary: int
    width: int = 128
    depth: int = 4
    heads: int = 4
    ffn: int = 344
    context: int = 128
    activation: str = "swiglu"
    causal: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "depth", "heads", "ffn", "context"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        if self.width % (2 * self.heads):
            raise ValueError(f"width must be a multiple of 2 heads = {2 * self.heads}, got {self.width}")
        validate.choice("activation", self.activation, ACTIVATIONS)
        validate.real("dropout", self.dropout, "[0, 1)")

    @property
    def ffn_layers(self) -> tuple[str, ...]:
        """Names of the feed-forward layers' weights."""
        parts = ("gate", "up", "down") if self.activation == "swiglu" else ("up", "down")
        return tuple(f"blocks.{i}.ffn.{part}" for i in range(self.depth) for part in parts)

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """Names of the layers whose units an activation follows, one a block."""
        part = "gate" if self.activation == "swiglu" else "up"
        return tuple(f"blocks.{i}.ffn.{part}" for i in range(self.depth))


OLMO_1B = TransformerShape(vocabulary=50_304, width=2048, depth=16, heads=16, ffn=8192, context=2048)
"""Groeneveld et al. 2024 (arXiv 2402.00838), table 1 and the released configuration: 1.18e9 parameters."""


class Attention(nn.Module):
    """Self-attention with rotary positions.

    Attributes
    ----------
    kept : bool tensor (heads, context) or None
        Where given, head h sees the key j tokens back only if ``kept[h, j]``; causal models only.
    """

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, shape: TransformerShape):
        super().__init__()
        self.heads, self.causal, self.context = shape.heads, shape.causal, shape.context
        self.query_key_value = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.output = nn.Linear(shape.width, shape.width, bias=False)
        self.kept: torch.Tensor | None = None
        half = shape.width // shape.heads // 2
        self.register_buffer("cos", torch.zeros(shape.context, half), persistent=False)
        self.register_buffer("sin", torch.zeros(shape.context, half), persistent=False)
        self.place_positions()

    @torch.no_grad()
    def place_positions(self) -> None:
        """Fill in the angles of the positions."""
        n, half = self.cos.shape
        frequency = _ROTARY_BASE ** (-torch.arange(half, dtype=torch.float64, device="cpu") / half)
        angle = torch.arange(n, dtype=torch.float64, device="cpu")[:, None] * frequency
        if not self.cos.is_meta:
            self.cos.copy_(angle.cos())
            self.sin.copy_(angle.sin())

    def forward(self, x: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """Attend; ``valid`` (batch, tokens) names the tokens that are real."""
        query, key, value = self.split(x)
        mask = self.mask(x.shape[1])
        if valid is not None:
            mask = valid[:, None, None, :] if mask is None else mask & valid[:, None, None, :]
        plain = self.causal and mask is None
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=plain)
        return self.output(seen.transpose(1, 2).flatten(2))

    def split(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values, (batch, heads, tokens, width of a head), positions applied."""
        n = x.shape[1]
        parts = self.query_key_value(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        cos, sin = self.cos[:n].to(x.dtype), self.sin[:n].to(x.dtype)
        return _rotated(parts[0], cos, sin), _rotated(parts[1], cos, sin), parts[2]

    def mask(self, n: int) -> torch.Tensor | None:
        """Return which keys each of n queries sees, (heads, n, n), where order alone does not say so."""
        if self.kept is None:
            return None
        at = torch.arange(n, device=self.kept.device)
        back = at[:, None] - at[None, :]
        return self.kept[:, back.clamp(min=0)] & (back >= 0)


class GatedFeedForward(nn.Module):
    """down(silu(gate(x)) * up(x)); a unit is on where gate(x) > 0."""

    def __init__(self, width: int, ffn: int):
        super().__init__()
        self.gate = nn.Linear(width, ffn, bias=False)
        self.activation = nn.SiLU()
        self.up = nn.Linear(width, ffn, bias=False)
        self.down = nn.Linear(ffn, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it to (..., width)."""
        return self.down(self.activation(self.gate(x)) * self.up(x))


class FeedForward(nn.Module):
    """down(gelu(up(x))); a unit is on where up(x) > 0."""

    def __init__(self, width: int, ffn: int):
        super().__init__()
        self.up = nn.Linear(width, ffn)
        self.activation = nn.GELU()
        self.down = nn.Linear(ffn, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it to (..., width)."""
        return self.down(self.activation(self.up(x)))


class Block(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x))."""

    def __init__(self, shape: TransformerShape):
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.width)
        self.attention = Attention(shape)
        self.ffn_norm = nn.LayerNorm(shape.width)
        kind = GatedFeedForward if shape.activation == "swiglu" else FeedForward
        self.ffn = kind(shape.width, shape.ffn)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """Apply it to (batch, tokens, width)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), valid))
        return x + self.dropout(self.ffn(self.ffn_norm(x)))


class Transformer(nn.Module):
    """Codes in, logits of codes out, which share the matrix of the embedding; ``encode`` stops before it."""

    def __init__(self, shape: TransformerShape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        self.head.weight = self.embedding.weight

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """The attention of each block."""
        return tuple(module for module in self.modules() if isinstance(module, Attention))

    def forward(self, codes: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits (batch, tokens, vocabulary) of codes (batch, tokens)."""
        return self.head(self.encode(self.embedding(codes), valid))

    def encode(self, x: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """Return the last states (batch, tokens, width) of embedded tokens."""
        for block in self.blocks:
            x = block(x, valid)
        return self.norm(x)


def transformer(shape: TransformerShape, *, seed: int = 0, device: str | torch.device = "cpu") -> Transformer:
    """Transformer of a shape, alike for equal seeds on one kind of device.

    Weights are drawn from a normal distribution of standard deviation 0.02, those of ``output`` and ``down``
    from one of 0.02 / sqrt(2 depth), so that the residual stream starts alike at any depth.

    Parameters
    ----------
    shape : TransformerShape
    seed : int
        Of the weights, >= 0; the global generators are left alone.
    device : str or torch.device
        Where the weights are made: a large model never lies in the host's memory.

    Returns
    -------
    Transformer

    Raises
    ------
    ValueError
        If an argument is of another kind or outside its domain.

    References
    ----------
    Vaswani et al. 2017 (arXiv 1706.03762); norms before the layers: Xiong et al. 2020 (arXiv 2002.04745);
    SwiGLU: Shazeer 2020 (arXiv 2002.05202); rotary positions: Su et al. 2021 (arXiv 2104.09864).
    """
    validate.instance("shape", shape, TransformerShape)
    seed = validate.integer("seed", seed, "[0, inf)")
    with torch.device("meta"):
        model = Transformer(shape)
    model.to_empty(device=device)
    model.head.weight = model.embedding.weight  # what was shared is made twice
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Attention):
                module.place_positions()
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.dim() > 1:
                writes = name.endswith(("output.weight", "down.weight"))
                std = _STD / math.sqrt(2 * shape.depth) if writes else _STD
                parameter.normal_(0.0, std, generator=generator)
    return model


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)

"""Experimental: attention of a decoder by how far back a key lies, and the distances that a budget keeps.

In a causal model a key at one place of a window is another key in the next window; what stays is its distance
j to the query. The definitions of attention.py are taken with distances in the place of tokens: a_hj is the
attention that head h pays, per query, to the key j tokens back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bbtheory import validate
from bbtheory.train.attention import AttentionTraffic
from bbtheory.train.models_transformer import Transformer
from bbtheory.train.token_budget import TokenBudget


def measure_key_distances(model: Transformer, codes: torch.Tensor) -> tuple[AttentionTraffic, ...]:
    """Measure attention by distance, a_hj = mean over queries i of A_(h,i,i-j), and the traffic a_hj k_h.

    Queries near the beginning of a window have no key so far back and count with 0, so that a head's on-rates
    sum to 1.

    Parameters
    ----------
    model : Transformer
        A causal one; run in evaluation mode without gradients, and left in the mode it was in.
    codes : int64 tensor (n_windows, n_tokens)
        On the device of the model.

    Returns
    -------
    tuple of AttentionTraffic
        One a block; ``token`` is the distance, 0 the token itself.

    Raises
    ------
    ValueError
        If the model is no causal Transformer, or codes have not two axes, no window, or more tokens than the
        model's context.

    References
    ----------
    This project's definition (experimental).
    """
    validate.instance("model", model, Transformer)
    if not model.shape.causal or codes.dim() != 2:
        raise ValueError(
            f"model must be causal and codes have two axes, got causal={model.shape.causal}, "
            f"{tuple(codes.shape)}"
        )
    n_windows, n = codes.shape
    if n_windows == 0 or not 0 < n <= model.shape.context:
        raise ValueError(
            f"codes must be windows of 1 to {model.shape.context} tokens, one at least, "
            f"got {tuple(codes.shape)}"
        )
    states: list[torch.Tensor] = []
    handles = [
        attention.register_forward_pre_hook(lambda module, inputs: states.append(inputs[0]))
        for attention in model.attentions
    ]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            model(codes)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    at = torch.arange(n, device=codes.device)
    back = at[:, None] - at[None, :]
    found = []
    for attention, x in zip(model.attentions, states, strict=True):
        heads = attention.heads
        with torch.no_grad():
            query, key, value = attention.split(x)
            score = (query @ key.transpose(2, 3)).float() / value.shape[-1] ** 0.5
            seen = attention.mask(n)
            seen = back >= 0 if seen is None else seen
            weights = score.masked_fill(~seen, -torch.inf).softmax(-1).double().sum(0)
            received = weights.new_zeros(heads, n)
            received.scatter_add_(1, back.clamp(min=0).flatten().expand(heads, -1), weights.flatten(1))
        kept = attention.output.weight.detach().ne(0).sum(0).reshape(heads, -1).sum(1).cpu().numpy()
        found.append(
            AttentionTraffic(
                n_heads=heads,
                n_queries=n_windows * n,
                head=np.repeat(np.arange(heads), n),
                token=np.tile(np.arange(n), heads),
                on_rate=(received / (n_windows * n)).reshape(-1).cpu().numpy(),
                fan_out=np.repeat(kept, n),
                real=np.ones(heads * n, bool),
            )
        )
    return tuple(found)


def keep_distances(model: Transformer, masks: Sequence[TokenBudget | np.ndarray | None]) -> None:
    """Let each head see keys at the kept distances only, from now on.

    Parameters
    ----------
    model : Transformer
    masks : sequence, one a block
        A budget of distances, a bool array (n_heads, n_distances), or None for all; distances not in it are
        not seen. A head has to see the token itself.

    Raises
    ------
    ValueError
        If there is not one mask for each block, it has another number of heads, or a head is blind to the
        token itself.
    """
    validate.instance("model", model, Transformer)
    if len(masks) != len(model.blocks):
        raise ValueError(f"masks must hold one for each of {len(model.blocks)} blocks, got {len(masks)}")
    new: list[torch.Tensor | None] = []
    for mask in masks:
        if mask is None:
            new.append(None)
            continue
        kept = mask.mask if isinstance(mask, TokenBudget) else np.asarray(mask)
        shape = model.shape
        fits = kept.dtype == bool and kept.ndim == 2 and kept.shape[0] == shape.heads and kept.size > 0
        if not fits or not kept[:, 0].all():
            raise ValueError(
                f"masks must be bool with {shape.heads} rows, True in column 0, got {kept.dtype} of shape "
                f"{kept.shape}"
            )
        whole = torch.zeros(shape.heads, shape.context, dtype=torch.bool)
        n = min(kept.shape[1], shape.context)
        whole[:, :n] = torch.from_numpy(kept[:, :n].copy())
        new.append(whole.to(model.embedding.weight.device))
    for attention, kept in zip(model.attentions, new, strict=True):
        attention.kept = kept

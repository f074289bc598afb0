"""Selection of the largest entries, exact in number, ties to the lowest index."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def keep_largest(score: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return the mask of the ``counts[r]`` largest entries of each row r, ties to the lowest index."""
    order = torch.sort(score, dim=1, descending=True, stable=True).indices
    rank = torch.arange(score.shape[1], device=score.device)
    kept = rank[None, :] < counts.to(score.device)[:, None]
    return torch.zeros_like(kept).scatter_(1, order, kept)


def keep_largest_overall(scores: Sequence[torch.Tensor], count: int) -> list[torch.Tensor]:
    """Return the masks of the ``count`` largest entries of all tensors together, ties to the lowest index."""
    flat = torch.cat([s.reshape(-1) for s in scores])
    mask = keep_largest(flat[None, :], torch.tensor([count]))[0]
    parts = mask.split([s.numel() for s in scores])
    return [part.reshape(s.shape) for part, s in zip(parts, scores, strict=True)]

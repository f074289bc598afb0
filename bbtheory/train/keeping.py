"""Keeping the links of the best scores: over the whole network, in each layer, or in each unit's fan-in."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from bbtheory.train.allocation import erdos_renyi_links, even_degrees, layer_links
from bbtheory.train.masking import MaskedWeight, count_kept
from bbtheory.train.selection import keep_largest, keep_largest_overall

ALLOCATIONS = ("network", "layer", "row", "erk", "er")


def keep_best(
    weights: Mapping[str, MaskedWeight], scores: Mapping[str, torch.Tensor], density: float, allocation: str
) -> dict[str, torch.Tensor]:
    """Masks of the best links, as many as the density asks for; ties to the earlier layer, the lower index.

    Parameters
    ----------
    weights : mapping of layer name to MaskedWeight
    scores : mapping of layer name to tensor
        In the shape of the masks, larger = keep.
    density : float
        Kept / all weights; met within one link, over the network or in each layer.
    allocation : {"network", "layer", "row", "erk", "er"}
        Who competes: all links (by score per weight where links differ in size), those of a layer, or those
        of a unit's row, the rows of a layer keeping equally many; the last two as "layer", with the layers'
        densities of `erdos_renyi_links`.

    Returns
    -------
    dict of bool tensors
    """
    if allocation == "network":
        return _keep_overall(weights, scores, density)
    masks = {}
    for name, count in links_per_layer(weights, density, allocation).items():
        rows = weights[name].rows(scores[name])
        if allocation == "row":
            mask = keep_largest(rows, even_degrees(weights[name].n_out, weights[name].fan_in_limit, count))
        else:
            mask = keep_largest(rows.reshape(1, -1), count)
        masks[name] = mask.reshape(weights[name].mask.shape)
    return masks


def links_per_layer(weights: Mapping[str, MaskedWeight], density: float, allocation: str) -> dict[str, int]:
    """Links that each layer keeps under an allocation other than "network"; the density is met within one."""
    cost = [weight.link_size for weight in weights.values()]
    if allocation in ("erk", "er"):
        shapes = [tuple(weight.parameter.shape) for weight in weights.values()]
        links = erdos_renyi_links(shapes, cost, density, kernel=allocation == "erk")
    else:
        links = layer_links([weight.mask.numel() for weight in weights.values()], cost, density)
    return dict(zip(weights, links, strict=True))


def _keep_overall(
    weights: Mapping[str, MaskedWeight], scores: Mapping[str, torch.Tensor], density: float
) -> dict[str, torch.Tensor]:
    sizes = [weight.link_size for weight in weights.values()]
    links = sum(weight.mask.numel() for weight in weights.values())
    competing = [
        scores[name] / w.link_size if w.link_size > 1 else scores[name] for name, w in weights.items()
    ]
    if len(set(sizes)) == 1:
        return dict(zip(weights, keep_largest_overall(competing, round(density * links)), strict=True))
    budget = round(density * sum(weight.parameter.numel() for weight in weights.values()))
    # masks of more links contain those of fewer: bisect the most links that the budget pays
    low, high = 0, links + 1
    while high - low > 1:
        middle = (low + high) // 2
        masks = keep_largest_overall(competing, middle)
        paid = sum(count_kept(mask) * size for mask, size in zip(masks, sizes, strict=True))
        low, high = (middle, high) if paid <= budget else (low, middle)
    return dict(zip(weights, keep_largest_overall(competing, low), strict=True))

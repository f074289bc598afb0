"""How many links each unit or layer gets: real degrees that meet a density, then whole ones by remainder.

Everything here is O(units) and runs in float64 on the CPU, whatever device the weights are on, so that all
processes and devices come to the same counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch


def solve_knob(
    offset: torch.Tensor,
    slope: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    cost: torch.Tensor,
    target: float,
) -> float:
    """Find d0 with sum_i c_i clip(offset_i + slope_i d0, low_i, high_i) = target.

    The sum is piecewise linear in d0 and never falls: it is inverted exactly, segment by segment.

    Parameters
    ----------
    offset, slope, low, high, cost : float64 tensors, (n_units,)
        slope > 0, finite offset, 0 <= low <= high; cost is the weights per link.
    target : float
        Weights wanted.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If no d0 reaches the target.
    """
    check_reach((cost * low).sum().item(), (cost * high).sum().item(), (cost * high).sum().item(), target)
    bends = torch.cat([(low - offset) / slope, (high - offset) / slope])
    order = _order(bends)
    bends = bends[order]
    rise = torch.cat([cost * slope, -cost * slope])[order].cumsum(0)
    value = (cost * low).sum() + torch.cat([rise.new_zeros(1), (rise[:-1] * bends.diff()).cumsum(0)])
    at = int(torch.searchsorted(value, target, right=True)) - 1
    at = min(max(at, 0), bends.numel() - 1)
    steep = at < bends.numel() - 1 and bool(rise[at] > 0)
    return float(bends[at] + (target - value[at]) / rise[at]) if steep else float(bends[at])


def check_reach(least: float, most: float, total: float, target: float) -> None:
    """Raise ValueError where the target number of weights cannot be met, naming the reachable densities."""
    slack = 1e-9 * max(total, 1.0)  # rounding of a product and a sum of integers
    if not least - slack <= target <= most + slack:
        raise ValueError(
            f"density must be between {least / total:.6g} and {most / total:.6g}, which the bounds on "
            f"degrees leave, got {target / total:.6g}"
        )


def whole_degrees(degree: torch.Tensor, high: torch.Tensor, cost: torch.Tensor, target: int) -> torch.Tensor:
    """Round degrees to whole links that cost the target together, within one link; ties to the lower index.

    Degrees are rounded down and the links left over go to the largest remainders, as long as they last.

    Parameters
    ----------
    degree, high, cost : float64 tensors, (n_units,)
        Real degrees, their upper bounds, weights per link.
    target : int
        Weights.

    Returns
    -------
    int64 tensor, (n_units,)
    """
    floor = degree.floor()
    left = target - float((cost * floor).sum())
    # a degree at its bound has no remainder to round up
    remainder = torch.where(floor < high, degree - floor, -torch.ones_like(degree))
    order = _order(-remainder)
    given = (cost[order].cumsum(0) <= left + 0.5) & (remainder[order] >= 0)
    whole = floor.to(torch.int64)
    whole[order[given]] += 1
    return whole


def even_degrees(n_units: int, limit: int, links: int) -> torch.Tensor:
    """Spread links evenly over units, the first ones getting those left over; int64, (n_units,)."""
    each, left = divmod(min(links, n_units * limit), n_units)
    return torch.full((n_units,), each, dtype=torch.int64) + (torch.arange(n_units) < left)


def layer_links(links: Sequence[int], cost: Sequence[int], density: float) -> list[int]:
    """Split the kept links among layers so that each has the density, and all together too.

    Parameters
    ----------
    links, cost : sequence of int
        Links of each layer, weights per link.
    density : float

    Returns
    -------
    list of int
        Links to keep in each layer: largest remainders, ties to the earlier layer.
    """
    high = torch.tensor(links, dtype=torch.float64)
    price = torch.tensor(cost, dtype=torch.float64)
    target = round(density * float((high * price).sum()))
    return whole_degrees(density * high, high, price, target).tolist()


def erdos_renyi_links(
    shapes: Sequence[Sequence[int]], cost: Sequence[int], density: float, *, kernel: bool
) -> list[int]:
    """Split the kept links among layers as sparse random graphs do: thin layers stay denser than wide ones.

    Layer l has density min(1, eps r_l), with one eps for all that meets the density of the whole, and

        r_l = (n_out + n_in)/(n_out n_in)   or, with the kernel,   (n_out + n_in + w + h)/(n_out n_in w h).

    Parameters
    ----------
    shapes : sequence of shapes
        Of the weights, (n_out, n_in, *kernel).
    cost : sequence of int
        Weights per link: 1, or those of a kernel.
    density : float
        Of all weights together, in (0, 1].
    kernel : bool
        ERK, or ER where the kernel only counts as weights.

    Returns
    -------
    list of int
        Links to keep in each layer: largest remainders, ties to the earlier layer.

    References
    ----------
    Mocanu et al. 2018 (arXiv 1707.04780), equation 1: ER. Evci et al. 2020 (arXiv 1911.11134), section 3:
    ERK, and that layers which would pass 1 are dense.
    """
    price = torch.tensor(cost, dtype=torch.float64)
    high = torch.tensor([math.prod(s) for s in shapes], dtype=torch.float64) / price
    parts = [s if kernel else s[:2] for s in shapes]
    raw = torch.tensor([sum(part) / math.prod(part) for part in parts], dtype=torch.float64)
    zero = torch.zeros_like(high)
    target = round(density * float((high * price).sum()))
    eps = solve_knob(zero, raw * high, zero, high, price, target)
    return whole_degrees(torch.minimum(eps * raw * high, high), high, price, target).tolist()


def _order(values: torch.Tensor) -> torch.Tensor:
    """Order of values on the CPU, ties by index; a third of the time that torch takes for some thousands."""
    return torch.from_numpy(np.argsort(values.numpy(), kind="stable"))

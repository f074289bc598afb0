"""From degrees to masks: one actuator with exact counts per unit, or the intersection of both at one d0."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bbtheory.train.allocation import check_reach, even_degrees, layer_links, solve_knob, whole_degrees
from bbtheory.train.masking import MaskedWeight, count_kept
from bbtheory.train.selection import keep_largest
from bbtheory.train.sharding import keep_rows, whole

IN, OUT = "fan_in", "fan_out"
_D0_TOLERANCE = 1e-7  # links: the intersection is bisected to this, links that change within it are tied

Line = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass
class Side:
    """The units on one side of a layer's weight: those that receive (rows) or those that send (columns).

    ``on_rate`` is None where the units have none; ``score`` is the score of the links, in the mask's shape,
    compared by its size unless ``magnitude`` is False; where ``other`` is given, which is zero wherever the
    score is not, their sum is.
    """

    weight: MaskedWeight
    kind: str
    on_rate: torch.Tensor | None
    score: torch.Tensor
    magnitude: bool = True
    other: torch.Tensor | None = None

    @property
    def n_units(self) -> int:
        """Units on this side."""
        return self.weight.n_out if self.kind == IN else self.weight.n_in

    @property
    def limit(self) -> int:
        """Links of a full unit."""
        return self.weight.fan_in_limit if self.kind == IN else self.weight.fan_out_limit

    def per_unit(self, links: torch.Tensor) -> torch.Tensor:
        """Links by unit, (n_units, limit)."""
        return self.weight.rows(links) if self.kind == IN else self.weight.columns(links)

    def degrees(self, mask: torch.Tensor) -> torch.Tensor:
        """Links of each unit under a mask, int64 on the CPU."""
        return whole(self.per_unit(mask).sum(1)).cpu()

    def traffic(self, degrees: torch.Tensor) -> float:
        """Traffic sum a_i k_i, links per step; 0 where units have no on-rate."""
        return 0.0 if self.on_rate is None else float((self.on_rate * degrees).sum())

    def mask(self, counts: torch.Tensor) -> torch.Tensor:
        """Keep the best links of each unit, as many as it is given."""
        weight, score, other = self.weight, self.score, self.other
        if self.kind == OUT and not (score.dim() == 2 and weight.groups == 1):
            units = weight.columns(score if other is None else score + other)
            return weight.from_columns(keep_largest(units, counts, magnitude=self.magnitude))
        rest = None if other is None else weight.rows(other)
        if self.kind == OUT:  # columns are read where they lie
            return keep_largest(score, counts, dim=0, magnitude=self.magnitude, other=rest)
        kept = keep_rows(weight.rows(score), counts, magnitude=self.magnitude, other=rest)
        return kept.reshape(score.shape)


@dataclass
class _Units:
    """Every measured unit of some sides, one after the other."""

    sides: Sequence[Side]
    offset: torch.Tensor
    slope: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    cost: torch.Tensor

    @classmethod
    def of(cls, sides: Sequence[Side], line: Line, min_degree: int) -> _Units:
        rates = [side.on_rate for side in sides if side.on_rate is not None]
        offset, slope = line(torch.cat(rates))
        high = torch.cat([torch.full((s.n_units,), float(s.limit), dtype=torch.float64) for s in sides])
        cost = torch.cat(
            [torch.full((s.n_units,), float(s.weight.link_size), dtype=torch.float64) for s in sides]
        )
        return cls(sides, offset, slope, high.clamp(max=float(min_degree)), high, cost)

    def at(self, d0: float) -> torch.Tensor:
        return torch.minimum(torch.maximum(self.offset + self.slope * d0, self.low), self.high)

    def share(self, d0: float) -> float:
        """Part of all weights that the real degrees keep."""
        return float((self.at(d0) * self.cost).sum() / (self.high * self.cost).sum())

    def changes_once(self, low: float, high: float) -> bool:
        """Whether whole degrees change at one d0 only between two."""
        before, after = self.at(low).floor(), self.at(high).floor()
        grows = after > before
        first = ((before + 1 - self.offset) / self.slope)[grows]
        last = ((after - self.offset) / self.slope)[grows]
        return first.numel() == 0 or float(last.max() - first.min()) <= _D0_TOLERANCE

    def split(self, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return values.split([side.n_units for side in self.sides])


def one_actuator(
    sides: Sequence[Side], density: float, line: Line, min_degree: int
) -> tuple[list[torch.Tensor], float]:
    """Whole degrees of each side's units, and d0; together they keep density x weights within one link.

    Units without an on-rate get uniform degrees at the density, the others meet what is left of it.
    """
    total = sum(s.weight.mask.numel() * s.weight.link_size for s in sides)
    target = round(density * total)
    measured = [s for s in sides if s.on_rate is not None]
    others = [s for s in sides if s.on_rate is None]
    links = layer_links(
        [s.weight.mask.numel() for s in others], [s.weight.link_size for s in others], density
    )
    counts = {id(s): even_degrees(s.n_units, s.limit, n) for s, n in zip(others, links, strict=True)}
    d0 = float("nan")
    if measured:
        used = sum(n * s.weight.link_size for s, n in zip(others, links, strict=True))
        units = _Units.of(measured, line, min_degree)
        # what rounding the others has left may pass the bounds by less than a link
        least, most = (float((units.cost * bound).sum()) for bound in (units.low, units.high))
        wanted, link = density * total - used, float(units.cost.max())
        wanted = most if 0 < wanted - most < link else least if 0 < least - wanted < link else wanted
        target = min(max(target - used, round(least)), round(most))
        d0 = solve_knob(units.offset, units.slope, units.low, units.high, units.cost, wanted)
        whole = whole_degrees(units.at(d0), units.high, units.cost, target)
        counts |= {id(s): part for s, part in zip(measured, units.split(whole), strict=True)}
    return [counts[id(s)] for s in sides], d0


def both_actuators(
    pairs: Sequence[tuple[Side, Side]],
    density: float,
    line: Line,
    min_degree: int,
    guess: float = math.nan,
) -> tuple[list[torch.Tensor], float]:
    """Masks that keep what both sides keep, at one d0 common to all, and that d0.

    Degrees are rounded down, so the kept links grow with d0 one after the other; d0 is bisected until they
    meet density x weights, and links that come in at the same d0 are taken in order of index. The first d0
    that is tried is the ``guess``, such as that of the last refresh. A side without on-rates keeps the mean
    share of the measured ones, evenly.
    """
    weights = [pair[0].weight for pair in pairs]
    total = sum(w.mask.numel() * w.link_size for w in weights)
    target = round(density * total)
    sides = [side for pair in pairs for side in pair]
    measured = [s for s in sides if s.on_rate is not None]
    others = [s for s in sides if s.on_rate is None]
    units = _Units.of(measured, line, min_degree) if measured else None
    low, high = 0.0, 1.0  # a share, where nothing is measured
    if units is not None:
        low = float(((units.low - units.offset) / units.slope).min())
        high = float(((units.high - units.offset) / units.slope).max())

    def even(side: Side, knob: float) -> torch.Tensor:
        share = knob if units is None else units.share(knob)
        return even_degrees(side.n_units, side.limit, round(share * side.n_units * side.limit))

    def masks_at(knob: float) -> list[torch.Tensor]:
        counts = {id(side): even(side, knob) for side in others}
        if units is not None:
            parts = units.split(units.at(knob).floor().to(torch.int64))
            counts |= dict(zip(map(id, measured), parts, strict=True))
        return [first.mask(counts[id(first)]) & second.mask(counts[id(second)]) for first, second in pairs]

    def size(masks: Sequence[torch.Tensor]) -> int:
        return sum(count_kept(m) * w.link_size for m, w in zip(masks, weights, strict=True))

    few, many = masks_at(low), masks_at(high)
    n_few, n_many = size(few), size(many)
    check_reach(n_few, n_many, total, target)
    # regula falsi on what is missing at either end (Illinois: an end that stays twice counts half)
    lack, excess, stayed = target - n_few, n_many - target, 0
    while n_few < target < n_many and high - low > _D0_TOLERANCE:
        same = all(torch.equal(even(side, low), even(side, high)) for side in others)
        if same and units is not None and units.changes_once(low, high):
            break
        knob = low + (high - low) * lack / (lack + excess)
        if low < guess < high:
            knob, guess = guess, math.nan
        elif not low < knob < high:
            knob = 0.5 * (low + high)
        masks = masks_at(knob)
        n = size(masks)
        if n < target:
            low, few, n_few, lack = knob, masks, n, target - n
            excess, stayed = (0.5 * excess if stayed > 0 else excess), 1
        else:
            high, many, n_many, excess = knob, masks, n, n - target
            lack, stayed = (0.5 * lack if stayed < 0 else lack), -1
    if n_few == target:
        return few, low
    return _take(few, many, weights, target - n_few), high


def _take(
    few: Sequence[torch.Tensor], many: Sequence[torch.Tensor], weights: Sequence[MaskedWeight], room: int
) -> list[torch.Tensor]:
    """Add to the few what the many have, in order of index, while there is room for a whole link."""
    taken = []
    for mask, more, weight in zip(few, many, weights, strict=True):
        new = torch.nonzero((more & ~mask).reshape(-1)).flatten()[: room // weight.link_size]
        room -= new.numel() * weight.link_size
        full = mask.clone()
        full.view(-1)[new] = True
        taken.append(full)
    return taken

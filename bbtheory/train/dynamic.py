"""Dynamic sparse training: at every refresh some weak links are dropped and as many new ones grown."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bbtheory import validate
from bbtheory.train.keeping import links_per_layer
from bbtheory.train.masking import MaskedWeight
from bbtheory.train.measured import Measured
from bbtheory.train.recording import GradientRecorder
from bbtheory.train.selection import keep_largest

_ALLOCATIONS = ("erk", "er", "layer")
_STARTS = ("random", "magnitude")
# growth scores rank in three bands: cut links, from 0 up; those just dropped that come last; those that stay
_LAST, _STAYS = -2.0, -3.0


class DropAndGrow(Measured):
    """Each layer keeps its n_l links; a refresh replaces int(fraction n_l) of them. Base of SET and RigL.

    Without a warm-up the model is made sparse at once and the first refresh is at step ``interval``; with one
    it trains dense and is made sparse at step ``warmup``. Cut weights are forgotten and grown ones start at
    zero.

    Parameters
    ----------
    model, density, interval, warmup and others : see `Pruner`
    fraction : float
        Part of a layer's links that is replaced, in [0, 1].
    allocation : {"erk", "er", "layer"}
        Density of each layer: Erdos-Renyi with the kernel or without (see `erdos_renyi_links`), or the same.
    start : {"random", "magnitude"}
        The first mask.

    Attributes
    ----------
    turnover : dict of layer name to int
        Links that the last refresh dropped.

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """

    def __init__(
        self,
        model: nn.Module,
        density: float,
        *,
        fraction: float = 0.3,
        allocation: str = "erk",
        start: str = "random",
        **settings: Any,
    ):
        self.fraction = validate.real("fraction", fraction, "[0, 1]")
        self.start = validate.choice("start", start, _STARTS)
        validate.choice("allocation", allocation, _ALLOCATIONS)
        for fixed in ("schedule", "rounds", "kept", "dormant"):
            if fixed in settings:
                raise ValueError(f"{fixed} must not be given to {type(self).__name__}")
        self.turnover: dict[str, int] = {}
        super().__init__(
            model, density, schedule="constant", dormant="zero", allocation=allocation, **settings
        )
        if self.warmup == 0:
            self.refresh()

    @property
    def first_refresh(self) -> int:
        """Step of the first refresh in training."""
        return self.warmup or self.interval

    def fraction_at(self, step: int) -> float:
        """Part of a layer's links that a refresh replaces."""
        return self.fraction

    @abstractmethod
    def growth(self, name: str, weight: MaskedWeight, stays: torch.Tensor) -> torch.Tensor:
        """Score of links to grow, >= 0; those below 0, just dropped, return only if no other is left."""

    def grown_values(self, weight: MaskedWeight, grown: torch.Tensor) -> torch.Tensor | None:
        """Values of all weights after growth; None for zero at the grown ones."""
        return None

    def choose(self) -> dict[str, torch.Tensor]:
        """Masks of this refresh."""
        links = links_per_layer(self.weights, self.density, self.allocation)
        scores = self.scores()
        if self.n_refreshes == 0:
            ranks = scores
            if self.start == "random":
                ranks = {n: torch.rand(s.shape, generator=self.generator) for n, s in scores.items()}
            masks = {name: _largest(ranks[name].to(scores[name].device), k) for name, k in links.items()}
            self.note(scores, masks)
            return masks
        part, stays, masks = self.fraction_at(self.step_count), {}, {}
        for name, weight in self.weights.items():
            self.turnover[name] = int(part * links[name])
            stays[name] = _largest(scores[name], links[name] - self.turnover[name])
            growth = self.growth(name, weight, stays[name]).masked_fill(stays[name], _STAYS)
            masks[name] = stays[name] | _largest(growth, self.turnover[name])
        self.note(scores, stays)
        return masks

    def apply(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Put masks in place; a dropped link that was grown again keeps its weight."""
        for name, mask in masks.items():
            weight = self.weights[name]
            values = self.grown_values(weight, mask & ~weight.mask) if self.n_refreshes else None
            weight.set_mask(mask, values)

    def extra_state(self) -> dict[str, Any]:
        """Saliencies, records and turnover."""
        return super().extra_state() | {"turnover": dict(self.turnover)}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take over `extra_state`."""
        super().load_extra_state(state)
        self.turnover = dict(state["turnover"])


def _largest(score: torch.Tensor, count: int) -> torch.Tensor:
    """Mask of the largest scores of a layer."""
    return keep_largest(score.reshape(1, -1), count).reshape(score.shape)


class SET(DropAndGrow):
    """Sparse evolutionary training: drops the share zeta of smallest |w| of a layer, grows as many at random.

    Links just dropped return only where a layer has no other cut link left, so that the turnover is zeta.

    Parameters
    ----------
    model, density, allocation, start and others : see `DropAndGrow`
    fraction : float
        zeta, in [0, 1].
    decay : bool
        Whether zeta follows RigL's cosine to zero at step ``until``, which must be given then.
    grown_std : float
        Grown weights are drawn from N(0, grown_std^2), >= 0; the published code draws them, 0 is as in RigL.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    Mocanu et al. 2018 (arXiv 1707.04780), algorithm 1; smallest positive and largest negative weights are
    those of smallest |w| here.
    """

    def __init__(
        self,
        model: nn.Module,
        density: float,
        *,
        decay: bool = False,
        grown_std: float = 0.0,
        **settings: Any,
    ):
        if not isinstance(decay, bool):
            raise ValueError(f"decay must be True or False, got {decay!r}")
        if decay and settings.get("until") is None:
            raise ValueError("until must be given where the fraction decays, got None")
        self.decay = decay
        self.grown_std = validate.real("grown_std", grown_std, "[0, inf)")
        super().__init__(model, density, **settings)

    def recorder(self, weight: MaskedWeight) -> None:
        """Return None: growth is at random."""

    def fraction_at(self, step: int) -> float:
        """Return zeta, or with decay its cosine."""
        return cosine(self.fraction, step, self.until) if self.decay and self.until else self.fraction

    def growth(self, name: str, weight: MaskedWeight, stays: torch.Tensor) -> torch.Tensor:
        """Random numbers; links just dropped come last."""
        drawn = torch.rand(stays.shape, generator=self.generator).to(stays.device)
        return torch.where(weight.mask & ~stays, drawn + _LAST, drawn)

    def grown_values(self, weight: MaskedWeight, grown: torch.Tensor) -> torch.Tensor | None:
        """Normal numbers at grown links."""
        if self.grown_std == 0.0:
            return None
        value = weight.parameter.detach()
        drawn = torch.randn(value.shape, generator=self.generator).to(value.device, value.dtype)
        return value + self.grown_std * drawn * weight.per_weight(grown)


class RigL(DropAndGrow):
    """Drops the weakest links of each layer and grows those with the largest gradient of the dense loss.

    At step t the share f(t) = (fraction/2) (1 + cos(pi t/T)) of each layer's links is dropped by smallest
    |w|, and as many are grown by largest |dL/dw| among all links that do not stay: those that were cut and,
    as published, those just dropped, which keep their weight if they are chosen again. Grown weights start at
    zero. The gradient is that of the step before the refresh, summed over its backward passes, dense: cut
    weights are zero in the forward pass and their gradient is read before it is masked. The learning rate
    plays no part in it.

    Parameters
    ----------
    model, density, allocation, start and others : see `DropAndGrow`
    until : int
        T, the last step that changes masks, > 0; 0.75 of the training steps in the paper.
    fraction : float
        alpha, in [0, 1]; 0.3 in the paper.
    interval : int
        Delta T; 100 in the paper.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    Evci et al. 2020 (arXiv 1911.11134), section 3 and algorithm 1.
    """

    def __init__(self, model: nn.Module, density: float, *, until: int, **settings: Any):
        super().__init__(model, density, until=validate.integer("until", until, "[1, inf)"), **settings)

    def recorder(self, weight: MaskedWeight) -> GradientRecorder:
        """What listens for one weight."""
        return GradientRecorder(weight, signed=True)

    def fraction_at(self, step: int) -> float:
        """Cosine from alpha to zero at step ``until``."""
        return cosine(self.fraction, step, self.until or 1)

    def growth(self, name: str, weight: MaskedWeight, stays: torch.Tensor) -> torch.Tensor:
        """|dL/dw|, summed over the link."""
        return weight.per_link(self.measured(name).abs())


def cosine(fraction: float, step: int, end: int) -> float:
    """Share replaced at a step, (fraction/2) (1 + cos(pi step/end)), and 0 from the end on."""
    return fraction / 2 * (1.0 + math.cos(math.pi * min(step, end) / end))

"""Pruners that rank links by a score: how much is kept at each round, and whether what was cut may return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bbtheory import validate
from bbtheory.schedules import cubic_trajectory
from bbtheory.train.keeping import keep_best
from bbtheory.train.masking import MaskedWeight, count_kept
from bbtheory.train.pruner import Pruner

SCHEDULES = ("one_shot", "constant", "gradual", "iterative")

_GONE = -1.0  # below every score: a link that was cut and may not return


class Ranked(Pruner):
    """Keeps the links of the largest score; the base of most rivals, a subclass defines `score`.

    Round r is the r-th refresh, r = 0, 1, ..., whether it came in its time or by a call of `refresh`. The
    density after it is D(r) = density, but for

        gradual     density + (1 - density) (1 - r/n)^3 up to r = n = ``rounds``, the cubic of Zhu and Gupta
        iterative   max(density, kept^(r+1)): each round cuts the share 1 - kept of what remains, the last one
                    less, so as to end at the density

    Parameters
    ----------
    model, density, interval, warmup, allocation and others : see `Pruner`
    schedule : {"one_shot", "constant", "gradual", "iterative"}
        One refresh, the first; or the same density at every refresh; or as above.
    rounds : int
        n of the gradual schedule, >= 1.
    kept : float
        Of the iterative schedule, in (0, 1).
    dormant : {"zero", "stored"}
        Whether a cut link is gone for good, or competes again with the value it had.
    shuffled : bool
        A control: scores change places at random among all links that compete, so that links are cut at
        random, and saliencies are those of the true scores.

    Attributes
    ----------
    follows : bool
        Whether the score of a link at one refresh may be compared with that at the next.
    largest_removed : float
        Largest score, per weight, of a link that the last refresh cut; 0 before any was. It is the saliency
        of `record`.
    mean_kept : float
        Mean score, per weight, of the links that the last refresh kept; 0 before it.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    Zhu and Gupta 2017 (arXiv 1710.01878), equation 1. The iterative schedule and its saliency, the largest
    removed score, follow the authors' code of Hyperflux (arXiv 2504.05349) for iterative magnitude pruning.
    """

    follows = True

    def __init__(
        self,
        model: nn.Module,
        density: float,
        *,
        schedule: str = "one_shot",
        rounds: int = 10,
        kept: float = 0.9,
        dormant: str = "zero",
        shuffled: bool = False,
        **settings: Any,
    ):
        if not isinstance(shuffled, bool):
            raise ValueError(f"shuffled must be True or False, got {shuffled!r}")
        self.schedule = validate.choice("schedule", schedule, SCHEDULES)
        self.rounds = validate.integer("rounds", rounds, "[1, 1e6]")
        self.kept = validate.real("kept", kept, "(0, 1)")
        self.returns = dormant == "stored"
        self.shuffled = shuffled
        self.follows = self.follows and not shuffled
        self.largest_removed = 0.0
        self.mean_kept = 0.0
        super().__init__(model, density, dormant=dormant, **settings)

    # -- the algorithm

    def score(self, name: str, weight: MaskedWeight) -> torch.Tensor:
        """Score of each link of a layer, >= 0, in the shape of its mask; here sum |w| over the link."""
        return weight.per_link(weight.peek().abs())

    def scores(self) -> dict[str, torch.Tensor]:
        """`score` of each layer, below all others where a cut link may not return."""
        scores = {name: self.score(name, weight) for name, weight in self.weights.items()}
        if self.shuffled:
            scores = self._exchanged(scores)
        if self.returns:
            return scores
        return {n: score.masked_fill(~self.weights[n].mask, _GONE) for n, score in scores.items()}

    def _exchanged(self, scores: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Scores in random places among the links that compete; per weight where links differ in size."""
        places = {n: torch.ones_like(w.mask) if self.returns else w.mask for n, w in self.weights.items()}
        parts = [scores[name][place] / self.weights[name].link_size for name, place in places.items()]
        pool = torch.cat([part.cpu() for part in parts])
        pool = pool[torch.randperm(pool.numel(), generator=self.generator)]
        exchanged = {}
        for (name, place), part in zip(places.items(), pool.split([p.numel() for p in parts]), strict=True):
            exchanged[name] = scores[name].clone()
            exchanged[name][place] = part.to(scores[name]) * self.weights[name].link_size
        return exchanged

    def choose(self) -> dict[str, torch.Tensor]:
        """Masks of this round."""
        scores = self.scores()
        masks = keep_best(self.weights, scores, self.wanted_density, self.allocation)
        self.note(scores, masks)
        return masks

    # -- the schedule

    def density_at(self, step: int) -> float:
        """Density of the coming round; it depends on the rounds made, not on the step."""
        if self.schedule == "gradual":
            return cubic_trajectory(self.density, self.rounds)[min(self.n_refreshes, self.rounds)]
        if self.schedule == "iterative":
            return max(self.density, self.kept ** (self.n_refreshes + 1))
        return self.density

    def is_refresh(self, step: int) -> bool:
        """Whether a step ends with a refresh; with one shot only the first does."""
        return super().is_refresh(step) and not (self.schedule == "one_shot" and self.n_refreshes > 0)

    # -- what pressed

    def saliency(self) -> float:
        """Largest score, per weight, of a link that the last refresh cut."""
        return self.largest_removed

    def note(self, scores: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor]) -> None:
        """Take down the largest removed and the mean kept score of a choice; scores below 0 do not count."""
        removed, kept, n_kept = _GONE, 0.0, 0
        for name, mask in masks.items():
            size = self.weights[name].link_size
            removed = max(removed, float(scores[name].masked_fill(mask, _GONE).amax()) / size)
            kept += float(scores[name].mul(mask).sum(dtype=torch.float32))
            n_kept += count_kept(mask) * size
        if removed >= 0.0:
            self.largest_removed = removed
        self.mean_kept = kept / n_kept if n_kept else 0.0

    # -- state

    def extra_state(self) -> dict[str, Any]:
        """Saliencies of the last refresh."""
        return {"largest_removed": self.largest_removed, "mean_kept": self.mean_kept}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take over `extra_state`."""
        self.largest_removed, self.mean_kept = state["largest_removed"], state["mean_kept"]


class Magnitude(Ranked):
    """Keeps the largest weights, score |w| (sum over a kernel where links are channel pairs).

    See `Ranked` for the schedules: one shot, gradual (with dormant="stored" as in the original code, where
    cut weights stay in the competition), and iterative (cut for good, 10 % of the remaining per round by
    default).

    Parameters
    ----------
    model, density, schedule, rounds, kept, dormant : see `Ranked`
    interval, warmup, allocation and others : see `Pruner`

    References
    ----------
    Zhu and Gupta 2017 (arXiv 1710.01878): gradual. Han et al. 2015 (arXiv 1506.02626): iterative.
    """


class Random(Ranked):
    """Keeps links at random: every set of the wanted number is as likely as any other.

    The mask is drawn at the first refresh and stays; where a schedule lowers the density, further links are
    cut at random and none returns. With ``redraw`` each refresh draws a new mask instead, and links return
    with the value they had (dormant="stored") or from zero. Saliency is that of magnitude: the largest |w|
    cut.

    Parameters
    ----------
    model, density, schedule, rounds, kept, dormant : see `Ranked`
    redraw : bool
    interval, warmup, allocation, seed and others : see `Pruner`
    """

    follows = False

    def __init__(self, model: nn.Module, density: float, *, redraw: bool = False, **settings: Any):
        if not isinstance(redraw, bool):
            raise ValueError(f"redraw must be True or False, got {redraw!r}")
        settings.setdefault("schedule", "constant" if redraw else "one_shot")
        super().__init__(model, density, **settings)
        self.returns = redraw

    def score(self, name: str, weight: MaskedWeight) -> torch.Tensor:
        """A number drawn for each link, equally distributed per weight whatever the size of the link."""
        drawn = torch.rand(weight.mask.shape, generator=self.generator)
        return drawn.mul_(weight.link_size).to(weight.mask.device)

    def note(self, scores: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor]) -> None:
        """Take down magnitudes, not the numbers drawn."""
        super().note({n: w.per_link(w.parameter.detach().abs()) for n, w in self.weights.items()}, masks)

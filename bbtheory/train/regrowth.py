"""Random pruning with regrowth: weights are removed at random, and those return that the loss pulls back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from bbtheory.train.masking import MaskedWeight
from bbtheory.train.measured import Measured
from bbtheory.train.presence import KAPPA
from bbtheory.train.recording import GradientRecorder

_CUT, _STAYS = -1.0, 2.0  # ranks below and above those of the weights on trial, which lie in [0, 1)


class RandomRegrowth(Measured):
    """Removes twice as many weights as have to go, at random, and regrows the half of the larger flux.

    The flux of a removed weight is F = -kappa N w dL/dtheta at theta = 0, kappa = 1/4, N the number of
    prunable weights, w the value it had: the pull of the loss back to w, in the unit of Hyperflux's pressure.
    A refresh must follow `calibrate`, which removes the weights on trial and measures the gradients; those
    that return have their values again.

        pruner.calibrate(batches, loss)
        pruner.refresh()

    The saliency is the largest flux of a weight that does not return, 0 where that is negative, and
    ``mean_kept`` the mean flux of those that do.

    Parameters
    ----------
    model, density, schedule, rounds, kept, seed and others : see `Ranked`
        Links are weights; what is cut is gone for good.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    The variant "random" of the authors' experiments on the pruning law (arXiv 2504.05349, code of 2026),
    which regrows by -sign(w) dL/dw; here by the flux itself, which is compared with a pressure.
    """

    follows = False

    def __init__(self, model: nn.Module, density: float, *, schedule: str = "iterative", **settings: Any):
        for fixed in ("granularity", "dormant", "batches", "shuffled", "allocation"):
            if fixed in settings:
                raise ValueError(f"{fixed} must not be given to {type(self).__name__}")
        self.trial: dict[str, torch.Tensor] = {}
        super().__init__(model, density, schedule=schedule, **settings)

    def recorder(self, weight: MaskedWeight) -> GradientRecorder:
        """What listens for one weight."""
        return GradientRecorder(weight, signed=True)

    @torch.no_grad()
    def calibrate(
        self, loader: Iterable[Any], forward: Callable[[nn.Module, Any], torch.Tensor] | None = None
    ) -> None:
        """Draw the weights on trial and measure the gradients where they are removed; see `Measured`."""
        self._draw()
        values = {name: weight.parameter.detach().clone() for name, weight in self.weights.items()}
        try:
            for name, weight in self.weights.items():
                weight.parameter.data.mul_(~self.trial[name])
            with torch.enable_grad():
                super().calibrate(loader, forward)
        except BaseException:
            self.trial = {}
            raise
        finally:
            for name, weight in self.weights.items():
                weight.parameter.data.copy_(values[name])

    def flux(self, name: str) -> torch.Tensor:
        """Flux of each weight of a layer, right for those on trial."""
        pull = self.measured(name) * self.weights[name].parameter.detach()
        return pull.mul_(-KAPPA * self.n_weights)

    def choose(self) -> dict[str, torch.Tensor]:
        """Masks of this refresh."""
        if not self.trial:
            raise ValueError("refresh() must follow calibrate() where weights are removed on trial, got none")
        return super().choose()

    def scores(self) -> dict[str, torch.Tensor]:
        """Rank of the flux within [0, 1) where a weight is on trial, above where it stays, below if cut."""
        trials = [self.trial[name].flatten() for name in self.weights]
        flux = torch.cat([self.flux(n).flatten()[t] for n, t in zip(self.weights, trials, strict=True)])
        ranks = torch.empty_like(flux)
        order = flux.argsort(stable=True)
        ranks[order] = torch.arange(flux.numel(), dtype=flux.dtype, device=flux.device) / max(flux.numel(), 1)
        scores, start = {}, 0
        for (name, weight), trial in zip(self.weights.items(), trials, strict=True):
            score = torch.where(weight.mask.flatten(), _STAYS, _CUT).to(flux.dtype)
            n = int(trial.sum())
            score[trial] = ranks[start : start + n]
            scores[name] = score.reshape(weight.mask.shape)
            start += n
        return scores

    def refresh(self) -> None:
        """See `Measured.refresh`; the trial ends with it.

        Raises
        ------
        ValueError
            If there is no trial.
        """
        try:
            super().refresh()
        finally:
            self.trial = {}

    def note(self, scores: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor]) -> None:
        """Take down fluxes, not ranks."""
        gone, back = [], []
        for name, trial in self.trial.items():
            flux = self.flux(name)
            gone.append(flux[trial & ~masks[name]])
            back.append(flux[trial & masks[name]])
        lost, returned = torch.cat(gone), torch.cat(back)
        self.largest_removed = max(float(lost.amax()), 0.0) if lost.numel() else self.largest_removed
        self.mean_kept = float(returned.mean(dtype=torch.float32)) if returned.numel() else 0.0

    def _draw(self) -> None:
        """Draw twice as many kept weights as this round has to remove, or all of them."""
        n_kept = self.n_kept
        goes = n_kept - round(self.wanted_density * self.n_weights)
        n_trial = min(max(2 * goes, 0), n_kept)
        chosen = torch.zeros(n_kept, dtype=torch.bool)
        chosen[torch.randperm(n_kept, generator=self.generator)[:n_trial]] = True
        start = 0
        for name, weight in self.weights.items():
            trial = weight.mask.clone()
            n = weight.n_kept
            trial[weight.mask] = chosen[start : start + n].to(trial.device)
            self.trial[name] = trial
            start += n

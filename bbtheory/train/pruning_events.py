"""The recorder of the pruning law: events of pruning one by one, and what is measured at each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from bbtheory import validate
from bbtheory.train.flux_measurement import measure_flux
from bbtheory.train.history import History
from bbtheory.train.measured import Measured
from bbtheory.train.pruner import Pruner
from bbtheory.train.ranked import Ranked

_NEVER = 10**9  # steps
_PROBES = 2  # of the estimate that comes with the fluxes by removal, the least there may be
_LOW = 0.05  # quantile that stands for the least flux of present weights
_NEAR = 0.25  # share of the survivors, those of lowest score, that stand for what is near the threshold
_RANKED = 20_000  # survivors at most whose ranks are compared


class PruningEvents:
    """Makes the events of a run and adds a row of `History` for each: one recorder for every way to prune.

    An event measures the accuracy, then the scores where they have to be measured, refreshes the masks, and
    then measures the flux of a sample of the weights that are left, removed one by one. The saliency is the
    largest removed score, or the pressure under which the density was reached (`Hyperflux`: an event ends
    the time under one pressure). Handed to `train_epochs` as ``evaluate`` it makes an event after every
    epoch; without training in between it is called by itself, which is static pruning:

        pruner = Magnitude(model, 0.01, schedule="iterative")
        events = PruningEvents(pruner, classification(x_test, y_test))
        train_epochs(model, optimizer, batches, epochs=44, loss=cross_entropy, pruner=pruner, evaluate=events)
        pruner.history.to_csv("curve.csv")  # python -m bbtheory.fit pruning-law

    Parameters
    ----------
    pruner : Pruner
        From now on refreshed by the events alone: its own interval and warm-up no longer count.
    evaluate : callable (model) -> mapping with an ``accuracy``
    loss : callable (model, batch) -> scalar tensor, optional
        Needed where scores or fluxes are measured.
    score_batches : sequence of batches
        On which scores are measured, in evaluation mode, where they are (`Taylor`, `Gradient`,
        `RandomRegrowth`).
    flux_batches : sequence of batches
    flux_sample : int
        Present weights that are removed one by one, each for a pass over the ``flux_batches``; 0 for none.
    seed : int
        Of that sample.

    Raises
    ------
    ValueError
        If an argument is outside its domain, or something that has to be measured lacks its batches or loss.
    """

    def __init__(
        self,
        pruner: Pruner,
        evaluate: Callable[[nn.Module], Mapping[str, float]],
        *,
        loss: Callable[[nn.Module, Any], torch.Tensor] | None = None,
        score_batches: Sequence[Any] = (),
        flux_batches: Sequence[Any] = (),
        flux_sample: int = 0,
        seed: int = 0,
    ):
        self.pruner = validate.instance("pruner", pruner, Pruner)
        self.evaluate = evaluate
        self.loss = loss
        self.score_batches, self.flux_batches = list(score_batches), list(flux_batches)
        self.flux_sample = validate.integer("flux_sample", flux_sample, "[0, inf)")
        self.seed = validate.integer("seed", seed, "[0, inf)")
        for what, needed, batches in (
            ("score_batches", isinstance(pruner, Measured), self.score_batches),
            ("flux_batches", self.flux_sample > 0, self.flux_batches),
        ):
            if needed and not batches:
                raise ValueError(f"{what} must hold at least one batch, got none")
            if needed and loss is None:
                raise ValueError(f"loss must be given with {what}, got None")
        pruner.interval = pruner.warmup = _NEVER
        self._survivors: dict[str, torch.Tensor] = {}  # scores at the last event of the links it left

    @property
    def history(self) -> History:
        """Rows so far, one per event."""
        return self.pruner.history

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Make an event; return what ``evaluate`` measured before it, each name with ``_before``."""
        before = {name: float(value) for name, value in self.evaluate(model).items()}
        if "accuracy" not in before:
            raise ValueError(f"evaluate must measure an accuracy, got {', '.join(before) or 'nothing'}")
        pruner = self.pruner
        pressure = getattr(pruner, "pressure", None)
        if isinstance(pruner, Measured):
            pruner.calibrate(self.score_batches, self.loss)
        measured = self._follow()
        pruner.refresh()
        self._survivors = {
            name: score.masked_fill(~pruner.weights[name].mask, -1.0)
            for name, score in self._survivors.items()
        }
        if isinstance(pruner, Ranked):
            measured["mean_kept"] = pruner.mean_kept
        pruner.record(before["accuracy"], pressure, **measured, **self._flux())
        return {f"{name}_before": value for name, value in before.items()}

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beside the pruner's state: arrays."""
        return {"survivors": {name: score.cpu().numpy() for name, score in self._survivors.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state."""
        self._survivors = {
            name: torch.tensor(np.asarray(score)).to(self.pruner.weights[name].mask.device)
            for name, score in state["survivors"].items()
        }

    # -- what is measured

    def _flux(self) -> dict[str, float]:
        if not self.flux_sample or self.loss is None:
            return {}
        found = measure_flux(
            self.pruner,
            self.flux_batches,
            self.loss,
            probes=_PROBES,
            sample=self.flux_sample,
            seed=self.seed,
        ).sample_exact
        if not found.size:
            return {}
        low, median = np.quantile(found, (_LOW, 0.5))
        return {"flux_low": float(low), "flux_median": float(median)}

    def _follow(self) -> dict[str, float]:
        """How scores of the survivors of the last event have changed; this event's are kept for the next."""
        pruner = self.pruner
        if not isinstance(pruner, Ranked) or not pruner.follows:
            return {}
        old, now = self._survivors, {name: score.clone() for name, score in pruner.scores().items()}
        for weight in pruner.weights.values():
            weight.unmerge()
        self._survivors = now
        if not old:
            return {}
        return compare_scores(
            np.concatenate(_flat(old[n] / w.link_size for n, w in pruner.weights.items())),
            np.concatenate(_flat(now[n] / w.link_size for n, w in pruner.weights.items())),
        )


def compare_scores(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """How the scores of links that survive an event have changed by the next.

    1 + e is the median of after/before. If all survivors grow by it in each round, of which each keeps the
    share q, their compensation exponent is nu = ln(1 + e)/ln(1/q); whether they do is seen from the growth of
    those near the threshold, the lowest quarter before.

    Parameters
    ----------
    before, after : array (n,)
        Scores; only links positive in both count, survivors alone have a score >= 0.

    Returns
    -------
    dict
        growth, near_growth and rank_correlation (Spearman's), NaN with fewer than eight such links.
    """
    both = (before > 0) & (after > 0)
    before, after = before[both].astype(np.float64), after[both].astype(np.float64)
    if before.size < 8:
        return {"growth": math.nan, "near_growth": math.nan, "rank_correlation": math.nan}
    change = np.log(after / before)
    near = change[before <= np.quantile(before, _NEAR)]
    every = -(-before.size // _RANKED)
    ranks = [_ranks(values[::every]) for values in (before, after)]
    one, two = (r - r.mean() for r in ranks)
    size = math.sqrt(float(one @ one) * float(two @ two))
    return {
        "growth": math.expm1(float(np.median(change))),
        "near_growth": math.expm1(float(np.median(near))),
        "rank_correlation": float(one @ two) / size if size > 0 else math.nan,
    }


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, the mean one for equal values."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - 0.5 * (counts + 1))[place]


def _flat(tensors: Iterable[torch.Tensor]) -> list[np.ndarray]:
    return [tensor.detach().float().cpu().numpy().ravel() for tensor in tensors]

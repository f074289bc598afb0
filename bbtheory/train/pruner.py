"""The base of every pruner: when to refresh, what a refresh does, its state. An algorithm is what is left:
a score of links (`Pruner.scores`), how many links each unit or layer keeps (`Pruner.choose`), and the density
at a step (`Pruner.density_at`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bbtheory import validate
from bbtheory.train import checkpoint, distributed
from bbtheory.train.activity import decay
from bbtheory.train.history import History
from bbtheory.train.keeping import ALLOCATIONS, keep_best, links_per_layer
from bbtheory.train.masked_model import MaskedModel
from bbtheory.train.seeding import stream_seed
from bbtheory.train.sharding import is_sharded, whole

if TYPE_CHECKING:
    from bbtheory.train.unit_report import PruningReport


class Pruner(MaskedModel):
    """Keeps a share of a model's weights, chosen anew at every refresh; the base class chooses by magnitude.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place: cut weights are zero. Its parameters, modules and state_dict keep their identity and
        their names.
    density : float
        Kept / prunable weights of the pruned layers, in (0, 1].
    interval : int
        Optimizer steps from one refresh to the next, >= 1.
    warmup : int
        Optimizer steps before the first refresh, which is made at step max(warmup, 1).
    until : int, optional
        No refresh after this step.
    layers : sequence of names or (module, parameter name), optional
        What to prune; every Linear, Conv1d, Conv2d, Conv3d and MultiheadAttention if not given.
    exclude : sequence of names
        Layers to leave alone.
    granularity : {"weight", "channel"}
        Whether a link of a convolution is one weight, or a pair of channels with its whole kernel.
    dormant : {"stored", "zero"}
        Whether cut weights keep their values aside and compete again, or are forgotten.
    allocation : {"network", "layer", "row", "erk", "er"}
        Where the density is met: over all weights, in each layer, in each unit's fan-in, or in each layer
        with more for thin layers (Erdos-Renyi, with the kernel or without; see `erdos_renyi_links`).
    activations : mapping of layer name to module or module name, optional
        Activation that follows a layer, where tracing does not find it.
    inputs : mapping of layer name to layer name(s), optional
        Layers whose units a layer reads, where tracing does not find them.
    on, scale : see `Activity`
        What counts as a unit being on.
    ema_decay : float
        Decay of on-rates per optimizer step, in [0, 1).
    burn_in : int
        On-rates seen in the first steps are forgotten at this step; before the first refresh.
    optimizer : torch.optim.Optimizer, optional
        Found when it first steps if not given; needed only where it steps through a wrapper of its own.
    seed : int
        Of the pruner's own generator.

    Raises
    ------
    ValueError
        If an argument is outside its domain, a name is unknown, or there is nothing to prune.

    Notes
    -----
    A mask makes no network faster or smaller: dense hardware still multiplies by the zeros.
    """

    uses_activity = False
    needs_gradient = False  # whether `choose` reads gradients of cut weights at a refresh
    stopped = ""  # why training should end, said by a pruner that has nothing left to prune
    scaler: Any = None  # the torch.amp.GradScaler that scales the loss, for pruners that read gradients

    def __init__(
        self,
        model: nn.Module,
        density: float = 1.0,
        *,
        interval: int = 100,
        warmup: int = 0,
        until: int | None = None,
        layers: Sequence[str | tuple[nn.Module, str]] | None = None,
        exclude: Sequence[str] = (),
        granularity: str = "weight",
        dormant: str = "stored",
        allocation: str = "network",
        activations: Mapping[str, str | nn.Module] | None = None,
        inputs: Mapping[str, str | Sequence[str]] | None = None,
        on: str = "positive",
        scale: float = 1.0,
        ema_decay: float = 0.99,
        burn_in: int = 0,
        optimizer: torch.optim.Optimizer | None = None,
        seed: int = 0,
    ):
        self.density = validate.real("density", density, "(0, 1]")
        self.interval = validate.integer("interval", interval, "[1, inf)")
        self.warmup = validate.integer("warmup", warmup, "[0, inf)")
        self.until = None if until is None else validate.integer("until", until, "[1, inf)")
        self.allocation = validate.choice("allocation", allocation, ALLOCATIONS)
        self.ema_decay = validate.real("ema_decay", ema_decay, "[0, 1)")
        self.burn_in = validate.integer("burn_in", burn_in, "[0, inf)")
        if self.burn_in >= self.first_refresh and self.burn_in:
            raise ValueError(
                f"burn_in must end before the first refresh at step {self.first_refresh}, got {burn_in}"
            )
        self.generator = torch.Generator().manual_seed(stream_seed(seed, "pruner"))
        self.step_count = 0
        self.n_refreshes = 0
        self.history = History.empty()
        self._finishing = False
        super().__init__(
            model,
            layers=layers,
            exclude=exclude,
            granularity=granularity,
            dormant=dormant,
            activations=activations,
            inputs=inputs,
            on=on,
            scale=scale,
            optimizer=optimizer,
            count_activity=self.uses_activity,
        )

    # -- an algorithm

    def density_at(self, step: int) -> float:
        """Density wanted at a step; a schedule overrides this."""
        return self.density

    @property
    def by_row(self) -> bool:
        """Whether masks are chosen row by row; a subclass that chooses in its own way has to say so."""
        own = type(self).choose is Pruner.choose and type(self).scores is Pruner.scores
        return own and self.allocation == "row"

    @property
    def wanted_density(self) -> float:
        """Density that a refresh has to meet now: that of the schedule, at the end the final one."""
        return self.density if self._finishing else self.density_at(self.step_count)

    def scores(self) -> dict[str, torch.Tensor]:
        """Score of each link in the shape of its mask, larger = keep; here sum |w| over the link."""
        return {name: weight.per_link(weight.peek().abs()) for name, weight in self.weights.items()}

    def choose(self) -> dict[str, torch.Tensor]:
        """Masks of this refresh: the best scores, as many as the density asks for, where it is met."""
        return keep_best(self.weights, self.scores(), self.wanted_density, self.allocation)

    def saliency(self) -> float:
        """What presses for sparsity now, for the history: here the smallest kept |w|."""
        # by rows first: a process may hold none
        kept = [
            w.per_link(w.parameter.detach().abs()).masked_fill(~w.mask, math.inf)
            for w in self.weights.values()
        ]
        least = min(float(whole(k.flatten(1).amin(1)).amin()) for k in kept)
        return least if math.isfinite(least) else 0.0

    def apply(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Put masks in place; overridden where weights are rescaled or grown with values of their own."""
        for name, mask in masks.items():
            self.weights[name].set_mask(mask)

    # -- the course of training

    @property
    def first_refresh(self) -> int:
        """Step of the first refresh."""
        return max(self.warmup, 1)

    def is_refresh(self, step: int) -> bool:
        """Whether a step ends with a refresh."""
        late = self.until is not None and step > self.until
        return step >= self.first_refresh and (step - self.first_refresh) % self.interval == 0 and not late

    def step(self) -> None:
        """Count one optimizer step, and refresh the masks if it is time; call it after ``optimizer.step()``.

        A step that a gradient scaler skipped is not counted.

        Raises
        ------
        ValueError
            If nothing has run forward in training mode yet, or the pruner was removed.
        NonFiniteError
            If a refresh is due and weights or activations are not finite: masks stay as they are.
        """
        self._require_attached()
        if not self._watch.take_step():
            for weight in self.weights.values():
                weight.drop_broken_gradient()
            return
        if self.step_count == 0:
            self._require_seen()
        if self._attach_weights():  # the optimizer has stepped new parameters without our hooks
            self._watch.forget_cut()
            for weight in self.weights.values():
                weight.enforce()
        self.step_count += 1
        decay(self.activities.values(), self.ema_decay)
        if self.step_count == self.burn_in:
            for activity in self.activities.values():
                activity.reset()
        self._keep_cut_at_zero()
        if self.is_refresh(self.step_count):
            self.refresh()
        self._record_gradients(self.needs_gradient and self.is_refresh(self.step_count + 1))

    def refresh(self) -> None:
        """Choose the masks anew, now.

        Raises
        ------
        ValueError
            If the pruner was removed.
        NonFiniteError
            If weights or activations are not finite: masks stay as they are.
        """
        self._require_attached()
        self._attach_weights()
        self._require_finite(self.step_count)
        if self.needs_gradient:
            self._pool_gradients()
        try:
            masks = self.choose()
        except BaseException:
            for weight in self.weights.values():
                weight.unmerge()
            raise
        self.apply(masks)
        self._watch.forget_cut()
        self.n_refreshes += 1
        self._check_leaks = self.n_refreshes == 1

    def finish(self) -> PruningReport:
        """End training: meet the exact density if the last refresh did not, verify, and report.

        Raises
        ------
        NonFiniteError, ValueError
            As `refresh` and `verify`.
        """
        if not self._density_met():
            self._finishing = True
            try:
                self.refresh()
            finally:
                self._finishing = False
        self.verify(agreement=True)
        return self.report()

    def _density_met(self) -> bool:
        """Whether the masks have the final density within one link, where the allocation asks for it."""
        if self.allocation == "network":
            link = max(weight.link_size for weight in self.weights.values())
            return abs(self.n_kept - self.density * self.n_weights) < link
        links = links_per_layer(self.weights, self.density, self.allocation)
        return all(
            abs(weight.n_kept - links[name] * weight.link_size) <= weight.link_size
            for name, weight in self.weights.items()
        )

    def record(self, accuracy: float, saliency: float | None = None, **measured: float) -> None:
        """Add a row to the history: `saliency` unless it is given, the density now, the accuracy.

        Parameters
        ----------
        accuracy, saliency : float
        measured : float
            What else was measured, by the names of `History`'s later columns.

        Raises
        ------
        ValueError
            If saliency or accuracy is not finite, the saliency is negative, or a name is unknown.
        """
        saliency = self.saliency() if saliency is None else saliency
        density = self.current_density
        self.history = self.history.extended(self.step_count, saliency, density, accuracy, measured)

    def report(self, example_input: Any = None) -> PruningReport:
        """Density, on-rates, traffic, balance, bytes and multiply-adds, per layer and unit.

        Parameters
        ----------
        example_input : Tensor or tuple, optional
            Arguments of one call, samples first, where the model is: it tells how many output positions each
            layer has per sample, and so the multiply-adds of a sample.

        Raises
        ------
        ValueError
            If the example holds no tensor of samples.
        """
        from bbtheory.train.unit_report import report_of

        return report_of(self, example_input)

    def _pool_gradients(self) -> None:
        """Sum what was recorded of cut weights over processes; FSDP has done so for shards."""
        for weight in self.weights.values():
            if not is_sharded(weight.mask) and distributed.n_processes() > 1:
                gradient = weight.take_dead_gradient()
                seen = torch.tensor(float(gradient is not None))
                gradient = torch.zeros_like(weight.parameter.detach()) if gradient is None else gradient
                self.reduce([gradient, seen])
                weight.dead_gradient = gradient if float(seen) else None

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs beside the model's and the optimizer's state, as plain copies."""
        return checkpoint.pack(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state; cut weights are set to zero.

        Raises
        ------
        ValueError
            If it belongs to another pruner or another architecture; nothing is changed then.
        """
        checkpoint.unpack(self, state)

    def extra_state(self) -> dict[str, Any]:
        """What a subclass has beside the common state."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take over `extra_state`."""

"""The base of every pruner: when to refresh, what a refresh does, and its state. An algorithm is what is left:
a score of links (`Pruner.scores`), how many links each unit or layer keeps (`Pruner.choose`), and the density
at a step (`Pruner.density_at`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bbtheory import validate
from bbtheory.train import checkpoint
from bbtheory.train.activity import Activity, Padding, decay, remove_dead_taps
from bbtheory.train.allocation import even_degrees, layer_links
from bbtheory.train.history import History
from bbtheory.train.layers import choose_layers, find_layers, masked_weights, place_activities
from bbtheory.train.masking import DORMANT, GRANULARITIES
from bbtheory.train.optimizers import OptimizerWatch
from bbtheory.train.selection import keep_largest, keep_largest_overall
from bbtheory.train.tracing import trace_layers

if TYPE_CHECKING:
    from bbtheory.train.unit_report import PruningReport

ALLOCATIONS = ("network", "layer", "row")


class NonFiniteError(ValueError):
    """Weights or activations are NaN or infinite: the refresh was refused, the last masks are in place."""


class Pruner:
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
    allocation : {"network", "layer", "row"}
        Where the density is met: over all weights, in each layer, in each unit's fan-in.
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
        self.model = validate.instance("model", model, nn.Module)
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
        validate.choice("granularity", granularity, GRANULARITIES)
        validate.choice("dormant", dormant, DORMANT)
        self.graph = find_layers(model)
        chosen = choose_layers(model, self.graph, layers, exclude)
        trace_layers(model, self.graph)
        place_activities(model, self.graph, activations, inputs)
        self.weights = masked_weights(self.graph, chosen, granularity, dormant)
        self.padding = Padding()
        self.activities: dict[str, Activity] = {}
        if self.uses_activity:
            self.activities = self._activities(on, scale)
        self.step_count = 0
        self.n_refreshes = 0
        self.history = History.empty()
        self.generator = torch.Generator().manual_seed(validate.integer("seed", seed, "[0, inf)"))
        self.reduce: Callable[[list[torch.Tensor]], None] | None = None
        self._enforce_each_step = False
        self._check_leaks = False
        self._watch = OptimizerWatch(self.weights.values(), optimizer)
        self._attach()

    # -- an algorithm

    def density_at(self, step: int) -> float:
        """Density wanted at a step."""
        return self.density

    def scores(self) -> dict[str, torch.Tensor]:
        """Score of each link in the shape of its mask, larger = keep; here sum |w| over the link."""
        return {name: weight.per_link(weight.peek().abs()) for name, weight in self.weights.items()}

    def choose(self) -> dict[str, torch.Tensor]:
        """Masks of this refresh: the best scores, as many as the density asks for, where it is met."""
        scores = self.scores()
        names, weights = list(self.weights), list(self.weights.values())
        density = self.density_at(self.step_count)
        if self.allocation == "network":
            if len({w.link_size for w in weights}) == 1:
                n = sum(w.mask.numel() for w in weights)
                chosen = keep_largest_overall([scores[name] for name in names], round(density * n))
                return dict(zip(names, chosen, strict=True))
            raise ValueError("allocation must be 'layer' or 'row' where links differ in size, got 'network'")
        links = layer_links([w.mask.numel() for w in weights], [w.link_size for w in weights], density)
        masks = {}
        for name, weight, count in zip(names, weights, links, strict=True):
            score = weight.rows(scores[name])
            if self.allocation == "layer":
                mask = keep_largest(score.reshape(1, -1), torch.tensor([count]))
            else:
                mask = keep_largest(score, even_degrees(weight.n_out, weight.fan_in_limit, count))
            masks[name] = mask.reshape(weight.mask.shape)
        return masks

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
            If nothing has run forward in training mode yet.
        NonFiniteError
            If a refresh is due and weights or activations are not finite: masks stay as they are.
        """
        if not self._watch.take_step():
            return
        if self.step_count == 0 and self.activities:
            self._check_forward()
        self.step_count += 1
        decay(self.activities.values(), self.ema_decay)
        if self.step_count == self.burn_in:
            for activity in self.activities.values():
                activity.reset()
        if self._enforce_each_step:
            for weight in self.weights.values():
                weight.enforce()
        elif self._check_leaks:
            self._look_for_leaks()
        if self.is_refresh(self.step_count):
            self.refresh()
        self._record_gradients(self.needs_gradient and self.is_refresh(self.step_count + 1))

    def refresh(self) -> None:
        """Choose the masks anew, now.

        Raises
        ------
        NonFiniteError
            If weights or activations are not finite: masks stay as they are.
        """
        for weight in self.weights.values():
            weight.attach()
        self._require_finite()
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
        wanted = round(self.density * self.n_weights)
        if abs(sum(w.n_kept for w in self.weights.values()) - wanted) >= max(
            w.link_size for w in self.weights.values()
        ):
            self.until = None if self.until is None else max(self.until, self.step_count)
            self.refresh()
        self.verify()
        return self.report()

    def verify(self) -> None:
        """Check that every cut weight is zero and every dormant value lies under a cut.

        Raises
        ------
        ValueError
            Naming the first layer where it is not so.
        """
        for name, weight in self.weights.items():
            if weight.mask.device != weight.parameter.device:
                weight.attach()
            if weight.leaks():
                raise ValueError(
                    f"layer {name!r} must be zero where its mask is cut, got other weights there"
                )
            if weight.dormant is not None and bool((weight.dormant * weight.per_weight(weight.mask)).any()):
                raise ValueError(f"layer {name!r} must have no dormant value at a kept weight, got one")

    def remove(self) -> None:
        """Take every hook out: a plain model is left, cut weights zero, with the state_dict of its class."""
        for weight in self.weights.values():
            weight.detach()
        for activity in self.activities.values():
            activity.detach()
        self._watch.close()

    # -- what is known

    @property
    def n_weights(self) -> int:
        """Prunable weights of the pruned layers."""
        return sum(weight.parameter.numel() for weight in self.weights.values())

    @property
    def current_density(self) -> float:
        """Kept / prunable weights of the pruned layers, now."""
        return sum(weight.n_kept for weight in self.weights.values()) / self.n_weights

    def statistics(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Sums of on-events and of chances of each layer, of all processes together, float64 on the CPU."""
        sums = {name: (a.total.clone(), a.count.clone()) for name, a in self.activities.items()}
        if self.reduce is not None:
            self.reduce([tensor for pair in sums.values() for tensor in pair])
        return {
            name: (s.to("cpu", torch.float64), n.to("cpu", torch.float64)) for name, (s, n) in sums.items()
        }

    def on_rates(self) -> dict[str, torch.Tensor]:
        """Long-term on-rate of each unit of each layer that has been seen, S/N, float64 on the CPU."""
        return {name: s / n for name, (s, n) in self.statistics().items() if n > 0}

    def record(self, accuracy: float, saliency: float | None = None) -> None:
        """Add a row to the history: the density now, the accuracy, and the pressure or threshold behind them.

        ``saliency`` is the smallest score of a kept link if not given.
        """
        if saliency is None:
            scores = self.scores()
            for weight in self.weights.values():
                weight.unmerge()
            kept = [s[self.weights[n].mask].abs() for n, s in scores.items() if self.weights[n].mask.any()]
            saliency = min(float(s.min()) for s in kept) if kept else 0.0
        self.history = self.history.extended(self.step_count, saliency, self.current_density, accuracy)

    def report(self) -> PruningReport:
        """Density, on-rates, traffic, balance, bytes and multiply-adds, per layer and unit."""
        from bbtheory.train.unit_report import report_of

        return report_of(self)

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

    def __deepcopy__(self, memo: dict[int, Any]) -> Pruner:
        """Copy the pruner with its model; copied in one call with other objects, they share one copy."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        for name, value in self.__dict__.items():
            if isinstance(value, torch.Generator):
                copied = torch.Generator()
                copied.set_state(value.get_state())
            else:
                copied = copy.deepcopy(value, memo)
            setattr(twin, name, copied)
        twin._attach()
        return twin

    # -- inside

    def _activities(self, on: str, scale: float) -> dict[str, Activity]:
        return {
            layer.name: Activity(
                layer.site,
                layer.n_out,
                layer.unit_dim,
                on=on,
                scale=scale,
                device=layer.parameter.device,
                padding=self.padding,
            )
            for layer in self.graph.values()
            if layer.site is not None
        }

    def _attach(self) -> None:
        remove_dead_taps(self.model)
        for weight in self.weights.values():
            weight.attach()
        for activity in self.activities.values():
            activity.attach()

    def _check_forward(self) -> None:
        if all(float(activity.count) == 0.0 for activity in self.activities.values()):
            raise ValueError(
                "step() must follow a forward pass in training mode, got none: "
                f"nothing has been seen of {', '.join(self.activities)}"
            )

    def _require_finite(self) -> None:
        stays = f"refresh at step {self.step_count} refused, the masks stay as they are"
        for name, weight in self.weights.items():
            if not weight.finite():
                raise NonFiniteError(f"weights of layer {name!r} must be finite numbers, got others: {stays}")
        for name, activity in self.activities.items():
            if not bool(torch.isfinite(activity.health)):
                activity.health.zero_()  # a later refresh judges what is seen from now on
                raise NonFiniteError(
                    f"activations of layer {name!r} must be finite numbers, got others: {stays}"
                )

    def _look_for_leaks(self) -> None:
        self._check_leaks = False
        leaking = [name for name, weight in self.weights.items() if weight.leaks()]
        if leaking:
            self._enforce_each_step = True
            for weight in self.weights.values():
                weight.enforce()
            warnings.warn(
                f"the optimizer moves cut weights of {', '.join(leaking)} without a gradient (it mixes entries of "
                "a weight, or the weights were written to): masks are enforced after every step, one more pass",
                stacklevel=3,
            )

    def _record_gradients(self, wanted: bool) -> None:
        for weight in self.weights.values():
            weight.record_gradient = wanted

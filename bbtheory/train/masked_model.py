"""A model with masks on its weights and counters on its units: what is kept, what is seen, what holds."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from bbtheory import validate
from bbtheory.train import distributed
from bbtheory.train.activity import DEFINITIONS, Activity, Padding, remove_dead_taps, watch_layers
from bbtheory.train.layers import choose_layers, find_layers, masked_weights, place_activities
from bbtheory.train.masking import DORMANT, GRANULARITIES, MaskedWeight
from bbtheory.train.optimizers import OptimizerWatch
from bbtheory.train.sharding import is_sharded, reshard, whole
from bbtheory.train.tracing import trace_layers

if TYPE_CHECKING:
    from bbtheory.train.compaction import CompactReport


class NonFiniteError(ValueError):
    """Weights or activations are NaN or infinite: the refresh was refused, the last masks are in place."""


class MaskedModel:
    """The base of `Pruner`: masks, on-rates and the optimizer's memory, without a rule that changes masks.

    Parameters
    ----------
    model : torch.nn.Module
    layers, exclude, granularity, dormant, activations, inputs, on, scale, optimizer : see `Pruner`
    count_activity : bool
        Whether on-rates are counted.

    Attributes
    ----------
    graph : dict of Layer
        Every layer of the model, pruned or not.
    weights : dict of MaskedWeight
        Those that are pruned, by layer name.
    activities : dict of Activity
        Of the layers that an activation follows, by layer name; empty where on-rates are not counted.
    padding : Padding
        Set ``padding.valid`` to a boolean tensor, such as (batch, tokens), to leave padding uncounted.
    reduce : callable
        Sums a list of tensors over processes, in place; over all by default, see distributed.py.
    """

    weight_kind: type[MaskedWeight] = MaskedWeight
    watch_kind: type[OptimizerWatch] = OptimizerWatch

    def __init__(
        self,
        model: nn.Module,
        *,
        layers: Sequence[str | tuple[nn.Module, str]] | None,
        exclude: Sequence[str],
        granularity: str,
        dormant: str,
        activations: Mapping[str, str | nn.Module] | None,
        inputs: Mapping[str, str | Sequence[str]] | None,
        on: str,
        scale: float,
        optimizer: torch.optim.Optimizer | None,
        count_activity: bool,
    ):
        self.model = model = distributed.unwrapped(validate.instance("model", model, nn.Module))
        validate.choice("granularity", granularity, GRANULARITIES)
        validate.choice("dormant", dormant, DORMANT)
        validate.choice("on", on, DEFINITIONS)
        validate.real("scale", scale, "(0, inf)")
        self.graph = find_layers(model)
        chosen = choose_layers(model, self.graph, layers, exclude)
        trace_layers(model, self.graph)
        place_activities(model, self.graph, activations, inputs)
        self.weights = masked_weights(self.graph, chosen, granularity, dormant, self.weight_kind)
        self.padding = Padding()
        self.activities: dict[str, Activity] = {}
        if count_activity:
            self.activities = watch_layers(self.graph, on=on, scale=scale, padding=self.padding)
        self.reduce: distributed.Reduce = distributed.sum_over_processes
        self._enforce_each_step = False
        self._check_leaks = False
        self._removed = False
        self._watch = self.watch_kind(self.weights.values(), optimizer)
        with self._or_removed():
            self._attach()

    # -- what is kept

    @property
    def n_weights(self) -> int:
        """Prunable weights of the pruned layers."""
        return sum(weight.parameter.numel() for weight in self.weights.values())

    @property
    def n_kept(self) -> int:
        """Kept weights of the pruned layers, now."""
        return sum(weight.n_kept for weight in self.weights.values())

    @property
    def current_density(self) -> float:
        """Kept / prunable weights of the pruned layers, now."""
        return self.n_kept / self.n_weights

    @property
    def by_row(self) -> bool:
        """Whether masks are chosen row by row, so that a process can choose for the rows it holds alone."""
        return False

    def verify(self, *, agreement: bool = False) -> None:
        """Check that every cut weight is zero and that no dormant value lies at a kept weight.

        Parameters
        ----------
        agreement : bool
            Check too that masks are the same in all processes, by their hashes; all processes must call it.

        Raises
        ------
        ValueError
            Naming the first layer where it is not so.
        """
        if agreement:
            distributed.check_agreement(self, getattr(self.reduce, "group", None))
        self._reshard()
        for name, weight in self.weights.items():
            weight.follow()
            if weight.leaks():
                raise ValueError(
                    f"layer {name!r} must be zero where its mask is cut, got other weights there"
                )
            if weight.dormant is not None and bool(
                whole((weight.dormant * weight.per_weight(weight.mask)).any())
            ):
                raise ValueError(f"layer {name!r} must have no dormant value at a kept weight, got one")

    def remove(self) -> None:
        """Take every hook out: a plain model is left, cut weights zero, with the state_dict of its class."""
        self._removed = True
        for weight in self.weights.values():
            weight.detach()
        for activity in self.activities.values():
            activity.detach()
        self._watch.close()

    def compact(self, example_input: Any) -> tuple[nn.Module, CompactReport]:
        """Return a plain, smaller copy of the model without its dead units, see `bbtheory.train.compact`.

        The model and its masks stay as they are. Masks of layers that are neither Linear nor Conv are not
        used: what is cut there is zero.

        Parameters
        ----------
        example_input : Tensor or tuple
            Arguments of one call, where the model is; on them both models are compared.

        Returns
        -------
        (Module, CompactReport)
            The copy computes, in eval mode, what the masked model does, up to rounding.

        Raises
        ------
        ValueError
            If weights are sharded.
        RuntimeError
            If the copy computes something else: then the tracer did not see all that the model does.
        """
        from bbtheory.train.chains import LAYERS
        from bbtheory.train.compaction import compact

        if any(is_sharded(weight.mask) for weight in self.weights.values()):
            raise ValueError("model must hold whole weights to be compacted, got sharded ones")
        twin = copy.deepcopy(self)
        twin.remove()
        masks = {}
        for name, weight in twin.weights.items():
            module, parameter = weight.owners[0]
            # a weight that a user named may carry its layer's name with another parameter's
            if type(module) in LAYERS and parameter == "weight":
                masks[name] = weight.mask
        return compact(twin.model, masks, example_input)

    # -- what is seen

    def statistics(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Sums of on-events and of chances of each layer, of all processes together, float64 on the CPU."""
        sums = {name: (a.total.clone(), a.count.clone()) for name, a in self.activities.items()}
        self.reduce([tensor for pair in sums.values() for tensor in pair])
        return {
            name: (s.to("cpu", torch.float64), n.to("cpu", torch.float64)) for name, (s, n) in sums.items()
        }

    def pool_statistics(self) -> None:
        """Give every process the mean of all their sums, which leaves on-rates as they are.

        Call it on all processes before one of them saves the state for all.
        """
        one = torch.ones((), dtype=torch.float64)
        sums = [t for a in self.activities.values() for t in (a.total, a.count)]
        self.reduce([*sums, one])
        for tensor in sums:
            tensor.div_(float(one))

    def on_rates(self) -> dict[str, torch.Tensor]:
        """Long-term on-rate of each unit of each layer that has been seen, S/N, float64 on the CPU.

        It is 0 where less than half an event is left of what was seen, 1 where less than half a chance was
        missed: an average that only decays says how long ago a unit was last on, not how often it is.
        """
        rates = {}
        for name, (s, n) in self.statistics().items():
            if n > 0:
                rates[name] = (s / n).masked_fill(s < 0.5, 0.0).masked_fill(n - s < 0.5, 1.0)
        return rates

    # -- copies

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy with the model; copied in one call with other objects, they share one copy of it."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        for name, value in self.__dict__.items():
            if isinstance(value, torch.Generator):
                copied = torch.Generator(value.device)
                copied.set_state(value.get_state())
            else:
                copied = copy.deepcopy(value, memo)
            setattr(twin, name, copied)
        if not twin._removed:
            twin._attach()
        return twin

    # -- inside

    @contextmanager
    def _or_removed(self) -> Iterator[None]:
        """Take every hook out where a pruner cannot be made, so that another may be."""
        try:
            yield
        except BaseException:
            self.remove()
            raise

    def _attach(self) -> None:
        remove_dead_taps(self.model)
        self._attach_weights()
        for activity in self.activities.values():
            activity.attach()

    def _attach_weights(self) -> bool:
        """Find the parameters anew, with their device, type and shards; return whether one was replaced.

        Raises
        ------
        ValueError
            If weights are sharded and masks are not chosen by row.
        """
        self._reshard()
        changed = [weight.attach() for weight in self.weights.values()]
        if any(is_sharded(w.mask) for w in self.weights.values()) and not self.by_row:
            raise ValueError(
                f"{type(self).__name__} must choose row by row where weights are sharded by rows "
                "(sp_in without sp_out or rescale; allocation='row'), got a choice across rows"
            )
        return any(changed)

    def _reshard(self) -> None:
        if any(is_sharded(weight.mask) for weight in self.weights.values()):
            reshard(self.model)

    def _require_attached(self) -> None:
        if self._removed:
            raise ValueError("a pruner must not step or refresh after remove(): make a new one of the model")

    def _require_seen(self) -> None:
        if self.activities and all(float(activity.count) == 0.0 for activity in self.activities.values()):
            raise ValueError(
                "step() must follow a forward pass in training mode, got none: "
                f"nothing has been seen of {', '.join(self.activities)}"
            )

    def _require_finite(self, step: int) -> None:
        stays = f"refresh at step {step} refused, the masks stay as they are"
        for name, weight in self.weights.items():
            if not weight.settle():
                raise NonFiniteError(f"weights of layer {name!r} must be finite numbers, got others: {stays}")
        flags = [(~torch.isfinite(a.health)).to(torch.float32) for a in self.activities.values()]
        self.reduce(flags)  # what one process has met all refuse
        sick = [name for name, flag in zip(self.activities, flags, strict=True) if float(flag) > 0]
        for name in sick:  # a later refresh judges what is seen from now on
            self.activities[name].recover()
        if sick:
            raise NonFiniteError(
                f"activations of layer {sick[0]!r} must be finite numbers, got others: {stays}"
            )

    def _keep_cut_at_zero(self) -> None:
        """Enforce the masks where an optimizer is known to move cut weights; look once whether it does."""
        if self._check_leaks and not self._enforce_each_step:
            leaking = [name for name, weight in self.weights.items() if weight.leaks()]
            if leaking:
                self._enforce_each_step = True
                warnings.warn(
                    f"the optimizer moves cut weights of {', '.join(leaking)} without a gradient (it mixes "
                    "the entries of a weight, steps after the pruner does, or something else writes to it): "
                    "masks are enforced after every step, at the cost of one more pass",
                    stacklevel=4,
                )
        self._check_leaks = False
        if self._enforce_each_step:
            for weight in self.weights.values():
                weight.enforce()

    def _record_gradients(self, wanted: bool) -> None:
        for weight in self.weights.values():
            weight.record_gradient = wanted

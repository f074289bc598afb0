"""What pruning asks of optimizers: who steps the pruned weights, and to forget what is cut."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from bbtheory.train.masking import MaskedWeight


class OptimizerWatch:
    """Sees every optimizer that steps a pruned weight, without being told of it.

    Attributes
    ----------
    seen : bool
        Whether one has ever stepped.
    stepped : bool
        Whether one has stepped since `take_step`: a gradient scaler that met an infinity skips the step.
    """

    def __init__(self, weights: Iterable[MaskedWeight], optimizer: torch.optim.Optimizer | None = None):
        self.weights = list(weights)
        self.seen = False
        self.stepped = False
        self._optimizers: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self._close: Callable[[], Any] | None = None
        if optimizer is not None:
            if not self._owns(optimizer):
                raise ValueError(
                    "optimizer must step a weight of the model that is pruned, got one that does not"
                )
            self._optimizers.add(optimizer)
        self.open()

    def open(self) -> None:
        """Listen to all optimizers from now on; the watch itself is not kept alive by that."""
        self.close()
        me = weakref.ref(self)

        def after_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
            watch = me()
            if watch is not None and watch._steps_ours(optimizer):
                watch.seen = True
                # a fused optimizer is called by a gradient scaler in any case and skips by itself
                infinite = getattr(optimizer, "found_inf", None)
                watch.stepped |= infinite is None or float(infinite) == 0.0

        handle = register_optimizer_step_post_hook(after_step)
        self._close = weakref.finalize(self, handle.remove)

    def close(self) -> None:
        """Stop listening."""
        if self._close is not None:
            self._close()
        self._close = None

    def take_step(self) -> bool:
        """Whether a step was made since the last call; True where no optimizer was ever seen."""
        made = self.stepped or not self.seen
        self.stepped = False
        return made

    @torch.no_grad()
    def forget_cut(self) -> None:
        """Clear momentum and every other state of the shape of a weight, where the weight is cut."""
        for optimizer in self._optimizers:
            if isinstance(optimizer, torch.optim.LBFGS):
                optimizer.state.clear()  # its directions mix all weights: start anew
                continue
            for weight in self.weights:
                state = optimizer.state.get(weight.parameter)
                for value in (state or {}).values():
                    if torch.is_tensor(value) and value.shape == weight.parameter.shape:
                        weight.clear_cut(value)

    def _steps_ours(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether an optimizer steps one of the weights; it is remembered."""
        ours = optimizer in self._optimizers or self._owns(optimizer)
        if ours:
            self._optimizers.add(optimizer)
        return ours

    def _owns(self, optimizer: torch.optim.Optimizer) -> bool:
        pruned = {id(weight.parameter) for weight in self.weights}
        return any(id(p) in pruned for group in optimizer.param_groups for p in group["params"])

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Watch the copied weights; an optimizer copied along is found when it steps."""
        import copy

        twin = type(self)(copy.deepcopy(self.weights, memo))
        twin.seen, twin.stepped = self.seen, self.stepped
        for optimizer in self._optimizers:
            if id(optimizer) in memo:
                twin._optimizers.add(memo[id(optimizer)])
        memo[id(self)] = twin
        return twin

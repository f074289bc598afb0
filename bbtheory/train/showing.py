"""Optimizers and presence: weights hold w while an optimizer steps, and theta at all other times."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from bbtheory.train.optimizers import OptimizerWatch
from bbtheory.train.presence import PresentWeight, show_all

_ROUNDING = 1e-4  # of a power of two that was divided by, in float32
_CLIPPED = 1e3  # clipping alone seldom divides by as much; scales start at 65536


class ShowingWatch(OptimizerWatch):
    """An `OptimizerWatch` that lets weights hold w while an optimizer steps, and theta in its closure.

    Attributes
    ----------
    scaler : torch.amp.GradScaler or None
    scale : float
        Its scale at the last step: it may change before presence moves.
    """

    weights: list[PresentWeight]

    def __init__(self, weights: Iterable[Any], optimizer: torch.optim.Optimizer | None = None):
        self.scaler: torch.amp.GradScaler | None = None
        self.scale = 1.0
        self._is_scale_checked = False
        self._close_showing: Callable[[], Any] | None = None
        super().__init__(weights, optimizer)

    def open(self) -> None:
        """See `OptimizerWatch.open`."""
        super().open()
        me = weakref.ref(self)

        def before_step(optimizer: Any, args: Any, kwargs: Any) -> Any:
            watch = me()
            if watch is None or not watch._steps_ours(optimizer):
                return None
            return watch._begin(args, kwargs)

        handle = register_optimizer_step_pre_hook(before_step)
        self._close_showing = weakref.finalize(self, handle.remove)

    def close(self) -> None:
        """See `OptimizerWatch.close`."""
        super().close()
        if self._close_showing is not None:
            self._close_showing()
        self._close_showing = None

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.scaler is not None:
            self.scale = float(self.scaler.get_scale())
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._require_scaler()
            self._show()
            return None

        def hidden(*given: Any, **named: Any) -> Any:
            for weight in self.weights:
                weight.hide()
            try:
                return closure(*given, **named)
            finally:
                self._show()

        if "closure" in kwargs:
            return args, {**kwargs, "closure": hidden}
        return (*args[:1], hidden, *args[2:]), kwargs

    def _show(self) -> None:
        show_all(self.weights)

    def _require_scaler(self) -> None:
        """Look once whether gradients were divided after they came, as by a GradScaler."""
        if self.scaler is not None or self._is_scale_checked:
            return
        self._is_scale_checked = True
        gains = np.array([w.gain() for w in self.weights])
        gains = gains[np.isfinite(gains) & (gains > 1.5)]
        if not gains.size:
            return
        scaled = f"gradients {gains[0]:g} times too large: Hyperflux(model, ..., scaler=scaler)"
        power = 2.0 ** np.round(np.log2(gains))
        if bool((np.abs(gains / power - 1.0) < _ROUNDING).all()):
            raise ValueError(
                f"scaler must be given where a GradScaler scales the loss, got None and {scaled}"
            )
        if gains.min() > _CLIPPED:
            warnings.warn(
                "scaler must be given where a GradScaler scales the loss; if none does, clipping divided the "
                f"first gradients by as much; got None and {scaled}",
                stacklevel=2,
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> ShowingWatch:
        """Watch the copied weights; the scaler is the copied one only where it was copied before."""
        twin = super().__deepcopy__(memo)
        twin.scaler = memo.get(id(self.scaler), self.scaler)
        twin.scale = self.scale
        return twin

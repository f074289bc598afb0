"""The state of a pruner as tensors, numbers and strings: ``torch.load(weights_only=True)`` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bbtheory.train.history import COLUMNS, History
from bbtheory.train.sharding import is_sharded, placed

if TYPE_CHECKING:
    from bbtheory.train.pruner import Pruner

VERSION = 1
_PARTS = (
    "step", "n_refreshes", "optimizer_seen", "enforce_each_step", "check_leaks", "generator", "weights",
    "activities", "history", "extra",
)  # fmt: skip


def pack(pruner: Pruner) -> dict[str, Any]:
    """Return the state of a pruner; tensors are copies."""
    history = pruner.history
    if any(is_sharded(weight.mask) for weight in pruner.weights.values()):
        pruner.pool_statistics()
    return {
        "version": VERSION,
        "kind": type(pruner).__name__,
        "step": pruner.step_count,
        "n_refreshes": pruner.n_refreshes,
        "optimizer_seen": pruner._watch.seen,
        "enforce_each_step": pruner._enforce_each_step,
        "check_leaks": pruner._check_leaks,
        "generator": pruner.generator.get_state(),
        "weights": {
            name: {
                "mask": weight.mask.clone(),
                "dormant": None if weight.dormant is None else weight.dormant.clone(),
                "dead_gradient": None if weight.dead_gradient is None else weight.dead_gradient.clone(),
            }
            for name, weight in pruner.weights.items()
        },
        "activities": {
            name: {"total": a.total.clone(), "count": a.count.clone(), "health": a.health.clone()}
            for name, a in pruner.activities.items()
        },
        "history": {name: getattr(history, name).tolist() for name in COLUMNS},
        "extra": pruner.extra_state(),
    }


def unpack(pruner: Pruner, state: Mapping[str, Any]) -> None:
    """Check a state whole, then take it over.

    Raises
    ------
    ValueError
        If it is no such state, or of another pruner or architecture.
    """
    _check(pruner, state)
    pruner.step_count = int(state["step"])
    pruner.n_refreshes = int(state["n_refreshes"])
    pruner._watch.seen, pruner._watch.stepped = bool(state["optimizer_seen"]), False
    pruner._enforce_each_step = bool(state["enforce_each_step"])
    pruner._check_leaks = bool(state["check_leaks"])
    pruner.generator.set_state(state["generator"].cpu())
    for name, weight in pruner.weights.items():
        saved = state["weights"][name]
        weight.attach()
        weight.mask.copy_(placed(saved["mask"], weight.mask))
        if weight.dormant is not None:
            weight.dormant.copy_(placed(saved["dormant"], weight.mask))
        gradient = saved["dead_gradient"]
        if gradient is not None:
            gradient = placed(gradient, weight.mask).to(weight.parameter.device, copy=True)
        weight.dead_gradient = gradient
        weight.enforce()
    for name, activity in pruner.activities.items():
        for part, value in state["activities"][name].items():
            getattr(activity, part).copy_(value)
    rows = state["history"]
    unknown = [np.nan] * len(rows["step"])  # a state of an earlier version has the first columns alone
    pruner.history = History(
        np.array(rows["step"], np.int64), *(np.array(rows.get(n, unknown), float) for n in COLUMNS[1:])
    )
    pruner._record_gradients(pruner.needs_gradient and pruner.is_refresh(pruner.step_count + 1))
    pruner.load_extra_state(state["extra"])


def _check(pruner: Pruner, state: Mapping[str, Any]) -> None:
    if not isinstance(state, Mapping) or "kind" not in state or state.get("version") != VERSION:
        raise ValueError(f"state must be one of a pruner, version {VERSION}, got something else")
    lacking = [part for part in _PARTS if part not in state]
    if lacking:
        raise ValueError(f"state must be whole, got one without {', '.join(lacking)}")
    if state["kind"] != type(pruner).__name__:
        raise ValueError(f"state must be one of {type(pruner).__name__}, got one of {state['kind']}")
    for part, ours in (("weights", pruner.weights), ("activities", pruner.activities)):
        if list(state[part]) != list(ours):
            raise ValueError(
                f"state must be of the same architecture: {part} of {', '.join(ours) or 'no layer'}, "
                f"got {', '.join(state[part]) or 'no layer'}"
            )
    for name, weight in pruner.weights.items():
        saved = state["weights"][name]
        if saved["mask"].shape != weight.mask.shape:
            raise ValueError(
                f"state must be of the same architecture: {name!r} of shape {tuple(weight.mask.shape)}, "
                f"got {tuple(saved['mask'].shape)}"
            )
        if (saved["dormant"] is None) != (weight.dormant is None):
            raise ValueError(
                f"state must agree on dormant values: those of {name!r} are kept in one of the two only"
            )
    for name, activity in pruner.activities.items():
        if state["activities"][name]["total"].shape != activity.total.shape:
            raise ValueError(
                f"state must be of the same architecture: {activity.n_units} units of {name!r}, "
                f"got {state['activities'][name]['total'].numel()}"
            )

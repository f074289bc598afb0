"""Toy worlds that obey only the local rule and know none of the theory's solutions; imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# public name -> the module that defines it
_EXPORTS = {
    "BooleanRun": "boolean_run",
    "Pruning": "boolean_settings",
    "Training": "boolean_settings",
    "simulate_boolean": "boolean",
}

__all__ = sorted(_EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from .boolean import simulate_boolean as simulate_boolean
    from .boolean_run import BooleanRun as BooleanRun
    from .boolean_settings import Pruning as Pruning
    from .boolean_settings import Training as Training


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bbtheory.simulate' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bbtheory.simulate.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_EXPORTS))

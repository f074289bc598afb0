"""Sparse training on real tasks, the only part of the package that needs torch; imported on first use."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if importlib.util.find_spec("torch") is None:
    raise ImportError("bbtheory.train needs torch: pip install 'bbtheory[train]'", name="torch")

# public name -> the module that defines it
_EXPORTS = {
    "Dataset": "data",
    "MissingDataError": "data",
    "keep_largest": "selection",
    "keep_largest_overall": "selection",
    "load_data": "data",
}

__all__ = sorted(_EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from .data import Dataset as Dataset
    from .data import MissingDataError as MissingDataError
    from .data import load_data as load_data
    from .selection import keep_largest as keep_largest
    from .selection import keep_largest_overall as keep_largest_overall


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bbtheory.train' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bbtheory.train.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_EXPORTS))

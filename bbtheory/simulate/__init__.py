"""Toy worlds that obey only the local rule, compiled with numba; names are imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# public name -> the module that defines it
_EXPORTS = {
    "FluxRun": "flux_run",
    "simulate_flux": "flux",
    "Optimizer": "flux_settings",
    "PressureSchedule": "flux_settings",
    "RegressionLoss": "flux_settings",
    "SolvableLoss": "flux_settings",
    "draw_regression": "flux_settings",
}

__all__ = sorted(_EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from .flux import simulate_flux as simulate_flux
    from .flux_run import FluxRun as FluxRun
    from .flux_settings import Optimizer as Optimizer
    from .flux_settings import PressureSchedule as PressureSchedule
    from .flux_settings import RegressionLoss as RegressionLoss
    from .flux_settings import SolvableLoss as SolvableLoss
    from .flux_settings import draw_regression as draw_regression


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bbtheory.simulate' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bbtheory.simulate.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_EXPORTS))

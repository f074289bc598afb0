"""Toy worlds that obey only the local rule, imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# public name -> the module that defines it
_EXPORTS = {
    "Controller": "population_rules",
    "Population": "population",
    "PopulationRun": "population_run",
    "PopulationSettings": "population_rules",
    "PopulationState": "population_run",
    "PriceAdjustment": "population_rules",
    "Threshold": "population_rules",
    "simulate_population": "population",
}

__all__ = sorted(_EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from .population import Population as Population
    from .population import simulate_population as simulate_population
    from .population_rules import Controller as Controller
    from .population_rules import PopulationSettings as PopulationSettings
    from .population_rules import PriceAdjustment as PriceAdjustment
    from .population_rules import Threshold as Threshold
    from .population_run import PopulationRun as PopulationRun
    from .population_run import PopulationState as PopulationState


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bbtheory.simulate' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bbtheory.simulate.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_EXPORTS))

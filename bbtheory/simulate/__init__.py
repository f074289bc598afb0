"""Toy worlds that obey only the local rule: they use the theory's definitions, never its solutions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# public name -> the module that defines it
_EXPORTS = {
    "simulate_boolean": "boolean",
    "BooleanRun": "boolean_run",
    "Pruning": "boolean_settings",
    "Training": "boolean_settings",
    "CorrelatedActivity": "correlated",
    "pattern_probability": "correlated",
    "simulate_correlated": "correlated",
    "simulate_patterns": "correlated",
    "CorrelatedBalance": "correlated_balance",
    "simulate_correlated_balance": "correlated_balance",
    "simulate_flux": "flux",
    "FluxRun": "flux_run",
    "draw_regression": "flux_settings",
    "Optimizer": "flux_settings",
    "PressureSchedule": "flux_settings",
    "RegressionLoss": "flux_settings",
    "SolvableLoss": "flux_settings",
    "correlation_bounds": "latent",
    "cut_correlation": "latent",
    "latent_correlation": "latent",
    "Population": "population",
    "simulate_population": "population",
    "Controller": "population_rules",
    "PopulationSettings": "population_rules",
    "PriceAdjustment": "population_rules",
    "Threshold": "population_rules",
    "PopulationRun": "population_run",
    "PopulationState": "population_run",
}

__all__ = sorted(_EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]  # from the table above

if TYPE_CHECKING:
    from .boolean import simulate_boolean as simulate_boolean
    from .boolean_run import BooleanRun as BooleanRun
    from .boolean_settings import Pruning as Pruning
    from .boolean_settings import Training as Training
    from .correlated import CorrelatedActivity as CorrelatedActivity
    from .correlated import pattern_probability as pattern_probability
    from .correlated import simulate_correlated as simulate_correlated
    from .correlated import simulate_patterns as simulate_patterns
    from .correlated_balance import CorrelatedBalance as CorrelatedBalance
    from .correlated_balance import simulate_correlated_balance as simulate_correlated_balance
    from .flux import simulate_flux as simulate_flux
    from .flux_run import FluxRun as FluxRun
    from .flux_settings import Optimizer as Optimizer
    from .flux_settings import PressureSchedule as PressureSchedule
    from .flux_settings import RegressionLoss as RegressionLoss
    from .flux_settings import SolvableLoss as SolvableLoss
    from .flux_settings import draw_regression as draw_regression
    from .latent import correlation_bounds as correlation_bounds
    from .latent import cut_correlation as cut_correlation
    from .latent import latent_correlation as latent_correlation
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

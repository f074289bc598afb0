"""bbtheory: predict, simulate, train, measure and judge neural-network pruning.

Two theories made executable: Budgeted Broadcast (arXiv 2510.01263) and Hyperflux / the Neural Pruning Law
(arXiv 2504.05349). Names are imported on first use, so ``import bbtheory`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> the module that defines it
_EXPORTS = {
    "Record": "records",
    "ConvergenceError": "records",
    "InfeasibleError": "records",
    "binary_entropy": "theory.entropy",
    "coding_entropy": "theory.entropy",
    "inactivity_log_odds": "theory.entropy",
    "on_rate_from_log_odds": "theory.entropy",
    "traffic": "theory.entropy",
    "Equilibrium": "theory.equilibrium",
    "solve_equilibrium": "theory.equilibrium",
    "Equilibria": "theory.equilibria",
    "solve_equilibria": "theory.equilibria",
    "BudgetsEquilibrium": "theory.budgets",
    "solve_budgets": "theory.budgets",
    "balanced_on_rate": "theory.balance",
    "beta_for_threshold": "theory.balance",
    "threshold_degree": "theory.balance",
    "threshold_for_beta": "theory.balance",
    "DensityMatch": "theory.controller",
    "target_degree": "theory.controller",
    "match_density": "theory.controller",
    "RefreshMap": "theory.refresh",
    "refresh_map": "theory.dynamics",
    "stability_boundary": "theory.refresh_stability",
    "RefreshNoise": "theory.refresh_noise",
    "refresh_noise": "theory.refresh_noise",
    "population_multipliers": "theory.refresh_modes",
    "Recommendation": "theory.recommendation",
    "recommend": "theory.recommend",
    "fit_power_law": "fit.power_law",
    "fit_balance": "fit.balance",
}

__all__ = ["__version__", *sorted(_EXPORTS)]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from .fit.balance import fit_balance as fit_balance
    from .fit.power_law import fit_power_law as fit_power_law
    from .records import ConvergenceError as ConvergenceError
    from .records import InfeasibleError as InfeasibleError
    from .records import Record as Record
    from .theory.balance import balanced_on_rate as balanced_on_rate
    from .theory.balance import beta_for_threshold as beta_for_threshold
    from .theory.balance import threshold_degree as threshold_degree
    from .theory.balance import threshold_for_beta as threshold_for_beta
    from .theory.budgets import BudgetsEquilibrium as BudgetsEquilibrium
    from .theory.budgets import solve_budgets as solve_budgets
    from .theory.controller import DensityMatch as DensityMatch
    from .theory.controller import match_density as match_density
    from .theory.controller import target_degree as target_degree
    from .theory.dynamics import refresh_map as refresh_map
    from .theory.entropy import binary_entropy as binary_entropy
    from .theory.entropy import coding_entropy as coding_entropy
    from .theory.entropy import inactivity_log_odds as inactivity_log_odds
    from .theory.entropy import on_rate_from_log_odds as on_rate_from_log_odds
    from .theory.entropy import traffic as traffic
    from .theory.equilibria import Equilibria as Equilibria
    from .theory.equilibria import solve_equilibria as solve_equilibria
    from .theory.equilibrium import Equilibrium as Equilibrium
    from .theory.equilibrium import solve_equilibrium as solve_equilibrium
    from .theory.recommend import recommend as recommend
    from .theory.recommendation import Recommendation as Recommendation
    from .theory.refresh import RefreshMap as RefreshMap
    from .theory.refresh_modes import population_multipliers as population_multipliers
    from .theory.refresh_noise import RefreshNoise as RefreshNoise
    from .theory.refresh_noise import refresh_noise as refresh_noise
    from .theory.refresh_stability import stability_boundary as stability_boundary


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bbtheory' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bbtheory.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_EXPORTS))

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
    "solve_equilibria": "theory.equilibrium",
    "solve_budgets": "theory.equilibrium",
    "DensityMatch": "theory.balance",
    "target_degree": "theory.balance",
    "match_density": "theory.balance",
    "Network": "theory.network",
    "Shock": "theory.shock",
    "Closure": "theory.closure",
    "solve_closure": "theory.closure",
    "Response": "theory.response",
    "respond": "theory.response",
    "ResponseOperator": "theory.susceptibility",
    "ActuatorGains": "theory.actuators",
    "actuator_gains": "theory.actuators",
    "ActuatorPlan": "theory.cuts",
    "actuator_cuts": "theory.cuts",
    "fit_power_law": "fit.power_law",
    "fit_balance": "fit.balance",
}

__all__ = ["__version__", *sorted(_EXPORTS)]

if TYPE_CHECKING:
    from .fit.balance import fit_balance as fit_balance
    from .fit.power_law import fit_power_law as fit_power_law
    from .records import ConvergenceError as ConvergenceError
    from .records import InfeasibleError as InfeasibleError
    from .records import Record as Record
    from .theory.actuators import ActuatorGains as ActuatorGains
    from .theory.actuators import actuator_gains as actuator_gains
    from .theory.balance import DensityMatch as DensityMatch
    from .theory.balance import match_density as match_density
    from .theory.balance import target_degree as target_degree
    from .theory.closure import Closure as Closure
    from .theory.closure import solve_closure as solve_closure
    from .theory.cuts import ActuatorPlan as ActuatorPlan
    from .theory.cuts import actuator_cuts as actuator_cuts
    from .theory.entropy import binary_entropy as binary_entropy
    from .theory.entropy import coding_entropy as coding_entropy
    from .theory.entropy import inactivity_log_odds as inactivity_log_odds
    from .theory.entropy import on_rate_from_log_odds as on_rate_from_log_odds
    from .theory.entropy import traffic as traffic
    from .theory.equilibrium import Equilibrium as Equilibrium
    from .theory.equilibrium import solve_budgets as solve_budgets
    from .theory.equilibrium import solve_equilibria as solve_equilibria
    from .theory.equilibrium import solve_equilibrium as solve_equilibrium
    from .theory.network import Network as Network
    from .theory.response import Response as Response
    from .theory.response import respond as respond
    from .theory.shock import Shock as Shock
    from .theory.susceptibility import ResponseOperator as ResponseOperator


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bbtheory' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bbtheory.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_EXPORTS))

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
    "DensityMatch": "theory.balance",
    "target_degree": "theory.balance",
    "match_density": "theory.balance",
    "BinaryCode": "theory.binary_code",
    "independent_code": "theory.binary_code",
    "PairwiseCode": "theory.pairwise",
    "pairwise_code": "theory.pairwise",
    "match_code": "theory.pairwise",
    "PairStatistics": "theory.pair_statistics",
    "pair_statistics": "theory.pair_statistics",
    "EntropyExpansion": "theory.entropy_expansion",
    "entropy_expansion": "theory.entropy_expansion",
    "BalanceShift": "theory.correlated",
    "balance_shift": "theory.correlated",
    "CorrelationLevel": "theory.correlation_level",
    "correlation_level": "theory.correlation_level",
    "CoupledEquilibrium": "theory.coupled_equilibrium",
    "solve_coupled": "theory.coupled_equilibrium",
    "CorrelatedOptimum": "theory.correlated_optimum",
    "solve_correlated": "theory.correlated_optimum",
    "entropy_curvature": "theory.entropy_curvature",
    "MutualInformation": "theory.mutual_information",
    "mutual_information": "theory.mutual_information",
    "TrafficBound": "theory.traffic_bound",
    "bound_information": "theory.information",
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
    from .theory.balance import DensityMatch as DensityMatch
    from .theory.balance import match_density as match_density
    from .theory.balance import target_degree as target_degree
    from .theory.binary_code import BinaryCode as BinaryCode
    from .theory.binary_code import independent_code as independent_code
    from .theory.budgets import BudgetsEquilibrium as BudgetsEquilibrium
    from .theory.budgets import solve_budgets as solve_budgets
    from .theory.correlated import BalanceShift as BalanceShift
    from .theory.correlated import balance_shift as balance_shift
    from .theory.correlated_optimum import CorrelatedOptimum as CorrelatedOptimum
    from .theory.correlated_optimum import solve_correlated as solve_correlated
    from .theory.correlation_level import CorrelationLevel as CorrelationLevel
    from .theory.correlation_level import correlation_level as correlation_level
    from .theory.coupled_equilibrium import CoupledEquilibrium as CoupledEquilibrium
    from .theory.coupled_equilibrium import solve_coupled as solve_coupled
    from .theory.entropy import binary_entropy as binary_entropy
    from .theory.entropy import coding_entropy as coding_entropy
    from .theory.entropy import inactivity_log_odds as inactivity_log_odds
    from .theory.entropy import on_rate_from_log_odds as on_rate_from_log_odds
    from .theory.entropy import traffic as traffic
    from .theory.entropy_curvature import entropy_curvature as entropy_curvature
    from .theory.entropy_expansion import EntropyExpansion as EntropyExpansion
    from .theory.entropy_expansion import entropy_expansion as entropy_expansion
    from .theory.equilibria import Equilibria as Equilibria
    from .theory.equilibria import solve_equilibria as solve_equilibria
    from .theory.equilibrium import Equilibrium as Equilibrium
    from .theory.equilibrium import solve_equilibrium as solve_equilibrium
    from .theory.information import bound_information as bound_information
    from .theory.mutual_information import MutualInformation as MutualInformation
    from .theory.mutual_information import mutual_information as mutual_information
    from .theory.pair_statistics import PairStatistics as PairStatistics
    from .theory.pair_statistics import pair_statistics as pair_statistics
    from .theory.pairwise import PairwiseCode as PairwiseCode
    from .theory.pairwise import match_code as match_code
    from .theory.pairwise import pairwise_code as pairwise_code
    from .theory.traffic_bound import TrafficBound as TrafficBound


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bbtheory' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bbtheory.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_EXPORTS))

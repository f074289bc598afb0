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
    "fit_balance": "fit.balance",
    "fit_power_law": "fit.power_law",
    "measure_activity": "measure.activity",
    "measure_coding": "measure.coding",
    "measure_overlap": "measure.sparsity",
    "measure_sparsity": "measure.sparsity",
    "ConvergenceError": "records",
    "InfeasibleError": "records",
    "Record": "records",
    "simulate_boolean": "simulate.boolean",
    "simulate_correlated": "simulate.correlated",
    "simulate_flux": "simulate.flux",
    "simulate_population": "simulate.population",
    "ActuatorGains": "theory.actuators",
    "actuator_gains": "theory.actuators",
    "balanced_on_rate": "theory.balance",
    "beta_for_threshold": "theory.balance",
    "threshold_degree": "theory.balance",
    "threshold_for_beta": "theory.balance",
    "BinaryCode": "theory.binary_code",
    "independent_code": "theory.binary_code",
    "BudgetsEquilibrium": "theory.budgets",
    "solve_budgets": "theory.budgets",
    "ChunkedEquilibrium": "theory.chunked_equilibrium",
    "solve_chunked": "theory.chunked_equilibrium",
    "Chunks": "theory.chunks",
    "Closure": "theory.closure",
    "solve_closure": "theory.closure",
    "StaticExponent": "theory.compensation",
    "compensated_exponent": "theory.compensation",
    "compensation_exponent": "theory.compensation",
    "static_exponent": "theory.compensation",
    "DensityMatch": "theory.controller",
    "match_density": "theory.controller",
    "target_degree": "theory.controller",
    "BalanceShift": "theory.correlated",
    "balance_shift": "theory.correlated",
    "CorrelatedOptimum": "theory.correlated_optimum",
    "solve_correlated": "theory.correlated_optimum",
    "CorrelationLevel": "theory.correlation_level",
    "correlation_level": "theory.correlation_level",
    "CoupledEquilibrium": "theory.coupled_equilibrium",
    "solve_coupled": "theory.coupled_equilibrium",
    "CoupledPresence": "theory.coupled_flux",
    "solve_coupled_presence": "theory.coupled_flux",
    "ActuatorPlan": "theory.cuts",
    "actuator_cuts": "theory.cuts",
    "refresh_map": "theory.dynamics",
    "binary_entropy": "theory.entropy",
    "coding_entropy": "theory.entropy",
    "inactivity_log_odds": "theory.entropy",
    "on_rate_from_log_odds": "theory.entropy",
    "traffic": "theory.entropy",
    "entropy_curvature": "theory.entropy_curvature",
    "EntropyExpansion": "theory.entropy_expansion",
    "entropy_expansion": "theory.entropy_expansion",
    "Equilibria": "theory.equilibria",
    "solve_equilibria": "theory.equilibria",
    "Equilibrium": "theory.equilibrium",
    "solve_equilibrium": "theory.equilibrium",
    "PressureCurve": "theory.flux",
    "converged_pressure": "theory.flux",
    "density_under_pressure": "theory.flux",
    "broken_power_density": "theory.flux_distributions",
    "lognormal_density": "theory.flux_distributions",
    "PressureSweep": "theory.hysteresis",
    "sweep_pressure": "theory.hysteresis",
    "ImpliedSpectrum": "theory.implied_spectrum",
    "implied_spectrum": "theory.implied_spectrum",
    "bound_information": "theory.information",
    "MutualInformation": "theory.mutual_information",
    "mutual_information": "theory.mutual_information",
    "Network": "theory.network",
    "PairStatistics": "theory.pair_statistics",
    "pair_statistics": "theory.pair_statistics",
    "PairwiseCode": "theory.pairwise",
    "match_code": "theory.pairwise",
    "pairwise_code": "theory.pairwise",
    "Presence": "theory.presence",
    "collapse_ratio": "theory.presence",
    "permanence_ratio": "theory.presence",
    "solve_presence": "theory.presence",
    "recommend": "theory.recommend",
    "Recommendation": "theory.recommendation",
    "RefreshMap": "theory.refresh",
    "population_multipliers": "theory.refresh_modes",
    "RefreshNoise": "theory.refresh_noise",
    "refresh_noise": "theory.refresh_noise",
    "stability_boundary": "theory.refresh_stability",
    "Response": "theory.response",
    "respond": "theory.response",
    "Shock": "theory.shock",
    "PowerLaw": "theory.spectrum",
    "derive_power_law": "theory.spectrum",
    "largest_exponent": "theory.spectrum",
    "power_spectrum": "theory.spectrum",
    "region_end_density": "theory.spectrum",
    "ResponseOperator": "theory.susceptibility",
    "TrafficBound": "theory.traffic_bound",
}

__all__ = ["__version__", *sorted(_EXPORTS)]  # pyright: ignore[reportUnsupportedDunderAll]  # from the table above

if TYPE_CHECKING:
    from .fit.balance import fit_balance as fit_balance
    from .fit.power_law import fit_power_law as fit_power_law
    from .measure.activity import measure_activity as measure_activity
    from .measure.coding import measure_coding as measure_coding
    from .measure.sparsity import measure_overlap as measure_overlap
    from .measure.sparsity import measure_sparsity as measure_sparsity
    from .records import ConvergenceError as ConvergenceError
    from .records import InfeasibleError as InfeasibleError
    from .records import Record as Record
    from .simulate.boolean import simulate_boolean as simulate_boolean
    from .simulate.correlated import simulate_correlated as simulate_correlated
    from .simulate.flux import simulate_flux as simulate_flux
    from .simulate.population import simulate_population as simulate_population
    from .theory.actuators import ActuatorGains as ActuatorGains
    from .theory.actuators import actuator_gains as actuator_gains
    from .theory.balance import balanced_on_rate as balanced_on_rate
    from .theory.balance import beta_for_threshold as beta_for_threshold
    from .theory.balance import threshold_degree as threshold_degree
    from .theory.balance import threshold_for_beta as threshold_for_beta
    from .theory.binary_code import BinaryCode as BinaryCode
    from .theory.binary_code import independent_code as independent_code
    from .theory.budgets import BudgetsEquilibrium as BudgetsEquilibrium
    from .theory.budgets import solve_budgets as solve_budgets
    from .theory.chunked_equilibrium import ChunkedEquilibrium as ChunkedEquilibrium
    from .theory.chunked_equilibrium import solve_chunked as solve_chunked
    from .theory.chunks import Chunks as Chunks
    from .theory.closure import Closure as Closure
    from .theory.closure import solve_closure as solve_closure
    from .theory.compensation import StaticExponent as StaticExponent
    from .theory.compensation import compensated_exponent as compensated_exponent
    from .theory.compensation import compensation_exponent as compensation_exponent
    from .theory.compensation import static_exponent as static_exponent
    from .theory.controller import DensityMatch as DensityMatch
    from .theory.controller import match_density as match_density
    from .theory.controller import target_degree as target_degree
    from .theory.correlated import BalanceShift as BalanceShift
    from .theory.correlated import balance_shift as balance_shift
    from .theory.correlated_optimum import CorrelatedOptimum as CorrelatedOptimum
    from .theory.correlated_optimum import solve_correlated as solve_correlated
    from .theory.correlation_level import CorrelationLevel as CorrelationLevel
    from .theory.correlation_level import correlation_level as correlation_level
    from .theory.coupled_equilibrium import CoupledEquilibrium as CoupledEquilibrium
    from .theory.coupled_equilibrium import solve_coupled as solve_coupled
    from .theory.coupled_flux import CoupledPresence as CoupledPresence
    from .theory.coupled_flux import solve_coupled_presence as solve_coupled_presence
    from .theory.cuts import ActuatorPlan as ActuatorPlan
    from .theory.cuts import actuator_cuts as actuator_cuts
    from .theory.dynamics import refresh_map as refresh_map
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
    from .theory.flux import PressureCurve as PressureCurve
    from .theory.flux import converged_pressure as converged_pressure
    from .theory.flux import density_under_pressure as density_under_pressure
    from .theory.flux_distributions import broken_power_density as broken_power_density
    from .theory.flux_distributions import lognormal_density as lognormal_density
    from .theory.hysteresis import PressureSweep as PressureSweep
    from .theory.hysteresis import sweep_pressure as sweep_pressure
    from .theory.implied_spectrum import ImpliedSpectrum as ImpliedSpectrum
    from .theory.implied_spectrum import implied_spectrum as implied_spectrum
    from .theory.information import bound_information as bound_information
    from .theory.mutual_information import MutualInformation as MutualInformation
    from .theory.mutual_information import mutual_information as mutual_information
    from .theory.network import Network as Network
    from .theory.pair_statistics import PairStatistics as PairStatistics
    from .theory.pair_statistics import pair_statistics as pair_statistics
    from .theory.pairwise import PairwiseCode as PairwiseCode
    from .theory.pairwise import match_code as match_code
    from .theory.pairwise import pairwise_code as pairwise_code
    from .theory.presence import Presence as Presence
    from .theory.presence import collapse_ratio as collapse_ratio
    from .theory.presence import permanence_ratio as permanence_ratio
    from .theory.presence import solve_presence as solve_presence
    from .theory.recommend import recommend as recommend
    from .theory.recommendation import Recommendation as Recommendation
    from .theory.refresh import RefreshMap as RefreshMap
    from .theory.refresh_modes import population_multipliers as population_multipliers
    from .theory.refresh_noise import RefreshNoise as RefreshNoise
    from .theory.refresh_noise import refresh_noise as refresh_noise
    from .theory.refresh_stability import stability_boundary as stability_boundary
    from .theory.response import Response as Response
    from .theory.response import respond as respond
    from .theory.shock import Shock as Shock
    from .theory.spectrum import PowerLaw as PowerLaw
    from .theory.spectrum import derive_power_law as derive_power_law
    from .theory.spectrum import largest_exponent as largest_exponent
    from .theory.spectrum import power_spectrum as power_spectrum
    from .theory.spectrum import region_end_density as region_end_density
    from .theory.susceptibility import ResponseOperator as ResponseOperator
    from .theory.traffic_bound import TrafficBound as TrafficBound


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bbtheory' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bbtheory.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_EXPORTS))

"""SymPy derivations: each law of the theory from its Lagrangian or its dynamics, step by step.

``derive_NAME()`` builds a `Derivation`: statement, assumptions, steps, result, and the result as a function
on arrays. Each step is checked as it is added, so a derivation that builds is a proof; one that does not
raises `ProofError`. ``python -m bbtheory.theory.derivations`` prints them.
"""

from __future__ import annotations

from bbtheory.theory.derivations.bias import derive_degree_bias, derive_noise_bias
from bbtheory.theory.derivations.code_entropy import derive_pair_entropy, derive_triple_entropy
from bbtheory.theory.derivations.controller import (
    derive_density_monotonicity,
    derive_joint_instability,
    derive_threshold_degree,
)
from bbtheory.theory.derivations.correlated import derive_correlation_corrections
from bbtheory.theory.derivations.coupled_flux import derive_coupled_presence
from bbtheory.theory.derivations.derivation import Derivation as Derivation
from bbtheory.theory.derivations.derivation import Step as Step
from bbtheory.theory.derivations.dynamics import (
    derive_flip_interval,
    derive_partial_steps,
    derive_refresh_multiplier,
    derive_stability_range,
)
from bbtheory.theory.derivations.equilibrium import (
    derive_balance,
    derive_bounded_balance,
    derive_concavity,
)
from bbtheory.theory.derivations.exponent import (
    derive_flux_exponent,
    derive_region_end,
    derive_spectrum_tail,
)
from bbtheory.theory.derivations.flux import (
    derive_compensation,
    derive_duty_cycle,
    derive_weight_decay_presence,
)
from bbtheory.theory.derivations.information import derive_information_bound, derive_traffic_counterexample
from bbtheory.theory.derivations.moments import (
    derive_link_moments,
    derive_random_thinning,
    derive_rectified_moments,
)
from bbtheory.theory.derivations.noise import (
    derive_noise_autocorrelation,
    derive_noise_variance,
    derive_refresh_noise,
)
from bbtheory.theory.derivations.proof import Proof as Proof
from bbtheory.theory.derivations.proof import ProofError as ProofError
from bbtheory.theory.derivations.response import derive_gaussian_response, derive_log_odds_slope
from bbtheory.theory.derivations.traffic import (
    derive_line_threshold,
    derive_maximum_traffic,
    derive_price_of_traffic,
    derive_traffic_slope,
)

# in the order of a reader: equilibrium, controller, response, dynamics, correlation, information, flux
_IN_ORDER = (
    derive_balance,
    derive_bounded_balance,
    derive_concavity,
    derive_price_of_traffic,
    derive_traffic_slope,
    derive_maximum_traffic,
    derive_line_threshold,
    derive_density_monotonicity,
    derive_threshold_degree,
    derive_joint_instability,
    derive_gaussian_response,
    derive_log_odds_slope,
    derive_link_moments,
    derive_random_thinning,
    derive_rectified_moments,
    derive_refresh_multiplier,
    derive_stability_range,
    derive_flip_interval,
    derive_partial_steps,
    derive_noise_variance,
    derive_noise_autocorrelation,
    derive_refresh_noise,
    derive_noise_bias,
    derive_degree_bias,
    derive_pair_entropy,
    derive_triple_entropy,
    derive_correlation_corrections,
    derive_information_bound,
    derive_traffic_counterexample,
    derive_duty_cycle,
    derive_coupled_presence,
    derive_flux_exponent,
    derive_region_end,
    derive_spectrum_tail,
    derive_weight_decay_presence,
    derive_compensation,
)

DERIVATIONS = {build.__name__.removeprefix("derive_"): build for build in _IN_ORDER}
"""Name of each derivation -> the function that builds it."""

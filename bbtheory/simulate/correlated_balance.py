"""Units with correlated activity that obey only the local rule, each seeing its own activity alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.simulate.correlated import gaussian_factor
from bbtheory.simulate.correlated_kernel import live
from bbtheory.simulate.latent import correlation_matrix, latent_correlation
from bbtheory.theory.entropy import inactivity_log_odds, on_rate_from_log_odds

CONTROLLER, THRESHOLD = "controller", "threshold"
RULES = (CONTROLLER, THRESHOLD)


@dataclass(frozen=True, eq=False)
class CorrelatedBalance(Record):
    """Where correlated units ended under the local rule.

    Attributes
    ----------
    degree : ndarray (n,), links
        k_i after the last refresh.
    on_rate : ndarray (n,)
        True on-rate at that degree.
    estimate : ndarray (n,)
        What the rule believed it to be.
    degree_trace, estimate_trace : ndarray (n_refreshes, n)
    latent_correlation : ndarray (n, n)
        Of the Gaussians, held fixed while on-rates answer to degrees.
    rule : str
    seed : int
    """

    KIND: ClassVar[str] = "correlated_balance"
    UNITS: ClassVar[dict[str, str]] = {"on_rate": "on_rate", "estimate": "estimate", "degree": "degree"}
    HIDDEN: ClassVar[tuple[str, ...]] = ("degree_trace", "estimate_trace", "latent_correlation")

    degree: np.ndarray
    on_rate: np.ndarray
    estimate: np.ndarray
    degree_trace: np.ndarray
    estimate_trace: np.ndarray
    latent_correlation: np.ndarray
    rule: str
    seed: int


def simulate_correlated_balance(
    on_rate: ArrayLike,
    correlation: ArrayLike,
    *,
    rule: str = CONTROLLER,
    beta: float = 0.2,
    d0: float = 4.0,
    tau: float = 1.0,
    min_degree: int = 0,
    max_degree: int = 64,
    start_degree: ArrayLike | None = None,
    sensitivity: float = 0.0,
    ema_decay: float = 0.98,
    batch: int = 64,
    interval: int = 50,
    n_refreshes: int = 20,
    seed: int = 0,
) -> CorrelatedBalance:
    """Let correlated units set their degrees by the local rule from finite batches.

    Every step a batch of correlated samples moves each unit's estimate, a <- d a + (1-d) batch mean, from its
    true on-rate on. Every ``interval`` steps the controller sets k_i = clip(round(d0 + L(a_i)/beta)), or the
    threshold rule cuts k_i to floor(tau/a_i) where a_i k_i > tau. Log-odds of silence answer with
    ``-sensitivity`` nats per link gained (SP-in; 0: degrees are fan-outs and the unit does not feel them).

    Parameters
    ----------
    on_rate : array_like (n,)
        a_i in (0, 1), at ``start_degree``.
    correlation : float or array_like (n, n)
        rho_ij of the units at these on-rates.
    rule : {"controller", "threshold"}
    beta : float > 0, nats per link, and d0 : float, links
        Of the controller.
    tau : float > 0, links per step
        Traffic that the threshold rule allows.
    min_degree, max_degree : int, links, 0 to 1e9
        Clips; the threshold rule starts from ``max_degree`` if not told otherwise.
    start_degree : array_like (n,), links, optional
        Default: ``max_degree`` under the threshold rule, else the controller's answer to the true on-rates.
    sensitivity : float >= 0, nats per link
    ema_decay : float in [0, 1), per step
    batch : int, samples, 1 to 1e9
    interval : int, steps, 1 to 1e9
    n_refreshes : int >= 1
    seed : int >= 0

    Returns
    -------
    CorrelatedBalance

    Raises
    ------
    ValueError
        If an argument is outside its domain, or the correlations cannot be reached; see `latent_correlation`.

    References
    ----------
    arXiv 2510.01263 (threshold rule, controller, EMA).
    """
    a = validate.array("on_rate", on_rate, "(0, 1)")
    rho = correlation_matrix(a, correlation)
    validate.choice("rule", rule, RULES)
    beta = validate.real("beta", beta, "(0, inf)")
    d0 = validate.real("d0", d0)
    tau = validate.real("tau", tau, "(0, inf)")
    low = validate.integer("min_degree", min_degree, "[0, 1e9]")
    high = validate.integer("max_degree", max_degree, "[0, 1e9]")
    if not low < high:
        raise ValueError(f"max_degree must be above min_degree {low}, got {high}")
    sensitivity = validate.real("sensitivity", sensitivity, "[0, 1e100]")
    ema_decay = validate.real("ema_decay", ema_decay, "[0, 1)")
    batch = validate.integer("batch", batch, "[1, 1e9]")
    interval = validate.integer("interval", interval, "[1, 1e9]")
    n_refreshes = validate.integer("n_refreshes", n_refreshes, "[1, inf)")
    validate.room("n_refreshes", n_refreshes, n_refreshes * a.size)
    rng = np.random.default_rng(validate.integer("seed", seed, "[0, inf)"))
    log_odds = inactivity_log_odds(a)
    if start_degree is not None:
        start = validate.array("start_degree", start_degree, "[0, 1e9]", shape=a.shape)
    elif rule == THRESHOLD:
        start = np.full(a.size, float(high))
    else:
        with np.errstate(over="ignore"):  # an infinite degree is clipped
            start = np.clip(np.rint(d0 + log_odds / beta), low, high)
    latent = latent_correlation(a, rho)
    degree, estimate = start.copy(), a.copy()
    degrees, estimates = live(
        rng,
        gaussian_factor(latent),
        log_odds,
        sensitivity,
        degree,
        estimate,
        ema_decay,
        batch,
        interval,
        n_refreshes,
        rule == THRESHOLD,
        beta,
        d0,
        tau,
        float(low),
        float(high),
    )
    return CorrelatedBalance(
        degree=degree,
        on_rate=on_rate_from_log_odds(log_odds - sensitivity * (degree - start)),
        estimate=estimate,
        degree_trace=degrees,
        estimate_trace=estimates,
        latent_correlation=latent,
        rule=rule,
        seed=int(seed),
    )

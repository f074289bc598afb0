"""Degree rules on tensors: from the on-rate of a unit to its links, k = offset + slope d0, clipped.

balance: k = d0 + L(a)/beta, L(a) = ln((1-a)/a); activity: its straight-line form k = d0 + (2 - 4a)/beta, the
tangent at a = 1/2, so that only the activity counts and no rare unit stands out; equal_traffic: k = d0/a;
uniform: k = d0. The threshold rule cuts a unit's weakest links while a k > tau.
"""

from __future__ import annotations

import math

import torch

from bbtheory.theory.entropy import inactivity_log_odds

RULES = ("balance", "activity", "equal_traffic", "uniform")
THRESHOLD = "threshold"

# a slope of the balance beyond these means equal degrees, or all links to the rarest units
BETA_RANGE = (1e-6, 1e6)


def line_of(rule: str, on_rate: torch.Tensor, beta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (offset, slope) of k = offset + slope d0 for each unit.

    Parameters
    ----------
    rule : {"balance", "activity", "equal_traffic", "uniform"}
    on_rate : float64 CPU tensor, (n_units,)
        In (0, 1) (clipped to what was resolved).
    beta : float
        Nats per link; unused by the last two rules.

    Returns
    -------
    two float64 tensors, (n_units,)
    """
    if rule == "balance":
        return torch.from_numpy(inactivity_log_odds(on_rate.numpy())) / beta, torch.ones_like(on_rate)
    if rule == "activity":
        return (2.0 - 4.0 * on_rate) / beta, torch.ones_like(on_rate)
    if rule == "equal_traffic":
        return torch.zeros_like(on_rate), 1.0 / on_rate
    return torch.zeros_like(on_rate), torch.ones_like(on_rate)


def resolved(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """On-rates S/N kept away from 0 and 1 by half an event, 1/(2N), which N chances cannot tell apart."""
    half = 0.5 / count.clamp(min=1.0)
    return torch.minimum(torch.maximum(total / count.clamp(min=1e-300), half), 1.0 - half)


def without_silent(on_rate: torch.Tensor, silent_below: float) -> torch.Tensor:
    """On-rates with those of silent units, a < ``silent_below``, set to where the others' mean log-odds are.

    The line gives a silent unit the largest degree of all; so it gets an average one instead.
    """
    silent = on_rate < silent_below
    if not bool(silent.any()) or bool(silent.all()):
        return on_rate
    mean = torch.logit(on_rate[~silent]).mean()
    return torch.where(silent, torch.sigmoid(mean), on_rate)


def threshold_counts(
    on_rate: torch.Tensor, degree: torch.Tensor, tau: float, min_degree: int
) -> torch.Tensor:
    """Links left by cutting while a k > tau: min(k, floor(tau/a)), no unit below its floor."""
    allowed = torch.floor(tau / on_rate).clamp(min=min_degree, max=2.0**53).to(torch.int64)
    return torch.minimum(degree, allowed)


def first_beta(rule: str, on_rate: torch.Tensor, mean_degree: float) -> float:
    """Slope at which the rule spreads degrees by half their mean (one standard deviation)."""
    spread = float(line_of(rule, on_rate, 1.0)[0].std(correction=0)) if on_rate.numel() else 0.0
    beta = 2.0 * spread / max(mean_degree, 1.0)
    return min(max(beta, BETA_RANGE[0]), BETA_RANGE[1]) if beta > 0 else 1.0


def ascend_beta(beta: float, traffic: float, budget: float, rate: float) -> float:
    """One step of dual ascent on u = 1/beta: traffic above its budget raises u, and degrees spread further.

    At a fixed density the traffic sum a_i k_i falls as degrees move from busy to rare units, so u = 1/beta is
    the multiplier that presses it down: u <- u exp(rate (traffic/budget - 1)).
    """
    step = rate * (traffic / budget - 1.0)
    return min(max(beta * math.exp(-min(max(step, -1.0), 1.0)), BETA_RANGE[0]), BETA_RANGE[1])

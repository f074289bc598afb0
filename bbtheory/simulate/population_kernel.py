"""Loops of a population that obeys a local rule: arrays in, arrays changed in place."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

CUT, REGROW, SET_DEGREE, PRICED_DEGREE, PRICED_ON_RATE = range(5)
MAX_MOVE = (
    1.0  # of excitability at a refresh, standard deviations: an estimate of 0 or 1 has no finite gradient
)
MAX_RISE = 1.0  # of ln price at a refresh, so that no rate overflows


@njit(cache=True, error_model="numpy")
def respond(fan_in, drive, bias):
    """On-rate of a unit with this many inputs, Phi((drive fan_in + bias)/sqrt(fan_in))."""
    if fan_in <= 0.0:
        return 1.0 if bias > 0.0 else 0.0
    root = math.sqrt(fan_in)
    return 0.5 * math.erfc(-(drive * root + bias / root) * math.sqrt(0.5))


@njit(cache=True, error_model="numpy")
def respond_all(fan_in, drive, bias, out):
    """Fill ``out`` with the on-rate of every unit."""
    for i in range(out.size):
        out[i] = respond(fan_in[i], drive[i], bias[i])


@njit(cache=True, error_model="numpy")
def line_degree(estimate, beta, d0, low, high, whole):
    """Degree that the log-odds call for; no activity seen is the rarest there is."""
    if estimate <= 0.0:
        return high
    if estimate >= 1.0:
        return low
    degree = min(max(d0 + math.log((1.0 - estimate) / estimate) / beta, low), high)
    return min(max(np.rint(degree), low), high) if whole else degree


@njit(cache=True, error_model="numpy")
def cut_while_over(estimate, fan_out, threshold, low):
    """Fan-out that is left when the weakest link is cut while traffic is over the threshold."""
    while fan_out > low and estimate * fan_out > threshold:
        fan_out = max(fan_out - 1.0, low)
    return fan_out


@njit(cache=True, error_model="numpy")
def cut_one(estimate, fan_out, fan_in, threshold, low, high, regrow):
    """Fan-in after one refresh under the threshold: one link less, or one back."""
    if estimate * fan_out > threshold:
        return max(fan_in - 1.0, low)
    return min(fan_in + 1.0, high) if regrow else fan_in


@njit(cache=True, error_model="numpy")
def excite(estimate, fan_out, beta, answer_rate):
    """Move of a unit's excitability up its own gradient of entropy less the price of its traffic."""
    if estimate <= 0.0:
        return MAX_MOVE
    if estimate >= 1.0:
        return -MAX_MOVE
    move = answer_rate * (math.log((1.0 - estimate) / estimate) - beta * fan_out)
    return min(max(move, -MAX_MOVE), MAX_MOVE)


@njit(cache=True, error_model="numpy")
def observe(rng, target, rate, estimate, weight, n_steps, batch, decay, lag):
    """Let a unit live for some steps; return its on-rate and the corrected average of what batches show."""
    for _ in range(n_steps):
        rate = target + lag * (rate - target)
        seen = rng.binomial(batch, rate) / batch if batch > 0 else rate
        weight = decay * weight + (1.0 - decay)
        estimate += (1.0 - decay) / weight * (seen - estimate)
    return rate, estimate


@njit(cache=True, error_model="numpy")
def evolve(
    rng, drive, on_rate, estimate, weight, fan_in, fan_out, bias, beta,
    rule, goal, d0, price_rate, answer_rate, sets_in, sets_out,
    low, high, whole, share, interval, batch, decay, lag, burn_in,
    on_rates, estimates, fan_ins, fan_outs, betas,
):  # fmt: skip
    """Let a population live by its rule: refresh, live an interval, and so on.

    ``goal`` is the threshold or the budget; ``weight`` and ``beta`` hold one number each. The state (on_rate
    to beta) is changed in place, the traces (n_refreshes, n_units) are filled.
    """
    n = drive.size
    for i in range(n):
        target = respond(fan_in[i], drive[i], bias[i])
        on_rate[i], estimate[i] = observe(
            rng, target, on_rate[i], estimate[i], weight[0], burn_in, batch, decay, lag
        )
    weight[0] = 1.0 - (1.0 - weight[0]) * decay**burn_in
    for refresh in range(on_rates.shape[0]):
        if rule in (PRICED_DEGREE, PRICED_ON_RATE):
            excess = -1.0
            for i in range(n):
                excess += estimate[i] * fan_out[i] / goal
            if rule == PRICED_DEGREE:
                beta[0] *= math.exp(min(price_rate * excess, MAX_RISE))
            else:
                beta[0] = max(0.0, beta[0] + price_rate * excess)
        for i in range(n):
            if rule == PRICED_ON_RATE:
                bias[i] += math.sqrt(fan_in[i]) * excite(estimate[i], fan_out[i], beta[0], answer_rate)
            elif rule in (SET_DEGREE, PRICED_DEGREE):
                degree = share * line_degree(estimate[i], beta[0], d0, low, high, whole)
                if sets_in:
                    fan_in[i] = degree
                if sets_out:
                    fan_out[i] = degree
            else:
                # both actuators answer to the traffic that the refresh finds
                found = fan_out[i]
                if sets_out:
                    full = high if rule == REGROW else found
                    fan_out[i] = cut_while_over(estimate[i], full, goal, low)
                if sets_in:
                    fan_in[i] = cut_one(estimate[i], found, fan_in[i], goal, low, high, rule == REGROW)
            target = respond(fan_in[i], drive[i], bias[i])
            on_rate[i], estimate[i] = observe(
                rng, target, on_rate[i], estimate[i], weight[0], interval, batch, decay, lag
            )
            on_rates[refresh, i], estimates[refresh, i] = on_rate[i], estimate[i]
            fan_ins[refresh, i], fan_outs[refresh, i] = fan_in[i], fan_out[i]
        weight[0] = 1.0 - (1.0 - weight[0]) * decay**interval
        betas[refresh] = beta[0]

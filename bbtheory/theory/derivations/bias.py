"""Bias that noise gives to log-odds, and through them to degrees."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Gt

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import ON_RATE, L, a, beta, define_log_odds

v, t = sp.symbols("v t", positive=True)


@cache
def derive_noise_bias() -> Derivation:
    """Bias of the log-odds of a noisy on-rate, E L(ahat) - L(a) = (1 - 2a) Var/(2 a^2 (1-a)^2) + ...

    Returns
    -------
    Derivation
        ``function(a, v)``: leading bias in nats for an unbiased estimate of variance v; in links, over beta.

    References
    ----------
    This project's derivation.
    """
    mean, square = sp.symbols("m_1 m_2", positive=True)
    average = sp.Function("E")
    proof = Proof(
        "noise_bias",
        "Noise in the tracked on-rate makes the controller give rare units too many links and frequent units "
        "too few: log-odds are convex below 1/2 and concave above.",
        ["the estimate is unbiased with variance `v`, small beside `a**2` and `(1 - a)**2`"],
        domain={a: ON_RATE},
    )
    define_log_odds(proof)
    proof.define(
        "Mean log-odds to second order, for an error of mean `m_1` and mean square `m_2`.",
        average(a, mean, square),
        L(a) + mean * Derivative(L(a), a) + square * Derivative(L(a), (a, 2)) / 2,
    )
    proof.equal("First", Derivative(L(a), a), -1 / (a * (1 - a)))
    proof.equal("and second derivative.", Derivative(L(a), (a, 2)), (1 - 2 * a) / (a * (1 - a)) ** 2)
    bias = proof.equal(
        "An unbiased estimate has `m_1 = 0` and `m_2 = v`.",
        average(a, 0, v) - L(a),
        (1 - 2 * a) * v / (2 * (a * (1 - a)) ** 2),
    )
    proof.holds("The bias is positive below 1/2.", Gt(bias.rhs, 0), at={a: 1 / (2 + t)})
    return proof.conclude(bias, arguments=(a, v))


@cache
def derive_degree_bias() -> Derivation:
    """Bias of degrees in the closed loop, (1 - g) (1 - 2a) Var/(2 beta a^2 (1-a)^2) with full steps.

    Returns
    -------
    Derivation
        ``function(a, beta, g, v)``: mean degree less that without noise, links; v the variance of the EMA.

    References
    ----------
    This project's derivation.
    """
    g, shift, plant, bend = sp.symbols("g delta A_1 A_2", real=True)
    slope, curvature = sp.symbols("L_1 L_2", real=True)
    links = sp.Function("V_k")
    proof = Proof(
        "degree_bias",
        "In the closed loop the noise of degrees bends the on-rates back, and the shift feeds on itself: of "
        "the bias that log-odds would give to degrees, the part `1 - g` is left.",
        [
            "full steps; `v` is the variance of the estimate, `g` the gain of the loop "
            "(`derive_refresh_multiplier`)",
            "the on-rate follows the degree along a line in log-odds",
            "second order in the noise",
        ],
        domain={a: ON_RATE},
    )
    define_log_odds(proof)
    proof.define("Slope of the log-odds,", slope, Derivative(L(a), a))
    proof.define("their curvature,", curvature, Derivative(L(a), (a, 2)))
    proof.define("and the slope of the on-rate by the degree, from the gain.", plant, -g * beta / slope)
    proof.define("The variance of the degree `d_0 + L/beta`.", links(v), (slope / beta) ** 2 * v)
    proof.root(
        "Log-odds along a line have no second derivative by the degree, so the on-rate has",
        curvature * plant**2 + slope * bend,
        bend,
        -curvature * plant**2 / slope,
    )
    mean = plant * shift + bend * links(v) / 2
    total = (slope * mean + curvature * v / 2) / beta - shift
    bias = proof.root(
        "A mean degree shifted by `delta` moves the mean on-rate by `A_1*delta + A_2*V_k/2`, this the mean "
        "log-odds, and these the mean degree: by itself, if",
        total.subs(bend, -curvature * plant**2 / slope),
        shift,
        (1 - g) * (1 - 2 * a) * v / (2 * beta * (a * (1 - a)) ** 2),
    )
    return proof.conclude(bias, arguments=(a, beta, g, v))

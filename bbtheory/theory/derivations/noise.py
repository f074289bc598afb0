"""Noise in the refresh: variance and correlation of the tracked on-rate, bias of its log-odds."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Gt, Lt

from bbtheory.theory.derivations.dynamics import DECAYS, EMA, MULTIPLIER, PLAIN, Q, d, g, interval, lam
from bbtheory.theory.derivations.proof import Derivation, Proof
from bbtheory.theory.derivations.symbols import ON_RATE, L, a, define_log_odds

t = sp.Symbol("t", positive=True)


@cache
def derive_noise_variance() -> Derivation:
    """Variance of the EMA in the closed loop, Var_open/((1 + g)(1 - g (1 - Q)/(1 + Q))).

    Returns
    -------
    Derivation
        ``function(v, d, Delta, g)``: variance of the EMA at refreshes, v the variance of one step's on-rate
        (a(1-a)/B for B independent samples).

    References
    ----------
    This project's derivation.
    """
    step = sp.Symbol("j", integer=True, nonnegative=True)
    v, variance = sp.symbols("v V", positive=True)
    inflow, closed = sp.Function("N"), sp.Function("V")
    x, eta = sp.symbols("x eta", real=True)
    proof = Proof(
        "noise_variance",
        "The loop multiplies the variance that sampling noise gives to an EMA; for positive gains the factor "
        "grows with the interval, without limit towards the end of the stable range.",
        [EMA, PLAIN, "on-rates measured at different steps have independent errors of variance `v`"],
        domain=DECAYS,
    )
    proof.define(
        "Variance that `j` steps of noise add to the EMA.",
        inflow(step),
        v * (1 - d) / (1 + d) * (1 - d ** (2 * step)),
    )
    proof.equal("It starts from nothing", inflow(0), 0)
    proof.equal("and obeys the EMA's rule.", inflow(step + 1), d**2 * inflow(step) + (1 - d) ** 2 * v)
    proof.equal(
        "A deviation `x` becomes `lamda*x + eta`, with fresh noise `eta` that is independent of `x`. Its "
        "mean square, with means in place of squares and products,",
        (lam * x + eta) ** 2,
        lam**2 * variance + inflow(interval),
        at={x * eta: 0, x**2: variance, eta**2: inflow(interval)},
    )
    noise = v * (1 - d) / (1 + d) * (1 - Q**2)
    proof.root(
        "With `Q = d**Delta` the variance stays as it is at",
        lam**2 * variance + noise - variance,
        variance,
        noise / (1 - lam**2),
    )
    proof.define(
        "By its multiplier (`derive_refresh_multiplier`) it depends on the gain as",
        closed(g),
        noise / (1 - MULTIPLIER**2),
    )
    proof.equal("Without feedback it is that of a plain EMA.", closed(0), v * (1 - d) / (1 + d))
    factor = 1 / ((1 + g) * (1 - g * (1 - Q) / (1 + Q)))
    ratio = proof.equal("Feedback multiplies it by", closed(g) / closed(0), factor)
    stable = (1 + Q) / (1 - Q) / (1 + t)
    proof.holds(
        "which for stable positive gains falls with `Q`, so rises with the interval.",
        Lt(Derivative(factor, Q), 0),
        at={g: stable},
    )
    value = (v * (1 - d) / (1 + d) * factor).subs(Q, d**interval)
    return proof.conclude(ratio, arguments=(v, d, interval, g), function=[value])


@cache
def derive_noise_autocorrelation() -> Derivation:
    """Autocorrelation of the EMA from refresh to refresh, lam^m at lag m: stability read from a log.

    Returns
    -------
    Derivation
        ``function(d, Delta, g, m)``: correlation of the EMA with itself m refreshes later.

    References
    ----------
    This project's derivation.
    """
    lag = sp.Symbol("m", integer=True, nonnegative=True)
    variance = sp.Symbol("V", positive=True)
    covariance = sp.Function("c")
    x, later, eta = sp.symbols("x y eta", real=True)
    proof = Proof(
        "noise_autocorrelation",
        "Fluctuations of the tracked on-rate are correlated from refresh to refresh by the multiplier "
        "itself, whatever the strength of the noise.",
        [EMA, PLAIN, "errors at different steps are independent with mean zero"],
        domain=DECAYS,
    )
    proof.define(
        "Covariance of a deviation `x` with the one `m` refreshes later, `y`.",
        covariance(lag),
        variance * lam**lag,
    )
    proof.equal("At lag 0 it is the variance;", covariance(0), variance)
    proof.equal(
        "one refresh later `y` has become `lamda*y + eta` with noise independent of `x`; with means in "
        "place of products,",
        x * (lam * later + eta),
        covariance(lag + 1),
        at={x * eta: 0, x * later: covariance(lag)},
    )
    correlation = proof.equal("So the correlation is", covariance(lag) / covariance(0), lam**lag)
    return proof.conclude(
        correlation,
        arguments=(d, interval, g, lag),
        function=[correlation.rhs.subs(lam, MULTIPLIER.subs(Q, d**interval))],
    )


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
    v, mean, square = sp.symbols("v m_1 m_2", positive=True)
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

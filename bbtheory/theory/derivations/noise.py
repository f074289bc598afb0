"""Noise in the refresh: variance and correlation of the tracked on-rate."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Lt

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.dynamics import (
    DECAYS,
    EMA,
    MULTIPLIER,
    PLAIN,
    Q,
    c,
    d,
    define_loop,
    g,
    interval,
    lam,
    p,
)
from bbtheory.theory.derivations.proof import Proof

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
def derive_refresh_noise() -> Derivation:
    """Variance and correlation of the EMA with partial steps, from the covariance that a refresh keeps.

    Returns
    -------
    Derivation
        ``function(v, d, Delta, g, p)``: [variance of the EMA at refreshes, its correlation from one refresh
        to the next], v the variance of one step's on-rate.

    References
    ----------
    This project's derivation.
    """
    v = sp.Symbol("v", positive=True)
    q, trace, product, scale = sp.symbols("q tau pi S")
    own, cross, degree = sp.symbols("V W U")
    proof = Proof(
        "refresh_noise",
        "With partial steps estimate and degree fluctuate together; the variance of the estimate and its "
        "correlation from refresh to refresh follow from the covariance that a refresh leaves as it is.",
        [EMA, PLAIN, "`0 < p <= 1`", "noise of variance 1 comes into the estimate between refreshes"],
    )
    matrix = define_loop(proof)
    answer = p * g * (1 - Q) / c
    proof.define("The part of the way that is left,", q, 1 - p)
    proof.define(
        "the sum of the factors of that loop (`derive_partial_steps`)", trace, Q + q - p * (1 - Q) * g
    )
    proof.define("and their product.", product, Q * q)
    proof.define("With", scale, (1 - product) * ((1 + product) ** 2 - trace**2))
    proof.define("the variance of the estimate is", own, ((1 + product) * (1 + q**2) - 2 * q * trace) / scale)
    proof.define("its covariance with the degree", cross, -answer * p * (1 + q + q * (1 - Q) * g) / scale)
    proof.define("and the variance of the degree", degree, answer**2 * (1 + product) / scale)
    covariance = sp.Matrix([[own, cross], [cross, degree]])
    noise = sp.Matrix([1, -answer])  # the degree answers at once to noise of the estimate
    after = sp.Matrix(matrix) * covariance * sp.Matrix(matrix).T + noise * noise.T
    for at, name, text in (
        ((0, 0), "Vprime", "because a refresh leaves the first as it is,"),
        ((0, 1), "Wprime", "the second"),
        ((1, 1), "Uprime", "and the third."),
    ):
        proof.equal(text, after[at], covariance[at], shown=sp.Symbol(name))
    correlation = proof.equal(
        "One refresh later the estimate is `Q*x + c*k` and fresh noise, so its correlation with `x` is",
        (Q * own + c * cross) / own,
        (trace - q / own) / (1 + product),
    )
    proof.equal("With full steps this is the multiplier", correlation.rhs, MULTIPLIER, at={p: 1})
    proof.equal("and the variance that of `derive_noise_variance`.", own, 1 / (1 - MULTIPLIER**2), at={p: 1})
    variance = v * (1 - d) / (1 + d) * (1 - Q**2) * own
    return proof.conclude(
        correlation,
        arguments=(v, d, interval, g, p),
        function=[proof.unfolded(part).subs(Q, d**interval) for part in (variance, correlation.rhs)],
    )

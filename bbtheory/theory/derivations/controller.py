"""Audience from activity: what the degree controller does to a density, and why it is no joint optimum."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Gt, Lt, Max, Min, Rational, exp, log

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import ON_RATE, L, a, beta, define_entropy, h
from bbtheory.theory.derivations.traffic import derive_maximum_traffic

k, mu, tau = sp.symbols("k mu tau", positive=True)


@cache
def derive_density_monotonicity() -> Derivation:
    """Density never falls with d0; in beta it is monotone only while all on-rates are at most 1/2.

    Returns
    -------
    Derivation
        ``function(a, beta, d_0, m, D)``: degree of one unit over D, clip(d_0 + L(a)/beta, m, D)/D; the
        density is its mean over units.

    References
    ----------
    This project's derivation, for the controller of Budgeted Broadcast, arXiv 2510.01263.
    """
    d0, low = sp.Symbol("d_0", real=True), sp.Symbol("m", nonnegative=True)
    high, past, width, v = sp.symbols("D t g v", positive=True)
    degree, clipped = sp.Function("k"), sp.Function("c")
    proof = Proof(
        "density_monotonicity",
        "The density of the controller never falls when `d_0` rises, so bisection on `d_0` meets any "
        "reachable density. When `beta` rises, the density never rises if all on-rates are at most 1/2; "
        "otherwise it can fall and rise again, and one density can have several betas.",
        ["on-rates stay as they are", "degrees are not rounded", "`0 <= m < D`"],
        domain={a: ON_RATE, high: low + width},
    )
    define_entropy(proof)
    proof.define("Degree before it is clipped.", degree(d0, beta), d0 + L(a) / beta)
    proof.define(
        "Degree of the unit; the density is the mean of `c/D` over units.",
        clipped(d0, beta),
        Max(low, Min(high, degree(d0, beta))),
    )
    unit = clipped(d0, beta)
    proof.equal(
        "Below the floor the degree does not move with `d_0`,", unit, low, at={d0: low - past - L(a) / beta}
    )
    share = v / (1 + v)
    proof.equal(
        "between the bounds it is not clipped,",
        unit,
        degree(d0, beta),
        at={d0: low + share * (high - low) - L(a) / beta},
    )
    proof.equal("and above the cap it does not move.", unit, high, at={d0: high + past - L(a) / beta})
    rise = proof.equal(
        "Between the bounds it rises with `d_0` at the rate 1: as a continuous function with slopes 0, 1 and "
        "0 it never falls, nor does any mean of such functions.",
        Derivative(degree(d0, beta), d0),
        1,
    )
    by_beta = proof.equal(
        "With `beta` it moves, between the same bounds, at the rate",
        Derivative(degree(d0, beta), beta),
        -L(a) / beta**2,
    )
    proof.holds("which is negative for on-rates below 1/2", Lt(-L(a) / beta**2, 0), at={a: 1 / (2 + v)})
    proof.holds("and positive above.", Gt(-L(a) / beta**2, 0), at={a: (1 + v) / (2 + v)})
    two = (Max(0, Min(8, 4 + log(3) / beta)) + Max(0, Min(8, 4 - 2 * log(3) / beta))) / 16
    for value, words in (
        (
            log(3) / 3,
            "Two units with on-rates 1/4 and 9/10, `d_0 = 4`, `m = 0`, `D = 8`: the density is first",
        ),
        (log(3) / 2, "then less,"),
        (log(3), "and then the same again, at another `beta`."),
    ):
        proof.equal(words, two, Rational(6 if value == log(3) / 2 else 7, 16), at={beta: value})
    return proof.conclude(
        rise, by_beta, arguments=(a, beta, d0, low, high), function=[clipped(d0, beta) / high]
    )


@cache
def derive_threshold_degree() -> Derivation:
    """Audience under the threshold rule alone, k = tau/a = tau (1 + e^L): a hyperbola, not a line.

    Returns
    -------
    Derivation
        ``function(tau, L)``: degree before it is cut to whole links, at inactivity log-odds L.

    References
    ----------
    This project's derivation, for the threshold rule of Budgeted Broadcast, arXiv 2510.01263.
    """
    log_odds = sp.Symbol("L", real=True)
    degree = sp.Function("k")
    proof = Proof(
        "threshold_degree",
        "A unit that loses links while its traffic exceeds `tau`, and never regains any, ends on a "
        "hyperbola: its degree is convex in its log-odds, where the balance is straight.",
        ["the on-rate does not change with fan-out", "whole links and the initial degree are left aside"],
    )
    proof.define("Links are cut until the traffic `a*k` is `tau`.", degree(a), tau / a)
    hyperbola = proof.equal(
        "In log-odds this is an exponential,",
        degree(a),
        tau * (1 + exp(log_odds)),
        at={a: 1 / (1 + exp(log_odds))},
    )
    proof.holds("which bends everywhere;", Gt(Derivative(tau * (1 + exp(log_odds)), (log_odds, 2)), 0))
    proof.equal(
        "its slope is `k - tau`, where a line has the one slope `1/beta`.",
        Derivative(tau * (1 + exp(log_odds)), log_odds),
        degree(a) - tau,
        at={a: 1 / (1 + exp(log_odds))},
    )
    return proof.conclude(hyperbola, arguments=(tau, log_odds))


@cache
def derive_joint_instability() -> Derivation:
    """Optimum of on-rate and audience together: a L(a) = mu, a maximum above a = 0.2178, a saddle below.

    Returns
    -------
    Derivation
        ``function(a, beta)``: [mu, k, determinant of the Hessian] of the problem stationary at a.

    References
    ----------
    This project's derivation.
    """
    earning = sp.Function("F")
    W, c, v = sp.symbols("W c v", positive=True)
    proof = Proof(
        "joint_instability",
        "With an audience utility `mu*log(k)` every unit has the on-rate `a*L(a) = mu` whatever the price. "
        "The root above 0.2178 is a local maximum, the root below a saddle, and neither exists for `mu > "
        "0.2785`. Without a cap on the audience the earning has no upper bound.",
        ["one unit, price `beta` of traffic", "utility `mu*log(k)` of an audience of `k` links, `mu > 0`"],
        domain={a: ON_RATE},
    )
    define_entropy(proof)
    proof.define("What the unit earns.", earning(a, k), h(a) + mu * log(k) - beta * a * k)
    audience = proof.root(
        "The best audience at a fixed on-rate is equal traffic, `a*k = mu/beta`,",
        Derivative(earning(a, k), k),
        k,
        mu / (beta * a),
    )
    proof.equal(
        "and with it the on-rate is stationary where `a*L(a) = mu`.",
        Derivative(earning(a, k), a),
        (a * L(a) - mu) / a,
        at={k: mu / (beta * a)},
    )
    by_a, by_k = Derivative(earning(a, k), (a, 2)), Derivative(earning(a, k), (k, 2))
    mixed = Derivative(earning(a, k), a, k)
    determinant = proof.equal(
        "The determinant of the Hessian at such a point is",
        by_a * by_k - mixed**2,
        beta**2 * (1 / ((1 - a) * L(a)) - 1),
        at={mu: a * L(a), k: L(a) / beta},
    )
    proof.holds("Both second derivatives are negative:", Lt(by_a, 0))
    proof.holds(
        "so it is a maximum where `(1 - a)*L(a) < 1` and a saddle where it is above 1.",
        Lt(by_k, 0),
    )
    proof.use("The two meet where traffic on the line is largest,", derive_maximum_traffic())
    proof.equal("since there", (1 - a) * L(a), 1, at={a: W / (1 + W), log(W): -1 - W})
    proof.holds(
        "and, for on-rates below 1/2 as `mu > 0` needs, this product falls.",
        Lt(Derivative((1 - a) * L(a), a), 0),
        at={a: 1 / (2 + v)},
    )
    proof.equal(
        "Along equal traffic `a*k = c` the earning is an entropy and a logarithm of the on-rate:",
        earning(a, c / a),
        h(a) + mu * log(c / a) - beta * c,
    )
    proof.equal(
        "as the unit falls silent the entropy vanishes and the logarithm grows without bound.",
        sp.Limit(h(a), a, 0, "+"),
        0,
    )
    return proof.conclude(
        audience, determinant, arguments=(a, beta), function=[a * L(a), L(a) / beta, determinant.rhs]
    )

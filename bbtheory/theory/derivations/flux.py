"""Flux and pressure: how much of the time a weight is present, and what training does to it."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Limit, Lt, Max, log

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import HYPERFLUX

F, gamma = sp.symbols("F gamma", positive=True)
P, r = sp.symbols("P r", positive=True)


@cache
def derive_duty_cycle() -> Derivation:
    """Share of time a weight is present under pressure, P = max(0, 1 - gamma/F).

    Returns
    -------
    Derivation
        ``function(F, gamma)``: P for a flux F > 0 and a pressure gamma >= 0.

    References
    ----------
    Hyperflux, arXiv 2504.05349, for the model; the law is this project's derivation.
    """
    w, best, curvature, kappa, n, past = sp.symbols("w w_0 lamda kappa N t", positive=True)
    theta = sp.Symbol("theta", real=True)
    loss, drift = sp.Function("l"), sp.Function("v")
    proof = Proof(
        "duty_cycle",
        "Under a constant pressure a weight's presence variable slides on its threshold, and the weight is "
        "present a share `1 - gamma/F` of the time; with a flux below the pressure it is gone.",
        [
            "the weight acts as `theta = w` while its presence variable is not negative, else as `theta = 0`",
            "the presence variable descends along `kappa*w` times the slope of the loss, plus the pressure "
            "`gamma/N`",
            "the loss is quadratic about `w_0`, and the weight has learned it: `w = w_0`",
        ],
        source=HYPERFLUX,
    )
    proof.define("Loss of one weight.", loss(theta), curvature * (theta - best) ** 2 / 2)
    proof.define(
        "Rate of the presence variable, times `N`.",
        drift(theta),
        -n * kappa * w * Derivative(loss(theta), theta) - gamma,
    )
    proof.equal(
        "While the weight is absent it is the flux less the pressure; at `w = w_0` the flux is `F`.",
        drift(0) + gamma,
        n * kappa * curvature * w * best,
    )
    proof.equal(
        "While the weight is present, what is left to learn takes the place of the flux:",
        drift(w) + gamma,
        n * kappa * curvature * w * (best - w),
    )
    proof.equal("at `w = w_0` nothing.", drift(best), -gamma)
    share = proof.root(
        "On the threshold the two must cancel over time, `(1 - P)*(F - gamma) - P*gamma = 0`, so",
        -P * gamma + (1 - P) * (F - gamma),
        P,
        1 - gamma / F,
    )
    proof.holds(
        "A flux below the pressure does not bring the weight back.", Lt(F - gamma, 0), at={gamma: F + past}
    )
    return proof.conclude(share, arguments=(F, gamma), function=[Max(0, share.rhs)])


@cache
def derive_weight_decay_presence() -> Derivation:
    """Presence with learning weights and decay, gamma/F = P (P + r - P^2)/(P + r)^2, r = delta/lambda.

    Returns
    -------
    Derivation
        ``function(P, r)``: [gamma/F, w/w_0] at presence P in (0, 1]; F is the flux at w = w_0.

    References
    ----------
    Hyperflux, arXiv 2504.05349, for the model; this project's derivation.
    """
    u, g = sp.symbols("u g", positive=True)
    ratio, present, learned = sp.Function("g"), sp.Function("P"), P / (P + r)
    proof = Proof(
        "weight_decay_presence",
        "With weight decay a weight is smaller the less it is present, so its flux falls with its presence: "
        "up to a fold two presences balance a pressure, beyond it none; a weight below the lower one dies "
        "and, absent, does not learn.",
        [
            "`u = w/w_0`, `r = delta/lamda`, `F` the flux at `w = w_0`, presence `P > 0`",
            "the weight changes little during a cycle of its presence variable",
        ],
        source=HYPERFLUX,
    )
    weight = proof.root(
        "Learning while present balances decay at all times:", P * (1 - u) - r * u, u, learned
    )
    proof.equal(
        "The presence variable feels `F*u` while absent and `F*u*(1 - u)` while present "
        "(`derive_duty_cycle`). On average, less the pressure,",
        P * (F * u * (1 - u) - gamma) + (1 - P) * (F * u - gamma),
        F * u * (1 - P * u) - gamma,
    )
    proof.define("which is zero at the pressure, in units of `F`,", ratio(P), learned * (1 - P * learned))
    pressure = proof.equal("By the presence alone:", ratio(P), P * (P + r - P**2) / (P + r) ** 2)
    proof.equal("Without decay this is the duty-cycle law.", Limit(pressure.rhs, r, 0, "+"), 1 - P)
    proof.define("At a given pressure `g` the presence follows the weight,", present(u), (u - g) / u**2)
    proof.equal("by the balance above,", u * (1 - present(u) * u), g)
    proof.equal(
        "and the weight moves at the rate of learning less decay. This has the sign of a concave function, "
        "which is negative at `u = g` and at `u = 1`: between its two roots the weight grows to the upper "
        "one, below the lower one it shrinks until it is gone.",
        present(u) * (1 - u) - r * u,
        ((u - g) * (1 - u) - r * u**3) / u**2,
    )
    proof.holds("It is concave.", Lt(Derivative((u - g) * (1 - u) - r * u**3, (u, 2)), 0))
    fold = P**3 + 3 * r * P**2 - r * P - r**2
    proof.equal(
        "The two roots meet at the largest pressure, where the slope by presence is zero: at "
        "`P**3 + 3*r*P**2 - r*P - r**2 = 0`.",
        Derivative(ratio(P), P),
        -fold / (P + r) ** 3,
    )
    proof.equal(
        "Below the pressure that balances `P = 1`, a weight that lives is present at all times.",
        ratio(P),
        r / (1 + r) ** 2,
        at={P: 1},
    )
    return proof.conclude(pressure, weight, arguments=(P, r))


@cache
def derive_compensation() -> Derivation:
    """Exponent of pruning with training in between, 1/alpha_0 = 1/alpha_static + nu, nu = ln(1+e)/ln(1/q).

    Returns
    -------
    Derivation
        ``function(alpha, e, q)``: [nu, alpha_0] for the static exponent alpha, growth e and kept share q.

    References
    ----------
    This project's derivation.
    """
    s, c, alpha, q = sp.symbols("s c alpha q", positive=True)
    e, nu = sp.Symbol("e", positive=True), sp.Symbol("nu", real=True)
    rounds = sp.Symbol("m", integer=True, positive=True)
    static, trained = sp.Function("gamma_s"), sp.Function("gamma")
    proof = Proof(
        "compensation",
        "If training between rounds multiplies the survivors near the threshold by `s**(-nu)` and keeps "
        "their ranks, the measured exponent is smaller than that of static pruning: `1/alpha_0 = 1/alpha + "
        "nu`.",
        [
            "static pruning follows `s = c*gamma**(-alpha)`",
            "ranks are kept; `s` is the density after `m` rounds of keeping the share `q`",
        ],
    )
    proof.define("Threshold of static pruning at density `s`.", static(s), (c / s) ** (1 / alpha))
    proof.equal("It is the law read backwards.", c * static(s) ** (-alpha), s)
    proof.define("Threshold of the trained weights.", trained(s), s ** (-nu) * static(s))
    inverse = proof.equal(
        "Its slope in logarithms, which is `1/alpha_0`.",
        -s * Derivative(log(trained(s)), s),
        1 / alpha + nu,
    )
    growth = proof.root(
        "If each round multiplies by `1 + e`, `m` rounds give `(1 + e)**m = s**(-nu)` at `s = q**m`, with",
        rounds * log(1 + e) + nu * rounds * log(q),
        nu,
        log(1 + e) / log(1 / q),
    )
    return proof.conclude(
        inverse, growth, arguments=(alpha, e, q), function=[growth.rhs, 1 / (1 / alpha + growth.rhs)]
    )

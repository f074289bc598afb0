"""The balance and its thermodynamics: what a traffic budget makes of on-rates at fixed fan-outs."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Gt, Indexed, IndexedBase, Le, Lt, Sum, exp, log

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import (
    ANY_UNIT,
    BALANCED,
    BUDGETED_BROADCAST,
    ON_RATE,
    L,
    T,
    a,
    beta,
    define_entropy,
    h,
    i,
    j,
    k,
    n,
)

x = sp.Symbol("x", real=True)


@cache
def derive_balance() -> Derivation:
    """Selectivity-audience balance from the Lagrangian of the budget, a_i = 1/(1 + exp(beta k_i)).

    Returns
    -------
    Derivation
        ``function(beta, k)``: on-rate of a unit with k >= 0 links, at beta >= 0 nats per link.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263; that the point is the global optimum: this project's derivation.
    """
    on_rate, fan_out = IndexedBase("a"), IndexedBase("k")
    a_i, k_i = Indexed(on_rate, i), Indexed(fan_out, i)
    a_j, k_j = Indexed(on_rate, j), Indexed(fan_out, j)
    lagrangian, distance = sp.Symbol("F"), sp.Function("D")
    best = 1 / (1 + exp(x))
    proof = Proof(
        "balance",
        "At fixed fan-outs, the on-rates of highest coding entropy under a traffic budget have inactivity "
        "log-odds proportional to fan-out. The factor is the multiplier of the budget.",
        [
            "units are independent, so that the coding entropy is the sum of their entropies",
            "fan-outs `k_i` are given and the budget binds, or `beta = 0`",
        ],
        source=BUDGETED_BROADCAST,
        domain={a: ON_RATE, a_i: ON_RATE, **ANY_UNIT},
    )
    define_entropy(proof)
    proof.define(
        "Lagrangian of `n` units under the budget `T`, with multiplier `beta`.",
        lagrangian,
        Sum(h(a_j), (j, 1, n)) - beta * (Sum(a_j * k_j, (j, 1, n)) - T),
    )
    proof.equal("The slope of the entropy is the log-odds.", Derivative(h(a), a), L(a))
    proof.equal(
        "Each on-rate enters through its own terms only.",
        Derivative(lagrangian, a_i),
        L(a_i) - beta * k_i,
    )
    balance = proof.root(
        "The slope vanishes where the log-odds equal `beta*k`, that is at", L(a) - beta * k, a, BALANCED
    )
    proof.define(
        "This is the maximum. Measure how far an on-rate is from the balanced one, `1/(1 + exp(x))` with "
        "`x = beta*k`, by the divergence",
        distance(a),
        a * log(a / best) + (1 - a) * log((1 - a) / (1 - best)),
    )
    proof.equal(
        "What a unit earns is a constant less that distance.", h(a) - x * a, log(1 + exp(-x)) - distance(a)
    )
    proof.holds("The distance is convex in the on-rate,", Gt(Derivative(distance(a), (a, 2)), 0))
    proof.equal("has no slope at the balanced one", Derivative(distance(a), a), 0, at={a: best})
    proof.equal("and is zero there, hence positive everywhere else.", distance(a), 0, at={a: best})
    proof.equal(
        "Without a price every on-rate is 1/2: the budget binds only below half of all links.",
        BALANCED,
        sp.Rational(1, 2),
        at={beta: 0},
    )
    proof.holds(
        "It is no optimum in the fan-outs: a link earns no entropy and costs `beta*a_i`, so cutting links "
        "always raises the sum.",
        Lt(Derivative(lagrangian, k_i), 0),
    )
    return proof.conclude(balance, arguments=(beta, k))


@cache
def derive_bounded_balance() -> Derivation:
    """Balance with bounds on the on-rate, a = clip(1/(1 + exp(x)), lo, hi).

    Returns
    -------
    Derivation
        ``function(x, l, u)``: on-rate in [l, u] at the price x = sum_r beta_r C_r, nats.

    References
    ----------
    This project's derivation.
    """
    low, high, past = sp.symbols("l u t", positive=True)
    best, other = sp.symbols("c b", positive=True)
    distance = sp.Function("D")
    v, w, s = sp.symbols("v w s", positive=True)
    proof = Proof(
        "bounded_balance",
        "With bounds on an on-rate the optimum is the balanced one clipped to them, at the final prices: "
        "clipping belongs inside the search for the multipliers, not after it.",
        [
            "the price `x` on a unit's on-rate is the sum, over budgets, of multiplier times cost",
            "`0 < l < u < 1`",
        ],
        domain={
            a: ON_RATE,
            best: v / (1 + v),
            other: w / (1 + w),
            low: ON_RATE,
            high: ON_RATE,
            past: log(1 + s),
        },
    )
    define_entropy(proof)
    proof.define(
        "Divergence of an on-rate `b` from an on-rate `c`; never negative (`derive_balance`).",
        distance(other, best),
        other * log(other / best) + (1 - other) * log((1 - other) / (1 - best)),
    )
    compared = proof.equal(
        "What `b` earns beyond `c` at the price `x` is a linear term less a divergence.",
        (h(other) - x * other) - (h(best) - x * best),
        (L(best) - x) * (other - best) - distance(other, best),
    )
    proof.equal(
        "The clipped on-rate makes the linear term zero inside the bounds,",
        L(best) - x,
        0,
        at={best: 1 / (1 + exp(x))},
    )
    proof.holds(
        "gives it the factor `L(c) - x < 0` beside `b - c >= 0` where `c = l`, that is at prices `t` above "
        "`L(l)`, where the balanced on-rate is below `l`,",
        Lt(1 / (1 + exp(x)), low),
        at={x: L(low) + past},
    )
    proof.holds(
        "and the factor `L(c) - x > 0` beside `b - c <= 0` where `c = u`, at prices `t` below `L(u)`. No "
        "on-rate `b` between the bounds earns more.",
        Gt(1 / (1 + exp(x)), high),
        at={x: L(high) - past},
    )
    clipped = sp.Max(low, sp.Min(high, 1 / (1 + exp(x))))
    return proof.conclude(compared, arguments=(x, low, high), function=[clipped])


@cache
def derive_concavity() -> Derivation:
    """Curvature of the coding entropy, h''(a) = -1/(a(1-a)) <= -4.

    Returns
    -------
    Derivation
        ``function(a)``: curvature of a unit's entropy, nats, a in (0, 1).

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263 (concave problem).
    """
    proof = Proof(
        "concavity",
        "The coding entropy is strictly concave in the on-rates and a traffic budget is linear in them, so a "
        "stationary point at fixed fan-outs is the only maximum.",
        ["`0 < a < 1`"],
        source=BUDGETED_BROADCAST,
        domain={a: ON_RATE},
    )
    define_entropy(proof)
    curvature = proof.equal("Curvature of one unit's entropy.", Derivative(h(a), (a, 2)), -1 / (a * (1 - a)))
    proof.holds("It is negative,", Lt(Derivative(h(a), (a, 2)), 0))
    proof.holds(
        "by at least 4: the entropy bends most for rare units, least at 1/2.",
        Le(Derivative(h(a), (a, 2)), -4),
    )
    other = sp.Symbol("b", positive=True)
    proof.equal(
        "Units do not mix, so the Hessian of the sum is diagonal and negative.",
        Derivative(h(a) + h(other), a, other),
        0,
    )
    proof.equal("Traffic has no curvature.", Derivative(a * k, (a, 2)), 0)
    return proof.conclude(curvature, arguments=(a,))

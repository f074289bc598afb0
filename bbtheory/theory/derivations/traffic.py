"""Traffic on the balance: its price, its slope, its maximum."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Eq, Indexed, IndexedBase, Le, Lt, Sum, exp, log

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import (
    BALANCED,
    ON_RATE,
    L,
    a,
    beta,
    define_entropy,
    define_log_odds,
    h,
    j,
    k,
    n,
)


@cache
def derive_price_of_traffic() -> Derivation:
    """Thermodynamics of the budget, T = -d ln Z/d beta, H = ln Z + beta T, dH/dT = beta.

    Returns
    -------
    Derivation
        ``function(beta, k)``: [traffic, entropy] of one unit with k links; sums over units give T and H.

    References
    ----------
    This project's derivation.
    """
    fan_out = IndexedBase("k", nonnegative=True)
    k_j = Indexed(fan_out, j)
    partition, traffic, entropy = (sp.Function(name) for name in ("lnZ", "T", "H"))
    proof = Proof(
        "price_of_traffic",
        "The multiplier is the price of traffic: one more unit of budget buys `beta` nats of entropy.",
        ["on-rates on the balance (`derive_balance`)"],
    )
    define_entropy(proof)
    proof.define(
        "Logarithm of the partition function of the units.",
        partition(beta),
        Sum(log(1 + exp(-beta * k_j)), (j, 1, n)),
    )
    proof.define("Traffic on the balance.", traffic(beta), Sum(k_j / (1 + exp(beta * k_j)), (j, 1, n)))
    proof.define("Entropy on the balance.", entropy(beta), Sum(h(1 / (1 + exp(beta * k_j))), (j, 1, n)))
    proof.equal("Traffic is its slope.", traffic(beta), -Derivative(partition(beta), beta))
    proof.equal("Entropy is its Legendre transform.", entropy(beta), partition(beta) + beta * traffic(beta))
    price = proof.equal(
        "Along the balance entropy and traffic change together, in the ratio `dH/dT = beta`.",
        Derivative(entropy(beta), beta),
        beta * Derivative(traffic(beta), beta),
    )
    unit = h(BALANCED)
    return proof.conclude(price, arguments=(beta, k), function=[k * BALANCED, unit])


@cache
def derive_traffic_slope() -> Derivation:
    """How traffic falls with its price, dT/dbeta = -sum_i k_i^2 a_i (1 - a_i).

    Returns
    -------
    Derivation
        ``function(beta, k)``: dT/dbeta of one unit with k links; sums over units.

    References
    ----------
    This project's derivation.
    """
    proof = Proof(
        "traffic_slope",
        "Traffic on the balance falls as its price rises, by the variance of traffic of independent units; "
        "so every budget below the unpriced traffic has exactly one multiplier.",
        ["on-rates on the balance (`derive_balance`)"],
    )
    on_rate = sp.Function("a")
    proof.define("On-rate of a unit with `k` links.", on_rate(beta), BALANCED)
    slope = proof.equal(
        "Slope of one unit's traffic.",
        Derivative(k * on_rate(beta), beta),
        -(k**2) * on_rate(beta) * (1 - on_rate(beta)),
    )
    proof.holds("It is never positive.", Le(Derivative(k * on_rate(beta), beta), 0))
    proof.equal("Without a price the unit carries half of its links", k * on_rate(beta), k / 2, at={beta: 0})
    positive = sp.Symbol("k", positive=True)
    proof.equal(
        "and at a high price nothing.", sp.Limit(positive / (1 + exp(beta * positive)), beta, sp.oo), 0
    )
    return proof.conclude(slope, arguments=(beta, k))


@cache
def derive_maximum_traffic() -> Derivation:
    """Largest traffic on the balance line, t = W(1/e)/beta at a = W/(1 + W), W = W(1/e).

    Returns
    -------
    Derivation
        ``function(beta)``: [on-rate there, traffic there in links per step].

    References
    ----------
    This project's derivation.
    """
    W, traffic = sp.Symbol("W", positive=True), sp.Function("t")
    lambert = {log(W): -1 - W}
    proof = Proof(
        "maximum_traffic",
        "No unit on the balance line carries more traffic than `W/beta`, where `W = 0.27846` is Lambert's "
        "function at `1/e`: a threshold at or above it never cuts a unit on the line.",
        ["on-rates on the balance, fan-out read off the line, `k = L(a)/beta`"],
        domain={a: ON_RATE},
    )
    define_entropy(proof)
    proof.define("Traffic of a unit on the line.", traffic(a), a * L(a) / beta)
    proof.given("Lambert's function at `1/e`, in other words `log(W) = -1 - W`.", Eq(W * exp(W), exp(-1)))
    proof.equal("Slope along the line.", Derivative(traffic(a), a), (L(a) - 1 / (1 - a)) / beta)
    proof.equal("It vanishes at odds `a/(1 - a) = W`,", L(a) - 1 / (1 - a), 0, at={a: W / (1 + W), **lambert})
    proof.holds("which is a maximum and the only one.", Lt(Derivative(traffic(a), (a, 2)), 0))
    where = proof.root("The on-rate there is", a / (1 - a) - W, a, W / (1 + W))
    highest = proof.equal("and the traffic", traffic(a), W / beta, at={a: W / (1 + W), **lambert})
    value = sp.LambertW(exp(-1))
    return proof.conclude(
        where, highest, arguments=(beta,), function=[r.rhs.subs(W, value) for r in (where, highest)]
    )


@cache
def derive_line_threshold() -> Derivation:
    """Largest traffic on a shifted line, t = y/beta at a = y/(1 + y) with y e^y = e^(beta d_0 - 1).

    Returns
    -------
    Derivation
        ``function(beta, d_0)``: [on-rate there, traffic there in links per step].

    References
    ----------
    This project's derivation.
    """
    y, d0, traffic = sp.Symbol("y", positive=True), sp.Symbol("d_0", real=True), sp.Function("t")
    lambert = {log(y): beta * d0 - 1 - y}
    proof = Proof(
        "line_threshold",
        "A line that is shifted by `d_0` links carries at most `y/beta`, where `y` is Lambert's function at "
        "`exp(beta*d_0 - 1)`.",
        ["on-rates on the line `k = d_0 + L(a)/beta`, which is not clipped there"],
        domain={a: ON_RATE},
    )
    define_log_odds(proof)
    proof.define("Traffic of a unit on the line.", traffic(a), a * (d0 + L(a) / beta))
    proof.given(
        "Lambert's function, in other words `log(y) = beta*d_0 - 1 - y`.", Eq(y * exp(y), exp(beta * d0 - 1))
    )
    proof.equal(
        "The slope vanishes at odds `y`,", Derivative(traffic(a), a), 0, at={a: y / (1 + y), **lambert}
    )
    proof.holds("which is a maximum and the only one.", Lt(Derivative(traffic(a), (a, 2)), 0))
    where = proof.root("The on-rate there is", a / (1 - a) - y, a, y / (1 + y))
    highest = proof.equal("and the traffic", traffic(a), y / beta, at={a: y / (1 + y), **lambert})
    odds = sp.LambertW(exp(beta * d0 - 1))
    return proof.conclude(
        where, highest, arguments=(beta, d0), function=[part.rhs.subs(y, odds) for part in (where, highest)]
    )

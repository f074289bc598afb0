"""Entropy of correlated units as a series in their correlations."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import combinations, combinations_with_replacement, product
from math import prod
from typing import Any

import sympy as sp
from sympy import Eq, log, sqrt

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import a, define_entropy, h

g, chi, E, S = (sp.Function(name) for name in ("g", "chi", "E", "S"))
f, e = sp.Symbol("f"), sp.Symbol("epsilon", real=True)
on_rates = sp.symbols("a_1:4", positive=True)
z = sp.symbols("z_1:4", real=True)
rho12, rho13, rho23 = sp.symbols("rho_12 rho_13 rho_23", real=True)
# squares as odds, so that the roots of a(1-a) are rational in the checks
DOMAIN = {
    on_rate: r**2 / (1 + r**2)
    for on_rate, r in zip(on_rates, sp.symbols("r_1:4", positive=True), strict=True)
}


def define_moments(proof: Proof) -> None:
    """Define variance and skewness of a unit."""
    proof.define("Variance of a unit.", chi(a), a * (1 - a))
    proof.define("Its skewness.", g(a), (1 - 2 * a) / sqrt(chi(a)))


def _define_units(proof: Proof, powers: int) -> None:
    define_entropy(proof)
    define_moments(proof)
    h_i, a_i, z_i = sp.symbols("h_i a_i z_i")
    proof.given(
        "Standardised activity of unit `i`, which is on (`h_i = 1`) or off (`h_i = 0`). In what follows `E` "
        "averages over independent units.",
        Eq(z_i, (h_i - a_i) / sqrt(chi(a_i))),
    )
    on, off = (1 - a) / sqrt(chi(a)), -a / sqrt(chi(a))
    for power, text in zip(
        range(1, powers + 1), ("Its mean", "mean square", "mean cube", "and next moment."), strict=False
    ):
        mean = a * on**power + (1 - a) * off**power
        proof.equal(text, mean, _moment(power, a), shown=E(z_i**power))


def _moment(power: int, on_rate: Any) -> Any:
    return (1, 0, 1, g(on_rate), 1 + g(on_rate) ** 2)[power]


def _mean(polynomial: Any) -> Any:
    """Average a polynomial in z_1, z_2, z_3 over independent units, by their moments."""
    terms = sp.Poly(sp.expand(polynomial), *z).terms()
    return sum(
        (c * prod(_moment(m, x) for m, x in zip(powers, on_rates, strict=True)) for powers, c in terms),
        sp.Integer(0),
    )


def _expand_cost(proof: Proof, order: int) -> Any:
    """Prove the series of what a code costs beside independent units; return it."""
    cost = f + sum((-f) ** m / (m * (m - 1)) for m in range(2, order + 1))
    proof.expands("The cost as a series.", (1 + f) * log(1 + f), cost, f, order)
    return cost


@cache
def derive_pair_entropy() -> Derivation:
    """Entropy of two correlated units, h + h - rho^2/2 + g g rho^3/6 - (1+g^2)(1+g^2) rho^4/12 + O(rho^5).

    Returns
    -------
    Derivation
        ``function(a_1, a_2, rho)``: what the correlation adds to h(a_1) + h(a_2), through rho^4, nats.

    References
    ----------
    This project's derivation.
    """
    a1, a2, _ = on_rates
    rho = sp.Symbol("rho", real=True)
    overlap = rho * z[0] * z[1]
    proof = Proof(
        "pair_entropy",
        "A correlation `rho` costs two units `rho**2/2` nats whatever their on-rates; their skewness "
        "decides the next order.",
        ["two binary units with on-rates in (0, 1)"],
        domain=DOMAIN,
    )
    _define_units(proof, 4)
    proof.given(
        "On-rates and correlation leave one code: a state is `1 + f` times as likely as with independent "
        "units.",
        Eq(f, overlap),
    )
    both = z[0] * z[1]
    proof.equal("On-rates are right,", _mean((1 + overlap) * z[0]), 0, shown=E((1 + f) * z[0]))
    proof.equal("and the correlation.", _mean((1 + overlap) * both), rho, shown=E((1 + f) * both))
    states = [[(x, (1 - x) / sqrt(chi(x))), (1 - x, -x / sqrt(chi(x)))] for x in (a1, a2)]
    joint = [(p * q, 1 + rho * u * v) for (p, u), (q, v) in product(*states)]
    proof.equal(
        "The entropy of the four states is that of independent units less a cost.",
        sum(-p * more * log(p * more) + p * more * log(more) for p, more in joint),
        h(a1) + h(a2),
        shown=S(rho) + E((1 + f) * log(1 + f)),
    )
    cost = _expand_cost(proof, 4)
    series = proof.equal(
        "Its mean, by the moments, gives the entropy up to terms in `rho**5`.",
        -_mean(cost.subs(f, overlap)),
        -(rho**2) / 2 + g(a1) * g(a2) * rho**3 / 6 - (1 + g(a1) ** 2) * (1 + g(a2) ** 2) * rho**4 / 12,
        shown=S(rho) - h(a1) - h(a2),
    )
    return proof.conclude(series, arguments=(a1, a2, rho))


@cache
def derive_triple_entropy() -> Derivation:
    """Entropy of correlated units through third order: -rho^2/2 and g g rho^3/6 per pair, and triangles.

    Returns
    -------
    Derivation
        ``function(a_1, a_2, a_3, rho_12, rho_13, rho_23)``: what the correlations of three units add to the
        sum of h(a_i), through rho^3, nats.

    References
    ----------
    This project's derivation.
    """
    pairs = {(0, 1): rho12, (0, 2): rho13, (1, 2): rho23}
    third, second = sp.symbols("c_1 c_2", real=True)
    overlap = e * sum(rho * z[i] * z[j] for (i, j), rho in pairs.items())
    overlap += (e * third + e**2 * second) * z[0] * z[1] * z[2]
    proof = Proof(
        "triple_entropy",
        "Through third order in the correlations the entropy of any number of units is that of independent "
        "units, less half of each squared correlation, plus a skewness term for each pair, plus the product "
        "of the correlations around each triangle.",
        [
            "the code is the one of highest entropy with these on-rates and pair correlations",
            "correlations `epsilon*rho_ij`, and orders counted in `epsilon`",
        ],
        domain=DOMAIN,
    )
    _define_units(proof, 3)
    proof.given(
        "For three units the triple moment alone is free; let it have a part of first and one of second "
        "order. A state is `1 + f` times as likely as with independent units.",
        Eq(f, overlap),
    )
    cost = _expand_cost(proof, 3)
    squares = sum(rho**2 for rho in pairs.values())
    proof.expands(
        "At second order the mean cost is least without the first-order part of the triple moment.",
        _mean(cost.subs(f, overlap)),
        e**2 * (squares + third**2) / 2,
        e,
        2,
        shown=E((1 + f) * log(1 + f)),
    )
    skewness = sum(g(on_rates[i]) * g(on_rates[j]) * rho**3 for (i, j), rho in pairs.items())
    added = -squares * e**2 / 2 + (skewness / 6 + rho12 * rho13 * rho23) * e**3
    series = proof.expands(
        "Without it the entropy is, through third order and whatever the second-order part,",
        -_mean(cost.subs(f, overlap).subs(third, 0)),
        added,
        e,
        3,
        shown=S(e) - sum(h(x) for x in on_rates),
    )
    proof.equal(
        "More units add nothing new at this order: three pairs that are neither one pair three times nor a "
        "triangle leave some unit alone, whose mean is 0. Exceptions among all choices of three pairs of six "
        "units, the most they can touch:",
        sp.Integer(_other_closed_triples()),
        0,
        shown=sp.Symbol("n_exceptions"),
    )
    return proof.conclude(series, arguments=(*on_rates, rho12, rho13, rho23), function=[added.subs(e, 1)])


def _other_closed_triples() -> int:
    """Count choices of three pairs of six units that leave no unit alone, but for the two known kinds."""
    count = 0
    for chosen in combinations_with_replacement(list(combinations(range(6), 2)), 3):
        touched = Counter(unit for pair in chosen for unit in pair)
        known = len(set(chosen)) == 1 or (len(set(chosen)) == 3 and len(touched) == 3)
        count += not known and 1 not in touched.values()
    return count

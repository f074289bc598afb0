"""Symbols and definitions that several derivations share."""

from __future__ import annotations

import sympy as sp
from sympy import exp, log

from bbtheory.theory.derivations.proof import Proof

BUDGETED_BROADCAST = "Budgeted Broadcast, arXiv 2510.01263"
HYPERFLUX = "Hyperflux, arXiv 2504.05349, for the model; this project's derivation"

a, beta, T = sp.symbols("a beta T", positive=True)
k = sp.Symbol("k", nonnegative=True)
h, L = sp.Function("h"), sp.Function("L")

# an on-rate in (0, 1) for the checks, by its odds a/(1-a) > 0
_odds = sp.Symbol("u", positive=True)
ON_RATE = _odds / (1 + _odds)

BALANCED = 1 / (1 + exp(beta * k))
"""On-rate on the balance (`derive_balance`)."""

i, j, n = sp.symbols("i j n", integer=True, positive=True)
ANY_UNIT = {n: i + sp.Symbol("m", integer=True, nonnegative=True)}  # the checks know that i is in 1..n


def define_entropy(proof: Proof) -> None:
    """Define the entropy h(a) of a unit and its inactivity log-odds L(a)."""
    proof.define(
        "Entropy of a unit that is on a fraction `a` of the time, in nats.",
        h(a),
        -a * log(a) - (1 - a) * log(1 - a),
    )
    define_log_odds(proof)


def define_log_odds(proof: Proof) -> None:
    """Define the inactivity log-odds L(a) of a unit."""
    proof.define("Inactivity log-odds.", L(a), log((1 - a) / a))

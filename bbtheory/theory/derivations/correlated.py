"""What correlations do to the balance, for three choices of what is held fixed."""

from __future__ import annotations

from functools import cache
from math import prod

import sympy as sp
from sympy import Derivative, sqrt

from bbtheory.theory.derivations.code_entropy import (
    S,
    chi,
    define_moments,
    e,
    g,
    on_rates,
    rho12,
    rho13,
    rho23,
)
from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import L, beta, define_entropy, h


@cache
def derive_correlation_corrections() -> Derivation:
    """Shift of the balance by correlations, L(a_i) = beta k_i + shift, for three things held fixed.

    Returns
    -------
    Derivation
        ``function(a_1, a_2, J, rho)``: what a partner with on-rate a_2 adds to the shift of a unit with
        on-rate a_1, in nats: [co-activations fixed, by the coupling J, through J^2; covariances fixed, by the
        correlation, through rho^2; correlations fixed, through rho^3].

    References
    ----------
    This project's derivation.
    """
    a1, a2, a3 = on_rates
    rhos, ends = (rho12, rho13), ((a1, a2), (a1, a3))
    C12, C13, _ = C = sp.symbols("C_12 C_13 C_23", real=True)
    c = sp.symbols("c_12 c_13 c_23", real=True)
    Q12, Q13, U, J12, J13 = sp.symbols("Q_12 Q_13 U J_12 J_13", real=True)
    k1, R = sp.Symbol("k_1", nonnegative=True), sp.Function("R")
    proof = Proof(
        "correlation_corrections",
        "What units hold fixed while their on-rates adjust decides how correlation moves the balance: a "
        "shift of first order with co-activations, of second with covariances, of third with correlation "
        "coefficients.",
        [
            "entropy through third order (`derive_triple_entropy`), so `abs(rho_ij)` well below "
            "`sqrt(chi(a_i)*chi(a_j))`: rare units leave this range first",
            "unit 1 with two partners stands for any number, as shifts add up over partners",
            "covariances are small, `C_ij = epsilon*c_ij`, and orders are counted in `epsilon`",
            "with covariances or correlations fixed the problem is not concave: the balance is then a "
            "condition of stationarity only",
        ],
    )
    define_entropy(proof)
    define_moments(proof)
    by_rho = sum(-(r**2) / 2 + g(x) * g(y) * r**3 / 6 for (x, y), r in zip(ends, rhos, strict=True))
    by_C = sum(
        -(cov**2) / (2 * chi(x) * chi(y))
        + (1 - 2 * x) * (1 - 2 * y) * cov**3 / (6 * chi(x) ** 2 * chi(y) ** 2)
        for (x, y), cov in zip(ends, C, strict=False)
    )
    pairs = (*ends, (a2, a3))
    proof.define(
        "What the correlations of unit 1 add to the entropy, by correlations",
        R(a1, rho12, rho13),
        by_rho + rho12 * rho13 * rho23,
    )
    proof.define("and by covariances,", S(a1, C12, C13), by_C + prod(C) / (chi(a1) * chi(a2) * chi(a3)))
    proof.equal(
        "which is the same.",
        S(a1, C12, C13),
        R(a1, rho12, rho13),
        at={
            cov: r * sqrt(chi(x)) * sqrt(chi(y))
            for (x, y), cov, r in zip(pairs, C, (*rhos, rho23), strict=True)
        },
    )
    proof.equal(
        "Unit 1 is stationary where this slope and that of the addition cancel: the shift `L(a_1) - "
        "beta*k_1` is minus the slope of the addition.",
        Derivative(h(a1) - beta * k1 * a1, a1),
        L(a1) - beta * k1,
    )
    correlation = proof.equal(
        "Correlations fixed: only the skewness moves.",
        -Derivative(R(a1, rho12, rho13), a1),
        (g(a2) * rho12**3 + g(a3) * rho13**3) / (12 * chi(a1) * sqrt(chi(a1))),
    )
    small = dict(zip(C, (e * x for x in c), strict=True))
    proof.define("Covariances fixed: the slope of the addition", U, Derivative(S(a1, C12, C13), a1))
    covariance = proof.expands(
        "comes from the variance, with which the correlation of a given covariance moves.",
        -U,
        -(1 - 2 * a1) / (2 * chi(a1)) * (C12**2 / (chi(a1) * chi(a2)) + C13**2 / (chi(a1) * chi(a3))),
        e,
        2,
        at=small,
    )
    proof.define(
        "Co-activations `Q_ij = C_ij + a_i*a_j` fixed: they have multipliers, the couplings",
        J12,
        -Derivative(S(a1, C12, C13), C12),
    )
    proof.define("and", J13, -Derivative(S(a1, C12, C13), C13))
    proof.equal(
        "Now covariances move with the on-rate, and each partner adds its on-rate times the coupling.",
        -Derivative(S(a1, Q12 - a1 * a2, Q13 - a1 * a3), a1),
        -U - a2 * J12 - a3 * J13,
        at={Q12: C12 + a1 * a2, Q13: C13 + a1 * a3},
    )
    beside = (1 - 2 * a1) / 2 * (J12**2 * chi(a2) + J13**2 * chi(a3))
    coactivation = proof.expands(
        "The rest, by couplings, is the second-order term of Thouless, Anderson and Palmer.",
        -U - a2 * J12 - a3 * J13,
        -a2 * J12 - a3 * J13 - beside,
        e,
        2,
        at=small,
    )
    coupling = sp.Symbol("J", real=True)
    return proof.conclude(
        coactivation,
        covariance,
        correlation,
        arguments=(a1, a2, coupling, rho12),
        function=[
            -coupling * a2 - (1 - 2 * a1) * coupling**2 * chi(a2) / 2,
            -(1 - 2 * a1) / (2 * chi(a1)) * rho12**2,
            g(a2) * rho12**3 / (12 * chi(a1) * sqrt(chi(a1))),
        ],
    )

"""Linear response of a unit with a Gaussian pre-activation: what cutting its incoming links does."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Integral, erfc, exp, pi, sqrt

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import L, define_log_odds

s, v = sp.symbols("s v", positive=True)
z, t, mu = sp.symbols("z t mu", real=True)
phi, Phi = sp.Function("phi"), sp.Function("Phi")


def define_gaussian(proof: Proof) -> None:
    """Define the standard normal density and distribution."""
    proof.define("Standard normal density.", phi(z), exp(-(z**2) / 2) / sqrt(2 * pi))
    proof.define("Standard normal distribution.", Phi(z), erfc(-z / sqrt(2)) / 2)


@cache
def derive_log_odds_slope() -> Derivation:
    """How fast log-odds fall with the standardised mean, lam(z) = -dL/dz = phi(z)/(Phi(z) Phi(-z)).

    Returns
    -------
    Derivation
        ``function(z)``: lam, nats.

    References
    ----------
    This project's derivation.
    """
    proof = Proof(
        "log_odds_slope",
        "The log-odds of a Gaussian unit fall with its standardised mean at a rate that depends only weakly "
        "on how rare the unit is: 1.60 at an on-rate of 1/2, 3.37 at 1/1000.",
        ["on-rate `a = Phi(z)`"],
    )
    define_log_odds(proof)
    define_gaussian(proof)
    proof.equal("The density is the slope of the distribution,", Derivative(Phi(z), z), phi(z))
    proof.equal("which is symmetric.", 1 - Phi(z), Phi(-z))
    slope = proof.equal(
        "Slope of the log-odds, with its sign turned.",
        -Derivative(L(Phi(z)), z),
        phi(z) / (Phi(z) * Phi(-z)),
    )
    proof.equal("At an on-rate of 1/2 it is", slope.rhs, 4 / sqrt(2 * pi), at={z: 0})
    proof.equal("and for rare units it grows only like `-z`.", sp.Limit(slope.rhs / -z, z, -sp.oo), 1)
    return proof.conclude(slope, arguments=(z,))


@cache
def derive_gaussian_response() -> Derivation:
    """First-order change of a Gaussian unit, da = phi(z) (dmu/s - z ds2/(2 s^2)), dr = -lam(z) dz.

    Returns
    -------
    Derivation
        ``function(mu, s, dmu, ds2)``: [dz, da, dr] for changes of the mean and the variance of the
        pre-activation.

    References
    ----------
    This project's derivation.
    """
    dmu, dv, dz = sp.symbols("muprime vprime zprime", real=True)
    b, k, e = sp.symbols("beta k epsilon", real=True)
    c, bias = sp.Symbol("c", positive=True), sp.Symbol("b", real=True)
    residual, lam, ratio = sp.Function("r"), sp.Function("lamda"), sp.Function("z")
    start = {e: 0}
    proof = Proof(
        "gaussian_response",
        "Cutting incoming links (SP-in) moves the mean and the variance of the pre-activation by `muprime` "
        "and `vprime`; on-rate and residual follow the standardised mean. The on-rate falls only if "
        "`muprime/s < z*vprime/(2*s**2)`.",
        [
            "the pre-activation is normal with mean `mu` and standard deviation `s`, and `z = mu/s`",
            "the unit is on where its pre-activation is positive, for step, ReLU and GELU alike",
            "a share `epsilon` of the change is applied",
        ],
    )
    define_log_odds(proof)
    define_gaussian(proof)
    proof.integral(
        "So the probability that the pre-activation `mu + s*t` is positive is",
        Integral(phi(t), (t, -mu / s, sp.oo)),
        Phi(t),
        Phi(mu / s),
    )
    proof.define("Residual of the balance.", residual(z, k), L(Phi(z)) - b * k)
    moved = (mu + e * dmu) / sqrt(s**2 + e * dv)
    z_change = proof.equal(
        "The standardised mean moves at the rate",
        Derivative(moved, e),
        dmu / s - mu * dv / (2 * s**3),
        at=start,
    )
    proof.define("which is called", dz, z_change.rhs)
    a_change = proof.equal(
        "The on-rate moves at the rate", Derivative(Phi(moved), e), phi(mu / s) * dz, at=start
    )
    proof.define(
        "With the slope of the log-odds (`derive_log_odds_slope`),", lam(z), phi(z) / (Phi(z) * Phi(-z))
    )
    r_change = proof.equal(
        "the residual moves at the rate", Derivative(residual(moved, k), e), -lam(mu / s) * dz, at=start
    )
    proof.equal(
        "Cutting an outgoing link (SP-out) raises the residual by `beta`, so per link SP-in is the stronger "
        "where `lamda` times the fall of `z` exceeds `beta`.",
        residual(z, k - 1) - residual(z, k),
        b,
    )
    proof.define("The standardised mean", ratio(mu, s), mu / s)
    proof.equal(
        "is left alone by a factor `c` on the whole pre-activation, as a rescale for lost variance applies "
        "it,",
        ratio(c * mu, c * s),
        ratio(mu, s),
    )
    proof.equal(
        "but not by a factor on the incoming part alone, beside a bias `b`.",
        Derivative(ratio(c * mu + bias, c * s), c),
        -bias / (c**2 * s),
    )
    return proof.conclude(z_change, a_change, r_change, arguments=(mu, s, dmu, dv))

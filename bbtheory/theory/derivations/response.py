"""Linear response of a unit with a Gaussian pre-activation: what cutting its incoming links does."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Gt, Integral, erfc, exp, pi, sqrt

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import L, define_log_odds

s, v = sp.symbols("s v", positive=True)
z, t, mu = sp.symbols("z t mu", real=True)
phi, Phi = sp.Function("phi"), sp.Function("Phi")


def _define_gaussian(proof: Proof) -> None:
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
    _define_gaussian(proof)
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
    _define_gaussian(proof)
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


@cache
def derive_link_moments() -> Derivation:
    """What one incoming link carries: without it dmu = -w m, ds2 = -2 w (Cov w)_j + w^2 Cov_jj.

    Returns
    -------
    Derivation
        ``function(w, m, S, C)``: [dmu, ds2] for the link's weight w and its input's mean m, covariance
        S = sum_l Cov_jl w_l with the pre-activation, and variance C.

    References
    ----------
    This project's derivation.
    """
    weight = sp.symbols("w_1:4", real=True)
    mean = sp.symbols("m_1:4", real=True)
    C11, C12, C13, C22, C23, C33 = sp.symbols("C_11 C_12 C_13 C_22 C_23 C_33", real=True)
    cov = sp.Matrix([[C11, C12, C13], [C12, C22, C23], [C13, C23, C33]])
    bias, shared = sp.symbols("b S", real=True)
    average, variance = sp.Function("mu"), sp.Function("v")
    w, w1 = sp.Matrix(weight), weight[0]
    proof = Proof(
        "link_moments",
        "Cutting a link takes its own mean with it and, from the variance, twice its covariance with the "
        "whole pre-activation less its own variance. With correlated inputs the link's own variance alone "
        "can be far off.",
        ["the pre-activation adds up a bias and `w_j*x_j`, here for three inputs; the first link is cut"],
    )
    proof.define("Mean of the pre-activation.", average(w1), bias + (w.T * sp.Matrix(mean))[0])
    proof.define(
        "Its variance, with `C` the covariance of the inputs.", variance(w1), sp.expand((w.T * cov * w)[0])
    )
    proof.define("Covariance of the cut input with the pre-activation.", shared, (cov * w)[0])
    d_mu = proof.equal("Change of the mean.", average(0) - average(w1), -w1 * mean[0])
    d_v = proof.equal("Change of the variance.", variance(0) - variance(w1), -2 * w1 * shared + w1**2 * C11)
    proof.equal(
        "If the inputs are uncorrelated the link takes its own variance only.",
        d_v.rhs,
        -(w1**2) * C11,
        at={C12: 0, C13: 0},
    )
    return proof.conclude(d_mu, d_v, arguments=(w1, mean[0], shared, C11))


@cache
def derive_random_thinning() -> Derivation:
    """Sign of SP-in at random, dz/dq = z/2 - b/s for the kept share q: thinning can raise an on-rate.

    Returns
    -------
    Derivation
        ``function(mu, s, b)``: -dz/dq at q = 1, the rate at which z moves as links are cut.

    References
    ----------
    This project's derivation.
    """
    q, bias = sp.Symbol("q", positive=True), sp.Symbol("b", real=True)
    kept = sp.Function("z")
    proof = Proof(
        "random_thinning",
        "Cutting incoming links at random raises the on-rate of every unit with `b/s > z/2`: of every "
        "zero-bias unit that is mostly off, and, whatever the bias, of every unit whose inputs have mean "
        "zero and that is mostly on.",
        ["many small uncorrelated inputs, of which a share `q` is kept at random", "the bias `b` stays"],
    )
    proof.define(
        "The incoming mean `mu - b` and the variance shrink with the share.",
        kept(q),
        (bias + q * (mu - bias)) / (sqrt(q) * s),
    )
    rate = proof.equal(
        "As links are cut the standardised mean `z = mu/s` moves at the rate",
        -Derivative(kept(q), q),
        bias / s - mu / (2 * s),
        at={q: 1},
    )
    proof.equal(
        "Without a bias it shrinks towards 0 from either side,", kept(q), sqrt(q) * mu / s, at={bias: 0}
    )
    rare = sp.Symbol("t", positive=True)
    proof.holds(
        "so the on-rate of a unit that is mostly off rises;", Gt(rate.rhs, 0), at={bias: 0, mu: -rare}
    )
    proof.holds(
        "with inputs of mean zero it grows away from 0, so that of a unit that is mostly on rises.",
        Gt(rate.rhs, 0),
        at={bias: mu, mu: rare},
    )
    return proof.conclude(rate, arguments=(mu, s, bias))


@cache
def derive_rectified_moments() -> Derivation:
    """Moments a ReLU unit passes on, m = mu Phi(z) + s phi(z) and v = (mu^2 + s^2) Phi + mu s phi - m^2.

    Returns
    -------
    Derivation
        ``function(mu, s)``: [mean, variance] of the rectified Gaussian.

    References
    ----------
    This project's derivation.
    """
    proof = Proof(
        "rectified_moments",
        "Mean and variance of a ReLU unit with a normal pre-activation, which the next layer receives.",
        ["pre-activation `mu + s*t` with a standard normal `t`; the unit passes on its positive part"],
    )
    _define_gaussian(proof)
    mean = mu * Phi(mu / s) + s * phi(mu / s)
    square = (mu**2 + s**2) * Phi(mu / s) + mu * s * phi(mu / s)
    on, ever = (t, -mu / s, sp.oo), mu + s * t
    m = proof.integral("So the mean is", Integral(ever * phi(t), on), mu * Phi(t) - s * phi(t), mean)
    q = proof.integral(
        "The mean square, from which the variance is left without the square of the mean:",
        Integral(ever**2 * phi(t), on),
        (mu**2 + s**2) * Phi(t) - (2 * mu * s + s**2 * t) * phi(t),
        square,
    )
    return proof.conclude(m, q, arguments=(mu, s), function=[mean, square - mean**2])

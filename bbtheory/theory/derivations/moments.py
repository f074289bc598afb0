"""Moments of a pre-activation: what a link carries, what random cuts leave, what a unit passes on."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Gt, Integral, sqrt

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.response import Phi, define_gaussian, mu, phi, s, t


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
        ``function(mu, s, b, c)``: rates at which, as links are cut, [z moves on average over the links; the z
        of the on-rate averaged over all ways to cut moves], c = sum_j w_j^2 m_j^2/s^2 for input means m.

    References
    ----------
    This project's derivation.
    """
    q, w, v = sp.symbols("q w v", positive=True)
    bias, m = sp.symbols("b m", real=True)
    scatter = sp.Symbol("c", nonnegative=True)
    kept, averaged = sp.Function("z"), sp.Function("zbar")
    incoming = bias + q * (mu - bias)
    proof = Proof(
        "random_thinning",
        "Cutting incoming links at random raises the on-rate of every unit with `b/s > z/2`: of every "
        "zero-bias unit that is mostly off, and, whatever the bias, of every unit whose inputs have mean "
        "zero and that is mostly on. That the choice of links is random brings the mean on-rate nearer to "
        "1/2 still.",
        [
            "many small uncorrelated inputs, of which a share `q` is kept at random",
            "the bias `b` stays; `mu` and `s` are mean and standard deviation with all links",
        ],
    )
    proof.define(
        "With a typical choice, the incoming mean `mu - b` and the variance shrink with the share.",
        kept(q),
        incoming / (sqrt(q) * s),
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
    proof.equal(
        "Over all choices, a link of weight `w` whose input has mean `m` and variance `v` is a variable "
        "that is `w*x` a share `q` of the time, else 0. Mean square less squared mean is its variance.",
        q * w**2 * (v + m**2) - (q * w * m) ** 2,
        q * w**2 * v + q * (1 - q) * w**2 * m**2,
    )
    proof.define(
        "With `c*s**2` for the sum of `w**2*m**2` the mean on-rate over all choices is that of a unit at",
        averaged(q),
        incoming / (s * sqrt(q + q * (1 - q) * scatter)),
    )
    mean_rate = proof.equal(
        "which moves at the rate",
        -Derivative(averaged(q), q),
        bias / s - mu * (1 + scatter) / (2 * s),
        at={q: 1},
    )
    return proof.conclude(rate, mean_rate, arguments=(mu, s, bias, scatter))


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
    define_gaussian(proof)
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

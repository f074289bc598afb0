"""Flux of weights that interact: a quadratic programme for the time each is absent."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Limit

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import HYPERFLUX

gamma = sp.Symbol("gamma", positive=True)


@cache
def derive_coupled_presence() -> Derivation:
    """Absent shares of two weights that interact, M_11 a_1 + M_12 a_2 = gamma while the first one slides.

    Returns
    -------
    Derivation
        ``function(M_11, M_12, M_22, gamma)``: [a_1, a_2] where both weights slide.

    References
    ----------
    Hyperflux, arXiv 2504.05349, for the model; the law is this project's derivation.
    """
    kappa, n = sp.symbols("kappa N", positive=True)
    w, v, c, d = sp.symbols("w_1 w_2 C_11 C_22", positive=True)
    e, x, y = sp.symbols("C_12 theta_1 theta_2", real=True)
    a, b, one, two = sp.symbols("a_1 a_2 M_11 M_22", positive=True)
    both = sp.Symbol("M_12", real=True)
    loss, drift, energy = sp.Function("l"), sp.Function("v"), sp.Function("E")
    proof = Proof(
        "coupled_presence",
        "The shares of time during which weights that interact are absent solve a quadratic programme: they "
        "minimise half their quadratic form with `M`, less `gamma` times their sum, between 0 and 1.",
        [
            "the loss is quadratic about the weights `w`, which are held; `theta = w` or `theta = 0`",
            "the presence variable descends along `kappa*w` times the slope of the loss, plus `gamma/N`",
            "noise of the gradient has mean zero",
        ],
        source=HYPERFLUX,
    )
    left, right = x - w, y - v
    proof.define(
        "Loss of two weights.",
        loss(x, y),
        (c * left**2 + d * right**2) / 2 + e * left * right,
    )
    proof.define(
        "Rate of the first presence variable, times `N`.",
        drift(x, y),
        -n * kappa * w * Derivative(loss(x, y), x) - gamma,
    )
    proof.equal(
        "With `a` for absent or not, 1 or 0, it is linear in both, so that its mean over time is the same "
        "with `a` for the shares of time; here `M_11 = kappa*N*C_11*w_1**2`, `M_12 = kappa*N*C_12*w_1*w_2`.",
        drift(w * (1 - a), v * (1 - b)) + gamma,
        n * kappa * c * w**2 * a + n * kappa * e * w * v * b,
    )
    proof.define(
        "That mean is the slope of",
        energy(a, b),
        (one * a**2 + two * b**2) / 2 + both * a * b - gamma * (a + b),
    )
    proof.equal("by the share:", Derivative(energy(a, b), a), one * a + both * b - gamma)
    proof.root(
        "A presence variable that slides has no mean rate; one that falls for good, `a = 1`, has a slope of "
        "at most 0, one that rises for good, `a = 0`, of at least 0: the conditions of a least energy in the "
        "box. If the first slides,",
        one * a + both * b - gamma,
        a,
        (gamma - both * b) / one,
    )
    proof.equal("Without a link it is the duty cycle.", Limit((gamma - both * b) / one, both, 0), gamma / one)
    determinant = one * two - both**2
    first = proof.root(
        "If both slide,",
        (one * a + both * (gamma - both * a) / two) - gamma,
        a,
        gamma * (two - both) / determinant,
    )
    second = proof.root(
        "and the other likewise,",
        (two * b + both * (gamma - both * b) / one) - gamma,
        b,
        gamma * (one - both) / determinant,
    )
    return proof.conclude(first, second, arguments=(one, both, two, gamma))

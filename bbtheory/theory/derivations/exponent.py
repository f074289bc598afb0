"""The pruning law of a power spectrum of fluxes: exponent, prefactor, ends of its region."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Ge, Integral, Limit, Rational, Sum, log

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof

gamma, p, J, F1, Fn = sp.symbols("gamma p J F_1 F_n", positive=True)
x = sp.Symbol("x", positive=True)
j = sp.Symbol("j", integer=True, positive=True)
s = sp.Function("s")
_DUTY_CYCLE = "each weight is present a share `1 - gamma/F` of the time (`derive_duty_cycle`)"
_SPECTRUM = "the fluxes are `F_j = F_1*j**(-p)` with `p > 0`, for `j` from 1 to `n`"


@cache
def derive_flux_exponent() -> Derivation:
    """Pruning law of a power spectrum, n s = J p/(p+1) - 1/2 + o(1), J = (F_1/gamma)^(1/p): exponent 1/p.

    Returns
    -------
    Derivation
        ``function(gamma, F_1, p)``: [n s, local exponent -d ln s/d ln gamma], F_n <= gamma <= F_1.

    References
    ----------
    This project's derivation.
    """
    f, count, kept = sp.Function("f"), sp.Function("J"), sp.Function("K")
    y, half = sp.Symbol("y", real=True), Rational(1, 2)
    whole = sp.Symbol("J", integer=True, positive=True)
    proof = Proof(
        "flux_exponent",
        "Fluxes that fall like `j**(-p)` give a density that falls like `gamma**(-1/p)`, with `p/(p + 1)` "
        "of the prefactor of a hard threshold. In a finite window the exponent looks larger.",
        [_DUTY_CYCLE, _SPECTRUM, "a whole number `J <= n` of fluxes is above `gamma`"],
    )
    proof.equal(
        "With `J` fluxes above the pressure, `gamma = F_1*J**(-p)`, the share of time weight `j` is absent "
        "is",
        gamma / (F1 * j ** (-p)),
        (j / J) ** p,
        at={gamma: F1 * J ** (-p)},
    )
    proof.define("The density is a sum over `j` of", f(x), 1 - (x / J) ** p)
    area = proof.integral(
        "As an integral it is", Integral(f(x), (x, 0, J)), x - x * (x / J) ** p / (p + 1), J * p / (p + 1)
    )
    any_f = sp.Function("phi")
    proof.equal(
        "Sum and integral of any function differ, from `j` to `j + 1`, by what an integration by parts "
        "shows.",
        Derivative((x - j - half) * any_f(x), x),
        any_f(x) + (x - j - half) * Derivative(any_f(x), x),
    )
    law = proof.equal(
        "So the sum from 1 to `J` is the integral plus half of the step from `f(0) = 1` to `f(J) = 0`,",
        area.rhs + (f(J) - f(0)) / 2,
        J * p / (p + 1) - half,
        shown=area.lhs + (f(J) - f(0)) / 2,
    )
    proof.equal(
        "plus the integral of `y - 1/2` times the slope of `f`, `y` being the fractional part of `x`. Up to "
        "`x = 1` this is at most half of the fall of `f`,",
        (f(0) - f(1)) / 2,
        J ** (-p) / 2,
    )
    bump = (y**2 - y) / 2
    proof.equal("Beyond, integrate by parts once more with", Derivative(bump, y), y - half)
    proof.holds(
        "which is zero at both ends of each interval and never below -1/8:", Ge(bump, -Rational(1, 8))
    )
    proof.equal(
        "the rest is at most 1/8 of the change of the slope of `f`, which is monotone, from",
        Derivative(f(x), x),
        -p * J ** (-p),
        at={x: 1},
    )
    proof.equal("to", Derivative(f(x), x), -p / J, at={x: J})
    proof.equal(
        "All of it vanishes for many weights.",
        Limit(J ** (-p) / 2 + p * (J ** (-p) + 1 / J) / 8, J, sp.oo),
        0,
    )
    proof.equal("For `p = 1` nothing remains:", Sum(1 - j / whole, (j, 1, whole)), whole / 2 - half)
    proof.define("In terms of the pressure,", count(gamma), (F1 / gamma) ** (1 / p))
    proof.define("the number of weights present is", kept(gamma), count(gamma) * p / (p + 1) - half)
    local = proof.equal(
        "and its local exponent",
        -gamma * Derivative(log(kept(gamma)), gamma),
        1 / (p * (1 - (p + 1) / (2 * p * count(gamma)))),
    )
    proof.equal("which tends to `1/p`.", Limit(1 / (p * (1 - (p + 1) / (2 * p * J))), J, sp.oo), 1 / p)
    proof.equal(
        "A hard threshold keeps `J` weights; the duty cycle keeps, for large `J`, the share",
        Limit(law.rhs / J, J, sp.oo),
        p / (p + 1),
    )
    return proof.conclude(law, local, arguments=(gamma, F1, p), function=[kept(gamma), local.rhs])


@cache
def derive_region_end() -> Derivation:
    """Density at which the power law begins, s = 1/(1 + alpha_0), where the pressure is the smallest flux.

    Returns
    -------
    Derivation
        ``function(alpha_0)``: density at the upper end of the power-law region.

    References
    ----------
    This project's derivation.
    """
    alpha, n = sp.symbols("alpha_0 n", positive=True)
    proof = Proof(
        "region_end",
        "The power law of a power spectrum ends, at high density, where the pressure is the smallest flux: "
        "at the density `1/(1 + alpha_0)`, which is 50 % for an exponent of 1 only.",
        [_DUTY_CYCLE, _SPECTRUM, "many weights, so that sums over them are integrals"],
    )
    end = proof.equal(
        "Inside the region `n*s = J*p/(p + 1)` (`derive_flux_exponent`). At `gamma = F_n` all fluxes are "
        "above, `J = n`, and the density is",
        p / (p + 1),
        1 / (1 + alpha),
        at={p: 1 / alpha},
    )
    absent = proof.integral(
        "At smaller pressures all weights take part. The mean of `F_n/F_j` is",
        Integral((x / n) ** p / n, (x, 0, n)),
        x * (x / n) ** p / (n * (p + 1)),
        1 / (p + 1),
    )
    proof.define("so the density is linear in the pressure,", s(gamma), 1 - gamma / Fn * absent.rhs)
    proof.equal("full without pressure,", s(0), 1)
    proof.equal("and meets the power law at its end.", s(Fn), p / (p + 1))
    return proof.conclude(end, arguments=(alpha,))


@cache
def derive_spectrum_tail() -> Derivation:
    """Spectrum behind a curve, P(flux > gamma) = s - gamma ds/dgamma = s (1 + alpha) <= 1.

    Returns
    -------
    Derivation
        ``function(s, alpha)``: P(flux > gamma) where the density is s and its local exponent alpha.

    References
    ----------
    This project's derivation.
    """
    q, above = sp.Function("q"), sp.Function("G")
    density, alpha = sp.symbols("s alpha", positive=True)
    proof = Proof(
        "spectrum_tail",
        "A measured curve of density against pressure gives the distribution of fluxes back; no spectrum "
        "can show a local exponent above `(1 - s)/s`.",
        [_DUTY_CYCLE, "fluxes have a density `q` on `x > 0`"],
    )
    proof.define("Density of the network.", s(gamma), Integral((1 - gamma / x) * q(x), (x, gamma, sp.oo)))
    proof.define("Share of fluxes above the pressure.", above(gamma), Integral(q(x), (x, gamma, sp.oo)))
    tail = proof.equal(
        "It follows from value and slope,", above(gamma), s(gamma) - gamma * Derivative(s(gamma), gamma)
    )
    proof.equal(
        "and with the local exponent `alpha`, by which the slope is `-alpha*s/gamma`,",
        density - gamma * (-alpha * density / gamma),
        density * (1 + alpha),
        shown=above(gamma),
    )
    proof.root(
        "which is at most 1, for exponents up to", density * (1 + alpha) - 1, alpha, (1 - density) / density
    )
    return proof.conclude(tail, arguments=(density, alpha), function=[density * (1 + alpha)])

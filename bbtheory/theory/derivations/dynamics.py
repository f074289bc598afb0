"""The refresh as a map: its multiplier, when it is stable, when it oscillates."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Gt, Lt, log, sqrt

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import BUDGETED_BROADCAST, ON_RATE, L, a, beta, define_log_odds

d, Q, interval = sp.symbols("d Q Delta", positive=True)
g = sp.Symbol("g", real=True)
lam = sp.Symbol("lamda", real=True)
p, c = sp.symbols("p c", positive=True)
_w, _e = sp.symbols("w epsilon", positive=True)
# the decays are in (0, 1), which the checks see by writing them as 1/(1 + w)
DECAYS = {d: 1 / (1 + sp.Symbol("w_1", positive=True)), Q: 1 / (1 + _w)}
EMA = "the on-rate is tracked by an EMA of decay `d < 1`, the degree refreshed every `Delta` steps"
PLAIN = "degrees are neither clipped nor rounded, and the EMA is near its fixed point"
MULTIPLIER = Q - (1 - Q) * g


def define_loop(proof: Proof) -> sp.ImmutableMatrix:
    """State what a refresh with partial steps does to small deviations; return its matrix."""
    answer = -g * (1 - Q) / c  # of the target degree to the estimate, so that with full steps the gain is g
    matrix = sp.ImmutableMatrix([[Q, c], [p * answer * Q, 1 - p + p * answer * c]])
    x, k = sp.symbols("x k")
    after = sp.ImmutableMatrix(sp.symbols("xprime kprime"))
    proof.given(
        "A refresh moves the degree the part `p` of the way to its target. Deviations `x` of the estimate "
        "and `k` of the degree become, with `c` the on-rate that the EMA takes up per link,",
        sp.Eq(after, sp.MatMul(matrix, sp.ImmutableMatrix([x, k])), evaluate=False),
    )
    return matrix


@cache
def derive_refresh_multiplier() -> Derivation:
    """Multiplier of the refresh map, lam = Q - (1 - Q) g with Q = d^Delta, g = chi_in/(beta a (1-a)).

    Returns
    -------
    Derivation
        ``function(d, Delta, beta, chi_in, a)``: factor on a deviation of the EMA from refresh to refresh.

    References
    ----------
    This project's derivation, for the controller of Budgeted Broadcast, arXiv 2510.01263.
    """
    step = sp.Symbol("j", integer=True, positive=True)
    ema, plant, degree, refreshed = (sp.Function(name) for name in ("E", "A", "k", "f"))
    seen, now, d0 = sp.symbols("ahat A d_0", positive=True)
    chi_in = sp.Symbol("chi_in", real=True)
    proof = Proof(
        "refresh_multiplier",
        "A refresh multiplies a small deviation of the tracked on-rate by `Q - (1 - Q)*g`: the EMA keeps the "
        "share `Q = d**Delta`, the rest answers through the controller with the gain `g`.",
        [
            EMA,
            PLAIN,
            "SP-in: the on-rate follows the unit's own fan-in at once, with slope `chi_in` at the fixed "
            "point; under SP-out it does not follow, `chi_in = 0`",
        ],
        source=f"this project's derivation, for the controller of {BUDGETED_BROADCAST}",
        domain={a: ON_RATE, **DECAYS},
    )
    define_log_odds(proof)
    proof.define(
        "EMA `j` steps after a refresh at which it was `ahat`, while the on-rate is `A`.",
        ema(step),
        d**step * seen + (1 - d**step) * now,
    )
    proof.equal("It obeys the rule of an EMA.", ema(step + 1), d * ema(step) + (1 - d) * now)
    proof.define("Degree that the controller sets.", degree(seen), d0 + L(seen) / beta)
    proof.define(
        "On-rate at this degree, linear about the fixed point `a`.",
        plant(seen),
        a + chi_in * (degree(seen) - degree(a)),
    )
    proof.define("EMA at the next refresh.", refreshed(seen), Q * seen + (1 - Q) * plant(seen))
    proof.equal("The on-rate `a` is its fixed point.", refreshed(a), a)
    proof.define("Gain of the loop.", g, chi_in / (beta * a * (1 - a)))
    multiplier = proof.equal(
        "Slope of the map there.", Derivative(refreshed(seen), seen), MULTIPLIER, at={seen: a}
    )
    return proof.conclude(
        multiplier,
        arguments=(d, interval, beta, chi_in, a),
        function=[multiplier.rhs.subs(Q, d**interval)],
    )


@cache
def derive_stability_range() -> Derivation:
    """Stable gains of the refresh map, -1 < g < (1 + Q)/(1 - Q), oscillating above Q/(1 - Q).

    Returns
    -------
    Derivation
        ``function(d, Delta)``: [gain above which deviations alternate, gain above which they grow].

    References
    ----------
    This project's derivation.
    """
    proof = Proof(
        "stability_range",
        "Deviations die out for gains between -1 and `(1 + Q)/(1 - Q)`. Above `Q/(1 - Q)` they change sign "
        "at each refresh, and at the upper end they repeat with period 2. Below -1 a unit runs away "
        "whatever the interval. Longer intervals and faster EMAs narrow the range.",
        [EMA, PLAIN],
        domain=DECAYS,
    )
    proof.define("Multiplier (`derive_refresh_multiplier`), with `Q = d**Delta`.", lam, MULTIPLIER)
    proof.equal("It is below 1 for gains above -1,", 1 - lam, (1 - Q) * (1 + g))
    proof.holds("where the first factor is positive,", Gt(1 - Q, 0))
    alternating = proof.root("changes sign at the gain", lam, g, Q / (1 - Q))
    growing = proof.root("and reaches -1 at the gain", lam + 1, g, (1 + Q) / (1 - Q))
    proof.holds("beyond which it goes on falling.", Lt(Derivative(lam, g), 0))
    proof.holds("The upper gain rises with `Q`,", Gt(Derivative(growing.rhs, Q), 0))
    proof.holds("and `Q` falls with the interval.", Lt(Derivative(d**interval, interval), 0))
    by_interval = {Q: d**interval}
    return proof.conclude(
        alternating,
        growing,
        arguments=(d, interval),
        function=[alternating.rhs.subs(by_interval), growing.rhs.subs(by_interval)],
    )


@cache
def derive_flip_interval() -> Derivation:
    """Longest stable interval, Delta = ln((g - 1)/(g + 1))/ln d for gains above 1.

    Returns
    -------
    Derivation
        ``function(d, g)``: interval in steps at which the multiplier is -1; g > 1.

    References
    ----------
    This project's derivation.
    """
    proof = Proof(
        "flip_interval",
        "A unit of gain above 1 starts to oscillate with period 2 at a definite interval; a gain of at most "
        "1 is stable at every interval.",
        [EMA, PLAIN],
        domain={g: 1 + _e, **DECAYS},
    )
    decay = proof.root("The multiplier is -1 at the decay", MULTIPLIER + 1, Q, (g - 1) / (g + 1))
    proof.holds("which a gain above 1 puts between 0", Gt((g - 1) / (g + 1), 0))
    proof.holds("and 1,", Lt((g - 1) / (g + 1), 1))
    flip = proof.root(
        "and which `d**Delta` has after",
        interval * log(d) - log(decay.rhs),
        interval,
        log(decay.rhs) / log(d),
    )
    proof.holds(
        "With a gain of at most 1 the multiplier stays above -1.",
        Gt(MULTIPLIER, -1),
        at={g: 1 - sp.Symbol("r", nonnegative=True)},
    )
    return proof.conclude(flip, arguments=(d, g))


@cache
def derive_partial_steps() -> Derivation:
    """Stability with partial steps, -1 < g < (1 + Q)(2 - p)/((1 - Q) p): smaller steps widen the range.

    Returns
    -------
    Derivation
        ``function(d, Delta, p)``: [gain above which deviations alternate, gain above which they grow], for a
        refresh that moves the degree the part p of the way to its target, 0 < p <= 1.

    References
    ----------
    This project's derivation.
    """
    y = sp.Symbol("y", real=True)
    polynomial, trace, product = sp.Function("f"), Q + 1 - p - p * (1 - Q) * g, Q * (1 - p)
    proof = Proof(
        "partial_steps",
        "If a refresh moves the degree only the part `p` of the way to its target, estimate and degree form "
        "a loop of second order, and larger gains are stable.",
        [EMA, PLAIN, "`0 < p <= 1`"],
        domain={**DECAYS, p: 1 / (1 + sp.Symbol("w_2", nonnegative=True))},
    )
    matrix = define_loop(proof)
    proof.define(
        "The factor `y` from refresh to refresh is a root of", polynomial(y), y**2 - trace * y + product
    )
    proof.equal(
        "the characteristic polynomial of that matrix.",
        (sp.Matrix(matrix) - y * sp.eye(2)).det(),
        polynomial(y),
        shown=sp.Determinant(sp.MatAdd(matrix, -y * sp.Identity(2))),
    )
    proof.equal(
        "With full steps one root is 0, the other the multiplier (`derive_refresh_multiplier`).",
        polynomial(y),
        y * (y - MULTIPLIER),
        at={p: 1},
    )
    proof.equal(
        "Both roots are inside the unit circle where three things hold. The polynomial is positive at 1: so "
        "it is for gains above -1.",
        polynomial(1),
        p * (1 - Q) * (1 + g),
    )
    proof.holds("The product of the roots is below 1.", Lt(product, 1))
    growing = proof.root(
        "And it is positive at -1, up to the gain", polynomial(-1), g, (1 + Q) * (2 - p) / ((1 - Q) * p)
    )
    proof.holds("beyond which it falls.", Lt(Derivative(polynomial(-1), g), 0))
    proof.holds("Smaller steps raise this gain.", Lt(Derivative(growing.rhs, p), 0))
    geometric = 2 * sqrt(Q) * sqrt(1 - p)
    proof.equal(
        "The roots turn complex, so that deviations swing, where the discriminant falls below zero:",
        trace**2 - 4 * product,
        (trace - geometric) * (trace + geometric),
    )
    proof.equal(
        "the first factor is a square at a gain of -1,",
        trace - geometric,
        (1 - sqrt(Q) * sqrt(1 - p)) ** 2,
        at={g: -1},
    )
    proof.holds("falls as the gain rises,", Lt(Derivative(trace - geometric, g), 0))
    alternating = proof.root(
        "and reaches zero first, at the gain",
        trace - geometric,
        g,
        (sqrt(Q) - sqrt(1 - p)) ** 2 / ((1 - Q) * p),
    )
    by_interval = {Q: d**interval}
    return proof.conclude(
        alternating,
        growing,
        arguments=(d, interval, p),
        function=[alternating.rhs.subs(by_interval), growing.rhs.subs(by_interval)],
    )

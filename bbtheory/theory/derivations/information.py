"""Traffic as a bound on information: which steps of the chain are inequalities, and which is none."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy import Derivative, Eq, Function, Ge, Gt, Integral, Le, Limit, Rational, exp, log, pi, sqrt

from bbtheory.theory.derivations.derivation import Derivation
from bbtheory.theory.derivations.proof import Proof
from bbtheory.theory.derivations.symbols import BUDGETED_BROADCAST, ON_RATE, a

sigma, C, k, r = sp.symbols("sigma C k r", positive=True)
y, rho = sp.symbols("y rho", real=True)
H = Function("H")


@cache
def derive_information_bound() -> Derivation:
    """Chain from information to traffic, I <= 1/2 ln det <= trace/(2 sigma^2) <= r C T/(2 sigma^2).

    Returns
    -------
    Derivation
        ``function(r, C, sigma, T)``: the bound r C T/(2 sigma^2) in nats for traffic T = sum_i a_i k_i,
        where r is the largest eigenvalue of the correlation matrix or its largest row sum of absolute values.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263, states the form with r = 1 under weak correlation; the factor that
    makes it a bound is this project's derivation.
    """
    v, traffic, energy, smallest = sp.symbols("v T E k_min", positive=True)
    signal = sp.Symbol("x", nonnegative=True)
    proof = Proof(
        "information_bound",
        "Information through noisy links is bounded by traffic only with a factor for correlation: the "
        "largest eigenvalue of the correlation matrix, or its largest row sum. Without it the form in "
        "traffic is an approximation for weakly correlated units.",
        [
            "outputs `y` add up `h_i*w_i` over units and normal noise `n` of variance `sigma**2` each",
            "unit `i` has the outgoing weights `w_i` over `k_i` links, and `abs(w_i)**2 <= C*k_i`",
        ],
        source=f"{BUDGETED_BROADCAST}, for the form in traffic; the factor is this project's derivation",
        domain={a: ON_RATE},
    )
    proof.cite(
        "The outputs tell of the units what noise does not explain.",
        Eq(sp.Symbol("I"), H(y) - H(sp.Symbol("n"))),
    )
    density = exp(-(y**2) / (2 * v)) / sqrt(2 * pi * v)
    proof.equal(
        "No entropy exceeds a cross-entropy, and that of an output of variance `v`, taken with the normal "
        "density of this variance, needs nothing but the mean of `y**2`. With several outputs, along each "
        "eigenvector of their covariance:",
        -log(density),
        (1 + log(2 * pi * v)) / 2,
        at={y**2: v},
    )
    proof.equal(
        "Where the signal has variance `x` in units of the noise's it thus adds at most `log(1 + x)/2`. In "
        "sum this is the first inequality, to half of a log-determinant.",
        (log(2 * pi * sigma**2 * (1 + signal)) - log(2 * pi * sigma**2)) / 2,
        log(1 + signal) / 2,
    )
    proof.holds_from("The second inequality, to the trace.", Ge(signal, log(1 + signal)), signal, 0)
    _split_trace(proof)
    _bound_pairs(proof)
    proof.cite(
        "The largest eigenvalue of the correlation matrix is the least factor that does the same, so it is "
        "at most the largest row sum.",
        Le(sp.Symbol("lamda_max"), sp.Symbol("r")),
    )
    proof.holds("A unit's variance is below its on-rate.", Gt(a, a * (1 - a)))
    chi, size, row = sp.symbols("chi_i W_i r_i", positive=True)
    loose = sp.symbols("t_1:4", nonnegative=True)
    bound = proof.holds(
        "So a unit whose row sum is at most `r`, and whose outgoing energy `W_i = abs(w_i)**2` is at most "
        "`C*k`, adds at most its traffic times `r*C/(2*sigma**2)`. The sum over units bounds the "
        "information.",
        Le(row * chi * size / (2 * sigma**2), r * C * a * k / (2 * sigma**2)),
        at={row: r / (1 + loose[0]), chi: a / (1 + loose[1]), size: C * k / (1 + loose[2])},
    )
    proof.equal(
        "A rescale that keeps a unit's energy `E` whatever its links needs `C = E/k_min`, which loosens the "
        "bound by",
        C * k / energy,
        k / smallest,
        at={C: energy / smallest},
    )
    proof.cite(
        "At low noise another bound is lower: no output tells more than the units' own entropy.",
        Le(sp.Symbol("I"), H(sp.Symbol("h"))),
    )
    return proof.conclude(
        bound, arguments=(r, C, sigma, traffic), function=[r * C * traffic / (2 * sigma**2)]
    )


def _split_trace(proof: Proof) -> None:
    w11, w12, w21, w22 = sp.symbols("w_11 w_12 w_21 w_22", positive=True)
    w = sp.Matrix([[w11, w12], [w21, w22]])
    chi1, chi2, cov = sp.symbols("chi_1 chi_2 C_12", positive=True)
    pairs = 2 * cov * (w11 * w21 + w12 * w22)
    energy = chi1 * (w11**2 + w12**2) + chi2 * (w21**2 + w22**2)
    proof.equal(
        "The trace of the signal's covariance has a diagonal part and one from pairs. Two units and two "
        "outputs stand for any number.",
        (w.T * sp.Matrix([[chi1, cov], [cov, chi2]]) * w).trace(),
        energy + pairs,
        shown=sp.Symbol("trace"),
    )
    proof.holds(
        "To leave out the pairs is no inequality: with positive covariance and aligned weights they add.",
        Gt(pairs, 0, evaluate=False),
    )


def _bound_pairs(proof: Proof) -> None:
    u = sp.symbols("u_1:4", real=True)
    size = sp.symbols("m_12 m_13 m_23", nonnegative=True)
    sign = sp.symbols("s_12 s_13 s_23", real=True)
    pairs = list(zip(((0, 1), (0, 2), (1, 2)), size, sign, strict=True))
    G, q = sp.symbols("G q")
    rows = [1 + sum(m for ends, m, _ in pairs if unit in ends) for unit in range(3)]
    proof.define(
        "In `u_i = sqrt(chi_i)*w_i`, correlations `s_ij*m_ij` of size `m_ij` and sign `s_ij` give the trace",
        q,
        sum(x**2 for x in u) + sum(2 * m * s * u[i] * u[j] for (i, j), m, s in pairs),
    )
    proof.define("and row sums of sizes", G, sum(row * x**2 for row, x in zip(rows, u, strict=True)))
    proof.equal(
        "which is no less: the difference is a sum of squares.",
        G - q,
        sum(m * (u[i] - s * u[j]) ** 2 for (i, j), m, s in pairs),
        at={s**2: 1 for s in sign},
    )


@cache
def derive_traffic_counterexample() -> Derivation:
    """Two correlated units that send more information than the form in traffic, I > C T/(2 sigma^2).

    Returns
    -------
    Derivation
        ``function(a, rho, sigma)``: [a lower bound on I, the diagonal form, the form in traffic, the
        corrected bound], nats, for two units with one link each to one output.

    References
    ----------
    This project's derivation. The two derivatives cited: Guo, Shamai and Verdu, IEEE Trans. Inf. Theory 51
    (2005); Guo, Wu, Shamai and Verdu, 57 (2011).
    """
    s, t = sp.symbols("s t", positive=True)
    P0, P1, P2, V, M = sp.symbols("P_0 P_1 P_2 V M", positive=True)
    mmse, information, floor = Function("mmse"), Function("I"), Function("J")
    chi = a * (1 - a)
    point = {a: Rational(1, 10), rho: Rational(1, 5), sigma: 5}
    proof = Proof(
        "traffic_counterexample",
        "For two positively correlated units with equal weights the information can exceed the form in "
        "traffic without a factor for correlation: for on-rates 0.1, correlation 0.2 and noise 5 it is "
        "above 4.17e-3 nats, where the form says 4.0e-3.",
        ["two units with on-rate `a` and correlation `rho`, one output `h_1 + h_2 + n`, so `C = k = 1`"],
    )
    proof.define("Probability that no unit is on,", P0, (1 - a) ** 2 + rho * chi)
    proof.define("one,", P1, 2 * chi * (1 - rho))
    proof.define("or both.", P2, a**2 + rho * chi)
    proof.define("Variance", V, P0 * (2 * a) ** 2 + P1 * (1 - 2 * a) ** 2 + P2 * (2 - 2 * a) ** 2)
    proof.define(
        "and fourth central moment of the signal `h_1 + h_2`.",
        M,
        P0 * (2 * a) ** 4 + P1 * (1 - 2 * a) ** 4 + P2 * (2 - 2 * a) ** 4,
    )
    proof.equal("The variance is", V, 2 * chi * (1 + rho))
    proof.cite(
        "Information grows with `s = 1/sigma**2` at half the least mean square error of an estimate of the "
        "signal,",
        Eq(Derivative(information(s), s), mmse(s) / 2),
    )
    proof.cite(
        "and that error, `V` at first, falls at the mean square of the variance that is left, which is at "
        "most the fourth moment.",
        Ge(Derivative(mmse(s), s), -M),
    )
    proof.integral(
        "So the information is at least",
        Integral((V - M * t) / 2, (t, 0, s)),
        (V * t - M * t**2 / 2) / 2,
        V * s / 2 - M * s**2 / 4,
    )
    proof.define("with `s = 1/sigma**2`:", floor(a, rho, sigma), V / (2 * sigma**2) - M / (4 * sigma**4))
    proof.equal("For example,", floor(a, rho, sigma), Rational("0.004178304"), at=point)
    beats = proof.holds(
        "which exceeds the form in traffic, `a/sigma**2`.", Gt(floor(a, rho, sigma), a / sigma**2), at=point
    )
    proof.equal(
        "With much noise the bound approaches the form with the trace,",
        Limit(sigma**2 * floor(a, rho, sigma), sigma, sp.oo),
        chi * (1 + rho),
    )
    proof.root(
        "which exceeds the form in traffic for every correlation above", chi * (1 + rho) - a, rho, a / (1 - a)
    )
    return proof.conclude(
        beats,
        arguments=(a, rho, sigma),
        function=[
            floor(a, rho, sigma),
            chi / sigma**2,
            a / sigma**2,
            (1 + sp.Abs(rho)) * a / sigma**2,
        ],
    )

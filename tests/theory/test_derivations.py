"""Every derivation ends in a function; here it meets the numeric code of the theory, or an independent road.

The proofs themselves, and that a wrong step is refused, are in test_derivation_proofs.py.
"""

import math
from itertools import product

import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

from bbtheory import (
    balanced_on_rate,
    binary_entropy,
    inactivity_log_odds,
    match_density,
    solve_equilibrium,
    target_degree,
    threshold_degree,
    threshold_for_beta,
)
from bbtheory.theory import derivations
from bbtheory.theory.actuators import actuator_gains
from bbtheory.theory.compensation import compensated_exponent, compensation_exponent
from bbtheory.theory.correlated import balance_shift
from bbtheory.theory.coupled_flux import solve_coupled_presence
from bbtheory.theory.derivations import DERIVATIONS
from bbtheory.theory.dynamics import refresh_map
from bbtheory.theory.entropy import ON_RATE_OF_MAX_TRAFFIC
from bbtheory.theory.entropy_expansion import entropy_expansion
from bbtheory.theory.flux import density_under_pressure
from bbtheory.theory.gaussian import expand, log_odds_slope
from bbtheory.theory.information import bound_information
from bbtheory.theory.knobs import gaussian_gain, line_threshold
from bbtheory.theory.network import Network
from bbtheory.theory.pairwise import match_code
from bbtheory.theory.presence import permanence_ratio, solve_presence
from bbtheory.theory.refresh_noise import refresh_noise
from bbtheory.theory.refresh_stability import stability_boundary
from bbtheory.theory.response import respond
from bbtheory.theory.shock import Shock
from bbtheory.theory.spectrum import derive_power_law, largest_exponent, power_spectrum, region_end_density

# closed forms in float64: two orders of the same few operations
CLOSED = 1e-10
# central differences of step h: error h^2 of the third derivative, noise 1e-16/h; h = 1e-5 leaves 1e-9 or so
STEP, DIFFERENCE = 1e-5, 1e-7
BETA = 0.3
FAN_OUT = np.array([0.0, 1.0, 2.0, 5.0, 11.0, 40.0])
ON_RATE = np.array([0.002, 0.03, 0.1, 0.21781, 0.4, 0.5, 0.7, 0.95])


def law(name):
    return DERIVATIONS[name]().function


def slope(f, x):
    return (f(x + STEP) - f(x - STEP)) / (2 * STEP)


def close(ours, expected, rel=CLOSED, absolute=0.0):
    return np.allclose(ours, expected, rtol=rel, atol=absolute)


@pytest.mark.parametrize("name", DERIVATIONS)
def test_every_derivation_builds_and_says_what_it_assumes(name):
    derivation = DERIVATIONS[name]()
    assert derivation.name == name
    assert getattr(derivations, f"derive_{name}")() is derivation
    assert derivation.statement.endswith(".")
    assert any(step.basis == "proved" for step in derivation.steps)


def test_balance():
    ours = law("balance")(BETA, FAN_OUT)
    assert close(ours, balanced_on_rate(FAN_OUT, BETA))
    assert close(ours, solve_equilibrium(FAN_OUT, beta=BETA).on_rate)
    assert not close(ours, balanced_on_rate(FAN_OUT, 1.001 * BETA))


def test_bounded_balance():
    lower, upper = np.full(6, 0.05), np.full(6, 0.3)
    ours = law("bounded_balance")(BETA * FAN_OUT, lower, upper)
    assert close(ours, solve_equilibrium(FAN_OUT, beta=BETA, lower=lower, upper=upper).on_rate)


def test_concavity():
    curvature = slope(lambda a: slope(binary_entropy, a), ON_RATE[1:])
    # a difference of differences: noise 1e-16/h^2 = 1e-6 of entropies of order 1
    assert close(law("concavity")(ON_RATE[1:]), curvature, rel=1e-4, absolute=1e-5)
    e = solve_equilibrium(FAN_OUT, beta=BETA)
    assert close(np.sum(FAN_OUT**2 / law("concavity")(e.on_rate)), e.dtraffic_dbeta)


def test_price_of_traffic():
    e = solve_equilibrium(FAN_OUT, beta=BETA)
    traffic, entropy = law("price_of_traffic")(BETA, FAN_OUT)
    assert close(traffic, e.unit_traffic)
    assert close(entropy.sum(), e.coding_entropy)
    rise = slope(lambda b: np.array([part.sum() for part in law("price_of_traffic")(b, FAN_OUT)]), BETA)
    assert close(rise[1] / rise[0], e.price_of_traffic, rel=DIFFERENCE)


def test_traffic_slope():
    ours = law("traffic_slope")(BETA, FAN_OUT).sum()
    assert close(ours, solve_equilibrium(FAN_OUT, beta=BETA).dtraffic_dbeta)
    assert close(ours, slope(lambda b: solve_equilibrium(FAN_OUT, beta=b).traffic, BETA), rel=DIFFERENCE)


def test_maximum_traffic():
    where, most = law("maximum_traffic")(BETA)
    assert close(where, ON_RATE_OF_MAX_TRAFFIC)
    assert close(most, threshold_for_beta(BETA))
    found = optimize.minimize_scalar(
        lambda a: -a * inactivity_log_odds(a) / BETA, bounds=(0.01, 0.49), options={"xatol": 1e-9}
    )
    assert close([where, most], [found.x, -found.fun], rel=1e-7)


@pytest.mark.parametrize("d0", [-4.0, 0.0, 6.0])
def test_line_threshold(d0):
    where, most = law("line_threshold")(BETA, d0)
    assert close(most, line_threshold(BETA, d0, 0.0, 1e9))
    assert close(where * (d0 + inactivity_log_odds(where) / BETA), most)
    if d0 == 0:
        assert close([where, most], law("maximum_traffic")(BETA))


def test_density_monotonicity():
    degrees = law("density_monotonicity")
    for d0 in (-3.0, 0.0, 4.0, 40.0):
        ours = degrees(ON_RATE, BETA, d0, 1.0, 16.0)
        assert close(ours, target_degree(ON_RATE, beta=BETA, d0=d0, min_degree=1, max_degree=16) / 16)
    # the example of the derivation: one density, two betas
    roots = match_density([0.25, 0.9], 7 / 16, solve_for="beta", d0=4.0, max_degree=8).roots
    assert close(roots, [math.log(3) / 3, math.log(3)])
    for beta in roots:
        assert close(degrees(np.array([0.25, 0.9]), beta, 4.0, 0.0, 8.0).mean(), 7 / 16)


def test_threshold_degree():
    ours = law("threshold_degree")(3.17, inactivity_log_odds(ON_RATE))  # no multiple of an on-rate
    assert close(np.minimum(np.floor(ours), 64), threshold_degree(ON_RATE, 3.17, 64))


@pytest.mark.parametrize(("bracket", "signs"), [((0.22, 0.5), (-1, -1)), ((1e-6, 0.21), (-1, 1))])
def test_joint_instability(bracket, signs):
    mu, beta = 0.2, BETA
    a = optimize.brentq(lambda a: a * inactivity_log_odds(a) - mu, *bracket, xtol=1e-14)
    found_mu, k, determinant = law("joint_instability")(a, beta)
    assert close(found_mu, mu)
    assert close(k, target_degree([a], rule="equal_traffic", d0=mu / beta, max_degree=1e9)[0])

    def earning(x):
        return float(binary_entropy(x[0])) + mu * math.log(x[1]) - beta * x[0] * x[1]

    h = np.array([1e-4 * a, 1e-4 * k])  # relative steps: the two variables differ by orders of magnitude
    at = np.array([a, k])
    axes = np.diag(h)
    hessian = [
        [
            sum(s * t * earning(at + s * u + t * v) for s, t in product((1, -1), repeat=2))
            / (4 * h[i] * h[j])
            for j, v in enumerate(axes)
        ]
        for i, u in enumerate(axes)
    ]
    assert close(np.linalg.det(hessian), determinant, rel=1e-4)
    assert tuple(np.sign(np.linalg.eigvalsh(hessian))) == signs
    with pytest.raises(ValueError, match="different signs"):  # no root beyond W(1/e)
        optimize.brentq(lambda a: a * inactivity_log_odds(a) - 0.279, *bracket)


def test_gaussian_response():
    mu, s, dmu, dv = np.array([-2.0, -0.3, 0.8]), np.array([1.0, 0.5, 2.0]), -0.02, -0.01
    dz, da, dr = law("gaussian_response")(mu, s, dmu, dv)

    def at(share):
        return (mu + share * dmu) / np.sqrt(s**2 + share * dv)

    assert close(dz, slope(at, 0.0), rel=DIFFERENCE)
    assert close(da, slope(lambda e: stats.norm.cdf(at(e)), 0.0), rel=DIFFERENCE)
    expected = slope(lambda e: stats.norm.logsf(at(e)) - stats.norm.logcdf(at(e)), 0.0)
    assert close(dr, expected, rel=DIFFERENCE)
    assert close(dr, -log_odds_slope(mu / s) * dz)


def test_a_cut_link_in_a_network():
    rng = np.random.default_rng(3)
    w, mean, root = rng.normal(size=(1, 6)), rng.random(6), rng.normal(size=(6, 6))
    C = root @ root.T / 6
    network = Network([w], mean, input_covariance=C, biases=[np.array([0.1])])
    mu, v = float(w[0] @ mean + 0.1), float(w[0] @ C @ w[0])
    for link in range(6):
        response = respond(network, Shock.sp_in(network, 0, 0, [link]), beta=BETA)
        dmu, dv = law("link_moments")(w[0, link], mean[link], (C @ w[0])[link], C[link, link])
        assert close(response.on_rate_finite, special.ndtr((mu + dmu) / math.sqrt(v + dv)))
        assert close(response.z_change, law("gaussian_response")(mu, math.sqrt(v), dmu, dv)[0])


def test_random_thinning_is_the_mean_gain_of_a_link():
    rng = np.random.default_rng(5)
    w, mean, variance, bias = rng.normal(size=(3, 20)), rng.random(20), rng.random(20), rng.normal(size=3)
    gains = actuator_gains(Network([w], mean, input_variance=variance, biases=[bias]), beta=BETA)
    ours, _ = law("random_thinning")(w @ mean + bias, np.sqrt(w**2 @ variance), bias, 0.0)
    assert close(gains.sp_in_z_gain * 20, ours)
    assert set(np.sign(ours)) == {-1, 1}  # units of both kinds


def test_log_odds_slope():
    z = np.linspace(-8.0, 8.0, 33)
    ours = law("log_odds_slope")(z)
    assert close(ours, log_odds_slope(z))
    expected = np.exp(stats.norm.logpdf(z) - stats.norm.logcdf(z) - stats.norm.logsf(z))
    assert close(ours, expected)
    quantiles = stats.norm.ppf([0.5, 0.1, 0.01, 0.001])
    assert np.round(law("log_odds_slope")(quantiles), 2).tolist() == [1.60, 1.95, 2.69, 3.37]


def test_link_moments():
    rng = np.random.default_rng(0)
    w, m, root = rng.normal(size=5), rng.normal(size=5), rng.normal(size=(5, 5))
    C = root @ root.T
    for j in range(5):
        cut = np.where(np.arange(5) == j, 0.0, w)
        ours = law("link_moments")(w[j], m[j], (C @ w)[j], C[j, j])
        assert close(ours, [(cut - w) @ m, cut @ C @ cut - w @ C @ w])


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_random_thinning(bias):
    """Thinned at random, z and the mean on-rate move as the derivation says."""
    rng = np.random.default_rng(1)
    n, kept, draws = 1000, 0.98, 8000
    w, m, v = rng.normal(-3 / n, 1 / math.sqrt(n), n), rng.uniform(0.5, 1, n), rng.uniform(0, 0.8, n)
    masks = rng.random((draws, n)) < kept
    z = (bias + masks @ (w * m)) / np.sqrt(masks @ (w**2 * v))
    mu, s = bias + w @ m, math.sqrt(w**2 @ v)
    scatter = w**2 @ m**2 / s**2
    typical, averaged = law("random_thinning")(mu, s, bias, scatter)
    mean_z = stats.norm.ppf(stats.norm.cdf(z).mean())
    for moved, rate in ((z.mean() - mu / s, typical), (mean_z - mu / s, averaged)):
        # a rate leaves out a part of order 1-q of itself; a mean over draws has its standard error
        tolerance = 2 * abs(rate) * (1 - kept) ** 2 + 4 * z.std() / math.sqrt(draws)
        assert abs(moved - rate * (1 - kept)) < tolerance
        assert abs(moved + rate * (1 - kept)) > tolerance  # the other sign
    assert abs(mean_z - mu / s - typical * (1 - kept)) > tolerance  # the scatter counts


def test_a_rare_unit_without_bias_wakes_up_as_it_is_thinned():
    """On-rates 0.06, 0.11, 0.18, 0.27 as 256 inputs become 192, 128, 64, averaged over the cuts."""
    z, c = stats.norm.ppf(0.06), 5 / 6
    q = np.array([0.75, 0.5, 0.25])
    assert np.round(stats.norm.cdf(z * np.sqrt(q / (1 + (1 - q) * c))), 2).tolist() == [0.11, 0.18, 0.27]
    # a typical cut alone does less
    assert np.round(stats.norm.cdf(z * np.sqrt(q)), 2).tolist() == [0.09, 0.14, 0.22]
    step = slope(lambda x: z * np.sqrt(x / (1 + (1 - x) * c)), 1.0)
    assert close(law("random_thinning")(z, 1.0, 0.0, c)[1], -step, rel=DIFFERENCE)


def test_rectified_moments():
    mu, s = np.array([-3.0, -0.5, 0.0, 2.0]), np.array([1.0, 2.0, 0.3, 0.7])
    mean, variance = law("rectified_moments")(mu, s)
    c, b = expand("relu", mu, s**2, 0)
    # E f^2 - (E f)^2 cancels where the unit is nearly always off or on
    assert close(mean, c[0])
    assert close(variance, b[0])
    for m, sd, ours in zip(mu, s, mean, strict=True):
        # E max(u, 0) = integral of P(u > x)
        whole, _ = integrate.quad(lambda x, m=m, sd=sd: stats.norm.sf(x, m, sd), 0, m + 40 * sd, epsabs=1e-14)
        assert close(ours, whole, rel=1e-8)


def refreshed(estimate, *, d, interval, beta, d0, plant, a):
    """One refresh, step by step: the degree is set once, then the EMA runs over the interval."""
    on_rate = plant(d0 + inactivity_log_odds(estimate) / beta)
    for _ in range(interval):
        estimate = d * estimate + (1 - d) * on_rate
    return estimate


def test_random_thinning_bounds_the_gain_of_a_gaussian_unit():
    """da/dk of a unit of k like links is phi times the fall of z per link cut, for the largest drive."""
    a, k, drive = np.array([0.02, 0.2]), np.array([20.0, 50.0]), 2.0
    z = stats.norm.ppf(a)
    thinned = (
        law("random_thinning")(z, 1.0, z - drive, 0.0)[0] / k
    )  # mu/s = z, of which the links carry the drive
    assert close(gaussian_gain(a, k, drive), stats.norm.pdf(z) * np.abs(thinned))


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_refresh_of_a_population(p):
    """Multiplier, limits, noise and bias of the numeric map."""
    line = {"beta": 0.1, "d0": 10.0, "max_degree": 64.0, "interval": 50, "ema_decay": 0.98}
    gain = np.array([0.004, 0.01, -0.005])
    held = refresh_map([0.1, 0.3, 0.2], gain=gain, step_fraction=p, **line)
    a, g, d, interval = held.on_rate, held.loop_gain, 0.98, 50
    assert not held.clipped.any()
    assert close([held.oscillation_gain, held.gain_limit], law("partial_steps")(d, interval, p))
    if p == 1.0:
        assert close(held.multiplier, law("refresh_multiplier")(d, interval, 0.1, held.gain, a))
        unstable = 3.0
        flip = stability_boundary(unstable * 0.1, ema_decay=d, beta=0.1)
        assert close(flip, law("flip_interval")(d, unstable))
    noise = refresh_noise(held, 100)
    variance, correlation = law("refresh_noise")(a * (1 - a) / 100, d, interval, g, p)
    assert close(noise.variance, variance)
    assert close(noise.autocorrelation, correlation)
    if p == 1.0:
        assert close(noise.degree_bias, law("degree_bias")(a, 0.1, g, noise.variance))


@pytest.mark.parametrize("gain", [-0.5, 0.4, 3.0])
def test_refresh_multiplier(gain):
    d, interval, beta, a, d0 = 0.9, 7, 0.4, 0.12, 3.0
    chi_in = gain * beta * a * (1 - a)
    fixed = d0 + inactivity_log_odds(a) / beta

    def plant(k):
        return special.expit(special.logit(a) + chi_in / (a * (1 - a)) * (k - fixed))

    step = slope(
        lambda x: refreshed(x, d=d, interval=interval, beta=beta, d0=d0, plant=plant, a=a), np.array(a)
    )
    ours = law("refresh_multiplier")(d, interval, beta, chi_in, a)
    assert close(ours, step, rel=1e-6)
    assert close(ours, d**interval - (1 - d**interval) * gain)


def test_stability_range_and_flip_interval():
    d, interval = 0.93, 12
    Q = d**interval
    alternating, growing = law("stability_range")(d, interval)
    assert close([Q - (1 - Q) * alternating, Q - (1 - Q) * growing], [0.0, -1.0], absolute=1e-14)
    assert close(law("flip_interval")(d, growing), interval)
    x, deviation = 1.0, []
    for factor in (0.99, 1.01):
        x = 1.0
        for _ in range(400):
            x *= Q - (1 - Q) * factor * growing
        deviation.append(abs(x))
    assert deviation[0] < 0.1 < 10 < deviation[1]


@pytest.mark.parametrize("p", [0.2, 0.6, 1.0])
def test_partial_steps(p):
    d, interval = 0.93, 12
    Q, q = d**interval, 1 - p
    alternating, growing = law("partial_steps")(d, interval, p)

    def factors(g):
        c = 0.7  # drops out
        answer = -g * (1 - Q) / c
        return np.linalg.eigvals([[Q, c], [p * answer * Q, q + p * answer * c]])

    def largest(g):
        return np.abs(factors(g)).max()

    assert close(largest(growing), 1.0, rel=1e-7)
    assert largest(0.999 * growing) < 1 < largest(1.001 * growing)
    below, above = factors(0.999 * alternating), factors(1.001 * alternating)
    assert np.isreal(below).all()
    assert (below.real > -1e-12).all()  # with full steps one is 0, up to rounding
    assert (above.real < 0).any() if p == 1.0 else np.iscomplex(above).all()
    if p == 1.0:
        assert close([alternating, growing], law("stability_range")(d, interval))


@pytest.mark.parametrize(("gain", "p"), [(0.8, 1.0), (-0.5, 1.0), (2.0, 0.4)])
def test_noise(gain, p):
    """A linear loop with noise in every step, simulated; and the open loop as a negative control."""
    d, interval, v, n = 0.9, 5, 1.0, 60_000
    rng = np.random.default_rng(4)
    x, degree = np.zeros(n), np.zeros(n)
    for _ in range(60):
        before = x.copy()
        on_rate = degree.copy()  # in units where the on-rate moves by 1 per link
        for _ in range(interval):
            x = d * x + (1 - d) * (on_rate + math.sqrt(v) * rng.standard_normal(n))
        degree += p * (-gain * x - degree)
    expected, correlation = law("refresh_noise")(v, d, interval, gain, p)
    # a sample variance has the relative standard error sqrt(2/n), a correlation at most 1/sqrt(n)
    assert abs(x.var() / expected - 1) < 4 * math.sqrt(2 / n)
    assert abs(np.corrcoef(before, x)[0, 1] - correlation) < 4 / math.sqrt(n)
    open_loop = law("noise_variance")(v, d, interval, 0.0)
    assert close(open_loop, v * (1 - d) / (1 + d))
    assert abs(x.var() / open_loop - 1) > 20 * math.sqrt(2 / n)
    if p == 1.0:
        assert close(law("noise_variance")(v, d, interval, gain), expected)
        assert close(law("noise_autocorrelation")(d, interval, gain, 1), correlation)
        assert close(law("noise_autocorrelation")(d, interval, gain, 3), correlation**3)


def test_noise_bias():
    """Exact for a Beta variable, whose mean log-odds are a difference of digamma functions."""
    a, errors = np.array([0.05, 0.3, 0.8]), []
    for n in (1e4, 1e5):
        exact = special.digamma((1 - a) * n) - special.digamma(a * n) - inactivity_log_odds(a)
        errors.append(np.abs(exact / law("noise_bias")(a, a * (1 - a) / (n + 1)) - 1))
    assert (errors[0] < 20 / (1e4 * a * (1 - a))).all()  # the next order is 1/(n a) of this one
    assert (errors[1] < 0.11 * errors[0]).all()


def test_degree_bias():
    """Two-point noise, averaged exactly through the whole loop."""
    beta, a, d0, g = 0.4, 0.1, 3.0, 0.6
    fixed = d0 + inactivity_log_odds(a) / beta
    rise = g * beta  # of log-odds per link, a line

    def plant(k):
        return special.expit(special.logit(a) + rise * (k - fixed))

    def shift(size):
        def gap(mean):
            degree = d0 + inactivity_log_odds(mean + np.array([size, -size])) / beta
            return plant(degree).mean() - mean

        mean = optimize.brentq(gap, a / 2, 2 * a, xtol=1e-15)
        return (d0 + inactivity_log_odds(mean + np.array([size, -size])) / beta).mean() - fixed

    errors = [shift(s) / law("degree_bias")(a, beta, g, s**2) - 1 for s in (4e-3, 2e-3)]
    assert abs(errors[0]) < 0.02
    assert close(errors[1], errors[0] / 4, rel=0.05)  # what is left is of second order in the noise
    assert abs(shift(2e-3) / (law("noise_bias")(a, 4e-6) / beta) - 1) > 0.5  # the open loop's bias


def pair_entropy(a, b, rho):
    c = rho * math.sqrt(a * (1 - a) * b * (1 - b))
    p = np.array([a * b + c, a * (1 - b) - c, (1 - a) * b - c, (1 - a) * (1 - b) + c])
    return float(special.entr(p).sum() - binary_entropy(a) - binary_entropy(b))


def test_pair_entropy():
    series = law("pair_entropy")
    for a, b in ((0.2, 0.35), (0.1, 0.6)):
        assert close(
            series(a, b, 0.07),
            np.sum(entropy_expansion([a, b], correlation=[[1, 0.07], [0.07, 1]]).orders[1:5]),
        )
        errors = [abs(pair_entropy(a, b, rho) - series(a, b, rho)) for rho in (0.04, 0.02)]
        assert errors[0] / errors[1] == pytest.approx(32, rel=0.15)  # fifth order


def triple(a, rho):
    matrix = np.eye(3)
    for (i, j), r in zip(((0, 1), (0, 2), (1, 2)), rho, strict=True):
        matrix[i, j] = matrix[j, i] = r
    return np.array(a), matrix


def test_triple_entropy():
    rho = np.array([0.05, -0.03, 0.04])
    a, matrix = triple([0.2, 0.4, 0.3], rho)
    series = law("triple_entropy")
    expected = entropy_expansion(a, correlation=matrix).orders[1:4].sum()
    assert close(series(*a, *rho), expected)
    errors = []
    for share in (1.0, 0.5):
        _, scaled = triple(a, share * rho)
        exact = match_code(a, correlation=scaled).entropy - float(binary_entropy(a).sum())
        errors.append(abs(exact - series(*a, *(share * rho))))
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.15)  # fourth order


@pytest.mark.parametrize(("hold", "part", "order"), [("covariance", 1, 3), ("correlation", 2, 4)])
def test_correlation_corrections(hold, part, order):
    rho, errors = np.array([0.02, -0.012, 0.016]), []
    for share in (1.0, 0.5):
        a, scaled = triple([0.2, 0.4, 0.3], share * rho)
        ours = sum(law("correlation_corrections")(a[0], a[j], 0.0, scaled[0, j])[part] for j in (1, 2))
        leading = balance_shift(a, correlation=scaled, hold=hold, method="series").shift[0]
        assert close(ours, leading)
        errors.append(abs(balance_shift(a, correlation=scaled, hold=hold, method="exact").shift[0] - ours))
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.15)


def test_correlation_corrections_with_fixed_coactivations():
    rho, errors = np.array([0.02, -0.012, 0.016]), []
    for share in (1.0, 0.5):
        a, scaled = triple([0.2, 0.4, 0.3], share * rho)
        code = match_code(a, correlation=scaled)
        exact = inactivity_log_odds(a[0]) + code.field[0]  # the field is minus beta k
        ours = sum(law("correlation_corrections")(a[0], a[j], code.coupling[0, j], 0.0)[0] for j in (1, 2))
        errors.append(abs(exact - ours))
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.15)  # third order


def test_information_bound():
    rng = np.random.default_rng(2)
    for seed in range(5):
        n = 4
        W = rng.normal(size=(3, n))
        a = rng.uniform(0.05, 0.5, n)
        rho = np.full((n, n), 0.04 * seed) + (1 - 0.04 * seed) * np.eye(n)
        chain = bound_information(W, noise_sd=0.8, on_rate=a, correlation=rho)
        traffic = float(a.sum() * 3)
        largest = float(np.linalg.eigvalsh(rho)[-1])
        ours = law("information_bound")(largest, chain.edge_energy, 0.8, traffic)
        assert close(ours, chain.corrected)
        rows = float(np.abs(rho).sum(axis=1).max())
        assert close(law("information_bound")(rows, chain.edge_energy, 0.8, traffic), chain.row_sum)
        assert chain.log_det <= chain.trace <= ours * (1 + CLOSED)


def information_of_sum(a, rho, sigma):
    """I(h_1 + h_2; y) by quadrature of the mixture of three normal densities."""
    chi = a * (1 - a)
    p = np.array([(1 - a) ** 2 + rho * chi, 2 * chi * (1 - rho), a**2 + rho * chi])

    def surprise(y):
        each = stats.norm.pdf(y, np.arange(3), sigma)
        return (p * each) @ np.log(each / (p @ each))

    # the information is 1e-3 of an integrand of order 1: ask for the digits
    return integrate.quad(surprise, -12 * sigma, 12 * sigma + 2, epsabs=1e-13, limit=200)[0]


def test_traffic_counterexample():
    lower, diagonal, form, corrected = law("traffic_counterexample")(0.1, 0.2, 5.0)
    information = information_of_sum(0.1, 0.2, 5.0)
    assert information == pytest.approx(4.301e-3, abs=5e-7)
    assert diagonal < form < lower < information < corrected
    assert close([diagonal, form], [3.6e-3, 4.0e-3])
    # below the correlation a/(1-a) the form does hold, at any noise
    _, _, form, _ = law("traffic_counterexample")(0.1, 0.05, 5.0)
    assert information_of_sum(0.1, 0.05, 5.0) < form
    chain = bound_information(
        [[1.0, 1.0]], noise_sd=5.0, on_rate=[0.1, 0.1], correlation=[[1, 0.2], [0.2, 1]]
    )
    assert close([chain.diagonal, chain.traffic_form, chain.corrected], [3.6e-3, 4.0e-3, corrected])


def test_coupled_presence():
    # N = 2 and weights of 1: M = C/2
    coupling = np.array([[1.0, -0.3], [-0.3, 0.8]])
    ours = law("coupled_presence")(coupling[0, 0], coupling[0, 1], coupling[1, 1], 0.2)
    found = solve_coupled_presence(2.0 * coupling, [1.0, 1.0], 0.2)
    assert close(ours, 1.0 - found.presence)


def test_duty_cycle():
    flux = np.array([0.5, 1.0, 1.3, 3.0, 100.0])
    ours = law("duty_cycle")(flux, 1.0)
    curve = [density_under_pressure([f], [1.0]).density[0] for f in flux]
    assert close(ours, curve, absolute=1e-15)
    t, steps, rate, present = np.zeros(5), 20_000, 1e-3, np.zeros(5)
    for _ in range(steps):
        on = t >= 0
        present += on
        t += rate * (np.where(on, 0.0, flux) - 1.0)
    # a cycle has at most flux/pressure = 100 steps, and the first is not whole
    assert np.abs(present / steps - ours).max() < 2 * 100 / steps


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_flux_exponent(p):
    n = 100_000
    flux = power_spectrum(n, p)
    gamma = flux[[30, 300, 3000]]
    count, local = law("flux_exponent")(gamma, 1.0, p)
    curve = derive_power_law(gamma, n_weights=n, decay=p)
    assert close(count, n * curve.density)
    assert close(local, curve.local_exponent)
    exact = density_under_pressure(flux, gamma)
    J = (1 / gamma) ** (1 / p)
    bound = J**-p / 2 + p * (J**-p + 1 / J) / 8  # the derivation's
    assert (np.abs(n * exact.density - count) <= bound).all()
    assert (np.abs(n * exact.density - count - 0.5) > bound).all()  # without the half it does not hold


def test_region_end():
    alpha = np.array([0.6, 1.0, 1.53])
    ours = law("region_end")(alpha)
    assert close(ours, region_end_density(alpha))
    for exponent, density in zip(alpha, ours, strict=True):
        flux = power_spectrum(100_000, 1 / exponent)
        assert abs(density_under_pressure(flux, [flux[-1]]).density[0] - density) < 1e-5  # 1/(2n)


def test_spectrum_tail():
    """Fluxes uniform in (0, 1): s = 1 - gamma + gamma ln gamma, and the tail is 1 - gamma."""
    gamma = np.array([0.01, 0.2, 0.9])
    s = 1 - gamma + gamma * np.log(gamma)
    alpha = -gamma * np.log(gamma) / s
    assert close(law("spectrum_tail")(s, alpha), 1 - gamma)
    assert close(law("spectrum_tail")(s, largest_exponent(s)), 1.0)


def test_weight_decay_presence():
    presence = law("weight_decay_presence")
    P = optimize.brentq(lambda P: presence(P, 0.05)[0] - 1 / 3, 0.3, 1.0, xtol=1e-14)
    assert round(P, 6) == 0.689098
    solved = solve_presence([3.0], 1.0, weight_decay=0.05)
    assert close([solved.presence[0], solved.weight[0]], [P, presence(P, 0.05)[1]])
    assert close(presence(1.0, 0.05)[0], permanence_ratio(0.05))
    # the sliding weight, followed in time: learning while present, decay always
    u, r, g = 0.9, 0.05, 1 / 3
    for _ in range(20_000):
        share = min(max((u - g) / u**2, 0.0), 1.0)
        u += 0.01 * (share * (1 - u) - r * u)
    assert close(u, presence(P, 0.05)[1], rel=1e-8)


def test_compensation():
    nu, alpha = law("compensation")(0.9, 0.05, 0.8)
    assert close(nu, compensation_exponent(0.05, 0.8))
    assert close(alpha, compensated_exponent(0.9, nu))
    # rounds of pruning a Pareto tail: thresholds and densities, round by round
    rounds = np.arange(1, 30)
    density = 0.8**rounds
    threshold = 1.05**rounds * density ** (-1 / 0.9)
    fitted = -np.polyfit(np.log(threshold), np.log(density), 1)[0]
    assert close(fitted, alpha)
    assert not close(fitted, 0.9)

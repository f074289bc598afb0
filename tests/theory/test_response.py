import math

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import ndtr, ndtri

from bbtheory.records import Record
from bbtheory.theory import tangent
from bbtheory.theory.closure import solve_closure
from bbtheory.theory.gaussian import log_odds_of, log_odds_slope
from bbtheory.theory.network import Network
from bbtheory.theory.response import Response, respond
from bbtheory.theory.shock import Shock
from bbtheory.theory.susceptibility import ResponseOperator

CASES = [(name, correlated) for name in ("relu", "gelu", "step") for correlated in (False, True)]
# forward differences at h and h/2, extrapolated: h^2 times a third derivative of order 10, and 4 eps/h
FINITE_DIFFERENCE = 1e-6


def mixed_shock(network, cut=1.0):
    """SP-in at a unit of the first layer and SP-out at one of the second, which the first feeds."""
    return Shock.sp_in(network, 0, 3, cut=cut) + Shock.sp_out(network, 1, 2, cut=cut)


@pytest.mark.parametrize(("activation", "correlated"), CASES)
def test_response_against_finite_differences(random_network, activation, correlated):
    network = random_network(activation, correlated=correlated)
    h = 1e-4
    base = solve_closure(network)
    full, half = (solve_closure(mixed_shock(network, e).apply(network)) for e in (h, h / 2))
    slope = (4 * (half.z - base.z) - (full.z - base.z)) / h
    rate = (4 * (half.on_rate - base.on_rate) - (full.on_rate - base.on_rate)) / h
    result = respond(network, mixed_shock(network, 1e-9))
    np.testing.assert_allclose(result.z_change / 1e-9, slope, atol=FINITE_DIFFERENCE, rtol=FINITE_DIFFERENCE)
    linear = (result.on_rate_linear - result.on_rate) / 1e-9
    np.testing.assert_allclose(linear, rate, atol=FINITE_DIFFERENCE)
    # negative control: the response of the uncorrelated closure is another one
    if correlated:
        plain = respond(network.without_covariance(), mixed_shock(network, 1e-9))
        assert np.abs(plain.z_change / 1e-9 - slope).max() > 0.01


@pytest.mark.parametrize(("activation", "correlated"), CASES)
def test_second_order_is_what_the_first_lacks(random_network, activation, correlated):
    network = random_network(activation, correlated=correlated)
    left = []
    for cut in (0.01, 0.005):
        result = respond(network, mixed_shock(network, cut))
        finite = solve_closure(mixed_shock(network, cut).apply(network)).z - result.z
        first = np.linalg.norm(finite - result.z_change)
        second = np.linalg.norm(finite - result.z_change - result.z_curvature)
        assert second < 0.1 * first
        assert result.relative_error == pytest.approx(first / np.linalg.norm(finite), rel=0.1)
        left.append(second)
    # third order: halving the shock leaves an eighth
    assert left[0] / left[1] == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize(("activation", "correlated"), CASES)
@pytest.mark.parametrize("actuator", ["sp_in", "sp_out"])
def test_operator_is_the_sum_of_its_links(random_network, activation, correlated, actuator):
    """Each column, built by another road: the shocks of single links, one by one, added up."""
    network = random_network(activation, correlated=correlated, sizes=(6, 5, 4, 3))
    beta, n = 0.3, network.n_units
    matrix = {of: np.zeros((n, n)) for of in ("z", "on_rate", "log_odds", "residual")}
    for j in range(n):
        layer, unit = int(network.layer[j]), int(network.unit[j])
        if actuator == "sp_in":
            links = [Shock([layer], [unit], [s]) for s in network.links_in(layer, unit)[0]]
        else:
            links = [Shock([layer + 1], [t], [unit]) for t in network.links_out(layer, unit)[0]]
        for shock in links:
            result = respond(network, shock, beta=beta)
            slope = log_odds_slope(result.z)
            matrix["z"][:, j] += result.z_change
            matrix["on_rate"][:, j] += np.exp(-0.5 * result.z**2) / math.sqrt(2 * math.pi) * result.z_change
            matrix["log_odds"][:, j] -= slope * result.z_change
            matrix["residual"][:, j] -= slope * result.z_change + beta * result.fan_out_change
    for of, expected in matrix.items():
        operator = ResponseOperator(network, actuator, of=of, beta=beta)
        np.testing.assert_allclose(operator @ np.eye(n), expected, atol=1e-12)
        np.testing.assert_allclose(operator.T @ np.eye(n), expected.T, atol=1e-12)
        sparse = random_network(activation, correlated=correlated, sizes=(6, 5, 4, 3), sparse=True)
        x = np.linspace(-1, 1, n)
        np.testing.assert_allclose(
            ResponseOperator(sparse, actuator, of=of, beta=beta) @ x, expected @ x, atol=1e-12
        )


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("actuator", ["sp_in", "sp_out"])
def test_compiled_passes_agree_with_plain_products(random_network, monkeypatch, sparse, actuator):
    network = random_network(sparse=sparse, sizes=(12, 9, 7, 6, 5))  # odd and even row counts
    plain = ResponseOperator(network, actuator, beta=0.3)
    monkeypatch.setattr(tangent, "COMPILED_FROM", 0)
    compiled = ResponseOperator(network, actuator, beta=0.3)
    every = np.eye(network.n_units)
    np.testing.assert_allclose(compiled @ every, plain @ every, atol=1e-13)
    np.testing.assert_allclose(compiled.T @ every, plain.T @ every, atol=1e-13)


def test_compiled_loops_are_the_python_ones():
    from bbtheory.theory import response_kernel as kernel

    rng = np.random.default_rng(0)
    w = rng.normal(size=(7, 5))
    m, v, p, q = rng.normal(size=5), rng.random(5), rng.normal(size=7), rng.normal(size=7)
    sparse = csr_array(w * (rng.random(w.shape) < 0.6))
    csr = (sparse.indptr, sparse.indices, sparse.data)
    for jitted, arguments in (
        (kernel.push_dense, lambda: (w, m, v)),
        (kernel.pull_dense, lambda: (w, p, q)),
        (kernel.push_sparse, lambda: (*csr, np.stack([m, v, m * 0, m * 0], 1), p)),
        (kernel.pull_sparse, lambda: (*csr, np.stack([m, v, m, m * 0], 1), p, q)),
    ):
        one, two = arguments(), arguments()
        for a, b in zip(jitted(*one), jitted.py_func(*two), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)
        for a, b in zip(one, two, strict=True):  # the tables they add to
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)


def test_unmasked_layers_count_links_as_masked_ones_do(random_network):
    network = random_network(density=1.0)
    ones = ResponseOperator(network, "sp_in", of="residual", beta=0.7)
    assert all(links.indicator is None for links in network.links)
    x = np.linspace(0, 1, network.n_units)
    moved = ones @ x - ResponseOperator(network, "sp_in", of="log_odds") @ x
    expected = np.concatenate([np.full(9, x[9:16].sum()), np.full(7, x[16:].sum()), np.zeros(5)])
    np.testing.assert_allclose(moved, 0.7 * expected)


def homogeneous(n, z):
    """A unit of zero bias with n equal links from equal inputs, at a given z = sqrt(n) m / sqrt(v)."""
    return Network([np.ones((1, n))], np.full(n, z / math.sqrt(n)), np.ones(n), activations=["relu"])


def test_thinning_a_unit_of_zero_bias_raises_its_on_rate():
    """z goes as the square root of the fan-in: 0.06 becomes 0.09, 0.14, 0.22 at 192, 128, 64 of 256 links."""
    network = homogeneous(256, ndtri(0.06))
    assert solve_closure(network).on_rate[0] == pytest.approx(0.06)
    for kept in (192, 128, 64):
        result = respond(network, Shock.sp_in(network, 0, 0, np.arange(kept, 256)))
        assert result.on_rate_finite[0] == pytest.approx(ndtr(ndtri(0.06) * math.sqrt(kept / 256)))
        assert result.z_change[0] > 0
        assert result.residual_change[0] < 0  # SP-in makes an over-budget unit worse here


def test_thinning_at_random_averages_to_the_numbers_of_the_theory():
    """Links of random sign: which are cut scatters mu, and the mean on-rate is 0.11, 0.18, 0.27."""
    rng = np.random.default_rng(0)
    n, z = 256, ndtri(0.06)
    w = rng.normal(size=n)
    # half-on inputs have m^2 = v, so sum w^2 m^2 = s^2; shift the weights to reach the wanted z
    s = math.sqrt(np.sum((w - w.mean()) ** 2) / 4)
    w = w - w.mean() + 2 * z * s / n
    network = Network([w[None]], np.full(n, 0.5), np.full(n, 0.25), activations=["relu"])
    base = solve_closure(network).z[0]
    for kept, expected in ((192, 0.11), (128, 0.18), (64, 0.27)):
        rates = []
        for _ in range(400):
            cut = rng.permutation(n)[kept:]
            rates.append(solve_closure(Shock.sp_in(network, 0, 0, cut).apply(network)).on_rate[0])
        share = kept / n
        average = ndtr(base * math.sqrt(share) / math.sqrt(1 + (1 - share)))
        stderr = np.std(rates) / math.sqrt(len(rates))
        assert np.mean(rates) == pytest.approx(average, abs=4 * stderr + 0.005)
        assert average == pytest.approx(expected, abs=0.01)


def test_sign_of_sp_in_follows_the_weaker_of_mean_and_noise():
    """da < 0 iff dmu/s < z ds^2/(2 s^2): three units, three signs."""
    # an excited unit with a positive bias; the same with one inhibitory link; zero-mean inputs and a > 1/2
    network = Network(
        [[[0.5, 0.5, -0.5]]], [1.0, 1.0, 1.0], [0.2, 0.2, 0.2], biases=[[0.3]], activations=["relu"]
    )
    excitation = respond(network, Shock.sp_in(network, 0, 0, [0]))
    inhibition = respond(network, Shock.sp_in(network, 0, 0, [2]))
    assert excitation.z_change[0] < 0 < inhibition.z_change[0]
    centred = Network([[[0.5, 0.5]]], [0.0, 0.0], [1.0, 1.0], biases=[[0.3]], activations=["relu"])
    result = respond(centred, Shock.sp_in(centred, 0, 0, [0]))
    z, s2, ds2 = 0.3 / math.sqrt(0.5), 0.5, -0.25
    assert result.z_change[0] == pytest.approx(-z * ds2 / (2 * s2))
    assert result.z_change[0] > 0
    assert result.on_rate_finite[0] == pytest.approx(ndtr(0.3 / 0.5))


def test_z_is_the_better_coordinate_for_rare_units():
    """At a = 0.01 the form linear in a exceeds a itself, and it errs more in the residual at every size."""
    n, z = 200, ndtri(0.01)
    rng = np.random.default_rng(2)
    w = np.abs(rng.normal(size=n))
    m, v = np.full(n, 0.5), np.full(n, 0.25)
    s = math.sqrt(np.sum(w * w * v))
    network = Network([w[None]], m, v, biases=[[z * s - np.sum(w * m)]], activations=["relu"])
    order = rng.permutation(n)
    errors = {}
    for share in (0.02, 0.05, 0.1):
        result = respond(network, Shock.sp_in(network, 0, 0, order[: int(share * n)]), beta=0)
        truth = result.residual_change_finite[0]
        a = result.on_rate[0]
        da = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * result.z_change[0]
        in_a = -da / (a * (1 - a))
        errors[share] = abs(in_a / truth - 1), abs(result.residual_change[0] / truth - 1)
        assert errors[share][1] < errors[share][0]
    assert -da > a  # linear in a: more than all of it
    assert 0 < result.on_rate_linear[0] < a
    assert errors[0.1][1] < 0.07 < 0.15 < errors[0.1][0]


def test_correlated_inputs_change_the_response():
    """Latent correlation 0.3: taking the inputs to be independent misses most of the response."""
    # 80 weak links that pull together, 20 strong ones that cancel on average
    w = np.concatenate([np.full(80, 0.02), np.tile([0.3, -0.3], 10)])
    covariance = 0.3 + 0.7 * np.eye(100)
    network = Network(
        [w[None]], np.zeros(100), input_covariance=covariance, biases=[[-1.5]], activations=["step"]
    )
    shock = Shock.sp_in(network, 0, 0, np.arange(80))
    result, plain = respond(network, shock), respond(network.without_covariance(), shock)
    s2, s2_left = 0.7 * (w @ w) + 0.3 * w.sum() ** 2, 0.7 * (w[80:] @ w[80:])
    assert result.on_rate_finite[0] == pytest.approx(ndtr(-1.5 / math.sqrt(s2_left)), rel=1e-12)
    assert result.z_change[0] == pytest.approx(1.5 / math.sqrt(s2) * (s2_left - s2) / (2 * s2))
    right = result.on_rate_finite[0] - result.on_rate[0]
    wrong = plain.on_rate_finite[0] - plain.on_rate[0]
    assert right < -0.04
    assert abs(wrong) < 0.1 * abs(right)


def test_sp_out_leaves_its_unit_alone_and_raises_its_residual(random_network):
    network = random_network()
    targets, _ = network.links_out(0, 4)
    result = respond(network, Shock.sp_out(network, 0, 4), beta=0.25)
    assert result.z_change[4] == 0
    assert result.on_rate_finite[4] == result.on_rate[4]
    assert result.fan_out_change[4] == -len(targets)
    assert result.residual_change[4] == pytest.approx(0.25 * len(targets))
    assert np.count_nonzero(result.fan_out_change) == 1
    assert np.all(result.z_change[:9] == 0)
    assert np.all(result.z_change[9 + targets] != 0)
    # a weakened link is still a link
    assert np.all(respond(network, Shock.sp_out(network, 0, 4, cut=0.5)).fan_out_change == 0)


def test_dead_units_and_units_that_lose_every_link():
    # unit 0 is dead, unit 1 loses all its links, unit 2 has none left to begin with
    masks = [np.array([[True, True], [True, True], [False, False]])]
    weights = [np.array([[1e-9, 1e-9], [1.0, 1.0], [0.0, 0.0]])]
    network = Network(weights, [1, 1], [1, 1], masks=masks, biases=[[-1.0, -3.0, 1.0]], activations=["relu"])
    result = respond(network, Shock.sp_in(network, 0, 1) + Shock.sp_in(network, 0, 0))
    assert result.on_rate[0] == 0
    assert result.on_rate[2] == 1
    assert result.z_change[2] == 0
    assert result.residual_change[2] == 0
    assert list(result.on_rate_finite) == [0, 0, 1]
    assert result.residual_change_finite[1] == np.inf
    assert not result.linear_holds
    for actuator in ("sp_in", "sp_out"):
        for of in ("residual", "log_odds", "on_rate", "z"):
            assert np.isfinite(ResponseOperator(network, actuator, of=of) @ np.ones(3)).all()


def test_response_is_a_record(random_network, tmp_path):
    network = random_network()
    result = respond(network, mixed_shock(network), beta=0.5)
    assert isinstance(result, Record)
    result.save(tmp_path / "r.json")
    assert Response.load(tmp_path / "r.json") == result
    assert set(result.to_dict()) >= {"beta", "relative_error", "linear_holds", "units"}
    assert len(result.to_frame()) == network.n_units
    assert not result.linear_holds
    assert respond(network, mixed_shock(network, 0.01)).linear_holds
    np.testing.assert_allclose(
        result.residual_change,
        log_odds_of(result.z + result.z_change) - log_odds_of(result.z) - 0.5 * result.fan_out_change,
    )
    np.testing.assert_allclose(
        result.residual_change_error, log_odds_slope(result.z) * np.abs(result.z_curvature)
    )


def test_shocks_add_up(random_network):
    network = random_network()
    a, b = Shock.sp_in(network, 0, 1), Shock.sp_out(network, 1, 1)
    both = respond(network, a + b)
    assert len(a + b) == len(a) + len(b)
    one, two = respond(network, a), respond(network, b)
    np.testing.assert_allclose(both.z_change, one.z_change + two.z_change, atol=1e-14)
    np.testing.assert_array_equal(both.fan_out_change, one.fan_out_change + two.fan_out_change)


TINY = Network(
    [np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones((1, 2))],
    [1, 1],
    [1, 1],
    masks=[np.array([[True, False], [True, True]]), None],
)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Shock.sp_in(TINY, 0, 2), r"unit must be an integer in \[0, 1\], got 2"),
        (lambda: Shock.sp_in(TINY, 2, 0), r"layer must be an integer in \[0, 1\], got 2"),
        (lambda: Shock.sp_out(TINY, 1, 0), "unit must have an outgoing link, layer 1 unit 0 has none"),
        (lambda: Shock.sp_out(TINY, -1, 0), "layer must be an integer"),
        (lambda: Shock.sp_in(TINY, 0, 0, []), "sources must be a non-empty list of integers"),
        (lambda: Shock.sp_in(TINY, 0, 0, [0.5]), "sources must be a non-empty list of integers"),
        (lambda: Shock.sp_in(TINY, 0, 0, cut=0.0), r"cuts must be numbers in \(0, 1\]"),
        (lambda: Shock.sp_in(TINY, 0, 0, cut=math.nan), r"cuts must be numbers in \(0, 1\]"),
        (lambda: Shock.sp_in(TINY, 0, 0, cut=1.5), r"cuts must be numbers in \(0, 1\]"),
        (lambda: Shock([0, 0], [0], [0]), "must have one length"),
        (lambda: Shock([0], [0], [0], [0.5, 0.5]), r"cuts must have shape \(1,\)"),
        (lambda: respond(TINY, Shock([0], [0], [1])), r"must name kept links, got 0 <- 1 in layer 0"),
        (lambda: respond(TINY, Shock([0, 0], [0, 0], [0, 0])), "must name each link once"),
        (lambda: respond(TINY, Shock([3], [0], [0])), r"layers must be in \[0, 1\], got 3"),
        (
            lambda: respond(TINY, Shock([0], [7], [0])),
            r"target of a link in layer 0 must be in \[0, 1\], got 7",
        ),
        (lambda: respond(TINY, Shock([0], [0], [-1])), r"source of a link in layer 0 must be in \[0, 1\]"),
        (lambda: respond(TINY, Shock([0], [0], [0]), beta=-1), r"beta must be a number in \[0, inf\)"),
        (lambda: respond(TINY, Shock([0], [0], [0]), beta=math.nan), "beta must be a number"),
        (lambda: respond(TINY, Shock([0], [0], [0]), terms=0), "terms must be an integer"),
        (lambda: ResponseOperator(TINY, "sp"), "actuator must be one of sp_in, sp_out, got 'sp'"),
        (lambda: ResponseOperator(TINY, "sp_in", of="a"), "of must be one of residual"),
        (lambda: ResponseOperator(TINY, "sp_in", beta=math.inf), "beta must be a number"),
        (lambda: ResponseOperator(TINY, "sp_in") @ np.ones(2), "dimension mismatch"),
    ],
)
def test_bad_input(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_removed_unit_of_a_sparse_network(random_network):
    sparse = random_network(sparse=True)
    dense = random_network()
    shock = Shock.sp_in(sparse, 1, 2)
    np.testing.assert_allclose(respond(sparse, shock).z_change, respond(dense, shock).z_change, atol=1e-14)
    assert shock.apply(sparse).fan_in[9 + 2] == 0
    with pytest.raises(ValueError, match="must name kept links"):
        respond(shock.apply(sparse), shock)


def test_what_is_no_network_or_shock_is_named():
    network = Network([np.ones((2, 3))], np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match="network must be a Network, got NoneType"):
        respond(None, None)
    with pytest.raises(ValueError, match="shock must be a Shock, got NoneType"):
        respond(network, None)

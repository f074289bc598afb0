import math

import numpy as np
import pytest
from numpy.polynomial import hermite_e
from scipy import stats
from scipy.sparse import csr_array
from scipy.special import ndtr

from bbtheory.records import Record
from bbtheory.theory.closure import Closure, solve_closure
from bbtheory.theory.network import Network

ROUNDING = 1e-10  # two exact roads
FUNCTIONS = {
    "relu": lambda u: np.maximum(u, 0.0),
    "gelu": lambda u: u * ndtr(u),
    "step": lambda u: (u > 0).astype(float),
    "linear": lambda u: u,
}


def plain_closure(network):
    """The uncorrelated closure in its simplest words, moments of the activation by a fine Riemann sum."""
    grid = np.linspace(-12, 12, 200_001)
    weight = np.exp(-0.5 * grid**2) / math.sqrt(2 * math.pi) * (grid[1] - grid[0])
    m, v, rates = network.input_mean, network.input_variance, []
    for links, bias, name in zip(network.links, network.biases, network.activations, strict=True):
        w = links.weight
        mu, s = w @ m + bias, np.sqrt((w * w) @ v)
        rates.append(ndtr(mu / s))
        f = np.array([FUNCTIONS[name](a + b * grid) for a, b in zip(mu, s, strict=True)])
        m = f @ weight
        v = (f - m[:, None]) ** 2 @ weight
    return np.concatenate(rates)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_closure_agrees_with_its_plain_form(random_network, activation):
    network = random_network(activation)
    result = solve_closure(network)
    # the sum over a kink errs by the spacing squared
    np.testing.assert_allclose(result.on_rate, plain_closure(network), rtol=1e-8)
    assert isinstance(result, Record)
    assert result.on_rate.shape == (21,)
    np.testing.assert_array_equal(result.layer, [0] * 9 + [1] * 7 + [2] * 5)


def test_one_step_unit_by_hand():
    network = Network(
        [[[3.0, 4.0]], [[1.0]]], [1.0, 0.5], [1.0, 4.0], biases=[[-2.0], [0.0]], activations="step"
    )
    result = solve_closure(network)
    s = math.sqrt(9 * 1 + 16 * 4)
    assert result.pre_mean[0] == 3.0
    assert result.pre_variance[0] == 73.0
    a = stats.norm.cdf(3.0 / s)
    assert result.on_rate[0] == pytest.approx(a, rel=1e-15)
    assert result.mean[0] == pytest.approx(a)
    assert result.variance[0] == pytest.approx(a * (1 - a))
    assert list(result.fan_in) == [2, 1]
    assert list(result.fan_out) == [1, 0]
    assert result.traffic[0] == result.on_rate[0]


def pair(activation, mu, s, rho):
    """Two units of given moments and correlation, as a network with one layer and identity weights."""
    covariance = np.array([[s[0] ** 2, rho * s[0] * s[1]], [rho * s[0] * s[1], s[1] ** 2]])
    return Network([np.eye(2)], mu, input_covariance=covariance, activations=[activation])


@pytest.mark.parametrize("activation", ["gelu", "linear"])
@pytest.mark.parametrize("rho", [-0.6, 0.3, 0.7])
def test_covariance_of_smooth_units_by_bivariate_quadrature(activation, rho):
    mu, s = np.array([0.4, -0.7]), np.array([1.3, 0.8])
    x, w = hermite_e.hermegauss(90)
    w = w / w.sum()
    u = mu[0] + s[0] * x[:, None] + 0 * x
    t = mu[1] + s[1] * (rho * x[:, None] + math.sqrt(1 - rho * rho) * x)
    f, g = FUNCTIONS[activation](u), FUNCTIONS[activation](t)
    joint = w[:, None] * w
    exact = (joint * f * g).sum() - (joint * f).sum() * (joint * g).sum()
    result = solve_closure(pair(activation, mu, s, rho), terms=40)
    assert result.covariances[0][0, 1] == pytest.approx(exact, abs=ROUNDING)


@pytest.mark.parametrize("terms", [1, 3, 10, 40])
@pytest.mark.parametrize("rho", [-0.5, 0.2, 0.8])
def test_covariance_of_kinked_units_within_its_bound(terms, rho):
    """Closed forms at zero mean: arcsine for step units, arc-cosine kernel for ReLU."""
    root = math.sqrt(1 - rho * rho)
    exact = {
        "step": math.asin(rho) / (2 * math.pi),
        "relu": 2.0 * (root + rho * (math.pi / 2 + math.asin(rho)) - 1) / (2 * math.pi),
    }
    for activation, value in exact.items():
        s = np.array([1.0, 2.0]) if activation == "relu" else np.ones(2)
        result = solve_closure(pair(activation, [0.0, 0.0], s, rho), terms=terms)
        error = abs(result.covariances[0][0, 1] - value)
        assert error <= result.covariance_error + 1e-15
        if terms == 40 and abs(rho) <= 0.5:
            assert error < 1e-12
        if terms == 1 and rho == 0.8:  # negative control: one term is not enough, and the bound says so
            assert error > 0.005


def test_covariance_of_step_units_off_zero():
    """Both on: the bivariate normal distribution function."""
    mu, s, rho = np.array([0.5, -1.0]), np.array([1.0, 2.0]), 0.4
    z = mu / s
    both = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf(z)
    result = solve_closure(pair("step", mu, s, rho), terms=40)
    # scipy's bivariate integral is good to 1e-8 or so
    assert result.covariances[0][0, 1] == pytest.approx(both - ndtr(z[0]) * ndtr(z[1]), abs=1e-7)


@pytest.mark.parametrize("activation", ["relu", "gelu", "step"])
def test_covariances_stay_positive_semidefinite(random_network, activation):
    result = solve_closure(random_network(activation, correlated=True), terms=3)
    for covariance in result.covariances:
        np.testing.assert_array_equal(covariance, covariance.T)
        assert np.linalg.eigvalsh(covariance).min() > -1e-12


def test_diagonal_covariance_in_the_first_layer_is_the_uncorrelated_closure(random_network):
    plain = random_network()
    weights = [links.weight for links in plain.links]
    kwargs = {"biases": plain.biases, "masks": [links.mask for links in plain.links]}
    network = Network(weights, plain.input_mean, input_covariance=np.diag(plain.input_variance), **kwargs)
    one, two = solve_closure(network), solve_closure(plain)
    np.testing.assert_allclose(one.on_rate[:9], two.on_rate[:9], rtol=1e-13)
    # behind it shared inputs correlate the units, which only the covariances see
    assert np.abs(one.on_rate[9:] - two.on_rate[9:]).max() > 1e-3
    np.testing.assert_array_equal(solve_closure(network.without_covariance()).on_rate, two.on_rate)


def sampled_on_rates(network, x):
    rates = []
    for links, bias, name in zip(network.links, network.biases, network.activations, strict=True):
        u = x @ links.weight.T + bias
        rates.append((u > 0).mean(0))
        x = FUNCTIONS[name](u)
    return np.concatenate(rates)


def test_closure_against_monte_carlo(random_network):
    """Gaussian inputs make the first layer exact up to sampling; behind it wide layers are close."""
    n, first, second = 40_000, slice(0, 60), slice(60, 100)

    def errors(network, predicted):
        rng = np.random.default_rng(1)
        x = rng.multivariate_normal(network.input_mean, network.input_covariance, size=n, method="cholesky")
        stderr = np.sqrt(predicted * (1 - predicted) / n)
        # 60 units: 5 standard errors are exceeded with probability 3e-5; 5/n for the rarest units
        return np.abs(sampled_on_rates(network, x) - predicted), 5 * stderr + 5 / n

    network = random_network(correlated=True, sizes=(30, 60, 40), shift=0.0)
    error, tolerance = errors(network, solve_closure(network).on_rate)
    assert np.all(error[first] < tolerance[first])
    assert np.median(error[second]) < 0.02  # the closure's own error: sums of 60 rectified Gaussians
    # negative control: without the correlations the first layer is wrong by many standard errors
    error, tolerance = errors(network, solve_closure(network.without_covariance()).on_rate)
    assert np.mean(error[first] > tolerance[first]) > 0.3
    # and where one common mode drives all units, their sum is as far from a Gaussian as each is
    driven = random_network(correlated=True, sizes=(30, 60, 40), shift=0.1)
    error, tolerance = errors(driven, solve_closure(driven).on_rate)
    assert np.all(error[first] < tolerance[first])
    assert np.median(error[second]) > 0.05


@pytest.mark.parametrize("activation", ["relu", "gelu", "step"])
@pytest.mark.parametrize("correlated", [False, True])
def test_sparse_and_dense_weights_agree(random_network, activation, correlated):
    dense = solve_closure(random_network(activation, correlated=correlated))
    sparse = solve_closure(random_network(activation, correlated=correlated, sparse=True))
    np.testing.assert_allclose(sparse.on_rate, dense.on_rate, rtol=1e-12)
    np.testing.assert_array_equal(sparse.fan_in, dense.fan_in)
    np.testing.assert_array_equal(sparse.fan_out, dense.fan_out)


@pytest.mark.parametrize("moments", [{"input_variance": [0, 0]}, {"input_covariance": [[0, 0], [0, 1.0]]}])
def test_units_without_variance_are_on_or_off(moments):
    # unit 0 sees only the constant input, unit 1 has no link at all, unit 2 likewise but a positive bias
    weights = [np.array([[2.0, 0.0], [5.0, 5.0], [5.0, 5.0]]), np.ones((1, 3))]
    masks = [np.array([[True, True], [False, False], [False, False]]), np.ones((1, 3), bool)]
    network = Network(weights, [1.0, 1.0], masks=masks, biases=[[0, 0, 0.5], [-2.0]], **moments)
    result = solve_closure(network)
    assert list(result.on_rate[:3]) == [1, 0, 1]
    assert list(result.mean[:3]) == [2.0, 0.0, 0.5]
    assert list(result.pre_variance) == [0, 0, 0, 0]
    assert list(result.on_rate[3:]) == [1]
    assert list(result.inactivity_log_odds) == [-np.inf, np.inf, -np.inf, -np.inf]
    assert result.to_dict()["units"]["z"][0] is None


def test_record_round_trip(random_network, tmp_path):
    result = solve_closure(random_network(correlated=True))
    result.save(tmp_path / "closure.json")
    assert Closure.load(tmp_path / "closure.json") == result


def test_network_is_immutable():
    weight, mean = np.ones((1, 2)), np.ones(2)
    network = Network([weight], mean, np.ones(2))
    weight[:] = 9
    mean[:] = 9
    assert network.links[0].weight.max() == 1
    assert network.input_mean.max() == 1
    with pytest.raises(AttributeError, match="read-only"):
        network.biases = ()
    with pytest.raises(ValueError, match="read-only"):
        network.links[0].weight[0, 0] = 2
    assert "2-1" in repr(network)


def test_kept_link_of_weight_zero_counts():
    network = Network([[[0.0, 1.0]], [[0.0]]], [0, 0], [1, 1])
    assert list(network.fan_in) == [2, 1]
    sparse = csr_array(([0.0, 1.0], ([0, 0], [0, 1])), shape=(1, 2))
    assert list(Network([sparse, csr_array([[1.0]])], [0, 0], [1, 1]).fan_in) == [2, 1]


ONES = np.ones((2, 3))
GOOD = {"weights": [ONES, np.ones((1, 2))], "input_mean": np.zeros(3), "input_variance": np.ones(3)}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"weights": []}, "at least one layer"),
        ({"weights": [ONES, np.ones((1, 3))]}, r"weights\[1\] must have shape \(n_out, 2\).*layer 0"),
        (
            {"input_mean": np.zeros(4), "input_variance": np.ones(4)},
            r"weights\[0\] must have shape \(n_out, 4\)",
        ),
        ({"weights": [ONES, np.array([[1.0, np.nan]])]}, r"weights\[1\] must be finite.*nan"),
        ({"weights": [ONES[0]]}, r"weights\[0\] must have 2 axes"),
        ({"weights": [np.array([["a"]])]}, r"weights\[0\] must be an array of real numbers"),
        ({"weights": [csr_array([[np.inf, 0, 0]])]}, r"weights\[0\] must be finite"),
        ({"masks": [ONES, None]}, r"masks\[0\] must be boolean.*float64"),
        ({"masks": [ONES.astype(int), None]}, r"masks\[0\] must be boolean.*int64"),
        ({"masks": [None, np.ones((2, 2), bool)]}, r"masks\[1\] must have the shape of weights\[1\]"),
        ({"masks": [None]}, "masks must have one entry per layer"),
        ({"weights": [csr_array(ONES)], "masks": [ONES > 0]}, r"masks\[0\] must be None"),
        ({"biases": [[1.0], None]}, r"biases\[0\] must have shape \(2,\)"),
        ({"biases": [[1.0, np.inf], None]}, r"biases\[0\] must be finite"),
        ({"activations": "tanh"}, "activations must be one of relu, gelu, step, linear, got 'tanh'"),
        ({"activations": ["relu", "sigmoid"]}, r"activations\[1\] must be one of"),
        ({"activations": ["relu"]}, "activations must have one entry per layer"),
        ({"input_mean": [0, np.nan, 0]}, "input_mean must be finite"),
        ({"input_variance": [1, -1, 1]}, "input_variance must be finite numbers in"),
        ({"input_variance": None}, "exactly one of input_variance or input_covariance"),
        ({"input_covariance": np.eye(3)}, "exactly one of input_variance or input_covariance"),
    ],
)
def test_bad_network(change, match):
    with pytest.raises(ValueError, match=match):
        Network(**(GOOD | change))


@pytest.mark.parametrize(
    ("covariance", "match"),
    [
        (np.eye(2), r"must have shape \(3, 3\)"),
        (np.zeros((3, 3)), "must not be zero on its whole diagonal"),
        (np.array([[1, 0.5, 0], [0.4, 1, 0], [0, 0, 1]]), r"must be symmetric, got 0.5 at \(0, 1\) and 0.4"),
        (
            np.array([[1, 2.0, 0], [2, 1, 0], [0, 0, 1]]),
            "must be positive semidefinite, got an eigenvalue -1",
        ),
        (np.diag([1, -1.0, 1]), "must be positive semidefinite"),
        (np.full((3, 3), np.nan), "must be finite"),
    ],
)
def test_bad_covariance(covariance, match):
    with pytest.raises(ValueError, match=match):
        Network(GOOD["weights"], GOOD["input_mean"], input_covariance=covariance)


def test_covariance_singular_along_a_unit_is_named():
    """Two inputs that are one, taken with opposite signs: the unit has no variance left, only rounding."""
    network = Network([[[1.0, 1.0], [1.0, -1.0]]], [0, 0], input_covariance=np.full((2, 2), 0.1))
    with pytest.raises(ValueError, match=r"input_covariance must not be singular.*layer 0 unit 1 cancel"):
        solve_closure(network)
    # singular, but not along any unit: nothing breaks
    fine = Network([[[1.0, 1.0], [1.0, -0.5]]], [0, 0], input_covariance=np.full((2, 2), 0.1))
    np.testing.assert_allclose(solve_closure(fine).pre_variance, [0.4, 0.025])


@pytest.mark.parametrize("terms", [0, 61, 2.5, True])
def test_bad_terms(random_network, terms):
    with pytest.raises(ValueError, match="terms must be an integer"):
        solve_closure(random_network(), terms=terms)


@pytest.mark.parametrize(("layer", "unit"), [(3, 0), (-1, 0), (0, 9), (1, 7), (0, 1.0)])
def test_no_such_unit(random_network, layer, unit):
    network = random_network()
    for call in (network.index, network.links_in, network.links_out):
        with pytest.raises(ValueError, match="must be an integer in"):
            call(layer, unit)

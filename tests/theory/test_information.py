import numpy as np
import pytest

from bbtheory import (
    TrafficBound,
    bound_information,
    independent_code,
    match_code,
    mutual_information,
)
from bbtheory.theory.binary_code import BinaryCode

RNG = np.random.default_rng(0)
RATES = RNG.uniform(0.05, 0.5, 5)
WEIGHT = RNG.standard_normal((3, 5))
INEQUALITY = np.array([True, True, False, True, True, True, True, True])


def twins(rho=0.2, a=0.1):
    return match_code([a, a], correlation=[[1, rho], [rho, 1]])


def by_gauss_hermite(code, weight, sigma, n_nodes):
    """I = sum_s p_s E_z[-ln sum_t p_t phi(z + d_st)/phi(z)] for one output, node by node."""
    z, w = np.polynomial.hermite_e.hermegauss(n_nodes)
    w = w / w.sum()
    n = code.n_units
    mean = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) @ weight.ravel() / sigma
    total = 0.0
    for p, m in zip(code.probability, mean, strict=True):
        d = m - mean
        total -= p * w @ np.log(np.exp(-0.5 * d**2 - np.outer(z, d)) @ code.probability)
    return total


def test_paper_form_fails_as_a_bound_for_correlated_units():
    got = bound_information([[1.0, 1.0]], noise_sd=5.0, code=twins())
    assert got.information == pytest.approx(4.301e-3, abs=5e-7)
    assert got.diagonal == pytest.approx(3.6e-3, rel=1e-12)
    assert got.traffic_form == pytest.approx(4.0e-3, rel=1e-12)
    assert got.information > got.traffic_form > got.diagonal
    assert got.corrected == pytest.approx(1.2 * 4.0e-3, rel=1e-12)
    assert got.holds[INEQUALITY].all()
    assert not got.holds[2]
    assert got.steps[2] == "approximation"
    assert got.binding == "log_det"
    # negative control: anticorrelated or unaligned units do not break it
    assert bound_information([[1.0, 1.0]], noise_sd=5.0, code=twins(-0.1)).holds.all()
    apart = bound_information(np.eye(2), noise_sd=5.0, code=twins())
    assert apart.trace == pytest.approx(apart.diagonal, rel=1e-14)


def test_every_inequality_holds_and_the_approximation_does_not():
    rng = np.random.default_rng(3)
    broken = 0
    for _ in range(30):
        n = int(rng.integers(2, 5))
        code = BinaryCode(probability=rng.dirichlet(np.full(2**n, 0.5)))
        weight = rng.standard_normal((1, n)) + rng.choice([0.0, 2.0])
        got = bound_information(weight, noise_sd=float(rng.uniform(0.3, 3)), code=code)
        assert got.holds[INEQUALITY].all()
        assert (got.ratios[INEQUALITY] >= 1 - 1e-9).all()
        assert got.information <= got.bound * (1 + 1e-9)
        broken += not got.holds[2]
    assert 5 < broken < 30


def test_what_binds_at_low_noise_is_the_entropy():
    # six units of on-rates 0.1 to 0.4, three outputs with normal weights, sigma = 0.1
    code = independent_code(np.linspace(0.1, 0.4, 6))
    weight = np.random.default_rng(0).standard_normal((3, 6))
    low = bound_information(weight, noise_sd=0.1, code=code)
    assert low.information == pytest.approx(3.164, abs=0.01)
    assert low.entropy == pytest.approx(3.199, abs=1e-3)
    assert low.log_det == pytest.approx(5.85, abs=0.01)
    assert low.trace == pytest.approx(95.0, abs=0.1)
    assert low.corrected == pytest.approx(534, abs=1)
    assert low.binding == "entropy"
    assert low.holds[INEQUALITY].all()
    # independent units: the joint entropy is the coding entropy
    assert low.entropy == pytest.approx(low.coding_entropy, rel=1e-12)
    high = bound_information(weight[:2], noise_sd=20.0, code=code)
    assert high.binding == "log_det"
    assert high.information == pytest.approx(high.trace, rel=0.02)


def test_log_det_and_trace_by_another_road():
    code = match_code(RATES, correlation=np.eye(5) + 0.15 * (1 - np.eye(5)))
    got = bound_information(WEIGHT, noise_sd=0.7, code=code, n_samples=2)
    signal = WEIGHT @ code.covariance @ WEIGHT.T / 0.49
    assert got.log_det == pytest.approx(0.5 * np.linalg.slogdet(np.eye(3) + signal)[1], rel=1e-12)
    assert got.trace == pytest.approx(0.5 * np.trace(signal), rel=1e-12)
    gram = WEIGHT.T @ WEIGHT
    cross = code.covariance * gram
    assert got.trace - got.diagonal == pytest.approx((cross.sum() - np.trace(cross)) / 0.98, rel=1e-10)
    assert got.edge_energy == pytest.approx((np.diagonal(gram) / 3).max(), rel=1e-12)
    assert got.edge_energy <= (WEIGHT**2).max()


def test_without_a_distribution():
    a = RNG.uniform(0.05, 0.5, 40)
    weight = RNG.standard_normal((30, 40))
    matrix = np.eye(40) + 0.02 * (1 - np.eye(40))
    got = bound_information(weight, noise_sd=2.0, on_rate=a, correlation=matrix)
    assert np.isnan([got.information, got.information_error, got.entropy]).all()
    assert got.information_method == "none"
    assert got.to_dict()["information"] is None
    assert got.log_det < got.trace < got.corrected < got.row_sum * (1 + 1e-12)
    assert got.largest_eigenvalue == pytest.approx(1 + 39 * 0.02, rel=1e-12)
    assert got.row_sum_eigenvalue == pytest.approx(got.largest_eigenvalue, rel=1e-12)  # met by like units
    plain = bound_information(weight, noise_sd=2.0, on_rate=a)
    assert plain.trace == pytest.approx(plain.diagonal, rel=1e-12)


def test_given_code_and_given_statistics_agree():
    matrix = np.eye(4) + 0.2 * (1 - np.eye(4))
    a = RATES[:4]
    one = bound_information(WEIGHT[:1, :4], noise_sd=1.0, code=match_code(a, correlation=matrix))
    two = bound_information(WEIGHT[:1, :4], noise_sd=1.0, on_rate=a, correlation=matrix)
    for name in ("log_det", "trace", "diagonal", "traffic_form", "corrected", "row_sum", "coding_entropy"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-10)


@pytest.mark.parametrize("sigma", [5.0, 2.0, 1.0])
def test_quadrature_against_gauss_hermite(sigma):
    code = independent_code(RATES)
    got = mutual_information(code, WEIGHT[:1], noise_sd=sigma)
    assert got.method == "quadrature"
    # 5.0 is a Gauss-Hermite rule's easy end; at 1.0 its nearest singularities cost it digits
    tolerance = {5.0: 1e-10, 2.0: 1e-9, 1.0: 1e-4}[sigma]
    assert got.information == pytest.approx(by_gauss_hermite(code, WEIGHT[:1], sigma, 100), rel=tolerance)
    assert got.error < 1e-12


def test_one_unit_is_a_binary_channel():
    # two means d apart: I = h(a) - E h(posterior), by direct integration over y
    a, d = 0.3, 1.7
    y = np.linspace(-12, 14, 40_001)
    off, on = (1 - a) * np.exp(-0.5 * y**2), a * np.exp(-0.5 * (y - d) ** 2)
    density = (off + on) / np.sqrt(2 * np.pi)
    posterior = on / (off + on)
    posterior = np.clip(posterior, 1e-300, 1 - 1e-16)
    h = -posterior * np.log(posterior) - (1 - posterior) * np.log1p(-posterior)
    lost = np.trapezoid(density * h, y)
    expected = -a * np.log(a) - (1 - a) * np.log(1 - a) - lost
    got = mutual_information(independent_code([a]), [[d]], noise_sd=1.0)
    assert got.information == pytest.approx(expected, rel=1e-9)


def test_information_of_two_separate_channels_adds():
    weight = np.diag([1.3, 2.0])
    both = mutual_information(independent_code([0.3, 0.2]), weight, noise_sd=1.0)
    each = [
        mutual_information(independent_code([a]), [[w]], noise_sd=1.0) for a, w in ((0.3, 1.3), (0.2, 2.0))
    ]
    assert both.n_dimensions == 2
    assert both.error < 1e-9
    assert both.information == pytest.approx(sum(e.information for e in each), rel=1e-10)


def test_only_the_range_of_the_weights_counts():
    code = independent_code(RATES)
    one = mutual_information(code, WEIGHT[:1], noise_sd=1.0)
    # the same output copied: half the noise power, one dimension
    twice = mutual_information(code, np.vstack([WEIGHT[:1]] * 2), noise_sd=np.sqrt(2.0))
    assert twice.n_dimensions == 1
    assert twice.information == pytest.approx(one.information, rel=1e-10)
    # like units with like weights: 2^n states, n + 1 means
    alike = mutual_information(independent_code(np.full(12, 0.2)), np.ones((1, 12)), noise_sd=1.0)
    assert alike.n_means == 13


@pytest.mark.parametrize("sigma", [0.2, 1.0, 4.0])
def test_monte_carlo_against_quadrature(sigma, monkeypatch):
    code = match_code(RATES[:4], correlation=np.eye(4) + 0.2 * (1 - np.eye(4)))
    weight = WEIGHT[:2, :4]
    exact = mutual_information(code, weight, noise_sd=sigma)
    assert exact.method == "quadrature"
    monkeypatch.setattr("bbtheory.theory.mutual_information._MAX_WORK", 0)
    deviation = []
    for seed in range(20):
        got = mutual_information(code, weight, noise_sd=sigma, n_samples=2000, seed=seed)
        assert got.method == "monte_carlo"
        deviation.append((got.information - exact.information) / got.error)
    # 20 standard normals: mean within 4/sqrt(20), spread within what chi-squared of 20 allows at 1e-4
    assert abs(np.mean(deviation)) < 0.9
    assert 0.4 < np.sqrt(np.mean(np.square(deviation))) < 1.7
    # negative control: the error bar of another noise level is caught
    wrong = mutual_information(code, weight, noise_sd=1.3 * sigma, n_samples=2000)
    assert abs(wrong.information - exact.information) > 4 * wrong.error
    # the same seed gives the same number, another gives another
    again = mutual_information(code, weight, noise_sd=sigma, n_samples=2000, seed=19)
    assert again == got
    assert mutual_information(code, weight, noise_sd=sigma, n_samples=2000, seed=18) != got


def test_limits():
    silent = bound_information(np.zeros((2, 3)), noise_sd=1.0, code=independent_code([0.1, 0.2, 0.3]))
    assert silent.information == silent.log_det == silent.traffic_form == 0
    assert np.isnan(silent.ratios[:6]).all()
    fixed = bound_information([[1.0, 1.0]], noise_sd=1.0, code=independent_code([0.0, 1.0]))
    assert fixed.information == fixed.entropy == fixed.trace == 0
    assert fixed.largest_eigenvalue == 1
    one = bound_information([[2.0]], noise_sd=1.0, code=independent_code([0.4]))
    assert one.trace == pytest.approx(one.diagonal, rel=1e-14)
    assert one.corrected == pytest.approx(one.traffic_form, rel=1e-14)
    noiseless = mutual_information(independent_code([0.4, 0.2]), [[1.0, 2.5]], noise_sd=0.02)
    assert noiseless.information == pytest.approx(independent_code([0.4, 0.2]).entropy, rel=1e-12)


def test_record_round_trip(tmp_path):
    got = bound_information(WEIGHT[:1], noise_sd=1.0, code=independent_code(RATES))
    got.save(tmp_path / "bound.json")
    assert TrafficBound.load(tmp_path / "bound.json") == got
    table = got.to_dict()["units"]
    assert table["link"][2] == "trace"
    assert table["step"][2] == "approximation"
    assert len(got.to_frame()) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise_sd": 0.0}, r"noise_sd must be a number in \[1e-100, 1e100\], got 0.0"),
        ({"noise_sd": -1.0}, "noise_sd must be a number"),
        ({"noise_sd": np.nan}, "noise_sd must be a number"),
        ({"weight": [1.0, 1.0]}, r"weight must have 2 axes, got shape \(2,\)"),
        ({"weight": np.ones((2, 3))}, r"weight must have one column for each of 2 units, got shape \(2, 3\)"),
        ({"weight": [[np.nan, 1.0]]}, "weight must be finite"),
        ({"on_rate": [0.1, 0.2]}, "exactly one of code or on_rate must be given, got code and on_rate"),
        ({"code": None}, "exactly one of code or on_rate must be given, got none"),
        ({"correlation": np.eye(2)}, "correlation must be None where code is given"),
        ({"code": None, "on_rate": [0.1, 1.5]}, "on_rate must be numbers"),
        ({"code": None, "on_rate": [0.1, 0.5], "correlation": [[1, 0.9], [0.9, 1]]}, "units 0 and 1"),
        ({"fan_out": [1.0]}, r"fan_out must have shape \(2,\)"),
        ({"fan_out": [0.0, 1.0]}, "fan_out must be above 0 for a unit with outgoing weights, got 0 for"),
        ({"edge_energy": 0.5}, r"edge_energy must be C with \|w_i\|\^2 <= C k_i, got 0.5 where unit 0 has"),
        ({"edge_energy": -1.0}, "edge_energy must be a number"),
        ({"n_samples": 1}, r"n_samples must be an integer in \[2, inf\), got 1"),
        ({"seed": -1}, "seed must be an integer"),
    ],
)
def test_bad_input(arguments, message):
    given = {"weight": [[1.0, 1.0]], "noise_sd": 1.0, "code": independent_code([0.1, 0.2])} | arguments
    with pytest.raises(ValueError, match=message):
        bound_information(given.pop("weight"), **given)

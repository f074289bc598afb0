import numpy as np
import pytest

from bbtheory import (
    BalanceShift,
    balance_shift,
    correlation_level,
    inactivity_log_odds,
    match_code,
)
from bbtheory.theory.correlated import KNOWN_ORDER, LEADING_ORDER
from bbtheory.theory.pair_statistics import HOLDS
from bbtheory.theory.pairwise import square

RNG = np.random.default_rng(1)
RATES = RNG.uniform(0.2, 0.45, 4)
PATTERN = square(RNG.uniform(0.3, 1.0, 6), 4)


def alike(n, rho):
    return np.eye(n) + rho * (1 - np.eye(n))


def leading(a, rho, hold):
    """The three statements, summed unit by unit as they are written."""
    n = a.size
    chi = a * (1 - a)
    g = (1 - 2 * a) / np.sqrt(chi)
    others = [[j for j in range(n) if j != i] for i in range(n)]
    if hold == "coactivation":
        return np.array(
            [-sum(rho[i, j] * a[j] / np.sqrt(chi[i] * chi[j]) for j in others[i]) for i in range(n)]
        )
    if hold == "covariance":
        return np.array(
            [-(1 - 2 * a[i]) / (2 * chi[i]) * sum(rho[i, j] ** 2 for j in others[i]) for i in range(n)]
        )
    return np.array([sum(g[j] * rho[i, j] ** 3 for j in others[i]) / (12 * chi[i] ** 1.5) for i in range(n)])


@pytest.mark.parametrize("hold", HOLDS)
def test_leading_correction_is_the_stated_one(hold):
    matrix = np.eye(4) + 0.05 * PATTERN
    got = balance_shift(RATES, hold=hold, correlation=matrix, method="series")
    assert got.order == LEADING_ORDER[hold]
    np.testing.assert_allclose(got.shift, leading(RATES, matrix, hold), rtol=1e-12)
    # negative control: the statement for something else held
    other = HOLDS[(HOLDS.index(hold) + 1) % 3]
    assert np.abs(got.shift - leading(RATES, matrix, other)).max() > 0.1 * np.abs(got.shift).max()


def test_second_order_with_coactivations_held_is_that_of_couplings():
    # L = beta k - sum J a - 1/2 (1-2a) sum J^2 chi, with the exact multipliers J: equal through second order
    chi = RATES * (1 - RATES)
    gaps = []
    for level in (0.01, 0.02):
        matrix = np.eye(4) + level * PATTERN
        J = match_code(RATES, correlation=matrix).coupling
        by_coupling = -(J @ RATES) - 0.5 * (1 - 2 * RATES) * (J**2 @ chi)
        series = balance_shift(RATES, hold="coactivation", correlation=matrix, method="series", order=2)
        gaps.append(np.abs(series.shift - by_coupling).max())
    assert gaps[1] / gaps[0] == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("hold", HOLDS)
def test_error_falls_at_the_stated_order(hold):
    levels = np.array([0.004, 0.008, 0.016])
    known = KNOWN_ORDER[hold]
    errors = []
    for level in levels:
        matrix = np.eye(4) + level * PATTERN
        exact = balance_shift(RATES, hold=hold, correlation=matrix, method="exact").shift
        lines = [
            balance_shift(RATES, hold=hold, correlation=matrix, method="series", order=order).shift
            for order in range(1, known)
        ]
        lines.append(balance_shift(RATES, hold=hold, correlation=matrix, method="resummed").shift)
        errors.append([np.linalg.norm(line - exact) for line in [np.zeros(4), *lines]])
    slope = np.polyfit(np.log(levels), np.log(errors), 1)[0]
    first = LEADING_ORDER[hold]
    stated = [max(order + 1, first) for order in range(known)]
    np.testing.assert_allclose(slope[:-1], stated, atol=0.06)  # negative control: order 0, the plain line
    assert slope[-1] == pytest.approx(known, abs=0.1)


@pytest.mark.parametrize("hold", HOLDS)
def test_exact_shift_is_the_slope_of_the_entropy(hold):
    matrix = alike(3, 0.2)
    a, h = np.array([0.3, 0.15, 0.4]), 1e-5
    given = match_code(a, correlation=matrix)
    held = {"coactivation": given.coactivation, "covariance": given.covariance, "correlation": matrix}[hold]

    def entropy(rates):
        fixed = held.copy()
        diagonal = {"coactivation": rates, "covariance": rates * (1 - rates), "correlation": np.ones(3)}[hold]
        np.fill_diagonal(fixed, diagonal)
        return match_code(rates, **{hold: fixed}).entropy

    slope = np.array([(entropy(a + h * e) - entropy(a - h * e)) / (2 * h) for e in np.eye(3)])
    shift = balance_shift(a, hold=hold, correlation=matrix, method="exact").shift
    # dS/da_i = L(a_i) - shift_i
    np.testing.assert_allclose(inactivity_log_odds(a) - shift, slope, atol=1e-9)
    assert np.abs(shift).max() > 1e-3


@pytest.mark.parametrize("hold", HOLDS)
@pytest.mark.parametrize("rate", [0.4, 0.03, 0.003])
def test_resummed_is_exact_for_two_units(hold, rate):
    a = np.array([rate, 1.3 * rate])
    for rho in (0.01, 0.2, 0.6):
        got = balance_shift(a, hold=hold, correlation=alike(2, rho))
        exact = balance_shift(a, hold=hold, correlation=alike(2, rho), method="exact")
        np.testing.assert_allclose(got.shift, exact.shift, rtol=1e-6, atol=1e-13)
        assert got.valid.all()
        assert not got.error_estimate.any()


def test_series_fails_for_rare_units_and_says_so():
    # -0.162 by the formula, -0.059 in truth
    pair = {"hold": "covariance", "correlation": alike(2, 0.1)}
    series = balance_shift([0.03, 0.03], method="series", **pair)
    np.testing.assert_allclose(series.shift, -0.1615, atol=5e-5)
    assert not series.valid.any()
    np.testing.assert_allclose(series.expansion_ratio, 0.1 * 0.97 / 0.03, rtol=1e-12)
    for method in ("resummed", "exact"):
        np.testing.assert_allclose(
            balance_shift([0.03, 0.03], method=method, **pair).shift, -0.0587, atol=5e-5
        )
    # common units at the same correlation are fine
    assert balance_shift([0.3, 0.3], method="series", **pair).valid.all()


@pytest.mark.parametrize("hold", HOLDS)
def test_resummed_holds_for_rare_units(hold):
    a = np.full(5, 0.01) * np.linspace(0.8, 1.2, 5)
    matrix = alike(5, 0.02)  # twice what the series bears
    exact = balance_shift(a, hold=hold, correlation=matrix, method="exact").shift
    resummed = balance_shift(a, hold=hold, correlation=matrix)
    series = balance_shift(a, hold=hold, correlation=matrix, method="series")
    assert np.abs(resummed.shift / exact - 1).max() < 0.02
    assert np.abs(series.shift / exact - 1).max() > 0.1
    assert resummed.valid.all()
    assert not series.valid.any()


def test_estimates_bound_errors_where_trusted():
    rng = np.random.default_rng(7)
    worst, untrusted = [], []
    for _ in range(40):
        n = int(rng.integers(2, 6))
        a = rng.choice([0.01, 0.1, 0.3]) * rng.uniform(0.5, 1.5, n)
        matrix = np.eye(n) + square(10.0 ** rng.uniform(-3, -1) * rng.uniform(0, 1, n * (n - 1) // 2), n)
        for hold in HOLDS:
            exact = balance_shift(a, hold=hold, correlation=matrix, method="exact").shift
            series = balance_shift(a, hold=hold, correlation=matrix, method="series")
            ratio = np.abs(series.shift - exact) / series.error_estimate
            worst.extend(ratio[series.valid])
            untrusted.extend((np.abs(series.shift / exact - 1))[~series.valid])
    assert len(worst) > 100
    assert np.quantile(worst, 0.99) < 1.3
    assert max(untrusted) > 1  # negative control: where it is not valid, the correction can be all wrong


@pytest.mark.parametrize("hold", HOLDS)
@pytest.mark.parametrize("method", ["series", "resummed", "exact"])
def test_no_correlation_is_the_plain_balance(hold, method):
    for n in (1, 3):
        got = balance_shift(RATES[:n], hold=hold, correlation=np.eye(n), method=method)
        np.testing.assert_allclose(got.shift, 0, atol=1e-12)
        np.testing.assert_allclose(got.corrected_log_odds, inactivity_log_odds(RATES[:n]), atol=1e-12)
        assert got.valid.all()


def test_half_on_units_have_no_odd_terms():
    got = balance_shift(np.full(3, 0.5), hold="correlation", correlation=alike(3, 0.3), method="exact")
    np.testing.assert_allclose(got.shift, 0, atol=1e-12)


def test_record_round_trip(tmp_path):
    got = balance_shift(RATES, hold="covariance", correlation=alike(4, 0.1))
    got.save(tmp_path / "shift.json")
    assert BalanceShift.load(tmp_path / "shift.json") == got
    assert len(got.to_dict()["units"]["shift"]) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hold": "spin"}, "hold must be one of coactivation, covariance, correlation, got 'spin'"),
        ({"method": "tap"}, "method must be one of resummed, series, exact"),
        ({"order": 2}, "order must be None unless method is series, got 2"),
        ({"method": "series", "order": 0}, r"order must be an integer in \[1, 4\], got 0"),
        ({"method": "series", "order": 5}, r"order must be an integer in \[1, 4\], got 5"),
        ({"method": "series", "order": 4, "hold": "coactivation"}, r"order must be an integer in \[1, 3\]"),
        ({"on_rate": [0.3, np.nan]}, "on_rate must be numbers"),
        ({"on_rate": [0.3, 0.0]}, "on_rate must be numbers"),
        ({"correlation": [[1, 0.2], [0.1, 1]]}, "correlation must be symmetric"),
        ({"correlation": [[1, 0.9], [0.9, 1]]}, "units 0 and 1 with on-rates 0.3 and 0.1 can only have"),
        ({"on_rate": [0.3, 0.3], "correlation": np.ones((2, 2))}, "inside the possible.* units 0 and 1"),
    ],
)
def test_bad_input(arguments, message):
    base = {"on_rate": [0.3, 0.1], "hold": "covariance", "correlation": alike(2, 0.1)}
    given = base | arguments
    with pytest.raises(ValueError, match=message):
        balance_shift(given.pop("on_rate"), **given)


@pytest.mark.parametrize("hold", HOLDS)
def test_level_of_a_small_shift_is_the_closed_form(hold):
    a, n, amount = 0.2, 4, 1e-7
    chi = a * (1 - a)
    level = {
        "coactivation": amount * chi / (a * (n - 1)),
        "covariance": np.sqrt(2 * chi * amount / ((1 - 2 * a) * (n - 1))),
        "correlation": np.cbrt(12 * chi**2 * amount / ((1 - 2 * a) * (n - 1))),
    }[hold]
    got = correlation_level(np.full(n, a), amount, hold=hold)
    # the next order is rho/(a) relative to the leading one
    assert got.level == pytest.approx(level, rel=5 * level / a + 1e-6)
    series = correlation_level(np.full(n, a), amount, hold=hold, method="series")
    assert series.level == pytest.approx(level, rel=1e-9)


@pytest.mark.parametrize("method", ["resummed", "series", "exact"])
def test_the_line_moves_by_that_amount_at_the_level(method):
    got = correlation_level(RATES, 0.05, hold="covariance", pattern=PATTERN, method=method)
    matrix = np.eye(4) + got.level * PATTERN
    shift = balance_shift(RATES, hold="covariance", correlation=matrix, method=method).shift
    assert np.abs(shift).max() == pytest.approx(0.05, rel=1e-9)
    assert np.abs(shift).argmax() == got.unit
    assert got.status == "reached"


def test_level_that_is_never_reached():
    got = correlation_level(np.full(3, 0.45), 5.0, hold="correlation")
    assert got.status == "not_reached"
    assert np.isnan(got.level)
    assert got.to_dict()["level"] is None
    assert got.highest_level == pytest.approx(1.0)
    assert np.abs(got.balance.shift).max() < 5.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"amount": 0.0}, r"amount must be a number in \(0, inf\), got 0.0"),
        ({"amount": np.nan}, "amount must be a number"),
        ({"on_rate": [0.3]}, "on_rate must have at least 2 units to be correlated, got 1"),
        ({"pattern": np.eye(2)}, "pattern must have a value other than 0 off its diagonal"),
        ({"pattern": [[0, 1], [2, 0]]}, "pattern must be symmetric"),
        ({"pattern": np.ones((3, 3))}, r"pattern must have shape \(2, 2\)"),
        ({"hold": "none"}, "hold must be one of"),
    ],
)
def test_bad_level(arguments, message):
    given = {"on_rate": [0.3, 0.1], "amount": 0.1, "hold": "covariance"} | arguments
    with pytest.raises(ValueError, match=message):
        correlation_level(given.pop("on_rate"), given.pop("amount"), **given)

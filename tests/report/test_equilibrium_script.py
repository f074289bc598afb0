"""The page's formulas, run by V8, against the solver and against mpmath's digits of the theory."""

from __future__ import annotations

import json
import warnings
from importlib.resources import files

import numpy as np
import pytest

from bbtheory import binary_entropy, on_rate_from_log_odds, solve_equilibrium
from bbtheory.theory.entropy import MAX_BALANCED_TRAFFIC, ON_RATE_OF_MAX_TRAFFIC

py_mini_racer = pytest.importorskip("py_mini_racer", reason="needs mini-racer, the embedded V8")

SCRIPT = files("bbtheory.report").joinpath("equilibrium.js").read_text(encoding="utf-8")
CLOSE = 1e-9  # relative; what the page promises for beta k <= 700
POPULATIONS = [(1, 32, 1, 0.0), (0, 64, 4, 0.0), (7, 7, 1, 0.0), (1, 1000, 1, 0.0), (1, 512, 3, 1.5)]


@pytest.fixture(scope="module")
def v8():
    with py_mini_racer.MiniRacer() as engine:
        engine.eval(SCRIPT)

        def call(expression: str):
            return json.loads(engine.eval(f"JSON.stringify({expression})"))

        yield call


def numbers(values) -> str:
    return json.dumps(np.asarray(values).tolist())


def solved_by_both(v8, which: tuple, **given: float):
    """Return the script's answer and the solver's for one population."""
    units = f"equilibrium.population({', '.join(map(repr, which))})"
    ours = v8(f"equilibrium.solve({units}, {json.dumps(given)})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a budget that does not bind
        theirs = solve_equilibrium(ours["units"]["fan_out"], count=ours["units"]["count"], **given)
    return ours, theirs


def assert_same(ours: dict, theirs) -> None:
    """Assert that the script says what the solver says, units and totals alike."""
    wanted = theirs.to_dict()
    assert set(ours) <= set(wanted), "the script names its answers as the solver does"
    assert ours["status"] == wanted["status"]
    for name in set(ours) - {"status", "units"}:
        assert ours[name] == pytest.approx(wanted[name], rel=CLOSE, abs=0), name
    for name in ("fan_out", "count", "on_rate", "traffic"):
        np.testing.assert_allclose(ours["units"][name], wanted["units"][name], rtol=CLOSE, err_msg=name)
    odds, entropy = theirs.inactivity_log_odds, binary_entropy(theirs.on_rate)
    np.testing.assert_allclose(ours["units"]["inactivity_log_odds"], odds, rtol=CLOSE)
    np.testing.assert_allclose(ours["units"]["entropy"], entropy, rtol=CLOSE)


@pytest.mark.parametrize("which", POPULATIONS)
@pytest.mark.parametrize("largest_log_odds", [0.0, 1e-6, 0.1, 1.0, 30.0, 700.0])
def test_a_given_beta_says_what_the_solver_says(v8, which, largest_log_odds):
    ours, theirs = solved_by_both(v8, which, beta=largest_log_odds / which[1])
    assert ours["n_underflow"] == 0
    assert_same(ours, theirs)


@pytest.mark.parametrize("which", POPULATIONS)
@pytest.mark.parametrize("share", [1e-12, 1e-4, 0.1, 0.5, 0.99, 1 - 1e-9, 1.0, 2.0])
def test_a_given_budget_says_what_the_solver_says(v8, which, share):
    units = f"equilibrium.population({', '.join(map(repr, which))})"
    budget = share * v8(f"equilibrium.unpricedTraffic({units})")
    ours, theirs = solved_by_both(v8, which, budget=budget)
    if theirs.beta * which[1] <= 700:
        # just below the unpriced traffic the budget itself knows beta to eps / (1 - share) only
        assert ours["beta"] == pytest.approx(theirs.beta, rel=CLOSE if share < 0.999 else 1e-6, abs=0)
        if share < 0.999:
            assert_same(ours, theirs)
    assert ours["status"] == theirs.status
    assert ours["traffic"] == pytest.approx(min(budget, ours["traffic"]), rel=1e-12)


def test_random_populations_agree(v8):
    rng = np.random.default_rng(0)
    for _ in range(60):
        first, step = int(rng.integers(0, 20)), int(rng.integers(1, 9))
        which = (first, first + int(rng.integers(1, 400)), step, float(rng.choice([0.0, rng.uniform(0, 2)])))
        if rng.random() < 0.5:
            given = {"beta": float(np.exp(rng.uniform(np.log(1e-8), np.log(700))) / which[1])}
        else:
            units = f"equilibrium.population({', '.join(map(repr, which))})"
            unpriced = v8(f"equilibrium.unpricedTraffic({units})")
            if unpriced == 0:
                continue
            given = {"budget": float(unpriced * rng.uniform(0.02, 0.98))}
        ours, theirs = solved_by_both(v8, which, **given)
        if theirs.beta * which[1] <= 700:
            assert_same(ours, theirs)


def test_the_comparison_catches_a_wrong_formula(v8):
    ours, theirs = solved_by_both(v8, (1, 32, 1, 0.0), beta=0.5)
    ours["units"]["entropy"][3] *= 1 + 1e-8
    with pytest.raises(AssertionError):
        assert_same(ours, theirs)


def test_beyond_float64_rates_are_counted_as_underflow(v8):
    ours, theirs = solved_by_both(v8, (1, 100, 1, 0.0), beta=10.0)
    assert ours["n_underflow"] == theirs.n_underflow == 26
    assert ours["units"]["inactivity_log_odds"] == theirs.inactivity_log_odds.tolist()
    assert np.isfinite(ours["units"]["entropy"]).all()


def test_on_rates_of_any_log_odds(v8):
    x = [-800.0, -30.0, -1.0, -1e-20, 0.0, 1e-20, 1.0, 30.0, 700.0, 745.0, 800.0]
    ours = v8(f"{numbers(x)}.map(equilibrium.onRate)")
    np.testing.assert_allclose(ours, on_rate_from_log_odds(x), rtol=1e-14)


def test_entropy_of_rare_units_keeps_its_digits(v8):
    # mpmath, 40 digits: a x + ln(1 + e^-x) at x = 1e-8, 0.5, 40, 700
    truth = [
        0.6931471805599452969,
        0.6628473185791793986,
        1.7418252446695514808e-16,
        6.9116332571755993706e-302,
    ]
    ours = v8("[1e-8, 0.5, 40, 700].map(equilibrium.entropy)")
    np.testing.assert_allclose(ours, truth, rtol=1e-14)


def test_sums_carry_what_rounding_loses(v8):
    assert v8("equilibrium.sum([1, 1e100, 1, -1e100])") == 2
    assert v8("[1, 1e100, 1, -1e100].reduce((a, b) => a + b)") == 0, "a control: plain sums lose it"


def test_constants_are_those_of_the_theory(v8):
    assert v8("equilibrium.MAX_BALANCED_TRAFFIC") == MAX_BALANCED_TRAFFIC
    assert v8("equilibrium.ON_RATE_OF_MAX_TRAFFIC") == ON_RATE_OF_MAX_TRAFFIC
    at = v8("equilibrium.FAN_OUT_OF_MAX_TRAFFIC")
    assert on_rate_from_log_odds(at) == pytest.approx(ON_RATE_OF_MAX_TRAFFIC, rel=1e-15)


def test_the_script_of_the_controls_is_javascript(v8):
    source = files("bbtheory.report").joinpath("explorer.js").read_text(encoding="utf-8")
    assert v8(f"typeof ((document) => {{{source}}})") == "function", "read, not run: there is no page"
    with pytest.raises(py_mini_racer.JSParseException):
        v8(f"typeof (() => {{{source})")


def test_populations_are_those_of_the_command_line(v8):
    assert v8("equilibrium.population(2, 11, 3)") == {"fanOut": [2, 5, 8, 11], "count": [1, 1, 1, 1]}
    assert v8("equilibrium.population(0, 4, 2, 1)") == {"fanOut": [0, 2, 4], "count": [4, 2, 1]}

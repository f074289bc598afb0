"""Rules of the checks that judge simulated populations, on results made to pass and to fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bbtheory.catalog import Catalog
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED

CHECKS = Catalog("paper_checks")


@pytest.fixture(scope="module")
def balance(smoke):
    """Return a result that says what the theory wants to hear."""
    result = smoke.record("population_balance").result
    n = len(result.cases)
    law = tuple("hyperbolic" if case.startswith("threshold") else "balanced" for case in result.cases)
    near = np.array([[-1e-3, 1e-3]] * n)
    return replace(
        result,
        verdicts=tuple((word,) * 20 for word in law),
        shuffled_verdicts=(("none",) * 20,) * n,
        surprise=np.full(n, 1.0),
        price_error=np.zeros(n),
        price_error_interval=near,
        traffic_ratio=np.ones(n),
        traffic_ratio_interval=1.0 + near,
    )


def changed(result, case: str, **fields):
    """Return the result with one case's entries replaced."""
    i = result.cases.index(case)
    new = {}
    for name, value in fields.items():
        old = getattr(result, name)
        if isinstance(old, tuple):
            new[name] = (*old[:i], value, *old[i + 1 :])
        else:
            new[name] = old.copy()
            new[name][i] = value
    return replace(result, **new)


HALF = ("balanced",) * 10 + ("hyperbolic",) * 10
MANY = ("hyperbolic",) * 17 + ("undecided",) * 3


@pytest.mark.parametrize(
    ("name", "case", "fields", "verdict"),
    [
        ("threshold_rule_is_a_hyperbola", "threshold_in", {}, CONFIRMED),
        ("threshold_rule_is_a_hyperbola", "threshold_in", {"verdicts": HALF}, REFUTED),
        ("threshold_rule_is_a_hyperbola", "threshold_in", {"verdicts": MANY}, UNDECIDED),
        ("threshold_rule_is_a_hyperbola", "threshold_in", {"shuffled_verdicts": HALF}, UNDECIDED),
        ("controller_reaches_the_line", "controller_in", {}, CONFIRMED),
        ("controller_reaches_the_line", "controller_in", {"surprise": -3.1}, REFUTED),
        ("controller_reaches_the_line", "controller_out", {"surprise": np.nan}, UNDECIDED),
        ("controller_reaches_the_line", "controller_out", {"verdicts": HALF}, UNDECIDED),
        ("controller_reaches_the_line", "controller_out", {"verdicts": ("none",) * 20}, REFUTED),
        ("price_finds_the_multiplier", "price_degree", {}, CONFIRMED),
        ("price_finds_the_multiplier", "price_on_rate", {"price_error_interval": [0.011, 0.02]}, REFUTED),
        ("price_finds_the_multiplier", "price_on_rate", {"traffic_ratio_interval": [0.97, 0.98]}, REFUTED),
        ("price_finds_the_multiplier", "price_degree", {"price_error_interval": [-0.02, 0.0]}, UNDECIDED),
    ],
)
def test_rules_of_the_balance_checks(name, case, fields, verdict, balance):
    assert CHECKS.load(name).check(changed(balance, case, **fields)).verdict == verdict


@pytest.fixture(scope="module")
def stability(smoke):
    """Return a result with the flips that the map predicts."""
    result = smoke.record("refresh_stability").result
    flips, growth = result.sign_flip.copy(), result.growth_flip.copy()
    real, idle = result.variants.index("real"), result.variants.index("open")
    flips[real], growth[real] = result.predicted_sign_flip, result.predicted_growth_flip
    growth[real][~(result.predicted_growth_flip <= result.intervals.max())] = np.nan
    flips[idle], growth[idle] = np.nan, np.nan
    return replace(result, sign_flip=flips, growth_flip=growth)


@pytest.mark.parametrize(
    ("variant", "factor", "verdict"),
    [("real", 1.04, CONFIRMED), ("real", 1.06, REFUTED), ("real", np.nan, UNDECIDED), ("open", 1.0, REFUTED)],
)
def test_rule_of_refresh_flip_intervals(variant, factor, verdict, stability):
    flips = stability.sign_flip.copy()
    flips[stability.variants.index(variant)] = factor * stability.predicted_sign_flip
    found = CHECKS.load("refresh_flip_intervals").check(replace(stability, sign_flip=flips))
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("first", "last", "verdict"), [(0.9, -0.5, REFUTED), (-0.1, -0.5, CONFIRMED), (0.9, 0.5, UNDECIDED)]
)
def test_rule_of_short_refresh_oscillates(first, last, verdict, stability):
    shape = stability.autocorrelation.shape
    curve = np.broadcast_to(np.linspace(first, last, shape[-1]), shape).copy()
    curve[stability.variants.index("open")] = -1.0  # the control is left out
    result = replace(stability, autocorrelation=curve, growth=np.full(shape, 0.5))
    assert CHECKS.load("short_refresh_oscillates").check(result).verdict == verdict

"""Populations of a given correlation: the experiment asks for a level, and must get it."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.correlation_robustness import _correlation

RATES = np.array([0.05, 0.2, 0.4, 0.5])


@pytest.mark.parametrize("level", [0.0, 0.02, 0.1, 0.3])
def test_the_mean_correlation_is_the_level(level):
    correlation = _correlation(RATES, level)
    pairs = correlation[np.triu_indices(RATES.size, 1)]
    assert pairs.mean() == pytest.approx(level, abs=1e-9)
    assert (pairs >= 0).all()

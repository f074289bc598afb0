"""The rules of the checks on flux: each verdict is reached, and only where it should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bbtheory.catalog import Catalog
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED

CHECKS = Catalog("paper_checks")


def around(mean, half=1e-5):
    mean = np.asarray(mean)
    return np.stack([mean - half, mean + half])


@pytest.fixture
def density(smoke):
    """The smoke result as it would be if the law held to the last digit."""
    found = smoke.record("flux_density_toy").result
    law = np.broadcast_to(found.law_density, found.density.shape)
    ratio = np.ones_like(found.target_ratio)
    return replace(
        found,
        density=law,
        density_interval=around(law),
        exponent=np.broadcast_to(found.predicted_exponent, found.exponent.shape),
        death_density=found.predicted_death,
        death_interval=around(found.predicted_death),
        mispaired_density=found.law_density[0] + 0.1,
        target_ratio=ratio,
        target_ratio_interval=around(ratio, 0.05),
    )


@pytest.mark.parametrize(
    ("name", "verdict", "change"),
    [
        ("density_follows_flux", CONFIRMED, lambda r: {}),
        ("density_follows_flux", REFUTED, lambda r: {"density": r.density + 0.002}),
        ("density_follows_flux", UNDECIDED, lambda r: {"mispaired_density": r.law_density[0]}),
        (
            "density_follows_flux",
            CONFIRMED,
            lambda r: {"density": r.density + 2e-3, "density_interval": around(r.density, 1.1e-3)},
        ),
        ("exponent_is_one_over_p", CONFIRMED, lambda r: {}),
        ("exponent_is_one_over_p", REFUTED, lambda r: {"exponent": 0.97 * r.exponent}),
        ("exponent_is_one_over_p", UNDECIDED, lambda r: {"uniform_halves": np.array([1.0, 1.1])}),
        ("region_starts_at_first_death", CONFIRMED, lambda r: {}),
        ("region_starts_at_first_death", REFUTED, lambda r: {"death_density": r.death_density + 0.02}),
        ("region_starts_at_first_death", UNDECIDED, lambda r: {"death_density": r.death_density * np.nan}),
        ("region_starts_at_half", CONFIRMED, lambda r: {}),
        (
            "region_starts_at_half",
            REFUTED,
            lambda r: {"death_density": np.array([0.6]), "death_interval": around([0.6], 0.01)},
        ),
        (
            "region_starts_at_half",
            UNDECIDED,
            lambda r: {"death_density": np.array([0.6]), "death_interval": around([0.6], 0.1)},
        ),
        ("scheduler_meets_its_target", CONFIRMED, lambda r: {}),
        ("scheduler_meets_its_target", REFUTED, lambda r: shifted(r, 1.3, 0.05)),
        ("scheduler_meets_its_target", UNDECIDED, lambda r: shifted(r, 1.05, 0.2)),
    ],
)
def test_rules_on_density(name, verdict, change, density):
    assert CHECKS.load(name).check(replace(density, **change(density))).verdict == verdict


def shifted(result, ratio, half):
    ratio = np.full_like(result.target_ratio, ratio)
    return {"target_ratio": ratio, "target_ratio_interval": around(ratio, half)}


@pytest.mark.parametrize(
    ("verdict", "change"),
    [
        (CONFIRMED, lambda r: {}),
        (REFUTED, lambda r: {"long_density": r.long_density + 0.01}),
        (REFUTED, lambda r: {"arrival": 1.2 * r.arrival}),
        # a run that is still on its way says nothing about the equilibrium
        (
            UNDECIDED,
            lambda r: {"long_density": r.long_density + 0.01, "long_travelling": r.long_travelling + 0.5},
        ),
        (UNDECIDED, lambda r: {"arrival": np.nan * r.arrival}),
        (UNDECIDED, lambda r: {"short_density": r.long_density}),
    ],
)
def test_rule_of_adam_eps_moves_time(verdict, change, smoke):
    found = smoke.record("adam_eps_toy").result
    law = np.broadcast_to(found.law_density, found.long_density.shape)
    found = replace(
        found,
        arrival=found.predicted_arrival,
        long_density=law,
        long_travelling=np.zeros(law.shape),
        short_density=law + 0.3,
        sgd_density=np.full_like(found.sgd_density, found.law_density),
    )
    assert CHECKS.load("adam_eps_moves_time").check(replace(found, **change(found))).verdict == verdict


@pytest.mark.parametrize(
    ("verdict", "change"),
    [
        (CONFIRMED, lambda r: {}),
        (REFUTED, lambda r: {"presence": r.presence + 0.01}),
        (
            UNDECIDED,
            lambda r: {
                "presence": np.broadcast_to(r.static_law, r.presence.shape),
                "predicted_presence": np.broadcast_to(r.static_law, r.presence.shape),
            },
        ),
    ],
)
def test_rule_of_density_remembers_start(verdict, change, smoke):
    found = smoke.record("flux_learning_toy").result
    found = replace(found, presence=found.predicted_presence)
    assert CHECKS.load("density_remembers_start").check(replace(found, **change(found))).verdict == verdict


@pytest.mark.parametrize(
    ("verdict", "change"),
    [
        (CONFIRMED, lambda r: {}),
        (REFUTED, lambda r: {"coupled_error": r.coupled_error + 0.01}),
        (UNDECIDED, lambda r: {"law_error": 0.0 * r.law_error}),
    ],
)
def test_rule_of_coupled_weights(verdict, change, smoke):
    found = smoke.record("flux_correlated_toy").result
    zero = np.zeros_like(found.coupled_error)
    found = replace(found, coupled_error=zero, coupled_error_interval=around(zero), law_error=zero + 0.1)
    name = "coupled_weights_follow_the_programme"
    assert CHECKS.load(name).check(replace(found, **change(found))).verdict == verdict

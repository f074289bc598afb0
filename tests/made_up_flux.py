"""Cells of experiments with pressure with made-up numbers, of the size of a real preset: nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bbtheory import archive
from bbtheory.catalog import Catalog
from experiments import (
    _law_records,
    adam_eps_artefact,
    bottleneck,
    convergence_at_fixed_pressure,
    fixed_pressure_lenet,
    layerwise_density,
    regrowth_phase,
    spectrum_predicts_exponent,
    target_density,
)
from experiments._law_settings import course

LAYERS = np.array([0.7, 1.6, 12.0])  # densities of layers over that of the network


def layers(density: float) -> np.ndarray:
    return np.minimum(LAYERS * density, 1.0)


def falling(n: int, last: float, rng: np.random.Generator) -> np.ndarray:
    """Return densities that fall to about a last one."""
    return np.geomspace(1.0, last * math.exp(0.1 * rng.standard_normal()), n + 1)[1:].clip(max=1.0)


def held_long(config: Any, rng: np.random.Generator) -> convergence_at_fixed_pressure.Cell:
    return convergence_at_fixed_pressure.Cell(
        falling(config.epochs, 0.03, rng), rng.uniform(0.9, 0.95, config.epochs), layers(0.03), 5.0
    )


def held(config: Any, rng: np.random.Generator) -> fixed_pressure_lenet.Cell:
    networks = []
    for exponent in config.exponents:
        gamma = 2.0**exponent
        for _ in config.seeds:
            density = falling(config.epochs, 0.5 / (1.0 + gamma), rng)
            networks.append(
                fixed_pressure_lenet.Network(
                    density=density, accuracy=rng.uniform(0.9, 0.95, config.epochs), loss=np.ones(config.epochs),
                    layer_density=layers(density[-1]), absent_cases=np.ones((3, 4)), empty=(), flux_low=0.9 * gamma,
                    flux_median=3.0 * gamma, absent_above=0.01,
                )
            )  # fmt: skip
    return fixed_pressure_lenet.Cell(tuple(networks))


def regrown(config: Any, rng: np.random.Generator) -> regrowth_phase.Cell:
    density = np.append(
        falling(31, config.target, rng), np.full(29, config.target * (1.0 + config.scalers[0]))
    )
    reach = config.scalers[0] * config.decays[0]
    return regrowth_phase.Cell(density, reach, rng.uniform(0.9, 0.95, config.epochs), layers(config.target))


def by_layer(config: Any, rng: np.random.Generator) -> layerwise_density.Cell:
    density = falling(config.epochs, 0.0015, rng)
    return layerwise_density.Cell(
        pressure=np.ones(config.epochs),
        density=density,
        accuracy=rng.uniform(0.9, 0.95, config.epochs),
        layer_density=np.array([layers(d) for d in density]),
    )


def narrow(config: Any, rng: np.random.Generator) -> bottleneck.Cell:
    kept = falling(config.n_levels, 0.0005, rng)  # the last levels leave no weight
    return bottleneck.Cell(
        accuracy=rng.uniform(0.1, 0.95, config.n_levels), layer_density=np.stack([kept, kept, kept], axis=1),
        n_read=np.round(60 * kept), n_mute=np.round(9 * (1 - kept)),
    )  # fmt: skip


def steered(config: Any, rng: np.random.Generator) -> target_density.Cell:
    density = config.densities[0]
    off = {"authors": 0.6, "feedback": 0.005}.get(config.methods[0], 0.0)
    reached = density * (1.0 + off * rng.standard_normal())
    return target_density.Cell(
        falling(config.epochs, density, rng), rng.uniform(0.9, 0.95, config.epochs), reached, 0,
        float(rng.uniform(0.9, 0.95)), layers(density), (),
    )  # fmt: skip


def small_eps(config: Any, rng: np.random.Generator) -> adam_eps_artefact.Cell:
    shares = np.linspace(1.0, 0.0, config.epochs)
    density = falling(config.epochs, 0.5, rng)
    return adam_eps_artefact.Cell(density, density, shares, shares, 1000, 1e-9 * 2.0 ** config.exponents[0])


def law_fit(rng: np.random.Generator) -> _law_records.LawFit:
    return _law_records.LawFit(
        exponent=1.0 + 0.1 * rng.standard_normal(), hac_stderr=0.1, low=0.8, high=1.2, prefactor=0.1, r_squared=0.97,
        durbin_watson=0.3, bend=0.1 + 0.02 * rng.random(), curvature_p=0.001, least=0.7, largest=1.3,
        slopes=np.array([0.3, 1.0, 2.0]), breaks=np.array([0.6, 0.03]), n=30, n_dropped=0, n_collapsed=0,
        verdict="curved", reason="made up",
    )  # fmt: skip


def event_by_event(config: Any, rng: np.random.Generator) -> _law_records.Cell:
    n = course(config).n
    density = falling(n, 0.003, rng)
    ones = np.ones(n)
    return _law_records.Cell(
        saliency=0.1 / density * np.exp(0.1 * rng.standard_normal(n)).cumprod(), density=density,
        accuracy=rng.uniform(0.5, 0.95, n), mean_kept=ones, flux_low=ones, flux_median=ones, growth=0.1 * ones,
        near_growth=0.1 * ones, rank_correlation=0.9 * ones, dense_accuracy=0.98, fit=law_fit(rng),
        mean_fit=law_fit(rng),
    )  # fmt: skip


def spectral(config: Any, rng: np.random.Generator) -> spectrum_predicts_exponent.Cell:
    fit = law_fit(rng)
    return spectrum_predicts_exponent.Cell(
        spectrum=np.linspace(0.01, 1.0, 100), static=0.7 * fit.exponent, predicted=1.1 * fit.exponent,
        compensation=0.1, near_compensation=0.1, rank_correlation=0.9, predicted_breaks=np.array([0.55, 0.02]),
        predicted_log_rms=0.2, share_positive=0.6, fit=fit, dense_accuracy=0.98,
    )  # fmt: skip


MADE_UP: dict[str, Callable[[Any, np.random.Generator], Any]] = {
    "convergence_at_fixed_pressure": held_long,
    "learning_rate_convergence": held_long,
    "fixed_pressure_lenet": held,
    "regrowth_phase": regrown,
    "layerwise_density": by_layer,
    "bottleneck": narrow,
    "target_density": steered,
    "adam_eps_artefact": small_eps,
    "pruning_law_lenet": event_by_event,
    "pruning_law_convnet": event_by_event,
    "pruning_law_resnet50": event_by_event,
    "spectrum_predicts_exponent": spectral,
}


def flux_result(name: str, preset: str) -> Any:
    """Return the result of an experiment's preset on made-up cells."""
    module = Catalog("experiments").load(name)
    config = archive.settings(module, preset)
    rng = np.random.default_rng(0)
    return module.collect(config, [MADE_UP[name](cell, rng) for cell in module.cells(config)])

"""The rules of the checks on networks under pressure: each verdict comes of made-up records, and only there."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bbtheory.catalog import Catalog
from experiments import (
    adam_eps_artefact,
    bottleneck,
    convergence_at_fixed_pressure,
    fixed_pressure_lenet,
    layerwise_density,
    learning_rate_convergence,
    regrowth_phase,
    target_density,
)
from paper_checks._intervals import within
from paper_checks.pressure_sets_density_on_lenet import DENSITIES
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED

CHECKS = Catalog("paper_checks")
KINDS = {"str": "", "int": 0, "float": 0.0, "bool": False}

UNREAD = np.empty((0, 0, 0))  # checks read rows, not courses


def made(kind, **values):
    """Return a record whose other fields are empty."""
    empty = {f.name: KINDS[str(f.type)] for f in dataclasses.fields(kind) if str(f.type) in KINDS}
    return kind(**empty | values)


def around(name, mean, half):
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}


def verdict(name, result):
    return CHECKS.load(name).check(result).verdict


@pytest.mark.parametrize(
    ("expected", "intervals"),
    [
        (CONFIRMED, [(0.9, 1.1), (1.0, 1.0)]),
        (REFUTED, [(0.9, 1.1), (1.3, 1.5)]),
        (REFUTED, [(0.9, 1.1), (0.1, 0.5)]),
        (UNDECIDED, [(0.9, 1.1), (1.1, 1.5)]),
        (UNDECIDED, [(0.9, 1.1), (0.7, 0.9)]),
        (UNDECIDED, [(0.9, 1.1), (math.nan, math.nan)]),
        (UNDECIDED, []),
    ],
)
def test_within(expected, intervals):
    assert within(intervals, 0.8, 1.2) == expected


# a held pressure


def held(factor=1.0, half=0.01, flux=1.0, scatter=1.0, pressures=tuple(DENSITIES), n=3):
    rows = []
    for i, k in enumerate(pressures):
        density = factor * DENSITIES[k]
        rows.append(
            made(
                fixed_pressure_lenet.Row,
                pressure=2.0**k,
                n=n,
                density=density,
                low=density * (1 - half),
                high=density * (1 + half),
                flux_low=2.0**k * flux * scatter ** (-1) ** i,
            )
        )
    return fixed_pressure_lenet.Result(tuple(rows), UNREAD, UNREAD)


@pytest.mark.parametrize(
    ("name", "expected", "change"),
    [
        ("pressure_sets_density_on_lenet", CONFIRMED, {}),
        ("pressure_sets_density_on_lenet", REFUTED, {"factor": 1.5}),
        ("pressure_sets_density_on_lenet", REFUTED, {"factor": 0.7}),
        ("pressure_sets_density_on_lenet", UNDECIDED, {"half": 0.2}),
        (
            "pressure_sets_density_on_lenet",
            UNDECIDED,
            {"factor": 1.15, "half": 0.04},
        ),  # for the mean, not a run
        ("pressure_sets_density_on_lenet", UNDECIDED, {"pressures": (-1, 1)}),
        ("pressure_is_the_least_flux", CONFIRMED, {}),
        ("pressure_is_the_least_flux", CONFIRMED, {"flux": 1.5, "scatter": 1.2}),
        ("pressure_is_the_least_flux", REFUTED, {"flux": 10.0}),
        ("pressure_is_the_least_flux", REFUTED, {"flux": 0.1}),
        ("pressure_is_the_least_flux", REFUTED, {"flux": -1.0}),
        ("pressure_is_the_least_flux", UNDECIDED, {"flux": 3.0, "scatter": 2.0}),
    ],
)
def test_rules_on_held_pressures(name, expected, change):
    assert verdict(name, held(**change)) == expected


def test_some_pressures_without_a_least_flux():
    found = held()
    rows = (dataclasses.replace(found.rows[0], flux_low=0.0), *found.rows[1:])
    judged = CHECKS.load("pressure_is_the_least_flux").check(dataclasses.replace(found, rows=rows))
    assert judged.verdict == UNDECIDED
    assert judged.observed == "0 or less at 1 of 6 pressures"
    assert judged.interval is None


# a density that is asked for


def target(worst=0.01, n_off=0, n=5, off=0.0, half=0.02, less=0.01, empty=0, magnitude_empty=3):
    rows = [
        made(
            target_density.Row,
            method=method,
            wanted=wanted,
            n=n,
            worst=worst,
            n_off=n_off if method == "feedback" else 0,
            n_empty=empty if method == "authors" and wanted < 0.05 else 0,
            **around("off", off, half),
            **around("less_magnitude", less, 0.001),
        )
        for method in ("feedback", "authors")
        for wanted in (0.1, 0.02)
    ]
    rows.append(made(target_density.Row, method="magnitude", wanted=0.02, n=n, n_empty=magnitude_empty))
    rows.append(made(target_density.Row, method="dense", wanted=1.0, n=n))
    return target_density.Result(tuple(rows))


@pytest.mark.parametrize(
    ("name", "expected", "change"),
    [
        ("steered_pressure_meets_its_target", CONFIRMED, {}),
        ("steered_pressure_meets_its_target", REFUTED, {"worst": 0.03}),
        ("steered_pressure_meets_its_target", REFUTED, {"n_off": 2}),
        ("steered_pressure_meets_its_target", UNDECIDED, {"n": 3}),
        ("scheduler_meets_its_target_on_lenet", CONFIRMED, {}),
        ("scheduler_meets_its_target_on_lenet", REFUTED, {"off": 0.3}),
        ("scheduler_meets_its_target_on_lenet", REFUTED, {"off": -0.3}),
        ("scheduler_meets_its_target_on_lenet", UNDECIDED, {"off": 0.1}),
        ("hyperflux_matches_magnitude", CONFIRMED, {}),
        ("hyperflux_matches_magnitude", REFUTED, {"less": -0.01}),
        ("hyperflux_matches_magnitude", UNDECIDED, {"less": 0.001}),
        ("no_layer_collapses", CONFIRMED, {}),  # whatever magnitude does
        ("no_layer_collapses", REFUTED, {"empty": 1}),
        ("no_layer_collapses", UNDECIDED, {"n": 3}),
    ],
)
def test_rules_on_targets(name, expected, change):
    assert verdict(name, target(**change)) == expected


def regrown(overshoot=1.4, half=0.1, control=1.0):
    row = made(regrowth_phase.Row, scaler=0.0, decay=0.75, n=5, overshoot=control, low=control, high=control)
    rows = [row]
    for scaler in (0.1, 10.0):
        low, high = overshoot - half, overshoot + half
        rows.append(
            made(regrowth_phase.Row, scaler=scaler, decay=0.75, n=5, overshoot=overshoot, low=low, high=high)
        )
    return regrowth_phase.Result(0.01, tuple(rows), UNREAD)


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        (CONFIRMED, {}),
        (REFUTED, {"overshoot": 0.8}),
        (REFUTED, {"overshoot": 1.0, "half": 0.0}),
        (UNDECIDED, {"half": 0.5}),
        (UNDECIDED, {"control": 1.2}),  # masks that change without a flow
        (UNDECIDED, {"half": math.nan}),
    ],
)
def test_rule_of_regrowth(expected, change):
    assert verdict("regrowth_overshoots", regrown(**change)) == expected


# convergence


def ratio_courses(last, fall, half):
    """Courses of density, one beside those that are `last` of it at the end, 1 + `fall` times more before."""
    seeds = 1.0 + half * np.array([[-1.0], [0.0], [1.0]])
    epochs = np.linspace(1.0, 0.0, 30)
    return np.stack(
        [
            np.ones((3, 30)),
            *(end * seeds**epochs * (1.0 + f) ** epochs for end, f in zip(last, fall, strict=True)),
        ]
    )


def course(courses="3 exponential", drift=-0.01, ratio=1.0, half=0.05, first=-0.01, fall=0.0, noise=0.0):
    row = convergence_at_fixed_pressure.Row
    rows = [made(row, flow="adam", schedule="held", n=3, courses="3 power", drift=first)]
    numbers = around("ratio", ratio, half)
    rows.append(made(row, flow="sgd", schedule="held", n=3, courses=courses, drift=drift, **numbers))
    densities = ratio_courses([ratio], [fall], noise)
    return convergence_at_fixed_pressure.Result(2.0, tuple(rows), densities)


@pytest.mark.parametrize(
    ("name", "expected", "change"),
    [
        ("density_converges", CONFIRMED, {}),
        ("density_converges", CONFIRMED, {"courses": "2 power, 1 no_limit"}),
        ("density_converges", REFUTED, {"courses": "3 no_limit", "drift": -0.2}),
        ("density_converges", UNDECIDED, {"courses": "3 no_limit"}),
        ("density_converges", UNDECIDED, {"drift": -0.2}),
        ("density_converges", UNDECIDED, {"courses": ""}),
        ("presence_optimizers_agree", CONFIRMED, {}),
        ("presence_optimizers_agree", REFUTED, {"ratio": 1.3}),
        ("presence_optimizers_agree", REFUTED, {"ratio": 0.7}),
        ("presence_optimizers_agree", UNDECIDED, {"half": 0.4}),
        ("presence_optimizers_agree", UNDECIDED, {"ratio": 1.3, "drift": -0.2}),  # on its way
        ("presence_optimizers_agree", UNDECIDED, {"ratio": 1.3, "first": -0.2}),
        ("presence_optimizers_agree", UNDECIDED, {"ratio": 1.3, "fall": 0.2}),
        ("presence_optimizers_agree", UNDECIDED, {"ratio": 0.7, "fall": -0.2}),
        ("presence_optimizers_agree", UNDECIDED, {"ratio": 0.7, "noise": 0.2}),  # who knows
        ("presence_optimizers_agree", REFUTED, {"ratio": 0.7, "fall": 0.2}),  # further and further
        ("presence_optimizers_agree", CONFIRMED, {"fall": 0.2}),
    ],
)
def test_rules_on_courses(name, expected, change):
    assert verdict(name, course(**change)) == expected


@pytest.mark.parametrize("fall", [0.0, 0.2])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("presence_optimizers_agree", lambda fall: course(ratio=1.3, fall=fall)),
        ("density_forgets_the_learning_rate", lambda fall: rates(ratio=1.3, fall=fall)),
        ("eps_artefact_fades", lambda fall: eps(end=0.3, fall=fall)),
    ],
)
def test_notes_name_what_is_not_at_rest(name, make, fall):
    note = CHECKS.load(name).check(make(fall)).note
    assert note.count("(not at rest)") == (fall > 0)


def rates(ratio=1.0, half=0.05, drift=-0.01, first=-0.01, fall=0.0):
    row = learning_rate_convergence.Row
    rows = [made(row, learning_rate=1e-3, n=3, drift=first, **around("ratio", 1.0, 0.0))]
    rows += [
        made(row, learning_rate=1e-4, n=3, drift=-0.01, **around("ratio", 1.0, 0.05)),
        made(row, learning_rate=2e-2, n=3, drift=drift, **around("ratio", ratio, half)),
    ]
    return learning_rate_convergence.Result(1.0, tuple(rows), ratio_courses([1.0, ratio], [0.0, fall], 0.0))


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        (CONFIRMED, {}),
        (REFUTED, {"ratio": 2.0}),
        (UNDECIDED, {"ratio": 2.0, "drift": -0.2}),  # on its way
        (UNDECIDED, {"ratio": 2.0, "first": -0.2}),
        (UNDECIDED, {"ratio": 2.0, "fall": 0.5}),
        (REFUTED, {"ratio": 2.0, "fall": -0.2}),
        (UNDECIDED, {"half": 0.3}),
    ],
)
def test_rule_of_learning_rates(expected, change):
    assert verdict("density_forgets_the_learning_rate", rates(**change)) == expected


# layers


def layers(first=1.5, last=3.0, half=0.1, hyperflux=True):
    rows = []
    for method in ("hyperflux", "magnitude"):
        own = method == "hyperflux"
        for wanted in (0.5, 0.2, 0.1):
            numbers = around("fc1", wanted * (first if own else 0.5), half * wanted)
            numbers |= around("fc3", wanted * (last if own else 0.5), half * wanted)
            rows.append(made(layerwise_density.Row, method=method, wanted=wanted, n=5, n_there=5, **numbers))
    return layerwise_density.Result(tuple(rows[0 if hyperflux else 3 :]))


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        (CONFIRMED, {}),
        (REFUTED, {"first": 0.8}),
        (REFUTED, {"last": 0.8}),
        (UNDECIDED, {"first": 1.05}),
        (UNDECIDED, {"half": 2.0}),
        (UNDECIDED, {"hyperflux": False}),
    ],
)
def test_rule_of_outer_layers(expected, change):
    assert verdict("outer_layers_keep_more", layers(**change)) == expected


def narrow(alone=0.95, together=0.8, half=0.02, least=20.0, more=0.98):
    row = bottleneck.Row
    rows = [
        made(row, arm="last_layer", n=5, fc3_weights=1000.0, accuracy=0.98, low=0.97, high=0.99),
        made(row, arm="last_layer", n=5, fc3_weights=40.0, accuracy=more, low=more - half, high=more + half),
        made(
            row, arm="last_layer", n=5, fc3_weights=least, accuracy=alone, low=alone - half, high=alone + half
        ),
        made(
            row,
            arm="all_layers",
            n=5,
            fc3_weights=30.0,
            accuracy=together,
            low=together - half,
            high=together + half,
        ),
        made(row, arm="all_layers", n=5, fc3_weights=0.0, accuracy=0.1, low=0.1, high=0.1),
    ]
    return bottleneck.Result(tuple(rows))


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        (CONFIRMED, {}),
        (REFUTED, {"alone": 0.8, "together": 0.95, "more": 0.85}),
        (UNDECIDED, {"alone": 0.8, "together": 0.95}),  # lower, with fewer weights
        (UNDECIDED, {"alone": 0.8, "more": 0.95}),  # higher, with more weights
        (UNDECIDED, {"half": 0.2}),
        (UNDECIDED, {"least": 100.0}),  # never as few weights as among pruned layers
    ],
)
def test_rule_of_the_bottleneck(expected, change):
    assert verdict("full_layers_make_up_for_a_bottleneck", narrow(**change)) == expected


# Adam's eps


def eps(error=0.005, early=0.1, end=0.0, half=0.002, idle=0.0, n_idle=20_000, fall=0.0):
    rows = []
    for value in (1e-8, 1e-12):
        own = value == 1e-8
        rows.append(
            made(
                adam_eps_artefact.Row,
                pressure=2.0**-9,
                eps=value,
                n=3,
                idle_error=error,
                n_idle=n_idle,
                idle_end=idle if own else 0.0,
                early_excess=early,
                early_low=early - half,
                early_high=early + half,
                excess=end if own else 0.0,
                low=end - half if own else 0.0,
                high=end + half if own else 0.0,
            )
        )
    course = np.zeros((2, 3, 30))
    course[0] = end + np.array([[0.9], [1.0], [1.1]]) * np.linspace(fall, 0.0, 30)
    return adam_eps_artefact.Result(tuple(rows), course, UNREAD, UNREAD)


@pytest.mark.parametrize(
    ("name", "expected", "change"),
    [
        ("idle_weights_leave_on_time", CONFIRMED, {}),
        ("idle_weights_leave_on_time", REFUTED, {"error": 0.05}),
        # of 6 runs of 20,000 weights the bound is sqrt(ln(1200)/40000) = 0.0133
        ("idle_weights_leave_on_time", CONFIRMED, {"error": 0.0132}),
        ("idle_weights_leave_on_time", REFUTED, {"error": 0.0135}),
        ("idle_weights_leave_on_time", CONFIRMED, {"error": 0.05, "n_idle": 900}),  # so few scatter as much
        ("eps_artefact_fades", CONFIRMED, {}),
        ("eps_artefact_fades", REFUTED, {"end": 0.05}),
        ("eps_artefact_fades", UNDECIDED, {"end": 0.05, "idle": 0.5}),  # idle weights are still leaving
        ("eps_artefact_fades", UNDECIDED, {"end": 0.05, "fall": 0.05}),  # others are
        ("eps_artefact_fades", UNDECIDED, {"end": -0.05, "fall": -0.05}),
        ("eps_artefact_fades", REFUTED, {"end": 0.05, "fall": -0.02}),  # it grows
        ("eps_artefact_fades", UNDECIDED, {"early": 0.0}),  # no artefact to fade
        ("eps_artefact_fades", UNDECIDED, {"half": 0.05}),
    ],
)
def test_rules_on_eps(name, expected, change):
    assert verdict(name, eps(**change)) == expected

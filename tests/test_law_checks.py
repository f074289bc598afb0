"""The rules of the checks on the pruning law: each verdict is reached on made-up records, and only there."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bbtheory.catalog import Catalog
from experiments import pruning_law_lenet, spectrum_predicts_exponent
from experiments._law_records import Cell, Curves, Result, Row, collect, compensation, fit_law
from experiments._law_settings import EFFECTIVE, FAMILIES, LAW, cells, course
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED

CHECKS = Catalog("paper_checks")
KINDS = {"str": "", "int": 0, "float": 0.0, "bool": False}


def made(kind, **values):
    """Return a record whose other fields are empty."""
    empty = {f.name: KINDS[str(f.type)] for f in dataclasses.fields(kind)}
    return kind(**empty | values)


def around(name, mean, half):
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}


def law(
    n=5, verdict="power_law", schedule_ratio=1.0, spread=0.1, first=0.5, last=0.005, r_squared=0.999, **change
):
    """Return a result in which all holds, but for what is changed; ``change``: family -> verdict."""
    rows, curves = [], []
    for family in FAMILIES:
        for schedule in ("base", "quick", "coarse") if family in LAW else ("base",):
            own = change.get(family, verdict)
            straight = r_squared if family in EFFECTIVE else 0.9
            ratio = 1.0 if schedule == "base" else schedule_ratio
            rows.append(
                made(
                    Row,
                    family=family,
                    schedule=schedule,
                    n=n,
                    **around("exponent", 1.0, 0.01),
                    **around("r_squared", straight, 0.0005),
                    **around("spread", spread, 0.02),
                    **around("against_base", ratio, 0.05),
                    **around("first_break", first, 0.02),
                    **around("last_break", last, 0.0002),
                    n_power_law=n if own == "power_law" else 0,
                    n_curved=n if own == "curved" else 0,
                    n_undecided=n if own == "undecided" else 0,
                )
            )
            density = np.tile(np.geomspace(1, 0.0025, 9), (n, 1))
            each = np.ones(n)
            curves.append(
                Curves(
                    family,
                    schedule,
                    *(density,) * 5,
                    exponent=each,
                    bend=0.01 * each,
                    r_squared=straight * each,
                    breaks=np.tile([first, last], (n, 1)),
                    verdicts=(own,) * n,
                    mean_verdicts=(own,) * n,
                )
            )
    return Result(tuple(rows), tuple(curves))


def without(result, family):
    return Result(
        tuple(r for r in result.rows if r.family != family),
        tuple(c for c in result.curves if c.family != family),
    )


@pytest.mark.parametrize(
    ("name", "verdict", "result"),
    [
        ("density_is_a_power_of_saliency", CONFIRMED, law()),
        ("density_is_a_power_of_saliency", REFUTED, law(verdict="curved")),
        ("density_is_a_power_of_saliency", UNDECIDED, law(magnitude="curved")),
        ("density_is_a_power_of_saliency", UNDECIDED, law(verdict="undecided")),
        ("density_is_a_power_of_saliency", UNDECIDED, law(n=4)),
        ("density_is_a_power_of_saliency", UNDECIDED, without(law(), "taylor")),
        ("one_law_for_every_family", CONFIRMED, law()),
        ("one_law_for_every_family", REFUTED, law(taylor="curved")),
        ("one_law_for_every_family", UNDECIDED, law(taylor="undecided")),
        ("one_law_for_every_family", CONFIRMED, law(gradient="curved")),  # one of the others
        ("one_law_for_every_family", UNDECIDED, law(n=4, taylor="curved")),
        ("one_law_for_every_family", UNDECIDED, without(law(taylor="curved"), "hyperflux")),
        ("one_law_on_convolutions", CONFIRMED, law()),
        ("one_law_on_convolutions", REFUTED, law(magnitude="curved")),
        ("one_law_on_convolutions", UNDECIDED, law(magnitude="undecided")),
        ("regions_end_where_they_are_set", CONFIRMED, law()),
        ("regions_end_where_they_are_set", REFUTED, law(first=0.3)),
        ("regions_end_where_they_are_set", REFUTED, law(last=0.02)),
        ("regions_end_where_they_are_set", UNDECIDED, law(first=0.41)),
        ("regions_end_where_they_are_set", UNDECIDED, law(n=4, first=0.3)),
        ("exponent_is_stable", CONFIRMED, law()),
        ("exponent_is_stable", REFUTED, law(spread=0.4)),
        ("exponent_is_stable", REFUTED, law(schedule_ratio=1.4)),
        ("exponent_is_stable", REFUTED, law(schedule_ratio=0.7)),
        ("exponent_is_stable", UNDECIDED, law(spread=0.19)),
        ("exponent_is_stable", UNDECIDED, law(schedule_ratio=1.18)),
        ("exponent_is_stable", UNDECIDED, law(schedule_ratio=0.84)),
        ("exponent_is_stable", UNDECIDED, law(n=3, spread=0.4)),
    ],
)
def test_rules_on_curves(name, verdict, result):
    assert CHECKS.load(name).check(result).verdict == verdict


def test_the_region_that_decides_is_the_one_shown():
    found = CHECKS.load("regions_end_where_they_are_set").check(law(last=0.02))
    assert (found.predicted, found.observed) == (0.005, 0.02)
    assert found.interval == pytest.approx((0.0198, 0.0202))


def fitted(half: float = 0.02, n: int = 5, **exponents: float):
    """Return a result with these exponents, 1 elsewhere, and growth of the survivors that explains them."""
    rows = []
    for row in law(n=n).rows:
        mean = exponents.get(row.family, 1.0)
        own = around("exponent", mean, half * mean)
        nu = 1.0 / mean - 1.0 if row.family in ("magnitude", "taylor") else 0.0  # static exponents are 1
        rows.append(dataclasses.replace(row, **own, **around("mean_exponent", 1.72, 0.01), compensation=nu))
    return Result(tuple(rows), ())


THEIRS = {"magnitude": 1.03, "taylor": 0.588}
OF_RESNET = {"hyperflux": 0.595, "magnitude": 1.533, "taylor": 0.623}


@pytest.mark.parametrize(
    ("name", "verdict", "result"),
    [
        ("lenet_exponents_repeat", CONFIRMED, fitted(**THEIRS)),
        ("lenet_exponents_repeat", REFUTED, fitted(**THEIRS | {"taylor": 1.0})),
        ("lenet_exponents_repeat", UNDECIDED, fitted(half=0.2, **THEIRS)),
        ("lenet_exponents_repeat", UNDECIDED, fitted(n=4, **THEIRS)),
        ("lenet_exponents_repeat", UNDECIDED, without(fitted(**THEIRS), "taylor")),
        ("resnet50_exponents_repeat", CONFIRMED, fitted(**OF_RESNET)),
        ("resnet50_exponents_repeat", REFUTED, fitted(**THEIRS)),
        ("compensation_explains_the_exponent", CONFIRMED, fitted(**THEIRS)),
        ("compensation_explains_the_exponent", CONFIRMED, fitted(**OF_RESNET)),
        ("compensation_explains_the_exponent", REFUTED, fitted(**THEIRS, static_taylor=2.0)),
        ("compensation_explains_the_exponent", UNDECIDED, fitted(half=0.2, **THEIRS)),
        ("compensation_explains_the_exponent", UNDECIDED, fitted(n=4, **THEIRS)),
        ("compensation_explains_the_exponent", UNDECIDED, without(fitted(**THEIRS), "static_taylor")),
    ],
)
def test_rules_on_exponents(name, verdict, result):
    assert CHECKS.load(name).check(result).verdict == verdict


def test_their_one_run_is_held_against_one_more_of_ours():
    found = CHECKS.load("lenet_exponents_repeat").check(fitted(half=0.02, taylor=1.0, magnitude=1.03))
    assert found.observed == pytest.approx(1.0 / 0.588)
    half = 0.02 * math.sqrt(5 + 1) / 0.588  # of 5 seeds; the mean itself is known better
    assert found.interval == pytest.approx((1.0 / 0.588 - half, 1.0 / 0.588 + half))


def null(best):
    module = Catalog("experiments").load("static_null")
    r_squared = np.array([[best], [0.92], [0.9]]) + np.linspace(-2e-4, 2e-4, 32)
    curve, count = np.ones((3, 5)), np.zeros(3, dtype=int)
    return module.Result(
        module.FAMILIES,
        np.linspace(1, 0.1, 5),
        curve,
        curve,
        curve,
        r_squared,
        r_squared,
        count,
        count,
        count,
    )


@pytest.mark.parametrize(
    ("verdict", "result", "best"),
    [
        (CONFIRMED, law(), 0.992),
        (REFUTED, law(r_squared=0.985), 0.992),
        (UNDECIDED, law(r_squared=0.992), 0.992),
        (REFUTED, law(r_squared=0.85), 0.8),  # the networks' own controls count too
        (UNDECIDED, law(n=3), 0.8),
        (UNDECIDED, without(law(), "static_taylor"), 0.8),
        (UNDECIDED, law(r_squared=0.992), 0.9915),  # their intervals meet
    ],
)
def test_rule_of_null_controls(verdict, result, best):
    assert CHECKS.load("law_beats_null_controls").check(result, null(best)).verdict == verdict


def test_null_controls_of_the_network_are_told_apart_from_fixed_numbers():
    check = CHECKS.load("law_beats_null_controls").check
    assert check(law(r_squared=0.985), null(0.992)).note.endswith("magnitude, taylor, hyperflux")
    assert check(law(r_squared=0.85), null(0.8)).note.endswith("same network: none")


def spectrum(ratio=1.0, half=0.1, edge=0.6, first=0.6, n=5, hyperflux=None):
    rows = []
    for data in ("mnist", "fashion_mnist"):
        for family in LAW:
            own = hyperflux if family == "hyperflux" and hyperflux is not None else ratio
            rows.append(
                made(
                    spectrum_predicts_exponent.Row,
                    data=data,
                    widths="300-100",
                    family=family,
                    n=n,
                    **around("ratio", own, half),
                    **around("edge", edge, 0.01),
                    **around("first_break", first, 0.03),
                    **around("spectrum_break", 0.4, 0.01),
                )
            )
    empty = np.zeros((6, 5))
    return spectrum_predicts_exponent.Result(
        tuple(rows), spectrum_predicts_exponent.LEVELS, np.ones((6, 100)), empty, empty
    )


@pytest.mark.parametrize(
    ("name", "verdict", "result"),
    [
        ("exponent_follows_from_spectrum", CONFIRMED, spectrum()),
        ("exponent_follows_from_spectrum", REFUTED, spectrum(ratio=2.0)),
        ("exponent_follows_from_spectrum", REFUTED, spectrum(hyperflux=0.5)),
        ("exponent_follows_from_spectrum", UNDECIDED, spectrum(half=0.5)),
        ("exponent_follows_from_spectrum", UNDECIDED, spectrum(n=4)),
        ("region_end_follows_exponent", CONFIRMED, spectrum()),
        ("region_end_follows_exponent", REFUTED, spectrum(first=0.3)),
        ("region_end_follows_exponent", UNDECIDED, spectrum(first=0.3, n=4)),
        ("region_end_follows_exponent", UNDECIDED, spectrum(edge=0.06, first=0.04)),  # intervals meet
    ],
)
def test_rules_on_spectra(name, verdict, result):
    assert CHECKS.load(name).check(result).verdict == verdict


# what the records are made of


def curve(exponent, n=40, low=0.003):
    density = np.geomspace(0.95, low, n)
    rng = np.random.default_rng(0)
    return density ** (-1 / exponent) * np.exp(0.01 * rng.standard_normal(n)), density


def test_fit_law_finds_the_law_it_was_given():
    saliency, density = curve(0.7)
    found = fit_law(saliency, density)
    assert found.verdict == "power_law"
    assert found.exponent == pytest.approx(0.7, abs=3 * found.hac_stderr + 1e-3)
    assert found.bend == pytest.approx(0.007, rel=0.4)
    # the control: a lognormal's tail is no power law
    bent = fit_law(np.exp(np.linspace(-1, 3, 40)), np.exp(-(np.linspace(0.3, 2.4, 40) ** 2)))
    assert bent.verdict == "curved"
    assert bent.bend > 5 * found.bend


def test_fit_law_says_what_it_cannot_fit():
    zeros = fit_law(np.zeros(20), np.linspace(1, 0.01, 20))
    assert (zeros.verdict, zeros.n, zeros.n_dropped) == ("undecided", 0, 20)
    assert math.isnan(zeros.exponent)
    assert "usable points" in zeros.reason
    negative = fit_law(
        *(np.append(part, value) for part, value in zip(curve(0.7), (-1.0, 0.002), strict=True))
    )
    assert negative.n_dropped == 1


def cell(exponent, accuracy=1.0, growth=math.nan):
    saliency, density = curve(exponent)
    one = np.ones(density.size)
    return Cell(
        saliency=saliency,
        density=density,
        accuracy=accuracy * one,
        mean_kept=2 * saliency,
        flux_low=one,
        flux_median=one,
        growth=growth * one,
        near_growth=growth * one,
        rank_correlation=one,
        dense_accuracy=accuracy,
        fit=fit_law(saliency, density),
        mean_fit=fit_law(2 * saliency, density),
    )


def test_collect_over_seeds():
    config = pruning_law_lenet.Config(families=("magnitude",), schedules=("base", "quick"), seeds=(0, 1, 2))
    settings = cells(config)
    assert [(s.schedules[0], s.seeds[0]) for s in settings[2:4]] == [("base", 2), ("quick", 0)]
    found = collect(config, [cell(0.5 + 0.1 * s.seeds[0] * (s.schedules[0] == "base")) for s in settings])
    base, quick, curves = found.row("magnitude"), found.row("magnitude", "quick"), found.curve("magnitude")
    assert base.exponent == pytest.approx(0.6, abs=5e-3)
    assert base.exponent_low < 0.5 < 0.7 < base.exponent_high  # three values 0.1 apart
    assert quick.against_base == pytest.approx(np.mean([1, 5 / 6, 5 / 7]), abs=0.01)
    assert base.mean_exponent == pytest.approx(base.exponent, rel=1e-6)
    assert curves.density.shape == (3, 40)
    assert found.row("taylor") is None


def test_compensation_is_nu():
    growth = 0.05
    found = cell(0.7, growth=growth)
    share = found.density[1] / found.density[0]
    nu = math.log1p(growth) / -math.log(share)
    assert compensation(found.density, found.growth) == pytest.approx(nu, rel=1e-6)
    assert math.isnan(compensation(found.density, cell(0.7).growth))


def test_courses():
    config = pruning_law_lenet.Config(kept=0.9, steps=100, low=-4, high=3, per_octave=2, pressure_steps=60)

    def one(family, schedule="base"):
        return course(dataclasses.replace(config, families=(family,), schedules=(schedule,)))

    base, quick, coarse = (one("magnitude", s) for s in ("base", "quick", "coarse"))
    assert (base.n, base.kept, base.steps) == (57, 0.9, 100)
    assert 0.9**57 <= config.last_density < 0.9**56
    assert (quick.n, quick.steps) == (57, 25)
    assert (coarse.kept, coarse.steps) == (pytest.approx(0.81), 200)
    assert one("static_taylor").steps == 0
    pressures = one("hyperflux").pressures
    assert (pressures[0], pressures[-1], len(pressures)) == (2.0**-4, 8.0, 15)
    assert one("hyperflux", "coarse").pressures == pressures[::2]
    assert one("hyperflux", "coarse").steps == 120


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"families": ("wanda",)}, "families"),
        ({"schedules": ("slow",)}, "schedules"),
        ({"kept": 1.0}, "kept"),
        ({"last_density": 0.0}, "last_density"),
        ({"steps": 0}, "steps"),
        ({"high": -20.0}, "high must be above low"),
        ({"flow_rate": 0.0}, "flow_rate"),
        ({"device": "tpu"}, "device"),
        ({"data": "imagenet"}, "data"),
        ({"widths": (0, 3)}, "widths"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        pruning_law_lenet.Config(**change)

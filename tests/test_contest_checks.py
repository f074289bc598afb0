"""The rules of the checks on real tasks: each verdict is reached on made-up records, and only there."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from bbtheory import archive
from bbtheory.catalog import Catalog
from experiments import (
    actuator_ablation,
    bench_training_overhead,
    dense_controls,
    lenet_density,
    overhead_at_scale,
    silent_units,
)
from experiments import one_shot_language_model as one_shot
from experiments._contest_records import Claim, MetricRow, Result, Row
from experiments._timing import Row as Timed
from paper_checks._contests import TASKS as CONTESTS
from paper_checks._contests import Effect, in_general, judge, sides, together
from paper_checks.line_emerges_in_trained_layers import proportion_interval
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED

CHECKS = Catalog("paper_checks")
KINDS = {"str": "", "int": 0, "float": 0.0, "bool": False}
TASKS = ("images", "speech", "identities", "changes", "synapses", "text")


def made(kind, **values):
    """Return a record whose other fields are empty."""
    empty = {f.name: KINDS[str(f.type)] for f in dataclasses.fields(kind) if str(f.type) in KINDS}
    return kind(**empty | values)


def around(name, mean, half):
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}


def verdict(name, *results):
    return CHECKS.load(name).check(*results).verdict


# many effects at once


def test_intervals_together_hold_together():
    rng = np.random.default_rng(0)
    n, m, trials = 5, 20, 800
    samples = rng.standard_normal((trials, m, n))
    mean, error = samples.mean(2), samples.std(2, ddof=1) / math.sqrt(n)
    half = 2.7764451 * error  # Student's at 95 %, 4 degrees of freedom, from a table
    missed = missed_by_one = 0
    for row in range(trials):
        own = [
            Effect(str(i), "", n, mean[row, i], mean[row, i] - half[row, i], mean[row, i] + half[row, i])
            for i in range(m)
        ]
        missed += any(not e.low <= 0 <= e.high for e in together(own))
        missed_by_one += any(not e.low <= 0 <= e.high for e in own)
    # 5 % of 800 trials, and five standard deviations of that
    assert missed / trials < 0.05 + 5 * math.sqrt(0.05 * 0.95 / trials)
    assert missed_by_one / trials > 0.4, "the control: intervals one by one miss in most trials"


def test_one_effect_keeps_its_interval():
    effect = Effect("arm", "rival", 5, 1.0, 0.5, 1.5)
    (same,) = together([effect])
    assert (same.low, same.high) == pytest.approx((0.5, 1.5), rel=1e-12)
    first, _ = together([effect, dataclasses.replace(effect, arm="other")])
    # Student's at 97.5 % over that at 95 %, two-sided, 4 degrees of freedom, from a table
    assert (first.high - 1.0) / 0.5 == pytest.approx(3.4954 / 2.7764, rel=1e-4)
    (unknown,) = together([dataclasses.replace(effect, low=math.nan)])
    assert math.isnan(unknown.low + unknown.high)


def test_an_arm_must_beat_all_its_rivals():
    up, down = (partial(Effect, n=5, mean=m, low=m - 0.1, high=m + 0.1) for m in (1.0, -1.0))
    arms, support, contradict = sides(
        [up("a", "x"), up("a", "y"), up("b", "x"), down("b", "y"), down("c", "x")]
    )
    assert (arms, support, contradict) == (["a", "b", "c"], ["a"], ["b", "c"])
    broken = Effect("a", "z", 5, -math.inf, math.nan, math.nan)
    found = judge("claim", "source", [up("a", "x"), broken])
    assert found.verdict == UNDECIDED, "an arm must beat the rival too beside which it broke down"
    assert found.observed == "0 of 1 arms support, 0 contradict"


@pytest.mark.parametrize(
    ("means", "exists", "general"),
    [
        ([1.0, 1.0, 1.0, 1.0], CONFIRMED, CONFIRMED),
        ([1.0, 0.0, 0.0, 0.0], CONFIRMED, UNDECIDED),  # one arm shows that it can be, not that it is
        ([1.0, -1.0, 0.0, 0.0], UNDECIDED, UNDECIDED),
        ([1.0, -1.0, -1.0, 0.0], REFUTED, REFUTED),
        ([0.0, 0.0, 0.0, -1.0], REFUTED, REFUTED),
        ([0.0, 0.0, 0.0, 0.0], UNDECIDED, UNDECIDED),
        ([math.nan] * 4, UNDECIDED, UNDECIDED),
    ],
)
def test_rules_of_arms(means, exists, general):
    effects = [Effect(f"task {i}", "rival", 5, m, m - 0.1, m + 0.1) for i, m in enumerate(means)]
    assert judge("claim", "source", effects).verdict == exists
    assert in_general("claim", "source", effects).verdict == general


def test_claims_in_general_are_judged_over_every_contest():
    tuned = {name.removeprefix("tune_") for name in Catalog("experiments").names if name.startswith("tune_")}
    assert set(CONTESTS) == tuned
    for name in ("entropy_rises", "correlation_falls", "sometimes_exceeds_dense", "units_die_under_the_rule"):
        assert CHECKS.load(name).SOURCES == CONTESTS
    assert set(CONTESTS) < set(CHECKS.load("densities_are_matched").SOURCES)


# contests


def contest(effect=0.05, half=0.01, turned=(), metrics=("main",)):
    """Return a contest whose claims all have this effect; ``turned`` names arms with the opposite one."""
    rows = [made(Row, method="dense", wanted=1.0, n=5, main=0.8)]
    claims, measured = [], []
    for name in metrics:
        dense = made(MetricRow, method="dense", wanted=1.0, metric=name, role="main", mean=0.8)
        measured.append(dense)
    for method in ("bb_in", "bb_both", "bb_in_awake", "bb_uniform"):
        for wanted in (0.5, 0.1):
            own = -effect if (method, wanted) in turned else effect
            if method in ("bb_in_awake", "bb_uniform"):
                own = -5 * effect  # what is not the published rule must not matter
            rows.append(made(Row, method=method, wanted=wanted, n=5, main=0.8 + own))
            for claim, rivals in (
                ("tail gain", ("random", "magnitude", "rigl", "bb_uniform")),
                ("exceeds dense", ("dense",)),
                ("entropy up", ("dense", "magnitude")),
                ("correlation down", ("dense", "magnitude")),
            ):
                for rival in rivals:
                    seen = -5 * effect if rival == "bb_uniform" else own
                    claims.append(
                        made(
                            Claim,
                            claim=claim,
                            method=method,
                            wanted=wanted,
                            against=rival,
                            n=5,
                            effect=seen,
                            low=seen - half,
                            high=seen + half,
                        )
                    )
            for name in metrics:
                sign = -1.0 if name == "wer" else 1.0
                numbers = around("less_dense", sign * own, half) | around("less_magnitude", sign * own, half)
                measured.append(
                    made(MetricRow, method=method, wanted=wanted, metric=name, role="main", **numbers)
                )
    return Result(tuple(rows), tuple(measured), tuple(claims), worst_gap=0.5, n_weights=1, note="")


ONE, ALL = (("bb_in", 0.5),), (("bb_in", 0.5), ("bb_both", 0.5), ("bb_in", 0.1), ("bb_both", 0.1))
RULES = [
    (CONFIRMED, {}),
    (UNDECIDED, {"half": 0.06}),  # wide
    (UNDECIDED, {"half": 0.04}),  # one by one it would do, all together it does not
    (UNDECIDED, {"turned": ONE}),
    (REFUTED, {"turned": ALL}),
    (REFUTED, {"turned": ALL[:3]}),
]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("expected", "change"), RULES)
def test_rule_of_tail_gain(task, expected, change):
    assert verdict(f"tail_gain_on_{task}", contest(**change)) == expected


@pytest.mark.parametrize("claim", ["entropy_rises", "correlation_falls"])
@pytest.mark.parametrize(("expected", "change"), RULES)
def test_rule_of_units(claim, expected, change):
    assert verdict(claim, *[contest(**change)] * 6) == expected


@pytest.mark.parametrize("claim", ["entropy_rises", "correlation_falls", "sometimes_exceeds_dense"])
def test_arms_bear_the_name_of_their_task(claim):
    note = CHECKS.load(claim).check(*[contest()] * 6).note
    assert "change_detection bb_in at 0.5" in note
    assert "language_model bb_in at 0.5" in note


def test_units_of_one_task_are_not_enough():
    flat = contest(effect=0.0)
    assert verdict("entropy_rises", contest(), *[flat] * 5) == UNDECIDED
    assert verdict("entropy_rises", *[contest()] * 3, *[flat] * 3) == CONFIRMED
    assert verdict("correlation_falls", *[flat] * 5, contest(turned=ONE)) == UNDECIDED
    assert verdict("correlation_falls", *[flat] * 5, contest(turned=ALL)) == REFUTED


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        (CONFIRMED, {}),
        (CONFIRMED, {"turned": ONE}),  # sometimes
        (UNDECIDED, {"half": 0.06}),
        (REFUTED, {"turned": ALL[:2]}),  # both arms at moderate density; the sparse ones do not count
        (UNDECIDED, {"turned": ALL, "half": 0.06}),
    ],
)
def test_rule_of_exceeds_dense(expected, change):
    assert verdict("sometimes_exceeds_dense", *[contest(**change)] * 6) == expected


def test_gain_at_equal_density_needs_every_task():
    def judged(**change):
        speech = contest(metrics=("wer",), **change)  # lower is better: signs must follow
        return verdict("gain_at_equal_density", speech, contest(), contest())

    assert judged() == CONFIRMED
    assert judged(effect=0.0) == UNDECIDED
    assert judged(turned=ONE) == UNDECIDED
    assert verdict("gain_at_equal_density", *[contest(turned=ALL)] * 3) == REFUTED


def test_rule_of_changes():
    def judged(gain, half=0.01, **change):
        found = contest(effect=0.8 * gain, half=0.8 * half, metrics=("image_iou",), **change)
        return CHECKS.load("changes_gain_a_tenth").check(found)

    assert judged(0.11).verdict == CONFIRMED
    assert judged(0.11).observed == pytest.approx(0.11)
    assert judged(0.05).verdict == REFUTED  # a gain, but not theirs
    assert judged(0.11, turned=(("bb_in", 0.5),)).verdict == REFUTED
    assert judged(0.11, turned=(("bb_in", 0.1),)).verdict == CONFIRMED  # far from their density
    assert judged(0.11, half=0.2).verdict == UNDECIDED


@pytest.mark.parametrize(("expected", "change"), RULES)
def test_rule_of_synapses(expected, change):
    found = contest(metrics=("f1", "average_precision"), **change)
    assert verdict("synapses_best_in_class", found) == expected


@pytest.mark.parametrize(("expected", "change"), RULES)
def test_rule_of_verification(expected, change):
    rows = {name: contest(metrics=(name,), **change) for name in ("wer", "true_accept_rate")}
    # errors are better lower, as word errors are
    errors = tuple(dataclasses.replace(r, metric="equal_error_rate") for r in rows["wer"].metrics)
    both = dataclasses.replace(rows["wer"], metrics=errors + rows["true_accept_rate"].metrics)
    assert verdict("verification_gains", both) == expected


def test_synapses_ahead_in_one_measure_only():
    ahead, behind = contest(metrics=("f1",)), contest(metrics=("average_precision",), turned=ALL)
    mixed = dataclasses.replace(ahead, metrics=ahead.metrics + behind.metrics)
    assert verdict("synapses_best_in_class", mixed) == REFUTED


# LeNet-300-100


def lenet(less=0.05, half=0.01, ratio=1.0, ratio_half=0.02, verdicts="5 balanced", found=1, gap=0.5):
    rows = [
        made(lenet_density.Row, method=m, wanted=d, n=5, **around("less_magnitude", less, half))
        for m in ("bb_in", "bb_out", "bb_both")
        for d in (0.5, 0.1)
    ]
    balance = []
    for method in ("magnitude", "bb_in", "bb_out", "threshold_in", "threshold_out"):
        for wanted in (0.5, 0.3, 0.1, 0.05):
            for layer in ("fc1", "fc2"):
                own = method.startswith("threshold")
                balance.append(
                    made(
                        lenet_density.BalanceRow,
                        method=method,
                        wanted=wanted,
                        layer=layer,
                        ratio=ratio,
                        low=ratio - ratio_half,
                        high=ratio + ratio_half,
                        test_ratio=ratio,
                        test_verdicts=verdicts if own else "5 none",
                    )
                )
    return lenet_density.Result(tuple(rows), tuple(balance), gap, 100, found, "")


@pytest.mark.parametrize(
    ("name", "expected", "change"),
    [
        ("gain_on_lenet", CONFIRMED, {}),
        ("gain_on_lenet", REFUTED, {"less": -0.05}),
        ("gain_on_lenet", UNDECIDED, {"half": 0.04}),
        ("line_emerges_in_trained_layers", CONFIRMED, {}),
        ("line_emerges_in_trained_layers", REFUTED, {"verdicts": "1 balanced, 4 hyperbolic"}),
        ("line_emerges_in_trained_layers", UNDECIDED, {"verdicts": "2 balanced, 2 hyperbolic, 1 none"}),
        ("line_emerges_in_trained_layers", UNDECIDED, {"verdicts": "1 balanced, 4 none"}),  # few show a law
        ("line_emerges_in_trained_layers", UNDECIDED, {"verdicts": ""}),
        ("line_emerges_in_trained_layers", UNDECIDED, {"found": 6}),  # so do shuffled degrees
        ("controller_imposes_the_line_on_lenet", CONFIRMED, {}),
        ("controller_imposes_the_line_on_lenet", REFUTED, {"ratio": 1.2}),
        ("controller_imposes_the_line_on_lenet", REFUTED, {"ratio": 0.8}),
        ("controller_imposes_the_line_on_lenet", UNDECIDED, {"ratio_half": 0.2}),
        ("controller_imposes_the_line_on_lenet", UNDECIDED, {"ratio": math.nan}),
    ],
)
def test_rules_on_lenet(name, expected, change):
    assert verdict(name, lenet(**change)) == expected


def test_proportion_interval_against_a_table():
    # Clopper and Pearson at 95 %, n = 10, from published tables
    for hits, low, high in ((0, 0.0, 0.3085), (5, 0.1871, 0.8129), (10, 0.6915, 1.0)):
        assert proportion_interval(hits, 10) == pytest.approx((low, high), abs=1e-4)


def silent(more=0.2, half=0.02, one=None):
    rows = []
    for i, below in enumerate((0.0, 0.001, 0.01)):
        own = more if one is None or i != 1 else one
        rows.append(
            made(
                silent_units.Row,
                actuator="bb_out",
                wanted=0.1,
                silent_below=below,
                n=5,
                **around("more", own if below else 0.0, half if below else 0.0),
            )
        )
    return silent_units.Result(tuple(rows))


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        (CONFIRMED, {}),
        (REFUTED, {"more": -0.2}),
        (REFUTED, {"one": -0.2}),
        (UNDECIDED, {"one": 0.0}),  # some floors do not help
        (UNDECIDED, {"half": 0.3}),
    ],
)
def test_rule_of_silent_units(expected, change):
    assert verdict("silent_units_cost_accuracy", silent(**change)) == expected


# the two actuators


def ablation(own=(-1.0, -1.0), interaction=-0.5, half=0.1, lag=-0.1, unstable=0.0, gap=0.5):
    rows = [
        made(actuator_ablation.Row, method="dense", wanted=1.0, n=5, worst_gap=math.nan),
        *(
            made(
                actuator_ablation.Row,
                method=method,
                wanted=0.3,
                n=5,
                worst_gap=gap,
                unstable=unstable,
                **around("effect", effect, half),
                **around("lag_one", lag, 0.03),
            )
            for method, effect in zip(
                ("bb_in", "bb_out", "bb_both"), (*own, sum(own) + interaction), strict=True
            )
        ),
    ]
    extra = made(actuator_ablation.Interaction, wanted=0.3, n=5, **around("interaction", interaction, half))
    return actuator_ablation.Result(tuple(rows), (extra,), "")


@pytest.mark.parametrize(
    ("name", "expected", "change"),
    [
        ("actuators_are_complementary", CONFIRMED, {}),
        ("actuators_are_complementary", REFUTED, {"interaction": 1.5}),  # each takes what the other gives
        ("actuators_are_complementary", REFUTED, {"own": (-1.0, 1.0)}),  # SP-out harms
        ("actuators_are_complementary", UNDECIDED, {"half": 1.0}),
        ("sp_in_beats_sp_out", CONFIRMED, {"own": (-1.0, 0.0)}),
        ("sp_in_beats_sp_out", REFUTED, {"own": (0.0, -1.0)}),
        ("sp_in_beats_sp_out", UNDECIDED, {}),
        ("stable_gates_do_not_oscillate", CONFIRMED, {}),
        ("stable_gates_do_not_oscillate", REFUTED, {"lag": -0.9}),
        ("stable_gates_do_not_oscillate", UNDECIDED, {"lag": -0.51}),
        ("stable_gates_do_not_oscillate", UNDECIDED, {"lag": -0.9, "unstable": 0.5}),  # as predicted
    ],
)
def test_rules_on_actuators(name, expected, change):
    assert verdict(name, ablation(**change)) == expected


def test_both_actuators_from_effects_and_interaction():
    found = CHECKS.load("actuators_are_complementary").check(ablation(own=(-1.0, -2.0), interaction=-0.5))
    assert found.observed == pytest.approx(-1.5)  # both -3.5 less SP-out -2; less SP-in it is -2.5
    assert found.interval == pytest.approx((-1.7, -1.3))


# densities, costs, controls


def test_rule_of_matched_densities():
    def judged(gap=0.5, network=0.5, task=0.5):
        tasks = [contest()] * 5 + [dataclasses.replace(contest(), worst_gap=task)]
        return verdict("densities_are_matched", ablation(gap=gap), lenet(gap=network), *tasks)

    assert judged() == CONFIRMED
    assert judged(gap=2.0) == judged(network=2.0) == judged(task=2.0) == REFUTED


def overhead(step=0.98, refresh=120.0, held=1.0, n=61):
    case = "4 layers"
    row = partial(made, Timed, low=0.9, high=1.1, n=n)
    rows = [
        row(case=f"{case}, step", peer="dense step", ratio=step, low=0.9, high=1.1),
        row(case=f"{case}, step", peer="weights times mask", ratio=2.0),
        row(case=f"{case}, refresh", peer="10 dense steps", ratio=refresh),
        row(case=f"{case}, refresh of both actuators", peer="10 dense steps", ratio=10.0),
    ]
    memory = made(bench_training_overhead.Memory, case=case, mask_bytes_per_weight=held)
    return bench_training_overhead.Result(tuple(rows), (memory,))


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        (CONFIRMED, {}),
        (REFUTED, {"step": 0.9}),
        (REFUTED, {"refresh": 50.0}),
        (REFUTED, {"held": 4.0}),
        (UNDECIDED, {"n": 3}),
    ],
)
def test_rule_of_overhead(expected, change):
    assert verdict("overhead_is_small", overhead(**change)) == expected


@pytest.mark.parametrize(
    ("expected", "verdicts"),
    [
        (CONFIRMED, ("within noise", "better")),
        (REFUTED, ("within noise", "worse")),
        (UNDECIDED, ("better", "undecided")),
    ],
)
def test_rule_of_dense_controls(expected, verdicts):
    rows = tuple(made(dense_controls.Row, verdict=v) for v in verdicts)
    assert verdict("dense_networks_are_sound", dense_controls.Result(rows)) == expected


def one_shot_rows(less=-50.0, half=10.0, part="ffn", wanted=0.3):
    row = partial(made, one_shot.Row, part=part, pattern="free", n=5)
    return one_shot.Result(
        (
            row(method="bb", wanted=wanted, tail=100.0, **around("tail_less_rival", less, half)),
            row(method="bb", wanted=0.9, **around("tail_less_rival", -less, half)),  # far from theirs
            row(method="wanda", wanted=wanted, tail=100.0 - less),
        ),
        baseline=20.0,
        baseline_tail=200.0,
        note="",
    )


@pytest.mark.parametrize(
    ("expected", "change"),
    [(CONFIRMED, {}), (REFUTED, {"less": 50.0}), (UNDECIDED, {"half": 60.0})],
)
def test_rule_of_one_shot(expected, change):
    assert verdict("one_shot_spares_rare_words", one_shot_rows(**change)) == expected


def scale(ratio=1.02, spread=0.005, refresh=0.005, speed=1.5, n=31):
    overhead = [
        made(
            overhead_at_scale.Overhead,
            part=part,
            device="a device",
            n=n,
            ratio=ratio,
            dense_low=1.0 - spread,
            dense_high=1.0 + spread,
            masked_low=ratio * (1.0 - spread),
            masked_high=ratio * (1.0 + spread),
            refresh_s=1.0,
            refresh_low=0.9,
            refresh_share=refresh,
            dense_bytes=1.0,
            masked_bytes=1.3,
        )
        for part in ("bb_in", "bb_both")
    ]
    product = made(overhead_at_scale.Product, layer="up", ratio=speed, low=speed - 0.2, high=speed + 0.2, n=n)
    return overhead_at_scale.Result(tuple(overhead), (product,) if speed else ())


@pytest.mark.parametrize(
    ("name", "expected", "change"),
    [
        ("overhead_is_small_at_scale", CONFIRMED, {}),
        ("overhead_is_small_at_scale", REFUTED, {"ratio": 1.2}),
        ("overhead_is_small_at_scale", REFUTED, {"refresh": 0.05}),
        ("overhead_is_small_at_scale", UNDECIDED, {"ratio": 1.05, "spread": 0.1}),
        ("overhead_is_small_at_scale", UNDECIDED, {"n": 3}),
        ("semi_structured_weights_are_faster", CONFIRMED, {}),
        ("semi_structured_weights_are_faster", REFUTED, {"speed": 0.7}),
        ("semi_structured_weights_are_faster", UNDECIDED, {"speed": 1.1}),
        ("semi_structured_weights_are_faster", UNDECIDED, {"speed": 0.0}),
    ],
)
def test_rules_at_scale(name, expected, change):
    assert verdict(name, scale(**change)) == expected


@pytest.mark.parametrize(
    ("expected", "effect", "half"),
    [(CONFIRMED, 0.05, 0.01), (REFUTED, -0.05, 0.01), (UNDECIDED, 0.05, 0.07)],
)
def test_rule_of_on_rates(expected, effect, half):
    ours = [
        made(Claim, claim="tail gain", method=m, wanted=0.5, against="bb_uniform", n=5,
             effect=effect, low=effect - half, high=effect + half)
        for m in ("bb_in", "bb_both")
    ]  # fmt: skip
    images = dataclasses.replace(contest(effect=-effect), claims=tuple(ours))
    text = ablation(own=(-effect, -effect), interaction=0.0, half=half)  # perplexity: lower is better
    assert verdict("on_rates_add_to_equal_degrees", images, text) == expected


@pytest.mark.parametrize(
    ("expected", "effect", "half", "n"),
    [
        (CONFIRMED, 1.0, 0.2, 10),
        (REFUTED, -1.0, 0.2, 10),
        (UNDECIDED, 1.0, 0.9, 10),
        (UNDECIDED, 1.0, 0.2, 5),  # the seeds that made one ask
        (UNDECIDED, -1.0, 0.2, 5),
    ],
)
def test_rule_of_rare_words_against_dense(expected, effect, half, n):
    found = contest(effect=effect, half=half, metrics=("wer",))  # lower is better, as perplexity is
    found = dataclasses.replace(
        found,
        rows=tuple(dataclasses.replace(row, n=n) for row in found.rows),
        metrics=tuple(dataclasses.replace(row, role="tail") for row in found.metrics),
    )
    text = ablation()
    rows = (
        dataclasses.replace(row, n=n, **around("less_dense", -effect, half)) if row.method != "dense" else row
        for row in text.rows
    )
    text = dataclasses.replace(text, rows=tuple(rows))
    assert verdict("rare_words_gain_over_dense", found, text) == expected


@pytest.mark.parametrize(
    ("expected", "more", "spread"),
    [(CONFIRMED, 0.2, 0.01), (REFUTED, -0.2, 0.01), (UNDECIDED, 0.2, 0.5)],
)
def test_rule_of_dying_units(expected, more, spread):
    tasks = []
    for i in range(5):
        rows = [made(Row, method="magnitude", wanted=0.1, n=5, dead=0.3)]
        own = 0.3 + more + spread * (i - 2)
        rows.append(made(Row, method="bb_in", wanted=0.1, n=5, dead=own))
        rows.append(made(Row, method="bb_in_awake", wanted=0.1, n=5, dead=0.3 - 5 * more))  # another rule
        tasks.append(dataclasses.replace(contest(), rows=tuple(rows)))
    assert verdict("units_die_under_the_rule", *tasks) == expected


def test_controls_on_tracked_records_change_the_verdict():
    """What confirms must be able to refute: signs of the records are turned."""
    module = Catalog("experiments").load("silent_units")
    found = archive.best(archive.RESULTS, "silent_units", module)
    assert found is not None
    turned = tuple(
        dataclasses.replace(r, more=-r.more, more_low=-r.more_high, more_high=-r.more_low)
        for r in found.result.rows
    )
    name = "silent_units_cost_accuracy"
    assert verdict(name, found.result) == CONFIRMED
    assert verdict(name, dataclasses.replace(found.result, rows=turned)) == REFUTED

"""Contests: what every method gets alike, what is measured, how claims are judged, how knobs are tuned."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bbtheory import archive
from bbtheory.catalog import Catalog
from bbtheory.measure import measure_activity
from bbtheory.train import MissingDataError, TensorBatches, classification, cross_entropy, load_data, mlp
from experiments import _contest, _contest_tuning
from experiments._contest import METHODS, Cell, ContestConfig, Metric, Task, cells, collect, train
from experiments._contest_records import SUPPORTED, UNDECIDED, judge, of_metric
from experiments._contest_settings import DEFAULTS, OWN_KNOB
from experiments._contest_statistics import Probe, count_pairs
from experiments.protocol import NotRun, Progress

METRICS = (Metric("accuracy", role="main"), Metric("test_loss", higher_is_better=False, role="tail"))
BASE = ContestConfig(
    densities=(0.3,), epochs=2, batch=100, n_refreshes=3, most_samples=60, most_units=8, seeds=(0,)
)


def digits(config: ContestConfig, data_root: Path | None = None) -> Task:
    data = load_data("digits")
    x, y = torch.from_numpy(data.flat("train")), torch.from_numpy(data.y_train.copy())
    return Task(
        model=mlp((64, 20, 12, 10), seed=config.seeds[0]),
        batches=TensorBatches(x, y, config.batch, seed=config.seeds[0]),
        loss=cross_entropy,
        evaluate=classification(data.flat("test"), data.y_test),
        probe=list(torch.from_numpy(data.flat("test"))[:60].split(20)),
        baseline={"accuracy": 0.1},
    )


def setting(method: str, **changes: object) -> ContestConfig:
    density = 1.0 if method == "dense" else 0.3
    return dataclasses.replace(BASE, methods=(method,), densities=(density,), **changes)


class Memory(Progress):
    """Keeps every state, and ends the run after some of them."""

    def __init__(self, most: int = 1000, state: dict | None = None):
        super().__init__()
        self.most, self.state, self.states = most, state, []

    def restore(self):
        return self.state

    def save(self, state):
        self.states.append(state)
        if len(self.states) == self.most:
            raise KeyboardInterrupt


# one network


@pytest.mark.parametrize("method", METHODS)
def test_a_method_meets_its_density_in_every_layer(method):
    cell = train(setting(method), digits, METRICS, Progress())
    assert cell.metric_names == ("accuracy", "test_loss")
    assert np.isfinite(cell.metrics).all()
    assert cell.baseline[0] == 0.1
    assert math.isnan(cell.baseline[1])
    assert cell.n_weights == 64 * 20 + 20 * 12 + 12 * 10
    assert [layer.layer for layer in cell.layers] == ["fc1", "fc2"]
    if method == "dense":
        assert (cell.density, cell.n_refreshes) == (1.0, 0)
    elif method != "topk_activation":
        assert cell.worst_gap < 1.0
        assert abs(cell.density * cell.n_weights - 0.3 * cell.n_weights) < 3
    if method not in ("dense", "random", "topk_activation"):
        assert cell.n_refreshes >= BASE.n_refreshes


def test_methods_start_alike_and_differ_by_seed():
    late = {"warmup": 0.99, "last_change": 1.0, "epochs": 1}  # masks change at the last step
    first = {
        m: train(setting(m, **late), digits, METRICS, Progress()) for m in ("dense", "magnitude", "bb_in")
    }
    before = [[layer.entropy_before for layer in cell.layers] for cell in first.values()]
    assert before[0] == before[1] == before[2]
    assert first["magnitude"].loss == first["dense"].loss == first["bb_in"].loss
    other = train(setting("dense", seeds=(1,), **late), digits, METRICS, Progress())
    assert other.loss != first["dense"].loss


@pytest.mark.parametrize("method", ["dense", "random", "taylor", "rigl", "bb_both", "topk_activation"])
def test_a_resumed_cell_equals_the_uninterrupted_one(method):
    config = setting(method, epochs=3)
    whole = train(config, digits, METRICS, Progress())
    for n in (1, 2):
        memory = Memory(n)
        with pytest.raises(KeyboardInterrupt):
            train(config, digits, METRICS, memory)
        assert train(config, digits, METRICS, Memory(state=memory.states[-1])) == whole
    assert train(config, digits, METRICS, Memory(state=Memory().restore())) == whole


def test_another_state_gives_another_cell():
    # negative control of the above
    memory = Memory(1)
    with pytest.raises(KeyboardInterrupt):
        train(setting("bb_in", seeds=(1,)), digits, METRICS, memory)
    resumed = train(setting("bb_in"), digits, METRICS, Memory(state=memory.states[-1]))
    assert resumed != train(setting("bb_in"), digits, METRICS, Progress())


def test_bfloat16_and_clipping_train():
    config = setting("bb_in", precision="bfloat16", clip=1.0, learning_rate_warmup=0.2, weight_decay=0.01)
    assert train(config, digits, METRICS, Progress()).worst_gap < 1.0


def test_missing_data_and_device_are_not_run():
    def missing(config, data_root):
        raise MissingDataError("put it there")

    with pytest.raises(NotRun, match="needs data: put it there"):
        train(setting("dense"), missing, METRICS, Progress())
    if not torch.cuda.is_available():
        with pytest.raises(NotRun, match="needs a CUDA device"):
            train(setting("dense", device="cuda"), digits, METRICS, Progress())


def test_padding_is_left_uncounted():
    seen = []

    def padded(config, data_root):
        def valid(batch):
            seen.append(len(batch[0]))
            return torch.arange(len(batch[0])) < 1

        return dataclasses.replace(digits(config), padding=valid)

    config = setting("bb_in")
    found = train(config, padded, METRICS, Progress())
    assert len(seen) == 2 * len(digits(config).batches)
    assert found != train(config, digits, METRICS, Progress())


def test_the_learning_rate_rises_and_falls():
    task, config = digits(BASE), dataclasses.replace(BASE, methods=("dense",), learning_rate_warmup=0.25)
    config = dataclasses.replace(config, knobs={"dense": {"learning_rate_factor": 2.0}})
    optimizer, scheduler = _contest.make_optimizer(task, task.model, config, 40)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert np.argmax(rates) == 10
    assert max(rates) == pytest.approx(2.0 * BASE.learning_rate)
    assert rates[0] == pytest.approx(max(rates) / 11)
    assert 0 < rates[-1] < 0.01 * max(rates)


def test_units_are_what_a_direct_measurement_finds():
    task, config = digits(BASE), setting("dense", most_units=20)
    probe = Probe(task, task.model, config)
    samples = probe.samples()
    x = torch.cat(task.probe)
    hidden = task.model.relu1(task.model.fc1(x)).detach().numpy()
    assert samples["fc1"].shape == (60, 20)
    assert np.array_equal(np.sort(samples["fc1"].sum(0)), np.sort((hidden > 0).sum(0)))
    (first, _) = probe.statistics(samples, samples, None)
    assert first.on_rate == pytest.approx(measure_activity(hidden).on_rate.mean())
    assert first.n_dead == int((hidden <= 0).all(0).sum())
    assert (first.entropy, first.correlation) == (first.entropy_before, first.correlation_before)


def test_maps_and_sequences_are_sampled_by_position():
    class Convolutional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(1, 6, 3, padding=1), nn.ReLU()
            self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 10)

        def forward(self, x):
            return self.fc(self.pool(self.relu(self.conv(x))).flatten(1))

    images = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    task = dataclasses.replace(digits(BASE), model=Convolutional(), probe=list(images.split(3)))
    samples = Probe(task, task.model, BASE).samples()
    assert {name: rows.shape for name, rows in samples.items()} == {"conv": (60, 6)}


# settings


BAD = [
    ({"methods": ("dnse",)}, "methods must be one of"),
    ({"densities": (0.0,)}, "densities must be a number in"),
    ({"epochs": 0}, "epochs must be an integer"),
    ({"n_refreshes": 0}, "n_refreshes must be an integer"),
    ({"most_samples": 1}, "most_samples must be an integer"),
    ({"learning_rate": 0.0}, "learning_rate must be a number"),
    ({"learning_rate_warmup": 1.0}, "learning_rate_warmup must be a number"),
    ({"weight_decay": -1.0}, "weight_decay must be a number"),
    ({"clip": 0.0}, "clip must be a number"),
    ({"warmup": 0.8}, "last_change must be a number"),
    ({"ema_decay": 1.0}, "ema_decay must be a number"),
    ({"device": "tpu"}, "device must be one of"),
    ({"precision": "float16"}, "precision must be one of"),
    ({"methods": ()}, "methods must be a tuple of one or more"),
    ({"methods": "dense"}, "methods must be a tuple"),
    ({"methods": ("dense", "dense")}, "methods must be a tuple of one or more, none twice"),
    ({"densities": (0.5, 0.5)}, "densities must be a tuple of one or more, none twice"),
    ({"seeds": (0, 1, 0)}, "seeds must be a tuple of one or more, none twice"),
    ({"seeds": ()}, "seeds must be a tuple"),
    ({"seeds": (-1,)}, "seeds must be an integer in"),
    ({"knobs": None}, "knobs must be a dict"),
    ({"knobs": {"bb_in": 3}}, "knobs of bb_in must be a dict"),
    ({"knobs": {"bb": {}}}, "knobs must be one of"),
    ({"knobs": {"bb_in": {"beta": 1.0}}}, "knobs of bb_in must be one of"),
    ({"knobs": {"bb_in": {"nats": 0.0}}}, "nats of bb_in must be a number"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[str(changes) for changes, _ in BAD])
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        ContestConfig(**changes)


def test_a_cell_knows_its_own_knobs_only():
    config = ContestConfig(
        methods=("dense", "rigl"),
        densities=(0.5, 0.1),
        seeds=(0, 1),
        knobs={"rigl": {"fraction": 0.2}, "bb_in": {"nats": 1.0}},
    )
    found = [(c.methods, c.densities, c.seeds, c.knobs) for c in cells(config)]
    assert len(found) == 2 + 4
    assert found[0] == (("dense",), (1.0,), (0,), {})
    assert found[-1] == (("rigl",), (0.1,), (1,), {"rigl": {"fraction": 0.2}})
    assert cells(config)[-1].knob("fraction") == 0.2
    assert cells(config)[-1].knob("reached") == DEFAULTS["reached"]


# what is made of many networks


def made_up(rng: np.random.Generator, config: ContestConfig, gain: float) -> list[Cell]:
    """Networks whose metrics share the noise of their seed; BB's tail loss is lower by ``gain``."""
    noise = {seed: rng.normal() for seed in config.seeds}
    found = []
    for cell in cells(config):
        ours = cell.methods[0] == "bb_in"
        own = 0.01 * rng.normal(size=2)
        metrics = np.array([0.5, 2.0 - gain * ours]) + noise[cell.seeds[0]] + own
        found.append(
            Cell(("accuracy", "test_loss"), metrics, np.full(2, np.nan), np.zeros(1), 0.3, 0.0, 1, 10, ())
        )
    return found


CONTEST = ContestConfig(methods=("dense", "magnitude", "bb_in"), densities=(0.3,), seeds=(0, 1, 2, 3, 4))


def test_differences_are_paired_by_seed():
    networks = made_up(np.random.default_rng(0), CONTEST, 0.5)
    result = collect(CONTEST, networks, METRICS)
    loss = {m: [c.metrics[1] for c, s in zip(networks, cells(CONTEST), strict=True) if s.methods == (m,)]
            for m in CONTEST.methods}  # fmt: skip
    difference = np.subtract(loss["bb_in"], loss["magnitude"])
    low, high = stats.t.interval(0.95, 4, difference.mean(), stats.sem(difference))
    (row,) = [r for r in result.metrics if (r.method, r.metric) == ("bb_in", "test_loss")]
    assert row.less_magnitude == pytest.approx(difference.mean())
    assert (row.less_magnitude_low, row.less_magnitude_high) == pytest.approx((low, high))
    (claim,) = [c for c in result.claims if c.claim == "tail gain"]
    assert (claim.against, claim.n, claim.verdict) == ("magnitude", 5, SUPPORTED)
    assert (claim.effect, claim.low, claim.high) == pytest.approx((-difference.mean(), -high, -low))
    assert [(r.method, r.wanted, r.n) for r in result.rows] == [
        ("dense", 1.0, 5), ("magnitude", 0.3, 5), ("bb_in", 0.3, 5)
    ]  # fmt: skip


def test_claims_of_nothing_are_rarely_decided():
    # 5 % of true nothings by construction; 200 tries exceed 12 % with a chance below 1e-4
    rng = np.random.default_rng(1)
    verdicts = [collect(CONTEST, made_up(rng, CONTEST, 0.0), METRICS).claims[0].verdict for _ in range(200)]
    assert sum(verdict != UNDECIDED for verdict in verdicts) <= 24


def test_one_seed_decides_nothing():
    config = dataclasses.replace(CONTEST, seeds=(0,))
    result = collect(config, made_up(np.random.default_rng(0), config, 9.0), METRICS)
    assert {claim.verdict for claim in result.claims} == {UNDECIDED}


def test_a_missing_number_is_not_counted_and_an_infinite_one_not_forgotten():
    networks = made_up(np.random.default_rng(0), CONTEST, 0.5)
    of_bb = [i for i, s in enumerate(cells(CONTEST)) if s.methods == ("bb_in",)]
    networks[of_bb[0]].metrics.base[1] = np.nan
    (claim,) = [c for c in collect(CONTEST, networks, METRICS).claims if c.claim == "tail gain"]
    assert (claim.n, claim.verdict) == (4, SUPPORTED)
    networks[of_bb[0]].metrics.base[1] = np.inf
    result = collect(CONTEST, networks, METRICS)
    (claim,) = [c for c in result.claims if c.claim == "tail gain"]
    assert (claim.n, claim.effect, claim.verdict) == (4, -math.inf, UNDECIDED)
    assert [row.tail for row in result.rows if row.method == "bb_in"] == [math.inf]


def test_ablations_are_rivals_of_the_rule():
    config = dataclasses.replace(CONTEST, methods=("magnitude", "bb_in", "bb_uniform"))
    result = collect(config, made_up(np.random.default_rng(0), config, 0.5), METRICS)
    found = {(c.method, c.against) for c in result.claims if c.claim == "tail gain"}
    assert found == {("bb_in", "magnitude"), ("bb_in", "bb_uniform"), ("bb_uniform", "magnitude")}


def test_judge():
    assert [judge(*ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (math.nan, math.nan))] == [
        "supported", "contradicted", "undecided", "undecided"
    ]  # fmt: skip


def test_metrics_are_read_by_name():
    cell = made_up(np.random.default_rng(0), CONTEST, 0.0)[0]
    assert of_metric("test_loss")(cell) == cell.metrics[1]


# tuning


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gets_eight_trials(method):
    trials = _contest_tuning.trials_of(method)
    assert len(trials) == 8
    assert len({tuple(trial.items()) for trial in trials}) == 8
    default = {name: DEFAULTS[name] for name in trials[0]}
    assert default in trials
    for name in trials[0]:
        counts = {value: [t[name] for t in trials].count(value) for value in {t[name] for t in trials}}
        assert set(counts.values()) == ({2} if method in OWN_KNOB else {1})
    for trial in trials:
        ContestConfig(knobs={method: trial})


@dataclasses.dataclass(frozen=True)
class TuneConfig(_contest_tuning.Tuning, ContestConfig):
    """Settings of a tuning."""


def test_the_best_trial_is_chosen():
    config = _contest_tuning.tuning_preset(TuneConfig, BASE, methods=("dense", "bb_in"))
    assert (config.densities, config.seeds, config.validation) == ((0.3,), (0,), True)
    assert config.batch == BASE.batch
    settings = _contest_tuning.tune_cells(config)
    assert len(settings) == 16
    values = [*np.linspace(1, 2, 8), math.nan, 5.0, 5.0, *[0.0] * 5]
    trials = [_contest_tuning.Trial(float(value)) for value in values]
    result = _contest_tuning.tune_collect(config, trials, METRICS)
    assert [(r.method, r.trial) for r in result.rows if r.chosen] == [("dense", 7), ("bb_in", 1)]
    knobs = _contest_tuning.chosen_knobs(result)
    assert knobs == {"dense": settings[7].knobs["dense"], "bb_in": settings[9].knobs["bb_in"]}
    ContestConfig(knobs=knobs)
    lower = (Metric("loss", higher_is_better=False, role="main"),)
    result = _contest_tuning.tune_collect(config, trials, lower)
    assert [(r.method, r.trial) for r in result.rows if r.chosen] == [("dense", 0), ("bb_in", 3)]


def test_a_trial_that_breaks_down_is_a_finding():
    def breaks(config, data_root):
        return dataclasses.replace(digits(config), loss=lambda model, batch: model(batch[0]).sum() * math.nan)

    config = _contest_tuning.tune_cells(_contest_tuning.tuning_preset(TuneConfig, BASE, methods=("dense",)))[
        0
    ]
    assert math.isnan(_contest_tuning.tune_run(config, breaks, METRICS, Progress()).value)
    assert _contest_tuning.tune_run(config, digits, METRICS, Progress()).value > 0.1


TUNED = [name for name in Catalog("experiments").names if name.startswith("tune_")]


@pytest.mark.parametrize("name", TUNED)
def test_presets_repeat_the_tuned_knobs(name):
    experiments = Catalog("experiments")
    tuning, contest = experiments.load(name), experiments.load(name.removeprefix("tune_"))
    for preset in ("cpu", "gpu"):
        if not hasattr(contest, preset.upper()):
            continue
        path = archive.record_path(archive.RESULTS, name, preset, archive.settings(tuning, preset))
        if not path.exists():
            continue
        record = archive.read(path, tuning.Result)
        if record.status == archive.OK:
            assert archive.settings(contest, preset).knobs == _contest_tuning.chosen_knobs(record.result)


def test_pairs_are_counted_by_correlation():
    on = np.array([1, 1, 0, 0], bool)
    half = np.array([1, 0, 1, 0], bool)
    rows = np.stack([on, ~on, half, np.ones(4, bool)], axis=1)  # rho -1, 0, 0; the last never changes
    counts = count_pairs(rows)
    assert counts.shape == (20,)
    assert (counts[0], counts[-1], counts.sum()) == (2, 1, 3)
    assert count_pairs(rows[:, 2:]).sum() == 0, "one unit that changes makes no pair"


def test_histograms_agree_with_the_mean_and_old_cells_have_none():
    config = dataclasses.replace(BASE, methods=("dense", "bb_in"))
    found = [train(cell, digits, METRICS, Progress()) for cell in cells(config)]
    result = collect(config, found, METRICS)
    middle = (np.arange(20) + 0.5) / 20
    for row, (before, after) in zip(result.rows, result.pairs, strict=True):
        assert before.sum() == pytest.approx(1.0)
        # within half a bin of the mean over the same pairs
        assert before @ middle == pytest.approx(row.correlation_before, abs=0.025)
        assert after @ middle == pytest.approx(row.correlation, abs=0.025)
    assert not np.array_equal(result.pairs[0, 0], result.pairs[0, 1])
    layers = tuple(dataclasses.replace(layer, pairs=None) for layer in found[0].layers)
    assert collect(config, [dataclasses.replace(found[0], layers=layers), found[1]], METRICS).pairs is None

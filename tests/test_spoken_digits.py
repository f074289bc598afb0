"""The task of spoken_digits: what trains and what tests, its trivial answer, resuming, and LibriSpeech's path."""

import importlib.util
import sys
import types
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch

from bbtheory.train import connect_digits, load_spoken_digits, utterances
from experiments import spoken_digits, tune_spoken_digits
from experiments.protocol import NotRun, Progress

TINY = {"d_model": 16, "d_ff": 16, "n_layers": 1, "n_heads": 2, "n_mels": 8, "batch": 8, "epochs": 2}
SMALL = replace(spoken_digits.SMOKE, methods=("bb_in",), n_train=24, n_test=8, n_refreshes=2, **TINY)


@pytest.fixture
def plans(monkeypatch):
    """What `connect_digits` was asked for and gave, by turns training and testing."""
    made = []

    def watched(*args, **settings):
        plan = connect_digits(*args, **settings)
        made.append((plan, settings))
        return plan

    monkeypatch.setattr(utterances, "connect_digits", watched)
    monkeypatch.setattr("bbtheory.train.connect_digits", watched, raising=False)
    return made


def recordings(plan):
    return set(np.concatenate(plan.recordings).tolist())


@pytest.mark.parametrize("validation", [False, True])
def test_no_recording_is_on_both_sides(plans, validation):
    spoken_digits.task(replace(SMALL, n_train=300, n_test=200, validation=validation), None)
    (train, _), (test, _) = plans
    tones = load_spoken_digits("tones")
    index = tones.index
    assert not recordings(train) & recordings(test)
    assert not tones.is_test[list(recordings(train))].any()
    assert tones.is_test[list(recordings(test))].all() == (not validation)
    held_out = set(index[list(recordings(test))].tolist())
    assert held_out == (set(range(5, 10)) if validation else set(range(5)))
    assert bool(held_out & set(index[list(recordings(train))].tolist())) is False
    # training goes without the held-out recordings only where they are asked for
    assert bool(set(range(5, 10)) & set(index[list(recordings(train))].tolist())) == (not validation)


def test_which_digit_is_rare_follows_from_the_seed(plans):
    for seed in (0, 1):
        spoken_digits.task(replace(SMALL, n_train=400, seeds=(seed,)), None)
    ranks = [tuple(np.argsort(-settings["probabilities"])) for _, settings in plans]
    assert ranks[0] == ranks[1] != ranks[2] == ranks[3]  # alike in training and test
    counts = Counter(d for digits in plans[0][0].digits for d in digits)
    assert counts.most_common(1)[0][0] == ranks[0][0]
    assert plans[0][0].digits != plans[1][0].digits


def test_the_trivial_answer(plans):
    task = spoken_digits.task(replace(SMALL, n_train=200, n_test=100), None)
    (train, _), (test, _) = plans
    common = Counter(d for digits in train.digits for d in digits).most_common(1)[0][0]
    said = [d for digits in test.digits for d in digits]
    rate = said.count(common) / len(said)
    assert task.baseline["wer_tail"] == task.baseline["wer_middle"] == 1.0
    assert task.baseline["wer_head"] < 0.2
    assert 1 - rate <= task.baseline["wer"] < 1.0
    with torch.no_grad():
        found = task.evaluate(task.model.eval())
    assert set(found) == {metric.name for metric in spoken_digits.METRICS}


class Cut(Progress):
    """Saves, and stops a run after its first epoch."""

    def __init__(self, state=None, stop=False):
        super().__init__()
        self.state, self.stop = state, stop

    def restore(self):
        return self.state

    def save(self, state):
        self.state = state
        if self.stop:
            raise KeyboardInterrupt


def test_a_resumed_run_is_the_uninterrupted_one():
    whole = spoken_digits.run(SMALL, Progress())
    cut = Cut(stop=True)
    with pytest.raises(KeyboardInterrupt):
        spoken_digits.run(SMALL, cut)
    assert spoken_digits.run(SMALL, Cut(cut.state)) == whole
    assert spoken_digits.run(replace(SMALL, seeds=(1,)), Progress()) != whole


@pytest.mark.parametrize("name", ["CPU", "GPU"])
def test_presets_at_tiny_size(name):
    small = {"data": "tones", "n_train": 24, "n_test": 8, "n_refreshes": 2, "device": "cpu", "seeds": (0,)}
    preset = getattr(spoken_digits, name)
    config = replace(preset, **(TINY | small | {"precision": preset.precision}), methods=("dense", "bb_both"))
    cells = spoken_digits.cells(config)
    result = spoken_digits.collect(config, [spoken_digits.run(cell, Progress()) for cell in cells])
    assert [(row.method, row.wanted) for row in result.rows] == [
        ("dense", 1.0),
        ("bb_both", 0.5),
        ("bb_both", 0.1),
    ]
    assert result.worst_gap <= 1.0


def test_presets_are_as_stated():
    assert len(spoken_digits.cells(spoken_digits.CPU)) == 55
    assert len(spoken_digits.cells(spoken_digits.GPU)) == 33
    assert len(tune_spoken_digits.cells(tune_spoken_digits.CPU)) == 48
    assert tune_spoken_digits.CPU.validation
    for config in (spoken_digits.GPU, spoken_digits.Config()):
        size = config.d_model, config.d_ff, config.n_layers, config.n_heads
        assert size == (384, 1536, 4, 8)
        assert config.precision == "bfloat16"


def test_missing_data_is_not_run(tmp_path):
    for data, wanted in (("fsdd", "fsdd_8khz.npz"), ("librispeech", "LibriSpeech/train-clean-100")):
        with pytest.raises(NotRun, match=f"needs data: .*{wanted}"):
            spoken_digits.run(replace(SMALL, data=data), Progress(tmp_path))


def test_librispeech_is_spelled(tmp_path, monkeypatch):
    texts = ["GO ON", "DON'T GO", "ON"]
    for part in ("train-clean-100", "dev-clean", "test-clean"):
        chapter = tmp_path / "LibriSpeech" / part / "1" / "2"
        chapter.mkdir(parents=True)
        lines = [f"1-2-{i:04d} {text}" for i, text in enumerate(texts)]
        (chapter / "1-2.trans.txt").write_text("\n".join(lines))
        for line in lines:
            (chapter / f"{line.split()[0]}.flac").touch()
    fake = types.ModuleType("soundfile")
    rng = np.random.default_rng(0)
    fake.read = lambda path, dtype: (rng.normal(0, 0.1, 9000).astype(dtype), 16000)
    monkeypatch.setitem(sys.modules, "soundfile", fake)
    spoken_digits._part.cache_clear()
    config = replace(SMALL, data="librispeech")
    task = spoken_digits.task(config, tmp_path)
    features, n_frames, targets, n_targets = next(task.batches(0))
    assert features.shape == (3, 46, 8)
    assert n_frames.tolist() == [46] * 3
    spelled = [
        " ".join(spoken_digits.spelled(row[:n].tolist())) for row, n in zip(targets, n_targets, strict=True)
    ]
    assert sorted(spelled) == sorted(texts)
    cell = spoken_digits.run(config, Progress(tmp_path))
    assert np.isfinite(cell.metrics[0])
    spoken_digits._part.cache_clear()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"data": "speech"}, "data must be one of"),
        ({"fewest": 0}, "fewest must be"),
        ({"most": 1}, "most must be"),
        ({"exponent": -1.0}, "exponent must be"),
        ({"pause": -1.0}, "pause must be"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"hop": 0.0}, "hop must be"),
        ({"epochs": 0}, "epochs must be"),
    ],
)
def test_bad_settings(change, match):
    with pytest.raises(ValueError, match=match):
        replace(SMALL, **change)


@pytest.mark.data
def test_real_recordings():
    task = spoken_digits.task(replace(SMALL, data="fsdd", n_train=200, n_test=100), None)
    features, n_frames, targets, n_targets = next(task.batches(0))
    assert len(task.batches) == 25
    assert features.shape[2] == 8
    assert int(n_frames.max()) < 400
    assert int(targets.max()) <= 10
    assert 2 <= int(n_targets.min()) <= int(n_targets.max()) <= 3
    assert 0.3 < task.baseline["wer"] < 0.9
    loss = task.loss(task.model, (features, n_frames, targets, n_targets))
    assert torch.isfinite(loss)

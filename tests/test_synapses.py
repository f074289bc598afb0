"""The experiment on synapses: what is trained on, what is held out, what is measured."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch

from bbtheory.train import load_volume
from experiments import synapses as experiment
from experiments import tune_synapses
from experiments.protocol import NotRun, Progress

torch.set_num_threads(1)
SMOKE = experiment.SMOKE


def test_held_out_sections_are_never_trained_on():
    task = experiment.task(SMOKE, None)
    volume = load_volume()
    split = volume.split(SMOKE.n_validation, task.model.reach)
    assert task.batches.volume.shape[0] == split.train.stop
    np.testing.assert_array_equal(task.batches.labels, volume.synapse[split.train])
    # the sections that held-out ones are seen with are not trained on either
    assert split.validation.start - task.model.reach >= split.train.stop
    probed = torch.cat([x.flatten() for x in task.probe])
    assert len(probed) <= volume.raw[split.test.start - task.model.reach :].size


def test_a_network_starts_from_training_sections_alone(monkeypatch):
    volume = load_volume()
    split = volume.split(SMOKE.n_validation, experiment.task(SMOKE, None).model.reach)
    other = volume.synapse.copy()
    other[split.validation.start :, ::2] ^= True
    raw = volume.raw.copy()
    raw[split.validation.start :] //= 2
    monkeypatch.setattr(experiment, "_volume", lambda *_: replace(volume, raw=raw, synapse=other))
    changed = experiment.task(SMOKE, None)
    monkeypatch.undo()
    given = experiment.task(SMOKE, None)
    for a, b in zip(given.model.parameters(), changed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(given.batches.volume, changed.batches.volume)


def test_the_right_sections_are_scored(monkeypatch):
    task = experiment.task(SMOKE, None)
    volume = load_volume()
    truth = volume.synapse
    noise = np.random.default_rng(0).normal(size=truth.shape).astype(np.float32)

    def says(score):
        def predict(model, raw, window, **_):
            # the context before the part is cut off by the caller
            part = next(
                slice(s.start - task.model.reach, s.stop)
                for s in (split.validation, split.test)
                if s.stop - s.start + task.model.reach == len(raw)
            )
            return score[part]

        return predict

    split = volume.split(SMOKE.n_validation, task.model.reach)
    assert split.validation.stop - split.validation.start != split.test.stop - split.test.start
    monkeypatch.setattr("bbtheory.train.patches.predict_volume", says(np.where(truth, 2.0, noise * 0.1)))
    perfect = experiment.task(SMOKE, None).evaluate(task.model)
    assert {perfect[name] for name in perfect if name != "prevalence"} == {1.0}
    assert perfect["prevalence"] == truth[split.test].mean()
    # tuning is scored on the validation sections
    tuned = experiment.task(replace(SMOKE, validation=True), None).evaluate(task.model)
    assert tuned["prevalence"] == truth[split.validation].mean()
    # negative control: what is right of the test sections only is no help in tuning
    blind = np.where(truth & volume.is_test[:, None, None], 2.0, noise * 0.1)
    monkeypatch.setattr("bbtheory.train.patches.predict_volume", says(blind))
    assert experiment.task(SMOKE, None).evaluate(task.model)["average_precision"] == 1.0
    assert (
        experiment.task(replace(SMOKE, validation=True), None).evaluate(task.model)["average_precision"] < 0.2
    )


def test_the_trivial_answer_is_how_dark_a_voxel_is():
    from sklearn.metrics import average_precision_score

    volume = load_volume()
    baseline = experiment.task(SMOKE, None).baseline
    raw, truth = volume.raw[volume.is_test].ravel(), volume.synapse[volume.is_test].ravel()
    expected = average_precision_score(truth, 255.0 - raw)
    assert baseline["average_precision"] == pytest.approx(expected, abs=1e-9)
    assert set(baseline) == {metric.name for metric in experiment.METRICS}


def test_presets_hold_what_they_say():
    cpu = experiment.CPU
    assert len(experiment.cells(cpu)) == 55
    assert (cpu.device, cpu.precision) == ("cpu", "float32")
    assert (experiment.GPU.width, experiment.GPU.depth, experiment.GPU.factor) == (32, 4, 1)
    assert [metric.role for metric in experiment.METRICS][:2] == ["main", "tail"]
    assert tune_synapses.CPU.validation
    assert tune_synapses.CPU.densities == (0.3,)


@pytest.mark.slow
def test_the_gpu_preset_runs_at_tiny_size():
    tiny = {"data": "generated", "width": 2, "n_sections": 2, "side": 16, "n_patches": 4, "epochs": 1}
    for method in ("dense", "bb_both"):
        config = replace(
            experiment.GPU, **tiny, n_validation=2, methods=(method,), densities=(0.5,), seeds=(0,), device="cpu",
            n_refreshes=1,
        )  # fmt: skip
        cell = experiment.run(config, Progress())
        assert np.isfinite(cell.metrics).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    with pytest.raises(NotRun, match="needs data: em_vnc_stack1 needs a data folder"):
        experiment.run(experiment.cells(experiment.CPU)[0], Progress())
    with pytest.raises(NotRun, match="needs a CUDA device"):
        experiment.run(experiment.cells(experiment.GPU)[0], Progress())
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(NotRun, match="needs h5py"):
        experiment.run(replace(SMOKE, data="a.h5", methods=("dense",), densities=(1.0,)), Progress(tmp_path))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"factor": 0}, "factor must"),
        ({"side": 12, "depth": 4, "n_deep": 1}, "side must be a multiple of 8, got 12"),
        ({"n_deep": 3}, "n_deep must"),
        ({"norm": "layer"}, "norm must"),
        ({"granularity": "unit"}, "granularity must"),
        ({"rare_share": 2.0}, "rare_share must"),
        ({"overlap": 1.0}, "overlap must"),
        ({"min_overlap": 0.0}, "min_overlap must"),
        ({"min_area": -1.0}, "min_area must"),
        ({"epochs": 0}, "epochs must"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        replace(SMOKE, **settings)


class CutError(Exception):
    """Ends a run after its first epoch."""


def test_a_run_that_is_cut_off_goes_on_bit_for_bit():
    config = replace(SMOKE, methods=("bb_in",))

    class Kept(Progress):
        state = None

        def restore(self):
            return self.state

        def save(self, state):
            if self.state is None:
                type(self).state = state
                raise CutError

    whole = experiment.run(config, Progress())
    with pytest.raises(CutError):
        experiment.run(config, Kept())
    assert experiment.run(config, Kept()) == whole

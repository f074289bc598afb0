"""Long-tailed images: how many of which class, what is held out, and what is measured on whom."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from experiments import image_classification as contest
from experiments import tune_image_classification as tuning
from experiments.image_classification import Config, long_tailed
from experiments.protocol import NotRun, Progress

Y = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 100))


def test_classes_fall_off_geometrically():
    chosen, held_out, order = long_tailed(Y, 10, 10.0, 1000, 3)
    counts = np.bincount(Y[chosen], minlength=10)[order]
    assert counts.tolist() == [round(90 * 10 ** (-rank / 9)) for rank in range(10)]
    assert np.bincount(Y[held_out]).tolist() == [10] * 10
    assert not set(chosen) & set(held_out)
    assert len(set(chosen)) == len(chosen)


def test_the_seed_draws_which_class_is_rare():
    orders = [tuple(long_tailed(Y, 10, 10.0, 1000, seed)[2]) for seed in (0, 0, 1, 2)]
    assert orders[0] == orders[1]
    assert len(set(orders)) == 3


def test_balanced_and_bounded():
    chosen, _, _ = long_tailed(Y, 10, 1.0, 40, 0)
    assert np.bincount(Y[chosen]).tolist() == [40] * 10
    rare, _, order = long_tailed(Y, 10, 1e6, 40, 0)
    assert np.bincount(Y[rare])[order[-1]] == 1  # no class is left out
    with pytest.raises(ValueError, match="y must have two images of each class, got 1"):
        long_tailed(np.array([0, 0, 1]), 2, 1.0, 10, 0)


class Constant(nn.Module):
    """Says one class, with the odds of the training images."""

    def __init__(self, counts: np.ndarray):
        super().__init__()
        self.logits = nn.Parameter(torch.from_numpy(np.log(counts / counts.sum())).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(x), -1)


def test_the_trivial_answer_measures_as_stated():
    # on the held-out images, which are equally many of all classes
    task = contest.task(dataclasses.replace(contest.SMOKE, validation=True), None)
    counts = np.bincount(task.batches.y.numpy(), minlength=10)
    with torch.no_grad():
        found = task.evaluate(Constant(counts))
    assert found == pytest.approx(dict(task.baseline))
    assert found["tail_accuracy"] == 0.0


def test_tuning_never_sees_test_images_nor_trains_on_what_it_is_judged_by():
    test, held_out = (
        contest.task(dataclasses.replace(contest.SMOKE, validation=validation), None)
        for validation in (False, True)
    )
    assert torch.equal(test.batches.x, held_out.batches.x)
    seen = {row.tobytes() for row in test.batches.x.numpy()}
    judged = {row.tobytes() for x in held_out.probe for row in x.numpy()}
    tested = {row.tobytes() for x in test.probe for row in x.numpy()}
    assert judged
    assert not judged & seen
    assert not judged & tested


@pytest.mark.parametrize("preset", ["CPU", pytest.param("GPU", marks=pytest.mark.slow)])  # ResNet-50
def test_presets_at_a_tiny_size(preset):
    small = {"data": "digits", "largest": 12, "imbalance": 2.0, "epochs": 1, "most_samples": 20}
    small |= {"most_units": 4, "device": "cpu", "n_refreshes": 2, "batch": 64}
    config = dataclasses.replace(getattr(contest, preset), **small)
    cells = [c for c in contest.cells(config) if c.seeds == (0,)]
    (cell,) = [c for c in cells if c.methods == ("bb_in",) and c.densities == (0.1,)]
    found = contest.run(cell, Progress())
    assert found.worst_gap < 1.0
    assert found.n_refreshes == 2, "masks change after training only where a density is missed"


def test_channels_are_links_of_the_residual_networks():
    config = dataclasses.replace(contest.SMOKE, network="resnet8", methods=("rigl",), epochs=1, largest=20)
    cell = contest.run(config, Progress())
    assert cell.worst_gap < 1.0
    assert len(cell.layers) == 9  # two convolutions in three blocks, two shortcuts, the stem that they read


def test_a_folder_of_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for part, n in (("train", 6), ("val", 2)):
        for name in ("ant", "bee", "cow"):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for i in range(n):
                image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    config = dataclasses.replace(contest.SMOKE, data="pets", network="resnet8", methods=("bb_in",), epochs=1)
    config = dataclasses.replace(config, most_samples=8, imbalance=2.0, validation=False)
    task = contest.task(config, tmp_path)
    assert task.model.fc.out_features == 3
    assert task.baseline["tail_accuracy"] == 0.0
    x, _ = next(iter(task.batches(0)))
    assert x.shape[1:] == (3, contest._FOLDER_SIZE, contest._FOLDER_SIZE)
    with torch.no_grad():
        assert math.isfinite(task.evaluate(task.model.eval())["test_loss"])


def test_missing_data():
    for data in ("cifar10", "no_such_folder"):
        with pytest.raises(NotRun, match=f"needs data: .*{data}"):
            contest.run(dataclasses.replace(contest.SMOKE, data=data), Progress(data_root=None))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "vgg"}, "network must be one of"),
        ({"imbalance": 0.5}, "imbalance must be a number"),
        ({"largest": 1}, "largest must be an integer"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        Config(**changes)


def test_the_tuning_differs_from_the_contest_only_in_what_tuning_is():
    own = {"densities", "validation", "seeds", "knobs", "n_trials"}
    for preset in ("CPU", "GPU"):
        ours, theirs = getattr(tuning, preset), getattr(contest, preset)
        assert (ours.densities, ours.validation, ours.seeds, ours.knobs) == ((0.3,), True, (0,), {})
        for field in dataclasses.fields(theirs):
            if field.name not in own:
                assert getattr(ours, field.name) == getattr(theirs, field.name)

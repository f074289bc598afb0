"""Identification and change detection: presets at tiny size, folders in place of packs, runs cut off."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
from bbtheory.train import load_changes, siamese_reach
from experiments import change_detection, identification
from experiments._change_scenes import look, side_by_side
from experiments.protocol import NotRun, Progress

Image = pytest.importorskip("PIL.Image")
TINY = {
    "n_refreshes": 2,
    "most_samples": 60,
    "most_units": 8,
    "seeds": (0,),
    "device": "cpu",
    "densities": (0.3,),
}


class Kept(Progress):
    """Keeps states in memory; goes on from one of them, and may be cut off after some epochs."""

    def __init__(self, state=None, stop=None, data_root=None):
        super().__init__(data_root)
        self.state, self.stop, self.n = state, stop, 0

    def restore(self):
        return self.state

    def save(self, state):
        self.state, self.n = state, self.n + 1
        if self.n == self.stop:
            raise KeyboardInterrupt


@pytest.mark.parametrize("contest", [identification, change_detection])
@pytest.mark.parametrize("method", ["bb_in", "magnitude"])
def test_a_run_cut_off_goes_on_bit_for_bit(contest, method):
    config = dataclasses.replace(contest.SMOKE, methods=(method,), densities=(0.3,), epochs=3)
    whole = contest.run(config, Kept())
    cut = Kept(stop=1)
    with pytest.raises(KeyboardInterrupt):
        contest.run(config, cut)
    assert contest.run(config, Kept(cut.state)) == whole
    assert whole.worst_gap < 1
    # negative control: from scratch with another seed it is another network
    assert contest.run(dataclasses.replace(config, seeds=(1,)), Kept()) != whole


def test_squares_hold_most_change_and_what_a_rule_finds():
    tiles = load_changes("generated", tile=24, margin=2).test
    rule = change_detection.vector_analysis(load_changes("generated", tile=24, margin=2))
    seen = look(tiles, 12, rule, "bb_in", 0.3)
    assert seen.truth.shape == (3, 12, 12)
    assert seen.before.shape == (3, 12, 12, 3)
    assert seen.found.shape == (1, 3, 12, 12)
    changed = (seen.truth == 1).sum(axis=(1, 2))
    assert (np.diff(changed) <= 0).all()
    before, after, label = tiles.tile(0)
    squares = [
        (label[i : i + 12, j : j + 12] == 1).sum()
        for i in range(0, label.shape[0] - 11, 12)
        for j in range(0, label.shape[1] - 11, 12)
    ]
    assert changed.tolist() == sorted(squares, reverse=True)[:3]
    places = np.argwhere([(before[2, i : i + 12, j : j + 12] == seen.before[0, :, :, 0]).all()
                          for i in range(0, label.shape[0] - 11, 12)
                          for j in range(0, label.shape[1] - 11, 12)])  # fmt: skip
    assert len(places) == 1, "red is the third band"
    row, column = divmod(int(places[0, 0]), label.shape[1] // 12)
    part = slice(12 * row, 12 * row + 12), slice(12 * column, 12 * column + 12)
    np.testing.assert_array_equal(seen.found[0, 0], rule(before, after)[part])
    nothing = look(tiles, 12, lambda a, b: np.zeros(a.shape[1:], bool), "dense", 1.0)
    both = side_by_side([nothing, seen])
    assert both.methods == ("dense", "bb_in")
    assert both.densities.tolist() == [1.0, 0.3]
    assert not both.found[0].any()
    np.testing.assert_array_equal(both.truth, seen.truth)
    assert side_by_side([seen, None]) is None
    assert side_by_side([]) is None


def folder_of_identities(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for who in range(8):
        (root / f"person{who}").mkdir(parents=True)
        own = rng.integers(0, 256, (40, 40, 3))
        for i in range(8):
            noisy = np.clip(own + rng.integers(-20, 20, own.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(root / f"person{who}" / f"{i}.png")
    return root


def folder_of_pairs(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for part in ("train", "val", "test"):
        for kind in ("A", "B", "label"):
            (root / part / kind).mkdir(parents=True)
        for i in range(2):
            before = rng.integers(0, 200, (64, 64, 3), dtype=np.uint8)
            label = np.zeros((64, 64), np.uint8)
            label[8 * i : 20, 40:60] = 255
            after = before + (label[..., None] > 0) * np.uint8(50)
            for kind, image in zip(("A", "B", "label"), (before, after, label), strict=True):
                Image.fromarray(image).save(root / part / kind / f"{i}.png")
    return root


def test_the_gpu_preset_of_identification_at_tiny_size(tmp_path):
    folder_of_identities(tmp_path / "people")
    config = dataclasses.replace(
        identification.GPU, methods=("bb_both",), data="people", size=32, n_unseen=2, blocks=(1, 1, 2, 1),
        widths=(4, 4, 8, 8), epochs=1, batch=8, imbalance=2.0, mirror=True, **TINY
    )  # fmt: skip
    cell = identification.run(config, Kept(data_root=tmp_path))
    assert np.isfinite(cell.metrics).all()
    assert cell.worst_gap < 1
    assert cell.baseline.tolist() == [0.25, 0.0, 0.5, 0.01]


def test_the_gpu_preset_of_change_detection_at_tiny_size(tmp_path):
    folder_of_pairs(tmp_path / "LEVIR-CD")
    config = dataclasses.replace(
        change_detection.GPU, methods=("bb_both",), tile=32, stride=32, widths=(4, 4, 8, 8), epochs=1, batch=4, **TINY
    )  # fmt: skip
    cell = change_detection.run(config, Kept(data_root=tmp_path))
    assert np.isfinite(cell.metrics).all()
    assert cell.worst_gap < 1
    # a threshold finds a change of 50 grey values in every band
    assert cell.baseline[0] > 0.95


@pytest.mark.parametrize(
    ("contest", "match"),
    [
        (identification, "needs data: .*omniglot_small.npz"),
        (change_detection, "needs data: .*change_landsat_taizhou.npz"),
    ],
)
def test_missing_data_is_not_run(contest, match, tmp_path):
    with pytest.raises(NotRun, match=match):
        contest.run(dataclasses.replace(contest.CPU, methods=("dense",)), Kept(data_root=tmp_path))


def test_metrics_of_known_answers():
    changes = load_changes("generated", tile=16, margin=siamese_reach((1, 1)))
    truth = {i: changes.test.tile(i)[2] for i in range(len(changes.test))}
    perfect = change_detection.measure_changes(changes.test, lambda before, after: truth[0] == 1)
    assert set(perfect.values()) == {1.0}
    nothing = change_detection.measure_changes(
        changes.test, lambda before, after: np.zeros(truth[0].shape, bool)
    )
    assert set(nothing.values()) == {0.0}
    everything = change_detection.measure_changes(
        changes.test, lambda before, after: np.ones(truth[0].shape, bool)
    )
    share = (truth[0] == 1).sum() / (truth[0] != 255).sum()
    assert everything["iou"] == pytest.approx(share)
    assert everything["f1"] == pytest.approx(2 * share / (1 + share))
    assert everything["small_recall"] == 1.0
    analysis = change_detection.measure_changes(changes.test, change_detection.vector_analysis(changes))
    assert everything["f1"] < analysis["f1"] < 1.0


def test_validation_shows_other_samples_than_the_test():
    for contest in (identification, change_detection):
        config = dataclasses.replace(contest.SMOKE, methods=("dense",), densities=(1.0,), epochs=1)
        test = contest.run(config, Kept())
        validation = contest.run(dataclasses.replace(config, validation=True), Kept())
        assert test.metrics.tolist() != validation.metrics.tolist()


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("contest", "least"), [(identification, 0.65), (change_detection, 0.92)])
def test_the_dense_network_learns(contest, least):
    cell = contest.run(
        dataclasses.replace(contest.CPU, methods=("dense",), densities=(1.0,), seeds=(0,)), Progress()
    )
    assert cell.metrics[0] > least > cell.baseline[0]

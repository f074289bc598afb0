"""Dense networks against known figures: verdicts from made-up cells, and the text judged as others judge it."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from experiments import dense_controls, image_classification, language_model
from experiments.dense_controls import Cell, Config, cells, collect


def judged(control, values, window_spread=math.nan):
    config = Config(controls=(control,), seeds=tuple(range(len(values))))
    (row,) = collect(config, [Cell(value, 0.1, window_spread) for value in values]).rows
    return row


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.982, 0.983, 0.984, 0.985], "within noise"),
        ([0.970, 0.971, 0.9705, 0.9712], "worse"),
        ([0.990, 0.991, 0.9905, 0.9912], "better"),
        ([0.5], "undecided"),
    ],
)
def test_verdicts(values, verdict):
    row = judged("mnist", values)
    assert (row.verdict, row.known, row.n) == (verdict, 0.9836, len(values))
    assert row.mean == pytest.approx(np.mean(values), rel=1e-12)


def test_the_interval_is_for_one_more_run():
    """A prediction interval, t s sqrt(1 + 1/n), covers a new draw in 95 % of the cases; that of the mean not."""
    rng = np.random.default_rng(0)
    draws = rng.normal(0.98, 0.01, (1000, 6))
    rows = [judged("mnist", five.tolist()) for five in draws[:, :5]]
    inside = np.mean([row.low <= new <= row.high for row, new in zip(rows, draws[:, 5], strict=True)])
    assert abs(inside - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 1000)
    narrow = [row.spread / math.sqrt(5) * 2.776 for row in rows]  # of the mean
    of_mean = np.mean(
        [abs(new - row.mean) <= h for row, new, h in zip(rows, draws[:, 5], narrow, strict=True)]
    )
    assert of_mean < 0.85, "negative control"


def test_the_interval_by_hand():
    values, window_spread = [1.80, 1.83, 1.87], 0.31
    row = judged("tinyshakespeare", values, window_spread)
    seeds, windows = np.var(values, ddof=1), window_spread**2 / 240  # nanoGPT estimates from 240 windows
    half = 4.302653 * math.sqrt(seeds + seeds / 3 + windows)  # Student's t with 2 degrees of freedom
    assert row.spread == pytest.approx(math.sqrt(seeds), rel=1e-12)
    assert (row.low, row.high) == pytest.approx((row.mean - half, row.mean + half), rel=1e-6)


def test_every_control_is_judged_by_its_own_networks():
    config = Config(controls=("mnist", "fashion_mnist"), seeds=(0, 1))
    rows = collect(config, [Cell(value, 0.1, math.nan) for value in (0.98, 0.99, 0.89, 0.90)]).rows
    assert [row.mean for row in rows] == pytest.approx([0.985, 0.895])


def test_a_loss_is_better_below_and_sampled_windows_widen_its_interval():
    exact, sampled = (
        judged("tinyshakespeare", [1.80, 1.81], 0.0),
        judged("tinyshakespeare", [1.80, 1.81], 0.3),
    )
    assert sampled.high - sampled.low > exact.high - exact.low
    assert judged("tinyshakespeare", [1.7, 1.701, 1.7005], 0.1).verdict == "better"
    assert judged("tinyshakespeare", [1.99, 1.991, 1.9905], 0.1).verdict == "worse"


def test_text_is_judged_window_by_window():
    config = dataclasses.replace(
        language_model.SMOKE, methods=("dense",), densities=(1.0,), seeds=(0,), epochs=1, steps=2
    )
    task = dense_controls._text_task(config, None)
    text = language_model.read_corpus(config, None)

    class Uniform(torch.nn.Module):
        def forward(self, codes):
            return torch.zeros(*codes.shape, text.size)

    found = task.evaluate(Uniform())
    assert found["nats"] == pytest.approx(math.log(text.size), rel=1e-5)
    assert found["window_spread"] == pytest.approx(0.0, abs=1e-5)
    assert math.exp(task.baseline["nats"]) == pytest.approx(text.baseline["perplexity"], rel=1e-12)

    class Bigram(Uniform):  # a model that sees something differs from window to window
        def forward(self, codes):
            return torch.nn.functional.one_hot(codes, text.size) * 2.0

    assert task.evaluate(Bigram())["window_spread"] > 1e-3


def test_cells_and_bad_settings():
    assert [(c.controls, c.seeds) for c in cells(Config(seeds=(3, 4)))][:3] == [
        (("mnist",), (3,)),
        (("mnist",), (4,)),
        (("fashion_mnist",), (3,)),
    ]
    for bad in ({"controls": ("imagenet",)}, {"epochs": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Config(**bad)
    assert dense_controls._settings(cells(Config())[0]).imbalance == 1.0


def test_images_are_the_contests_images_and_all_of_them():
    config = dense_controls._settings(Config(controls=("digits",), seeds=(0,)))
    task, contest = dense_controls._image_task(config, None), image_classification.task(config, None)
    shown = np.concatenate([x.numpy() for x, _ in task.batches(0)])
    some = np.concatenate([x.numpy() for x, _ in contest.batches(0)])
    assert len(shown) > len(some)
    assert {row.tobytes() for row in some} <= {row.tobytes() for row in shown}, "scaled alike"

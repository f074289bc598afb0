import numpy as np
import pytest

from bbtheory.measure import measure_activity

ROWS = np.array([[0, 1, 1, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]])


def test_exact_small_answers():
    found = measure_activity(ROWS)
    np.testing.assert_array_equal(found.on_rate, [0.25, 1.0, 0.25, 0.0])
    np.testing.assert_allclose(found.on_rate_stderr, np.sqrt([3 / 16 / 3, 0, 3 / 16 / 3, 0]), rtol=1e-15)
    np.testing.assert_allclose(found.effective_samples, 4, rtol=1e-15)
    assert found.dead.tolist() == [False, False, False, True]
    assert (found.n_units, found.n_samples, found.n_dead, found.n_saturated) == (4, 4, 1, 1)
    # what a unit never seen on in 4 samples may still be: z^2/(n + z^2)
    z2 = 1.959963984540054**2
    np.testing.assert_allclose(found.on_rate_interval[3], [0, z2 / (4 + z2)], rtol=1e-14)
    np.testing.assert_array_equal(np.isinf(found.inactivity_log_odds_stderr), [False, True, False, True])
    assert set(found.to_frame().columns) >= {"on_rate", "on_rate_stderr", "dead"}


@pytest.mark.parametrize("cast", [bool, np.uint8, np.float32, np.float64, list])
def test_every_kind_of_sample_is_read_alike(cast):
    samples = ROWS.tolist() if cast is list else ROWS.astype(cast)
    assert measure_activity(samples) == measure_activity(ROWS)


def test_threshold():
    activity = np.array([[-1.0, 0.0, 0.2], [2.0, 0.1, 0.2]])
    np.testing.assert_array_equal(measure_activity(activity).on_rate, [0.5, 0.5, 1.0])
    np.testing.assert_array_equal(measure_activity(activity, threshold=0.2).on_rate, [0.5, 0.0, 0.0])


def test_weights_are_exact():
    found = measure_activity([[0, 1, 1], [1, 1, 0], [0, 0, 0]], weights=[3, 1, 0])
    np.testing.assert_array_equal(found.on_rate, [0.25, 1.0, 0.75])
    assert (found.on_rate_stderr == 0).all()
    assert found.exact
    np.testing.assert_array_equal(found.on_rate_interval, np.stack([found.on_rate] * 2, axis=1))


@pytest.mark.parametrize("block_length", [1, 7, 40])
@pytest.mark.parametrize("step", [1, 13, 64])
def test_blocks_give_what_the_whole_gives(block_length, step):
    rows = np.random.default_rng(0).random((203, 5)) < 0.3
    parts = (rows[i : i + step] for i in range(0, 203, step))
    whole = measure_activity(rows, block_length=block_length)
    assert measure_activity(parts, block_length=block_length) == whole


def test_block_length_two_roads():
    rows = np.random.default_rng(1).random((100, 3)) < 0.4
    means = rows[:98].reshape(14, 7, 3).mean(axis=1)
    expected = np.sqrt(means.var(axis=0, ddof=1) * 7 / 100)
    np.testing.assert_allclose(measure_activity(rows, block_length=7).on_rate_stderr, expected, rtol=1e-13)


def sticky(rng, n_samples, n_units, stay):
    """Units that keep their state with probability ``stay``, else flip a fair coin."""
    fresh = rng.random((n_samples, n_units)) < 0.5
    keeps = rng.random((n_samples, n_units)) < stay
    for t in range(1, n_samples):
        fresh[t] = np.where(keeps[t], fresh[t - 1], fresh[t])
    return fresh


def test_standard_errors_cover_time_correlation_and_single_samples_do_not():
    rows = sticky(np.random.default_rng(2), 4000, 400, 0.9)
    # variance of the mean: chi/n (1 + stay)/(1 - stay)
    true = np.sqrt(0.25 / 4000 * 1.9 / 0.1)
    spread = measure_activity(rows).on_rate.std()
    assert abs(spread / true - 1) < 4 / np.sqrt(2 * 400)
    long = measure_activity(rows, block_length=200)
    assert abs(long.on_rate_stderr.mean() / true - 1) < 0.08  # blocks cut off 1/20 of the correlation time
    assert measure_activity(rows).on_rate_stderr.mean() < 0.3 * true  # negative control
    assert abs(np.median(long.effective_samples) / (4000 * 0.1 / 1.9) - 1) < 0.25


def test_the_interval_covers():
    rng = np.random.default_rng(3)
    a = 0.02
    hits = [
        (lambda ends: (ends[:, 0] <= a) & (a <= ends[:, 1]))(
            measure_activity(rng.random((150, 200)) < a).on_rate_interval
        ).mean()
        for _ in range(10)
    ]
    assert 0.93 < np.mean(hits) < 0.98


BAD = [
    (([[0, 1]],), {}, "samples must fill at least 2 blocks of block_length 1, got 1"),
    (
        (np.zeros((5, 2)),),
        {"block_length": 3},
        "samples must fill at least 2 blocks of block_length 3, got 5",
    ),
    (([0, 1],), {}, r"samples must have 2 axes, got shape \(2,\)"),
    ((np.zeros((0, 2), dtype=bool),), {}, "samples must not be empty"),
    ((np.zeros((0, 2)),), {}, "samples must not be empty"),
    (([[0.0, np.nan], [0, 1]],), {}, r"samples must be finite numbers in .*, got nan at index \(0, 1\)"),
    (([[0, 1], [1]],), {}, "samples must be a rectangular array of numbers, got ragged rows"),
    ((np.ma.array(ROWS, mask=np.eye(*np.shape(ROWS))),), {}, "samples must have no masked elements, got"),
    (([["a"]],), {}, "samples must be an array of real numbers"),
    ((iter([]),), {}, "samples must fill at least 2 blocks"),
    ((iter([np.zeros((2, 3)), np.zeros((2, 4))]),), {}, "samples must have 3 units in every block, got 4"),
    ((ROWS,), {"threshold": np.nan}, "threshold must be a number in"),
    ((ROWS,), {"block_length": 0}, "block_length must be an integer in"),
    ((ROWS,), {"level": 1.0}, "level must be a number in"),
    ((ROWS,), {"weights": [1, 1]}, r"weights must have shape \(4,\), got \(2,\)"),
    ((ROWS,), {"weights": [0, 0, 0, 0]}, "weights must have a value above 0, got none"),
    ((ROWS,), {"weights": [1, 1, 1, -1]}, "weights must be finite numbers in"),
    ((iter([ROWS]),), {"weights": [1] * 4}, "weights must be None with an iterator"),
    ((ROWS,), {"weights": [1] * 4, "block_length": 2}, "weights must be None with an iterator"),
]


@pytest.mark.parametrize(("args", "settings", "message"), BAD)
def test_bad_input(args, settings, message):
    with pytest.raises(ValueError, match=message):
        measure_activity(*args, **settings)

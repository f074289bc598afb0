import numpy as np
import pytest

from bbtheory.measure import average_precision, best_threshold, measure_detection
from bbtheory.measure.detection import Detection, label_objects

TINY = 1e-12  # float64 sums of a few hundred terms


def test_average_precision_by_hand():
    # falling scores: right, wrong, right, so (1/1 + 2/3) / 2
    assert average_precision([0.9, 0.5, 0.1], [True, False, True]) == pytest.approx(5 / 6, abs=TINY)
    assert average_precision([1, 1, 1, 1], [True, False, False, False]) == 0.25, "equal scores say nothing"
    assert average_precision([[3.0, 2.0], [1.0, 0.0]], [[True, True], [False, False]]) == 1.0


@pytest.mark.parametrize("n_values", [5, 50, 10**6])
@pytest.mark.parametrize("share", [0.01, 0.5])
def test_average_precision_is_sklearns(n_values, share):
    from sklearn.metrics import average_precision_score, precision_recall_curve

    rng = np.random.default_rng(n_values)
    truth = rng.random(3000) < share
    score = rng.integers(0, n_values, 3000) / n_values + 0.3 * truth
    assert average_precision(score, truth) == pytest.approx(average_precision_score(truth, score), abs=TINY)
    precision, recall, thresholds = precision_recall_curve(truth, score)
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))[:-1]
    found = measure_detection(score, truth, best_threshold(score, truth))
    assert found.f1 == pytest.approx(f1.max(), abs=TINY)
    assert best_threshold(score, truth) in thresholds[np.isclose(f1, f1.max(), rtol=0, atol=TINY)]


def test_scores_that_say_nothing_have_the_prevalence():
    rng = np.random.default_rng(0)
    truth = rng.random(100_000) < 0.05
    # standard error of precision at k = 5000 true ones is about sqrt(0.05 * 0.95 / 5000) = 0.003 at worst
    assert average_precision(rng.random(truth.size), truth) == pytest.approx(truth.mean(), abs=0.009)
    # negative control
    assert average_precision(rng.random(truth.size) + truth, truth) > 0.9


@pytest.mark.parametrize("shape", [(40,), (17, 23), (6, 14, 15), (3, 4, 5, 6)])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.7, 1.0])
def test_objects_are_scipys(shape, share):
    from scipy import ndimage

    mask = np.random.default_rng(1).random(shape) < share
    np.testing.assert_array_equal(label_objects(mask), ndimage.label(mask)[0])
    apart = np.zeros((3,) * len(shape), bool)
    apart[(1,) * (len(shape) - 1)] = True  # neighbours along the last axis only
    np.testing.assert_array_equal(label_objects(mask, (-1,)), ndimage.label(mask, apart)[0])


def test_objects_of_a_winding_path_are_one():
    mask = np.zeros((9, 9), bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True  # rows joined at alternating ends
    assert label_objects(mask).max() == 1
    assert label_objects(mask, (1,)).max() == 9


def scene():
    """Three true objects in two sections, of 4, 2 and 1 voxels; sections touch but are kept apart."""
    truth = np.zeros((2, 4, 8), bool)
    truth[0, 0, :4] = truth[0, 2, 6:8] = truth[1, 0, 0] = True
    score = np.zeros(truth.shape)
    score[0, 0, :3] = 0.9  # three of four
    score[0, 2, 7] = 0.9  # one of two
    score[1, 3, 4:8] = 0.9  # nothing there
    score[1, 1, 7] = 0.9  # a speck
    return score, truth


def test_objects_by_hand():
    score, truth = scene()
    found = measure_detection(score, truth, 0.5, axes=(1, 2))
    np.testing.assert_array_equal(found.size, [4, 2, 1])
    np.testing.assert_array_equal(found.covered, [0.75, 0.5, 0.0])
    assert (found.n_objects, found.n_predicted, found.n_right) == (3, 4, 2)
    assert found.object_recall == pytest.approx(2 / 3)
    assert found.object_precision == 0.5
    assert found.object_f1 == pytest.approx(4 / 7)
    np.testing.assert_array_equal(found.is_small, [False, True, True])
    assert found.small_object_recall == 0.5
    assert found.small_covered == 0.25
    assert (found.precision, found.recall) == (4 / 9, 4 / 7)
    assert found.f1 == 0.5
    assert found.prevalence == 7 / 64
    assert measure_detection(score, truth, 0.5, axes=(1, 2), min_size=2).n_predicted == 2
    assert measure_detection(score, truth, 0.5, axes=(1, 2), min_overlap=0.6).object_recall == 1 / 3
    assert measure_detection(score, truth, 0.5).n_objects == 2, "joined across sections"


def test_the_record_round_trips(tmp_path):
    found = measure_detection(*scene(), 0.5, axes=(1, 2))
    found.save(tmp_path / "found.json")
    assert Detection.load(tmp_path / "found.json") == found
    assert found.to_dict()["small_covered"] == 0.25
    assert len(found.to_frame()) == 3


def test_one_that_covers_everything_finds_all_and_is_wrong():
    _, truth = scene()
    found = measure_detection(np.ones(truth.shape), truth, 0.5)
    assert (found.object_recall, found.object_precision, found.object_f1) == (1.0, 0.0, 0.0)
    assert found.average_precision == found.prevalence


def test_nothing_predicted():
    score, truth = scene()
    found = measure_detection(score, truth, 2.0)
    assert (found.precision, found.recall, found.f1, found.object_precision, found.n_predicted) == (
        0,
        0,
        0,
        0,
        0,
    )


BAD = [
    (([0.1, np.nan], [True, False], 0.5), {}, "score must be finite numbers"),
    (([0.1], [True, False], 0.5), {}, "must have the same shape"),
    (([0.1, 0.2], [0, 1], 0.5), {}, "truth must be an array of booleans, got dtype int64"),
    (([0.1, 0.2], [False, False], 0.5), {}, "truth must hold something that is true"),
    (([], np.zeros(0, bool), 0.5), {}, "score must"),
    (([0.1, 0.2], [True, False], np.nan), {}, "threshold must"),
    (([0.1, 0.2], [True, False], 0.5), {"min_overlap": 0.0}, "min_overlap must"),
    (([0.1, 0.2], [True, False], 0.5), {"min_size": 0}, "min_size must"),
    (([0.1, 0.2], [True, False], 0.5), {"axes": (1,)}, r"axes must be an integer in \[-1, 1\)"),
]


@pytest.mark.parametrize(("arguments", "named", "match"), BAD)
def test_bad_input(arguments, named, match):
    with pytest.raises(ValueError, match=match):
        measure_detection(*arguments, **named)

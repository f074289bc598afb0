import numpy as np
import pytest

from bbtheory.measure import Segmentation, measure_segmentation, region_recall


def test_hand_made_map():
    predicted = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], bool)
    truth = np.array([[1, 0, 0, 1], [1, 0, 1, 1]], bool)
    labelled = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
    found = measure_segmentation(predicted, truth, labelled)
    assert (found.true_positives, found.false_positives) == (2, 1)
    assert (found.false_negatives, found.true_negatives) == (1, 2)
    assert (found.iou, found.f1, found.precision, found.recall) == (0.5, 2 / 3, 2 / 3, 2 / 3)
    assert found.accuracy == 4 / 6
    whole = measure_segmentation(predicted, truth)
    assert whole.true_positives + whole.true_negatives == 5


def test_outside_truth():
    from sklearn.metrics import f1_score, jaccard_score

    rng = np.random.default_rng(0)
    predicted, truth = rng.random((2, 40, 40)) < 0.3
    found = measure_segmentation(predicted, truth)
    assert found.f1 == pytest.approx(f1_score(truth.ravel(), predicted.ravel()), abs=1e-12)
    assert found.iou == pytest.approx(jaccard_score(truth.ravel(), predicted.ravel()), abs=1e-12)


def test_nothing_is_no_success():
    empty = measure_segmentation(np.zeros(3, bool), np.zeros(3, bool))
    assert (empty.iou, empty.f1, empty.precision, empty.recall, empty.accuracy) == (0, 0, 0, 0, 1)
    assert Segmentation(0, 0, 0, 0).accuracy == 0


def test_regions():
    regions = np.array([1, 2, 2, 3, 3, 3, 0, 5])
    predicted = np.array([1, 1, 0, 1, 1, 1, 1, 0], bool)
    assert region_recall(predicted, regions) == ((1 + 0.5 + 1 + 0) / 4, 4, 3)
    # the smallest half: regions 1 and 5, of one pixel
    assert region_recall(predicted, regions, 0.5) == (0.5, 2, 1)
    # ties with the last one count: a quarter is one region of one pixel, and there are two of that size
    assert region_recall(predicted, regions, 0.25) == (0.5, 2, 1)
    none = region_recall(predicted, np.zeros(8, int))
    assert np.isnan(none[0])
    assert none[1:] == (0, 0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: measure_segmentation([1, 0], [True, False]), "predicted must be bool"),
        (lambda: measure_segmentation([True], [True, False]), r"truth must be bool of shape \(1,\)"),
        (lambda: measure_segmentation([True], [True], [1]), "labelled must be bool"),
        (lambda: region_recall([True], [-1]), "regions must be integers >= 0"),
        (lambda: region_recall([True], [0.5]), "regions must be integers >= 0"),
        (lambda: region_recall([True], [1], 0.0), r"share must be a number in \(0, 1\]"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()

import numpy as np
import pytest

from bbtheory.measure import cosine_pairs, measure_verification


def test_hand_made_pairs():
    # thresholds at 0.3 and 0.4 leave 1/4 of either kind on the wrong side
    found = measure_verification([0.9, 0.8, 0.3, 0.7], [0.1, 0.4, 0.2, 0.0], false_accept_rate=0.0)
    assert found.equal_error_rate == 0.25
    assert (found.true_accept_rate, found.accept_threshold) == (0.75, 0.7)
    assert (found.n_genuine, found.n_impostor) == (4, 4)
    some = measure_verification([0.9, 0.8, 0.3, 0.7], [0.1, 0.4, 0.2, 0.0], false_accept_rate=0.25)
    assert (some.true_accept_rate, some.accept_threshold) == (1.0, 0.3)
    half = measure_verification([0.9, 0.8, 0.3, 0.7], [0.1, 0.4, 0.2, 0.0], false_accept_rate=0.5)
    assert (half.true_accept_rate, half.accept_threshold) == (1.0, 0.2)


def test_perfect_reversed_and_equal():
    assert measure_verification([2, 3], [0, 1]).equal_error_rate == 0.0
    assert measure_verification([2, 3], [0, 1]).true_accept_rate == 1.0
    assert measure_verification([0, 1], [2, 3]).equal_error_rate == 1.0
    alike = measure_verification(np.ones(5), np.ones(7))
    assert alike.equal_error_rate == 0.5
    assert (alike.true_accept_rate, alike.accept_threshold) == (0.0, np.inf)


def test_normal_similarities():
    # two unit normals d apart cross at d/2: an error rate of Phi(-d/2)
    rng = np.random.default_rng(0)
    n, distance = 40_000, 1.5
    found = measure_verification(rng.normal(distance, 1, n), rng.normal(0, 1, n), false_accept_rate=0.01)
    stderr = np.sqrt(0.2266 * 0.7734 / n)  # Phi(-0.75)
    assert abs(found.equal_error_rate - 0.2266) < 4 * stderr
    assert abs(found.true_accept_rate - 0.2044) < 4 * np.sqrt(0.2 * 0.8 / n) + 0.01  # Phi(1.5 - 2.3263)
    chance = measure_verification(rng.normal(0, 1, n), rng.normal(0, 1, n))
    assert abs(chance.equal_error_rate - 0.5) < 4 * np.sqrt(0.25 / n)


def test_outside_truth():
    # scikit-learn's curve, read where its two error rates are closest
    from sklearn.metrics import roc_curve

    rng = np.random.default_rng(1)
    genuine, impostor = rng.normal(1, 1, 300), rng.normal(0, 1, 500)
    far, tar, _ = roc_curve(
        np.repeat([1, 0], [300, 500]),
        np.concatenate([genuine, impostor]),
        drop_intermediate=False,
    )
    closest = np.argmin(np.abs(far - (1 - tar)))
    found = measure_verification(genuine, impostor, false_accept_rate=0.05)
    assert abs(found.equal_error_rate - 0.5 * (far[closest] + 1 - tar[closest])) <= 1 / 300
    assert found.true_accept_rate == pytest.approx(tar[far <= 0.05].max(), abs=1e-12)


def test_cosine_pairs():
    genuine, impostor = cosine_pairs([[1, 0], [2, 0], [0, 3], [0, 0]], [0, 0, 1, 1])
    assert genuine.tolist() == [1.0, 0.0]
    assert impostor.tolist() == [0.0, 0.0, 0.0, 0.0]
    for size in (1e-200, 5e-324, 1e200):  # whose squares vanish or overflow
        genuine, _ = cosine_pairs(size * np.ones((2, 3)), [0, 0])
        np.testing.assert_allclose(genuine, 1.0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: measure_verification([], [1]), "genuine must not be empty"),
        (lambda: measure_verification([1], [np.nan]), "impostor must be finite"),
        (
            lambda: measure_verification([1], [1], false_accept_rate=1.5),
            r"false_accept_rate must be a number in \[0, 1\]",
        ),
        (lambda: cosine_pairs([[1.0]], [0, 1]), r"identity must have shape \(1,\)"),
        (lambda: cosine_pairs([1.0], [0]), "vectors must have 2 axes"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()

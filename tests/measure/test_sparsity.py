import numpy as np
import pytest

from bbtheory.measure import measure_overlap, measure_sparsity

MASK = np.array([[1, 0, 1, 0], [1, 0, 0, 0]], dtype=bool)


def test_counts():
    found = measure_sparsity(MASK)
    assert found.density == 3 / 8
    assert found.fan_in.tolist() == [2, 1]
    assert found.fan_out.tolist() == [2, 0, 1, 0]
    assert (found.n_without_audience.tolist(), found.n_without_input.tolist()) == ([2], [0])
    assert found.layers == ("mask",)


@pytest.mark.parametrize("cast", [np.uint8, np.int64, np.float32])
def test_numbers_are_masks(cast):
    assert measure_sparsity(MASK.astype(cast)) == measure_sparsity(MASK)


def test_layers_and_kernels():
    kernels = np.zeros((2, 3, 2, 2), dtype=bool)
    kernels[0, 1] = True
    found = measure_sparsity({"first": MASK, "second": kernels})
    assert found.n_links.tolist() == [8, 24]
    assert found.n_kept.tolist() == [3, 4]
    assert found.density == 7 / 32
    assert found.fan_in.tolist() == [2, 1, 4, 0]
    assert found.fan_in_layer.tolist() == [0, 0, 1, 1]
    assert found.fan_out[found.fan_out_layer == 1].tolist() == [0, 4, 0]
    assert found.to_dict()["units"]["layer"] == ["first", "second"]


def test_overlap_by_hand():
    later = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    found = measure_overlap(MASK, later)
    assert found.jaccard == 2 / 4
    assert (found.n_cut, found.n_grown, found.turnover) == (1, 1, 2 / 6)
    assert found.n_common_by_chance.tolist() == [9 / 8]
    assert found.above_chance == pytest.approx((2 - 9 / 8) / (3 - 9 / 8))


@pytest.mark.parametrize(
    ("first", "second", "jaccard", "above", "turnover"),
    [
        (MASK, MASK, 1.0, 1.0, 0.0),
        (MASK, ~MASK, 0.0, -(15 / 8) / (3 - 15 / 8), 1.0),
        (np.zeros((2, 2)), np.zeros((2, 2)), np.nan, np.nan, np.nan),
        (np.ones((2, 2)), np.ones((2, 2)), 1.0, np.nan, 0.0),
        (np.ones((2, 2)), np.zeros((2, 2)), 0.0, np.nan, 1.0),
    ],
)
def test_overlap_at_the_ends(first, second, jaccard, above, turnover):
    found = measure_overlap(first, second)
    np.testing.assert_allclose(
        [found.jaccard, found.above_chance, found.turnover], [jaccard, above, turnover], rtol=1e-14
    )


def test_random_masks_lie_at_chance_and_copies_do_not():
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(300):
        masks = [{}, {}]
        for m in masks:
            for name, (shape, density) in {"a": ((10, 20), 0.1), "b": ((5, 8), 0.6)}.items():
                flat = np.zeros(shape[0] * shape[1], dtype=bool)
                flat[rng.permutation(flat.size)[: int(density * flat.size)]] = True
                m[name] = flat.reshape(shape)
        scores.append(measure_overlap(*masks).z_score)
    assert abs(np.mean(scores)) < 4 / np.sqrt(300)
    assert abs(np.std(scores) - 1) < 4 / np.sqrt(600)
    assert measure_overlap(masks[0], masks[0]).z_score > 10


BAD = [
    (measure_sparsity, ([1, 0],), "mask must have at least 2 axes and a link"),
    (measure_sparsity, (np.zeros((0, 3)),), "mask must have at least 2 axes and a link"),
    (measure_sparsity, ([[1, 0], [1]],), "mask must be a rectangular array"),
    (measure_sparsity, ([[1, 2]],), "mask must hold 0 and 1 only, got 2"),
    (measure_sparsity, ([[1, np.nan]],), "mask must hold 0 and 1 only, got nan"),
    (measure_sparsity, ([["a", "b"]],), "mask must be an array of bool or 0 and 1"),
    (measure_sparsity, ({},), "mask must hold at least one mask, got none"),
    (measure_sparsity, ({1: MASK, "1": MASK},), "mask must have names that differ as strings, got 1, 1"),
    (measure_sparsity, (np.ma.array(MASK, mask=MASK),), "mask must have no masked elements"),
    (measure_sparsity, ({"x": [1]},), r"mask\['x'\] must have at least 2 axes"),
    (measure_overlap, (MASK, MASK.T), r"second must have shape \(2, 4\) in layer mask, got \(4, 2\)"),
    (measure_overlap, ({"a": MASK}, {"b": MASK}), "second must have the layers of first, a, got b"),
    (measure_overlap, (MASK, [[3]]), "second must hold 0 and 1 only"),
]


@pytest.mark.parametrize(("function", "args", "message"), BAD)
def test_bad_input(function, args, message):
    with pytest.raises(ValueError, match=message):
        function(*args)

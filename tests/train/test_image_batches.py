import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch

from bbtheory.train import PosedImages, block_convolutions, pointwise_convolutions, resnet


def images(n=10, size=9):
    return np.random.default_rng(0).integers(0, 256, (n, 1, size, size), dtype=np.uint8)


def epoch_of(batches, epoch):
    x, y = zip(*batches(epoch), strict=True)
    return torch.cat(x), torch.cat(y)


def test_unposed_images_are_the_images():
    kept = images()
    batches = PosedImages(kept, np.arange(10), np.arange(10), 4, seed=2)
    x, y = epoch_of(batches, 1)
    assert (len(batches), sorted(y.tolist())) == (3, list(range(10)))
    np.testing.assert_array_equal(x.numpy(), kept[y] / np.float32(255))


def test_poses_follow_from_seed_and_epoch():
    def batches(seed):
        return PosedImages(
            images(), np.arange(10), np.arange(10), 5, angle=20, shift=0.1, scale=0.2, seed=seed
        )

    first, again = epoch_of(batches(0), 3), epoch_of(batches(0), 3)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], epoch_of(batches(0), 4)[0])
    assert not torch.equal(first[0], epoch_of(batches(1), 3)[0])
    assert first[0].min() >= 0
    assert first[0].max() <= 1


def test_a_turn_is_as_large_as_asked_for():
    # a dot at a known place: how far it may wander under each change
    dot = np.zeros((1, 1, 41, 41), np.uint8)
    dot[0, 0, 20, 35] = 255
    many = np.repeat(dot, 200, axis=0)

    def wandered(**pose):
        x, _ = epoch_of(PosedImages(many, np.arange(200), np.zeros(200), 50, **pose), 0)
        grid = torch.arange(41.0) - 20
        mass = x.sum((1, 2, 3))
        rows = (x.sum((1, 3)) * grid).sum(1) / mass
        columns = (x.sum((1, 2)) * grid).sum(1) / mass
        return rows.numpy(), columns.numpy()

    rows, columns = wandered(shift=0.1)  # 4.1 pixels
    for moved in (rows, columns - 15):
        assert 3.5 < np.abs(moved).max() < 4.6
    angle = np.degrees(np.arctan2(*wandered(angle=30.0)))
    assert 25 < np.abs(angle).max() < 31
    assert np.abs(angle.mean()) < 5
    rows, columns = wandered(scale=0.2)
    assert np.abs(rows).max() < 0.1
    assert 12 < columns.min() < 13.2
    assert 17.5 < columns.max() < 19.5
    _, columns = wandered(mirror=True)
    assert {-15, 15} == set(np.rint(columns).astype(int))


def test_no_batch_of_one():
    assert [len(y) for _, y in PosedImages(images(9), np.arange(9), np.arange(9), 4)(0)] == [4, 4]
    assert [len(y) for _, y in PosedImages(images(9), [3, 4], [0, 1], 8)(0)] == [2]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"index": [0]}, "index and y must name the same two or more images, got 1 and 2"),
        ({"batch": 0}, "batch must be an integer"),
        ({"angle": -1.0}, "angle must be a number"),
        ({"shift": np.nan}, "shift must be a number"),
        ({"scale": 1.0}, "scale must be a number"),
        ({"seed": -1}, "seed must be an integer"),
    ],
)
def test_bad_input(change, match):
    settings = {"index": [0, 1], "y": [0, 1], "batch": 2} | change
    with pytest.raises(ValueError, match=match):
        PosedImages(images(), **settings)


def test_pointwise_convolutions():
    model = resnet((1, 2), (4, 8), n_channels=1, n_classes=3, stem="strided")
    assert pointwise_convolutions(model) == [
        f"stages.{stage}.{block}.body.{part}" for stage, block in ((0, 0), (1, 0), (1, 1)) for part in (0, 6)
    ]
    assert len(block_convolutions(model)) == 3 * 3 + 2
    assert model.stem(torch.zeros(1, 1, 35, 35)).shape == (1, 4, 18, 18)
    names = [
        n for n, m in resnet((3, 4, 23, 3), stem="large").named_modules() if isinstance(m, torch.nn.Conv2d)
    ]
    assert len(names) == 100 + 4  # ResNet-101: with its last linear layer, shortcuts not counted

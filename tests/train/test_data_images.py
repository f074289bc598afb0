"""Colour images from the files that a user has: the right bytes in the right place, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bbtheory.train import MissingDataError, data_images, load_data, load_images
from bbtheory.train.data_images import read_cifar

RNG = np.random.default_rng(0)


@pytest.fixture
def small(monkeypatch):
    """CIFAR with six images per training file and four for testing."""
    monkeypatch.setattr(data_images, "_N_IMAGES", {"cifar10": 6, "cifar100": 6})
    monkeypatch.setattr(data_images, "_N_TEST", 4)


def write_cifar(root: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Write a set of a few images; return the images and labels of all training files."""
    folder = root / data_images._FOLDERS[name]
    folder.mkdir(parents=True)
    n_classes, head = data_images._N_CLASSES[name], data_images._LABEL_BYTES[name]
    images, labels = [], []
    for file in [*data_images._TRAIN_FILES[name], data_images._TEST_FILES[name]]:
        n = 4 if "test" in file else 6
        x = RNG.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
        y = RNG.integers(0, n_classes, (n, 1), dtype=np.uint8)
        coarse = RNG.integers(0, 20, (n, head - 1), dtype=np.uint8)
        np.concatenate([coarse, y, x.reshape(n, -1)], axis=1).tofile(folder / file)
        images.append(x)
        labels.append(y[:, 0])
    names = "\n".join(f"class_{i}" for i in range(n_classes)) + "\n\n"
    (folder / data_images._NAME_FILES[name]).write_text(names)
    return np.concatenate(images[:-1]), np.concatenate(labels[:-1])


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_comes_back_as_it_was_written(name, small, tmp_path):
    x, y = write_cifar(tmp_path, name)
    data = load_images(name, tmp_path)
    assert np.array_equal(data.x_train, x)
    assert np.array_equal(data.y_train, y)
    assert data.y_train.dtype == np.int64
    assert data.x_test.shape == (4, 3, 32, 32)
    assert (data.white, len(data.class_names)) == (255, 10 if name == "cifar10" else 100)
    assert not data.x_train.flags.writeable
    assert data.checksum == load_images(name, tmp_path).checksum


def test_the_size_that_is_published(tmp_path):
    # the real files have 30,730,000 and 153,700,000 bytes
    row = {name: data_images._LABEL_BYTES[name] + 3072 for name in data_images.CIFAR}
    assert row["cifar10"] * data_images._N_IMAGES["cifar10"] == 30_730_000
    assert row["cifar100"] * data_images._N_IMAGES["cifar100"] == 153_700_000


def test_grey_images_get_a_channel():
    data, plain = load_images("digits"), load_data("digits")
    assert data.x_train.shape == (1438, 1, 8, 8)
    assert np.array_equal(data.x_train[:, 0], plain.x_train)
    assert data.checksum == plain.checksum


def test_what_is_missing_is_named(small, tmp_path, monkeypatch):
    monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"cifar10 needs a data folder.*data_batch_1\.bin"):
        load_images("cifar10")
    with pytest.raises(MissingDataError, match=r"holds no cifar10: .*cifar-10-batches-bin/ .*kriz"):
        load_images("cifar10", tmp_path)
    write_cifar(tmp_path, "cifar10")
    (tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(MissingDataError, match=r"lacks data_batch_3\.bin"):
        load_images("cifar10", tmp_path)
    with pytest.raises(ValueError, match="name must be one of"):
        load_images("cifar", tmp_path)


def test_damaged_cifar(small, tmp_path):
    write_cifar(tmp_path, "cifar10")
    path = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    with pytest.raises(
        ValueError, match=r"test_batch\.bin must hold 4 images of 3073 bytes, got 12291 bytes"
    ):
        load_images("cifar10", tmp_path)
    path.write_bytes(good[: 3 * 3073])
    with pytest.raises(ValueError, match="must hold 4 images"):
        load_images("cifar10", tmp_path)
    path.write_bytes(b"\x0a" + good[1:])
    with pytest.raises(ValueError, match="must have labels below 10, got 10"):
        load_images("cifar10", tmp_path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="must hold whole images of 3073 bytes, got 0 bytes"):
        read_cifar(path, "cifar10")
    path.write_bytes(good)
    (path.parent / "batches.meta.txt").write_text("cat\ndog\n")
    with pytest.raises(ValueError, match="must name 10 classes, got 2"):
        load_images("cifar10", tmp_path)

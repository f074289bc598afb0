"""Folders of image files: what is listed, what is read, and clear refusals."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bbtheory.train import FolderBatches, MissingDataError, load_image_folder
from bbtheory.train.data_image_folders import read_image

PIL = pytest.importorskip("PIL.Image")


def write_folder(root: Path) -> None:
    for part, n in (("train", 3), ("val", 2)):
        for label, name in enumerate(("ant", "bee")):
            folder = root / "insects" / part / name
            folder.mkdir(parents=True)
            for i in range(n):
                shade = 40 * i + 100 * label
                PIL.new("RGB", (12, 8), (shade, shade, 255 - shade)).save(folder / f"{i}.png")
            (folder / "notes.txt").write_text("no image")


def test_a_folder_is_listed_and_read(tmp_path):
    write_folder(tmp_path)
    data = load_image_folder("insects", tmp_path, size=4)
    assert data.class_names == ("ant", "bee")
    assert data.y_train.tolist() == [0, 0, 0, 1, 1, 1]
    assert [path.name for path in data.test_paths] == ["0.png", "1.png"] * 2
    assert read_image(data.train_paths[1], 4).tolist() == np.stack(
        [np.full((4, 4), shade) for shade in (40, 40, 215)]
    ).tolist()  # fmt: skip


def test_batches_of_files(tmp_path):
    write_folder(tmp_path)
    data = load_image_folder("insects", tmp_path, size=4)
    batches = FolderBatches(data.train_paths, data.y_train, 4, size=4, seed=1)
    assert len(batches) == len(list(batches(0))) == 2
    x, y = (torch.cat(parts) for parts in zip(*batches.in_order(), strict=True))
    assert (x.shape, x.dtype) == ((6, 3, 4, 4), torch.float32)
    assert torch.equal(y, torch.from_numpy(data.y_train))
    assert x[1, 0, 0, 0] == pytest.approx(40 / 255)
    orders = [torch.cat([y for _, y in batches(epoch)]).tolist() for epoch in (0, 0, 1, 2)]
    assert orders[0] == orders[1]
    assert any(order != orders[0] for order in orders[2:])


def test_bad_folders(tmp_path, monkeypatch):
    with pytest.raises(MissingDataError, match="lacks train: put the folders insects/train/CLASS"):
        load_image_folder("insects", tmp_path)
    write_folder(tmp_path)
    (tmp_path / "insects" / "val" / "wasp").mkdir()
    with pytest.raises(ValueError, match="must have the classes of the training images, got 'wasp'"):
        load_image_folder("insects", tmp_path)
    (tmp_path / "insects" / "val" / "wasp").rmdir()
    (tmp_path / "empty" / "train" / "ant").mkdir(parents=True)
    with pytest.raises(MissingDataError, match="lacks val"):
        load_image_folder("empty", tmp_path)
    (tmp_path / "empty" / "test").mkdir()
    with pytest.raises(ValueError, match=r"must hold image files .* got none"):
        load_image_folder("empty", tmp_path)
    with pytest.raises(ValueError, match="size must be an integer"):
        load_image_folder("insects", tmp_path, size=0)
    path = tmp_path / "insects" / "train" / "ant" / "0.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"0\.png must be an image file"):
        read_image(path, 4)
    with pytest.raises(ValueError, match="paths and labels must be equally many"):
        FolderBatches([path], np.zeros(2), 1, size=4)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pip install pillow"):
        read_image(path, 4)

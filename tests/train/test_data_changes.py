import hashlib
import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
from bbtheory.train import MissingDataError, TileBatches, load_changes, siamese_reach, split_blocks
from bbtheory.train import data_changes as module

Image = pytest.importorskip("PIL.Image")
PARTS = ("train", "validation", "test")


def scene(size=40, seed=0):
    rng = np.random.default_rng(seed)
    before, after = rng.integers(0, 256, (2, 6, size, size), dtype=np.uint8)
    return before, after, rng.choice([0, 1, 255], (size, size)).astype(np.uint8)


@pytest.fixture
def pack(monkeypatch):
    arrays = dict(zip(("t1_2000", "t2_2003", "label"), scene(), strict=True))
    digest = hashlib.sha256(b"".join(a.tobytes() for a in arrays.values())).hexdigest()
    monkeypatch.setattr(module, "CHECKSUM", digest)
    return arrays


def write_folder(root, n=3, size=24, white=255):
    rng = np.random.default_rng(0)
    kept = {}
    for part in ("train", "val", "test"):
        for kind in ("A", "B", "label"):
            (root / part / kind).mkdir(parents=True)
        for i in range(n):
            triple = [
                *rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8),
                rng.integers(0, 2, (size, size), dtype=np.uint8) * white,
            ]
            for kind, image in zip(("A", "B", "label"), triple, strict=True):
                Image.fromarray(image.astype(np.uint8)).save(root / part / kind / f"{part}_{i}.png")
            kept[part, i] = triple
    return kept


# the split


@pytest.mark.parametrize("margin", [0, 1, 5, 9])
@pytest.mark.parametrize("layout", [("tv", "te"), ("et", "vt"), ("tve",), ("t.t", "v.e", "t.t")])
def test_no_receptive_field_holds_a_training_label(margin, layout):
    label = scene()[2]
    labels, blocks = split_blocks(label, layout, margin)
    for held_out, trained in (("test", "train"), ("test", "validation"), ("validation", "train")):
        used = labels[trained] != 255
        for row, column in np.argwhere(labels[held_out] != 255):
            around = used[
                max(row - margin, 0) : row + margin + 1, max(column - margin, 0) : column + margin + 1
            ]
            assert not around.any()
    # what is left is as labelled, and no pixel is of two parts
    kept = np.stack([labels[part] != 255 for part in PARTS])
    assert kept.sum(0).max() == 1
    for part in PARTS:
        here = labels[part] != 255
        np.testing.assert_array_equal(labels[part][here], label[here])
        assert sum(h * w for _, _, h, w in blocks[part]) >= here.sum()
    # the test part keeps all of its labels
    inside = np.zeros(label.shape, bool)
    for top, left, height, width in blocks["test"]:
        inside[top : top + height, left : left + width] = True
    np.testing.assert_array_equal(labels["test"], np.where(inside, label, 255))


def test_a_margin_too_small_would_show():
    # negative control: with a margin of 4, fields of 5 hold training labels
    labels, _ = split_blocks(np.ones((20, 20), np.uint8) * (np.arange(20) % 2 == 0), ("te", "tv"), 4)
    rows, columns = np.nonzero(labels["test"] != 255)
    trained = labels["train"] != 255
    assert any(trained[r, max(c - 5, 0) : c + 6].any() for r, c in zip(rows, columns, strict=True))
    assert not any(trained[r, max(c - 4, 0) : c + 5].any() for r, c in zip(rows, columns, strict=True))


@pytest.mark.parametrize(
    ("layout", "margin", "match"),
    [
        ((), 0, "layout must be rows of equal length"),
        (("tv", "e"), 0, "layout must be rows of equal length"),
        (
            ("tv", "tv"),
            0,
            "layout must give the test part labels of change and of none at margin 0, got 0 and 0",
        ),
        (("tv", "te"), 20, "layout must give the train part labels"),
        (("tv", "te"), -1, "margin must be an integer"),
    ],
)
def test_bad_splits(layout, margin, match):
    with pytest.raises(ValueError, match=match):
        split_blocks(scene()[2], layout, margin)


# loaders


def test_pack(pack, tmp_path, monkeypatch):
    np.savez(tmp_path / "change_landsat_taizhou.npz", **pack)
    monkeypatch.setenv("BBTHEORY_DATA", str(tmp_path))
    found = load_changes("change_landsat_taizhou", tile=8, stride=6, margin=3)
    assert (found.name, found.n_bands, found.checksum) == ("change_landsat_taizhou", 6, module.CHECKSUM)
    # training tiles lie within their quadrants, here the right half; two quadrants of 3 x 3 tiles
    assert len(found.train) == 2 * 9
    assert (found.train.windows[:, 2] >= 20).all()
    assert (found.train.windows[:, 2] + found.train.windows[:, 4] <= 40).all()
    before, after, label = found.train.stack([0, 17])
    assert before.shape == after.shape == (2, 6, 8, 8)
    assert label.shape == (2, 8, 8)
    np.testing.assert_array_equal(before[0], pack["t1_2000"][:, :8, 20:28])
    # the test tile is its quadrant and what lies around as far as the network sees
    assert found.test.windows.tolist() == [[0, 0, 0, 23, 23]]
    before, after, label = found.test.tile(0)
    np.testing.assert_array_equal(after, pack["t2_2003"][:, :23, :23])
    np.testing.assert_array_equal(label[:20, :20], pack["label"][:20, :20])
    assert (label[20:] == 255).all()
    assert (label[:, 20:] == 255).all()
    half = np.stack([pack["t1_2000"], pack["t2_2003"]])[..., 20:].astype(float)
    np.testing.assert_allclose(found.mean, half.mean((0, 2, 3)))
    np.testing.assert_allclose(found.scale, half.std((0, 2, 3)))


def test_generated_pair():
    found = load_changes(tile=16, margin=siamese_reach((1, 1)))
    again = load_changes(tile=16, margin=siamese_reach((1, 1)))
    for part in PARTS:
        label = getattr(found, part).tile(0)[2]
        np.testing.assert_array_equal(label, getattr(again, part).tile(0)[2])
    label = found.test.tile(0)[2]
    assert 0.5 < np.mean(label == 255) < 0.95
    assert (label == 1).sum() > 20


@pytest.mark.parametrize("white", [1, 255])
def test_folder_in_the_form_of_levir(tmp_path, white):
    kept = write_folder(tmp_path / "LEVIR-CD", white=white)
    found = load_changes("levir_cd", tmp_path, tile=16, stride=8)
    assert (found.name, found.n_bands) == ("LEVIR-CD", 3)
    # cut, not resized: 2 x 2 windows a side, the last ones flush with the end
    assert (len(found.train), len(found.validation), len(found.test)) == (12, 12, 12)
    assert found.test.windows[:4].tolist() == [
        [0, 0, 0, 16, 16],
        [0, 0, 8, 16, 16],
        [0, 8, 0, 16, 16],
        [0, 8, 8, 16, 16],
    ]
    before, after, label = found.test.tile(7)
    a, b, change = kept["test", 1]
    np.testing.assert_array_equal(before, a[8:, 8:].transpose(2, 0, 1))
    np.testing.assert_array_equal(after, b[8:, 8:].transpose(2, 0, 1))
    np.testing.assert_array_equal(label, change[8:, 8:] > 0)
    by_path = load_changes(tmp_path / "LEVIR-CD", tile=24)
    assert len(by_path.train) == 3
    assert load_changes("LEVIR-CD", tmp_path, tile=24).test.windows.shape == (3, 5)


def test_missing_data_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"put change_landsat_taizhou.npz .*BBTHEORY_DATA"):
        load_changes("change_landsat_taizhou")
    with pytest.raises(MissingDataError, match=r"change_landsat_taizhou.npz is not there"):
        load_changes("change_landsat_taizhou", tmp_path)
    with pytest.raises(MissingDataError, match=r"put LEVIR-CD's folders .*BBTHEORY_DATA"):
        load_changes("levir_cd")
    with pytest.raises(MissingDataError, match=r"levir_cd is not there: name one of generated"):
        load_changes("levir_cd", tmp_path)
    root = tmp_path / "set"
    write_folder(root)
    (root / "val/B/val_0.png").unlink()
    with pytest.raises(MissingDataError, match=r"val must have each image in A, B and label, got val_0.png"):
        load_changes("set", tmp_path, tile=8)
    for path in (root / "train/A").iterdir():
        path.unlink()
    with pytest.raises(MissingDataError, match=r"A must hold images, got none"):
        load_changes("set", tmp_path, tile=8)
    (root / "train/A").rmdir()
    with pytest.raises(MissingDataError, match=r"A is not there: LEVIR-CD has A, B and label"):
        load_changes("set", tmp_path, tile=8)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda a: a | {"label": np.where(a["label"] == 1, 2, a["label"]).astype(np.uint8)},
            "labels must be one of 0, 1, 255, got 2",
        ),
        (lambda a: a | {"label": a["label"][1:]}, "both dates and the label must show the same pixels"),
        (lambda a: a | {"t2_2003": a["t2_2003"][:5]}, "both dates and the label must show the same pixels"),
        (lambda a: a | {"t2_2003": a["t1_2000"]}, "must be the original change_landsat_taizhou"),
        (lambda a: a | {"t1_2000": a["t1_2000"] / 2}, "t1_2000 must be uint8 with 3 axes"),
        (lambda a: {"label": a["label"]}, "it has no array 't1_2000'"),
    ],
)
def test_damaged_packs(pack, tmp_path, change, match):
    np.savez(tmp_path / "change_landsat_taizhou.npz", **change(pack))
    with pytest.raises(ValueError, match=match):
        load_changes("change_landsat_taizhou", tmp_path, tile=8)


def test_damaged_folders(pack, tmp_path):
    path = tmp_path / "change_landsat_taizhou.npz"
    np.savez(path, **pack)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="must be an npz file"):
        load_changes("change_landsat_taizhou", tmp_path, tile=8)
    root = tmp_path / "set"
    write_folder(root, white=7)
    found = load_changes("set", tmp_path, tile=8)
    with pytest.raises(ValueError, match=r"train_0.png: labels must be one of 0, 1, 255, got 7"):
        found.train.tile(0)
    Image.new("RGB", (24, 20)).save(root / "train/B/train_1.png")
    with pytest.raises(ValueError, match=r"train_1.png, B/ and label/ must show the same pixels"):
        found.train.tile(10)
    (root / "train/A/train_2.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match=r"train_2.png must be an image file"):
        found.train.tile(20)
    with pytest.raises(ValueError, match=r"tile must be at most the block's 24 x 24 pixels, got 25"):
        load_changes("set", tmp_path, tile=25)


# batches


def test_batches_are_the_tiles_turned_alike():
    changes = load_changes(tile=16)
    plain = TileBatches(changes, 5, turn=False, seed=1)
    assert len(plain) == -(-len(changes.train) // 5)
    for turned, kept in zip(TileBatches(changes, 5, seed=1)(2), plain(2), strict=True):
        for (before, after, label), (before0, after0, label0) in zip(
            zip(*turned, strict=True), zip(*kept, strict=True), strict=True
        ):
            fits = [
                (k, flip)
                for k in range(4)
                for flip in (False, True)
                if all(
                    np.array_equal(
                        a.numpy(),
                        np.flip(np.rot90(b.numpy(), k, (-2, -1)), -1)
                        if flip
                        else np.rot90(b.numpy(), k, (-2, -1)),
                    )
                    for a, b in ((before, before0), (after, after0), (label, label0))
                )
            ]
            assert len(fits) == 1
    values = np.concatenate([b.numpy() for b, _, _ in plain(0)])
    assert abs(values.mean()) < 0.3
    first, second = (
        np.concatenate([x.numpy() for x, _, _ in TileBatches(changes, 5, seed=1)(e)]) for e in (0, 0)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(
        first, np.concatenate([x.numpy() for x, _, _ in TileBatches(changes, 5, seed=1)(1)])
    )
    with pytest.raises(ValueError, match="batch must be an integer"):
        TileBatches(changes, 0)


@pytest.mark.data
def test_measured_pair_is_the_original():
    reach = siamese_reach((2, 2))
    found = load_changes("change_landsat_taizhou", tile=64, stride=32, margin=reach)
    label = found.test.tile(0)[2]
    assert ((label == 1).sum(), (label == 0).sum()) == (1115, 3102)

import hashlib
import importlib.util
import sys

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
from bbtheory.train import Faces, MissingDataError, load_faces, split_faces
from bbtheory.train import data_faces as module
from bbtheory.train.image_files import ImageFiles, shrink

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def pack(monkeypatch):
    """A stand-in for the pack: 6 characters of 2 alphabets, 4 drawers, 7 x 7 pixels, with its checksum."""
    rng = np.random.default_rng(0)
    images = (rng.random((24, 7, 7)) < 0.3).astype(np.uint8)
    arrays = {
        "images_packed": np.packbits(images.reshape(24, 49), axis=1),
        "shape": np.array([24, 7, 7]),
        "identity": np.repeat(np.arange(6, dtype=np.int16), 4),
        "drawer": np.tile(np.arange(4, dtype=np.uint8), 6),
        "alphabet": np.repeat(np.array([0, 0, 1, 1, 1, 1], np.uint8), 4),
        "alphabet_names": np.array(["Greek", "Latin"]),
    }
    parts = b"".join(arrays[name].tobytes() for name in ("images_packed", "identity", "drawer"))
    monkeypatch.setattr(module, "CHECKSUM", hashlib.sha256(parts).hexdigest())
    return images, arrays


def write_folders(root, images, identity, negative=False, suffix="png"):
    for who in np.unique(identity):
        folder = root / f"A{who // 3}" / f"character{who % 3:02d}"
        folder.mkdir(parents=True)
        for i, image in enumerate(images[identity == who]):
            grey = Image.fromarray((255 * image).astype(np.uint8))
            if negative:  # one bit, black on white, as Omniglot is published
                grey = grey.point(lambda v: 255 - v).convert("1")
            grey.save(folder / f"{i:04d}_{i + 1:02d}.{suffix}")


def test_the_bundled_stand_in():
    faces = load_faces()
    assert isinstance(faces, Faces)
    assert (faces.name, faces.images.shape, faces.n_identities) == ("digits", (1797, 1, 8, 8), 10)
    assert faces.images.max() == 255
    for who in range(10):
        own = faces.sample[faces.identity == who]
        assert own.tolist() == list(range(len(own)))
        assert faces.is_test[faces.identity == who].sum() == round(0.25 * len(own))
    assert load_faces("digits", size=4).images.shape == (1797, 1, 4, 4)


def test_pack_and_published_form_read_the_same(pack, tmp_path):
    images, arrays = pack
    np.savez(tmp_path / "omniglot_small.npz", **arrays)
    small = load_faces("omniglot_small", tmp_path, size=7)
    np.testing.assert_array_equal(small.images[:, 0], 255 * images)
    assert small.identity_names == (
        "Greek/character01",
        "Greek/character02",
        *(f"Latin/character0{i}" for i in range(1, 5)),
    )
    assert small.checksum == module.CHECKSUM
    write_folders(tmp_path / "omniglot", images, arrays["identity"], negative=True)
    files = load_faces("omniglot", tmp_path, size=7)
    np.testing.assert_array_equal(files.images[:], small.images)
    np.testing.assert_array_equal(files.identity, small.identity)
    np.testing.assert_array_equal(files.sample, small.sample)
    np.testing.assert_array_equal(files.is_test, small.sample == 3)
    assert files.identity_names[0] == "A0/character00"
    less = load_faces("omniglot", tmp_path, size=3)
    np.testing.assert_array_equal(less.images[:], load_faces("omniglot_small", tmp_path, size=3).images)


def test_any_folder_of_identities(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for who in ("ada", "bob", "cyd"):
        (tmp_path / "people" / who).mkdir(parents=True)
        for i in range(4):
            wide = rng.integers(0, 256, (6, 10, 3), dtype=np.uint8)
            Image.fromarray(wide).save(tmp_path / "people" / who / f"{i}.png")
    (tmp_path / "people" / "ada" / "notes.txt").write_text("no image")
    monkeypatch.setenv("BBTHEORY_DATA", str(tmp_path))
    faces = load_faces("people", size=6)
    assert isinstance(faces.images, ImageFiles)
    assert (faces.images.shape, len(faces.images)) == ((12, 3, 6, 6), 12)
    assert faces.identity_names == ("ada", "bob", "cyd")
    np.testing.assert_array_equal(faces.images[np.array([11])][0].transpose(1, 2, 0), wide[:, 2:8])
    assert load_faces(tmp_path / "people", size=5, grey=True).images[2:4].shape == (2, 1, 5, 5)
    black = ImageFiles(faces.images.paths, 6, negative=True)
    np.testing.assert_array_equal(black[:2], 255 - faces.images[:2])


def test_shrink_keeps_the_mean():
    images = np.random.default_rng(0).random((5, 105, 105)).astype(np.float32)
    small = shrink(images, 35)
    means = images.reshape(5, 35, 3, 35, 3).mean((2, 4))
    assert np.abs(small / 255 - means).max() <= 0.501 / 255
    assert abs(shrink(images, 40).mean() / 255 - images.mean()) < 1e-3
    assert (shrink(np.ones((1, 4, 4)), 9) == 255).all()


def test_split(pack):
    n, k = 20, 12
    identity = np.repeat(np.arange(k), n)
    faces = Faces(
        "x",
        np.zeros((n * k, 1, 1, 1), np.uint8),
        identity,
        np.tile(np.arange(n), k),
        tuple("abcdefghijkl"),
        "",
    )
    splits = {v: split_faces(faces, n_unseen=2, imbalance=5.0, validation=v, seed=3) for v in (False, True)}
    for validation, split in splits.items():
        known = set(identity[split.train])
        assert split.n_classes == len(known) == 8
        # unseen identities are seen by neither split's training
        others = {who for s in splits.values() for who in identity[s.unseen]}
        assert len(others) == 4
        assert not known & others
        assert not set(split.train) & set(split.held_out)
        assert not faces.is_test[split.train].any()
        assert faces.is_test[split.held_out].all() == (not validation)
        assert not validation or not faces.is_test[split.held_out].any()
        # a class is one identity, in both parts
        for label in range(8):
            who = set(identity[split.train[split.train_class == label]])
            assert who == set(identity[split.held_out[split.held_out_class == label]])
        assert split.counts.tolist() == sorted(split.counts, reverse=True)
        np.testing.assert_array_equal(np.bincount(split.train_class), split.counts)
        assert split.counts[0] == (11 if validation else 15)
        assert split.counts[-1] == round(split.counts[0] / 5)
        assert split.in_tail.tolist() == [False] * 6 + [True] * 2
    even = split_faces(faces, n_unseen=2)
    assert set(even.counts) == {15}
    assert set(identity[even.unseen]) != set(identity[splits[False].unseen])


def test_missing_data_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"put omniglot_small.npz .*BBTHEORY_DATA"):
        load_faces("omniglot_small")
    with pytest.raises(MissingDataError, match=r"omniglot_small.npz is not there"):
        load_faces("omniglot_small", tmp_path)
    with pytest.raises(MissingDataError, match=r"github.com/brendenlake/omniglot"):
        load_faces("omniglot", tmp_path)
    with pytest.raises(MissingDataError, match=r"nobody is not there: name one of digits, omniglot_small"):
        load_faces("nobody", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        MissingDataError, match="empty must hold a folder of images for each identity, at least 2, got 0"
    ):
        load_faces("empty", tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda a: a | {"drawer": a["drawer"] ^ 1}, "must be the original omniglot_small"),
        (lambda a: a | {"drawer": a["drawer"][:-1]}, "drawer must have 24 values"),
        (
            lambda a: a | {"shape": np.array([24, 8, 9])},
            r"images_packed must hold images of shape \(24, 8, 9\)",
        ),
        (
            lambda a: a | {"identity": a["identity"] * 2},
            "identity must number identities from 0 without gaps",
        ),
        (lambda a: a | {"identity": a["identity"] - 1}, "identity must number identities"),
        (lambda a: a | {"alphabet": a["alphabet"] + 1}, "alphabet must be below 2, got 2"),
        (lambda a: a | {"images_packed": a["images_packed"] / 2}, "images_packed must be uint8 with 2 axes"),
        (lambda a: {"shape": a["shape"]}, "it has no array 'images_packed'"),
    ],
)
def test_damaged_packs(pack, tmp_path, change, match):
    np.savez(tmp_path / "omniglot_small.npz", **change(pack[1]))
    with pytest.raises(ValueError, match=match):
        load_faces("omniglot_small", tmp_path)


def test_truncated_files(pack, tmp_path):
    path = tmp_path / "omniglot_small.npz"
    np.savez(path, **pack[1])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="must be an npz file"):
        load_faces("omniglot_small", tmp_path)
    write_folders(tmp_path / "f", pack[0], pack[1]["identity"])
    first = tmp_path / "f/A0/character00/0000_01.png"
    first.write_bytes(first.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"0000_01.png must be an image file"):
        load_faces("f", tmp_path)


def test_without_pillow(pack, tmp_path, monkeypatch):
    write_folders(tmp_path / "f", pack[0], pack[1]["identity"])
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="image files need Pillow: pip install pillow"):
        load_faces("f", tmp_path)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"n_unseen": 1}, "n_unseen must be an integer in"),
        ({"n_unseen": 4}, "n_unseen must leave 3 identities of 10 to train on, got 4 twice"),
        ({"n_unseen": 2, "imbalance": 0.5}, "imbalance must be a number in"),
        ({"n_unseen": 2, "seed": -1}, "seed must be an integer in"),
    ],
)
def test_bad_splits(settings, match):
    with pytest.raises(ValueError, match=match):
        split_faces(load_faces(), **settings)
    with pytest.raises(ValueError, match="size must be an integer"):
        load_faces(size=0)


def test_identities_with_too_few_samples():
    few = np.repeat(np.arange(10), 2)  # two of each: a quarter is none
    images = np.zeros((20, 1, 4, 4), np.uint8)
    faces = Faces("few", images, few, np.tile([0, 1], 10), tuple("abcdefghij"), "")
    with pytest.raises(ValueError, match="faces must have so many samples of the rare identities"):
        split_faces(faces, n_unseen=2)
    order = np.random.default_rng(0).permutation(10)  # as split_faces draws it: the unseen come first
    who = np.concatenate([np.repeat(order[2:], 8), order[:2]])
    sample = np.concatenate([np.tile(np.arange(8), 8), [0, 0]])
    faces = Faces("odd", np.zeros((66, 1, 4, 4), np.uint8), who, sample, tuple("abcdefghij"), "")
    with pytest.raises(ValueError, match="faces must have two samples of an unseen identity"):
        split_faces(faces, n_unseen=2)


@pytest.mark.data
def test_measured_set_is_the_original():
    faces = load_faces("omniglot_small")
    assert faces.images.shape == (4840, 1, 35, 35)
    assert faces.n_identities == 242
    np.testing.assert_array_equal(faces.is_test, faces.sample >= 15)

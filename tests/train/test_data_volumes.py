import importlib.util
import os
import sys

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
from bbtheory.train import MissingDataError, Volume, data_volumes, load_volume
from bbtheory.train.packs import verify

HAS_H5PY = importlib.util.find_spec("h5py") is not None
needs_h5py = pytest.mark.skipif(not HAS_H5PY, reason="needs h5py")
BACKGROUND = 2**64 - 1  # CREMI's


def pack(n=6, side=8):
    rng = np.random.default_rng(0)
    return {
        "raw": rng.integers(0, 256, (n, side, side), dtype=np.uint8),
        "labels": rng.choice(np.array(data_volumes.LABELS, np.uint8), (n, side, side)),
        "membrane": rng.integers(0, 2, (n, side, side), dtype=np.uint8),
        "synapse": rng.integers(0, 2, (n, side, side), dtype=np.uint8),
        "is_test": np.arange(n) >= n - 2,
    }


def write(folder, arrays, monkeypatch=None):
    np.savez(folder / "em_vnc_stack1.npz", **arrays)
    if monkeypatch is not None:
        import hashlib

        digest = hashlib.sha256(b"".join(a.tobytes() for a in arrays.values())).hexdigest()
        monkeypatch.setitem(data_volumes.CHECKSUMS, "em_vnc_stack1", digest)


# volumes


def test_the_generated_volume_needs_no_files(monkeypatch):
    monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    volume = load_volume()
    again = load_volume("generated")
    assert volume.raw.shape == volume.synapse.shape == (12, 48, 48)
    assert volume.checksum == again.checksum
    assert 0.005 < volume.prevalence < 0.05
    assert volume.synapse.any((1, 2)).all(), "every section holds some"
    with pytest.raises(ValueError, match="read-only"):
        volume.raw[0] = 0


def test_the_pack_is_read(tmp_path, monkeypatch):
    arrays = pack()
    write(tmp_path, arrays, monkeypatch)
    monkeypatch.setenv("BBTHEORY_DATA", str(tmp_path))
    for volume in (load_volume("em_vnc_stack1"), load_volume("em_vnc_stack1", tmp_path)):
        np.testing.assert_array_equal(volume.raw, arrays["raw"])
        np.testing.assert_array_equal(volume.synapse, arrays["synapse"] == 1)
        np.testing.assert_array_equal(volume.is_test, arrays["is_test"])


def test_coarser_averages_blocks():
    raw = np.zeros((1, 5, 4), np.uint8)
    raw[0, :2, :2] = [[0, 100], [100, 200]]
    synapse = np.zeros((1, 5, 4), bool)
    synapse[0, 0, :2] = synapse[0, 2, 2] = True  # half of one block, a quarter of another
    volume = Volume("x", raw, synapse, np.array([True]), (50.0, 4.0, 4.0), "")
    coarse = volume.coarser(2)
    np.testing.assert_array_equal(coarse.raw, [[[100, 0], [0, 0]]])
    np.testing.assert_array_equal(coarse.synapse, [[[True, False], [False, False]]])
    assert coarse.voxel_size == (50.0, 8.0, 8.0)
    np.testing.assert_array_equal(volume.coarser(1).raw, raw)
    for factor in (0, 5, 1.5):
        with pytest.raises(ValueError, match="factor must"):
            volume.coarser(factor)


def test_split_leaves_a_gap_before_what_is_held_out():
    split = load_volume().split(n_validation=2, gap=3)
    assert (split.train, split.validation, split.test) == (slice(0, 4), slice(7, 9), slice(9, 12))


def test_split_refuses_parts_that_cannot_be_used():
    volume = load_volume()
    with pytest.raises(ValueError, match=r"must leave a section to train on, got 6 and 3 of 9 sections"):
        volume.split(6, 3)
    for arguments in ((0, 1), (1, -1)):
        with pytest.raises(ValueError, match="must be an integer"):
            volume.split(*arguments)
    empty = Volume(
        "x", volume.raw, volume.synapse & ~volume.is_test[:, None, None], volume.is_test, (1, 1, 1), ""
    )
    with pytest.raises(
        ValueError, match="test sections of x must hold synapses and others, got a share of 0"
    ):
        empty.split(2, 1)


@pytest.mark.data
def test_the_measured_volume_is_the_original():
    volume = load_volume("em_vnc_stack1")
    assert volume.raw.shape == (20, 576, 576)
    np.testing.assert_array_equal(np.flatnonzero(volume.is_test), [16, 17, 18, 19])
    share = volume.synapse.mean((1, 2))
    # the shares that are stated of the set: 0.5-1.9 % in training sections but the last, 0.1-0.5 % in test
    assert 0.0045 < share[:15].min() < share[:15].max() < 0.02
    assert 0.001 < share[16:].min() < share[16:].max() < 0.0055
    raw = volume.raw.astype(float)
    assert raw[volume.synapse].mean() < raw[~volume.synapse].mean() - 50, "synapses are dark"


# what goes wrong


def test_missing_data_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    with pytest.raises(
        MissingDataError, match=r"put em_vnc_stack1\.npz \(arrays raw, .*figshare.*BBTHEORY_DATA"
    ):
        load_volume("em_vnc_stack1")
    with pytest.raises(MissingDataError, match=r"holds no em_vnc_stack1: put em_vnc_stack1\.npz"):
        load_volume("em_vnc_stack1", tmp_path)
    with pytest.raises(MissingDataError, match=r"holds no sample_A\.hdf: put the HDF5 file .*cremi\.org"):
        load_volume("sample_A.hdf", tmp_path)
    for name in ("stack2", 3, None):
        with pytest.raises(
            ValueError, match=r"name must be one of generated, em_vnc_stack1 or end with \.h5"
        ):
            load_volume(name, tmp_path)


BAD_PACKS = {
    "another height": (lambda a: a | {"labels": a["labels"][:, :-1]}, r"labels must have the shape of raw"),
    "fewer flags": (
        lambda a: a | {"is_test": a["is_test"][1:]},
        r"is_test must have the shape of raw, \(6,\)",
    ),
    "no section": (lambda a: {k: v[:0] for k, v in a.items()}, "raw must have the shape .* not empty"),
    "floats": (lambda a: a | {"raw": a["raw"] / 255}, "raw must be uint8 with 3 axes, got float64"),
    "one axis": (lambda a: a | {"raw": a["raw"].ravel()}, "raw must be uint8 with 3 axes"),
    "a code": (
        lambda a: a | {"labels": a["labels"] + np.uint8(1)},
        r"labels must be one of 0, 32, .*, got 1$",
    ),
    "a third class": (lambda a: a | {"synapse": a["synapse"] * 3}, "synapse must be one of 0, 1, got 3"),
    "test first": (lambda a: a | {"is_test": ~a["is_test"]}, "is_test must name the last sections"),
    "all test": (lambda a: a | {"is_test": a["is_test"] | True}, "is_test must name the last sections"),
    "a pickle": (lambda a: a | {"raw": np.array([{}])}, "must be an npz file"),
    "lacking": (lambda a: {k: v for k, v in a.items() if k != "synapse"}, "it has no array 'synapse'"),
    "another volume": (lambda a: a, "must be the original em_vnc_stack1: sha256"),
}


@pytest.mark.parametrize("case", BAD_PACKS)
def test_bad_packs(case, tmp_path):
    change, match = BAD_PACKS[case]
    write(tmp_path, change(pack()))
    with pytest.raises(ValueError, match=match) as error:
        load_volume("em_vnc_stack1", tmp_path)
    assert "\n" not in str(error.value)
    assert "em_vnc_stack1.npz" in str(error.value)


# CREMI files


def cremi(path, change=None, **arrays):
    import h5py

    raw = np.arange(5 * 6 * 7, dtype=np.uint8).reshape(5, 6, 7)
    clefts = np.full((5, 6, 7), BACKGROUND, np.uint64)
    clefts[1, 2, 3:5], clefts[4, 0, 0] = 17, 2**40
    with h5py.File(path, "w") as file:
        for name, array in ({"volumes/raw": raw, "volumes/labels/clefts": clefts} | arrays).items():
            if array is not None:
                file.create_dataset(name, data=array, chunks=array.ndim == 3 or None)
        if "volumes/raw" in file:
            file["volumes/raw"].attrs["resolution"] = (40.0, 4.0, 4.0)
        if change is not None:
            change(file)
    return raw, clefts


@needs_h5py
def test_cremi_files_are_read(tmp_path):
    raw, clefts = cremi(tmp_path / "sample_A.hdf")
    volume = load_volume("sample_A.hdf", tmp_path)
    np.testing.assert_array_equal(volume.raw, raw)
    np.testing.assert_array_equal(volume.synapse, clefts != BACKGROUND)
    assert volume.synapse.sum() == 3
    assert volume.voxel_size == (40.0, 4.0, 4.0)
    np.testing.assert_array_equal(volume.is_test, [False, False, False, False, True])


@needs_h5py
def test_a_volume_is_the_same_in_either_form(tmp_path):
    volume = load_volume()
    clefts = np.where(volume.synapse, np.uint64(7), np.uint64(BACKGROUND))
    cremi(tmp_path / "a.h5", **{"volumes/raw": volume.raw, "volumes/labels/clefts": clefts})
    again = load_volume("a.h5", tmp_path)
    np.testing.assert_array_equal(again.raw, volume.raw)
    np.testing.assert_array_equal(again.synapse, volume.synapse)
    assert again.checksum == volume.checksum


@needs_h5py
def test_zero_and_the_fill_value_are_background(tmp_path):
    def fill(file):
        del file["volumes/labels/clefts"]
        made = file.create_dataset("volumes/labels/clefts", (5, 6, 7), np.uint64, fillvalue=99)
        made[0], made[1, 0, 0] = 0, 5

    cremi(tmp_path / "a.h5", fill)
    assert load_volume("a.h5", tmp_path).synapse.sum() == 1


@needs_h5py
def test_labels_of_a_padded_volume_lie_at_their_offset(tmp_path):
    padded = np.random.default_rng(0).integers(0, 256, (9, 12, 12), dtype=np.uint8)

    def move(file):
        file["volumes/labels/clefts"].attrs["offset"] = (80.0, 12.0, 8.0)

    cremi(tmp_path / "padded.hdf5", move, **{"volumes/raw": padded})
    volume = load_volume("padded.hdf5", tmp_path)
    np.testing.assert_array_equal(volume.raw, padded[2:7, 3:9, 2:9])


@needs_h5py
def test_a_padded_volume_of_the_published_size_is_read_in_part(tmp_path):
    import h5py

    with h5py.File(tmp_path / "padded.hdf", "w") as file:  # chunks that are not written take no room
        raw = file.create_dataset(
            "volumes/raw", (200, 3072, 3072), np.uint8, chunks=(1, 256, 256), fillvalue=9
        )
        raw.attrs["resolution"] = (40.0, 4.0, 4.0)
        raw[37:42, 911:915, 911:919] = 5
        clefts = np.full((5, 4, 8), BACKGROUND, np.uint64)
        clefts[1, 1, 1] = 3
        labels = file.create_dataset("volumes/labels/clefts", data=clefts)
        labels.attrs["offset"] = (37 * 40.0, 911 * 4.0, 911 * 4.0)
    volume = load_volume("padded.hdf", tmp_path)
    assert (volume.raw == 5).all()
    assert volume.synapse.sum() == 1


def external(file):
    import h5py

    del file["volumes/raw"]
    file["volumes/raw"] = h5py.ExternalLink("/etc/other.h5", "raw")


def soft(file):
    import h5py

    del file["volumes/raw"]
    file["volumes/raw"] = h5py.SoftLink("/volumes/labels/clefts")


def stored_elsewhere(file):
    del file["volumes/raw"]
    made = [("/etc/passwd", 0, 210)]
    file.create_dataset("volumes/raw", (5, 6, 7), np.uint8, external=made)


def huge(file):
    for name, kind in ((RAW, np.uint8), (CLEFTS, np.uint64)):
        del file[name]
        file.create_dataset(name, (2000, 1000, 1000), kind, chunks=(1, 100, 100))


def at(offset, resolution=(40.0, 4.0, 4.0)):
    def change(file):
        file["volumes/labels/clefts"].attrs["offset"] = offset
        file["volumes/raw"].attrs["resolution"] = resolution

    return change


RAW, CLEFTS = "volumes/raw", "volumes/labels/clefts"
BAD_CREMI = {
    "no raw": (None, {RAW: None}, "it has no volumes/raw"),
    "no labels": (None, {CLEFTS: None}, "it has no volumes/labels/clefts"),
    "floats": (None, {RAW: np.zeros((5, 6, 7))}, "volumes/raw must be uint8, got float64"),
    "labels of floats": (None, {CLEFTS: np.zeros((5, 6, 7))}, "clefts must be integers, got float64"),
    "texts": (None, {RAW: np.full((5, 6, 7), b"x", object)}, "volumes/raw must be uint8, got object"),
    "two axes": (None, {RAW: np.zeros((6, 7), np.uint8)}, "a volume of three axes, got shape \\(6, 7\\)"),
    "empty": (None, {RAW: np.zeros((0, 6, 7), np.uint8)}, "a volume of three axes, got shape \\(0, 6, 7\\)"),
    "smaller": (None, {RAW: np.zeros((5, 6, 6), np.uint8)}, "clefts must lie within volumes/raw"),
    "a group": (None, {RAW: None, f"{RAW}/x": np.zeros(3)}, "a volume of three axes, got shape None"),
    "another file": (external, {}, "volumes/raw must lie in this file, got a link"),
    "a soft link": (soft, {}, "volumes/raw must lie in this file, got a link"),
    "stored elsewhere": (stored_elsewhere, {}, "must lie in this file, got one that is stored elsewhere"),
    "outside": (at((40.0, 0.0, 0.0)), {}, "clefts must lie within volumes/raw"),
    "between voxels": (at((0.0, 2.0, 0.0)), {}, "clefts must lie within volumes/raw"),
    "not a number": (at((np.nan, 0.0, 0.0)), {}, "offset must be finite numbers"),
    "no size": (at((40.0, 0.0, 0.0), (0.0, 4.0, 4.0)), {}, "resolution of volumes/raw must be three numbers"),
    "huge": (huge, {}, "clefts must need arrays of at most"),
    "two numbers": (at((40.0, 0.0)), {}, r"offset must have shape \(3,\)"),
}


@needs_h5py
@pytest.mark.parametrize("case", BAD_CREMI)
def test_bad_cremi_files(case, tmp_path):
    change, arrays, match = BAD_CREMI[case]
    cremi(tmp_path / "a.h5", change, **arrays)
    with pytest.raises(ValueError, match=match) as error:
        load_volume("a.h5", tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'a.h5'} must be an HDF5 file of")
    assert "\n" not in str(error.value)


@needs_h5py
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_truncated_cremi_files(share, tmp_path):
    path = tmp_path / "a.h5"
    cremi(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"a\.h5 must be an HDF5 file of") as error:
        load_volume("a.h5", tmp_path)
    assert "\n" not in str(error.value)


def test_without_h5py_the_error_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(os.urandom(100))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"a\.h5 is an HDF5 file, which needs h5py: pip install h5py"):
        load_volume("a.h5", tmp_path)


def test_verify_is_the_sha_of_all_parts():
    # of the empty text and of "abc": FIPS 180-2's example
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert verify("x", "x", [b"a", np.frombuffer(b"bc", np.uint8)], abc) == abc

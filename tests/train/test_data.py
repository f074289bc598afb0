import gzip
import hashlib
import importlib.util
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
from bbtheory.train import Dataset, MissingDataError, load_data
from bbtheory.train import data as module

STEMS = {part: names[0] for part, names in module._IDX_FILES.items()}


def idx_bytes(array):
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def small(monkeypatch):
    """A stand-in for MNIST of a few images, with its checksum, so that files can be written and read back."""
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (6, 3, 4), dtype=np.uint8),
        "y_train": rng.integers(0, 10, 6, dtype=np.uint8),
        "x_test": rng.integers(0, 256, (2, 3, 4), dtype=np.uint8),
        "y_test": rng.integers(0, 10, 2, dtype=np.uint8),
    }
    digest = hashlib.sha256(b"".join(a.tobytes() for a in arrays.values())).hexdigest()
    monkeypatch.setitem(module.CHECKSUMS, "mnist", digest)
    return arrays


def test_digits_need_no_files():
    digits = load_data("digits")
    assert isinstance(digits, Dataset)
    assert digits.x_train.shape == (1438, 8, 8)
    assert digits.x_test.shape == (359, 8, 8)
    assert digits.x_train.dtype == np.uint8
    assert digits.white == digits.x_train.max() == 16
    assert set(digits.y_test) == set(range(10))
    assert digits.class_names == tuple("0123456789")
    assert digits.checksum == module.CHECKSUMS["digits"]
    flat = digits.flat("test")
    assert flat.dtype == np.float32
    assert flat.shape == (359, 64)
    assert flat.max() == 1.0
    assert load_data().name == "digits"
    with pytest.raises(ValueError, match="read-only"):
        digits.x_train[0] = 0
    with pytest.raises(ValueError, match="part must be one of train, test"):
        digits.flat("valid")


@pytest.mark.parametrize("form", ["npz", "idx", "gz", "dotted", "torchvision"])
def test_every_form_reads_the_same(small, tmp_path, monkeypatch, form):
    if form == "npz":
        np.savez_compressed(tmp_path / "mnist.npz", **small)
    else:
        folder = tmp_path / ("MNIST/raw" if form == "torchvision" else "mnist")
        folder.mkdir(parents=True)
        for part, array in small.items():
            stem = module._IDX_FILES[part][1 if form == "dotted" else 0]
            if form == "gz":
                (folder / f"{stem}.gz").write_bytes(gzip.compress(idx_bytes(array)))
            else:
                (folder / stem).write_bytes(idx_bytes(array))
    by_argument = load_data("mnist", tmp_path)
    monkeypatch.setenv("BBTHEORY_DATA", str(tmp_path))
    by_environment = load_data("mnist")
    for loaded in (by_argument, by_environment):
        np.testing.assert_array_equal(loaded.x_train, small["x_train"])
        np.testing.assert_array_equal(loaded.y_test, small["y_test"])
        assert loaded.y_train.dtype == np.int64
        assert loaded.white == 255


def test_missing_data_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"put mnist.npz .*train-images-idx3-ubyte.*BBTHEORY_DATA"):
        load_data("mnist")
    with pytest.raises(MissingDataError, match=r"holds no fashion_mnist: put fashion_mnist\.npz"):
        load_data("fashion_mnist", tmp_path)
    with pytest.raises(FileNotFoundError, match="is not there"):
        load_data("mnist", tmp_path / "nowhere")
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / STEMS["x_train"]).write_bytes(b"")
    with pytest.raises(MissingDataError, match="lacks train-labels-idx1-ubyte, t10k-images"):
        load_data("mnist", tmp_path)


def test_other_data_under_the_right_name(small, tmp_path):
    small["x_train"][0, 0, 0] ^= 1  # one bit of one pixel
    np.savez(tmp_path / "mnist.npz", **small)
    with pytest.raises(ValueError, match=r"mnist.npz must be the original mnist: sha256 .*, got"):
        load_data("mnist", tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "must be an IDX file of bytes"),
        (b"\x89PNG\r\n\x1a\n", "must be an IDX file of bytes"),
        (b"\0\0\x0d\x01\0\0\0\x01", "must be an IDX file of bytes"),  # floats
        (b"\0\0\x08\x09", "must be an IDX file of bytes"),
        (b"\0\0\x08\x03\0\0", "ends in its header"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "must hold 5 bytes of data as its header .* says, got only 3"),
        (b"\0\0\x08\x01\0\0\0\x02abc", "got more"),
        (b"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "must hold less than"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_idx_files(tmp_path, content, match, packed):
    path = tmp_path / ("x.gz" if packed else "x")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=match):
        module.read_idx(path)


@pytest.mark.parametrize("damage", [slice(0, 60), slice(3, None)])
def test_damaged_gzip_files(tmp_path, damage):
    whole = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, (9, 9, 9))))
    path = tmp_path / "x.gz"
    path.write_bytes(whole[damage])
    with pytest.raises(ValueError, match="must be a whole gzip file"):
        module.read_idx(path)


@pytest.mark.parametrize(
    ("write", "match"),
    [
        (lambda p, a: p.write_bytes(b"\x00" * 100), "not a zip archive"),
        (lambda p, a: p.write_bytes(os.urandom(1000)), "not a zip archive"),
        (lambda p, a: np.savez(p, x_train=a["x_train"]), "no array 'y_train'; its arrays are x_train"),
        (
            lambda p, a: np.savez(p, **(a | {"x_test": a["x_test"] / 255.0})),
            "x_test must be uint8 with 3 axes, got",
        ),
        (lambda p, a: np.savez(p, **(a | {"y_test": a["x_test"]})), "y_test must be uint8 with 1 axis"),
        (lambda p, a: np.savez(p, **(a | {"x_test": np.array([{}])})), "must be an npz file"),  # a pickle
    ],
)
def test_damaged_npz_files(small, tmp_path, write, match):
    write(tmp_path / "mnist.npz", small)
    with pytest.raises(ValueError, match=match):
        load_data("mnist", tmp_path)


def test_unknown_name():
    with pytest.raises(ValueError, match="name must be one of digits, mnist, fashion_mnist, got 'cifar'"):
        load_data("cifar")


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_measured_sets_are_the_originals(name):
    data = load_data(name)
    assert data.x_train.shape == (60_000, 28, 28)
    assert data.x_test.shape == (10_000, 28, 28)
    assert data.checksum == module.CHECKSUMS[name]
    counts = np.bincount(data.y_test)
    assert counts.sum() == 10_000
    assert (counts == 1000).all() if name == "fashion_mnist" else counts[0] == 980


def test_without_torch_the_import_names_the_extra():
    code = "import sys; sys.modules['torch'] = None\nimport bbtheory.train"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert "ImportError: bbtheory.train needs torch: pip install 'bbtheory[train]'" in run.stderr


def test_import_is_lazy():
    code = "import bbtheory.train as t, sys; t.load_data; assert not {'torch', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    import bbtheory.train

    assert set(bbtheory.train.__all__) <= set(dir(bbtheory.train))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bbtheory.train.nothing

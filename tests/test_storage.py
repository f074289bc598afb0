"""Files that are damaged, and places with no room left to write."""

from __future__ import annotations

import errno
import io
import os
import struct
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest

from bbtheory import storage
from bbtheory.storage import read_npz, read_stored, write_stored

ARRAYS = {"a": np.arange(1200, dtype=np.uint8).reshape(40, 30), "b": np.linspace(0, 1, 50)}
METHODS = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED, "lzma": zipfile.ZIP_LZMA}


def member(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archive(members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def whole(method):
    return archive({name: member(array) for name, array in ARRAYS.items()}, METHODS[method])


def header(text):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def refused(path):
    """Return the one line that reading says; whatever is wrong, it is a ValueError."""
    with pytest.raises(ValueError) as error:  # noqa: PT011  # any message, as long as it is one line
        read_npz(path)
    message = str(error.value)
    assert message
    assert "\n" not in message
    return message


@dataclass(frozen=True)
class Later:
    """A record that has got a field since it was first written."""

    a: int
    b: np.ndarray | None = None


def test_a_field_that_came_later_may_be_absent():
    assert storage.restore(Later, {"a": 1}, {}) == Later(1)
    np.testing.assert_array_equal(
        storage.restore(Later, storage.store(Later(1, np.ones(3)), {}), {}).b, np.ones(3)
    )
    assert storage.restore(Later, {"a": 1, "b": None}, {}) == Later(1)


@pytest.mark.parametrize("stored", [{}, {"b": None}, {"a": 1, "c": None}, {"a": 1, "b": None, "c": None}])
def test_other_fields_may_not(stored):
    with pytest.raises(ValueError, match="must hold the fields a, b"):
        storage.restore(Later, stored, {})


@pytest.mark.parametrize("method", METHODS)
def test_whole_archives_are_read(tmp_path, method):
    path = tmp_path / "x.npz"
    path.write_bytes(whole(method))
    read = read_npz(path)
    assert list(read) == ["a", "b"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)
    assert list(read_npz(path, ["b"])) == ["b"]
    with pytest.raises(ValueError, match="it has no array 'c'; its arrays are a, b"):
        read_npz(path, ["a", "c"])


@pytest.mark.parametrize("method", METHODS)
def test_archives_cut_anywhere_are_refused(tmp_path, method):
    path = tmp_path / "x.npz"
    content = whole(method)
    for cut in sorted(
        {0, 1, 3, 30, 100, *range(0, len(content), max(len(content) // 40, 1)), len(content) - 1}
    ):
        path.write_bytes(content[:cut])
        refused(path)


@pytest.mark.parametrize("method", METHODS)
def test_flipped_bytes_are_refused_or_do_no_harm(tmp_path, method):
    path = tmp_path / "x.npz"
    content = whole(method)
    rng = np.random.default_rng(0)
    n_refused = 0
    for i in range(200):
        # half of them where the names, flags and sizes of members are
        at = rng.integers(len(content)) if i % 2 else len(content) - 1 - rng.integers(150)
        damaged = bytearray(content)
        damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read = read_npz(path)
        except ValueError:
            refused(path)
            n_refused += 1
            continue
        for name in set(read) & set(ARRAYS):  # a flip in a name or a date changes no array
            np.testing.assert_array_equal(read[name], ARRAYS[name])
    assert n_refused > 100


HEADERS = {
    "no end": b"{'descr': (\n",
    "nested": b"{'descr': '|u1', 'fortran_order': False, 'shape': " + b"(" * 3000 + b"\n",
    "no numbers": b"{'descr': '|u1', 'fortran_order': False, 'shape': (b'x', 'y'), }\n",
    "other keys": b"{b'descr': '|u1', 'order': False, 'shape': (3,), }\n",
    "larger than memory": b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999, 3), }\n",
    "larger than an integer": b"{'descr': '|u1', 'fortran_order': False, 'shape': (2"
    + b"0" * 40
    + b",), }\n",
    "negative": b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }\n",
    "longer than its data": b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999,), }\n",
    "objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
    "no type": b"{'descr': 'x9', 'fortran_order': False, 'shape': (1,), }\n",
}


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS)
def test_headers_that_lie_are_refused(tmp_path, text):
    path = tmp_path / "x.npz"
    path.write_bytes(archive({"a": header(text) + b"12345"}))
    refused(path)


def test_what_is_no_archive_of_arrays(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(member(ARRAYS["a"]))
    assert refused(path) == "it is not a zip archive"
    path.write_bytes(archive({"a": b"a text"}))
    assert refused(path) == "a is no array"
    np.savez(path, a=np.array([{}]))
    assert "pickle" in refused(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_npz(path)


def test_a_small_file_that_grows_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_LARGEST", 10_000)
    path = tmp_path / "x.npz"
    path.write_bytes(archive({"a": member(np.zeros(100_000, np.uint8))}, zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 1000
    assert refused(path) == "it must hold at most 10000 bytes, got 100128"


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a": ' + b"9" * 10_000 + b"}", b"\xff", b"{", b"1"])
def test_texts_that_are_no_records(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.json must be a JSON record"):
        read_stored(path)


# no room


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half_written(path, **_):
    path.write_bytes(b"PK\x03\x04 half")
    full()


@pytest.mark.parametrize(
    ("where", "what"),
    [("os.replace", full), ("np.savez_compressed", half_written)],
    ids=["renaming", "writing"],
)
def test_without_room_no_record_is_damaged(tmp_path, monkeypatch, where, what):
    path = tmp_path / "x.json"
    arrays = {"values": np.arange(3.0)}
    write_stored(path, {"n": 1}, arrays)
    with monkeypatch.context() as patched:
        patched.setattr(f"bbtheory.storage.{where}", what)
        with pytest.raises(OSError, match="No space left on device") as error:
            write_stored(path, {"n": 2}, {"values": np.arange(9.0)})
    assert error.value.errno == errno.ENOSPC
    assert error.value.filename in (str(path), str(path.with_suffix(".npz"))), "not a temporary file's name"
    assert not [p for p in tmp_path.iterdir() if "tmp" in p.name]
    if path.exists():  # where the rename failed it is gone, which is no damage: it is made again
        stored, back = read_stored(path)
        assert stored == {"n": 1}
        np.testing.assert_array_equal(back["values"], arrays["values"])
    assert path.exists() == (where != "os.replace")
    write_stored(path, {"n": 2}, {})
    assert read_stored(path) == ({"n": 2}, {})

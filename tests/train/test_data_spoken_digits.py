"""Recorded digits: both forms of the set, the tones, and every kind of damage."""

import importlib.util
import os
import wave
from dataclasses import fields

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
from bbtheory.train import MissingDataError, SpokenDigits, load_spoken_digits
from bbtheory.train import data_spoken_digits as module


def write_wav(path, samples, *, rate=8000, channels=1, width=2):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2").tobytes())


def small_arrays():
    """Two speakers, two digits, recordings 3 to 6: a stand-in for the pack, sorted as the pack is."""
    rng = np.random.default_rng(0)
    keys = [(d, s, i) for d in (0, 7) for s in (0, 1) for i in range(3, 7)]
    lengths = rng.integers(5, 20, len(keys))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    digits, speakers, index = (np.array(column, np.uint8) for column in zip(*keys, strict=True))
    return {
        "samples": rng.integers(-(2**15), 2**15, offsets[-1]).astype(np.int16),
        "offsets": offsets,
        "labels": digits,
        "speakers": speakers,
        "index": index,
        "is_test": index < 5,
        "speaker_names": np.array(["ann", "bob"]),
    }


@pytest.fixture
def small(monkeypatch):
    arrays = small_arrays()
    monkeypatch.setattr(module, "CHECKSUM", module._digest(arrays))
    return arrays


def write_folder(folder, arrays):
    folder.mkdir(parents=True)
    for i, digit in enumerate(arrays["labels"]):
        name = arrays["speaker_names"][arrays["speakers"][i]]
        part = arrays["samples"][arrays["offsets"][i] : arrays["offsets"][i + 1]]
        write_wav(folder / f"{digit}_{name}_{arrays['index'][i]}.wav", part)


@pytest.mark.parametrize(
    "form", ["pack", "recordings", "fsdd/recordings", "free-spoken-digit-dataset/recordings"]
)
def test_every_form_reads_the_same(small, tmp_path, monkeypatch, form):
    if form == "pack":
        np.savez_compressed(tmp_path / "fsdd_8khz.npz", **small)
    else:
        write_folder(tmp_path / form, small)
    by_argument = load_spoken_digits("fsdd", tmp_path)
    monkeypatch.setenv("BBTHEORY_DATA", str(tmp_path))
    for data in (by_argument, load_spoken_digits("fsdd")):
        for part in ("samples", "offsets", "labels", "speakers", "index", "is_test"):
            np.testing.assert_array_equal(getattr(data, part), small[part])
        assert data.speaker_names == ("ann", "bob")
        assert data.checksum == module.CHECKSUM
        assert data.is_test.sum() == 8
        one = data.waveform(3)
        assert one.dtype == np.float32
        np.testing.assert_array_equal(
            one * 32768, small["samples"][small["offsets"][3] : small["offsets"][4]]
        )
        with pytest.raises(ValueError, match="read-only"):
            data.samples[0] = 0


def test_a_folder_of_ones_own(small, tmp_path):
    write_folder(tmp_path / "mine" / "recordings", small)
    for folder in (tmp_path / "mine", tmp_path / "mine" / "recordings"):
        data = load_spoken_digits(folder)
        assert len(data) == 16
        assert data.name == "recordings"


def test_tones_need_no_files():
    tones = load_spoken_digits()
    assert isinstance(tones, SpokenDigits)
    assert len(tones) == 400
    assert tones.is_test.sum() == 100
    assert np.abs(tones.samples.astype(int)).max() < 32767
    again = load_spoken_digits("tones")
    for field in fields(tones):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(tones, field.name))
    assert not np.array_equal(module.spoken_tones(1).samples[:100], tones.samples[:100])
    with pytest.raises(ValueError, match="seed must be"):
        module.spoken_tones(-1)


def test_missing_data_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"put fsdd_8khz.npz .*recordings/.*BBTHEORY_DATA"):
        load_spoken_digits("fsdd")
    with pytest.raises(MissingDataError, match=r"holds no fsdd: put fsdd_8khz\.npz"):
        load_spoken_digits("fsdd", tmp_path)
    with pytest.raises(MissingDataError, match="is not there"):
        load_spoken_digits(tmp_path / "nowhere")
    (tmp_path / "recordings").mkdir()
    for name_or_folder in ("fsdd", tmp_path):
        with pytest.raises(MissingDataError, match=r"holds no recordings: put \{digit\}_\{speaker\}"):
            load_spoken_digits(name_or_folder, tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"samples": lambda a: a ^ 1}, "must be the original fsdd: sha256 .*, got"),
        ({"samples": lambda a: a.astype(np.float64)}, "samples must be int16 with 1 axis, got float64"),
        ({"labels": lambda a: a[:, None]}, "labels must be uint8 with 1 axis"),
        ({"labels": lambda a: a + 5}, "labels must be 0 to 9, got up to 12"),
        ({"labels": lambda a: a[:0]}, "speakers must have 0 entries as labels has, got 16"),
        ({"speakers": lambda a: a[1:]}, "speakers must have 16 entries as labels has, got 15"),
        ({"speakers": lambda a: a + 1}, "speakers must be below the 2 names, got 2"),
        ({"offsets": lambda a: a[:-1]}, "offsets must rise from 0 to .* in 17 entries, got 16"),
        ({"offsets": lambda a: a[::-1].copy()}, "offsets must rise from 0"),
        ({"offsets": lambda a: a + 1}, "offsets must rise from 0"),
        ({"speaker_names": lambda a: np.array([{}, {}])}, "must be an npz file"),  # a pickle
    ],
)
def test_damaged_packs(small, tmp_path, change, match):
    path = tmp_path / "fsdd_8khz.npz"
    np.savez(path, **(small | {name: edit(small[name]) for name, edit in change.items()}))
    with pytest.raises(ValueError, match=match):
        load_spoken_digits("fsdd", tmp_path)


def test_truncated_packs(small, tmp_path):
    path = tmp_path / "fsdd_8khz.npz"
    np.savez_compressed(path, **small)
    whole = path.read_bytes()
    for n in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match="must be an npz file"):
            load_spoken_digits("fsdd", tmp_path)


@pytest.mark.parametrize(
    ("write", "match"),
    [
        (lambda p: p.write_bytes(b""), "must be a whole WAV file: it ends in its header"),
        (lambda p: p.write_bytes(b"RIFF"), "must be a whole WAV file"),
        (lambda p: p.write_bytes(os.urandom(500)), "must be a whole WAV file"),
        (
            lambda p: write_wav(p, [1, 2], rate=16000),
            "must have 1 channel of 16 bits at 8000 Hz, got 1 of 16 at 16000",
        ),
        (lambda p: write_wav(p, [1, 2], channels=2), "got 2 of 16"),
        (lambda p: write_wav(p, [1, 2], width=1), "got 1 of 8"),
        (lambda p: write_wav(p, []), "must hold samples, 0 as its header says"),
    ],
)
def test_damaged_wav_files(tmp_path, write, match):
    path = tmp_path / "1_ann_0.wav"
    write(path)
    with pytest.raises(ValueError, match=match):
        load_spoken_digits(tmp_path)


def test_truncated_wav_files(tmp_path):
    path = tmp_path / "1_ann_0.wav"
    write_wav(path, np.arange(100))
    whole = path.read_bytes()
    for n in (30, 44, 100):
        path.write_bytes(whole[:n])
        with pytest.raises(
            ValueError, match=r"must be a whole WAV file|must hold samples, 100 as its header"
        ):
            load_spoken_digits(tmp_path)


@pytest.mark.parametrize("name", ["ann_1.wav", "11_ann_0.wav", "1_ann.wav", "1_ann_0_x.wav"])
def test_wrong_names(tmp_path, name):
    write_wav(tmp_path / name, [1])
    with pytest.raises(ValueError, match="must be named"):
        load_spoken_digits(tmp_path)


@pytest.mark.data
def test_the_measured_set_is_the_original():
    data = load_spoken_digits("fsdd")
    assert len(data) == 3000
    assert data.checksum == module.CHECKSUM
    assert (np.bincount(data.labels) == 300).all()
    assert (np.bincount(data.speakers) == 500).all()
    np.testing.assert_array_equal(data.is_test, data.index < 5)
    assert data.rate == 8000

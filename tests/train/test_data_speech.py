"""Recorded speech: both forms of the digits, LibriSpeech folders, the tones, and every kind of damage."""

import importlib.util
import os
import sys
import types
import wave
from dataclasses import fields

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
from bbtheory.train import MissingDataError, SpokenDigits, load_librispeech, load_spoken_digits
from bbtheory.train import data_speech as module


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


# LibriSpeech


def write_librispeech(folder, lines, flac=b"fLaC"):
    chapter = folder / "84" / "121"
    chapter.mkdir(parents=True)
    (chapter / "84-121.trans.txt").write_text("\n".join(lines) + "\n")
    for line in lines:
        (chapter / f"{line.split()[0]}.flac").write_bytes(flac)
    return chapter


LINES = ["84-121-0000 GO ON", "84-121-0001 DON'T"]


def test_librispeech_folders(tmp_path, monkeypatch):
    chapter = write_librispeech(tmp_path / "LibriSpeech" / "dev-clean", LINES)
    monkeypatch.setenv("BBTHEORY_DATA", str(tmp_path))
    found = [
        load_librispeech("dev-clean"),
        load_librispeech("dev-clean", tmp_path),
        load_librispeech("dev-clean", tmp_path / "LibriSpeech"),
        load_librispeech(tmp_path / "LibriSpeech" / "dev-clean"),
    ]
    for data in found:
        assert data.texts == ("GO ON", "DON'T")
        assert data.paths == (chapter / "84-121-0000.flac", chapter / "84-121-0001.flac")
        assert data.speakers == ("84", "84")
        assert data.name == "dev-clean"
        assert len(data) == 2


def test_flac_is_read_by_soundfile_or_asked_for(tmp_path, monkeypatch):
    write_librispeech(tmp_path / "part", LINES)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ImportError, match="pip install soundfile"):
        load_librispeech(tmp_path / "part").waveform(0)
    fake = types.ModuleType("soundfile")
    monkeypatch.setitem(sys.modules, "soundfile", fake)
    fake.read = lambda path, dtype: (np.zeros(9, dtype), 16000)
    assert load_librispeech(tmp_path / "part").waveform(1).shape == (9,)
    fake.read = lambda path, dtype: (np.zeros((9, 2), dtype), 16000)
    with pytest.raises(
        ValueError, match=r"84-121-0000.flac must have 1 channel at 16000 Hz, got shape \(9, 2\)"
    ):
        load_librispeech(tmp_path / "part").waveform(0)
    fake.read = lambda path, dtype: (np.zeros(9, dtype), 8000)
    with pytest.raises(ValueError, match="at 8000 Hz"):
        load_librispeech(tmp_path / "part").waveform(0)


def test_real_flac(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    chapter = write_librispeech(tmp_path / "part", LINES)
    wave_ = np.sin(np.arange(4000) / 7).astype(np.float32) / 2
    soundfile.write(str(chapter / "84-121-0000.flac"), wave_, 16000)
    data = load_librispeech(tmp_path / "part")
    np.testing.assert_allclose(data.waveform(0), wave_, atol=2.0**-15)  # 16 bits
    with pytest.raises(ValueError, match=r"84-121-0001.flac must be a whole FLAC file"):
        data.waveform(1)


@pytest.mark.parametrize("line", ["84-121-0000", "84-121-0000 go on", "../x GO", "84-121-0000 GO 2"])
def test_transcripts_of_another_form(tmp_path, line):
    chapter = write_librispeech(tmp_path / "part", LINES)
    (chapter / "84-121.trans.txt").write_text(line)
    with pytest.raises(ValueError, match="must hold lines 'NAME TEXT'"):
        load_librispeech(tmp_path / "part")
    (chapter / "84-121.trans.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="must be text"):
        load_librispeech(tmp_path / "part")


def test_missing_librispeech(tmp_path, monkeypatch):
    monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    with pytest.raises(
        MissingDataError, match=r"put LibriSpeech/dev-clean/SPEAKER/CHAPTER/\*\.flac.*BBTHEORY_DATA"
    ):
        load_librispeech("dev-clean")
    with pytest.raises(MissingDataError, match="holds no LibriSpeech dev-clean: put"):
        load_librispeech("dev-clean", tmp_path)
    with pytest.raises(MissingDataError, match="is not there"):
        load_librispeech(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match="holds no utterances"):
        load_librispeech(tmp_path / "empty")
    chapter = write_librispeech(tmp_path / "part", LINES)
    (chapter / "84-121-0001.flac").unlink()
    with pytest.raises(
        MissingDataError, match=r"84-121-0001.flac is not there, which 84-121.trans.txt names"
    ):
        load_librispeech(tmp_path / "part")


@pytest.mark.data
def test_the_measured_set_is_the_original():
    data = load_spoken_digits("fsdd")
    assert len(data) == 3000
    assert data.checksum == module.CHECKSUM
    assert (np.bincount(data.labels) == 300).all()
    assert (np.bincount(data.speakers) == 500).all()
    np.testing.assert_array_equal(data.is_test, data.index < 5)
    assert data.rate == 8000

"""LibriSpeech folders, and every kind of damage."""

import importlib.util
import sys
import types

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
from bbtheory.train import MissingDataError, load_librispeech


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

"""Recorded digits read from a folder, the Free Spoken Digit Dataset; tones in their place.

A folder of data holds either ``fsdd_8khz.npz`` or the published folder
``recordings/{digit}_{speaker}_{index}.wav``. Files are untrusted: nothing in them is executed, forms are
checked.
"""

from __future__ import annotations

import os
import re
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bbtheory.train.packs import MissingDataError, data_folder, read_pack, verify
from bbtheory.train.seeding import stream_seed

N_DIGITS = 10
N_TEST = 5  # recordings 0 to 4 of each speaker and digit are for testing, as the data set's authors have it
_RATE = 8000
_FULL_SCALE = 32768.0  # of 16-bit samples

_PACK = "fsdd_8khz.npz"
_ARRAYS = {
    "samples": ("int16", 1),
    "offsets": ("int64", 1),
    "labels": ("uint8", 1),
    "speakers": ("uint8", 1),
    "index": ("uint8", 1),
    "is_test": ("bool", 1),
    "speaker_names": ("str", 1),
}
# sha256 over the bytes of samples, offsets, labels, speakers, index, is_test, one after the other
CHECKSUM = "6466bfa933b0d35cfc6c126202971cb2ce3a09996f3fba1a682892acfd2d130d"
_VERIFIED = ("samples", "offsets", "labels", "speakers", "index", "is_test")
_FOLDERS = ("recordings", "fsdd/recordings", "free-spoken-digit-dataset/recordings")
_WAV = re.compile(r"(?P<digit>\d)_(?P<speaker>[A-Za-z][A-Za-z0-9-]*)_(?P<index>\d{1,4})")

_TONE_SECONDS = (0.08, 0.14)
_TONE_RECORDINGS = 20  # of each speaker and digit


@dataclass(frozen=True, eq=False)
class SpokenDigits:
    """Recordings of single digits, read-only; recording i is ``samples[offsets[i]:offsets[i + 1]]``.

    Attributes
    ----------
    name : str
    rate : int
        Samples per second.
    samples : ndarray, int16
        Of all recordings, one after the other.
    offsets : ndarray (n + 1,), int64
    labels : ndarray (n,), int64
        The digit spoken, 0 to 9.
    speakers : ndarray (n,), int64
        Place of the speaker in ``speaker_names``.
    index : ndarray (n,), int64
        Number of the recording among those of its speaker and digit.
    is_test : ndarray (n,), bool
        The official split: recordings 0 to 4 of each speaker and digit.
    speaker_names : tuple of str
    checksum : str
        sha256 of the arrays; verified where they come from the pack.
    """

    name: str
    rate: int
    samples: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    index: np.ndarray
    is_test: np.ndarray
    speaker_names: tuple[str, ...]
    checksum: str

    def __post_init__(self) -> None:
        for name in _VERIFIED:
            getattr(self, name).flags.writeable = False

    def __len__(self) -> int:
        return self.labels.size

    def waveform(self, i: int) -> np.ndarray:
        """Samples of one recording as float32 in [-1, 1)."""
        return self.samples[self.offsets[i] : self.offsets[i + 1]].astype(np.float32) / np.float32(
            _FULL_SCALE
        )


def load_spoken_digits(
    name_or_folder: str | os.PathLike[str] = "tones", data_root: str | os.PathLike[str] | None = None
) -> SpokenDigits:
    """Load recordings of single digits: by name, from a folder, or made up.

    Parameters
    ----------
    name_or_folder : str or path
        "fsdd": the Free Spoken Digit Dataset in the data folder, as the pack, which is verified by its
        checksum, or as published. "tones": no speech but a short tone per digit and made-up speaker, which
        needs no files. Anything else: a folder of ``{digit}_{speaker}_{index}.wav``, or one that holds such
        a folder ``recordings``.
    data_root : path, optional
        Folder of the data sets; None: the one BBTHEORY_DATA names.

    Returns
    -------
    SpokenDigits

    Raises
    ------
    MissingDataError
        If the folder or the data set is not there.
    ValueError
        If a file is damaged, not of its form, or other data than its name says.
    """
    if name_or_folder == "tones":
        return spoken_tones()
    if name_or_folder != "fsdd":
        folder = Path(name_or_folder)
        if not folder.is_dir():
            raise MissingDataError(
                f"the folder {folder} is not there: name one of {{digit}}_{{speaker}}_{{index}}.wav files, "
                '"fsdd" or "tones"'
            )
        inner = folder / "recordings"
        return _read_recordings(inner if inner.is_dir() else folder)
    wanted = (
        f"put {_PACK} (arrays {', '.join(_ARRAYS)}) or the published folder recordings/ "
        "(github.com/Jakobovski/free-spoken-digit-dataset)"
    )
    root = data_folder("fsdd", data_root, wanted)
    pack = root / _PACK
    if pack.is_file():
        return _read_pack(pack)
    for part in _FOLDERS:
        if (root / part).is_dir():
            return _read_recordings(root / part)
    raise MissingDataError(f"{root} holds no fsdd: {wanted} there")


def _read_pack(path: Path) -> SpokenDigits:
    arrays = read_pack(path, _ARRAYS)
    _check(path, arrays)
    checksum = verify(path, "fsdd", (arrays[name] for name in _VERIFIED), CHECKSUM)
    return _made("fsdd", arrays, checksum)


def _made(name: str, arrays: dict[str, np.ndarray], checksum: str) -> SpokenDigits:
    whole = {part: arrays[part].astype(np.int64) for part in ("labels", "speakers", "index")}
    return SpokenDigits(
        name=name,
        rate=_RATE,
        samples=arrays["samples"],
        offsets=arrays["offsets"],
        is_test=arrays["is_test"],
        speaker_names=tuple(str(speaker) for speaker in arrays["speaker_names"]),
        checksum=checksum,
        **whole,
    )


def _check(source: object, arrays: dict[str, np.ndarray]) -> None:
    """Refuse arrays that do not belong together."""
    n = arrays["labels"].size
    for name in ("speakers", "index", "is_test"):
        if arrays[name].size != n:
            raise ValueError(f"{source}: {name} must have {n} entries as labels has, got {arrays[name].size}")
    offsets, n_samples = arrays["offsets"], arrays["samples"].size
    if offsets.size != n + 1 or offsets[0] != 0 or offsets[-1] != n_samples or (np.diff(offsets) < 1).any():
        raise ValueError(
            f"{source}: offsets must rise from 0 to {n_samples} in {n + 1} entries, got {offsets.size}"
        )
    if n == 0 or arrays["labels"].max() >= N_DIGITS:
        raise ValueError(f"{source}: labels must be 0 to 9, got up to {arrays['labels'].max(initial=0)}")
    if arrays["speakers"].max() >= arrays["speaker_names"].size:
        raise ValueError(
            f"{source}: speakers must be below the {arrays['speaker_names'].size} names, got "
            f"{arrays['speakers'].max()}"
        )


def _read_recordings(folder: Path) -> SpokenDigits:
    found = []
    for path in folder.glob("*.wav"):
        match = _WAV.fullmatch(path.stem)
        if match is None:
            raise ValueError(f"{path} must be named {{digit}}_{{speaker}}_{{index}}.wav")
        found.append((int(match["digit"]), match["speaker"], int(match["index"]), path))
    if not found:
        raise MissingDataError(f"{folder} holds no recordings: put {{digit}}_{{speaker}}_{{index}}.wav there")
    found.sort()
    names = sorted({speaker for _, speaker, _, _ in found})
    index = np.array([i for _, _, i, _ in found], np.int64)
    arrays = _concatenated(
        [read_wav(path, _RATE) for *_, path in found],
        labels=[digit for digit, *_ in found],
        speakers=[names.index(speaker) for _, speaker, _, _ in found],
        index=index,
        is_test=index < N_TEST,
        speaker_names=names,
    )
    return _made(folder.name, arrays, _digest(arrays))


def read_wav(path: str | os.PathLike[str], rate: int) -> np.ndarray:
    """Read a WAV file of one channel of 16-bit samples at the given rate.

    Returns
    -------
    ndarray, int16

    Raises
    ------
    ValueError
        If it is another file, has another form, holds no sample, or ends early.
    OSError
        If it cannot be read.
    """
    try:
        with wave.open(os.fspath(path), "rb") as file:
            form = file.getnchannels(), 8 * file.getsampwidth(), file.getframerate()
            n = file.getnframes()
            data = file.readframes(n) if form == (1, 16, rate) else b""
    except (wave.Error, EOFError) as error:
        raise ValueError(
            f"{path} must be a whole WAV file: {str(error) or 'it ends in its header'}"
        ) from None
    if form != (1, 16, rate):
        raise ValueError(
            f"{path} must have 1 channel of 16 bits at {rate} Hz, got {form[0]} of {form[1]} at {form[2]}"
        )
    if n == 0 or len(data) != 2 * n:
        raise ValueError(f"{path} must hold samples, {n} as its header says, got {len(data) // 2}")
    return np.frombuffer(data, dtype="<i2").astype(np.int16)


def spoken_tones(seed: int = 0) -> SpokenDigits:
    """Make a stand-in for recordings of digits: no speech, a tone per digit with a voice per speaker.

    A digit is a pair of frequencies as on a telephone's keys, both scaled by the speaker's pitch, with two
    harmonics, noise, and a length that varies. Twenty recordings of each of two speakers and each digit.

    Parameters
    ----------
    seed : int
        >= 0.
    """
    rng = np.random.default_rng(stream_seed(seed, "tones"))
    pitches = {"high": 1.12, "low": 0.92}
    low, high = np.array([697.0, 770.0, 852.0, 941.0]), np.array([1209.0, 1336.0, 1477.0])
    waves, labels, speakers, index = [], [], [], []
    for digit in range(N_DIGITS):
        # 0 lies below 8 on the keys
        row, column = (3, 1) if digit == 0 else divmod(digit - 1, 3)
        for speaker, pitch in enumerate(pitches.values()):
            for i in range(_TONE_RECORDINGS):
                t = np.arange(int(_RATE * rng.uniform(*_TONE_SECONDS))) / _RATE
                scale = pitch * rng.normal(1.0, 0.01)
                tone = sum(
                    np.sin(2.0 * np.pi * k * f * scale * t + rng.uniform(0.0, 2.0 * np.pi)) / k
                    for f in (low[row], high[column])
                    for k in (1, 2)
                )
                envelope = np.sin(np.pi * np.arange(t.size) / t.size)
                tone = 0.2 * tone * envelope + rng.normal(0.0, 0.01, t.size)
                waves.append(np.round(_FULL_SCALE * np.clip(tone, -0.99, 0.99)).astype(np.int16))
                labels.append(digit)
                speakers.append(speaker)
                index.append(i)
    arrays = _concatenated(
        waves,
        labels=labels,
        speakers=speakers,
        index=index,
        is_test=np.array(index) < N_TEST,
        speaker_names=list(pitches),
    )
    return _made("tones", arrays, _digest(arrays))


def _concatenated(waves: Sequence[np.ndarray], **columns: Any) -> dict[str, np.ndarray]:
    offsets = np.cumsum([0, *(w.size for w in waves)], dtype=np.int64)
    return {"samples": np.concatenate(waves), "offsets": offsets} | {
        name: np.asarray(column) for name, column in columns.items()
    }


def _digest(arrays: dict[str, np.ndarray]) -> str:
    import hashlib

    kinds = {name: np.dtype(kind) for name, (kind, _) in _ARRAYS.items() if name in _VERIFIED}
    digest = hashlib.sha256()
    for name, kind in kinds.items():
        digest.update(arrays[name].astype(kind).tobytes())
    return digest.hexdigest()

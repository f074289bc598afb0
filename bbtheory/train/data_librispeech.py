"""Read speech with its transcripts, from a folder of LibriSpeech.

A folder of data holds ``LibriSpeech/PART/SPEAKER/CHAPTER`` with ``*.flac`` and one ``*.trans.txt``. Files are
untrusted: nothing in them is executed, forms are checked.
"""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bbtheory.train.packs import MissingDataError, data_folder

_TEXT = re.compile(r"[A-Z' ]+")


@dataclass(frozen=True, eq=False)
class ReadSpeech:
    """Utterances of LibriSpeech: their transcripts, and where their sound lies; sound is read when asked for.

    Attributes
    ----------
    name : str
        Of the folder.
    rate : int
        Samples per second.
    paths : tuple of Path
        One FLAC file per utterance.
    texts : tuple of str
        Capital letters, apostrophes and blanks.
    speakers : tuple of str
        Who speaks.
    """

    name: str
    rate: int
    paths: tuple[Path, ...]
    texts: tuple[str, ...]
    speakers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def _soundfile(self) -> Any:
        try:
            return importlib.import_module("soundfile")
        except ImportError:
            raise ImportError(
                "FLAC files are read by soundfile: pip install soundfile", name="soundfile"
            ) from None

    def waveform(self, i: int) -> np.ndarray:
        """Samples of one utterance as float32 in [-1, 1].

        Raises
        ------
        ImportError
            If soundfile is not installed.
        ValueError
            If the file is damaged, or has another rate or several channels.
        """
        path, soundfile = self.paths[i], self._soundfile
        try:
            data, rate = soundfile.read(str(path), dtype="float32")
        except RuntimeError as error:  # soundfile's own errors are
            raise ValueError(f"{path} must be a whole FLAC file: {error}") from None
        if data.ndim != 1 or rate != self.rate or data.size == 0:
            raise ValueError(
                f"{path} must have 1 channel at {self.rate} Hz, got shape {data.shape} at {rate} Hz"
            )
        return data


def load_librispeech(
    name_or_folder: str | os.PathLike[str], data_root: str | os.PathLike[str] | None = None
) -> ReadSpeech:
    """Load the transcripts of a part of LibriSpeech, and where its sound lies.

    Parameters
    ----------
    name_or_folder : str or path
        A part, such as "train-clean-100" or "dev-clean", in the data folder, in ``LibriSpeech/`` there or by
        itself; or its folder.
    data_root : path, optional
        Folder of the data sets; None: the one BBTHEORY_DATA names.

    Returns
    -------
    ReadSpeech
        In the order of speakers, chapters and utterances.

    Raises
    ------
    MissingDataError
        If the folder is not there or empty, or a FLAC file that a transcript names is not.
    ValueError
        If a transcript is not of its form.

    References
    ----------
    Panayotov et al. 2015, www.openslr.org/12.
    """
    folder = _librispeech_folder(name_or_folder, data_root)
    paths, texts, speakers = [], [], []
    for transcript in sorted(folder.glob("*/*/*.trans.txt")):
        try:
            lines = transcript.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{transcript} must be text: {error}") from None
        for line in lines:
            name, _, text = line.partition(" ")
            text = text.strip()
            if not re.fullmatch(r"[\w-]+", name) or not _TEXT.fullmatch(text):
                raise ValueError(
                    f"{transcript} must hold lines 'NAME TEXT' of capital letters, got {line[:60]!r}"
                )
            path = transcript.with_name(f"{name}.flac")
            if not path.is_file():
                raise MissingDataError(f"{path} is not there, which {transcript.name} names")
            paths.append(path)
            texts.append(text)
            speakers.append(transcript.parent.parent.name)
    if not paths:
        raise MissingDataError(
            f"{folder} holds no utterances: put SPEAKER/CHAPTER/*.flac and *.trans.txt there"
        )
    return ReadSpeech(folder.name, 16000, tuple(paths), tuple(texts), tuple(speakers))


def _librispeech_folder(
    name_or_folder: str | os.PathLike[str], data_root: str | os.PathLike[str] | None
) -> Path:
    name = os.fspath(name_or_folder)
    if os.sep in name or Path(name).is_dir():
        if not Path(name).is_dir():
            raise MissingDataError(f"the folder {name} is not there: name one of SPEAKER/CHAPTER folders")
        return Path(name)
    wanted = f"put LibriSpeech/{name}/SPEAKER/CHAPTER/*.flac and *.trans.txt (www.openslr.org/12)"
    root = data_folder(f"LibriSpeech {name}", data_root, wanted)
    for folder in (root / "LibriSpeech" / name, root / name):
        if folder.is_dir():
            return folder
    raise MissingDataError(f"{root} holds no LibriSpeech {name}: {wanted} there")

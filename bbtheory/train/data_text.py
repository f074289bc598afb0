"""Texts: read from a folder or a file, split in their order; and how frequent the words are that they hold.

A folder of data holds ``tinyshakespeare.txt`` (also ``input.txt`` in ``tinyshakespeare/`` or
``shakespeare_char/``), ``war_and_peace.txt``, and for WikiText-2 either the published ``wiki.train.tokens``,
``wiki.valid.tokens`` and ``wiki.test.tokens`` in ``wikitext-2/``, or ``wikitext2_valid.txt`` and
``wikitext2_test.txt``. Any other UTF-8 file is named by its path. Files are untrusted: nothing in them is
executed.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bbtheory import validate
from bbtheory.train.packs import MissingDataError, data_folder, verify

NAMES = ("descriptions", "tinyshakespeare", "war_and_peace", "wikitext2", "wikitext2_valid")
BUCKETS = ("head", "middle", "tail")

# where a text may lie in the folder; of several files one after the other the first is the training part
_FILES = {
    "tinyshakespeare": (
        ("tinyshakespeare.txt",),
        ("tinyshakespeare/input.txt",),
        ("shakespeare_char/input.txt",),
    ),
    "war_and_peace": (("war_and_peace.txt",), ("war_and_peace/war_and_peace.txt",)),
    "wikitext2": (
        ("wikitext-2/wiki.train.tokens", "wikitext-2/wiki.test.tokens"),
        ("wikitext2_train.txt", "wikitext2_test.txt"),
    ),
    "wikitext2_valid": (
        ("wikitext2_valid.txt", "wikitext2_test.txt"),
        ("wikitext-2/wiki.valid.tokens", "wikitext-2/wiki.test.tokens"),
    ),
}
# sha256 over the bytes of the files, one after the other; of those not named here any is taken
CHECKSUMS = {
    "tinyshakespeare": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    "war_and_peace": "d2774b951b40026908696b8c9b96d94c8f68669cfde41ca4ab709fe6856fd109",
    "wikitext2_valid": "ee8e179331812a9025fac9f2602faeb12e773d051d55ee6e50ce15da3bc784c1",
}
_LARGEST = 2**30  # bytes of one file: it is held in memory as a whole, four bytes a character
_TRAIN_SHARE = 0.9
_FEWEST = 100  # characters, of which a tenth of a tenth is still one
_DESCRIPTIONS = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_HEAD = 0.9  # quantile of the frequencies of word types above which a word is frequent


@dataclass(frozen=True)
class TextData:
    """A text cut into a training and a test part.

    Attributes
    ----------
    name : str
    train, test : str
        The first 90 % of the characters and the rest, or the parts as published.
    checksum : str
        sha256 of the files as verified; empty where any file is taken.
    """

    name: str
    train: str
    test: str
    checksum: str

    def for_tuning(self) -> TextData:
        """Return the training part alone, its last tenth held out in place of the test part."""
        train, test = _cut(self.train)
        return TextData(self.name, train, test, self.checksum)


def load_text(
    name_or_path: str | os.PathLike[str], data_root: str | os.PathLike[str] | None = None
) -> TextData:
    """Load a text by its name, or any UTF-8 file by its path.

    Parameters
    ----------
    name_or_path : str or path
        One of descriptions, tinyshakespeare, war_and_peace, wikitext2 and wikitext2_valid, or a path.
        descriptions needs no files: what scikit-learn says of its own data sets, 15,000 characters or so,
        which depend on its version. wikitext2_valid trains on the validation part of WikiText-2, a tenth of
        the training part. A path is told from a name by its having a folder or a suffix.
    data_root : path, optional
        Folder of the data sets (see the module's docstring); None: the one BBTHEORY_DATA names.

    Returns
    -------
    TextData

    Raises
    ------
    MissingDataError
        If no folder is given or the text is not there.
    ValueError
        If the name is unknown, or a file is no UTF-8 text, too short or too long, or other data than its name
        says.
    """
    path = Path(name_or_path)
    if path.suffix or len(path.parts) > 1:
        if not path.is_file():
            raise MissingDataError(f"there is no text file {path}: name one in UTF-8, or one of {_listed()}")
        return TextData(path.stem, *_cut(_decoded(path, _bytes(path)), path), "")
    name = validate.choice("name_or_path", str(name_or_path), NAMES)
    if name == "descriptions":
        return TextData(name, *_cut(_descriptions()), "")
    wanted = f"put {' and '.join(_FILES[name][0])}"
    root = data_folder(name, data_root, wanted)
    for files in _FILES[name]:
        paths = [root / file for file in files]
        if all(p.is_file() for p in paths):
            raw = [_bytes(p) for p in paths]
            checksum = ""
            if name in CHECKSUMS:
                checksum = verify(", ".join(map(str, paths)), name, raw, CHECKSUMS[name])
            parts = [_decoded(p, content) for p, content in zip(paths, raw, strict=True)]
            train, test = _cut(parts[0], paths[0]) if len(parts) == 1 else parts
            return TextData(name, train, test, checksum)
    raise MissingDataError(f"{root} holds no {name}: {wanted} there")


def word_buckets(data: TextData) -> np.ndarray:
    """Say of every character of the test part how frequent its word is in the training part.

    Words are runs of letters, apostrophes within included, without regard to case. Of the word types of the
    training part those more frequent than 90 % of the types are head, those above the median middle, the
    others tail; a word that the training part lacks is tail. Types of equal frequency share a bucket.

    Parameters
    ----------
    data : TextData

    Returns
    -------
    ndarray (n characters of the test part,), int8
        Index into `BUCKETS`; -1 for characters outside words.

    References
    ----------
    The buckets are those by which Budgeted Broadcast (arXiv 2510.01263) counts word errors; that equal
    frequencies share one is this project's.
    """
    validate.instance("data", data, TextData)
    counts = Counter(word.group().casefold() for word in _WORD.finditer(data.train))
    buckets = np.full(len(data.test), -1, np.int8)
    frequencies = np.array(list(counts.values()) or [0])
    head, middle = np.quantile(frequencies, [_HEAD, 0.5])
    for word in _WORD.finditer(data.test):
        n = counts[word.group().casefold()]
        buckets[word.start() : word.end()] = 0 if n > head else 1 if n > middle else 2
    return buckets


def _descriptions() -> str:
    from sklearn import datasets

    return "\n".join(getattr(datasets, f"load_{name}")().DESCR for name in _DESCRIPTIONS)


def _cut(text: str, source: object = "the text") -> tuple[str, str]:
    if len(text) < _FEWEST:
        raise ValueError(f"{source} must hold at least {_FEWEST} characters, got {len(text)}")
    at = int(_TRAIN_SHARE * len(text))
    return text[:at], text[at:]


def _bytes(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _LARGEST:
        raise ValueError(f"{path} must hold at most {_LARGEST} bytes, got {size}")
    return path.read_bytes()


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text: byte {error.start} is none") from None


def _listed() -> str:
    return ", ".join(NAMES)

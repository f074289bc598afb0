"""Texts as numbers: one for each character, or for each of the byte pairs that a training text is made of."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from bbtheory import validate

UNKNOWN = 0  # code of a character that the training text lacks
_REPLACEMENT = "\ufffd"
# a word with the blank before it, a run of signs, a run of blanks: pairs do not reach across
_PIECE = re.compile(r" ?\w+| ?[^\w\s]+|\s+")
_N_BYTES = 256


class Characters:
    """Vocabulary of the characters of a training text, in the order of their code points.

    Parameters
    ----------
    train : str

    Attributes
    ----------
    size : int
        Characters and one code for all that the training text lacks.

    Raises
    ------
    ValueError
        If the text is empty.
    """

    def __init__(self, train: str):
        if not validate.instance("train", train, str):
            raise ValueError("train must hold a character, got an empty text")
        self.points = np.unique(_code_points(train))
        self.size = len(self.points) + 1

    def encode(self, text: str) -> np.ndarray:
        """Return the code of each character, int64."""
        points = _code_points(text)
        at = np.searchsorted(self.points, points).clip(max=len(self.points) - 1)
        return np.where(self.points[at] == points, at + 1, UNKNOWN)

    def decode(self, codes: Iterable[int]) -> str:
        """Return the text of codes; U+FFFD where one stands for no character.

        Raises
        ------
        ValueError
            If a code is none of the vocabulary's.
        """
        return "".join(
            chr(self.points[c - 1]) if c != UNKNOWN else _REPLACEMENT for c in _known(codes, self.size)
        )

    def lengths(self, codes: np.ndarray) -> np.ndarray:
        """Return the characters of each code: one."""
        return np.ones(len(codes), np.int64)


class BytePairs:
    """Vocabulary of the 256 bytes and the pairs most frequent in a training text, merged one after the other.

    Every merge joins the pair of neighbouring codes that occurs most often within words (with the blank
    before them), runs of signs or of blanks; of equally frequent ones that of the lowest codes. Any text in
    UTF-8 has codes.

    Parameters
    ----------
    train : str
    size : int
        Codes in all, > 256; fewer where no pair occurs twice.

    Raises
    ------
    ValueError
        If the size is no integer above 256, or a text, here or later, is none that UTF-8 can hold.

    References
    ----------
    Gage 1994; Sennrich et al. 2016 (arXiv 1508.07909), algorithm 1.
    """

    def __init__(self, train: str, size: int = 512):
        size = validate.integer("size", size, "[257, inf)")
        self.merges: dict[tuple[int, int], int] = {}
        self.bytes = [bytes([b]) for b in range(_N_BYTES)]
        counts = Counter(_PIECE.findall(validate.instance("train", train, str)))
        pieces = [list(_utf_8(piece)) for piece in counts]
        weights = list(counts.values())
        frequency: Counter[tuple[int, int]] = Counter()
        holders: dict[tuple[int, int], set[int]] = defaultdict(set)  # pieces in which a pair occurs
        for i, codes in enumerate(pieces):
            for pair in pairwise(codes):
                frequency[pair] += weights[i]
                holders[pair].add(i)
        while len(self.bytes) < size and frequency:
            best = min(frequency, key=lambda pair: (-frequency[pair], pair))
            if frequency[best] < 2:
                break
            code = self.merges[best] = len(self.bytes)
            self.bytes.append(self.bytes[best[0]] + self.bytes[best[1]])
            for i in holders.pop(best):
                for pair in pairwise(pieces[i]):
                    frequency[pair] -= weights[i]
                    holders[pair].discard(i)
                pieces[i] = _merged(pieces[i], best, code)
                for pair in pairwise(pieces[i]):
                    frequency[pair] += weights[i]
                    holders[pair].add(i)
            frequency = +frequency  # without pairs that are no more
        self._known: dict[str, list[int]] = {}

    @property
    def size(self) -> int:
        """Codes."""
        return len(self.bytes)

    def encode(self, text: str) -> np.ndarray:
        """Return the codes of a text, int64."""
        codes: list[int] = []
        for piece in _PIECE.findall(validate.instance("text", text, str)):
            if piece not in self._known:
                self._known[piece] = self._split(piece)
            codes += self._known[piece]
        return np.array(codes, np.int64)

    def decode(self, codes: Iterable[int]) -> str:
        """Return the text of codes; U+FFFD where bytes make no character.

        Raises
        ------
        ValueError
            If a code is none of the vocabulary's.
        """
        return b"".join(self.bytes[c] for c in _known(codes, self.size)).decode("utf-8", errors="replace")

    def lengths(self, codes: np.ndarray) -> np.ndarray:
        """Return the characters that begin in each code."""
        begins = np.array([sum(b & 0xC0 != 0x80 for b in part) for part in self.bytes], np.int64)
        return begins[codes]

    def _split(self, piece: str) -> list[int]:
        codes = list(_utf_8(piece))
        while len(codes) > 1:
            none = len(self.bytes)
            pair = min(pairwise(codes), key=lambda pair: self.merges.get(pair, none))
            if pair not in self.merges:
                break
            codes = _merged(codes, pair, self.merges[pair])
        return codes


def _merged(codes: Sequence[int], pair: tuple[int, int], code: int) -> list[int]:
    """Put a code in place of a pair, from left to right."""
    merged: list[int] = []
    i = 0
    while i < len(codes):
        if i + 1 < len(codes) and (codes[i], codes[i + 1]) == pair:
            merged.append(code)
            i += 2
        else:
            merged.append(codes[i])
            i += 1
    return merged


def _known(codes: Iterable[int], size: int) -> Iterator[int]:
    """Yield codes, unless one is outside the vocabulary: a negative one would count from its end."""
    for code in codes:
        yield validate.integer("codes", code, f"[0, {size})")


def _utf_8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"text must be one that UTF-8 can hold, got half of a pair in {text!r}") from None


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(validate.instance("text", text, str).encode("utf-32-le", "surrogatepass"), np.uint32)

"""From recordings to what a network reads: connected digits, their features, padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.train.data_spoken_digits import N_DIGITS, SpokenDigits
from bbtheory.train.log_mel import LogMel, normalised
from bbtheory.train.seeding import stream_seed

_POOL = 8  # batches that are sorted by length together


def zipf(n: int, exponent: float) -> np.ndarray:
    """Probabilities of n ranks, p_r = r^-exponent / sum_s s^-exponent, r = 1, ..., n.

    Parameters
    ----------
    n : int
        >= 1.
    exponent : float
        >= 0; 0 makes all alike.

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """
    n = validate.integer("n", n, "[1, inf)")
    validate.room("n", n, n)
    weights = np.arange(1, n + 1) ** -validate.real("exponent", exponent, "[0, inf)")
    return weights / weights.sum()


@dataclass(frozen=True, eq=False)
class ConnectedDigits:
    """Utterances of several digits by one speaker each, as plans: which recordings, and the pauses between.

    Attributes
    ----------
    recordings : tuple of ndarray
        Recordings of each utterance, in the order of speaking.
    pauses : tuple of ndarray
        Samples of silence after each recording but the last.
    digits : tuple of tuple of int
        What is said.
    """

    data: SpokenDigits
    recordings: tuple[np.ndarray, ...]
    pauses: tuple[np.ndarray, ...]

    @property
    def digits(self) -> tuple[tuple[int, ...], ...]:
        """Digits of each utterance."""
        return tuple(tuple(int(d) for d in self.data.labels[chosen]) for chosen in self.recordings)

    def __len__(self) -> int:
        return len(self.recordings)

    def waveform(self, i: int) -> np.ndarray:
        """Samples of one utterance, float32."""
        parts = []
        for recording, pause in zip(self.recordings[i], [*self.pauses[i], 0], strict=True):
            parts += [self.data.waveform(int(recording)), np.zeros(pause, np.float32)]
        return np.concatenate(parts)


def connect_digits(
    data: SpokenDigits,
    n: int,
    *,
    pool: ArrayLike,
    probabilities: ArrayLike,
    n_digits: tuple[int, int] = (2, 5),
    pause: float = 0.1,
    seed: int = 0,
) -> ConnectedDigits:
    """Draw utterances: a speaker, a number of digits, the digits, and for each one recording of that speaker.

    Speakers and numbers of digits are uniform, digits independent of each other and of the speaker; a
    recording is drawn among those of the pool, anew each time.

    Parameters
    ----------
    data : SpokenDigits
    n : int
        Utterances, >= 1.
    pool : array_like of int
        Recordings that may be used.
    probabilities : array_like (10,)
        Of digits, relative.
    n_digits : (int, int)
        Fewest and most digits of an utterance, >= 1.
    pause : float
        Longest silence between two digits, seconds, >= 0; its length is uniform.
    seed : int
        >= 0.

    Raises
    ------
    ValueError
        If an argument is outside its domain, or a speaker of the pool lacks a digit that may be asked for.
    """
    n = validate.integer("n", n, "[1, inf)")
    if len(n_digits) != 2:
        raise ValueError(f"n_digits must be the fewest and the most, got {n_digits}")
    fewest = validate.integer("n_digits", n_digits[0], "[1, inf)")
    most = validate.integer("n_digits", n_digits[1], f"[{fewest}, inf)")
    p = validate.array("probabilities", probabilities, "[0, inf)", shape=(N_DIGITS,))
    if p.sum() == 0:
        raise ValueError("probabilities must have a value above 0, got none")
    longest = validate.real("pause", pause, "[0, inf)") * data.rate
    validate.room("pause", pause, longest)
    chosen = np.unique(np.asarray(pool, dtype=np.int64))
    if chosen.size == 0 or chosen[0] < 0 or chosen[-1] >= len(data):
        raise ValueError(f"pool must name recordings from 0 to {len(data) - 1}, got {chosen.size}")
    speakers = np.unique(data.speakers[chosen])
    takes = {
        (s, d): chosen[(data.speakers[chosen] == s) & (data.labels[chosen] == d)]
        for s in speakers
        for d in np.flatnonzero(p)
    }
    for (speaker, digit), found in takes.items():
        if found.size == 0:
            raise ValueError(f"pool must hold digit {digit} of {data.speaker_names[speaker]}, got none")
    rng = np.random.default_rng(stream_seed(seed, "connected"))
    recordings, pauses = [], []
    for _ in range(n):
        speaker = rng.choice(speakers)
        digits = rng.choice(N_DIGITS, size=rng.integers(fewest, most + 1), p=p / p.sum())
        recordings.append(np.array([rng.choice(takes[speaker, d]) for d in digits]))
        pauses.append(rng.uniform(0.0, longest, digits.size - 1).astype(np.int64))
    return ConnectedDigits(data, tuple(recordings), tuple(pauses))


@dataclass(frozen=True, eq=False)
class Utterances:
    """Features and targets of utterances.

    Attributes
    ----------
    features : tuple of tensor (n_frames, n_mels), float32 or float16
    targets : tuple of tensor (n_targets,), int64
        Symbols from 1; 0 is the blank of CTC.
    words : tuple of tuple of str
        What is said, for the word error rate.
    """

    features: tuple[torch.Tensor, ...]
    targets: tuple[torch.Tensor, ...]
    words: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.features)


class Source(Protocol):
    """Utterances whose sound can be asked for."""

    def __len__(self) -> int: ...

    def waveform(self, i: int) -> np.ndarray: ...


def features_of(
    source: Source,
    features: LogMel,
    words: Sequence[Sequence[str]],
    targets: Sequence[Sequence[int]],
    dtype: torch.dtype = torch.float32,
) -> Utterances:
    """Compute the features of utterances, normalised one by one.

    Parameters
    ----------
    source : such as `ConnectedDigits` or `ReadSpeech`
    features : LogMel
        At the rate of the source.
    words, targets : sequence of sequences
        Of each utterance, see `Utterances`.
    dtype : torch.dtype
        Of the features; torch.float16 for large sets.

    Raises
    ------
    ValueError
        If there are not as many words or targets as utterances.
    """
    if not len(source) == len(words) == len(targets):
        raise ValueError(
            f"words and targets must be as many as utterances, {len(source)}, got {len(words)} and "
            f"{len(targets)}"
        )
    return Utterances(
        tuple(normalised(features(source.waveform(i))).to(dtype) for i in range(len(source))),
        tuple(torch.tensor(list(symbols), dtype=torch.int64) for symbols in targets),
        tuple(tuple(said) for said in words),
    )


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def padded(utterances: Utterances, chosen: Sequence[int]) -> Batch:
    """Features (batch, frames, mels) with zeros behind, numbers of frames, targets, numbers of targets."""
    features = [utterances.features[i].float() for i in chosen]
    targets = [utterances.targets[i] for i in chosen]
    return (
        torch.nn.utils.rnn.pad_sequence(features, batch_first=True),
        torch.tensor([len(f) for f in features]),
        torch.nn.utils.rnn.pad_sequence(targets, batch_first=True),
        torch.tensor([len(t) for t in targets]),
    )


class SpeechBatches:
    """Padded batches of utterances of similar length, shuffled anew in every epoch.

    The order of epoch e follows from (seed, e) alone. Utterances are shuffled; eight batches of them at a
    time are sorted by length and cut into batches, which are shuffled again.

    Parameters
    ----------
    utterances : Utterances
    batch : int
        Utterances per batch, >= 1; one may be smaller.
    seed : int
        Of the order, >= 0.

    Raises
    ------
    ValueError
        If there is no utterance, or an argument is outside its domain.
    """

    def __init__(self, utterances: Utterances, batch: int, *, seed: int = 0):
        self.utterances = utterances
        self.batch = validate.integer("batch", batch, "[1, inf)")
        self.seed = validate.integer("seed", seed, "[0, inf)")
        if len(utterances) == 0:
            raise ValueError("utterances must hold one at least, got none")
        self.lengths = np.array([len(f) for f in utterances.features])

    def __len__(self) -> int:
        return -(-len(self.utterances) // self.batch)

    def __call__(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        rng = np.random.default_rng(stream_seed(self.seed, "order", epoch))
        order = rng.permutation(len(self.utterances))
        batches = []
        for i in range(0, order.size, _POOL * self.batch):
            pool = order[i : i + _POOL * self.batch]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[j : j + self.batch] for j in range(0, pool.size, self.batch)]
        for i in rng.permutation(len(batches)):
            yield padded(self.utterances, batches[i].tolist())

"""From recordings to what a network reads: connected digits, log-mel features, padded batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.train.data_speech import N_DIGITS, SpokenDigits
from bbtheory.train.seeding import stream_seed

_FLOOR = 1e-6  # added to powers before the logarithm; 16-bit noise of a unit windowed sine is far below
_LEAST_SPREAD = 1e-3  # nats: a band that never changes is not blown up by normalisation
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
    fewest = validate.integer("n_digits", n_digits[0], "[1, inf)")
    most = validate.integer("n_digits", n_digits[1], f"[{fewest}, inf)")
    p = validate.array("probabilities", probabilities, "[0, inf)", shape=(N_DIGITS,))
    if p.sum() == 0:
        raise ValueError("probabilities must have a value above 0, got none")
    longest = validate.real("pause", pause, "[0, inf)") * data.rate
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


# -- features


def mel_filter_bank(rate: int, n_fft: int, n_mels: int) -> torch.Tensor:
    """Triangular filters, equally spaced on the mel scale m(f) = 2595 log10(1 + f/700) from 0 to rate/2.

    Filter j rises from 0 at f_{j-1} to 1 at f_j and falls to 0 at f_{j+1}.

    Parameters
    ----------
    rate : int
        Samples per second.
    n_fft : int
        Length of the Fourier transform, >= 2; bin k lies at k rate/n_fft.
    n_mels : int
        >= 1.

    Returns
    -------
    tensor (n_fft // 2 + 1, n_mels), float32

    Raises
    ------
    ValueError
        If an argument is outside its domain, or a filter lies between two bins.
    """
    rate = validate.integer("rate", rate, "[1, inf)")
    n_fft = validate.integer("n_fft", n_fft, "[2, inf)")
    n_mels = validate.integer("n_mels", n_mels, "[1, inf)")
    mels = np.linspace(0.0, 2595.0 * math.log10(1.0 + rate / 2 / 700.0), n_mels + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    f = np.arange(n_fft // 2 + 1)[:, None] * (rate / n_fft)
    rising = (f - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - f) / (edges[2:] - edges[1:-1])
    bank = np.clip(np.minimum(rising, falling), 0.0, None)
    if (bank.sum(0) == 0).any():
        raise ValueError(f"n_mels must leave a bin of {n_fft} to each filter at {rate} Hz, got {n_mels}")
    return torch.from_numpy(bank.astype(np.float32))


class LogMel:
    """Log-mel features, ln(1e-6 + sum_k F_kj |X_k|^2), of a waveform at one rate.

    Parameters
    ----------
    rate : int
        Samples per second.
    n_mels : int
    window, hop : float
        Length of the Hann window and its step, seconds; the transform is as long as the next power of two.

    Raises
    ------
    ValueError
        If an argument is outside its domain, see `mel_filter_bank`.
    """

    def __init__(self, rate: int, n_mels: int, *, window: float = 0.025, hop: float = 0.01):
        self.rate = validate.integer("rate", rate, "[1, inf)")
        self.window = round(validate.real("window", window, "(0, inf)") * self.rate)
        self.hop = round(validate.real("hop", hop, "(0, inf)") * self.rate)
        if self.window < 2 or self.hop < 1:
            raise ValueError(f"window and hop must span samples at {rate} Hz, got {window} s and {hop} s")
        self.n_fft = 1 << (self.window - 1).bit_length()
        self.bank = mel_filter_bank(self.rate, self.n_fft, n_mels)
        self.hann = torch.hann_window(self.window)

    def __call__(self, waveform: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Features of one utterance, (n_frames, n_mels), n_frames = 1 + n_samples // hop."""
        signal = torch.as_tensor(waveform, dtype=torch.float32)
        # silence around the utterance: its first and last frames are centred at its ends
        spectrum = torch.stft(
            signal, self.n_fft, self.hop, self.window, self.hann, pad_mode="constant", return_complex=True
        )
        power = torch.view_as_real(spectrum).square().sum(-1)
        return (power.T @ self.bank + _FLOOR).log()


def normalised(features: torch.Tensor) -> torch.Tensor:
    """Features of one utterance with mean 0 and standard deviation 1 in each band."""
    centred = features - features.mean(0)
    return centred / centred.square().mean(0).sqrt().clamp(min=_LEAST_SPREAD)


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

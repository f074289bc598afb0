"""Do rare words survive pruning better under Budgeted Broadcast, in a recogniser of spoken digits?

Source: the speech experiment of arXiv 2510.01263 in kind. Connected digits made from real recordings (the
Free Spoken Digit Dataset, from --data-root or BBTHEORY_DATA; its official test recordings for testing,
held-out training recordings for validation): each utterance has one speaker of six, 2 to 5 digits, short
silences. Digits follow Zipf's law, in training and test alike, in an order drawn from the seed, so that no
digit is rare in all seeds. Log-mel features, a linear convolution, a Pre-LN Transformer encoder with CTC;
masks in its feed-forward parts (the source masks those of its decoder, which CTC has not). Greedy decoding.
The smoke preset takes short tones in place of speech; the full one is LibriSpeech (train-clean-100 and
test-clean; soundfile is needed), spelled in letters.

wer is (S + D + I)/N over the whole test set. A substitution or deletion counts in the bucket of the
reference word, by the word's count in training (head from the 90th percentile of word types on, middle from
the median on, tail below: 1, 4 and 5 digits). An insertion has no reference word: it counts in wer and
insertion_rate alone, so that wer_head, wer_middle and wer_tail are (S + D)/N of their bucket. Trivial
answers: nothing, with a wer of 1 and 1 in each bucket; the most frequent word as often as an utterance has
words (the baseline).

Seeds vary weights, digit ranks and utterances, all made from 300 test recordings of the speakers that are
trained on: intervals say nothing of other speakers.

Time: 37 min on one core (CPU preset, extrapolated from 40 s of processor time a cell; no accelerator); the
GPU and full presets have not been run. What would count against the claim: a wer_tail above that of gradual
magnitude, at equal density, by an interval that excludes 0.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bbtheory import validate
from experiments import _contest
from experiments._contest import CPU_DENSITIES, CPU_METHODS, Cell, ContestConfig, Metric, Result, Task, cells
from experiments.protocol import Progress

if TYPE_CHECKING:
    from torch import nn

    from bbtheory.train import SpokenDigits, Utterances

__all__ = ["CPU", "GPU", "METRICS", "SMOKE", "Cell", "Config", "Result", "cells", "collect", "run", "task"]

METRICS = (
    Metric("wer", higher_is_better=False, role="main"),
    Metric("wer_tail", higher_is_better=False, role="tail"),
    Metric("wer_middle", higher_is_better=False),
    Metric("wer_head", higher_is_better=False),
    Metric("insertion_rate", higher_is_better=False),
)
_VALIDATION = range(5, 10)  # recordings of each speaker and digit that are held out of training
_LETTERS = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TRAIN, _VALID, _TEST = "train-clean-100", "dev-clean", "test-clean"
_EVALUATED = 64  # utterances at once
_PROBED = 128  # held-out utterances


@dataclasses.dataclass(frozen=True)
class Config(ContestConfig):
    """Settings; the defaults are those of LibriSpeech.

    Parameters
    ----------
    data : {"librispeech", "fsdd", "tones"}
    n_train, n_test : int
        Utterances made of digits; LibriSpeech has its own.
    fewest, most : int
        Digits of an utterance.
    exponent : float
        Of Zipf's law of digits.
    pause : float
        Longest silence between two digits, seconds.
    n_mels : int
    hop : float
        Seconds from one frame to the next.
    d_model, d_ff, n_layers, n_heads, dropout
        Of the encoder.
    """

    data: str = "librispeech"
    n_train: int = 4000
    n_test: int = 1000
    fewest: int = 2
    most: int = 5
    exponent: float = 1.5
    pause: float = 0.1
    n_mels: int = 80
    hop: float = 0.01
    d_model: int = 384
    d_ff: int = 1536
    n_layers: int = 4
    n_heads: int = 8
    dropout: float = 0.1
    epochs: int = 60
    batch: int = 32
    learning_rate: float = 5e-4
    learning_rate_warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float | None = 1.0
    device: str = "cuda"
    precision: str = "bfloat16"

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.choice("data", self.data, ("librispeech", "fsdd", "tones"))
        for name in ("n_train", "n_test", "fewest", "n_mels", "d_model", "d_ff", "n_layers", "n_heads"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        validate.integer("most", self.most, f"[{self.fewest}, inf)")
        validate.real("exponent", self.exponent, "[0, inf)")
        validate.real("pause", self.pause, "[0, inf)")
        validate.real("hop", self.hop, "(0, inf)")
        validate.real("dropout", self.dropout, "[0, 1)")


GPU = Config(
    data="fsdd",
    methods=CPU_METHODS,
    densities=CPU_DENSITIES,
    n_train=6000,
    n_mels=40,
    epochs=20,
    batch=64,
    learning_rate=1e-3,
    seeds=(0, 1, 2),
)
# chosen by tune_spoken_digits, preset cpu
_KNOBS: dict[str, dict[str, float]] = {
    "dense": {"learning_rate_factor": 2.0},
    "random": {"learning_rate_factor": 2.0},
    "magnitude": {"learning_rate_factor": 2.0, "reached": 0.95},
    "rigl": {"learning_rate_factor": 2.0, "fraction": 0.5},
    "bb_in": {"learning_rate_factor": 2.0, "nats": 64.0},
    "bb_both": {"learning_rate_factor": 4.0, "nats": 4.0},
}
CPU = dataclasses.replace(
    GPU,
    n_train=3000,
    n_test=1000,
    n_mels=32,
    hop=0.0125,
    d_model=64,
    d_ff=256,
    n_layers=2,
    n_heads=4,
    epochs=10,
    batch=32,
    learning_rate=3e-3,
    device="cpu",
    precision="float32",
    seeds=(0, 1, 2, 3, 4),
    knobs=_KNOBS,
)
SMOKE = dataclasses.replace(
    CPU,
    knobs={},
    data="tones",
    methods=("dense", "magnitude", "bb_in"),
    densities=(0.3,),
    n_train=160,
    n_test=16,
    most=3,
    n_mels=16,
    d_model=16,
    d_ff=32,
    n_heads=2,
    epochs=6,
    batch=16,
    learning_rate=1e-2,
    n_refreshes=3,
    most_samples=200,
    seeds=(0,),
)


@dataclasses.dataclass(frozen=True)
class Speech:
    """Utterances for training and for testing, and how symbols are read.

    Parameters
    ----------
    words : callable (list of int) -> list of str
        Words of the symbols that were recognised.
    """

    train: Utterances
    test: Utterances
    n_symbols: int
    words: Callable[[list[int]], list[str]]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network."""
    return _contest.train(config, task, METRICS, progress)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, set methods against each other, and judge the claims."""
    return _contest.collect(config, cells, METRICS)


def task(config: Config, data_root: Path | None) -> Task:
    """Recognise the words of utterances; all that is random follows from the seed."""
    from bbtheory.train import SpeechBatches, SpeechEncoder, ctc_loss, frequency_buckets
    from bbtheory.train.utterances import padded

    seed = config.seeds[0]
    speech = _read(config, data_root) if config.data == "librispeech" else _connected(config, data_root)
    model = SpeechEncoder(
        config.n_mels,
        speech.n_symbols,
        d_model=config.d_model,
        d_ff=config.d_ff,
        n_layers=config.n_layers,
        n_heads=config.n_heads,
        dropout=config.dropout,
        seed=seed,
    )
    buckets = frequency_buckets(speech.train.words)
    batches = SpeechBatches(speech.train, config.batch, seed=seed)
    held_out = list(range(len(speech.test)))
    pieces = [held_out[i : i + _EVALUATED] for i in range(0, len(held_out), _EVALUATED)]
    return Task(
        model=model,
        batches=batches,
        loss=ctc_loss,
        evaluate=functools.partial(_evaluate, speech=speech, pieces=pieces, buckets=buckets),
        probe=[padded(speech.test, piece)[:2] for piece in pieces[: -(-_PROBED // _EVALUATED)]],
        layers=model.ffn_layers,
        baseline=_rates(speech.test.words, most_frequent(speech), buckets),
    )


def most_frequent(speech: Speech) -> list[list[str]]:
    """Return the trivial answer: always the most frequent word, as often as an utterance has words."""
    counts = Counter(word for words in speech.train.words for word in words)
    length = round(sum(counts.values()) / len(speech.train))
    return [[counts.most_common(1)[0][0]] * length for _ in speech.test.words]


def _evaluate(
    model: nn.Module, speech: Speech, pieces: Sequence[Sequence[int]], buckets: dict[str, str]
) -> dict[str, float]:
    from bbtheory.train import greedy_decode
    from bbtheory.train.utterances import padded

    device = next(model.parameters()).device
    heard = []
    for piece in pieces:
        features, n_frames, *_ = padded(speech.test, piece)
        heard += greedy_decode(*model(features.to(device), n_frames.to(device)))
    return _rates(speech.test.words, [speech.words(symbols) for symbols in heard], buckets)


def _rates(
    said: Sequence[Sequence[str]], heard: Sequence[Sequence[str]], buckets: dict[str, str]
) -> dict[str, float]:
    from bbtheory.train import count_word_errors

    errors = count_word_errors(said, heard, buckets)
    missed = {f"wer_{name}": float(rate) for name, rate in zip(errors.bucket, errors.miss_rate, strict=True)}
    return {"wer": errors.word_error_rate, "insertion_rate": errors.insertion_rate} | missed


# -- connected digits


@functools.lru_cache(maxsize=1)
def _digits(name: str, data_root: Path | None) -> SpokenDigits:
    from bbtheory.train import load_spoken_digits

    return load_spoken_digits(name, data_root)


def _connected(config: Config, data_root: Path | None) -> Speech:
    from bbtheory.train import LogMel, connect_digits, features_of, zipf
    from bbtheory.train.seeding import stream_seed

    seed = config.seeds[0]
    data = _digits(config.data, data_root)
    held_out = ~data.is_test & np.isin(data.index, _VALIDATION)
    pools = {
        "train": ~data.is_test & ~held_out if config.validation else ~data.is_test,
        "test": held_out if config.validation else data.is_test,
    }
    features = LogMel(data.rate, config.n_mels, hop=config.hop)
    order = np.random.default_rng(stream_seed(seed, "ranks")).permutation(10)
    parts = {}
    for part, n in (("train", config.n_train), ("test", config.n_test)):
        plan = connect_digits(
            data,
            n,
            pool=np.flatnonzero(pools[part]),
            probabilities=zipf(10, config.exponent)[order],
            n_digits=(config.fewest, config.most),
            pause=config.pause,
            seed=stream_seed(seed, f"{part} validation" if config.validation else part),
        )
        said = [[str(digit) for digit in digits] for digits in plan.digits]
        targets = [[digit + 1 for digit in digits] for digits in plan.digits]
        parts[part] = features_of(plan, features, said, targets)
    return Speech(parts["train"], parts["test"], 10, lambda symbols: [str(s - 1) for s in symbols])


# -- LibriSpeech


def _read(config: Config, data_root: Path | None) -> Speech:
    train, test = (
        _part(name, data_root, config.n_mels, config.hop)
        for name in (_TRAIN, _VALID if config.validation else _TEST)
    )
    return Speech(train, test, len(_LETTERS), spelled)


@functools.lru_cache(maxsize=3)
def _part(name: str, data_root: Path | None, n_mels: int, hop: float) -> Utterances:
    """Return a part of LibriSpeech, its features in half precision: 6 GB for 100 hours at 80 of them."""
    import torch

    from bbtheory.train import LogMel, features_of, load_librispeech

    source = load_librispeech(name, data_root)
    targets = [[_LETTERS.index(letter) + 1 for letter in text] for text in source.texts]
    words = [text.split() for text in source.texts]
    return features_of(source, LogMel(source.rate, n_mels, hop=hop), words, targets, torch.float16)


def spelled(symbols: Sequence[int]) -> list[str]:
    """Return the words that symbols spell."""
    text = "".join([_LETTERS[s - 1] for s in symbols])
    return str(text).split()

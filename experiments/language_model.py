"""Does a Transformer keep rare words better under Budgeted Broadcast than under its rivals, at equal density?

Source: Tiny Shakespeare, its first 90 % of characters for training and the rest for testing, from --data-root
or BBTHEORY_DATA; the smoke preset takes the descriptions of scikit-learn's data sets. The rule is that of
arXiv 2510.01263. A decoder (Pre-LN, SwiGLU, rotary positions) predicts the next character; the feed-forward
layers are masked, a unit is on where its gate is positive. Words are head, middle or tail by how often they
occur in the training text; a word that it lacks is tail. The trivial answer is that of bigram counts. A known
figure: 1.4697 nats (perplexity 4.35) of nanoGPT's network of the GPU preset's shape, and 1.88 nats (6.55) of
its network for a CPU, trained on 1.5 million characters.

Time: 1 min a cell on one core (CPU preset, 55 cells), no accelerator. What would count against the rule: a
perplexity on tail words above that of gradual magnitude by an interval that excludes 0.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bbtheory import validate
from experiments import _contest
from experiments._contest import CPU_DENSITIES, CPU_METHODS, Cell, ContestConfig, Metric, Result, Task, cells
from experiments.protocol import Progress

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["CPU", "GPU", "METRICS", "SMOKE", "Cell", "Config", "Result", "cells", "collect", "run", "task"]

METRICS = (
    Metric("perplexity", higher_is_better=False, role="main"),
    Metric("perplexity_tail", higher_is_better=False, role="tail"),
    Metric("perplexity_middle", higher_is_better=False),
    Metric("perplexity_head", higher_is_better=False),
    Metric("bits_per_character", higher_is_better=False),
)
_BETAS = (0.9, 0.95)  # of AdamW: gradients of a text model change quickly


@dataclasses.dataclass(frozen=True)
class Config(ContestConfig):
    """Settings.

    Parameters
    ----------
    data : str
        A name that `bbtheory.train.load_text` knows, or the path of a text.
    byte_pairs : int
        Codes of a vocabulary of byte pairs, > 256; 0: characters. Perplexities are per character either way.
    width, depth, heads, ffn, context, activation, dropout : see `bbtheory.train.TransformerShape`
    steps : int
        Batches of an epoch: windows that start anywhere in the text.
    test_tokens : int
        Of the test part's beginning that are predicted, more than a context; 0: all.
    others : see `ContestConfig`
    """

    data: str = "tinyshakespeare"
    byte_pairs: int = 0
    width: int = 384
    depth: int = 6
    heads: int = 6
    ffn: int = 1024
    context: int = 256
    activation: str = "swiglu"
    dropout: float = 0.2
    steps: int = 500
    test_tokens: int = 0
    batch: int = 64
    learning_rate_warmup: float = 0.05
    weight_decay: float = 0.1
    clip: float | None = 1.0
    n_refreshes: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.integer("steps", self.steps, "[1, inf)")
        context = validate.integer("context", self.context, "[1, inf)")
        if self.test_tokens != 0:
            validate.integer("test_tokens", self.test_tokens, f"[{context + 1}, inf)")
        if self.byte_pairs != 0:
            validate.integer("byte_pairs", self.byte_pairs, "[257, inf)")


SMOKE = Config(
    data="descriptions",
    methods=("dense", "magnitude", "bb_in"),
    densities=(0.3,),
    width=32,
    depth=1,
    heads=2,
    ffn=64,
    context=16,
    dropout=0.0,
    epochs=2,
    steps=30,
    test_tokens=600,
    batch=8,
    learning_rate=3e-2,
    n_refreshes=4,
    most_samples=400,
    seeds=(0, 1),
)
# chosen by tune_language_model, preset cpu
_KNOBS: dict[str, dict[str, float]] = {
    "dense": {"learning_rate_factor": 1.0},
    "random": {"learning_rate_factor": 2.0},
    "magnitude": {"learning_rate_factor": 1.0, "reached": 0.75},
    "rigl": {"learning_rate_factor": 2.0, "fraction": 0.2},
    "bb_in": {"learning_rate_factor": 1.0, "nats": 24.0},
    "bb_both": {"learning_rate_factor": 1.0, "nats": 24.0},
}
CPU = Config(
    methods=CPU_METHODS,
    densities=CPU_DENSITIES,
    width=128,
    depth=2,
    heads=4,
    ffn=344,
    context=64,
    dropout=0.0,
    epochs=5,
    steps=90,
    batch=32,
    learning_rate=3e-3,
    n_refreshes=12,
    knobs=_KNOBS,
)
GPU = Config(
    methods=CPU_METHODS,
    densities=CPU_DENSITIES,
    device="cuda",
    precision="bfloat16",
    seeds=(0, 1, 2),
)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A text as codes, with what its test tokens are judged by.

    Parameters
    ----------
    size : int
        Codes of the vocabulary.
    train, test : ndarray of int64
    lengths, buckets : ndarray
        Characters of each test token but the first, and how frequent its word is.
    baseline : dict
        Metrics of bigram counts.
    unigram : float
        Perplexity of unigram counts.
    """

    size: int
    train: np.ndarray
    test: np.ndarray
    lengths: np.ndarray
    buckets: np.ndarray
    baseline: dict[str, float]
    unigram: float

    def metrics(self, nats: np.ndarray) -> dict[str, float]:
        """Return the metrics of surprises of all test tokens but the first."""
        from bbtheory.train import perplexities
        from bbtheory.train.data_text import BUCKETS

        return perplexities(nats, self.lengths, self.buckets, BUCKETS)


@functools.lru_cache(maxsize=2)
def corpus(data: str, byte_pairs: int, validation: bool, test_tokens: int, data_root: Path | None) -> Corpus:
    """Read a text and code it; learnt from the training part alone.

    Raises
    ------
    MissingDataError, ValueError
        As `bbtheory.train.load_text`.
    """
    import numpy as np

    from bbtheory.train import BytePairs, Characters, count_models, load_text, word_buckets

    text = load_text(data, data_root)
    text = text.for_tuning() if validation else text
    vocabulary = BytePairs(text.train, byte_pairs) if byte_pairs else Characters(text.train)
    train, test = vocabulary.encode(text.train), vocabulary.encode(text.test)
    lengths = vocabulary.lengths(test)
    # a token belongs to the word of its last character
    last = np.maximum(lengths.cumsum() - 1, 0)
    buckets = word_buckets(text)[last]
    test = test[: test_tokens or None]
    n = len(test)
    trivial = count_models(train, test, vocabulary.size)
    made = Corpus(vocabulary.size, train, test, lengths[1:n], buckets[1:n], {}, math.nan)
    return dataclasses.replace(
        made,
        baseline=made.metrics(trivial["bigram"]),
        unigram=made.metrics(trivial["unigram"])["perplexity"],
    )


def read_corpus(config: Config, data_root: Path | None) -> Corpus:
    """Return the text of some settings."""
    return corpus(config.data, config.byte_pairs, config.validation, config.test_tokens, data_root)


def task(config: Config, data_root: Path | None) -> Task:
    """Return the task of one seed."""
    import torch
    from torch import nn

    from bbtheory.train import TextBatches, TransformerShape, next_token_loss, surprise, transformer

    text = read_corpus(config, data_root)
    shape = TransformerShape(
        vocabulary=text.size,
        width=config.width,
        depth=config.depth,
        heads=config.heads,
        ffn=config.ffn,
        context=config.context,
        activation=config.activation,
        dropout=config.dropout,
    )
    seed = config.seeds[0]

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        return text.metrics(surprise(model, text.test, config.context, device=device))

    def optimizer(parameters: Any, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters, learning_rate, betas=_BETAS, weight_decay=config.weight_decay, fused=True
        )

    n = max(1, min(config.most_samples, len(text.test) - 1) // config.context)
    probe = torch.from_numpy(text.test[: n * config.context]).reshape(n, config.context)
    batches = TextBatches(
        text.train, config.context, config.batch, config.steps, seed=seed, device=config.device
    )
    return Task(
        model=transformer(shape, seed=seed),
        batches=batches,
        loss=next_token_loss,
        evaluate=evaluate,
        probe=[probe],
        layers=shape.ffn_layers,
        optimizer=optimizer,
        baseline=text.baseline,
    )


def run(config: Config, progress: Progress) -> Cell:
    """Train one network."""
    return _contest.train(config, task, METRICS, progress)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and judge the claims."""
    return _contest.collect(config, cells, METRICS)

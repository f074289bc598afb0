"""Language modelling: windows of a text, the loss of the next token, perplexities on held-out text.

The perplexity of some tokens is exp of their mean surprise -ln p per character, so that vocabularies of
longer tokens compare; with characters as tokens it is the usual one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from bbtheory import validate
from bbtheory.train.seeding import stream_seed


class TextBatches:
    """Batches of windows that start anywhere in a text; an epoch is a number of batches.

    The starts of epoch e are drawn from (seed, e) alone, on the CPU, so that a run which is interrupted goes
    on as if it had not been, on any device.

    Parameters
    ----------
    codes : array_like or tensor of integers, (n,)
        Tokens of the text.
    context, batch, n_batches : int
        Tokens of a window, windows of a batch, batches of an epoch, >= 1.
    seed : int
        Of the starts, >= 0.
    device : str or torch.device

    Raises
    ------
    ValueError
        If the text has not a token more than a window, codes are no integers, or an argument is outside its
        domain.
    """

    def __init__(
        self,
        codes: ArrayLike | torch.Tensor,
        context: int,
        batch: int,
        n_batches: int,
        *,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ):
        self.codes = _tokens(codes).to(device)
        self.context = validate.integer("context", context, "[1, inf)")
        self.batch = validate.integer("batch", batch, "[1, inf)")
        self.n_batches = validate.integer("n_batches", n_batches, "[1, inf)")
        self.seed = validate.integer("seed", seed, "[0, inf)")
        if self.codes.dim() != 1 or len(self.codes) <= self.context:
            raise ValueError(
                f"codes must have one axis and more than {self.context} tokens, "
                f"got shape {tuple(self.codes.shape)}"
            )

    def __len__(self) -> int:
        return self.n_batches

    def __call__(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches (tokens, next tokens) of an epoch, each (batch, context)."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "windows", epoch))
        shape = (self.n_batches, self.batch, 1)
        starts = torch.randint(len(self.codes) - self.context, shape, generator=generator)
        within = torch.arange(self.context + 1)
        for at in (starts + within).to(self.codes.device):
            window = self.codes[at]
            yield window[:, :-1], window[:, 1:]


def _tokens(codes: ArrayLike | torch.Tensor) -> torch.Tensor:
    """Return codes as an int64 tensor; numbers that are no integers would be cut off in silence."""
    given = codes if isinstance(codes, torch.Tensor) else np.asarray(codes)
    whole = not given.is_floating_point() if isinstance(given, torch.Tensor) else given.dtype.kind in "iu"
    if not whole:
        raise ValueError(f"codes must be integers, got {given.dtype}")
    return torch.as_tensor(given, dtype=torch.int64)


def next_token_loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Mean surprise -ln p of the next tokens of a batch, nats per token."""
    tokens, following = batch
    return nn.functional.cross_entropy(model(tokens).flatten(0, 1), following.flatten())


@torch.no_grad()
def surprise(
    model: Callable[[torch.Tensor], torch.Tensor],
    codes: ArrayLike | torch.Tensor,
    context: int,
    *,
    batch: int = 32,
    device: str | torch.device = "cpu",
) -> np.ndarray:
    """Return -ln p of every token of a text but the first, in nats, each seen with enough before it.

    Windows overlap by a quarter: of each but the first only the last three quarters count.

    Parameters
    ----------
    model : callable (tokens) -> logits
        A module is run in evaluation mode, and left in the mode it was in.
    codes : array_like of integers, (n,)
        At least 2 tokens.
    context : int
        Tokens of a window, >= 1.
    batch : int
        Windows at a time, >= 1.
    device : str or torch.device
        Where the model is.

    Returns
    -------
    ndarray (n - 1,), float64

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """
    tokens = _tokens(codes)
    context = validate.integer("context", context, "[1, inf)")
    batch = validate.integer("batch", batch, "[1, inf)")
    if tokens.dim() != 1 or len(tokens) < 2:
        raise ValueError(f"codes must have one axis and at least 2 tokens, got shape {tuple(tokens.shape)}")
    n = len(tokens) - 1
    context = min(context, n)
    stride = max(context - context // 4, 1)
    # the last window ends with the text; its last three quarters replace what was found
    starts = [*range(0, n - context, stride), n - context]
    found = np.empty(n)
    part = nn.Module() if not isinstance(model, nn.Module) else model
    modes = {module: module.training for module in part.modules()}
    part.eval()
    try:
        for i in range(0, len(starts), batch):
            at = torch.tensor(starts[i : i + batch])[:, None] + torch.arange(context + 1)
            window = tokens[at].to(device)
            logits = model(window[:, :-1]).float()
            losses = nn.functional.cross_entropy(
                logits.flatten(0, 1), window[:, 1:].flatten(), reduction="none"
            ).reshape(len(window), context)
            for start, row in zip(starts[i : i + batch], losses.double().cpu().numpy(), strict=True):
                skip = 0 if start == 0 else min(context - stride, context - 1)
                found[start + skip : start + context] = row[skip:]
    finally:
        for module, mode in modes.items():
            module.training = mode
    return found


def perplexities(
    nats: np.ndarray, lengths: np.ndarray, buckets: np.ndarray, names: Sequence[str]
) -> dict[str, float]:
    """Return perplexity per character, bits per character, and perplexity in each bucket of words.

    Parameters
    ----------
    nats : ndarray (n,)
        -ln p of each token.
    lengths : ndarray (n,), integer
        Characters of each token.
    buckets : ndarray (n,), integer
        Index into ``names``, or -1.
    names : sequence of str

    Returns
    -------
    dict
        perplexity, bits_per_character, and perplexity_NAME for each name; NaN where there is no character,
        infinite beyond the largest number.
    """
    mean = _per_character(nats, lengths)
    found = {"perplexity": _exp(mean), "bits_per_character": mean / math.log(2.0)}
    for i, name in enumerate(names):
        own = buckets == i
        found[f"perplexity_{name}"] = _exp(_per_character(nats[own], lengths[own]))
    return found


def _per_character(nats: np.ndarray, lengths: np.ndarray) -> float:
    n = int(lengths.sum())
    return float(nats.sum()) / n if n else math.nan


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:  # of a network that broke down
        return math.inf


def count_models(train: np.ndarray, test: np.ndarray, size: int) -> Mapping[str, np.ndarray]:
    """Return -ln p of every token of a text but the first by the two trivial models, unigram and bigram.

    p(b) = (n_b + 1)/(n + size) and p(b | a) = (n_ab + p(b))/(n_a + 1), counted in the training text.

    Parameters
    ----------
    train, test : ndarray of integers
        Codes in [0, size); a test text of at least 2.
    size : int
        Of the vocabulary.

    Returns
    -------
    dict
        unigram and bigram, each (n - 1,).

    Raises
    ------
    ValueError
        If a code is outside its domain or the test text is shorter.
    """
    for name, codes, fewest in (("train", train, 1), ("test", test, 2)):
        if codes.ndim != 1 or codes.size < fewest or codes.min() < 0 or codes.max() >= size:
            raise ValueError(f"{name} must be {fewest} or more codes in [0, {size}), got {codes!r:.60}")
    single = np.bincount(train, minlength=size).astype(float)
    unigram = (single + 1.0) / (single.sum() + size)
    pairs = np.bincount(train[:-1] * size + train[1:], minlength=size * size).reshape(size, size)
    before, after = test[:-1], test[1:]
    bigram = (pairs[before, after] + unigram[after]) / (pairs.sum(1)[before] + 1.0)
    return {"unigram": -np.log(unigram[after]), "bigram": -np.log(bigram)}

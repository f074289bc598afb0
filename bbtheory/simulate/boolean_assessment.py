"""How a network does on a Boolean task, and when its units are on: exact, or over a large sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bbtheory.records import Record
from bbtheory.tasks import BooleanTask

MAX_EXACT = 16  # inputs: final figures are exact, over the truth table, up to here
N_SAMPLED = 1 << 16  # examples where they are not


@dataclass(frozen=True, eq=False)
class Examples(Record):
    """Examples with their probabilities: a whole truth table, or a sample."""

    KIND: ClassVar[str] = "examples"

    values: np.ndarray
    """(n_inputs, n) as shown to the network."""
    probability: np.ndarray
    """(n,) sums to 1."""
    terms: np.ndarray
    """(n, n_terms) bool."""
    label: np.ndarray
    """(n,) bool, without label noise."""
    exact: bool
    """Whether this is the truth table."""


def examples(task: BooleanTask, most: int, sampled: int, rng: np.random.Generator) -> Examples:
    """Return the truth table if it has at most ``most`` rows and inputs carry no noise, else a sample."""
    if task.input_noise == 0 and 1 << task.n_inputs <= most:
        table = task.truth_table()
        values = np.ascontiguousarray(task.show(table.inputs).T)
        return Examples(values, table.probability, table.terms, table.label, True)
    sample = task.sample(sampled, rng)
    label = np.asarray(sample.terms.any(axis=1))
    weight = np.full(sampled, 1.0 / sampled)
    return Examples(np.ascontiguousarray(sample.values.T), weight, sample.terms, label, False)


@dataclass(frozen=True, eq=False)
class Assessment(Record):
    """How a network does on a task, and when its hidden units are on."""

    KIND: ClassVar[str] = "assessment"

    loss: float
    """Mean logistic loss, nats, of labels without label noise."""
    accuracy: float
    """P(classified rightly), of labels without label noise."""
    only_accuracy: np.ndarray
    """(n_terms,) P(classified rightly | this term is true and no other); nan if that never happens."""
    on_rate: np.ndarray
    """(n_hidden,) P(unit is on), all hidden layers one after the other."""
    term_correlation: np.ndarray
    """(n_hidden, n_terms) correlation of a unit's being on with a term's being true; 0 for constant units."""
    exact: bool
    """Whether over the truth table, else over 65,536 examples."""


def propagate(
    weights: tuple[np.ndarray, ...],
    biases: tuple[np.ndarray, ...],
    scales: tuple[np.ndarray, ...],
    values: np.ndarray,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return hidden activations and the logit in float64."""
    x = values
    hidden = []
    for weight, bias, scale in zip(weights[:-1], biases[:-1], scales, strict=True):
        u = (weight.astype(np.float64) @ x + bias[:, None]) * scale[:, None].astype(np.float64)
        x = np.maximum(u, 0.0)
        hidden.append(x)
    return hidden, (weights[-1].astype(np.float64) @ x)[0] + float(biases[-1][0])


def loss_and_accuracy(logit: np.ndarray, of: Examples) -> tuple[float, float]:
    """Return the mean logistic loss and the probability of a right answer."""
    signed = np.where(of.label, logit, -logit)
    loss = np.maximum(-signed, 0.0) + np.log1p(np.exp(-np.abs(signed)))
    return float(of.probability @ loss), float(of.probability @ ((logit > 0) == of.label))


def assess(hidden: list[np.ndarray], logit: np.ndarray, of: Examples) -> Assessment:
    """Return how a network does, from its activations on examples."""
    loss, accuracy = loss_and_accuracy(logit, of)
    p, right = of.probability, (logit > 0) == of.label
    only = of.terms & (of.terms.sum(axis=1, keepdims=True) == 1)
    chance, hit = p @ only, (p * right) @ only
    on = (np.concatenate(hidden) > 0).astype(np.float64)
    rate, truth = np.minimum(on @ p, 1.0), np.minimum(p @ of.terms, 1.0)
    joint = (on * p) @ of.terms
    spread = np.sqrt(np.outer(rate * (1.0 - rate), truth * (1.0 - truth)))
    correlation = np.where(spread > 0, (joint - np.outer(rate, truth)) / np.where(spread > 0, spread, 1), 0.0)
    return Assessment(
        loss=loss,
        accuracy=accuracy,
        only_accuracy=np.where(chance > 0, hit / np.where(chance > 0, chance, 1.0), math.nan),
        on_rate=rate,
        term_correlation=correlation,
        exact=of.exact,
    )

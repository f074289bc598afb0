"""Exact probabilities of the terms of a DNF over independent inputs.

By products over independent literals, and by enumeration only within groups of terms that share inputs. An
input is true with its own probability; a term is a tuple of literals, ``j`` for input j and ``~j`` for its
negation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

MAX_ENUMERATED = 20  # inputs: a million rows

Term = tuple[int, ...]


def input_of(literal: int) -> int:
    """Return the index of a literal's input."""
    return literal if literal >= 0 else ~literal


def literal_probability(probability: Sequence[float], literal: int) -> float:
    """P(literal is true)."""
    p = probability[input_of(literal)]
    return p if literal >= 0 else 1.0 - p


def combined(inputs: np.ndarray, terms: Sequence[Term], combine: np.ufunc = np.logical_and) -> np.ndarray:
    """Return the literals of each term combined, (n, n_terms) bool, for inputs (n, n_inputs) bool."""
    columns = [combine.reduce([inputs[:, input_of(j)] ^ (j < 0) for j in term]) for term in terms]
    return np.stack(columns, axis=1)


def enumerate_inputs(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all rows of bits (2^n, n), input 0 the lowest, and their probabilities (2^n,)."""
    n = probability.size
    rows = np.arange(1 << n)
    inputs = (rows[:, None] >> np.arange(n) & 1).astype(bool)
    weight = np.ones(1)
    for p in probability:  # the later input is the higher bit
        weight = np.concatenate([weight * (1.0 - p), weight * p])
    return inputs, weight


def each_probability(probability: Sequence[float], terms: Sequence[Term]) -> np.ndarray:
    """P(term t is true), (n_terms,): the product of its literals' probabilities."""
    return np.array([math.prod(literal_probability(probability, j) for j in term) for term in terms])


def only_probability(probability: Sequence[float], terms: Sequence[Term]) -> np.ndarray:
    """P(term t is true and no other), (n_terms,).

    Raises
    ------
    ValueError
        If terms share inputs in a group of more than 20 inputs.
    """
    each = each_probability(probability, terms)
    groups = list(_groups(terms))
    grouped = [[terms[t] for t in group] for group in groups]
    silent = [_none(probability, group) for group in grouped]
    only = np.empty(len(terms))
    for g, group in enumerate(groups):
        others = math.prod(silent[:g] + silent[g + 1 :])
        for place, t in enumerate(group):
            alone = each[t] if len(group) == 1 else _only(probability, grouped[g], place)
            only[t] = alone * others
    return only


def any_probability(probability: Sequence[float], terms: Sequence[Term]) -> float:
    """P(some term is true); Raises as `only_probability`."""
    # 1 - product, without the cancellation when every term is rare
    silent = (_none(probability, [terms[t] for t in group]) for group in _groups(terms))
    return -math.expm1(sum(math.log(none) if none > 0 else -math.inf for none in silent))


def _groups(terms: Sequence[Term]) -> Iterator[list[int]]:
    """Yield the terms in groups that share no input with each other."""
    groups: list[tuple[set[int], list[int]]] = []
    for t, term in enumerate(terms):
        used, members = {input_of(j) for j in term}, [t]
        apart = []
        for inputs, others in groups:
            if inputs & used:
                used, members = used | inputs, others + members
            else:
                apart.append((inputs, others))
        groups = [*apart, (used, members)]
    return (sorted(members) for _, members in groups)


def _none(probability: Sequence[float], group: Sequence[Term]) -> float:
    """P(no term of the group is true)."""
    if len(group) == 1:
        return 1.0 - float(each_probability(probability, group)[0])
    return _of_event(probability, group, lambda terms: ~np.asarray(terms.any(axis=1)))


def _only(probability: Sequence[float], group: Sequence[Term], at: int) -> float:
    """P(one term and no other of its group is true)."""
    return _of_event(probability, group, lambda terms: terms[:, at] & (terms.sum(axis=1) == 1))


def _of_event(
    probability: Sequence[float], group: Sequence[Term], event: Callable[[np.ndarray], np.ndarray]
) -> float:
    """P(event of the terms of a group), by enumeration of the inputs they use."""
    used = sorted({input_of(j) for term in group for j in term})
    if len(used) > MAX_ENUMERATED:
        raise ValueError(
            f"terms must share inputs in groups of at most {MAX_ENUMERATED} inputs, got {len(used)}"
        )
    place = {j: i for i, j in enumerate(used)}
    terms = [tuple(place[j] if j >= 0 else ~place[~j] for j in term) for term in group]
    inputs, weight = enumerate_inputs(np.array([probability[j] for j in used]))
    return float(weight[event(combined(inputs, terms))].sum())

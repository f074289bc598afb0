"""Boolean tasks over independent inputs: disjunctions of conjunctive terms (DNF) and parity (XOR).

Each input is true with its own probability, independently of the others. A term is a conjunction of
literals, written as a tuple of input indices: ``j`` means input j, ``~j`` its negation. The label of a DNF is
true if any term is, the label of a parity if an odd number of its one term's literals is. Probabilities are
exact (`bbtheory.term_probability`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.term_probability import (
    MAX_ENUMERATED,
    any_probability,
    combined,
    each_probability,
    enumerate_inputs,
    input_of,
    literal_probability,
    only_probability,
)

RULES = ("dnf", "parity")
MAX_LITERALS = 10**6  # in all terms of one DNF

# "rare features of p ~ 0.11 and common ones of p ~ 0.72" read as two literals each: 1/9 and 0.7225
RARE_LITERAL = 1.0 / 3.0
COMMON_LITERAL = 0.85


@dataclass(frozen=True, eq=False)
class TruthTable(Record):
    """Every combination of inputs; row r holds the binary digits of r, input 0 the lowest."""

    KIND: ClassVar[str] = "truth_table"

    inputs: np.ndarray
    """(2^n, n_inputs) bool."""
    probability: np.ndarray
    """(2^n,) of each row."""
    terms: np.ndarray
    """(2^n, n_terms) bool."""
    label: np.ndarray
    """(2^n,) bool, without label noise."""


@dataclass(frozen=True, eq=False)
class Sample(Record):
    """Independent examples of a task."""

    KIND: ClassVar[str] = "sample"

    inputs: np.ndarray
    """(n, n_inputs) bool."""
    values: np.ndarray
    """(n, n_inputs) what a network is shown: input_values with input noise."""
    terms: np.ndarray
    """(n, n_terms) bool."""
    label: np.ndarray
    """(n,) bool, with label noise."""


@dataclass(frozen=True)
class BooleanTask:
    """A Boolean function of independent inputs, and how a network is shown it.

    Parameters
    ----------
    rule : {"dnf", "parity"}
    probability : tuple of float, (n_inputs,)
        P(input j is true), in (0, 1). Inputs in no term are distractors.
    terms : tuple of tuples of int
        Literals of each term; a parity has one term.
    input_values : (float, float)
        What a network is shown for false and true, different, within 1e30 of 0.
    input_noise : float
        Standard deviation of normal noise on what it is shown, 0 to 1e30.
    label_noise : float
        Probability in [0, 1/2] that the label is flipped.

    Raises
    ------
    ValueError
        If an argument is outside its domain, a term is empty, names an input that is not there or one twice.

    References
    ----------
    This project's reading of the didactic tasks of Budgeted Broadcast, arXiv 2510.01263.

    Examples
    --------
    >>> task = rare_and_common_dnf()
    >>> task.term_probability.round(4).tolist(), round(task.label_probability, 4)
    ([0.1111, 0.7225], 0.7533)
    """

    rule: str
    probability: tuple[float, ...]
    terms: tuple[tuple[int, ...], ...]
    input_values: tuple[float, float] = (-1.0, 1.0)
    input_noise: float = 0.0
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        validate.choice("rule", self.rule, RULES)
        put("probability", tuple(validate.array("probability", self.probability, "(0, 1)").tolist()))
        n = len(self.probability)
        if not isinstance(self.terms, (tuple, list)) or not self.terms:
            raise ValueError(f"terms must be a non-empty tuple of terms, got {self.terms!r:.60}")
        terms = tuple(self.terms)
        clean = []
        for t, term in enumerate(terms):
            if not isinstance(term, (tuple, list)) or not term:
                raise ValueError(f"terms[{t}] must be a non-empty tuple of literals, got {term!r}")
            literals = tuple(validate.integer(f"terms[{t}]", j, f"[{-n}, {n - 1}]") for j in term)
            if len({input_of(j) for j in literals}) < len(literals):
                raise ValueError(f"terms[{t}] must name each input at most once, got {literals}")
            clean.append(literals)
        put("terms", tuple(clean))
        if self.rule == "parity" and len(clean) != 1:
            raise ValueError(f"terms must be one term for a parity, got {len(clean)}")
        shown = validate.array("input_values", self.input_values, "[-1e30, 1e30]", shape=(2,)).tolist()
        if shown[0] == shown[1]:
            raise ValueError(f"input_values must differ for false and true, got {tuple(shown)}")
        put("input_values", tuple(shown))
        put("input_noise", validate.real("input_noise", self.input_noise, "[0, 1e30]"))
        put("label_noise", validate.real("label_noise", self.label_noise, "[0, 0.5]"))

    @property
    def n_inputs(self) -> int:
        """Inputs, distractors included."""
        return len(self.probability)

    @property
    def n_terms(self) -> int:
        """Terms; 1 for a parity."""
        return len(self.terms)

    def term_values(self, inputs: np.ndarray) -> np.ndarray:
        """Return which terms hold, (n, n_terms) bool, for inputs (n, n_inputs); of a parity, the parity.

        Raises
        ------
        ValueError
            If the inputs are not of that shape or not booleans (or zeros and ones).
        """
        x = _booleans(inputs)
        if x.ndim != 2 or x.shape[1] != self.n_inputs:
            raise ValueError(f"inputs must have shape (n, {self.n_inputs}), got {x.shape}")
        return combined(x, self.terms, np.logical_xor if self.rule == "parity" else np.logical_and)

    def labels(self, inputs: np.ndarray) -> np.ndarray:
        """Return the labels without label noise, (n,) bool; Raises as `term_values`."""
        return np.asarray(self.term_values(inputs).any(axis=1))

    def truth_table(self) -> TruthTable:
        """Return every combination of inputs with its probability.

        Raises
        ------
        ValueError
            If there are more than 20 inputs.
        """
        if self.n_inputs > MAX_ENUMERATED:
            raise ValueError(f"n_inputs must be at most {MAX_ENUMERATED} to enumerate, got {self.n_inputs}")
        inputs, probability = enumerate_inputs(np.array(self.probability))
        terms = self.term_values(inputs)
        return TruthTable(inputs, probability, terms, np.asarray(terms.any(axis=1)))

    def show(self, inputs: np.ndarray) -> np.ndarray:
        """Return what a network is shown for these inputs, without noise; float64, the inputs' shape.

        Raises
        ------
        ValueError
            If the inputs are not booleans (or zeros and ones).
        """
        return np.where(_booleans(inputs), self.input_values[1], self.input_values[0])

    def sample(self, n: int, rng: np.random.Generator) -> Sample:
        """Draw n independent examples, noise included.

        Raises
        ------
        ValueError
            If n is not a positive integer or asks for too large an array, or rng no NumPy Generator.
        """
        n = validate.integer("n", n, "[1, inf)")
        validate.room("n", n, n * self.n_inputs)
        validate.instance("rng", rng, np.random.Generator)
        inputs = rng.random((n, self.n_inputs)) < np.array(self.probability)
        values = self.show(inputs)
        if self.input_noise > 0:
            values = values + self.input_noise * rng.standard_normal(values.shape)
        terms = self.term_values(inputs)
        label = np.asarray(terms.any(axis=1))
        if self.label_noise > 0:
            label = label ^ (rng.random(n) < self.label_noise)
        return Sample(inputs, values, terms, label)

    @cached_property
    def term_probability(self) -> np.ndarray:
        """P(term t is true), (n_terms,): the product of its literals' probabilities; of a parity, P(odd)."""
        if self.rule == "parity":
            agreement = math.prod(1.0 - 2.0 * literal_probability(self.probability, j) for j in self.terms[0])
            return np.array([0.5 * (1.0 - agreement)])
        return each_probability(self.probability, self.terms)

    @cached_property
    def only_probability(self) -> np.ndarray:
        """P(term t is true and no other), (n_terms,).

        Raises
        ------
        ValueError
            If terms share inputs in a group of more than 20 inputs.
        """
        if self.rule == "parity":
            return self.term_probability
        return only_probability(self.probability, self.terms)

    @cached_property
    def label_probability(self) -> float:
        """P(label is true), without label noise; Raises as `only_probability`."""
        if self.rule == "parity":
            return float(self.term_probability[0])
        return any_probability(self.probability, self.terms)


def _booleans(inputs: np.ndarray) -> np.ndarray:
    """Return inputs of any shape as booleans."""
    validate.unmasked("inputs", inputs)
    if isinstance(inputs, np.ndarray) and inputs.dtype == np.bool_:
        return inputs
    try:
        x = np.asarray(inputs)
    except ValueError:
        raise ValueError("inputs must be a rectangular array, got ragged rows") from None
    if x.dtype != np.bool_:
        x = validate.array("inputs", x, "[0, 1]", ndim=None)
        if not np.isin(x, (0.0, 1.0)).all():
            raise ValueError("inputs must be booleans or zeros and ones")
    return x.astype(bool)


def dnf(
    term_probability: Sequence[float],
    *,
    n_literals: int = 2,
    n_distractors: int = 0,
    input_noise: float = 0.0,
    label_noise: float = 0.0,
) -> BooleanTask:
    """DNF of disjoint terms with given probabilities p_t, each of m literals at p_t^(1/m).

    Parameters
    ----------
    term_probability : sequence of float, (n_terms,)
        In (0, 1).
    n_literals : int
        m of each term, 1 to 1000; with all terms at most a million.
    n_distractors : int
        Further inputs at 1/2 that no term uses.
    input_noise, label_noise : float
        As in `BooleanTask`.

    Returns
    -------
    BooleanTask

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """
    p = validate.array("term_probability", term_probability, "(0, 1)")
    m = validate.integer("n_literals", n_literals, "[1, 1000]")
    distractors = validate.integer("n_distractors", n_distractors, "[0, 100000]")
    if p.size * m > MAX_LITERALS:
        raise ValueError(f"n_literals must leave at most {MAX_LITERALS} literals, got {m} for {p.size} terms")
    literal = np.concatenate([np.repeat(p ** (1.0 / m), m), np.full(distractors, 0.5)])
    terms = tuple(tuple(range(t * m, (t + 1) * m)) for t in range(p.size))
    return BooleanTask(
        "dnf", tuple(literal.tolist()), terms, input_noise=input_noise, label_noise=label_noise
    )


def rare_and_common_dnf(
    n_rare: int = 1,
    n_common: int = 1,
    *,
    n_distractors: int = 0,
    input_noise: float = 0.0,
    label_noise: float = 0.0,
) -> BooleanTask:
    """DNF of rare terms, P = 1/9 (two literals at 1/3), then common ones, P = 0.7225 (two at 0.85).

    Parameters
    ----------
    n_rare, n_common : int
        Terms of each kind, at least one in all.
    n_distractors, input_noise, label_noise
        As in `dnf`.

    Returns
    -------
    BooleanTask

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """
    rare = validate.integer("n_rare", n_rare, "[0, 1000]")
    common = validate.integer("n_common", n_common, "[0, 1000]")
    if rare + common == 0:
        raise ValueError("n_rare + n_common must be at least 1, got 0")
    distractors = validate.integer("n_distractors", n_distractors, "[0, 100000]")
    literal = (RARE_LITERAL,) * (2 * rare) + (COMMON_LITERAL,) * (2 * common) + (0.5,) * distractors
    terms = tuple((2 * t, 2 * t + 1) for t in range(rare + common))
    return BooleanTask("dnf", literal, terms, input_noise=input_noise, label_noise=label_noise)


def xor(
    n_bits: int = 2, *, n_distractors: int = 0, input_noise: float = 0.0, label_noise: float = 0.0
) -> BooleanTask:
    """Parity of n fair bits, shown as -1 and 1 (with noise), beside fair distractors.

    Parameters
    ----------
    n_bits : int
        Bits of the parity, >= 1; 2 is XOR.
    n_distractors, input_noise, label_noise
        As in `dnf`.

    Returns
    -------
    BooleanTask

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """
    bits = validate.integer("n_bits", n_bits, "[1, 1000]")
    distractors = validate.integer("n_distractors", n_distractors, "[0, 100000]")
    return BooleanTask(
        "parity",
        (0.5,) * (bits + distractors),
        (tuple(range(bits)),),
        input_noise=input_noise,
        label_noise=label_noise,
    )

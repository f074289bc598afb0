"""What a derivation is: its steps, its result, and the result as a function on arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

import numpy as np
import sympy as sp
from scipy.special import lambertw, ndtr


@dataclass(frozen=True)
class Step:
    """One line of a derivation."""

    text: str
    """Prose; names and short formulas between backticks."""
    formula: Any
    """A SymPy equation or inequality; a Tuple of them for several."""
    basis: str
    """given | defined | cited | proved, or the name of the derivation that proves it."""
    where: tuple[Any, ...] = ()
    """Equations that hold at the point where the step is taken."""


@dataclass(frozen=True, eq=False)
class Derivation:
    """A law with its proof and the function it ends in; ``str`` of it is the whole derivation."""

    name: str
    """The part of the function's name after ``derive_``."""
    statement: str
    assumptions: tuple[str, ...]
    source: str
    """The paper that states the law, or "this project's derivation"."""
    steps: tuple[Step, ...]
    result: Any
    """A proved SymPy equation or inequality; a Tuple of them where the law has several parts."""
    arguments: tuple[sp.Symbol, ...]
    """Of `function`, in order."""
    _computed: tuple[Any, ...] = field(repr=False)

    @cached_property
    def function(self) -> Callable[..., Any]:
        """What the law computes, on numbers or broadcastable arrays; a list where it has several parts."""
        computed = [_broadcastable(part) for part in self._computed]
        modules = [COMPUTED_AS_THEY_STAND, "scipy", "numpy"]
        whole = computed if len(computed) > 1 else computed[0]
        return sp.lambdify(self.arguments, whole, modules=modules, cse=True)

    def __str__(self) -> str:
        from bbtheory.theory.derivations.printing import as_text

        return as_text(self)


def _principal_branch(x: Any) -> Any:
    return lambertw(x).real


def _broadcastable(expression: Any) -> Any:
    """Name Max and Min so that they are computed element by element, in all versions of SymPy."""
    expression = expression.replace(sp.Max, sp.Function("largest"))
    return expression.replace(sp.Min, sp.Function("smallest"))


# functions that are computed as they stand: the real branch of Lambert's, and a normal distribution that
# keeps the digits of its far tail
COMPUTED_AS_THEY_STAND = {
    "LambertW": _principal_branch,
    "Phi": ndtr,
    "largest": lambda *values: reduce(np.maximum, values),
    "smallest": lambda *values: reduce(np.minimum, values),
}

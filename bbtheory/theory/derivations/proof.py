"""Derivations whose steps are checked while they are built: a step that does not hold raises.

A `Proof` collects steps. What is given (a model), defined (an abbreviation) or cited (a known theorem) is
marked as such; every other step is an identity or an inequality that SymPy confirms under the assumptions on
its symbols, and only such a step can become the result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from bbtheory.theory.derivations.checks import carried_out, is_nonnegative, is_positive, placed, vanishes
from bbtheory.theory.derivations.derivation import COMPUTED_AS_THEY_STAND, Derivation, Step

GIVEN, DEFINED, CITED, PROVED = "given", "defined", "cited", "proved"


class ProofError(ArithmeticError):
    """A step of a derivation does not hold, or cannot be confirmed."""


class Proof:
    """Steps of a derivation in the making.

    Parameters
    ----------
    name : str
        Of the derivation.
    statement : str
        The law in a sentence or two.
    assumptions : sequence of str
    source : str
    domain : mapping of symbol to expression
        How a symbol is written for the checks so that its assumptions say all that is known of it: an on-rate
        in (0, 1) becomes u/(1 + u) with u > 0. Formulas keep the symbol.
    """

    def __init__(
        self,
        name: str,
        statement: str,
        assumptions: Sequence[str] = (),
        *,
        source: str = "this project's derivation",
        domain: Mapping[Any, Any] | None = None,
    ) -> None:
        self._name, self._statement = name, statement
        self._assumptions, self._source = tuple(assumptions), source
        self._domain = dict(domain or {})
        self._definitions: dict[Any, Any] = {}
        self._steps: list[Step] = []

    def given(self, text: str, formula: Any) -> None:
        """State a part of the model."""
        self._steps.append(Step(text, formula, GIVEN))

    def cite(self, text: str, formula: Any) -> None:
        """State a known theorem that is not proved here."""
        self._steps.append(Step(text, formula, CITED))

    def use(self, text: str, other: Derivation) -> None:
        """State the result of another derivation."""
        self._steps.append(Step(text, other.result, f"derive_{other.name}"))

    def define(self, text: str, name: Any, meaning: Any) -> None:
        """Abbreviate: ``name``, a symbol or a function of symbols, stands for ``meaning`` in every check."""
        self._steps.append(Step(text, sp.Eq(name, meaning, evaluate=False), DEFINED))
        meaning = carried_out(self.unfolded(meaning))
        if isinstance(name, AppliedUndef):
            self._definitions[name.func] = sp.Lambda(name.args, meaning)
        else:
            self._definitions[name] = meaning

    def equal(
        self, text: str, left: Any, right: Any, *, at: Mapping[Any, Any] | None = None, shown: Any = None
    ) -> sp.Eq:
        """Prove left = right, at a point where the equations ``at`` hold; ``shown`` abbreviates the left."""
        formula = sp.Eq(left if shown is None else shown, right, evaluate=False)
        return self._prove(text, formula, left - right, vanishes, at)

    def root(self, text: str, equation: Any, unknown: Any, solution: Any) -> sp.Eq:
        """Prove that ``unknown`` = ``solution`` makes the expression ``equation`` vanish."""
        formula = sp.Eq(unknown, solution, evaluate=False)
        return self._prove(text, formula, equation, vanishes, {unknown: solution}, shown=False)

    def integral(self, text: str, integral: sp.Integral, antiderivative: Any, value: Any) -> sp.Eq:
        """Prove the value of an integral from its antiderivative: its slope, and its limits at both ends."""
        integrand, limits = integral.args
        variable, start, end = limits.args
        slope = sp.Derivative(antiderivative, variable)
        self.equal("An antiderivative for the integral that follows.", slope, integrand)
        whole = self.unfolded(antiderivative)
        between = sp.limit(whole, variable, end, "-") - sp.limit(whole, variable, start, "+")
        formula = sp.Eq(integral, value, evaluate=False)
        return self._prove(text, formula, between - value, vanishes, None)

    def expands(
        self, text: str, left: Any, right: Any, variable: sp.Symbol, order: int, *,
        at: Mapping[Any, Any] | None = None, shown: Any = None,
    ) -> Any:  # fmt: skip
        """Prove left = right + O(variable**(order + 1)): equal derivatives at 0; the rest as in `equal`."""
        error: Any = sp.Order(variable ** (order + 1))
        formula = sp.Eq(left if shown is None else shown, right + error, evaluate=False)
        difference = sp.sympify(left - right)
        # a polynomial in the variable whose other symbols do not hide it can be compared as it stands
        hidden = (*self._definitions.values(), *difference.atoms(AppliedUndef))
        if at or any(variable in part.free_symbols for part in hidden):
            difference = placed(carried_out(self.unfolded(difference)), self._point(at))
        for power in range(order + 1):
            at_zero = difference.subs(variable, 0)
            if at_zero != 0 and not vanishes(self._in_domain(self.unfolded(at_zero))):
                raise ProofError(f"{self._name}: {text!r} fails at order {power} of {variable}: {formula}")
            difference = sp.diff(difference, variable)
        self._steps.append(Step(text, formula, PROVED, _equations(at)))
        return formula

    def holds(self, text: str, relation: Any, *, at: Mapping[Any, Any] | None = None) -> Any:
        """Prove an inequality; the difference of its sides must have a sign by the assumptions on symbols."""
        return self._prove(text, relation, relation.gts - relation.lts, _sign_of(relation), at)

    def holds_from(self, text: str, relation: Any, variable: sp.Symbol, start: Any) -> Any:
        """Prove an inequality for variable >= start: it holds there and the difference does not fall."""
        difference = self.unfolded(relation.gts - relation.lts)
        if not _sign_of(relation)(self._in_domain(difference.subs(variable, start))):
            raise ProofError(f"{self._name}: {text!r} fails at {variable} = {start}: {relation}")
        beyond = start + sp.Dummy("t", positive=True)
        slope = sp.diff(difference, variable).subs(variable, beyond)
        return self._prove(text, relation, slope, is_nonnegative, None)

    def conclude(
        self, *results: Any, arguments: Sequence[sp.Symbol], function: Sequence[Any] = ()
    ) -> Derivation:
        """Return the derivation; each result must be a step that was proved.

        ``function`` is what `Derivation.function` computes if not the right sides of the results.
        """
        proved = [s.formula for s in self._steps if s.basis == PROVED]
        for result in results:
            if result not in proved:
                raise ProofError(f"{self._name}: no step proves the result {result}")
        keep = {*COMPUTED_AS_THEY_STAND, *map(str, arguments)}
        parts = [sp.sympify(part) for part in function or [r.rhs for r in results]]
        computed = [carried_out(self.unfolded(part, keep)) for part in parts]
        unknown = set().union(*(part.free_symbols for part in computed)) - set(arguments)
        if unknown:
            raise ProofError(f"{self._name}: the function depends on {unknown}, which are no arguments")
        return Derivation(
            name=self._name,
            statement=self._statement,
            assumptions=self._assumptions,
            source=self._source,
            steps=tuple(self._steps),
            result=results[0] if len(results) == 1 else sp.Tuple(*results),
            arguments=tuple(arguments),
            _computed=tuple(computed),
        )

    def unfolded(self, expression: Any, keep: Collection[str] = ()) -> Any:
        """Return the expression with every definition written out, but for names in ``keep``."""
        meant = {name: meaning for name, meaning in self._definitions.items() if str(name) not in keep}
        while True:
            unfolded = expression
            for name, meaning in meant.items():
                replace = unfolded.replace if isinstance(meaning, sp.Lambda) else unfolded.subs
                unfolded = replace(name, meaning)
            if unfolded == expression:
                return expression
            expression = unfolded

    def _in_domain(self, expression: Any) -> Any:
        return carried_out(expression).subs(self._domain)

    def _point(self, at: Mapping[Any, Any] | None) -> dict[Any, Any]:
        return {unknown: self.unfolded(sp.sympify(value)) for unknown, value in (at or {}).items()}

    def _prove(
        self, text: str, formula: Any, claim: Any, test: Callable[[Any], bool],
        at: Mapping[Any, Any] | None, *, shown: bool = True,
    ) -> Any:  # fmt: skip
        claim = sp.sympify(claim)
        if not (test is vanishes and sp.expand(claim) == 0):  # true whatever the definitions
            claim = carried_out(self.unfolded(claim))
            claim = self.unfolded(placed(claim, self._point(at)))
            if not test(self._in_domain(claim)):
                raise ProofError(f"{self._name}: cannot confirm {text!r}: {formula}")
        self._steps.append(Step(text, formula, PROVED, _equations(at) if shown else ()))
        return formula


def _equations(at: Mapping[Any, Any] | None) -> tuple[Any, ...]:
    return tuple(sp.Eq(*pair, evaluate=False) for pair in (at or {}).items())


def _sign_of(relation: Any) -> Callable[[Any], bool]:
    strict = isinstance(relation, (sp.StrictGreaterThan, sp.StrictLessThan))
    return is_positive if strict else is_nonnegative

"""Whether an expression vanishes or has a sign. What SymPy cannot confirm counts as not true.

Cheap rewritings come first; none assumes more than the symbols do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp


def carried_out(expression: Any) -> Any:
    """Carry out derivatives, limits and sums that are easy; search for no antiderivative or closed sum."""
    expression = expression.replace(
        lambda e: isinstance(e, (sp.Derivative, sp.Limit, sp.Subs)), lambda e: e.doit(deep=False)
    )
    return expression.replace(_is_easy_sum, lambda e: e.doit())


def _is_easy_sum(e: Any) -> bool:
    if not isinstance(e, sp.Sum):
        return False
    summand: Any = e.function
    return e.has(sp.KroneckerDelta) or (not e.has(sp.Indexed) and summand.is_polynomial(*e.variables))


def placed(expression: Any, point: Mapping[Any, Any]) -> Any:
    """Return the expression at a point; a product or power in ``point`` is replaced term by term."""
    for unknown, value in point.items():
        if not unknown.is_Symbol:
            expression = sp.expand(with_split_factors(expression))
        expression = with_split_factors(expression.subs(unknown, value))
    return expression


def vanishes(expression: Any) -> bool:
    """Whether the expression is identically zero."""
    if expression == 0:
        return True
    if expression.has(sp.Sum, sp.Integral):
        outside, inside = _collected(sp.expand(expression))
        return vanishes(outside) and all(vanishes(part) for part in inside)
    if expression.is_rational_function():
        return sp.expand(sp.fraction(sp.together(expression))[0]) == 0
    for rewrite in (with_split_factors, sp.together, sp.cancel, sp.simplify):
        expression = rewrite(expression)
        if expression == 0 or sp.expand(expression) == 0:
            return True
    return False


def is_positive(expression: Any) -> bool:
    """Whether the expression is above zero by the assumptions on its symbols."""
    return _has(expression, lambda e: e.is_positive)


def is_nonnegative(expression: Any) -> bool:
    """Whether the expression is at least zero by the assumptions on its symbols."""
    return _has(expression, lambda e: e.is_nonnegative)


def _has(expression: Any, sign: Any) -> bool:
    for rewrite in (lambda e: e, with_split_factors, sp.together, sp.factor, sp.simplify, sp.factor):
        expression = rewrite(expression)
        if sign(expression):
            return True
    return False


def _collected(expression: Any) -> tuple[Any, list[Any]]:
    """Return what is outside sums and integrals, and what is inside those over each range together."""
    outside, inside = [], {}
    for term in sp.Add.make_args(expression):
        linear = [f for f in sp.Mul.make_args(term) if isinstance(f, (sp.Sum, sp.Integral))]
        if len(linear) == 1:
            over = (type(linear[0]), linear[0].limits)
            inside[over] = inside.get(over, 0) + term / linear[0] * linear[0].function
        else:
            outside.append(term)
    return sp.Add(*outside), list(inside.values())


def with_split_factors(expression: Any) -> Any:
    """Take logarithms and roots of products factor by factor, as far as their signs are known."""
    expression = expression.replace(sp.log, lambda x: sp.expand_log(sp.log(sp.factor(sp.together(x)))))
    return expression.replace(
        lambda e: e.is_Pow and e.exp.is_Rational and not e.exp.is_Integer,
        lambda e: sp.expand_power_base(sp.factor(sp.together(e.base)) ** e.exp),
    )

"""Derivations as text for a terminal and as a LaTeX document."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Any

import sympy as sp
from sympy.parsing.sympy_parser import parse_expr
from sympy.printing.latex import LatexPrinter
from sympy.printing.pretty.pretty import PrettyPrinter, prettyForm
from sympy.printing.pretty.pretty_symbology import pretty_symbol

from bbtheory.theory.derivations.derivation import Derivation, Step

WIDTH = 100
_NAME = re.compile(r"[A-Za-z]\w*")
_QUOTED = re.compile(r"`([^`]*)`")
_FUNCTIONS = {"log": sp.log, "exp": sp.exp, "sqrt": sp.sqrt, "abs": sp.Abs}


def _symbol(name: object) -> str:
    return pretty_symbol(str(name)) or str(name)


def _gains_first(terms: Iterable[Any]) -> list[Any]:
    """Sort the terms of a sum: those with a minus sign later, the order of an error last."""
    return sorted(terms, key=lambda x: (isinstance(x, sp.Order), x.could_extract_minus_sign()))


class _Pretty(PrettyPrinter):
    def _as_ordered_terms(self, expr: Any, order: str | None = None) -> list[Any]:
        return _gains_first(super()._as_ordered_terms(expr, order))

    # SymPy finds these by the names of its classes
    def _print_Max(self, expr: Any) -> prettyForm:  # noqa: N802
        return self._helper_print_function(expr.func, expr.args, func_name=type(expr).__name__.lower())

    _print_Min = _print_Max  # noqa: N815

    def _print_Indexed(self, expr: Any) -> prettyForm:  # noqa: N802
        return prettyForm(_symbol("_".join(map(str, expr.args))))


class _Latex(LatexPrinter):
    def _as_ordered_terms(self, expr: Any, order: str | None = None) -> list[Any]:
        return _gains_first(super()._as_ordered_terms(expr, order))

    # named after SymPy's class, as above
    def _print_Indexed(self, expr: Any) -> str:  # noqa: N802
        base, *indices = expr.args
        return f"{base}_{{{','.join(map(self._print, indices))}}}"


def as_text(derivation: Derivation, width: int = WIDTH) -> str:
    """Return a derivation as text of at most ``width`` columns."""
    title = f"derive_{derivation.name}"
    lines = [title, "=" * len(title), *_wrapped(derivation.statement, width)]
    lines += _wrapped(f"Source: {derivation.source}.", width)
    if derivation.assumptions:
        lines += ["", "Assumed:"]
        for assumption in derivation.assumptions:
            lines += _wrapped(assumption, width, "  - ")
    lines.append("")
    for number, step in enumerate(derivation.steps, start=1):
        lines += _wrapped(f"{step.text} [{step.basis}]".strip(), width, f"{number:3}. ")
        lines += _formula(step.formula, width)
        if step.where:
            lines += ["     where"]
            for equation in step.where:
                lines += _formula(equation, width)
        lines.append("")
    lines.append("Result:")
    for part in _parts(derivation.result):
        lines += _formula(part, width)
    arguments = ", ".join(_symbol(x) for x in derivation.arguments)
    return "\n".join([*lines, f"     function({arguments})", ""])


def as_listed(derivation: Derivation, width: int = WIDTH) -> str:
    """Return the name of a derivation and what it states."""
    return "\n".join([derivation.name, *_wrapped(derivation.statement, width, "    ")])


def _parts(formula: Any) -> tuple[Any, ...]:
    return tuple(formula) if isinstance(formula, sp.Tuple) else (formula,)


def _formula(formula: Any, width: int) -> list[str]:
    lines = []
    for part in _parts(formula):
        settings = {"use_unicode": True, "wrap_line": True, "num_columns": width - 8}
        lines += [(" " * 8 + line).rstrip() for line in _Pretty(settings).doprint(part).splitlines()]
    return lines


def _wrapped(text: str, width: int, lead: str = "") -> list[str]:
    text = _QUOTED.sub(lambda m: _quoted(m[1]), text)
    return textwrap.wrap(text, width, initial_indent=lead, subsequent_indent=" " * len(lead))


def _quoted(code: str) -> str:
    if code.startswith("derive_"):
        return code
    return _NAME.sub(lambda name: _symbol(name[0]), code).replace("**", "^").replace("*", "⋅")


def as_latex(derivations: Iterable[Derivation]) -> str:
    """Return a complete LaTeX document of the derivations."""
    return "\n".join([_HEAD, *map(_section, derivations), r"\end{document}", ""])


def _section(derivation: Derivation) -> str:
    lines = [
        rf"\section{{{_escaped(derivation.name.replace('_', ' ').capitalize())}}}",
        _prose(derivation.statement),
        "",
        rf"\emph{{Source:}} {_prose(derivation.source)}. \emph{{Function:}} "
        rf"\texttt{{derive\_{_escaped(derivation.name)}}}.",
    ]
    if derivation.assumptions:
        lines += ["", r"\emph{Assumed:}", r"\begin{itemize}"]
        lines += [rf"\item {_prose(assumption)}" for assumption in derivation.assumptions]
        lines.append(r"\end{itemize}")
    lines.append(r"\begin{enumerate}")
    for step in derivation.steps:
        lines += _item(step)
    lines += [r"\end{enumerate}", r"\emph{Result:}"]
    lines += [_display(part) for part in _parts(derivation.result)]
    return "\n".join(lines)


def _item(step: Step) -> list[str]:
    lines = [rf"\item {_prose(step.text)} \hfill\basis{{{_escaped(step.basis)}}}"]
    lines += [_display(part) for part in _parts(step.formula)]
    if step.where:
        lines += ["where", *map(_display, step.where)]
    return lines


def _display(formula: Any) -> str:
    return rf"\[\fit{{{_latex(formula)}}}\]"


def _latex(formula: Any) -> str:
    return _Latex({"ln_notation": True}).doprint(formula)


def _prose(text: str) -> str:
    """Return text for LaTeX: quoted names and formulas as mathematics, the rest escaped."""
    pieces = _QUOTED.split(text)
    return "".join(_inline(p) if n % 2 else _escaped(p) for n, p in enumerate(pieces))


def _inline(code: str) -> str:
    if code.startswith("derive_"):
        return rf"\texttt{{{_escaped(code)}}}"
    pieces = re.split(r" (=|<=|>=|<|>) ", code)
    return "$" + " ".join(_RELATIONS[p] if n % 2 else _latex(_parsed(p)) for n, p in enumerate(pieces)) + "$"


def _parsed(code: str) -> Any:
    names: dict[str, Any] = {name: sp.Symbol(name) for name in _NAME.findall(code)}
    names |= {name: sp.Function(name) for name in re.findall(r"([A-Za-z]\w*)\(", code)}
    return parse_expr(code, names | _FUNCTIONS)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda m: _UNUSUAL.get(m[0], "\\" + m[0]), text)


_RELATIONS = {"=": "=", "<": "<", ">": ">", "<=": r"\leq", ">=": r"\geq"}
_SPECIAL = re.compile(r"[#$%&_{}\\^~]")
_UNUSUAL = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
# a formula wider than the page is scaled to fit it
_HEAD = r"""\documentclass[a4paper,11pt]{article}
\usepackage[margin=25mm]{geometry}
\usepackage{amsmath,amssymb,graphicx}
\setlength{\parindent}{0pt}
\newsavebox{\formula}
\newcommand{\fit}[1]{\sbox{\formula}{$\displaystyle #1$}%
  \ifdim\wd\formula>\linewidth\resizebox{\linewidth}{!}{\usebox{\formula}}\else\usebox{\formula}\fi}
\newcommand{\basis}[1]{\textsf{\footnotesize [#1]}}
\title{Derivations of bbtheory}
\author{}
\date{}
\begin{document}
\maketitle
Every step marked \basis{proved} was confirmed by SymPy when this document was made.
\tableofcontents
"""

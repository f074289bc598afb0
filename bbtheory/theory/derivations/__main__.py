"""The command line ``python -m bbtheory.theory.derivations``: print derivations, or write them as LaTeX."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bbtheory import cli
from bbtheory.storage import atomic


def _parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m bbtheory.theory.derivations",
        "Why does a law hold? Derive it step by step; SymPy confirms each step before it is printed.",
        [
            "python -m bbtheory.theory.derivations balance maximum_traffic",
            "python -m bbtheory.theory.derivations --latex derivations.tex",
        ],
    )
    parser.add_argument("name", nargs="*", metavar="NAME", help="derivations to show (default: all)")
    parser.add_argument("--list", action="store_true", help="print the names and what each one states")
    parser.add_argument("--latex", metavar="FILE", help="write a LaTeX document instead of printing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return cli.run(_parser(), _show, argv)


def _show(args: argparse.Namespace) -> int:
    from bbtheory.theory.derivations import DERIVATIONS, ProofError
    from bbtheory.theory.derivations.printing import as_latex, as_listed, as_text

    names = [name.removeprefix("derive_") for name in args.name] or list(DERIVATIONS)
    unknown = [name for name in names if name not in DERIVATIONS]
    if unknown:
        raise ValueError(f"NAME must be one of {', '.join(DERIVATIONS)}, got {unknown[0]!r}")
    try:
        derivations = [DERIVATIONS[name]() for name in names]
    except ProofError as error:
        print(f"not proved: {error}", file=sys.stderr)
        return cli.FAILED
    if args.list:
        print("\n".join(map(as_listed, derivations)))
    if args.latex is not None:
        with atomic(args.latex) as temporary:
            temporary.write_text(as_latex(derivations), encoding="utf-8")
        print(f"{len(derivations)} derivations written to {args.latex}", file=sys.stderr)
    if not args.list and args.latex is None:
        for derivation in derivations:
            print(as_text(derivation))
    return cli.ANSWERED


if __name__ == "__main__":
    sys.exit(main())

"""The command line ``python -m bbtheory.report``: verdicts, figures, records and an explorer in one page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bbtheory import archive, cli
from bbtheory.catalog import Catalog
from bbtheory.report.markup import counted
from bbtheory.report.page import make_page
from bbtheory.storage import atomic

BUILT = archive.RESULTS.parent / "build"  # of the checkout


def main(argv: Sequence[str] | None = None, experiments: str = "experiments") -> int:
    """Run the command line; ``experiments`` is the package that says what should have a record."""
    parser = cli.make_parser(
        "python -m bbtheory.report",
        "Write one HTML page with the verdicts, the built figures, the tables of every record and an\n"
        "equilibrium explorer. It loads nothing: open it from anywhere, or send it.",
        [
            "python -m bbtheory.report",
            "python -m bbtheory.report --checks verdicts.json --figures pictures --out page.html",
        ],
    )
    add = parser.add_argument
    add("--out", default="report.html", metavar="FILE", help="the page (default: report.html)")
    add("--results", type=Path, metavar="D", help="the archive of records (default: results)")
    add("--figures", type=Path, metavar="D", help="folder of built figures (default: build/figures)")
    add(
        "--checks",
        type=Path,
        metavar="JSON",
        help="what paper_checks --json wrote (default: build/verdicts.json)",
    )
    return cli.run(parser, lambda args: _body(args, experiments), argv)


def _body(args: argparse.Namespace, experiments: str) -> int:
    results = _there("--results", args.results, archive.RESULTS, folder=True)
    figures = _there("--figures", args.figures, BUILT / "figures", folder=True)
    checks = _there("--checks", args.checks, BUILT / "verdicts.json", folder=False)
    page = make_page(results, figures, checks, _questions(experiments))
    with atomic(args.out) as temporary:
        temporary.write_text(page.html, encoding="utf-8")
    for line in page.problems:
        print(f"python -m bbtheory.report: {' '.join(line.split())}", file=sys.stderr)
    print(
        f"{args.out}: {counted(page.n_verdicts, 'verdict')}, {counted(page.n_figures, 'figure')}, "
        f"{counted(page.n_records, 'record')}, {len(page.html.encode()) / 1e6:.1f} MB"
    )
    # the page is whole without what is damaged, and says so; so does the exit code
    return cli.FAILED if page.problems else cli.ANSWERED


def _there(name: str, given: Path | None, default: Path, *, folder: bool) -> Path | None:
    """Return the input that was asked for, or the default one if it is there."""
    path = default if given is None else given
    if path.is_dir() if folder else path.is_file():
        return path
    if given is None:
        return None
    raise ValueError(f"{name} must be an existing {'folder' if folder else 'file'}, got {str(given)!r}")


def _questions(experiments: str) -> dict[str, str]:
    """Return the first line of each experiment; none where the package runs without its checkout."""
    try:
        catalog = Catalog(experiments)
    except ValueError:
        return {}
    questions = {}
    for name in catalog.names:
        try:
            questions[name] = catalog.summary(name)
        except (OSError, ValueError):  # no Python source: its record may still be there
            questions[name] = ""
    return questions


if __name__ == "__main__":
    sys.exit(main())

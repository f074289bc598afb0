"""``python -m docs``: makes anew what is generated into the README, its pictures and its tables."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bbtheory import cli
from bbtheory.storage import atomic
from docs._gallery import FOLDER, GALLERY, captions, draw
from docs._verdicts import judge_all, short_tables

README = FOLDER.parent.parent / "README.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = cli.make_parser(
        "python -m docs",
        "Make the README's pictures and tables anew, from the tracked records.",
        ["python -m docs", "python -m docs --check"],
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where something is stale")
    return cli.run(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    try:
        made: dict[Path, bytes] = {README: filled(README.read_text(encoding="utf-8"), generated()).encode()}
        with tempfile.TemporaryDirectory() as folder:
            made |= {FOLDER / f"{shown.name}.svg": draw(shown.name, Path(folder)) for shown in GALLERY}
    except RuntimeError as error:
        print(f"python -m docs: {error}; nothing is written", file=sys.stderr)
        return cli.FAILED
    kept = {path: path.read_bytes() for path in [README, *FOLDER.glob("*")]}
    stale = sorted(path for path in made.keys() | kept.keys() if made.get(path) != kept.get(path))
    for path in stale:
        print(f"{path.relative_to(README.parent)}  {'is stale' if args.check else 'written'}")
        if args.check:
            continue
        if path not in made:
            path.unlink()
            continue
        with atomic(path) as temporary:
            temporary.write_bytes(made[path])
    return cli.FAILED if stale and args.check else cli.ANSWERED


def generated() -> dict[str, str]:
    """Return what stands between the README's markers, by marker."""
    checks = judge_all()
    for each in checks:
        if each.error:  # its row must not be missed without a word
            raise RuntimeError(f"{each.name} could not be judged: {each.error}")
    return {"gallery": captions("docs/gallery", checks), "verdicts": short_tables(checks)}


def filled(text: str, parts: dict[str, str]) -> str:
    """Return a page with each part between its markers, ``<!-- NAME: python -m docs -->`` and its end."""
    for name, part in parts.items():
        start, end = f"<!-- {name}: python -m docs -->\n", f"<!-- end of {name} -->"
        if not (start in text and end in text):
            raise ValueError(f"README.md must have the lines {start.strip()!r} and {end!r}")
        before, rest = text.split(start, 1)
        text = before + start + f"\n{part}\n\n" + end + rest.split(end, 1)[1]
    return text


if __name__ == "__main__":
    sys.exit(main())

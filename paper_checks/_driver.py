"""The driver behind ``python -m paper_checks``: finds records, lets each check judge, prints the verdicts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from bbtheory import archive, cli
from bbtheory.archive import Archived
from bbtheory.catalog import Catalog
from bbtheory.records import SCHEMA
from bbtheory.storage import atomic
from bbtheory.tables import escape_markdown, format_markdown, format_table
from paper_checks.protocol import REFUTED, UNDECIDED, CheckResult


@dataclass(frozen=True)
class Judged:
    """One check with the records it stands on; ``error`` says why it could not run."""

    name: str
    result: CheckResult | None
    records: tuple[str, ...]
    own_theory: bool
    error: str | None

    @property
    def is_broken(self) -> bool:
        """Whether it could not run, or refutes this package's own theory."""
        return self.result is None or (self.own_theory and self.result.verdict == REFUTED)


def main(
    argv: Sequence[str] | None = None, package: str = "paper_checks", experiments: str = "experiments"
) -> int:
    """Run the command line on the checks of ``package``, judging the records of ``experiments``."""
    parser = cli.make_parser(
        "python -m paper_checks",
        "Judge claims by the records that are there: confirmed, refuted or undecided. A refuted claim is a "
        "result (exit 0); a check that cannot run, or our own theory refuted, is an error (exit 1).",
        ["python -m paper_checks", "python -m paper_checks r_squared_is_evidence --markdown verdicts.md"],
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="checks, or all (the default)")
    add("--json", metavar="F", help="write the verdicts as JSON to this file, - for standard output")
    add("--markdown", type=Path, metavar="F", help="write the verdicts as a Markdown table to this file")
    add("--results", type=Path, default=archive.RESULTS, metavar="D", help="the archive (default: results)")
    return cli.run(parser, lambda args: _body(args, Catalog(package), Catalog(experiments)), argv)


def _body(args: argparse.Namespace, catalog: Catalog, experiments: Catalog) -> int:
    names = catalog.choose(args.names or ["all"])
    judged = [judge(catalog, experiments, name, args.results) for name in names]
    text = json.dumps(_json(judged), indent=1, allow_nan=False)
    if args.json == "-":
        print(text)
    else:
        print(_table(judged))
    if args.json not in (None, "-"):
        with atomic(args.json) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    if args.markdown:
        with atomic(args.markdown) as temporary:
            temporary.write_text(_markdown(judged), encoding="utf-8")
    for each in judged:
        if each.error:
            print(f"python -m paper_checks: {each.name}: {each.error}", file=sys.stderr)
        elif each.is_broken:
            print(f"python -m paper_checks: {each.name}: our own theory is refuted", file=sys.stderr)
    return cli.FAILED if any(each.is_broken for each in judged) else cli.ANSWERED


def judge(catalog: Catalog, experiments: Catalog, name: str, results: Path) -> Judged:
    """Let one check judge the best records there are; absent or smoke records decide nothing."""
    try:
        module = catalog.load(name)
        best = [archive.best(results, source, experiments.load(source)) for source in module.SOURCES]
        found = [record for record in best if record is not None]
        absent = [source for source, record in zip(module.SOURCES, best, strict=True) if record is None]
        result = _absent(module, absent) if absent else _checked(module, found)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Judged(name, None, (), False, reason)
    records = tuple(record.path.relative_to(results).as_posix() for record in found)
    return Judged(name, result, records, getattr(module, "OWN_THEORY", False), None)


def _absent(module: ModuleType, absent: list[str]) -> CheckResult:
    note = f"no record yet: python -m experiments {' '.join(absent)}"
    return CheckResult(module.CLAIM, module.PAPER, None, None, None, UNDECIDED, note)


def _checked(module: ModuleType, records: list[Archived]) -> CheckResult:
    result = module.check(*(record.result for record in records))
    if not isinstance(result, CheckResult):
        raise TypeError(f"check must return a CheckResult, got {type(result).__name__}")
    small = [record.experiment for record in records if record.preset == "smoke"]
    if small:
        note = f"only a smoke run of {', '.join(small)}, which decides nothing"
        result = replace(result, verdict=UNDECIDED, note=note)
    return result


def _json(judged: Sequence[Judged]) -> dict[str, Any]:
    checks = []
    for each in judged:
        found: dict[str, Any] = {"name": each.name, "own_theory": each.own_theory}
        if each.result is not None:
            found |= {k: v for k, v in each.result.to_dict().items() if k not in ("schema", "kind")}
        checks.append(found | {"records": list(each.records), "error": each.error})
    return {"schema": SCHEMA, "kind": "paper_checks", "checks": checks}


def _cells(each: Judged) -> list[str]:
    """Return name, verdict, predicted, observed with its interval, records, note."""
    if each.result is None:
        return [each.name, "could not run", "-", "-", "-", each.error or ""]
    r = each.result
    observed = _number(r.observed)
    if r.interval is not None:
        observed += f" [{_number(r.interval[0])}, {_number(r.interval[1])}]"
    presets = ", ".join("/".join(record.split("/")[:2]) for record in each.records) or "-"
    return [each.name, r.verdict, _number(r.predicted), observed, presets, r.note]


def _number(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.6g}"


_HEADER = ("check", "verdict", "predicted", "observed", "records", "note")


def _table(judged: Sequence[Judged]) -> str:
    rows = [_cells(each) for each in judged]
    body = format_table(_HEADER[:-1], [row[:-1] for row in rows])
    claims = [
        f"{each.name}: {each.result.claim}\n  {each.result.source}\n  {each.result.note}"
        for each in judged
        if each.result
    ]
    return "\n\n".join([body, *claims])


def _markdown(judged: Sequence[Judged]) -> str:
    rows = []
    for each in judged:
        name, verdict, *cells = _cells(each)
        claim = f"{each.result.claim} ({each.result.source})" if each.result else name
        claim, predicted, observed, records, note = map(escape_markdown, (claim, *cells))
        rows.append([f"`{name}`", claim, predicted, observed, f"**{verdict}**", note, records])
    header = ["check", "claim", "predicted", "observed", "verdict", "why", "records"]
    return format_markdown(header, rows) + "\n"

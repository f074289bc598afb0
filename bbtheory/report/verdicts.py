"""The verdict table, from the file that ``python -m paper_checks --json`` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bbtheory.records import SCHEMA
from bbtheory.report.markup import Identifiers, Markup, breakable, element, join, number, table, text

MAKE = "python -m paper_checks --json build/verdicts.json"
LARGEST = 10**6  # bytes of a file of verdicts; the real one has some ten thousand
SIGNS = {"confirmed": "✓", "refuted": "✗", "undecided": "?"}
BROKEN = "could not run"
_ABOUT = (
    "Each claim is judged by the rule that its check states: confirmed, refuted or undecided. A refuted "
    "claim is a result. Absent records and smoke runs leave a claim undecided."
)


@dataclass(frozen=True)
class Verdict:
    """One judged claim; ``verdict`` is `BROKEN` where the check itself failed, ``note`` then says why."""

    name: str
    identifier: str
    claim: str
    source: str
    predicted: str
    observed: str
    verdict: str
    note: str
    records: tuple[str, ...]
    own_theory: bool


def read_verdicts(path: Path, ids: Identifiers) -> tuple[list[Verdict], list[str]]:
    """Return the verdicts of a file, and a line for each thing in it that is damaged."""
    try:
        if path.stat().st_size > LARGEST:
            return [], [f"{path} must be verdicts of at most {LARGEST:g} bytes"]
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return [], [f"{path} cannot be read: {error}"]
    checks = stored.get("checks") if isinstance(stored, dict) else None
    if not isinstance(checks, list) or (stored.get("schema"), stored.get("kind")) != (SCHEMA, "paper_checks"):
        return [], [f"{path} must be what paper_checks --json writes, of schema {SCHEMA}"]
    verdicts, problems = [], []
    for i, check in enumerate(checks):
        try:
            verdicts.append(_verdict(check, ids))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            problems.append(f"{path}: verdict {i + 1} is damaged: {error!r}")
    return verdicts, problems


def _verdict(check: Mapping[str, Any], ids: Identifiers) -> Verdict:
    name, error = str(check["name"]), check["error"]
    own = bool(check["own_theory"])
    records = tuple(str(record) for record in check["records"])
    at = ids.new("verdict", name)
    if error is not None:
        return Verdict(name, at, name, "", number(None), number(None), BROKEN, str(error), records, own)
    observed = number(check["observed"])
    if check["interval"] is not None:
        low, high = check["interval"]
        observed += f" [{number(low)}, {number(high)}]"
    verdict = check["verdict"]
    if verdict not in SIGNS:
        raise ValueError(f"verdict must be one of {', '.join(SIGNS)}, got {verdict!r}")
    claim, source, note = (str(check[key]) for key in ("claim", "source", "note"))
    return Verdict(name, at, claim, source, number(check["predicted"]), observed, verdict, note, records, own)


def verdict_sign(verdict: str) -> Markup:
    """Return a verdict in words, with a sign beside its colour."""
    kind = "broken" if verdict == BROKEN else verdict
    sign = element("span", SIGNS.get(verdict, "!"), aria_hidden="true")
    return element("span", sign, " ", verdict, class_=f"verdict {kind}")


def counts(verdicts: list[Verdict]) -> list[tuple[str, int]]:
    """Return how often each verdict was given, in a fixed order, those that were not left out."""
    given = [v.verdict for v in verdicts]
    return [(kind, given.count(kind)) for kind in (*SIGNS, BROKEN) if kind in given]


def verdict_section(verdicts: list[Verdict], problems: list[str], shown: Mapping[str, str]) -> Markup:
    """Return the section; ``shown`` gives the anchor of each record that the page shows."""
    parts: list[Markup | None] = [element("p", _ABOUT)]
    parts += [element("p", line, class_="problem") for line in problems]
    if verdicts:
        tally = [element("li", f"{n} ", verdict_sign(kind)) for kind, n in counts(verdicts)]
        parts.append(element("ul", *tally, class_="counts"))
    for caption, own in (("Claims of the two papers", False), ("Claims of this package's own theory", True)):
        rows = [_row(v, shown) for v in verdicts if v.own_theory is own]
        if rows:
            header = ("claim", "verdict", "predicted", "observed", "records")
            parts.append(table(caption, header, rows, cards=True))
    if not verdicts and not problems:
        parts.append(element("p", "No verdicts yet: ", element("code", MAKE)))
    return join(parts)


def _row(v: Verdict, shown: Mapping[str, str]) -> list[Markup]:
    claim = join(
        [
            element("strong", v.claim, id=v.identifier),
            element("br"),
            element("span", f"{v.source} ({v.name})", class_="muted small"),
            element("br"),
            element("span", v.note, class_="small"),
        ]
    )
    named = []
    for record in v.records:
        label = " ".join(record.split("/")[:2])
        at = shown.get(record)
        named.append(
            element("a", breakable(label), href=f"#{at}") if at else text(f"{record} (not in this report)")
        )
    listed = Markup("<br>".join(named)) if named else text("theory alone" if v.verdict != BROKEN else "none")
    return [claim, verdict_sign(v.verdict), text(v.predicted), text(v.observed), listed]

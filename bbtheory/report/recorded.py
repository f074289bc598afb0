"""The experiments' records, read as files: what was asked, who ran it when and where, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bbtheory.archive import OK, PRESETS
from bbtheory.layout import lay_out
from bbtheory.records import SCHEMA
from bbtheory.report.markup import Identifiers, Markup, breakable, counted, element, join, number, table, text
from bbtheory.storage import read_stored, restore

LARGEST_RECORD = 50 * 10**6  # bytes of a record's text, and of its arrays unpacked
MOST_ROWS = 200  # of one table
MOST_MARKUP = 250_000  # characters of one record's tables: the record itself has them all
ROOM = 2_000_000  # of all


@dataclass(frozen=True)
class Recorded:
    """What the archive holds of one experiment: its best record, if any, and what is wrong with others."""

    experiment: str
    identifier: str
    question: str
    record: str
    """Path below the archive; empty where there is no record."""
    preset: str = ""
    status: str = ""
    result: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_records(results: Path, questions: Mapping[str, str], ids: Identifiers) -> list[Recorded]:
    """Return each experiment that the archive or ``questions`` names, sorted.

    The best preset with a result is shown; of several settings of one preset the newest.
    """
    folders = {path.name for path in results.iterdir() if path.is_dir()} if results.is_dir() else set()
    return [
        _read(results, name, questions.get(name, ""), ids)
        for name in sorted(folders | set(questions))
        if name in questions or any((results / name / preset).is_dir() for preset in PRESETS)
    ]


def _read(results: Path, name: str, question: str, ids: Identifiers) -> Recorded:
    problems: list[str] = []
    found: list[Recorded] = []
    at = ids.new("record", name)
    for preset in PRESETS:
        here: list[Recorded] = []
        for path in sorted((results / name / preset).glob("*.json")):
            record = path.relative_to(results).as_posix()
            try:
                here.append(_recorded(path, name, at, question, record, preset))
            except Exception as error:  # a file may be damaged in any way; it must not take the others along
                problems.append(f"{record} cannot be read: {' '.join(str(error).split()) or repr(error)}")
        found += sorted(here, key=lambda each: str(each.provenance.get("date", "")), reverse=True)
    found.sort(key=lambda each: each.result is None)  # stable: presets stay best first
    if not found:
        return Recorded(name, at, question, "", problems=tuple(problems))
    return replace(found[0], problems=tuple(problems))


def _recorded(path: Path, name: str, at: str, question: str, record: str, preset: str) -> Recorded:
    if path.stat().st_size > LARGEST_RECORD:
        raise ValueError(f"it must have at most {LARGEST_RECORD:,} bytes, got {path.stat().st_size:,}")
    stored, arrays = read_stored(path, LARGEST_RECORD)
    if stored.get("schema") != SCHEMA or stored.get("kind") != "experiment":
        raise ValueError(f"it must be an experiment's record of schema {SCHEMA}")
    status = str(stored["status"])
    result = restore(Any, stored["result"], arrays) if status == OK else None
    provenance = restore(Any, stored["provenance"], arrays)
    for what, value in (("result", {} if result is None else result), ("provenance", provenance)):
        if not isinstance(value, Mapping):
            raise ValueError(f"its {what} must be an object, got {type(value).__name__}")
    return Recorded(name, at, question, record, preset, status, result, provenance)


def record_section(
    records: Sequence[Recorded], links: Mapping[str, Sequence[Markup]]
) -> tuple[Markup, list[str]]:
    """Return the section, and a line for each record that could not be laid out.

    ``links`` are those of each record to what stands on it.
    """
    parts: list[Markup] = []
    failed: list[str] = []
    room = ROOM
    for each in records:
        body: Markup | None = None
        try:
            body = _body(each, links.get(each.record, ()), min(MOST_MARKUP, room)) if each.record else None
        except Exception as error:  # fields of odd types and shapes: the record is said to be damaged
            failed.append(f"{each.record} cannot be shown: {' '.join(str(error).split()) or repr(error)}")
        room -= len(body or "")
        parts.append(_article(each, body, failed[-1:] if body is None and each.record else []))
    if not parts:
        return element("p", "No records: ", element("code", "python -m experiments")), failed
    return join([_overview(records), *parts]), failed


def _overview(records: Sequence[Recorded]) -> Markup:
    """Return the table that leads to each experiment."""
    rows = []
    for each in records:
        link = element("a", breakable(each.experiment), href=f"#{each.identifier}")
        seeds = each.provenance.get("seeds")
        n = len(seeds) if isinstance(seeds, list) else None
        state = each.status if each.record else ("cannot be read" if each.problems else "no record yet")
        rows.append([link, each.question, each.preset or None, n, state])
    header = ("experiment", "question", "preset", "seeds", "state")
    return table("All experiments", header, rows, cards=True)


def _article(each: Recorded, body: Markup | None, failed: list[str]) -> Markup:
    heading = f"{each.identifier}.title"
    lines = [element("p", line, class_="problem") for line in (*each.problems, *failed)]
    if not each.record and not each.problems:
        command = element("code", f"python -m experiments {each.experiment}")
        lines.append(element("p", "No record yet: ", command))
    question = element("p", each.question) if each.question else None
    title = element("h3", each.experiment, id=heading)
    return element("article", title, question, *lines, body, id=each.identifier, aria_labelledby=heading)


def _body(each: Recorded, links: Sequence[Markup], room: int) -> Markup:
    made = each.provenance
    parts: list[Markup | None] = []
    if each.status != OK:
        parts.append(element("p", f"Preset {each.preset}: {each.status}", class_="problem"))
    elif each.preset == "smoke":
        parts.append(element("p", "A smoke run: it shows that the experiment runs, and decides nothing."))
    seeds = made.get("seeds")
    seeds = seeds if isinstance(seeds, list) else []
    commit = str(made.get("commit", "unknown"))[:12] + (" with changes" if made.get("dirty") else "")
    cells = made.get("cells")
    facts = [
        ("preset", each.preset),
        ("seeds", f"n = {len(seeds)}: {_ranges(seeds)}" if seeds else "none"),
        ("run", f"{made.get('date', 'at no date')}, {number(made.get('seconds'))} s"),
        ("cells", number(cells)) if cells is not None else None,
        ("on", f"{made.get('device', 'no device named')}; {_joined(made.get('machine'))}"),
        ("versions", _joined(made.get("versions"))),
        ("commit", commit),
        ("record", each.record),
    ]
    pairs = [part for fact in facts if fact for part in (element("dt", fact[0]), element("dd", fact[1]))]
    parts.append(element("dl", *pairs, class_="facts"))
    if links:
        listed = Markup(", ").join(links)
        parts.append(element("p", "What stands on it: ", Markup(listed)))
    config = made.get("config")
    if isinstance(config, Mapping):
        shown = [[str(key), _setting(value)] for key, value in config.items() if key != "seeds"]
        if shown:
            parts.append(_folded("Settings", [table("Settings", ("setting", "value"), shown[:MOST_ROWS])]))
    if each.result is not None:
        parts.append(_results(each, room))
    return join(parts)


def _results(each: Recorded, room: int) -> Markup:
    """Return the tables of a record, as many as there is room for."""
    assert each.result is not None
    seconds = each.provenance.get("cell_seconds", ())
    tables: list[Markup] = []
    left = 0
    layout = lay_out(each.result, seconds if isinstance(seconds, list) else ())
    for sheet in layout.sheets:
        if not sheet.rows:
            continue
        title = sheet.title or ("values" if sheet.header[0] == "field" else "all rows")
        if len(sheet.rows) > MOST_ROWS:
            title += f", the first {MOST_ROWS} of {len(sheet.rows)} rows"
        made = table(title, sheet.header, sheet.rows[:MOST_ROWS])
        if len(made) > room:
            left += 1
            continue
        room -= len(made)
        label = f"{each.experiment}: {title}"
        tables.append(element("div", made, class_="scroll", tabindex="0", role="region", aria_label=label))
    if left:
        tables.append(element("p", f"{counted(left, 'table')} left out for size; {each.record} has all."))
    summary = f"Results ({counted(len(tables) - bool(left), 'table')})"
    return _folded(summary, [*tables, *(element("p", f"{name}: {told}") for name, told in layout.notes)])


def _folded(summary: str, inside: Sequence[Any]) -> Markup:
    return element("details", element("summary", summary), *inside)


def _setting(value: Any) -> str:
    return ", ".join(map(number, value)) if isinstance(value, list) else number(value)


def _joined(mapping: Any) -> str:
    """Return a small mapping in words."""
    if not isinstance(mapping, Mapping):
        return number(None)
    return ", ".join(f"{key} {number(value)}" for key, value in mapping.items())


def _ranges(seeds: Sequence[Any]) -> str:
    """Return numbers as text, runs of them as first–last."""
    if not all(type(seed) is int for seed in seeds):
        return ", ".join(map(number, seeds))
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1][1:] = [seed]
        else:
            runs.append([seed])
    return text(", ".join("–".join(map(str, run)) for run in runs))

"""The verdicts as tables: short for the README, in full for the site."""

from __future__ import annotations

from collections.abc import Sequence

from bbtheory import archive
from bbtheory.catalog import Catalog
from bbtheory.tables import escape_markdown, format_markdown
from paper_checks._driver import Judged, judge
from paper_checks.protocol import VERDICTS

_DIGITS = 3  # significant: more would say more than the intervals do
_ABSENT = "no record yet"


def judge_all() -> list[Judged]:
    """Judge every claim by the tracked records."""
    catalog, experiments = Catalog("paper_checks"), Catalog("experiments")
    return [judge(catalog, experiments, name, archive.RESULTS) for name in catalog.names]


def short_tables(checks: Sequence[Judged]) -> str:
    """Return the claims of the papers and those of this package, a line each, as Markdown."""
    judged = [each for each in checks if each.result is not None and not _waits(each)]
    parts = [f"{len(judged)} claims judged: {_counted(judged)}."]
    waiting = [f"`{each.name}`" for each in checks if _waits(each)]
    if waiting:
        parts.append(_folded(f"{len(waiting)} more wait for a record", ", ".join(waiting)))
    for title, own in (("Claims of the papers and about them", False), ("This package's own theory", True)):
        chosen = [each for each in judged if each.own_theory == own]
        header = [title, "predicted", "observed", "verdict"]
        table = format_markdown(header, [_short(each) for each in chosen])
        parts.append(_folded(f"{title}: {_counted(chosen)}", table) if own else table)
    return "\n\n".join(parts)


def full_page(checks: Sequence[Judged]) -> str:
    """Return a section per claim: what was claimed, predicted and seen, and the reason of the verdict."""
    overview = [
        [f"[{each.name}](#{each.name})", escape_markdown(each.result.claim), f"**{each.result.verdict}**"]
        for each in checks
        if each.result is not None
    ]
    parts = [format_markdown(["check", "claim", "verdict"], overview)]
    for each in checks:
        if each.result is None:
            parts += [f"## {each.name}", f"Could not run: {escape_markdown(each.error or '')}"]
            continue
        r = each.result
        records = ", ".join(f"`results/{record}`" for record in each.records) or "none"
        said = [
            ("where it stands", escape_markdown(r.source) + (" (own theory)" if each.own_theory else "")),
            ("predicted", escape_markdown(_number(r.predicted))),
            ("observed", escape_markdown(_observed(each))),
            ("verdict", f"**{r.verdict}**"),
            ("why", escape_markdown(r.note)),
            ("records", records),
            ("again", f"`python -m paper_checks {each.name}`"),
        ]
        parts += [f"## {each.name}", f"> {escape_markdown(r.claim)}"]
        parts.append("\n".join(f"- {what}: {how}" for what, how in said))
    return "\n\n".join(parts) + "\n"


def _counted(checks: Sequence[Judged]) -> str:
    found = [each.result.verdict for each in checks if each.result is not None]
    return ", ".join(f"{found.count(verdict)} {verdict}" for verdict in VERDICTS)


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _waits(each: Judged) -> bool:
    return each.result is not None and each.result.note.startswith(_ABSENT)


def _short(each: Judged) -> list[str]:
    assert each.result is not None
    claim = f"{escape_markdown(each.result.claim)} [`{each.name}`](paper_checks/{each.name}.py)"
    seen = map(escape_markdown, (_number(each.result.predicted), _observed(each)))
    return [claim, *seen, f"**{each.result.verdict}**"]


def _observed(each: Judged) -> str:
    assert each.result is not None
    found = _number(each.result.observed, "#")
    if each.result.interval is not None:
        low, high = each.result.interval
        found += f" [{_number(low, '#')}, {_number(high, '#')}]"
    return found


def _number(value: float | str | None, keep: str = "") -> str:
    """Return a value rounded; with "#" its zeros at the end are kept, as digits that were measured."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:{keep if value else ''}.{_DIGITS}g}".removesuffix(".")

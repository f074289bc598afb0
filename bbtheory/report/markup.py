"""HTML written so that nothing becomes markup by accident: text is escaped unless it is `Markup` already."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

LONGEST_TEXT = 4000  # characters of one text of a file: more is no text for people
UNDEFINED = "–"
# characters no page may hold, and those that turn the direction of the text around them
_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_VOID = frozenset({"br", "img", "meta", "wbr"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """Return any value as escaped text: controls replaced, cut where it is too long to read."""
    if isinstance(value, Markup):
        return value
    shown = str(value)
    if len(shown) > LONGEST_TEXT:
        shown = shown[:LONGEST_TEXT] + "…"
    return Markup(html.escape(_UNSAFE.sub("�", shown), quote=True))


def breakable(name: str) -> Markup:
    """Return a long name as text that may be broken behind its underscores."""
    return Markup(text(name).replace("_", "_<wbr>"))


def join(parts: Iterable[Any]) -> Markup:
    """Return parts one after another, text escaped."""
    return Markup("".join(text(part) for part in parts if part is not None))


def element(tag: str, *children: Any, **attributes: Any) -> Markup:
    """Return an element; ``class_`` and ``aria_label`` mean class and aria-label, None leaves one out."""
    written = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        written.append(f" {name}" if value is True else f' {name}="{text(value)}"')
    start = f"<{tag}{''.join(written)}>"
    return Markup(start if tag in _VOID else f"{start}{join(children)}</{tag}>")


def number(value: Any) -> str:
    """Return a cell's text: six significant digits, a dash for None and for what is no number."""
    if value is None:
        return UNDEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) < 10**15:
        return str(value)
    if isinstance(value, int | float):
        try:
            return f"{value:.6g}" if math.isfinite(value) else UNDEFINED
        except OverflowError:  # an integer beyond float64
            return UNDEFINED
    return str(value)


def counted(n: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


class Identifiers:
    """Hands out the ids of a page: each once, whatever the names they are made from.

    They hold no full stop: ``id.title`` is free for a part of what has the id.
    """

    def __init__(self) -> None:
        self._given: set[str] = set()

    def new(self, *names: str) -> str:
        """Return an id made from names, with a number behind it where it is taken."""
        stem = "-".join(re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:80] for name in names) or "part"
        found, n = stem, 1
        while found in self._given:
            n += 1
            found = f"{stem}-{n}"
        self._given.add(found)
        return found


def table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[Any]], *, cards: bool = False
) -> Markup:
    """Return a table whose first cell of a row names the row; columns without text are set to the right.

    With ``cards`` rows become cards on a phone: cells know their column, and roles that they have anyway are
    said once more, for they would be lost with the layout of a table.
    """
    is_number = [all(not isinstance(row[i], str) for row in rows) for i in range(len(header))]

    def made(tag: str, i: int, value: Any, role: str) -> Markup:
        scope = {"cell": None, "rowheader": "row", "columnheader": "col"}[role]
        right = "number" if is_number[i] else None
        shown = value if isinstance(value, Markup) else number(value)
        more = {"role": role, "data_label": None if role == "columnheader" else header[i]} if cards else {}
        return element(tag, shown, class_=right, scope=scope, **more)

    def role(name: str) -> str | None:
        return name if cards else None

    head = [made("th", i, name, "columnheader") for i, name in enumerate(header)]
    body = [
        element(
            "tr",
            *(made("td" if i else "th", i, v, "cell" if i else "rowheader") for i, v in enumerate(row)),
            role=role("row"),
        )
        for row in rows
    ]
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *head, role=role("row")), role=role("rowgroup")),
        element("tbody", *body, role=role("rowgroup")),
        role=role("table"),
        class_="cards" if cards else None,
    )

"""The figures that ``python -m figures`` has built, each with its caption, its sources and its numbers."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bbtheory.layout import lay_out
from bbtheory.records import SCHEMA
from bbtheory.report.markup import Identifiers, Markup, element, join, table
from bbtheory.tables import Table, read_csv

MAKE = "python -m figures"
# a vector picture is sharp in print and at any zoom, but one of many points is larger than its pixels
LARGEST_VECTOR = 400_000  # bytes
LARGEST_PICTURE = 2_000_000
LARGEST_NOTES = 1_000_000
ROOM = 7_500_000  # bytes of all pictures, as they stand in the page: it must open on a phone
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A built figure as the page shows it."""

    name: str
    identifier: str
    title: str
    caption: str
    paper: str
    sources: tuple[tuple[str, str], ...]
    """Label and record of each experiment it draws."""
    lacking: tuple[str, ...]
    """Experiments that have no record yet."""
    data: Markup
    """The whole picture as a data address."""
    numbers: Table | None
    problem: str
    """Why there are no numbers; empty where there are, or need be, none."""


def read_pictures(folder: Path, ids: Identifiers) -> tuple[list[Picture], list[str]]:
    """Return the figures of a folder by name, and a line for each that is damaged or left out."""
    pictures: list[Picture] = []
    problems: list[str] = []
    used = 0
    for notes in sorted(folder.glob("*.json")):
        try:
            picture = _picture(notes, ids)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            problems.append(f"{notes} is no built figure: {' '.join(str(error).split()) or repr(error)}")
            continue
        if used + len(picture.data) > ROOM:
            problems.append(f"{picture.name}: left out, the pictures would take more than {ROOM:,} bytes")
            continue
        used += len(picture.data)
        pictures.append(picture)
        problems += [picture.problem] if picture.problem else []
    return pictures, problems


def _picture(notes: Path, ids: Identifiers) -> Picture:
    stored = json.loads(_bytes(notes, LARGEST_NOTES).decode("utf-8"))
    if not isinstance(stored, dict) or (stored.get("schema"), stored.get("kind")) != (SCHEMA, "figure"):
        raise ValueError(f"its notes must be of kind figure, schema {SCHEMA}")
    sources = tuple(
        (f"{source['experiment']} {source['preset']}", str(source["record"])) for source in stored["sources"]
    )
    title, caption, paper = (str(stored[key]) for key in ("title", "caption", "paper"))
    lacking = tuple(str(name) for name in stored.get("lacking", ()))
    name = notes.stem  # the names in the notes are not trusted with a path
    data = _data(notes)
    at = ids.new("figure", name)
    return Picture(name, at, title or name, caption, paper, sources, lacking, data, *_numbers(notes))


def _data(notes: Path) -> Markup:
    """Return the picture beside its notes: the drawing where there is a small one, else its pixels."""
    vector, pixels = notes.with_suffix(".svg"), notes.with_suffix(".png")
    if not vector.exists() and not pixels.exists():
        raise ValueError(f"neither {vector.name} nor {pixels.name} is beside it")
    if vector.exists() and (vector.stat().st_size <= LARGEST_VECTOR or not pixels.exists()):
        content = _bytes(vector, LARGEST_PICTURE)
        if b"<svg" not in content[:4096]:
            raise ValueError(f"{vector.name} is no SVG drawing")
        # as an image it may run no script and load nothing
        kind = "image/svg+xml"
    else:
        content = _bytes(pixels, LARGEST_PICTURE)
        if not content.startswith(_PNG):
            raise ValueError(f"{pixels.name} is no PNG picture")
        kind = "image/png"
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}")


def _bytes(path: Path, largest: int) -> bytes:
    if path.stat().st_size > largest:
        raise ValueError(f"{path.name} must have at most {largest:,} bytes, got {path.stat().st_size:,}")
    return path.read_bytes()


def _numbers(notes: Path) -> tuple[Table | None, str]:
    """Return the figure's numbers, where they lie beside it, or why they cannot be shown."""
    path = notes.with_suffix(".csv")
    if not path.exists():
        return None, ""
    try:
        return read_csv(path.name, _bytes(path, LARGEST_PICTURE).decode("utf-8")), ""
    except (OSError, ValueError) as error:
        return None, f"{path.name} cannot be shown: {' '.join(str(error).split())}"


def picture_section(pictures: list[Picture], problems: list[str], shown: Mapping[str, str]) -> Markup:
    """Return the section; ``shown`` gives the anchor of each record that the page shows."""
    parts = [element("p", line, class_="problem") for line in problems]
    if len(pictures) > 1:
        links = [element("a", picture.title, href=f"#{picture.identifier}") for picture in pictures]
        parts.append(element("ul", *(element("li", link) for link in links), class_="index"))
    parts += [_figure(picture, shown) for picture in pictures]
    if not parts:
        parts = [element("p", "No figure has been built yet: ", element("code", MAKE))]
    return join(parts)


def _figure(picture: Picture, shown: Mapping[str, str]) -> Markup:
    heading, below = f"{picture.identifier}.title", f"{picture.identifier}.caption"
    drawn: list[Any] = []
    for label, record in picture.sources:
        at = shown.get(record)
        drawn += [", " if drawn else "", element("a", label, href=f"#{at}") if at else label]
    origin = ["Drawn from ", *drawn, ". "] if drawn else ["Theory alone. "]
    if picture.lacking:
        origin.append(f"No record yet of {', '.join(picture.lacking)}. ")
    body = [
        element("h3", picture.title, id=heading),
        element(
            "figure",
            element("img", src=picture.data, alt=picture.title, aria_describedby=below, class_="picture"),
            element("figcaption", picture.caption, " ", *origin, picture.paper, id=below),
        ),
    ]
    if picture.problem:
        body.append(element("p", picture.problem, class_="problem"))
    if picture.numbers is not None:
        body.append(_table_of(picture.numbers))
    return element("article", *body, id=picture.identifier, aria_labelledby=heading)


def _table_of(numbers: Table) -> Markup:
    """Return the numbers of a figure folded away, thinned where they are many."""
    columns = {name: [_cell(cell) for cell in column] for name, column in numbers.columns.items()}
    (sheet,) = lay_out(columns).sheets
    label = f"Numbers of {numbers.source}" + (f", {sheet.title}" if sheet.title else "")
    body = table(label, sheet.header, sheet.rows)
    scroll = element("div", body, class_="scroll", tabindex="0", role="region", aria_label=label)
    return element("details", element("summary", label), scroll)


def _cell(written: str) -> Any:
    """Return a number where a cell of a file is one, None where it is empty."""
    try:
        return float(written)
    except ValueError:
        return written or None

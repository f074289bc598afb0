"""The whole page: one file that loads nothing, and may run nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import bbtheory
from bbtheory.provenance import commit
from bbtheory.report.markup import Identifiers, Markup, counted, element, join
from bbtheory.report.pictures import picture_section, read_pictures
from bbtheory.report.recorded import read_records, record_section
from bbtheory.report.verdicts import counts, read_verdicts, verdict_section

SECTIONS = (
    ("verdicts", "Verdicts"),
    ("figures", "Figures"),
    ("explorer", "Equilibrium explorer"),
    ("experiments", "Experiments"),
)


@dataclass(frozen=True)
class Page:
    """The report as text, what it holds, and a line for each thing that could not be shown."""

    html: str
    n_verdicts: int
    n_figures: int
    n_records: int
    problems: tuple[str, ...]


def make_page(
    results: Path | None, figures: Path | None, checks: Path | None, questions: Mapping[str, str]
) -> Page:
    """Make the report of an archive, a folder of built figures and a file of verdicts; None: there is none.

    Parameters
    ----------
    results, figures, checks : Path or None
        What ``python -m experiments``, ``python -m figures`` and ``python -m paper_checks --json`` left. The
        files are not trusted: their text is shown as text, damaged ones are named in the page.
    questions : mapping of str
        The question of each experiment that should have a record.

    Returns
    -------
    Page
        The same files give the same bytes.
    """
    ids = Identifiers()
    verdicts, bad_verdicts = read_verdicts(checks, ids) if checks else ([], [])
    pictures, bad_pictures = read_pictures(figures, ids) if figures else ([], [])
    records = read_records(results, questions, ids) if results else []
    shown = {each.record: each.identifier for each in records if each.record}
    links: dict[str, list[Markup]] = {}
    for verdict in verdicts:
        for record in verdict.records:
            links.setdefault(record, []).append(_link(verdict.identifier, f"claim {verdict.name}"))
    for picture in pictures:
        for _, record in picture.sources:
            links.setdefault(record, []).append(_link(picture.identifier, f"figure {picture.name}"))
    recorded, failed = record_section(records, links)
    bodies = {
        "verdicts": verdict_section(verdicts, bad_verdicts, shown),
        "figures": picture_section(pictures, bad_pictures, shown),
        "experiments": recorded,
    }
    sections = [
        Markup(_file("explorer.html")) if name == "explorer" else _section(name, title, bodies[name])
        for name, title in SECTIONS
    ]
    held = [f"{n} {kind}" for kind, n in counts(verdicts)]
    held += [counted(len(pictures), "figure"), counted(len(shown), "record")]
    problems = (*bad_verdicts, *bad_pictures, *(line for each in records for line in each.problems), *failed)
    html = _document(_header(held), join(sections))
    return Page(html, len(verdicts), len(pictures), len(shown), problems)


def _link(identifier: str, label: str) -> Markup:
    return element("a", label, href=f"#{identifier}")


def _section(name: str, title: str, body: Markup) -> Markup:
    heading = f"{name}-title"
    return element("section", element("h2", title, id=heading), body, id=name, aria_labelledby=heading)


def _header(held: list[str]) -> Markup:
    about = (
        "Two theories of neural-network pruning, what they predict, and what simulations and trained "
        "networks do: Budgeted Broadcast (arXiv 2510.01263) and Hyperflux / the Neural Pruning Law (arXiv "
        "2504.05349). "
    )
    links = [element("li", _link(name, title)) for name, title in SECTIONS]
    return element(
        "header",
        element("h1", "bbtheory report", id="report-title"),
        element("p", about, "In this report: ", ", ".join(held), ". A dash stands for what is not defined."),
        element("nav", element("ul", *links), aria_label="Sections"),
    )


def _document(header: Markup, main: Markup) -> str:
    style = _file("page.css")
    script = _file("equilibrium.js") + "\n" + _file("explorer.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    sha, dirty = commit()
    made = f"bbtheory {bbtheory.__version__}, commit {sha[:12]}{' with changes' if dirty else ''}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", "bbtheory report"),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#main", class_="skip"),
        header,
        element("main", main, id="main"),
        element("footer", element("p", f"Made by {made}: ", element("code", "python -m bbtheory.report"))),
        element("script", Markup(script)),
    )
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def _file(name: str) -> str:
    return files("bbtheory.report").joinpath(name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    """Return what allows a piece of style or script, and no other, to work in the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")

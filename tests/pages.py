"""What tests of the report share: a page read as a browser reads it, and small archives to make one of."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

VOID = {"br", "img", "input", "meta", "wbr"}
LABELLED = {"input", "textarea", "select"}
# attributes from which a browser fetches something
FETCHED = {
    "src",
    "srcset",
    "action",
    "background",
    "cite",
    "data",
    "formaction",
    "poster",
    "ping",
    "xlink:href",
}

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect style="fill: red" width="9" height="9"/></svg>'


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        return self.attributes.get(name) or ""

    def all(self, *tags: str) -> list[Element]:
        """Return all elements below, or those of some tags, in the order of the page."""
        found = []
        for child in self.children:
            if not tags or child.tag in tags:
                found.append(child)
            found += child.all(*tags)
        return found

    def words(self) -> str:
        """Return the text in and below, pieces apart by blanks."""
        return " ".join(filter(None, [self.text, *(child.words() for child in self.children)]))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("page", {})
        self.open = [self.root]
        self.faults: list[str] = []

    def handle_starttag(self, tag, attrs):
        made = Element(tag, dict(attrs))
        if len(made.attributes) < len(attrs):
            self.faults.append(f"{tag} has an attribute twice")
        self.open[-1].children.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_endtag(self, tag):
        if self.open[-1].tag != tag:
            self.faults.append(f"</{tag}> closes <{self.open[-1].tag}>")
        else:
            self.open.pop()

    def handle_data(self, data):
        self.open[-1].text += data


def read(html: str) -> tuple[Element, list[str]]:
    """Return the tree of a page, and where its tags do not close each other."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    left = [f"<{each.tag}> is never closed" for each in reader.open[1:]]
    return reader.root, reader.faults + left


def faults(html: str) -> list[str]:
    """Return what is wrong with a page: its tags, ids, names of things, headings, and what it would load."""
    page, found = read(html)
    everything = page.all()
    ids = [each["id"] for each in everything if "id" in each.attributes]
    found += [f"id {name!r} is there twice" for name in {n for n in ids if ids.count(n) > 1}]
    found += [f"id {name!r} is no id" for name in ids if not re.fullmatch(r"[A-Za-z][\w.-]*", name)]
    labels = {each["for"] for each in everything if each.tag == "label"}
    levels = [int(each.tag[1]) for each in everything if re.fullmatch("h[1-6]", each.tag)]
    if levels[:1] != [1] or levels.count(1) != 1:
        found.append("there must be one h1, and first")
    found += [f"a heading leaps from {a} to {b}" for a, b in itertools.pairwise(levels) if b > a + 1]
    for landmark in ("header", "nav", "main", "footer"):
        if sum(each.tag == landmark for each in everything) != 1:
            found.append(f"there must be one {landmark}")
    for each in everything:
        if each.tag == "img" and not each["alt"].strip():
            found.append("an img has no alt")
        if each.tag in LABELLED and each["id"] not in labels and not each["aria-label"]:
            found.append(f"{each.tag} {each['id']!r} has no label")
        if each.tag in ("nav", "section", "article") and not (each["aria-label"] or each["aria-labelledby"]):
            found.append(f"{each.tag} {each['id']!r} has no name")
        if each.tag == "table" and not any(child.tag == "caption" for child in each.children):
            found.append("a table has no caption")
        if each.tag in ("script", "style", "meta", "link", "iframe", "object", "embed", "form", "base"):
            continue
        for name, value in each.attributes.items():
            if name.startswith("on") or name == "style":
                found.append(f"{each.tag} has an attribute {name}")
            if name in FETCHED and not re.match(
                r"data:image/(png|svg\+xml);base64,[A-Za-z0-9+/=]+$", value or ""
            ):
                found.append(f"{each.tag} loads {value!r}")
            if name == "href" and not (value or "").startswith("#"):
                found.append(f"{each.tag} leads out to {value!r}")
            if name == "href" and value and value[1:] not in ids:
                found.append(f"{value!r} leads nowhere")
            if name in ("aria-labelledby", "aria-describedby"):
                found += [f"{name} {n!r} names nothing" for n in (value or "").split() if n not in ids]
    return found + _policy_faults(page, everything)


def _policy_faults(page: Element, everything: list[Element]) -> list[str]:
    metas = [e["content"] for e in everything if e["http-equiv"] == "Content-Security-Policy"]
    if len(metas) != 1:
        return ["there must be one Content-Security-Policy"]
    found = []
    if not metas[0].startswith("default-src 'none';") or "unsafe" in metas[0] or "http" in metas[0]:
        found.append(f"the policy allows too much: {metas[0]}")
    for each in everything:
        if each.tag in ("script", "style"):
            digest = base64.b64encode(hashlib.sha256(each.text.encode()).digest()).decode()
            if each.attributes or f"'sha256-{digest}'" not in metas[0]:
                found.append(f"the policy does not allow this {each.tag}")
        if each.tag in ("link", "iframe", "object", "embed", "base"):
            found.append(f"there must be no {each.tag}")
    return found


def write_record(results: Path, experiment: str, result, preset: str = "cpu", **changes) -> Path:
    """Write a record as the archive holds it, with anything in it, and return its file."""
    path = results / experiment / preset / "0123456789ab.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {
        "commit": "feed" * 10,
        "dirty": False,
        "versions": {"python": "3.11.7"},
        "machine": {"os": "Linux", "cores": 2},
        "device": "cpu",
        "config": {"n_steps": 5, "seeds": [0, 1]},
        "seeds": [0, 1, 2, 7],
        "date": "2026-01-01T00:00:00+00:00",
        "seconds": 1.5,
    }
    stored = {"schema": 1, "kind": "experiment", "experiment": experiment, "preset": preset, "status": "ok"}
    stored |= {"seeds": [0, 1], "result": result, "provenance": made} | changes
    path.write_text(json.dumps(stored), encoding="utf-8")
    return path


def write_figure(folder: Path, name: str, picture: bytes = SVG, ending: str = "svg", **changes) -> Path:
    """Write a built figure and return its notes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.{ending}").write_bytes(picture)
    notes = {"schema": 1, "kind": "figure", "name": name, "title": "Walks", "caption": "n = 4 walks."}
    notes |= {"paper": "none", "sources": [], "files": [f"{name}.{ending}"], "stamp": "0"} | changes
    path = folder / f"{name}.json"
    path.write_text(json.dumps(notes), encoding="utf-8")
    return path


def check(name: str = "walks_end", **changes) -> dict:
    """Return one verdict as ``paper_checks --json`` writes it."""
    found = {"name": name, "own_theory": False, "claim": "Walks end.", "source": "nowhere", "predicted": 0.0}
    found |= {"observed": 0.5, "interval": [0.25, 0.75], "verdict": "refuted", "note": "n = 4", "records": []}
    return found | {"error": None} | changes


def write_checks(path: Path, *checks) -> Path:
    path.write_text(
        json.dumps({"schema": 1, "kind": "paper_checks", "checks": list(checks)}), encoding="utf-8"
    )
    return path

"""Builds one figure: what it stands on, whether that has changed, the pictures and the notes beside them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib

import bbtheory
from bbtheory import archive, plots
from bbtheory.archive import Archived
from bbtheory.catalog import Catalog, imported_modules
from bbtheory.records import SCHEMA
from bbtheory.storage import atomic
from bbtheory.tables import write_csv
from figures._drawing import Drawing

DRAWN, FRESH, NO_RECORD, FAILED = "drawn", "up to date", "no record", "failed"
_ROOT = Path(bbtheory.__file__).resolve().parent.parent


@dataclass(frozen=True)
class Built:
    """What became of a figure: its status, and the presets it shows or what went wrong."""

    name: str
    status: str
    detail: str


@dataclass(frozen=True)
class Build:
    """One figure to build, as a picture of this format; ``anew`` draws it even if nothing has changed."""

    package: str
    experiments: str
    name: str
    results: Path
    out: Path
    picture: str
    anew: bool

    def __call__(self) -> Built:
        """Build it; whatever goes wrong is its status."""
        try:
            return self._build()
        except Exception as error:
            return Built(self.name, FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _build(self) -> Built:
        figures, experiments = Catalog(self.package), Catalog(self.experiments)
        module = figures.load(self.name)
        found = {name: archive.best(self.results, name, experiments.load(name)) for name in module.SOURCES}
        lacking = [name for name, record in found.items() if record is None]
        sources = [record for record in found.values() if record is not None]
        if lacking and not (getattr(module, "PARTIAL", False) and sources):
            detail = f"no record of {lacking[0]} in {self.results}: python -m experiments {lacking[0]}"
            return Built(self.name, NO_RECORD, detail)
        presets = ", ".join(f"{s.experiment} {s.preset}" for s in sources) or "theory"
        code = _code(figures.path(self.name), "bbtheory", self.package) | {Path(__file__).resolve()}
        for name in module.SOURCES:
            code |= _code(experiments.path(name), self.experiments)
        stamp = _stamp(code | {plots.STYLE_FILE}, sources)
        files = [self.out / f"{self.name}.{ending}" for ending in (self.picture, "csv")]
        notes = self.out / f"{self.name}.json"
        if not self.anew and _stamp_of(notes, files) == stamp:
            return Built(self.name, FRESH, presets)
        results = [None if record is None else record.result for record in found.values()]
        figure, caption = draw(module, results)
        with matplotlib.rc_context(plots.STYLE):
            _footer(figure, sources, lacking)
            plots.save_figure(figure, files[0], figures.summary(self.name))
        write_csv(files[1], figure.table())
        described = {
            "schema": SCHEMA,
            "kind": "figure",
            "name": self.name,
            "title": figures.summary(self.name),
            "caption": caption,
            "paper": module.PAPER,
            "sources": [self._origin(source) for source in sources],
            "lacking": lacking,
            "files": [path.name for path in files],
            "stamp": stamp,
        }
        with atomic(notes) as temporary:
            temporary.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        return Built(self.name, DRAWN, presets)

    def _origin(self, source: Archived) -> dict[str, Any]:
        kept = {key: source.provenance[key] for key in ("commit", "dirty", "date", "device", "hash")}
        record = source.path.relative_to(self.results).as_posix()
        named = {"experiment": source.experiment, "preset": source.preset, "record": record}
        return named | {"seeds": list(source.seeds)} | kept


def draw(module: ModuleType, results: Sequence[Any]) -> tuple[Drawing, str]:
    """Draw a figure in the house style; return it with its caption."""
    with matplotlib.rc_context(plots.STYLE):
        figure = Drawing()
        caption = module.draw(figure, *results)
    if not isinstance(caption, str) or not caption:
        raise TypeError(f"draw must return the caption, got {caption!r}")
    return figure, caption


def _footer(figure: Drawing, sources: list[Archived], lacking: list[str]) -> None:
    """Print below the picture what it was drawn from; a smoke size must not be taken for a result."""
    by_preset = {preset: [s.experiment for s in sources if s.preset == preset] for preset in archive.PRESETS}
    parts = [f"{preset} records of {', '.join(named)}" for preset, named in by_preset.items() if named]
    text = f"drawn from {'; '.join(parts)}" if parts else "theory alone: no record"
    if lacking:
        text += f"\nno record of {', '.join(lacking)}"
    if by_preset["smoke"]:
        text += "\nsmoke runs are no evidence"
    figure.supxlabel(text, x=0.99, ha="right", fontsize=6.5, color="0.35")


def _code(path: Path, *packages: str) -> set[Path]:
    """Return a file and the files of these packages that it imports, directly or not."""
    found: set[Path] = set()
    waiting = [path.resolve()]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        package = ".".join(path.relative_to(_ROOT).parts[:-1]) if path.is_relative_to(_ROOT) else ""
        for dotted in imported_modules(path.read_text(encoding="utf-8"), package):
            parts = dotted.split(".")
            if parts[0] not in packages:
                continue
            for end in range(len(parts), 0, -1):
                stem = _ROOT.joinpath(*parts[:end])
                files = [file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.exists()]
                if files:
                    waiting.append(files[0])
                    break
    return found


def _stamp(code: set[Path], sources: list[Archived]) -> str:
    """Return a hash of all that decides what the pictures look like."""
    digest = hashlib.sha256()
    for library in ("matplotlib", "numpy"):
        digest.update(importlib.metadata.version(library).encode())
    records = [file for source in sources for file in (source.path, source.path.with_suffix(".npz"))]
    for file in [*sorted(code), *(record for record in records if record.exists())]:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _stamp_of(notes: Path, files: list[Path]) -> str | None:
    """Return the stamp of the pictures that are there, or None where one is missing."""
    try:
        if all(file.exists() for file in files):
            return json.loads(notes.read_text(encoding="utf-8"))["stamp"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no readable notes: drawn again
    return None

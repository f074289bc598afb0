"""The archive of experiments: results/NAME/PRESET/HASH.json (+ .npz), a result with its provenance.

``result`` is what a run found and is compared bit for bit; ``provenance`` says who made it, when and where,
and is never compared. HASH names the settings without their seeds, which the record states.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from bbtheory.provenance import canonical, config_hash
from bbtheory.records import SCHEMA, Record
from bbtheory.storage import read_stored, restore, store, write_stored

PRESETS = ("full", "gpu", "cpu", "smoke")  # best first
OK = "ok"
RESULTS = Path(__file__).resolve().parent.parent / "results"  # of the checkout
_KIND = "experiment"


@dataclasses.dataclass(frozen=True)
class Archived:
    """One record of the archive; ``result`` is None unless ``status`` is ``"ok"``."""

    path: Path
    experiment: str
    preset: str
    status: str
    seeds: tuple[int, ...]
    result: Any
    provenance: dict[str, Any]


def settings(module: ModuleType, preset: str) -> Any:
    """Return an experiment's settings under a preset: its constant of that name; full is ``Config()``.

    Raises
    ------
    ValueError
        If the experiment has no such preset.
    """
    if preset == "full":
        return module.Config()
    if not hasattr(module, preset.upper()):
        has = [p for p in reversed(PRESETS) if p == "full" or hasattr(module, p.upper())]
        raise ValueError(f"preset must be one that {module.__name__} has ({', '.join(has)}), got {preset!r}")
    return getattr(module, preset.upper())


def seeds_of(config: Any) -> tuple[int, ...]:
    """Return the seeds of settings; those without seeds have none."""
    return tuple(getattr(config, "seeds", ()))


def record_path(root: Path, experiment: str, preset: str, config: Any) -> Path:
    """Return where the record of these settings lies, seeds aside."""
    return root / experiment / preset / f"{config_hash(config)}.json"


def cell_path(record: Path, cell: Any) -> Path:
    """Return where one cell of a sweep lies; its name tells seeds apart: more seeds are more cells."""
    named = json.dumps([canonical(cell), list(seeds_of(cell))])
    return record.with_suffix(".cells") / f"{hashlib.sha256(named.encode()).hexdigest()[:12]}.json"


def write(record: Archived) -> None:
    """Write a record and its arrays; all or nothing."""
    arrays: dict[str, Any] = {}
    stored = {"schema": SCHEMA, "kind": _KIND} | {
        field.name: store(getattr(record, field.name), arrays, field.name)
        for field in dataclasses.fields(record)
        if field.name != "path"
    }
    write_stored(record.path, stored, arrays)


def read(path: Path, result_type: type[Record]) -> Archived:
    """Read a record whose result is a ``result_type``; nothing in the file is executed.

    Raises
    ------
    ValueError
        If the file is not such a record.
    """
    stored, arrays = read_stored(path)
    if stored.get("schema") != SCHEMA or stored.get("kind") != _KIND:
        raise ValueError(f"{path} must be an experiment's record of schema {SCHEMA}")
    try:
        result = stored["result"]
        return Archived(
            path,
            str(stored["experiment"]),
            str(stored["preset"]),
            str(stored["status"]),
            tuple(stored["seeds"]),
            None if result is None else restore(result_type, result, arrays),
            restore(dict[str, Any], stored["provenance"], arrays),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} must be a record of {result_type.__name__}: {error}") from None


def present(root: Path, experiment: str, module: ModuleType) -> Iterator[Archived]:
    """Yield the records of an experiment's present settings, best preset first."""
    for preset in PRESETS:
        if preset == "full" or hasattr(module, preset.upper()):
            path = record_path(root, experiment, preset, settings(module, preset))
            if path.exists():
                yield read(path, module.Result)


def best(root: Path, experiment: str, module: ModuleType) -> Archived | None:
    """Return the record of the best preset that has a result, or None."""
    return next((record for record in present(root, experiment, module) if record.status == OK), None)

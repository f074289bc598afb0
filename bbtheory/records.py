"""Record: the frozen base of every result, with its public JSON and table forms, saved exactly."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from bbtheory.storage import read_stored, restore, store, write_stored

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1


class ConvergenceError(RuntimeError):
    """An iteration ended before its tolerance; ``record`` holds the unfinished result."""

    def __init__(self, message: str, record: Record):
        super().__init__(message)
        self.record = record


class InfeasibleError(ValueError):
    """The constraints contradict each other; ``record`` holds the point that violates them least."""

    def __init__(self, message: str, record: Record):
        super().__init__(message)
        self.record = record


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """A frozen result: every field always present, arrays read-only, JSON and table forms derived.

    A field that comes later has the default None, which stands for not recorded: earlier files stay readable.

    Subclasses are ``@dataclass(frozen=True, eq=False)`` and set

    ``KIND``: the ``"kind"`` of the JSON object; ``UNITS``: columns of one row per unit (column name ->
    field or property), gathered under ``"units"`` and by `to_frame`; ``DERIVED``: properties written out
    beside the fields; ``HIDDEN``: fields left out of the public JSON form, still saved.
    """

    KIND: ClassVar[str] = "record"
    UNITS: ClassVar[Mapping[str, str]] = {}
    DERIVED: ClassVar[tuple[str, ...]] = ()
    HIDDEN: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) and value.flags.writeable:
                frozen = value.view()
                frozen.flags.writeable = False
                object.__setattr__(self, field.name, frozen)

    def __eq__(self, other: object) -> bool:
        """Bit for bit equality of all fields (NaN equals NaN)."""
        if type(other) is not type(self):
            return NotImplemented
        return all(same(getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))

    __hash__ = None  # type: ignore[assignment]  # by value, and of arrays: not hashable

    def __str__(self) -> str:
        lines = [type(self).__name__]
        for name in [f.name for f in dataclasses.fields(self)] + list(self.DERIVED):
            lines.append(f"  {name}: {_brief(getattr(self, name))}")
        return "\n".join(lines[:20])

    def to_dict(self) -> dict[str, Any]:
        """Return the public JSON object: schema, kind, fields, derived values, units; undefined is None."""
        units = {column: plain(getattr(self, source)) for column, source in self.UNITS.items()}
        hidden = set(self.UNITS.values()) | set(self.HIDDEN)
        out: dict[str, Any] = {"schema": SCHEMA, "kind": self.KIND}
        for name in [f.name for f in dataclasses.fields(self) if f.name not in hidden] + list(self.DERIVED):
            out[name] = plain(getattr(self, name))
        if units:
            out["units"] = units
        return out

    def to_json(self, indent: int | None = None) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per unit (a record without units: one row of its scalars)."""
        import pandas as pd

        if self.UNITS:
            return pd.DataFrame({column: np.asarray(getattr(self, s)) for column, s in self.UNITS.items()})
        scalars = {k: v for k, v in self.to_dict().items() if not isinstance(v, (list, dict))}
        return pd.DataFrame([scalars])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all fields to ``path`` (.json), large arrays to the .npz beside it; exact, atomic."""
        arrays: dict[str, np.ndarray] = {}
        stored = {"schema": SCHEMA, "kind": self.KIND, "fields": store(self, arrays)}
        write_stored(Path(path), stored, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a record that `save` wrote.

        Raises
        ------
        ValueError
            If the file is not such a record of this kind.
        """
        stored, arrays = read_stored(Path(path))
        if stored.get("schema") != SCHEMA or stored.get("kind") != cls.KIND:
            raise ValueError(
                f"{path} must hold a record of kind {cls.KIND!r}, schema {SCHEMA}, "
                f"got kind {stored.get('kind')!r}, schema {stored.get('schema')!r}"
            )
        return restore(cls, stored["fields"], arrays)


def same(a: Any, b: Any) -> bool:
    """Bit for bit equality of two field values."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b or (a != a and b != b)


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size > 6:
        if value.dtype.kind in "iuf":
            return f"{value.shape} {value.dtype}, {value.min():.6g} to {value.max():.6g}"
        return f"{value.shape} {value.dtype}"
    if isinstance(value, (float, np.floating)):
        return f"{value:.9g}"
    if isinstance(value, Record):
        return f"{type(value).__name__}(...)"
    if isinstance(value, tuple) and any(isinstance(v, Record) for v in value):
        return f"{len(value)} x {type(value[0]).__name__}"
    return str(value)


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold; undefined numbers (NaN, infinities) become None."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return plain(value.tolist())
        return value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Record):
        nested = value.to_dict()
        del nested["schema"], nested["kind"]
        return nested
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value

"""Exact, atomic storage of any record as JSON plus one .npz, and back by its types; files are untrusted."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

_INLINE = 64  # arrays with more elements than this go to the .npz beside the JSON
_LARGEST = 16 * 10**9  # bytes that the arrays of a file may take; beyond it a small file is taken for a trap


def store(value: Any, arrays: dict[str, np.ndarray], key: str = "") -> Any:
    """Turn a value into an exact JSON form; large or non-finite arrays move into ``arrays`` under ``key``."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufU":
            raise ValueError(f"{key} must be an array of numbers, booleans or text, got dtype {value.dtype}")
        finite = value.dtype.kind != "f" or bool(np.isfinite(value).all())
        if value.size > _INLINE or not finite:
            arrays[key] = value
            return {"$npz": key}
        return {"$array": value.tolist(), "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        return {n: store(getattr(value, n), arrays, f"{key}.{n}" if key else n) for n in names}
    if isinstance(value, Mapping):
        return {str(k): store(v, arrays, f"{key}.{k}" if key else str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [store(v, arrays, f"{key}.{i}" if key else str(i)) for i, v in enumerate(value)]
    return value


def restore(hint: Any, stored: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Undo `store`, given the type the value had.

    A field whose default is None may be absent: a record made before there was such a field does not have it.
    """
    if isinstance(stored, dict):
        if "$npz" in stored:
            return arrays[stored["$npz"]]
        if "$array" in stored:
            return np.array(stored["$array"], dtype=np.dtype(stored["dtype"])).reshape(stored["shape"])
        if "$float" in stored:
            return float(stored["$float"])
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if stored is None:
            return None
        return restore(next(h for h in inner if h is not type(None)), stored, arrays)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint)
        names = [f.name for f in dataclasses.fields(hint)]
        newer = {f.name for f in dataclasses.fields(hint) if f.default is None}
        if not isinstance(stored, dict) or set(stored) | newer != set(names):
            raise ValueError(f"a stored {hint.__name__} must hold the fields {', '.join(names)}")
        return hint(**{n: restore(hints[n], stored[n], arrays) for n in names if n in stored})
    if origin is tuple:
        each = [inner[0]] * len(stored) if len(inner) == 2 and inner[1] is Ellipsis else list(inner)
        return tuple(restore(h, v, arrays) for h, v in zip(each, stored, strict=True))
    if isinstance(stored, dict):
        value_hint = inner[1] if len(inner) == 2 else Any
        return {k: restore(value_hint, v, arrays) for k, v in stored.items()}
    if isinstance(stored, list):
        return [restore(inner[0] if inner else Any, v, arrays) for v in stored]
    return stored


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the same folder that replaces ``path`` on success and vanishes on failure.

    A link is followed to the file it names; a folder, device or pipe is refused: a file would take its place.
    """
    target = Path(os.path.realpath(path))
    if os.fspath(path) == "" or (target.exists() and not target.is_file()):
        raise ValueError(f"an output must be a regular file, got {os.fspath(path)!r}")
    # the suffix stays last: savers choose a format by it
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:  # name the file that was asked for
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_stored(path: Path, stored: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a stored form: arrays to the .npz beside ``path``, then the JSON that names them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".npz")
    with atomic(path) as text:
        text.write_text(json.dumps(stored, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        if arrays:
            with atomic(beside) as archive:
                np.savez_compressed(archive, allow_pickle=False, **arrays)
                # a kill between the two renames may lose the old file, never pair it with the new arrays
                path.unlink(missing_ok=True)
    if not arrays:
        beside.unlink(missing_ok=True)


def read_stored(path: Path, largest: int | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `write_stored` wrote, arrays of at most ``largest`` bytes; nothing is executed."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON record: {error}") from None
    if not isinstance(stored, dict):
        raise ValueError(f"{path} must be a JSON record, got {type(stored).__name__}")
    beside = path.with_suffix(".npz")
    if not beside.exists():
        return stored, {}
    try:
        return stored, read_npz(beside, largest=largest)
    except ValueError as error:
        raise ValueError(f"{beside} must be the arrays of a record: {error}") from None


def read_npz(
    path: Path, names: Iterable[str] | None = None, largest: int | None = None
) -> dict[str, np.ndarray]:
    """Read arrays of an npz file, all or those named; nothing in the file is executed.

    Raises
    ------
    ValueError
        If the file is damaged, is no npz file, or lacks an array; the message says what is wrong, not where.
    OSError
        If it cannot be opened.
    """
    largest = _LARGEST if largest is None else largest
    with path.open("rb") as file:  # opened here: np.load leaves it open when it is no archive
        try:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is not a zip archive")
            with zipfile.ZipFile(file) as members:
                size = sum(member.file_size for member in members.infolist())
            if size > largest:
                raise ValueError(f"it must hold at most {largest:g} bytes, got {size:g}")
            file.seek(0)
            with warnings.catch_warnings(), np.load(file, allow_pickle=False) as archive:
                warnings.simplefilter("ignore")  # of headers that older versions wrote
                wanted = archive.files if names is None else list(names)
                lacking = [name for name in wanted if name not in archive]
                if lacking:
                    raise ValueError(
                        f"it has no array {lacking[0]!r}; its arrays are {', '.join(archive.files)}"
                    )
                read = {name: archive[name] for name in wanted}
        except Exception as error:  # a damaged archive or header ends in almost any of them
            raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
    odd = next((name for name, array in read.items() if not isinstance(array, np.ndarray)), None)
    if odd is not None:  # np.load hands over the bytes of a member that is no array
        raise ValueError(f"{odd} is no array")
    return read

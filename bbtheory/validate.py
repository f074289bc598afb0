"""Argument checks: each returns a clean value or raises ValueError naming the argument, the value and
what was expected. Domains are written the way a paper writes them: ``"[0, inf)"``, ``"(0, 1]"``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

MAX_VALUES = 10**9  # in one array: 8 GB of float64; beyond it a size is taken for a mistake
_MAX_SHOWN = 60  # characters of an offending value worth showing in a one-line message


@cache
def _interval(domain: str) -> tuple[float, float, bool, bool]:
    """Parse ``"(0, 1]"`` into (low, high, low is excluded, high is excluded)."""
    low, high = domain[1:-1].split(",")
    return float(low), float(high), domain[0] == "(", domain[-1] == ")"


def _shown(value: Any) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def _inside(value: float, domain: str) -> bool:
    low, high, open_low, open_high = _interval(domain)
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    return above and below


def real(name: str, value: Any, domain: str = "(-inf, inf)") -> float:
    """Return ``value`` as a float inside ``domain`` (NaN is in none)."""
    try:
        if isinstance(value, (bool, np.bool_, str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a number in {domain}, got {_shown(value)}") from None
    if not _inside(number, domain):
        raise ValueError(f"{name} must be a number in {domain}, got {_shown(value)}")
    return number


def integer(name: str, value: Any, domain: str = "(-inf, inf)") -> int:
    """Return ``value`` as an int inside ``domain``; 3.0 is not an integer, numpy integers are."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer in {domain}, got {_shown(value)}") from None
    if not _inside(number, domain):
        raise ValueError(f"{name} must be an integer in {domain}, got {_shown(value)}")
    return number


def array(
    name: str,
    value: Any,
    domain: str = "(-inf, inf)",
    *,
    ndim: int | None = 1,
    shape: tuple[int, ...] | None = None,
    keep_integers: bool = False,
) -> np.ndarray:
    """Return ``value`` as a non-empty C-contiguous float64 array with every element inside ``domain``.

    ``shape`` fixes the whole shape, ``ndim`` only the number of axes (None: any). With ``keep_integers``
    an integer array stays int64, which lets a caller count equal values. The input may be shared, never
    changed.
    """
    unmasked(name, value)
    try:
        raw = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be a rectangular array of numbers, got ragged rows") from None
    if raw.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be an array of real numbers, got dtype {raw.dtype}")
    if shape is not None and raw.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {raw.shape}")
    if shape is None and ndim is not None and raw.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} {'axis' if ndim == 1 else 'axes'}, got shape {raw.shape}")
    if raw.size == 0:
        raise ValueError(f"{name} must not be empty")
    if raw.dtype.kind == "u" and int(raw.max()) > np.iinfo(np.int64).max:
        raw = raw.astype(np.float64)
    integers = keep_integers and raw.dtype.kind in "iu"
    clean = np.ascontiguousarray(raw, dtype=np.int64 if integers else np.float64).reshape(raw.shape)
    # min and max carry a NaN along, so two passes without temporaries check everything
    if not (_inside(float(clean.min()), domain) and _inside(float(clean.max()), domain)):
        low, high, open_low, open_high = _interval(domain)
        good = (clean > low) if open_low else (clean >= low)
        good &= (clean < high) if open_high else (clean <= high)
        where = tuple(int(i) for i in np.argwhere(~good)[0])
        at = f" at index {where[0] if len(where) == 1 else where}" if where else ""
        raise ValueError(
            f"{name} must be finite numbers in {domain}, got {_shown(clean[where])}{at}"
            if math.isinf(high) or math.isinf(low)
            else f"{name} must be numbers in {domain}, got {_shown(clean[where])}{at}"
        )
    return clean


def unmasked(name: str, value: Any) -> None:
    """Refuse a masked array with masked elements, whose mask numpy would drop in silence."""
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must have no masked elements, got {np.ma.count_masked(value)}")


def room(name: str, value: Any, n_values: float) -> None:
    """Refuse a ``value`` that asks for an array of more than `MAX_VALUES` numbers."""
    if n_values > MAX_VALUES:
        raise ValueError(
            f"{name} must need arrays of at most {MAX_VALUES:g} values, got {_shown(value)} for {n_values:g}"
        )


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``allowed``."""
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {_shown(value)}")
    return value


def exactly_one(**arguments: Any) -> str:
    """Return the name of the one argument that is not None."""
    given = [name for name, value in arguments.items() if value is not None]
    if len(given) != 1:
        wanted = " or ".join(arguments)
        raise ValueError(f"exactly one of {wanted} must be given, got {' and '.join(given) or 'none'}")
    return given[0]


def instance(name: str, value: Any, kind: type) -> Any:
    """Return ``value`` if it is a ``kind``."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, got {type(value).__name__}")
    return value

"""How every bench times: ours and its peer in turn, in one process, and the ratio of each pair."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bbtheory.records import Record


@dataclass(frozen=True, eq=False)
class Row(Record):
    """One case of a bench."""

    KIND: ClassVar[str] = "bench-row"

    case: str
    ours_s: float
    """Median time of one call of ours, seconds."""
    peer: str
    peer_s: float
    """Median time of one call of the peer, seconds."""
    ratio: float
    """Median over the pairs of peer's time / our time: how many times faster ours is."""
    low: float
    """Smallest of these ratios."""
    high: float
    """Largest of these ratios."""
    n: int
    """Pairs."""


def seconds(call: Callable[[], Any], repeat: int = 1) -> float:
    """Return the time of one call, as the mean of ``repeat`` calls in a row."""
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - start) / repeat


def interleaved(
    case: str, ours: Callable[[], Any], peer: str, theirs: Callable[[], Any], n: int, repeat: int = 1
) -> Row:
    """Time n pairs in turn after one that is not timed; ``repeat`` calls of ours for one of the peer."""
    ours()
    theirs()
    return compare(case, peer, [(seconds(ours, repeat), seconds(theirs)) for _ in range(n)])


def compare(case: str, peer: str, pairs: Sequence[tuple[float, float]]) -> Row:
    """Make the row of pairs (our time, peer's time), timed in turn."""
    ratios = [other / own for own, other in pairs]
    return Row(
        case=case,
        ours_s=statistics.median(own for own, _ in pairs),
        peer=peer,
        peer_s=statistics.median(other for _, other in pairs),
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        n=len(pairs),
    )

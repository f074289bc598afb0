"""How long does one budget take that more units share than memory holds, beside an exponential and a read?

Source: none, this is this project's own ``solve_chunked`` on a file of fan-outs, lognormal (median 10, sigma
0.7), as float32 and, rounded, as uint16; the budget is a fifth of their sum; certificate included, no
on-rates written. Peers, in the same process and in turn: one pass of np.exp over as many float64 numbers,
chunk by chunk in cache, which any method needs that computes on-rates; one read of the file into one buffer.
The file was just written, so that both read it from memory where it fits; where it does not, the disk's speed
counts on both sides. Peak memory is that of a process of its own that solves and writes all on-rates.

Time, on one core, no accelerator: 1 min (CPU preset, to 10^8 units; 1.2 GB of temporary files), 6 min (full,
to 10^9 units; 12 GB of temporary files under TMPDIR). What would count against it: a residual above 1e-13,
more than 1 GB of resident memory, or more than 15 np.exp passes (ratio below 0.067) from 10^7 units on.
"""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from bbtheory import solve_chunked, validate
from bbtheory.records import Record
from bbtheory.theory.chunks import SIZE
from experiments._timing import Row, compare, seconds
from experiments.protocol import Progress

SHARE = 0.2  # of the fan-outs' sum: the budget
_PART = 1_000_000  # units drawn at once


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_units : tuple of int
        Sizes of the population.
    dtypes : tuple of str
        How fan-outs are stored; whole ones are rounded, and counted.
    n_repeats : int
        Timed rounds of ours and both peers.
    seeds : tuple of int
        The first draws the fan-outs.
    """

    n_units: tuple[int, ...] = (10_000_000, 100_000_000, 1_000_000_000)
    dtypes: tuple[str, ...] = ("float32", "uint16")
    n_repeats: int = 7
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for n in self.n_units:
            validate.integer("n_units", n, "[1, inf)")
        for dtype in self.dtypes:
            validate.choice("dtypes", dtype, ("float64", "float32", "uint16", "uint32"))
        validate.integer("n_repeats", self.n_repeats, "[7, inf)")


SMOKE = Config(n_units=(100_000,))
CPU = Config(n_units=(10_000_000, 100_000_000))


@dataclasses.dataclass(frozen=True, eq=False)
class Solved(Record):
    """One population: what its solution took, and how good it is."""

    KIND: ClassVar[str] = "chunked-solve"
    MEASURED_IN: ClassVar[Mapping[str, str]] = {"beta": "nats/link"}

    case: str
    n_units: int
    file_gb: float
    """10^9 bytes."""
    n_passes: int
    """How often the file was read."""
    beta: float
    stationarity: float
    budget: float
    """Budget residual, relative."""
    peak_mb: float
    """Largest resident memory of a process that solves and writes the on-rates, 10^6 bytes; nan off Linux."""


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Timings, and what was timed."""

    KIND: ClassVar[str] = "bench_chunked_solve"

    rows: tuple[Row, ...]
    solved: tuple[Solved, ...]


def run(config: Config, progress: Progress) -> Result:
    """Write, solve and time each population."""
    rows, solved = [], []
    progress.total(len(config.n_units) * len(config.dtypes))
    for n in config.n_units:
        for dtype in config.dtypes:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "fan_out.npy"
                budget = SHARE * _write(path, n, dtype, config.seeds[0])
                case = f"{n:,} units, {dtype}"
                rows += _time(case, path, n, budget, config.n_repeats)
                solved.append(_solve(case, path, budget))
            progress.tick()
    return Result(rows=tuple(rows), solved=tuple(solved))


def _write(path: Path, n: int, dtype: str, seed: int) -> float:
    """Write a file of n fan-outs, part by part; return their sum."""
    rng, sums = np.random.default_rng(seed), []
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (n,)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n, _PART):
            k = rng.lognormal(math.log(10), 0.7, min(_PART, n - start))
            part = (k if np.dtype(dtype).kind == "f" else np.rint(k)).astype(dtype)
            sums.append(float(part.sum(dtype=np.float64)))
            file.write(part.data)
    return math.fsum(sums)


def _time(case: str, path: Path, n: int, budget: float, n_repeats: int) -> Iterator[Row]:
    """Time ours and both peers in turn."""
    x, out = -np.linspace(0, 30, min(SIZE, n)), np.empty(min(SIZE, n))
    buffer = memoryview(bytearray(8 * SIZE))

    def ours() -> None:
        solve_chunked(path, budget=budget)

    def exponentials() -> None:
        for _ in range(n // x.size):
            np.exp(x, out=out)
        rest = n % x.size
        np.exp(x[:rest], out=out[:rest])

    def read() -> None:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    ours()
    rounds = [(seconds(ours), seconds(exponentials), seconds(read)) for _ in range(n_repeats)]
    yield compare(case, "one np.exp pass", [(own, exp) for own, exp, _ in rounds])
    yield compare(case, "one read of the file", [(own, whole) for own, _, whole in rounds])


_CHILD = """
import json, re, sys
from bbtheory import solve_chunked
solved = solve_chunked(sys.argv[1], budget=float(sys.argv[2]), output=sys.argv[3])
try:
    kilobytes = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
except (OSError, TypeError):
    kilobytes = None
print(json.dumps([kilobytes, solved.to_dict()]))
"""


def _solve(case: str, path: Path, budget: float) -> Solved:
    """Solve and write in a process of its own, whose peak of memory is its own."""
    found = solve_chunked(path, budget=budget)
    argv = [sys.executable, "-c", _CHILD, str(path), repr(budget), str(path.with_name("on_rate.npy"))]
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=root)
    kilobytes, written = json.loads(done.stdout)
    return Solved(
        case=case,
        n_units=found.n_units,
        file_gb=path.stat().st_size / 1e9,
        n_passes=found.n_passes,
        beta=found.beta,
        stationarity=max(found.residuals.stationarity, written["residuals"]["stationarity"]),
        budget=max(found.residuals.budget, written["residuals"]["budget"]),
        peak_mb=math.nan if kilobytes is None else kilobytes * 1024 / 1e6,
    )

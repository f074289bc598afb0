"""How fast is an equilibrium, beside one np.exp of its units and beside other solvers of the same problem?

Source: none, these are this project's own functions through their public names: argument checks, all on-rates
and the budget's residual included (its residual not beside cvxpy, which gives none). Fan-outs are lognormal
(median 10, sigma 0.7), budgets a fifth of their sum. Peers: one pass of np.exp over as many numbers (into an
array that is there already), which any method that returns on-rates needs; scipy's brentq on expit; cvxpy
with its exponential-cone solvers.

Time: 1 min on one core (CPU preset), no accelerator. What would count against it, on one thread: more than 5
np.exp passes (ratio below 0.2) for a million units, less than 15 times brentq's speed, less than 5,000 times
that of cvxpy's best solver at 10,000 units, more than 7 passes (ratio below 0.143) for 10,000 populations of
256 units, a residual above 1e-13, or the command line at more than twice the time of importing numpy.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bbtheory import solve_equilibria, solve_equilibrium, validate
from bbtheory.records import Record
from experiments._timing import Row, interleaved
from experiments.protocol import NotRun, Progress

SHARE = 0.2  # of the fan-outs' sum: the budget


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_units : int
        Units of the large population.
    n_cone : int
        Units of the population that cvxpy solves too.
    n_populations, n_each : int
        Populations solved at once, and the units of each.
    solvers : tuple of str
        cvxpy's solvers.
    n_repeats : int
        Timed pairs of ours and peer.
    seeds : tuple of int
        The first draws the fan-outs.
    """

    n_units: int = 1_000_000
    n_cone: int = 10_000
    n_populations: int = 10_000
    n_each: int = 256
    solvers: tuple[str, ...] = ("ECOS", "CLARABEL")
    n_repeats: int = 31
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for name in ("n_units", "n_cone", "n_populations", "n_each"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        validate.integer("n_repeats", self.n_repeats, "[7, inf)")


SMOKE = Config(n_units=20_000, n_cone=100, n_populations=100, n_repeats=7)
CPU = Config(n_repeats=15)


@dataclass(frozen=True, eq=False)
class Result(Record):
    """Timings, and the worst residuals of what was timed."""

    KIND: ClassVar[str] = "bench_equilibrium"

    rows: tuple[Row, ...]
    stationarity: float
    """Largest stationarity residual of the large population."""
    budget: float
    """Largest budget residual over all timed solutions, relative."""


def run(config: Config, progress: Progress) -> Result:
    """Time every case."""
    rng = np.random.default_rng(config.seeds[0])
    large = rng.lognormal(math.log(10), 0.7, config.n_units)
    cone = rng.lognormal(math.log(10), 0.7, config.n_cone)
    many = rng.lognormal(math.log(10), 0.7, (config.n_populations, config.n_each))
    cases = [*_one(large), *_cones(cone, config.solvers), *_batch(many), *_start_up()]
    progress.total(len(cases))
    rows = []
    for case, ours, peer, theirs, repeat in cases:
        # the cone solvers take seconds: the fewest repeats that count
        n = min(config.n_repeats, 7) if peer.startswith("cvxpy") else config.n_repeats
        rows.append(interleaved(case, ours, peer, theirs, n, repeat))
        progress.tick()
    found = [solve_equilibrium(k, budget=SHARE * float(k.sum())) for k in (large, np.rint(large), cone)]
    batch = solve_equilibria(many, budget=SHARE * many.sum(axis=1))
    return Result(
        rows=tuple(rows),
        stationarity=max(e.residuals.stationarity for e in found),
        budget=max([e.budget_residual for e in found] + [float(batch.budget_residual.max())]),
    )


Case = tuple[str, Callable[[], Any], str, Callable[[], Any], int]


def _exp(values: np.ndarray) -> Callable[[], Any]:
    x, out = -values, np.empty_like(values)
    return lambda: np.exp(x, out=out)


def _one(k: np.ndarray) -> Iterator[Case]:
    whole, budget = np.rint(k).astype(np.int64), SHARE * float(k.sum())
    n = f"{k.size:,} units"
    yield f"{n}, budget", lambda: solve_equilibrium(k, budget=budget).budget_residual, "np.exp", _exp(k), 1
    yield (
        f"{n}, budget, integers",
        lambda: solve_equilibrium(whole, budget=budget).budget_residual,
        "np.exp",
        _exp(k),
        1,
    )
    yield f"{n}, beta", lambda: solve_equilibrium(k, beta=0.1).traffic, "np.exp", _exp(k), 1
    yield (
        f"{n}, budget",
        lambda: solve_equilibrium(k, budget=budget).budget_residual,
        "scipy brentq, expit",
        lambda: _brentq(k, budget),
        1,
    )


def _brentq(k: np.ndarray, budget: float) -> np.ndarray:
    from scipy.optimize import brentq
    from scipy.special import expit

    # at 1/(budget/n) even the cheapest unit is nearly silent: a bracket for every population here
    top = k.size / budget
    beta = brentq(lambda b: float(k @ expit(-b * k)) - budget, 0.0, top, xtol=1e-16)
    return expit(-np.float64(beta) * k)  # pyright: ignore[reportArgumentType]  # a float without full_output


def _cones(k: np.ndarray, solvers: tuple[str, ...]) -> Iterator[Case]:
    try:
        import cvxpy  # pyright: ignore[reportMissingImports]  # an extra
    except ImportError:
        raise NotRun("cvxpy (pip install 'bbtheory[bench]')") from None
    missing = set(solvers) - set(cvxpy.installed_solvers())
    if missing:
        raise NotRun(f"{', '.join(sorted(missing))} (pip install 'bbtheory[bench]')")
    budget = SHARE * float(k.sum())

    def solve(solver: str) -> None:
        a = cvxpy.Variable(k.size)
        entropy = cvxpy.sum(cvxpy.entr(a) + cvxpy.entr(1 - a))
        cvxpy.Problem(cvxpy.Maximize(entropy), [k @ a <= budget]).solve(solver=solver)

    for solver in solvers:
        yield (
            f"{k.size:,} units, budget",
            lambda: solve_equilibrium(k, budget=budget),
            f"cvxpy, {solver}",
            lambda s=solver: solve(s),
            200,  # a twentieth of the solver's time: the first calls after it find cold caches
        )


def _batch(k: np.ndarray) -> Iterator[Case]:
    budget = SHARE * k.sum(axis=1)
    n = f"{k.shape[0]:,} x {k.shape[1]} units, budgets"
    yield n, lambda: solve_equilibria(k, budget=budget).budget_residual, "np.exp", _exp(k), 1
    some = min(100, len(k))
    yield (
        f"{some} x {k.shape[1]} units, budgets",
        lambda: solve_equilibria(k[:some], budget=budget[:some]),
        "scipy brentq, expit, one by one",
        lambda: [_brentq(row, t) for row, t in zip(k[:some], budget[:some], strict=True)],
        1,
    )


def _start_up() -> Iterator[Case]:
    def process(*argv: str) -> Callable[[], Any]:
        return lambda: subprocess.run([sys.executable, *argv], check=True, capture_output=True)

    yield (
        "python -m bbtheory.solve --beta 0.5",
        process("-m", "bbtheory.solve", "--beta", "0.5"),
        'python -c "import numpy"',
        process("-c", "import numpy"),
        1,
    )

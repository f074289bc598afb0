"""Does pruning numbers that no network ever trained give a straight log-log line of density against saliency?

Source: the Neural Pruning Law (arXiv 2504.05349) is read off such lines; this is the null control they need.
Fixed magnitudes are drawn once; again and again the smallest tenth of those that remain is removed, and the
largest removed magnitude is logged with the density after it, exactly as iterative magnitude pruning logs a
network. No weights learn, nothing adapts: the curve is the distribution's own tail.

Time: 10 s on one core (CPU preset), no accelerator. What would count against the claim that a straight line
shows a law of trained networks: any of these samples with an R^2 inside the window as high as theirs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bbtheory import fit_power_law, validate
from bbtheory.records import Record
from experiments.protocol import Progress

FAMILIES = ("student_t2", "half_normal", "lognormal")


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; the defaults are of a ResNet-50's size and end where its longest published run does.

    Parameters
    ----------
    n_weights : int
        Magnitudes drawn per family and seed.
    prune_fraction : float
        Share of the remaining magnitudes that each round removes.
    last_density : float
        The rounds end at or below this kept fraction.
    families : tuple of str
        Distributions: Student-t with 2 degrees of freedom, normal (absolute values), lognormal (sigma = 1).
    seeds : tuple of int
        One sample of each family per seed.
    """

    n_weights: int = 23_470_000
    prune_fraction: float = 0.1
    last_density: float = 0.00025
    families: tuple[str, ...] = FAMILIES
    seeds: tuple[int, ...] = tuple(range(32))

    def __post_init__(self) -> None:
        validate.integer("n_weights", self.n_weights, "[1000, inf)")
        validate.real("prune_fraction", self.prune_fraction, "(0, 1)")
        validate.real("last_density", self.last_density, "(0, 1)")
        for family in self.families:
            validate.choice("families", family, FAMILIES)


SMOKE = Config(n_weights=20_000, seeds=(0, 1))
CPU = Config(n_weights=266_200)  # LeNet-300-100


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """The curves of one seed, one row a family, with the fit of each."""

    KIND: ClassVar[str] = "static_null_cell"

    density: np.ndarray
    saliency: np.ndarray
    exponent: np.ndarray
    r_squared: np.ndarray
    verdict: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Curves and fits of all seeds.

    Parameters
    ----------
    families : tuple of str
        The distributions; rows below are in this order.
    density : np.ndarray, shape (n_rounds,)
        Kept fraction after each round.
    saliency : np.ndarray, shape (n_families, n_rounds)
        Largest removed magnitude of each round, median over seeds.
    saliency_low, saliency_high : np.ndarray, shape (n_families, n_rounds)
        Its smallest and largest value over seeds.
    exponent, r_squared : np.ndarray, shape (n_families, n_seeds)
        Of the log-log line inside 0.005 < density <= 0.5.
    n_power_law, n_curved, n_undecided : np.ndarray, shape (n_families,)
        Seeds that the fit's verdict calls so.
    """

    KIND: ClassVar[str] = "static_null"

    families: tuple[str, ...]
    density: np.ndarray
    saliency: np.ndarray
    saliency_low: np.ndarray
    saliency_high: np.ndarray
    exponent: np.ndarray
    r_squared: np.ndarray
    n_power_law: np.ndarray
    n_curved: np.ndarray
    n_undecided: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Draw, prune and fit each family once."""
    rng = np.random.default_rng(config.seeds[0])
    progress.total(len(config.families))
    curves, fits = [], []
    for family in config.families:
        magnitudes = _draw(family, config.n_weights, rng)
        saliency, density = prune_smallest(magnitudes, config.prune_fraction, config.last_density)
        curves.append((saliency, density))
        # the spread is that between seeds: the intervals of one fit are not kept
        fits.append(fit_power_law(saliency, density, n_bootstrap=100))
        progress.tick()
    return Cell(
        density=curves[0][1],
        saliency=np.array([saliency for saliency, _ in curves]),
        exponent=np.array([fit.window.exponent for fit in fits]),
        r_squared=np.array([fit.window.r_squared for fit in fits]),
        verdict=tuple(fit.verdict for fit in fits),
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Gather the seeds."""
    saliency = np.array([cell.saliency for cell in cells])
    verdict = np.array([cell.verdict for cell in cells])
    return Result(
        families=config.families,
        density=cells[0].density,
        saliency=np.median(saliency, axis=0),
        saliency_low=saliency.min(axis=0),
        saliency_high=saliency.max(axis=0),
        exponent=np.array([cell.exponent for cell in cells]).T,
        r_squared=np.array([cell.r_squared for cell in cells]).T,
        n_power_law=(verdict == "power_law").sum(axis=0),
        n_curved=(verdict == "curved").sum(axis=0),
        n_undecided=(verdict == "undecided").sum(axis=0),
    )


def prune_smallest(
    magnitudes: np.ndarray, prune_fraction: float, last_density: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (largest removed magnitude, density after) of each round of pruning the smallest that remain."""
    ordered = np.sort(magnitudes)
    kept = total = ordered.size
    removed, density = [], []
    while kept > last_density * total:
        kept -= max(1, int(prune_fraction * kept))
        removed.append(ordered[total - kept - 1])
        density.append(kept / total)
    return np.array(removed), np.array(density)


def _draw(family: str, n: int, rng: np.random.Generator) -> np.ndarray:
    if family == "student_t2":
        return np.abs(rng.standard_t(2, n))
    if family == "half_normal":
        return np.abs(rng.standard_normal(n))
    return rng.lognormal(0.0, 1.0, n)

"""Settings of experiments on the pruning law: which ways to prune, and how much training between events."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from bbtheory import validate

# the families of saliency that the law is claimed for, and the controls that have to fail
LAW = ("magnitude", "taylor", "hyperflux")
EFFECTIVE = (*LAW, "gradient", "random_regrowth")
STATIC = ("static_magnitude", "static_taylor")
SHUFFLED = ("shuffled_magnitude", "shuffled_taylor")
CONTROLS = (*STATIC, *SHUFFLED)
FAMILIES = (*EFFECTIVE, *CONTROLS)
SCHEDULES = ("base", "quick", "coarse")


@dataclasses.dataclass(frozen=True)
class LawConfig:
    """Settings that all experiments on the law share.

    Parameters
    ----------
    families : tuple of str
        magnitude, taylor, gradient: the lowest scores go at each event. random_regrowth: random weights go,
        and the half of them returns that the loss pulls back harder. hyperflux: a pressure that rises.
        Controls: static (no training between events), shuffled (scores change places before the lowest go).
    schedules : tuple of str
        base; quick, a quarter of its steps; coarse, two of its events in one, with the steps of both. The
        latter two for magnitude, taylor and hyperflux alone.
    batch : int
    learning_rate : float
        Of the weights, constant between events.
    dense_epochs : int
        Before the first event; the same network for all families of a seed.
    kept : float
        Share of the remaining weights that an event leaves, in (0, 1).
    last_density : float
        Events end at or below it.
    steps : int
        Optimizer steps from one event to the next, for all but hyperflux.
    low, high : float
        The pressure rises from 2^low to 2^high.
    per_octave : int
        Pressures per factor of 2.
    pressure_steps : int
        Optimizer steps under each pressure.
    flow_rate : float
        Of Adam on presence.
    score_batches : int
        Batches on which an event measures gradients.
    flux_images, flux_sample : int
        Training images, and weights that are removed one by one, for the flux after each event of the base
        schedule; a sample of 0 measures none.
    device : {"cpu", "cuda"}
    precision : {"float32", "bfloat16"}
        Of the loss in training (autocast).
    seeds : tuple of int
    """

    families: tuple[str, ...] = FAMILIES
    schedules: tuple[str, ...] = SCHEDULES
    batch: int = 128
    learning_rate: float = 1e-3
    dense_epochs: int = 20
    kept: float = 0.9
    last_density: float = 0.0025
    steps: int = 469
    low: float = -12.0
    high: float = 5.0
    per_octave: int = 2
    pressure_steps: int = 4690
    flow_rate: float = 1e-3
    score_batches: int = 8
    flux_images: int = 512
    flux_sample: int = 32
    device: str = "cpu"
    precision: str = "float32"
    seeds: tuple[int, ...] = tuple(range(5))

    def __post_init__(self) -> None:
        for family in self.families:
            validate.choice("families", family, FAMILIES)
        for schedule in self.schedules:
            validate.choice("schedules", schedule, SCHEDULES)
        for name in ("batch", "dense_epochs", "steps", "per_octave", "pressure_steps", "score_batches"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        validate.integer("flux_images", self.flux_images, "[1, inf)")
        validate.integer("flux_sample", self.flux_sample, "[0, inf)")
        validate.real("learning_rate", self.learning_rate, "(0, inf)")
        validate.real("flow_rate", self.flow_rate, "(0, inf)")
        validate.real("kept", self.kept, "(0, 1)")
        validate.real("last_density", self.last_density, "(0, 1)")
        validate.real("low", self.low, "[-60, 60]")
        if validate.real("high", self.high, "[-60, 60]") <= self.low:
            raise ValueError(f"high must be above low = {self.low:g}, got {self.high:g}")
        validate.choice("device", self.device, ("cpu", "cuda"))
        validate.choice("precision", self.precision, ("float32", "bfloat16"))


@dataclasses.dataclass(frozen=True)
class Course:
    """The events of one run: how many, how much each removes or the pressures, and the steps before each."""

    n: int
    kept: float
    pressures: tuple[float, ...]
    steps: int


def course(config: LawConfig) -> Course:
    """Return the events of the first family and schedule of some settings."""
    family, schedule = config.families[0], config.schedules[0]
    merged = 2 if schedule == "coarse" else 1
    steps = config.pressure_steps if family == "hyperflux" else config.steps
    steps = max(steps // 4, 1) if schedule == "quick" else merged * steps
    if family == "hyperflux":
        n = int((config.high - config.low) * config.per_octave) // merged + 1
        pressures = tuple(2.0 ** (config.low + k * merged / config.per_octave) for k in range(n))
        return Course(n, 1.0, pressures, steps)
    kept = config.kept**merged
    n = math.ceil(math.log(config.last_density) / math.log(kept))
    return Course(n, kept, (), 0 if family in STATIC else steps)


def cells(config: Any) -> list[Any]:
    """Return one setting per family, schedule and seed."""
    return [
        dataclasses.replace(config, families=(family,), schedules=(schedule,), seeds=(seed,))
        for family in config.families
        for schedule in config.schedules
        if schedule == "base" or family in LAW
        for seed in config.seeds
    ]

"""Settings of a contest: which methods, at which densities, trained how; and what is measured."""

from __future__ import annotations

import dataclasses
from typing import Any

from bbtheory import validate

BB = ("bb_in", "bb_out", "bb_both", "bb_in_awake")
ABLATIONS = {"bb_activity": "activity", "bb_equal_traffic": "equal_traffic", "bb_uniform": "uniform"}
GRADUAL = ("magnitude", "wanda", "taylor", "gradient")
METHODS = ("dense", "random", *GRADUAL, "set", "rigl", "topk_activation", *BB, *ABLATIONS)
CPU_METHODS = ("dense", "random", "magnitude", "rigl", "bb_in", "bb_both")
CPU_DENSITIES = (0.5, 0.1)

# the knob a method is tuned by, beside its learning rate; others have none
OWN_KNOB = (
    dict.fromkeys(GRADUAL, "reached")
    | {"set": "fraction", "rigl": "fraction", "bb_activity": "nats"}
    | dict.fromkeys(BB, "nats")
)
DEFAULTS = {"learning_rate_factor": 1.0, "reached": 0.75, "fraction": 0.3, "nats": 24.0}


def several(name: str, values: Any) -> tuple[Any, ...]:
    """Return a tuple that holds something, and nothing twice: a network that counts twice fakes certainty."""
    twice = isinstance(values, tuple) and any(value in values[:i] for i, value in enumerate(values))
    if not isinstance(values, tuple) or not values or twice:
        raise ValueError(f"{name} must be a tuple of one or more, none twice, got {values!r}")
    return values


@dataclasses.dataclass(frozen=True)
class ContestConfig:
    """Settings that all contests share; a contest adds its task's.

    Parameters
    ----------
    methods, densities, seeds : tuple
        One or more each, none twice.
    densities : tuple of float
        Kept / all weights of the masked layers, in (0, 1].
    epochs, batch : int
    learning_rate : float
        At its peak; it rises over the share ``learning_rate_warmup`` of the steps and falls along a cosine.
    weight_decay : float
        Decoupled (AdamW).
    clip : float, optional
        Largest norm of the gradient.
    n_refreshes : int
        Of the masks.
    warmup, last_change : float
        Shares of the steps before the first refresh and until the last one; random masks, SET and RigL start
        sparse.
    ema_decay : float
        Of on-rates, per step.
    knobs : dict of method to dict of knob to number
        As tuned: learning_rate_factor; reached, share of the steps at which a gradual method is at its
        density; fraction, of links that SET and RigL replace; nats, beta times the mean degree of the
        controlled units. `DEFAULTS` where not given.
    validation : bool
        Whether a part of the training data is held out and stands for the test data.
    most_samples, most_units : int
        Of a layer that go into its statistics.
    device : {"cpu", "cuda"}
    precision : {"float32", "bfloat16"}
        Of the loss in training (autocast).
    """

    methods: tuple[str, ...] = METHODS
    densities: tuple[float, ...] = (0.9, 0.7, 0.5, 0.3, 0.1)
    epochs: int = 10
    batch: int = 128
    learning_rate: float = 1e-3
    learning_rate_warmup: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = None
    n_refreshes: int = 12
    warmup: float = 0.1
    last_change: float = 0.75
    ema_decay: float = 0.99
    knobs: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    validation: bool = False
    most_samples: int = 2000
    most_units: int = 256
    device: str = "cpu"
    precision: str = "float32"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        for method in several("methods", self.methods):
            validate.choice("methods", method, METHODS)
        for density in several("densities", self.densities):
            validate.real("densities", density, "(0, 1]")
        for seed in several("seeds", self.seeds):
            validate.integer("seeds", seed, "[0, inf)")
        for name in ("epochs", "batch", "n_refreshes"):
            validate.integer(name, getattr(self, name), "[1, inf)")
        for name in ("most_samples", "most_units"):
            validate.integer(name, getattr(self, name), "[2, inf)")
        validate.real("learning_rate", self.learning_rate, "(0, inf)")
        validate.real("learning_rate_warmup", self.learning_rate_warmup, "[0, 1)")
        validate.real("weight_decay", self.weight_decay, "[0, inf)")
        if self.clip is not None:
            validate.real("clip", self.clip, "(0, inf)")
        validate.real("warmup", self.warmup, "[0, 1)")
        validate.real("last_change", self.last_change, f"({self.warmup}, 1]")
        validate.real("ema_decay", self.ema_decay, "[0, 1)")
        validate.choice("device", self.device, ("cpu", "cuda"))
        validate.choice("precision", self.precision, ("float32", "bfloat16"))
        for method, own in validate.instance("knobs", self.knobs, dict).items():
            validate.choice("knobs", method, METHODS)
            for knob, value in validate.instance(f"knobs of {method}", own, dict).items():
                validate.choice(f"knobs of {method}", knob, DEFAULTS)
                validate.real(f"{knob} of {method}", value, "(0, inf)")

    def knob(self, name: str) -> float:
        """Return a knob of the (first) method."""
        return self.knobs.get(self.methods[0], {}).get(name, DEFAULTS[name])


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number that `Task.evaluate` returns; role main (one of them), tail (at most one) or other."""

    name: str
    higher_is_better: bool = True
    role: str = "other"


def cells(config: Any) -> list[Any]:
    """Return one setting per method, density and seed, with the method's own knobs; dense has density 1."""
    return [
        dataclasses.replace(
            config,
            methods=(method,),
            densities=(density,),
            seeds=(seed,),
            knobs={method: config.knobs[method]} if method in config.knobs else {},
        )
        for method in config.methods
        for density in (config.densities if method != "dense" else (1.0,))
        for seed in config.seeds
    ]

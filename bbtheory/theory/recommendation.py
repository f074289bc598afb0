"""The answer to "how do I set the knobs?": values, reasons, and the predictions that verify them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bbtheory.records import Record
from bbtheory.theory.refresh import RefreshMap
from bbtheory.theory.refresh_noise import RefreshNoise

# share of the unclipped units whose noise is held down
QUIET_SHARE = 0.9
# a margin is met to the rounding of a loop gain
MARGIN_ROUNDING = 1e-12


def quiet_noise(refresh: RefreshMap, noise: RefreshNoise) -> float:
    """Standard deviation that nine in ten unclipped degrees stay below, links; 0 where all are clipped."""
    free = noise.degree_stddev[~refresh.clipped]
    return float(np.quantile(free, QUIET_SHARE, method="higher")) if free.size else 0.0


@dataclass(frozen=True, eq=False)
class Recommendation(Record):
    """Knobs of the refresh with their reasons, and what theory predicts under them."""

    KIND: ClassVar[str] = "recommendation"
    UNITS: ClassVar[Mapping[str, str]] = {
        name: name for name in ("on_rate", "degree", "multiplier", "unit_margin", "degree_stddev")
    }
    DERIVED: ClassVar[tuple[str, ...]] = (
        "achieved",
        "least_margin",
        "meets_margin",
        "multiplier_range",
        "settling_steps",
        "degree_noise",
        "churn_per_step",
        "churn_share",
        "budget",
        "n_units",
        "n_clipped",
        "n_runaway",
    )
    HIDDEN: ClassVar[tuple[str, ...]] = ("maps", "noises")

    density: float
    """Requested part of the links kept, in (0, 1]."""
    batch: float
    """Independent samples a step."""
    margin: float
    """Requested part of the admissible loop gain left unused."""
    actuator: str
    """sp_in | sp_out | both."""
    gain_source: str
    """Where da/dk comes from: measured, assumed or none."""
    beta: float
    """Slope of the balance, nats per link."""
    d0: float
    """Degree of a unit that is on half of the time, links."""
    threshold: float
    """tau, links per step: no unit on the line exceeds it."""
    interval: int
    """Delta, steps between refreshes."""
    ema_decay: float
    """d, per step."""
    burn_in: int
    """Steps before the first refresh, for an EMA that starts at 1/2."""
    min_degree: float
    max_degree: float
    degree_tolerance: float
    """Noise of a degree that the EMA decay was chosen for, links."""
    reasons: Mapping[str, str]
    """Why each knob has its value."""
    maps: tuple[RefreshMap, ...]
    """The verification: one map, or two where the sign of the gain is not known."""
    noises: tuple[RefreshNoise, ...]
    """Fluctuations under each map."""

    @property
    def on_rate(self) -> np.ndarray:
        """Predicted on-rates at the fixed point."""
        return self.maps[0].on_rate

    @property
    def degree(self) -> np.ndarray:
        """Degrees at the fixed point, links; of the links a unit chooses under "both"."""
        return self.maps[0].degree

    @property
    def multiplier(self) -> np.ndarray:
        """Multiplier of each unit (the lower one where the sign of the gain is not known)."""
        return self.maps[0].multiplier

    @property
    def unit_margin(self) -> np.ndarray:
        """Stability margin of each unit."""
        return np.minimum.reduce([r.margin for r in self.maps])

    @property
    def degree_stddev(self) -> np.ndarray:
        """Noise of each degree, links."""
        return np.maximum.reduce([noise.degree_stddev for noise in self.noises])

    @property
    def achieved(self) -> float:
        """Predicted part of the links kept."""
        return self.maps[0].density * self.maps[0].kept_share

    @property
    def least_margin(self) -> float:
        """Margin of the unit nearest to instability."""
        return min(r.least_margin for r in self.maps)

    @property
    def meets_margin(self) -> bool:
        """Whether every unit keeps the margin."""
        return self.least_margin >= self.margin - MARGIN_ROUNDING

    @property
    def multiplier_range(self) -> tuple[float, float]:
        """Least and largest multiplier of any unit."""
        return (
            min(float(r.multiplier.min()) for r in self.maps),
            max(float(r.multiplier.max()) for r in self.maps),
        )

    @property
    def settling_steps(self) -> float:
        """Steps in which the slowest unit loses all but 1/e of a deviation."""
        return float(np.max([r.settling_steps for r in self.maps]))  # nan where one is unstable

    @property
    def degree_noise(self) -> float:
        """Noise of a degree that nine in ten unclipped units stay below, links; 0 where all are clipped."""
        return max(quiet_noise(r, noise) for r, noise in zip(self.maps, self.noises, strict=True))

    @property
    def churn_per_step(self) -> float:
        """Links changed per training step, all units together."""
        return max(noise.churn_per_step for noise in self.noises)

    @property
    def churn_share(self) -> float:
        """Links that one refresh changes, as a part of all."""
        return max(noise.churn_share for noise in self.noises)

    @property
    def budget(self) -> float:
        """Traffic of the population, T = sum a k, links per step."""
        return float(np.dot(self.on_rate, self.degree))

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self.on_rate.size

    @property
    def n_clipped(self) -> int:
        """Units on m or D."""
        return self.maps[0].n_clipped

    @property
    def n_runaway(self) -> int:
        """Units that only a clip holds."""
        return max(r.n_runaway for r in self.maps)

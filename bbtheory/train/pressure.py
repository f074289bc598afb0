"""Who sets the pressure gamma, once per interval, from the density reached: held, scheduled, or steered."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bbtheory import validate
from bbtheory.schedules import PressureState, follow_trajectory, sigmoid_trajectory

_FROZEN = 50  # intervals of regrowth after which the authors' code stops t


@dataclass(frozen=True)
class Setting:
    """What acts in one interval.

    Parameters
    ----------
    pressure : float
        gamma >= 0.
    flow : float
        Factor >= 0 on the learning rate of t; 0 freezes the masks.
    """

    pressure: float
    flow: float = 1.0


class PressureRule:
    """Sets the pressure of each interval; the base holds what it is given, or asks a function.

    Parameters
    ----------
    pressure : float or callable (number of the interval, from 1) -> float
        gamma >= 0.

    Attributes
    ----------
    target : float
        Density at the end, NaN where none is aimed at.

    Raises
    ------
    ValueError
        If a pressure is negative or no finite number.
    """

    def __init__(self, pressure: float | Callable[[int], float]):
        self.target = math.nan
        self._given = pressure if callable(pressure) else validate.real("pressure", pressure, "[0, inf)")

    def first(self) -> Setting:
        """What acts in the first interval."""
        return self._at(1)

    def after(self, interval: int, density: float) -> Setting:
        """What acts after an interval, counted from 1, that ended at a density."""
        return self._at(interval + 1)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state."""

    def _at(self, interval: int) -> Setting:
        given = self._given(interval) if callable(self._given) else self._given
        return Setting(validate.real("pressure", given, "[0, inf)"))


class FollowTrajectory(PressureRule):
    """The authors' scheduler: no pressure in interval 1, then `schedules.follow_trajectory`, then regrowth.

    In regrowth the pressure is 0 and the flow of t decays, factor decay^k in its k-th interval. Weights
    return, so that the density ends above the target.

    Parameters
    ----------
    target : float
        Density at the end of pruning, in (0, 1).
    pruning : int
        Intervals (the authors' epochs) of pruning, >= 1. One more follows under the last pressure.
    regrowth : int
        Intervals after pruning in all, >= 0.
    step : float
        h of the recursion, > 0.
    flow : float
        Factor on the flow in regrowth, >= 0: the authors' scaler.
    decay : float
        In [0, 1].

    Raises
    ------
    ValueError
        If an argument is outside its domain, or the target cannot be reached in so many intervals.

    References
    ----------
    Hyperflux (arXiv 2504.05349), the authors' code, schedulers.py and entry.py.
    """

    def __init__(
        self,
        target: float,
        pruning: int,
        regrowth: int = 0,
        *,
        step: float = 0.2,
        flow: float = 1.0,
        decay: float = 0.75,
    ):
        super().__init__(0.0)
        self.target = validate.real("target", target, "(0, 1)")
        self.pruning = validate.integer("pruning", pruning, "[1, 1e7]")
        self.regrowth = validate.integer("regrowth", regrowth, "[0, 1e7]")
        self.step = validate.real("step", step, "(0, inf)")
        self.flow = validate.real("flow", flow, "[0, inf)")
        self.decay = validate.real("decay", decay, "[0, 1]")
        self.trajectory = sigmoid_trajectory(self.target, self.pruning)
        self.level = PressureState()

    def after(self, interval: int, density: float) -> Setting:
        """See `PressureRule.after`."""
        k = interval - self.pruning
        if k >= 1 and self.regrowth:
            return Setting(0.0, 0.0 if k > _FROZEN else self.flow * self.decay**k)
        self.level = follow_trajectory(self.level, interval, density, self.trajectory, step=self.step)
        return Setting(self.level.pressure)

    def state_dict(self) -> dict[str, Any]:
        """See `PressureRule.state_dict`."""
        return {"level": self.level.level, "rise": self.level.rise, "fall": self.level.fall}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `PressureRule.load_state_dict`."""
        self.level = PressureState(**state)

"""Who sets the pressure gamma, once per interval, from the density reached: held, scheduled, or steered."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bbtheory import validate
from bbtheory.schedules import PressureState, follow_trajectory, sigmoid_trajectory

_BEGUN = 0.99  # density that tells that pruning has begun
_NEAR = 1.025  # of the target: from here on the flow fades, and weights on their way still fall out
_WAITING = 0.1  # of the fastest rise, while the density has not begun to fall
_LEAST = 1e-3  # of the target: an empty network counts as this, its logarithm being finite
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
    is_called : bool
        Whether the pressure is asked of a function, and may change.

    Raises
    ------
    ValueError
        If a pressure is negative or no finite number.
    """

    def __init__(self, pressure: float | Callable[[int], float]):
        self.target = math.nan
        self.is_called = callable(pressure)
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


class SteerDensity(PressureRule):
    """Steers the pressure so that the density after regrowth is the target: feedback in logarithms.

    From the interval in which density begins to fall to the middle of regrowth the density wanted falls to
    the target as ln D = (1 - (1 - u)^2) ln target, u the part of the way, so that it arrives slowly: what is
    pruned too far returns late, because t of absent weights lies deep. With e = ln(density/wanted) the
    pressure changes after each interval by

        ln gamma += flow gain e + damping (e - e before),

    by no more than ``fastest``. Near the target, or in the middle of regrowth, the flow of t begins to fade,
    factor ``fade`` per interval, so that masks freeze there; weights learn on, and some return and leave
    under the pressure that holds the density. Without pressure, as in `FollowTrajectory`, it overshoots.

    Parameters
    ----------
    target : float
        Density at the end, in (0, 1).
    pruning, regrowth : int
        Intervals of either phase, >= 1; of some 20 optimizer steps each, several hundred in all.
    start : float
        First pressure, > 0.
    fade : float
        Factor on the flow per interval near the target, in (0, 1).
    frozen : float
        Factor on the flow where it stops to fade, in (0, 1].
    gain, damping, fastest : float
        > 0; of the feedback, per interval.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    This project's; the authors' scheduler is `FollowTrajectory`.
    """

    def __init__(
        self,
        target: float,
        pruning: int,
        regrowth: int,
        *,
        start: float = 0.01,
        frozen: float = 0.01,
        fade: float = 0.8,
        gain: float = 0.6,
        damping: float = 15.0,
        fastest: float = 0.5,
    ):
        super().__init__(0.0)
        self.target = validate.real("target", target, "(0, 1)")
        self.pruning = validate.integer("pruning", pruning, "[1, 1e7]")
        self.regrowth = validate.integer("regrowth", regrowth, "[1, 1e7]")
        self.start = validate.real("start", start, "(0, inf)")
        self.frozen = validate.real("frozen", frozen, "(0, 1]")
        self.fade = validate.real("fade", fade, "(0, 1)")
        self.gain = validate.real("gain", gain, "(0, inf)")
        self.damping = validate.real("damping", damping, "(0, inf)")
        self.fastest = validate.real("fastest", fastest, "(0, inf)")
        self._level = math.log(self.start)
        self._error = 0.0
        self._arrived = math.inf  # interval after which it had come near the target
        self._begun = 0.0  # interval after which the density had begun to fall

    def first(self) -> Setting:
        """See `PressureRule.first`."""
        return Setting(self.start)

    def wanted(self, interval: int) -> float:
        """Density wanted after an interval, counted from 1."""
        length = max(self.pruning + 0.5 * self.regrowth - self._begun, 1.0)
        left = 1.0 - min(max((interval - self._begun) / length, 0.0), 1.0)
        return self.target ** (1.0 - left**2)

    def flow_after(self, interval: int) -> float:
        """Factor on the flow of t after an interval."""
        return max(self.fade ** max(interval - self._arrived, 0.0), self.frozen)

    def after(self, interval: int, density: float) -> Setting:
        """See `PressureRule.after`."""
        density = validate.real("density", density, "[0, 1]")
        late = interval >= self.pruning + 0.5 * self.regrowth
        if math.isinf(self._arrived) and (late or density <= self.target * _NEAR):
            self._arrived = float(interval)
        flow = self.flow_after(interval)
        if density > _BEGUN and interval < self.pruning:
            self._begun = float(interval)  # t has to travel from its start to 0 first
            self._level += _WAITING * self.fastest
        else:
            error = math.log(max(density, _LEAST * self.target) / self.wanted(interval))
            change = flow * self.gain * error + self.damping * (error - self._error)
            self._level += min(max(change, -self.fastest), self.fastest)
            self._error = error
        return Setting(math.exp(self._level), flow)

    def state_dict(self) -> dict[str, Any]:
        """See `PressureRule.state_dict`."""
        return {"level": self._level, "error": self._error, "begun": self._begun, "arrived": self._arrived}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `PressureRule.load_state_dict`."""
        self._level, self._error = float(state["level"]), float(state["error"])
        self._begun, self._arrived = float(state["begun"]), float(state["arrived"])

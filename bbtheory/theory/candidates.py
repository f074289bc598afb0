"""A population under candidate knobs: the offset that meets its density, its refresh maps, its timing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bbtheory.theory import knobs
from bbtheory.theory.controller import match_density
from bbtheory.theory.dynamics import refresh_map
from bbtheory.theory.refresh import RefreshMap
from bbtheory.theory.refresh_stability import stability_boundary

# shorter ones, in steps, cost more in refreshes than they save: a refresh of every mask takes about a tenth
# of a step, and the EMA should outlast a few refreshes
LEAST_INTERVAL, LEAST_MEMORY = 10, 50.0
# a longer one lags behind a network that learns; a flatter line then does what the EMA cannot
LONGEST_MEMORY = 1000.0
# widenings of a bracket for d0, by one range of degrees each way at first: 2^12 ranges are more than the 745
# nats that log-odds can differ by, at one nat a range or more
_WIDENINGS = 12
# d0 is found to this part of D: below a thousandth of a link for every layer there is
_OFFSET_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Candidates:
    """What the knobs are set for; methods take candidates."""

    on_rate: np.ndarray
    density: float
    """Mean part of D that each unit chooses."""
    share: float
    """Part of the chosen links that survives the other actuator."""
    low: float
    high: float
    actuator: str
    gain: np.ndarray | None
    """da/dk to a surviving link, or None for that of a Gaussian unit of either sign."""
    degree: np.ndarray | None
    """Where the on-rates were measured, or None where they are those at rest."""
    drive: float
    """Mean input through a unit's links that an assumed gain covers, in standard deviations."""

    def offset(self, beta: float) -> float:
        """d0 at which the degrees meet the density where the refresh rests."""
        d0 = match_density(
            self.on_rate, self.density, beta=beta, min_degree=self.low, max_degree=self.high
        ).d0
        if self.degree is None:
            return d0  # the on-rates are those at rest

        def excess(offset: float) -> float:
            return self.maps(beta, offset)[0].density - self.density

        # the on-rates answer to their degrees: move d0 until the density straddles the request
        width = self.high - self.low
        below, above = d0 - width, d0 + width
        for _ in range(_WIDENINGS):
            if excess(below) <= 0 <= excess(above):
                break
            below, above, width = below - width, above + width, 2.0 * width
        else:
            least, most = (self.share * (excess(d0) + self.density) for d0 in (below, above))
            raise ValueError(
                f"density must be reachable by d0: between {least:.6g} and {most:.6g} here, "
                f"got {self.share * self.density:g}"
            )
        from scipy.optimize import root_scalar

        found = root_scalar(
            excess, bracket=(below, above), method="brentq", xtol=_OFFSET_TOLERANCE * self.high
        )
        return float(found.root)

    def maps(self, beta: float, d0: float, interval: int = 1, ema_decay: float = 0.0) -> list[RefreshMap]:
        """Return the map at these knobs; two, gain up and gain down, where its sign is not known.

        Where the refresh rests, and with what loop gains, does not depend on interval and EMA decay.
        """
        line = {
            "beta": beta,
            "d0": d0,
            "min_degree": self.low,
            "max_degree": self.high,
            "interval": interval,
            "ema_decay": ema_decay,
            "actuator": self.actuator,
        }
        if self.actuator == "sp_out":
            return [refresh_map(self.on_rate, **line)]
        line["kept_share"] = self.share
        if self.gain is not None:
            return [refresh_map(self.on_rate, gain=self.gain, degree=self.degree, **line)]
        rest = refresh_map(self.on_rate, gain=0.0, **line)
        size = knobs.gaussian_gain(self.on_rate, self.share * rest.degree, self.drive)
        return [refresh_map(self.on_rate, gain=sign * size, **line) for sign in (1.0, -1.0)]

    def timing(
        self, most: float, kept: float, interval: int | None, ema_decay: float | None
    ) -> tuple[int, float]:
        """Return interval and EMA decay, each as given or as these limits ask, within reason.

        Parameters
        ----------
        most : float
            Loop gain that must lie inside the limit; at or below 0 none does harm.
        kept : float
            Part (1-d)/(1+d) of a batch's variance that the EMA may keep.
        interval, ema_decay : int, float, optional
            The knobs where they are fixed.
        """
        if ema_decay is None:
            memory = max(LEAST_MEMORY, (1.0 + kept) / (2.0 * kept))
            if most > 0:
                least = float(stability_boundary(most, beta=1.0, interval=interval or LEAST_INTERVAL))
                memory = max(memory, 1.0 / (1.0 - least))
            ema_decay = 1.0 - 1.0 / _two_digits(min(memory, LONGEST_MEMORY), math.ceil)
        if interval is None:
            longest = 1.0 / (1.0 - ema_decay)
            if most > 0:
                longest = min(longest, float(stability_boundary(most, beta=1.0, ema_decay=ema_decay)))
            interval = int(_two_digits(max(longest, 1.0), math.floor))
        return interval, ema_decay


def _two_digits(steps: float, rounded: Callable[[float], int]) -> float:
    """Round a number of steps >= 1 up or down to two significant digits, whole steps at least."""
    unit = 10.0 ** max(math.floor(math.log10(steps)) - 1, 0)
    # 1/(1-d) of a d that was itself made so is whole but for its last digits
    return rounded(round(steps / unit, 9)) * unit

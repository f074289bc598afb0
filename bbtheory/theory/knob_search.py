"""The search for knobs: beta as small as margin, noise and density allow, and for each beta its timing."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bbtheory.theory import knobs
from bbtheory.theory.candidates import LONGEST_MEMORY, Candidates
from bbtheory.theory.recommendation import MARGIN_ROUNDING, QUIET_SHARE, quiet_noise
from bbtheory.theory.refresh import RefreshMap
from bbtheory.theory.refresh_noise import RefreshNoise, refresh_noise

# share of the units that the line may clip
CLIPPED_SHARE = 0.1
# largest noise of an estimate over its mean, beyond which it now and then reaches 0
LARGEST_LOG_ODDS_NOISE = 0.3
# beta doubles until all is met (loop gains and noise in links fall as 1/beta), then closes in to this ratio
_DOUBLINGS, _SLOPE_RATIO = 60, 1.02
# each quieter EMA keeps nine tenths of the noise or less, down to that of the longest memory
_ROUNDS, _QUIETER = 200, 0.9
# degrees meet the density to this part of D; a jump of the fixed point past it would be far larger
_DENSITY_TOLERANCE = 1e-6


class Fixed(NamedTuple):
    """What is asked of the knobs; None where they are free."""

    margin: float
    tolerance: float
    beta: float | None
    interval: int | None
    ema_decay: float | None


class Found(NamedTuple):
    """A verified set, the slope that the clips alone ask for, and what raised it."""

    beta: float
    d0: float
    maps: tuple[RefreshMap, ...]
    noises: tuple[RefreshNoise, ...]
    least_beta: float
    raised_for: str


def search_knobs(population: Candidates, batch: float, fixed: Fixed) -> Found:
    """Return the least beta, from that of the clips on, at which margin, noise and density are met."""
    least = knobs.least_slope(
        population.on_rate, population.density, population.low, population.high, CLIPPED_SHARE
    )

    def attempt(slope: float) -> tuple[Found, str]:
        d0 = population.offset(slope)
        maps, noises = _timed(population, slope, d0, batch, fixed)
        short = ""
        if min(r.least_margin for r in maps) < fixed.margin - MARGIN_ROUNDING:
            short = "margin"
        elif _loudest(maps, noises) > fixed.tolerance:
            short = "noise"
        elif abs(maps[0].density - population.density) > _DENSITY_TOLERANCE:
            short = "density"
        return Found(slope, d0, maps, noises, least, ""), short

    if fixed.beta is not None:
        return attempt(fixed.beta)[0]
    slope = _three_digits(least)
    found, short = attempt(slope)
    if not short:
        return found
    for _ in range(_DOUBLINGS):
        failed, slope, missed = slope, _three_digits(2.0 * slope), short
        found, short = attempt(slope)
        if not short:
            break
    while slope > _SLOPE_RATIO * failed:
        middle = _three_digits(math.sqrt(failed * slope))
        tried, short = attempt(middle)
        if short:
            failed, missed = middle, short
        else:
            slope, found = middle, tried
    return found._replace(raised_for=missed)


def _three_digits(slope: float) -> float:
    """Round up: a number to type in."""
    digits = 2 - math.floor(math.log10(slope))
    return round(math.ceil(round(slope * 10.0**digits, 6)) / 10.0**digits, digits)


def _timed(
    population: Candidates, slope: float, d0: float, batch: float, fixed: Fixed
) -> tuple[tuple[RefreshMap, ...], tuple[RefreshNoise, ...]]:
    """Choose interval and EMA decay for a line: quiet degrees first, then as long as the margin allows."""
    rest = population.maps(slope, d0)
    most = max(float(r.loop_gain.max()) for r in rest) / (1.0 - fixed.margin)
    chi = (rest[0].on_rate * (1.0 - rest[0].on_rate))[~rest[0].clipped]
    # what the EMA may keep of a batch's noise; the loop then amplifies it, so the search goes on from here
    nats = min(fixed.tolerance * slope, LARGEST_LOG_ODDS_NOISE)
    kept = nats * nats * batch * (float(np.quantile(chi, 1.0 - QUIET_SHARE)) if chi.size else 1.0)
    for _ in range(_ROUNDS):
        interval, decay = population.timing(most, kept, fixed.interval, fixed.ema_decay)
        maps = tuple(population.maps(slope, d0, interval, decay))
        noises = tuple(refresh_noise(r, batch) for r in maps)
        loud = _loudest(maps, noises) / fixed.tolerance
        at_its_longest = decay >= 1.0 - 1.0 / LONGEST_MEMORY
        if loud <= 1.0 or fixed.ema_decay is not None or at_its_longest or not math.isfinite(loud):
            break
        kept *= min(_QUIETER, loud**-2)
    return maps, noises


def _loudest(maps: tuple[RefreshMap, ...], noises: tuple[RefreshNoise, ...]) -> float:
    return max(quiet_noise(r, noise) for r, noise in zip(maps, noises, strict=True))

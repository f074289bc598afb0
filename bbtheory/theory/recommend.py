"""How to set the knobs of the refresh: beta, d0, tau, interval, EMA decay and burn-in from measured on-rates.

Each knob follows from what it must achieve. beta: the steepest preference for rare units that the clips allow
and a unit whose on-rate falls with its links survives. d0: the density. EMA decay: noise of the degrees.
Interval: as long as the stability margin and the EMA's memory allow, because a shorter one only changes
masks more often. The set is then verified by `refresh_map`; where it misses the margin, beta is raised.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.theory import knobs
from bbtheory.theory.candidates import LONGEST_MEMORY, Candidates
from bbtheory.theory.controller import degree_range
from bbtheory.theory.dynamics import ACTUATORS
from bbtheory.theory.population import spread
from bbtheory.theory.recommendation import (
    MARGIN_ROUNDING,
    QUIET_SHARE,
    Recommendation,
    quiet_noise,
)
from bbtheory.theory.refresh import RefreshMap
from bbtheory.theory.refresh_noise import RefreshNoise, refresh_noise

# share of the units that the line may clip
CLIPPED_SHARE = 0.1
# noise of a degree that is allowed, as a part of the range of degrees; half a link is lost in rounding anyway
NOISE_PART, LEAST_NOISE = 0.01, 0.5
# ... and in nats: the estimate's own standard deviation over its mean, beyond which it now and then reaches 0
LARGEST_LOG_ODDS_NOISE = 0.3
# beta doubles until all is met (loop gains and noise in links fall as 1/beta), then closes in to this ratio
_DOUBLINGS, _SLOPE_RATIO = 60, 1.02
# each quieter EMA keeps nine tenths of the noise or less, down to that of the longest memory
_ROUNDS, _QUIETER = 200, 0.9
# degrees meet the density to this part of D; a jump of the fixed point past it would be far larger
_DENSITY_TOLERANCE = 1e-6
# an interval this near to the memory of the EMA is that memory in round numbers
_NEARLY = 0.8

_MEASURED, _ASSUMED, _OPEN = "measured", "assumed: Gaussian unit, either sign", "none: open loop"


def recommend(
    on_rate: ArrayLike,
    density: float,
    batch: float,
    *,
    max_degree: float,
    min_degree: float = 0.0,
    gain: ArrayLike | None = None,
    degree: ArrayLike | None = None,
    actuator: str = "sp_in",
    margin: float = 0.5,
    degree_tolerance: float | None = None,
    drive: float = 2.0,
    beta: float | None = None,
    interval: int | None = None,
    ema_decay: float | None = None,
) -> Recommendation:
    """Choose beta, d0, tau, interval, EMA decay and burn-in that meet a density with a stability margin.

    Parameters
    ----------
    on_rate : array_like, (n,)
        Measured on-rates in [0, 1].
    density : float
        Part of the links to keep, in (0, 1].
    batch : float
        B > 0, independent samples of every unit a step.
    min_degree, max_degree : float
        0 <= m <= D, D > 0, links: the clips of the degrees; D is the degree of a unit that is not pruned.
    gain : array_like, scalar or (n,), optional
        Measured da/dk of each unit to a surviving link of its own, of either sign. Left out, that of a
        Gaussian unit is assumed, with either sign: |da/dk| = phi(z) (drive + |z|/2)/k, z = Phi^-1(a). Not
        with sp_out.
    degree : array_like, (n,), optional
        With ``gain``: the degrees at which the on-rates were measured, from which they then move. Left out,
        the on-rates are taken as those at rest.
    actuator : {"sp_in", "sp_out", "both"}
        Whose degrees are set; under "both" each of the two masks keeps the part sqrt(density). Knobs for
        sp_in, the default, are safe for sp_out too.
    margin : float
        Part in (0, 1) of the admissible loop gain left unused. At 0.5 gains could double, and a deviation
        that changes sign is at most halved in size by each refresh.
    degree_tolerance : float, optional
        Standard deviation of a degree to hold nine in ten units to, links; by default 1 % of D - m, at least
        half a link.
    drive : float
        Without ``gain``: the mean input >= 0 through a unit's links, in standard deviations of its
        pre-activation, that the assumed gain covers. About 1 for random weights on non-negative inputs.
    beta, interval, ema_decay : float, int, float, optional
        Knobs that are fixed already.

    Returns
    -------
    Recommendation
        Verified: its maps are those of `refresh_map` at the recommended knobs. Where fixed knobs miss the
        margin, ``meets_margin`` is False and a warning says so.

    Raises
    ------
    ValueError
        If an argument is outside its domain or of the wrong shape, or no d0 reaches the density (the message
        says the reachable range).

    References
    ----------
    This project's derivation.

    Examples
    --------
    >>> r = recommend([0.02, 0.1, 0.3, 0.4], 0.3, 128, max_degree=784)
    >>> round(r.beta, 4), r.interval, r.ema_decay, r.meets_margin
    (0.0549, 50, 0.98, True)
    """
    a = validate.array("on_rate", on_rate, "[0, 1]")
    density = validate.real("density", density, "(0, 1]")
    batch = validate.real("batch", batch, "(0, inf)")
    low, high = degree_range(min_degree, max_degree)
    validate.choice("actuator", actuator, ACTUATORS)
    if gain is None and degree is not None:
        raise ValueError("degree must be given together with gain, got degree alone")
    if gain is not None and actuator == "sp_out":
        raise ValueError("gain must not be given with sp_out: no unit answers to its own fan-out")
    share = math.sqrt(density) if actuator == "both" else 1.0
    population = Candidates(
        a,
        density / share,
        share,
        low,
        high,
        actuator,
        None if gain is None else spread("gain", gain, "(-inf, inf)", a.shape),
        None if degree is None else validate.array("degree", degree, "[0, inf)", shape=a.shape),
        validate.real("drive", drive, "[0, inf)"),
    )
    margin = validate.real("margin", margin, "(0, 1)")
    tolerance = max(LEAST_NOISE, NOISE_PART * (high - low))
    if degree_tolerance is not None:
        tolerance = validate.real("degree_tolerance", degree_tolerance, "(0, inf)")
    fixed_slope = None if beta is None else validate.real("beta", beta, "(0, inf)")
    if interval is not None:
        interval = validate.integer("interval", interval, "[1, inf)")
    if ema_decay is not None:
        ema_decay = validate.real("ema_decay", ema_decay, "[0, 1)")

    fixed = _Fixed(margin, tolerance, fixed_slope, interval, ema_decay)
    found = _search(population, batch, fixed)
    settings = {"beta": found.beta, "d0": found.d0, "low": low, "high": high}
    rest = found.maps[0]
    result = Recommendation(
        density=density,
        batch=batch,
        margin=margin,
        actuator=actuator,
        gain_source=_OPEN if actuator == "sp_out" else _ASSUMED if gain is None else _MEASURED,
        beta=found.beta,
        d0=found.d0,
        threshold=knobs.line_threshold(**settings),
        interval=rest.interval,
        ema_decay=rest.ema_decay,
        burn_in=knobs.burn_in_steps(
            rest.on_rate, rest.degree, ema_decay=rest.ema_decay, tolerance=tolerance, **settings
        ),
        min_degree=low,
        max_degree=high,
        degree_tolerance=tolerance,
        reasons={},
        maps=found.maps,
        noises=found.noises,
    )
    n_noisy = max(noise.n_noisy for noise in found.noises)
    if n_noisy > (1.0 - QUIET_SHARE) * a.size:
        warnings.warn(
            f"{n_noisy:,} of {a.size:,} units are on too rarely, or too often, for {batch:g} samples a step: "
            "predictions for them are rough",
            stacklevel=2,
        )
    if not result.meets_margin:
        warnings.warn(
            f"the fixed knobs leave a stability margin of {result.least_margin:.3g}, {margin:g} was asked",
            stacklevel=2,
        )
    return replace(result, reasons=_reasons(result, fixed, found))


class _Fixed(NamedTuple):
    """What is asked of the knobs; None where they are free."""

    margin: float
    tolerance: float
    beta: float | None
    interval: int | None
    ema_decay: float | None


class _Found(NamedTuple):
    """A verified set, the slope that the clips alone ask for, and what raised it."""

    beta: float
    d0: float
    maps: tuple[RefreshMap, ...]
    noises: tuple[RefreshNoise, ...]
    least_beta: float
    raised_for: str


def _search(population: Candidates, batch: float, fixed: _Fixed) -> _Found:
    """Return the least beta, from that of the clips on, at which margin, noise and density are met."""
    least = knobs.least_slope(
        population.on_rate, population.density, population.low, population.high, CLIPPED_SHARE
    )

    def attempt(slope: float) -> tuple[_Found, str]:
        d0 = population.offset(slope)
        maps, noises = _timed(population, slope, d0, batch, fixed)
        short = ""
        if min(r.least_margin for r in maps) < fixed.margin - MARGIN_ROUNDING:
            short = "margin"
        elif _loudest(maps, noises) > fixed.tolerance:
            short = "noise"
        elif abs(maps[0].density - population.density) > _DENSITY_TOLERANCE:
            short = "density"
        return _Found(slope, d0, maps, noises, least, ""), short

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
    population: Candidates, slope: float, d0: float, batch: float, fixed: _Fixed
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


_RAISED = {
    "margin": "so that every unit keeps the stability margin, also those whose on-rate falls with more links",
    "noise": "so that the noise which the EMA lets through moves degrees less",
    "density": "so that the density is met without units jumping from clip to clip",
}


def _reasons(r: Recommendation, fixed: _Fixed, found: _Found) -> dict[str, str]:
    """One text per knob."""
    clips = f"the smallest, so the widest spread of degrees, that clips at most {CLIPPED_SHARE:.0%} of units"
    if fixed.beta is not None:
        slope = "given"
    elif found.raised_for:
        slope = f"raised from {found.least_beta:.3g} ({clips}) {_RAISED[found.raised_for]}"
        if r.gain_source == _ASSUMED:
            slope += "; with a measured gain it may be smaller"
    else:
        slope = clips
    mean = float(r.degree.mean())
    memory = 1.0 / (1.0 - r.ema_decay)
    gain = max(float(m.loop_gain.max()) for m in found.maps)
    limit = found.maps[0].gain_limit
    quiet = (
        f"averages {memory:.3g} steps of {r.batch:g} samples: {QUIET_SHARE:.0%} of the degrees fluctuate by "
        f"at most {r.degree_noise:.2g} links (standard deviation; allowed: {r.degree_tolerance:.2g})"
    )
    if fixed.interval is not None:
        wait = f"given; loop gains reach {gain:.2g}, unstable from {limit:.2g}"
    elif r.interval >= _NEARLY * memory or gain <= 0:
        wait = (
            "the memory of the EMA: a longer one reacts later, a shorter one changes more links per step and "
            "is more stable than the margin asks"
        )
    else:
        wait = f"the longest that keeps the margin: loop gains reach {gain:.2g}, unstable from {limit:.2g}"
    return {
        "beta": slope,
        "d0": f"meets the density: at rest the mean degree is {mean:.4g} of {r.max_degree:g} links",
        "threshold": "the most traffic that any on-rate gets on this line: cutting only while a k > tau "
        "leaves the line alone",
        "interval": wait,
        "ema_decay": f"given; {quiet}" if fixed.ema_decay is not None else quiet,
        "burn_in": f"an EMA that starts at 1/2 then places every unit that is ever on within "
        f"{r.degree_tolerance:.2g} links",
    }

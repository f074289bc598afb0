"""How to set the knobs of the refresh: beta, d0, tau, interval, EMA decay and burn-in from measured on-rates.

Each knob follows from what it must achieve. beta: the smallest, so the strongest preference for rare units,
at which neither the clips nor the margin give way. d0: the density. EMA decay: noise of the degrees.
Interval: as long as the stability margin and the EMA's memory allow, because a shorter one only changes masks
more often. Every set that is considered is the outcome of `refresh_map`, so the recommended one is verified.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.theory import knobs
from bbtheory.theory.candidates import Candidates
from bbtheory.theory.controller import degree_range
from bbtheory.theory.dynamics import ACTUATORS
from bbtheory.theory.knob_search import CLIPPED_SHARE, Fixed, Found, search_knobs
from bbtheory.theory.population import spread
from bbtheory.theory.recommendation import QUIET_SHARE, Recommendation

# noise of a degree that is allowed, as a part of the range of degrees; half a link is lost in rounding anyway
NOISE_PART, LEAST_NOISE = 0.01, 0.5
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

    fixed = Fixed(margin, tolerance, fixed_slope, interval, ema_decay)
    found = search_knobs(population, batch, fixed)
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


_RAISED = {
    "margin": "so that every unit keeps the stability margin, also those whose on-rate falls with more links",
    "noise": "so that the noise which the EMA lets through moves degrees less",
    "density": "so that the density is met without units jumping from clip to clip",
}


def _reasons(r: Recommendation, fixed: Fixed, found: Found) -> dict[str, str]:
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

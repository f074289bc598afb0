"""The pruning law: is density a power of saliency? A straight line in log-log, its rivals, and a verdict."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.fit.rivals import LINE, ModelScore, score_models
from bbtheory.fit.segments import MIN_POINTS, SegmentedLine, bootstrap_segments, fit_segments
from bbtheory.fit.uncertainty import durbin_watson, hac_test, least_squares, polynomial_design
from bbtheory.fit.window import MIN_WINDOW, WindowFit, fit_window, window_spread
from bbtheory.records import Record

MIN_VERDICT = 12  # points in the window that can carry the verdict power_law
MIN_DECADES = 1.0  # of density in the window that can carry it
MIN_DELTA = 6.0  # of BIC: strong evidence
MAX_P = 0.01  # of the curvature
COLLAPSE = 0.75  # a network below this share of the best accuracy no longer does its task


@dataclass(frozen=True, eq=False)
class SegmentsFit(Record):
    """The continuous three-segment power law through all points, in order of saliency; NaN if too few."""

    KIND: ClassVar[str] = "segments-fit"

    n: int
    exponents: np.ndarray  # (3,)
    exponent_intervals: np.ndarray  # (3, 2), autoregressive bootstrap
    break_saliencies: np.ndarray  # (2,)
    break_densities: np.ndarray  # (2,), fitted density there: descending where the curve falls
    break_intervals: np.ndarray  # (2, 2), fitted density at the ends of the profile interval, low to high
    r_squared: float
    note: str  # why there is no fit, else empty


@dataclass(frozen=True, eq=False)
class Curvature(Record):
    """The quadratic coefficient of ln density in ln saliency inside the window, with its HAC error."""

    KIND: ClassVar[str] = "curvature"

    t: float  # negative: the curve steepens
    p: float  # two-sided


@dataclass(frozen=True, eq=False)
class PruningLawFit(Record):
    """A density-saliency curve judged against a power law."""

    KIND: ClassVar[str] = "pruning-law"
    HIDDEN: ClassVar[tuple[str, ...]] = ("saliency", "density", "collapsed")

    window: WindowFit
    segments: SegmentsFit
    comparison: tuple[ModelScore, ...]  # inside the window (the verdict rests on these), then on all points
    curvature: Curvature
    durbin_watson: float  # of the line's residuals in the window
    window_spread: np.ndarray  # (2,), least and largest exponent as the window's edges are moved
    n: int  # points used
    n_dropped: int  # rows with a zero, and repeated rows
    n_collapsed: int | None  # points in the window whose network has collapsed; None without accuracies
    collapse_density: float | None  # largest density of those
    level: float  # of all intervals
    verdict: str  # power_law, curved or undecided
    reason: str
    saliency: np.ndarray  # (n,), ascending
    density: np.ndarray  # (n,)
    collapsed: np.ndarray  # (n,) bool

    @property
    def in_window(self) -> np.ndarray:
        """Which points the line is fitted to, (n,) bool."""
        return (self.density > self.window.low) & (self.density <= self.window.high)


def fit_power_law(
    saliency: ArrayLike,
    density: ArrayLike,
    *,
    window: tuple[float, float] = (0.005, 0.5),
    accuracy: ArrayLike | None = None,
    n_bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> PruningLawFit:
    """Fit density = c saliency^-exponent inside a window of densities and judge it against its rivals.

    Least squares of ln density on ln saliency. The rivals are a log-quadratic and a smoothly broken law, and
    on all points a continuous three-segment law with exact breaks. The verdict is ``curved`` if a rival beats
    the line in the window by more than 6 in BIC, or the curvature differs from 0 with p < 0.01 (HAC errors);
    ``power_law`` if neither, with at least 12 points over a decade of density and an exponent above 0;
    else ``undecided``.

    Parameters
    ----------
    saliency : array_like (n,)
        Pressure gamma, or largest removed saliency, >= 0, any unit, any order.
    density : array_like (n,)
        Kept fraction in [0, 1] (never percent). Rows with a zero in either column have no logarithm; they and
        repeated rows are left out and counted in ``n_dropped``.
    window : (float, float)
        The line is fitted where low < density <= high, 0 <= low < high <= 1.
    accuracy : array_like (n,), optional
        Accuracy of each pruned network, >= 0, any unit. Networks below 75 % of the best are counted as
        collapsed if they lie in the window.
    n_bootstrap : int >= 100
        Resamples behind the intervals of exponents and prefactor.
    level : float in (0, 1)
        Of all intervals.
    seed : int >= 0

    Returns
    -------
    PruningLawFit
        A part with too few points (4 for the window, 9 distinct saliencies for three segments) holds NaN and
        says so in its ``note``.

    Raises
    ------
    ValueError
        If an array is empty, not numeric, holds NaN, infinities or values outside its domain, lengths differ,
        the window is not one, or the points are too few for either part.

    Warns
    -----
    UserWarning
        If collapsed networks lie inside the window.

    References
    ----------
    arXiv 2504.05349 (density = c gamma^-alpha_0); three-segment fit and verdict rule: this project's.
    """
    gamma, kept, collapsed, n_dropped = _prepare(saliency, density, accuracy)
    edges = _edges(window)
    n_bootstrap = validate.integer("n_bootstrap", n_bootstrap, "[100, 1e6]")
    level = validate.real("level", level, "(0, 1)")
    rng = np.random.default_rng(validate.integer("seed", seed, "[0, inf)"))

    inside = (kept > edges[0]) & (kept <= edges[1])
    x, y = np.log(gamma), np.log(kept)
    line, fit = fit_window(x[inside], y[inside], edges, n_bootstrap, level, rng)
    lines = fit_segments(x, y, level=level) if np.unique(x).size >= MIN_POINTS else None
    if lines is None and fit is None:
        raise ValueError(
            f"density must hold at least {MIN_WINDOW} usable points inside the window or {MIN_POINTS} in "
            f"all, got {line.n} inside {edges[0]:g} < density <= {edges[1]:g} and {x.size} in all "
            f"({n_dropped} dropped)"
        )
    scores: tuple[ModelScore, ...] = ()
    curvature = Curvature(np.nan, np.nan)
    if fit is not None:
        scores = score_models(x[inside], y[inside], "window")
        if line.n > MIN_WINDOW and np.unique(x[inside]).size > 2:
            parabola = least_squares(polynomial_design(x[inside], 2), y[inside])
            curvature = Curvature(*hac_test(parabola, 2, rng))
    if lines is not None:
        scores += score_models(x, y, "all", lines)
    verdict, reason = _judge(line, scores, curvature, kept[inside])
    lost = kept[collapsed & inside]
    if lost.size:
        reason += f"; {lost.size} of {line.n} points come from collapsed networks"
        warnings.warn(
            f"{lost.size} of {line.n} points in the window come from networks below {COLLAPSE:.0%} of the "
            f"best accuracy, from density {lost.max():.3g} down",
            UserWarning,
            stacklevel=2,
        )
    return PruningLawFit(
        window=line,
        segments=_segments(lines, x.size, n_bootstrap, level, seed),
        comparison=scores,
        curvature=curvature,
        durbin_watson=durbin_watson(fit.residuals) if fit is not None else np.nan,
        window_spread=window_spread(x, y, edges),
        n=x.size,
        n_dropped=n_dropped,
        n_collapsed=None if accuracy is None else lost.size,
        collapse_density=float(lost.max()) if lost.size else None,
        level=level,
        verdict=verdict,
        reason=reason,
        saliency=gamma,
        density=kept,
        collapsed=collapsed,
    )


def _prepare(
    saliency: ArrayLike, density: ArrayLike, accuracy: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return sorted (saliency, density, collapsed) and the number of zeros and repeats left out."""
    gamma = validate.array("saliency", saliency, "[0, inf)")
    kept = validate.array("density", density, "[0, 1]", shape=gamma.shape)
    collapsed = np.zeros(gamma.size, dtype=bool)
    if accuracy is not None:
        score = validate.array("accuracy", accuracy, "[0, inf)", shape=gamma.shape)
        collapsed = score < COLLAPSE * score.max()
    order = np.lexsort((-kept, gamma))
    gamma, kept, collapsed = gamma[order], kept[order], collapsed[order]
    usable = (gamma > 0) & (kept > 0)
    usable[1:] &= (np.diff(gamma) > 0) | (np.diff(kept) != 0)
    return gamma[usable], kept[usable], collapsed[usable], int(np.count_nonzero(~usable))


def _edges(window: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = window
    except (TypeError, ValueError):
        raise ValueError(f"window must be two densities (low, high), got {window!r}") from None
    low, high = validate.real("window low", low, "[0, 1]"), validate.real("window high", high, "[0, 1]")
    if not low < high:
        raise ValueError(f"window must have low < high, got {low:g} and {high:g}")
    return low, high


def _segments(lines: SegmentedLine | None, n: int, n_bootstrap: int, level: float, seed: int) -> SegmentsFit:
    if lines is None:
        note = (
            f"{n} points with fewer than {MIN_POINTS} distinct saliencies, three segments need {MIN_POINTS}"
        )
        three, two = np.full(3, np.nan), np.full(2, np.nan)
        return SegmentsFit(
            n, three, np.full((3, 2), np.nan), two, two.copy(), np.full((2, 2), np.nan), np.nan, note
        )
    spread = bootstrap_segments(lines, n_bootstrap=n_bootstrap, level=level, seed=seed)
    total = float(np.sum((lines.y - lines.y.mean()) ** 2))
    return SegmentsFit(
        n=n,
        exponents=-lines.slopes,
        exponent_intervals=-spread.slope_intervals[:, ::-1],
        break_saliencies=np.exp(lines.knots),
        break_densities=np.exp(lines.knot_values),
        break_intervals=np.sort(np.exp(lines.predict(lines.knot_intervals)), axis=1),
        r_squared=1.0 - lines.sum_squares / total if total > 0 else np.nan,
        note="",
    )


def _judge(
    line: WindowFit, scores: tuple[ModelScore, ...], curvature: Curvature, kept: np.ndarray
) -> tuple[str, str]:
    """Return (verdict, reason) from what the window shows."""
    if line.note:
        return "undecided", line.note
    bics = {score.model: score.bic for score in scores if score.points == "window"}
    deltas = {model: bics[LINE] - value for model, value in bics.items() if model != LINE}
    evidence = [f"curvature t = {curvature.t:.2f}, p = {curvature.p:.2g}"]
    for model, delta in deltas.items():
        evidence.append(f"{model} {'better' if delta > 0 else 'worse'} by {abs(delta):.1f} in BIC")
    shown = ", ".join(evidence)
    if curvature.p < MAX_P or any(delta > MIN_DELTA for delta in deltas.values()):
        return "curved", f"a pure power law is rejected in the window: {shown}"
    if line.n < MIN_VERDICT:
        return "undecided", f"{line.n} points in the window, the verdict needs {MIN_VERDICT}: {shown}"
    decades = float(np.log10(kept.max() / kept.min()))
    if decades < MIN_DECADES:
        return "undecided", f"the window spans {decades:.2f} decades of density, the verdict needs 1: {shown}"
    if line.exponent_interval[0] <= 0:
        return "undecided", f"the exponent does not differ from 0: {shown}"
    return "power_law", f"{line.n} points over {decades:.2f} decades of density show no curvature: {shown}"

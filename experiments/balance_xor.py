"""Does fan-out become a line in log-odds when a network learns XOR and only the traffic threshold acts?

Source: arXiv 2510.01263 shows, for a 3-layer network on XOR pruned by SP-out, k_i against ln((1-a_i)/a_i)
as a line of slope 1/beta; its settings are not public. Where k is set by k = d0 + L/beta the line is imposed;
the honest test prunes by the threshold alone: while a_i k_i > tau the weakest link goes. Arithmetic then says
k = floor(tau/a), a hyperbola. Arms, all on noisy XOR with the links between two hidden layers prunable:

none          nothing is cut: no law may show.
threshold     the local rule, links come back while a (k+1) <= tau; three tau; at most one link a refresh.
ratchet       the same, and what is cut stays cut: k remembers the highest on-rate, tau/max a.
unlimited     the threshold with any number of links a refresh.
narrow        the threshold, slow learning, little noise: on-rates that hardly differ.
wide          the threshold, an audience four times as large, so that rare units are not all at its end.
magnitude     global |w| at the density the threshold of the middle tau ended with.
random        random scores at that density: independent of activity, no law may show.
controller    k = clip(d0 + L/beta), by SP-out, SP-in (fan-in, of the second layer) and both. Here the line is
              imposed: the fit must give back beta, and shows nothing else.

On-rates are seen twice: as the long-term averages that the rule acts on, and measured on fresh examples. The
two differ by how far learning has moved a unit since, which scatters the points and blurs line and hyperbola
alike. Two instruments: the verdict of bbtheory.fit on units off the clips, and the share of those units
within one link of each law: of floor(tau/a), that has nothing to fit, and of the best of all lines, that has
two numbers to fit. Both are shown their own limits on the same on-rates: exact hyperbolas, exact lines, and
shuffled fan-outs. Near a = 1/2 every hyperbola is close to its tangent, and an instrument that cannot tell
must be seen not to. Dead units (never on) and saturated ones are counted and left out of the fits.

Time: 4 min on one core (CPU preset), no accelerator. What would count against the hyperbola: units off
floor(tau/a) that a line describes; against the line: the reverse, or a verdict that exact hyperbolas get too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory import fit_balance, validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.measure import measure_activity
from bbtheory.records import Record
from bbtheory.simulate import BooleanRun, Pruning, Training, simulate_boolean
from bbtheory.tasks import xor
from bbtheory.theory.entropy import inactivity_log_odds
from experiments.protocol import Progress

NUMBERS = (
    "accuracy",
    "density",
    "n_dead",
    "n_saturated",
    "n_clipped",
    "n_used",
    "on_rate_low",
    "on_rate_high",
    "slope",
    "intercept",
    "r_squared",
    "permutation_p",
    "lead",
    "balanced",
    "hyperbolic",
    "none",
    "covered",
    "line_share",
    "hyperbola_share",
    "peak_share",
    "shuffled_none",
    "shuffled_line_share",
    "exact_hyperbola_balanced",
    "exact_hyperbola_hyperbolic",
    "exact_hyperbola_line_share",
    "exact_line_balanced",
)
SHARES = frozenset(name for name in NUMBERS if name.endswith(("balanced", "hyperbolic", "none", "covered")))
# what an on-rate is: the average that the rule sees, or a fresh measurement of the network as it is
VIEWS = ("average", "fresh")
TRACED = ("density", "slope", "r_squared", "lead", "line_share", "hyperbola_share")
REACH = 1.0  # links: a whole degree cannot be nearer to a law than half of one


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    width, wide : int
        Units of either hidden layer, and of the second one in the arm wide.
    input_noise, learning_rate : float
        Of all arms but narrow.
    narrow_noise, narrow_rate : float
        Of the arm narrow.
    steps, batch : int
        Of training.
    warmup, interval : int
        Steps before the first refresh and between two.
    taus : tuple of float
        Thresholds, links per step; the middle one serves magnitude, random and the variants.
    beta : float, nats per link, and d0 : float, links
        Of the controller.
    n_times : int
        Times at which the fit is traced.
    n_samples : int
        Fresh examples for on-rates.
    n_permutations : int
        Of the fits at the end.
    seeds : tuple of int
    """

    width: int = 64
    wide: int = 256
    input_noise: float = 0.5
    learning_rate: float = 1e-2
    narrow_noise: float = 0.3
    narrow_rate: float = 1e-3
    steps: int = 3000
    batch: int = 256
    warmup: int = 500
    interval: int = 10
    taus: tuple[float, ...] = (4.0, 8.0, 16.0)
    beta: float = 0.05
    d0: float = 20.0
    n_times: int = 8
    n_samples: int = 40_000
    n_permutations: int = 999
    seeds: tuple[int, ...] = tuple(range(100))

    def __post_init__(self) -> None:
        for name in ("width", "wide", "steps", "batch", "interval", "n_times", "n_samples"):
            validate.integer(name, getattr(self, name), "[2, inf)")
        for tau in self.taus:
            validate.real("taus", tau, "(0, inf)")


SMOKE = Config(
    width=24, wide=32, steps=300, warmup=50, taus=(4.0,), batch=64, n_times=2, n_samples=2000,
    n_permutations=99, beta=0.1, d0=8.0, seeds=(0, 1),
)  # fmt: skip
# seeds that were not looked at when the instruments and the rule of the check were chosen (0 to 19 were)
CPU = Config(seeds=tuple(range(20, 40)))


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to prune: its settings, and which units and degrees obey it."""

    name: str
    pruning: Pruning
    layer: int = 0
    """Hidden layer whose units are judged."""
    degree_kind: str = "fan_out"
    hidden: tuple[int, int] = (64, 64)
    input_noise: float = 0.5
    learning_rate: float = 1e-2

    @property
    def n_links(self) -> int:
        """Links a judged unit has at most."""
        return self.hidden[1] if self.degree_kind == "fan_out" else self.hidden[0]


def arms(config: Config, density: float = 0.5) -> tuple[Arm, ...]:
    """Return all arms; ``density`` is that of magnitude and random."""
    when: dict[str, Any] = {"interval": config.interval, "warmup": config.warmup}
    usual: dict[str, Any] = {
        "hidden": (config.width, config.width),
        "input_noise": config.input_noise,
        "learning_rate": config.learning_rate,
    }
    wide: dict[str, Any] = usual | {"hidden": (config.width, config.wide)}
    middle = _middle(config)
    threshold = Pruning(method="threshold", tau=middle, **when)
    line: dict[str, Any] = {"method": "controller", "beta": config.beta, "d0": config.d0, **when}
    ranked: dict[str, Any] = {"density": density, "ramp": _ramp(config), **when}
    return (
        *(Arm(f"threshold {t:g}", dataclasses.replace(threshold, tau=t), **usual) for t in config.taus),
        *(
            Arm(f"ratchet {t:g}", dataclasses.replace(threshold, tau=t, regrow=False), **usual)
            for t in config.taus
        ),
        Arm("unlimited", dataclasses.replace(threshold, cuts=0), **usual),
        Arm(
            "narrow",
            threshold,
            hidden=(config.width, config.width),
            input_noise=config.narrow_noise,
            learning_rate=config.narrow_rate,
        ),
        Arm(
            "wide",
            dataclasses.replace(threshold, cuts=0),
            **wide,
        ),
        Arm("none", Pruning(**when), **usual),
        Arm("magnitude", Pruning(method="magnitude", **ranked), **usual),
        Arm("random", Pruning(method="random", **ranked), **usual),
        Arm("controller out", Pruning(actuator="sp_out", **line), **usual),
        Arm("controller in", Pruning(actuator="sp_in", **line), layer=1, degree_kind="fan_in", **usual),
        Arm("controller both", Pruning(actuator="both", **line), **usual),
    )


def _middle(config: Config) -> float:
    return config.taus[len(config.taus) // 2]


def _ramp(config: Config) -> int:
    """Refreshes over which magnitude and random reach their density: half of all."""
    return max(1, (config.steps - config.warmup) // (2 * config.interval))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One seed: the last axes of `Result` without the seeds."""

    KIND: ClassVar[str] = "balance_xor_cell"

    step: np.ndarray
    numbers: np.ndarray
    trace: np.ndarray
    on_rate: np.ndarray
    degree: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Every number per arm and seed; `interval` gives means with their 95 % intervals.

    Parameters
    ----------
    arms : tuple of str
    degree_kind : tuple of str
        Of each arm: fan_out of the first hidden layer or fan_in of the second.
    tau : np.ndarray, shape (n_arms,)
        Threshold of each arm, NaN where there is none: there exact hyperbolas use the middle one.
    beta, d0 : float
        Of the controller.
    number_names : tuple of str
        accuracy; density of the prunable links; n_dead, n_saturated, n_clipped (of units at no or at all
        links), n_used; on_rate_low and _high (10 and 90 % of the used); slope, intercept, r_squared,
        permutation_p, lead (AICc of the hyperbola above that of the line) of the fit; balanced, hyperbolic,
        none: its verdict is that one (1) or not; covered: the interval of the slope holds beta (controller);
        line_share, hyperbola_share: of the used units within one link of the best line, and of floor(tau/a);
        peak_share: of floor(tau/max a), a's average at any refresh; shuffled_none, shuffled_line_share: the
        same with fan-outs shuffled over units; exact_hyperbola_*: with every fan-out set to floor(tau/a) at
        the arm's on-rates; exact_line_balanced: with fan-outs set to d0 + L/beta. NaN where it means nothing.
    views : tuple of str
        average: on-rates are the averages the rule sees; fresh: measured on fresh examples.
    numbers : np.ndarray, shape (n_arms, n_views, n_numbers, n_seeds)
    trace_names : tuple of str
        As above, of averages.
    step : np.ndarray, shape (n_times,)
    trace : np.ndarray, shape (n_arms, n_traced, n_times, n_seeds)
    on_rate : np.ndarray, shape (n_arms, n_views, n_units, n_seeds)
        Of the judged layer, at the end.
    degree : np.ndarray, shape (n_arms, n_units, n_seeds)
    n_links : np.ndarray, shape (n_arms,)
        Largest degree there can be.
    """

    KIND: ClassVar[str] = "balance_xor"

    arms: tuple[str, ...]
    degree_kind: tuple[str, ...]
    tau: np.ndarray
    beta: float
    d0: float
    number_names: tuple[str, ...]
    views: tuple[str, ...]
    numbers: np.ndarray
    trace_names: tuple[str, ...]
    step: np.ndarray
    trace: np.ndarray
    on_rate: np.ndarray
    degree: np.ndarray
    n_links: np.ndarray

    def of(self, arm: str, number: str, view: str = "fresh") -> np.ndarray:
        """Values of one number of one arm, (n_seeds,)."""
        at = self.arms.index(arm), self.views.index(view), self.number_names.index(number)
        return self.numbers[at]

    def interval(self, arm: str, number: str, view: str = "fresh") -> np.ndarray:
        """Mean over seeds, low and high of its 95 % interval: Wilson's for verdicts, else Student's."""
        values = self.of(arm, number, view)
        if number in SHARES:
            return share_interval(values)
        mean, ends = mean_interval(values)
        return np.array([mean, *ends])


def share_interval(values: np.ndarray) -> np.ndarray:
    """Share of ones and Wilson's 95 % interval of it, (3,); NaN left out."""
    values = values[np.isfinite(values)]
    if values.size < 2:
        return np.full(3, np.nan)
    found = measure_activity(values[:, None])
    return np.array([found.on_rate[0], *found.on_rate_interval[0]])


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network per arm, all from the same seed."""
    seed = config.seeds[0]
    names = [arm.name for arm in arms(config)]
    progress.total(len(names))
    density = 0.5
    found = []
    for i, name in enumerate(names):
        arm = arms(config, density)[i]
        lived = _train(arm, config, seed)
        if name == f"threshold {_middle(config):g}":
            density = lived.density
        found.append(_measure(arm, lived, config, np.random.default_rng((seed, i))))
        progress.tick()
    numbers, trace, on_rate, degree = (np.stack(column) for column in zip(*found, strict=True))
    return Cell(_times(config)[1], numbers, trace, on_rate, degree)


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Put the seeds side by side."""
    every = arms(config)
    return Result(
        arms=tuple(arm.name for arm in every),
        degree_kind=tuple(arm.degree_kind for arm in every),
        tau=np.array([np.nan if arm.pruning.tau is None else arm.pruning.tau for arm in every]),
        beta=config.beta,
        d0=config.d0,
        number_names=NUMBERS,
        views=VIEWS,
        numbers=np.stack([cell.numbers for cell in cells], axis=-1),
        trace_names=TRACED,
        step=cells[0].step,
        trace=np.stack([cell.trace for cell in cells], axis=-1),
        on_rate=np.stack([cell.on_rate for cell in cells], axis=-1),
        degree=np.stack([cell.degree for cell in cells], axis=-1),
        n_links=np.array([arm.n_links for arm in every]),
    )


def _train(arm: Arm, config: Config, seed: int) -> BooleanRun:
    # the traces of the loss, the only use of these examples, are not looked at
    training = Training(arm.hidden, config.steps, config.batch, learning_rate=arm.learning_rate, examples=64)
    return simulate_boolean(xor(input_noise=arm.input_noise), training, arm.pruning, seed=seed)


def _times(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the traces at which the fit is traced, and their steps."""
    first, last = -(-config.warmup // config.interval), config.steps // config.interval
    rows = np.unique(np.linspace(first, last, config.n_times).round().astype(int)) - 1
    return rows, (rows + 1) * config.interval


def _measure(
    arm: Arm, lived: BooleanRun, config: Config, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return numbers, trace, on-rates and degrees of the judged layer."""
    judged = lived.layer == arm.layer
    degrees = lived.fan_out_trace if arm.degree_kind == "fan_out" else lived.fan_in_trace
    degrees = degrees[:, judged]
    averages = lived.on_rate_trace[:, judged]
    fresh = lived.task.sample(config.n_samples, rng)
    hidden, _ = lived.activations(np.ascontiguousarray(fresh.values.T))
    fresh_rate = measure_activity(hidden[arm.layer].T).on_rate
    # a unit that has died keeps an average that only decays: it is dead in both views
    rates = np.stack([np.where(fresh_rate > 0, averages[-1], 0.0), fresh_rate])
    refreshed = (lived.step >= config.warmup) & (lived.step > 0)
    peak = averages[refreshed].max(axis=0)
    numbers = []
    for on_rate in rates:
        found = {"accuracy": lived.accuracy, "density": lived.density}
        found |= _judged(arm, on_rate, degrees[-1], peak, config, rng)
        numbers.append([found.get(name, np.nan) for name in NUMBERS])
    trace = []
    for row in _times(config)[0]:
        seen = averages[row], degrees[row], arm
        at = {"density": lived.density_trace[row], **_fitted(*seen, 99), **_within(*seen)}
        trace.append([at[name] for name in TRACED])
    return (
        np.array(numbers, dtype=float),
        np.array(trace, dtype=float).T,
        rates.astype(np.float32),
        degrees[-1].astype(np.int16),
    )


def _judged(
    arm: Arm,
    on_rate: np.ndarray,
    degree: np.ndarray,
    peak: np.ndarray,
    config: Config,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return what both instruments say of these units, and of exact and shuffled ones in their place."""
    tau = arm.pruning.tau or _middle(config)
    numbers = {
        "n_dead": int(np.count_nonzero(on_rate == 0)),
        "n_saturated": int(np.count_nonzero(on_rate == 1)),
        **_fitted(on_rate, degree, arm, config.n_permutations),
        **_within(on_rate, degree, arm),
    }
    used = _used(on_rate, degree, arm)
    if arm.pruning.method == "threshold" and used.any():
        highest = _hyperbola(peak, tau, arm.n_links)
        numbers["peak_share"] = float(np.mean(np.abs(degree - highest)[used] <= REACH))
    if arm.pruning.method == "controller" and arm.pruning.actuator != "both":
        numbers["covered"] = float(numbers["slope_low"] <= config.beta <= numbers["slope_high"])
    shuffled = rng.permutation(degree)
    numbers["shuffled_none"] = _fitted(on_rate, shuffled, arm, config.n_permutations)["none"]
    numbers["shuffled_line_share"] = _within(on_rate, shuffled, arm)["line_share"]
    exact = _hyperbola(on_rate, tau, arm.n_links)
    verdict = _fitted(on_rate, exact, arm, config.n_permutations)
    numbers["exact_hyperbola_balanced"] = verdict["balanced"]
    numbers["exact_hyperbola_hyperbolic"] = verdict["hyperbolic"]
    numbers["exact_hyperbola_line_share"] = _within(on_rate, exact, arm)["line_share"]
    line = np.rint(_line(on_rate, config.beta, config.d0, arm.n_links))
    numbers["exact_line_balanced"] = _fitted(on_rate, line, arm, config.n_permutations)["balanced"]
    return numbers


def _used(on_rate: np.ndarray, degree: np.ndarray, arm: Arm) -> np.ndarray:
    """Which units are neither dead nor saturated, nor at a clip."""
    return (on_rate > 0) & (on_rate < 1) & (degree > 0) & (degree < arm.n_links)


def _hyperbola(on_rate: np.ndarray, tau: float, most: int) -> np.ndarray:
    """Whole fan-outs at which the threshold rule stops, min(D, floor(tau/a))."""
    return np.floor(np.minimum(tau / np.maximum(on_rate, 0.5 * tau / most), most))


def _line(on_rate: np.ndarray, beta: float, d0: float, most: int) -> np.ndarray:
    return np.clip(d0 + inactivity_log_odds(on_rate) / beta, 0.0, most)


def _fitted(on_rate: np.ndarray, degree: np.ndarray, arm: Arm, n_permutations: int) -> dict[str, float]:
    """Return numbers of the fit of the balance."""
    fit = fit_balance(
        on_rate,
        degree,
        min_degree=0,
        max_degree=arm.n_links,
        degree_kind=arm.degree_kind,
        n_permutations=n_permutations,
    ).groups[0]
    scores = {score.model: score.aicc for score in fit.comparison}
    rates = on_rate[_used(on_rate, degree, arm)]
    low, high = np.quantile(rates, [0.1, 0.9]) if rates.size else (np.nan, np.nan)
    return {
        "n_clipped": fit.n_clipped,
        "n_used": fit.n_used,
        "on_rate_low": float(low),
        "on_rate_high": float(high),
        "slope": fit.slope,
        "slope_low": float(fit.slope_interval[0]),
        "slope_high": float(fit.slope_interval[1]),
        "intercept": fit.intercept,
        "r_squared": fit.r_squared,
        "permutation_p": fit.permutation_p,
        "lead": scores.get("hyperbola", np.nan) - scores.get("line", np.nan),
        **{name: float(fit.verdict == name) for name in ("balanced", "hyperbolic", "none")},
    }


def _within(on_rate: np.ndarray, degree: np.ndarray, arm: Arm) -> dict[str, float]:
    """Return shares of the used units within one link of the best line, and of the threshold's hyperbola."""
    used = _used(on_rate, degree, arm)
    if used.sum() < 3:
        return {"line_share": np.nan, "hyperbola_share": np.nan}
    a, k = on_rate[used], degree[used].astype(float)
    tau = arm.pruning.tau
    return {
        "line_share": line_share(inactivity_log_odds(a), k),
        "hyperbola_share": np.nan
        if tau is None
        else float(np.mean(np.abs(k - _hyperbola(a, tau, arm.n_links)) <= REACH)),
    }


def line_share(x: np.ndarray, y: np.ndarray, reach: float = REACH) -> float:
    """Largest share of points (x, y) within ``reach`` of any one line, measured along y.

    The lines that keep a set of points in their strip form a polygon in slope and height, whose steepest and
    flattest corners have one point on the upper edge and one on the lower: the lines through all pairs of
    points, one shifted up by ``reach`` and the other down, hold the best one.
    """
    i, j = np.triu_indices(x.size, 1)
    apart = x[i] != x[j]
    i, j = i[apart], j[apart]
    best = 0
    for up in (-reach, reach):
        slope = (y[j] - up - y[i] - up) / (x[j] - x[i])
        away = y - (y[i] + up)[:, None] - slope[:, None] * (x - x[i][:, None])
        # the two points on the edges may round to beyond them
        near = np.abs(away) <= reach * (1.0 + 1e-6)
        best = max(best, int(near.sum(axis=1).max(initial=0)))
    return best / x.size

"""Does LeNet-300-100 lose less under Budgeted Broadcast than under its rivals, at equal density and training?

Source: Fashion-MNIST, its official split, from --data-root or BBTHEORY_DATA; the smoke preset takes
scikit-learn's digits. The rule is that of arXiv 2510.01263; rivals are random and gradual magnitude masks,
SET and RigL. For a seed every run has the same initial weights, batches and optimizer steps, so differences
are paired; nothing is tuned for any method. Layers meet the density one by one, but for magnitude_global. The
density that a refresh leaves is compared with what it had to be, in links.

On-rates against degrees: under the degree rule the line ln((1-a)/a) = beta (k - d0) is imposed, so that its
slope comes back says that the machinery does what it is told, and nothing about nature. Where the threshold
rule or a rival made the mask, nothing imposes a line and the verdict says what emerged. A fit to shuffled
degrees must find nothing. Whole links in place of real degrees flatten a fitted slope by
1/(1 + 1/(12 var k)), which shows where units have a few links each.

Time: 15 min on one core (CPU preset, extrapolated from 4.7 s a cell on a busy machine), no accelerator. What
would count against the rule: an accuracy below that of gradual magnitude by an interval that excludes 0.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bbtheory import fit_balance, validate
from bbtheory.fit.uncertainty import mean_low_high
from bbtheory.records import Record
from bbtheory.schedules import cubic_trajectory
from experiments.protocol import NotRun, Progress

if TYPE_CHECKING:
    from bbtheory.train import Pruner, UnitTable

RIVALS = ("random", "magnitude", "magnitude_global", "set", "rigl")
BALANCED = ("bb_in", "bb_out", "bb_both")
THRESHOLD = ("threshold_in", "threshold_out")
METHODS = ("dense", *RIVALS, *BALANCED, *THRESHOLD)
LAYERS = ("fc1", "fc2")  # those that an activation follows
_HIDDEN = 100  # units of fc2: links of a full column of fc1's units
_LAST_CHANGE = 0.75  # share of training after which rivals change no mask, as RigL has it


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    data : {"fashion_mnist", "mnist", "digits"}
    methods : tuple of str
        threshold_in and threshold_out are Budgeted Broadcast's threshold rule; their densities name its tau.
    densities : tuple of float
        Kept / all weights.
    epochs, batch : int
    learning_rate : float
        Of Adam at the start; it falls along a cosine to 0.
    interval : int
        Steps between refreshes, of every method.
    warmup : int
        Dense steps before the first refresh; random masks, SET and RigL start sparse.
    nats : float
        beta times the mean degree of fc1's units: so many nats of log-odds double it or end it. At 8 a
        standard deviation of the log-odds (about 4 where some units are nearly dead and others nearly always
        on) moves the degree by half its mean, as ``beta="auto"`` starts.
    ema_decay : float
        Of on-rates, per step.
    silent_below : float
        On-rate below which a unit gets an average degree under the degree rule; 0 is the published rule.
    seeds : tuple of int
    """

    data: str = "fashion_mnist"
    methods: tuple[str, ...] = METHODS
    densities: tuple[float, ...] = (0.5, 0.3, 0.1, 0.05)
    epochs: int = 20
    batch: int = 128
    learning_rate: float = 1e-3
    interval: int = 50
    warmup: int = 200
    nats: float = 8.0
    ema_decay: float = 0.99
    silent_below: float = 0.0
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        validate.choice("data", self.data, ("fashion_mnist", "mnist", "digits"))
        for method in self.methods:
            validate.choice("methods", method, METHODS)
        for density in self.densities:
            validate.real("densities", density, "(0, 1)")
        validate.integer("epochs", self.epochs, "[1, inf)")
        validate.integer("batch", self.batch, "[1, inf)")
        validate.real("learning_rate", self.learning_rate, "(0, inf)")
        validate.integer("interval", self.interval, "[1, inf)")
        validate.integer("warmup", self.warmup, "[1, inf)")
        validate.real("nats", self.nats, "(0, inf)")
        validate.real("ema_decay", self.ema_decay, "[0, 1)")
        validate.real("silent_below", self.silent_below, "[0, 0.5)")


SMOKE = Config(data="digits", densities=(0.3,), epochs=2, interval=6, warmup=6, seeds=(0,))
CPU = Config(epochs=3)


@dataclasses.dataclass(frozen=True, eq=False)
class LayerBalance(Record):
    """Log-odds against degrees in one layer of one trained network; NaN where there is nothing to fit.

    Parameters
    ----------
    layer : str
    degree_kind : str
        The degree that the actuator sets; fan_in where there is none.
    beta : float
        Slope that was imposed, nats per link; NaN where none was.
    slope, slope_stderr : float
        From the averages that the pruner went by.
    test_slope, test_slope_stderr : float
        From on-rates on the test images.
    n_used, n_clipped : int
        Units in the fit, and on a clip.
    verdict, test_verdict, shuffled_verdict : str
        The last of degrees in random order, which must not be balanced or hyperbolic.
    on_rate : float
        Mean over the units on the test images.
    """

    KIND: ClassVar[str] = "lenet_density_layer"

    layer: str
    degree_kind: str
    beta: float
    slope: float
    slope_stderr: float
    test_slope: float
    test_slope_stderr: float
    n_used: int
    n_clipped: int
    verdict: str
    test_verdict: str
    shuffled_verdict: str
    on_rate: float


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One trained network.

    Parameters
    ----------
    accuracy, test_loss : float
        On the test images at the end; cross-entropy in nats.
    density : float
        At the end.
    worst_gap : float
        Largest distance of a layer (of the network for magnitude_global) from the density due at a refresh,
        links; NaN where none is due.
    n_refreshes : int
    layers : tuple of LayerBalance
    """

    KIND: ClassVar[str] = "lenet_density_cell"

    accuracy: float
    test_loss: float
    density: float
    worst_gap: float
    n_refreshes: int
    layers: tuple[LayerBalance, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One method at one density: mean over seeds and 95 % Student intervals, differences paired by seed."""

    KIND: ClassVar[str] = "lenet_density_row"

    method: str
    wanted: float
    density: float
    worst_gap: float
    n: int
    accuracy: float
    low: float
    high: float
    less_magnitude: float  # accuracy less that of gradual magnitude
    less_magnitude_low: float
    less_magnitude_high: float
    less_dense: float
    less_dense_low: float
    less_dense_high: float


@dataclasses.dataclass(frozen=True, eq=False)
class BalanceRow(Record):
    """One layer of one method at one density over seeds: slopes in units of the imposed one, and verdicts."""

    KIND: ClassVar[str] = "lenet_density_balance"

    method: str
    wanted: float
    layer: str
    degree_kind: str
    beta: float  # imposed, nats per link; NaN where nothing is
    slope: float  # mean over seeds, nats per link
    ratio: float  # slope / beta, mean over seeds
    low: float
    high: float
    test_ratio: float
    n_used: float
    n_clipped: float
    verdicts: str
    test_verdicts: str
    shuffled: str
    on_rate: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All networks.

    Parameters
    ----------
    rows : tuple of Row
    balance : tuple of BalanceRow
    worst_gap : float
        Largest distance of any layer from its density at any refresh of any run, links.
    n_shuffled, n_shuffled_found : int
        Fits to shuffled degrees, and those of them with a verdict of balanced or hyperbolic.
    note : str
    """

    KIND: ClassVar[str] = "lenet_density"

    rows: tuple[Row, ...]
    balance: tuple[BalanceRow, ...]
    worst_gap: float
    n_shuffled: int
    n_shuffled_found: int
    note: str


NOTE = (
    "bb_in, bb_out: the line of log-odds over degrees is imposed by the rule, its slope is no finding; "
    "bb_both: each side has a line, the intersection kept has none; threshold and rivals: nothing imposed"
)


def cells(config: Config) -> list[Config]:
    """Return one setting per method, density and seed; dense has one density."""
    return [
        dataclasses.replace(config, methods=(method,), densities=(density,), seeds=(seed,))
        for method in config.methods
        for density in (config.densities if method != "dense" else config.densities[:1])
        for seed in config.seeds
    ]


def run(config: Config, progress: Progress) -> Cell:
    """Train one network."""
    import torch

    from bbtheory.train import (
        TensorBatches,
        classification,
        cross_entropy,
        lenet_300_100,
        measure_model,
        train_epochs,
    )

    torch.set_num_threads(1)
    method, seed = config.methods[0], config.seeds[0]
    x, y, x_test, y_test = _data(config.data, progress.data_root)
    batches = TensorBatches(x, y, config.batch, seed=seed)
    n_steps = config.epochs * len(batches)
    model = lenet_300_100(x.shape[1], 10, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, fused=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    pruner = _pruner(model, config, n_steps)
    saved = progress.restore()
    watch = _GapWatch(pruner, method, config.densities[0])
    if saved is not None:
        watch.worst = saved["worst_gap"]
    progress.total(config.epochs)

    def keep(state: dict[str, Any]) -> None:
        progress.save({"run": state, "worst_gap": watch.worst})
        progress.tick()

    trained = train_epochs(
        model,
        optimizer,
        batches,
        epochs=config.epochs,
        loss=cross_entropy,
        pruner=pruner,
        scheduler=scheduler,
        scheduler_per="step",
        evaluate=classification(x_test, y_test),
        seed=seed,
        state=None if saved is None else saved["run"],
        on_step=watch,
        on_epoch=keep,
    )
    layers: tuple[LayerBalance, ...] = ()
    if pruner is not None:
        pruner.verify()
        on_test = measure_model(model, x_test.split(1024))
        seen = pruner.report().units if pruner.activities else on_test
        layers = tuple(_balance(layer, seen, on_test, pruner, config) for layer in LAYERS)
    return Cell(
        accuracy=float(trained.metric("accuracy")[-1]),
        test_loss=float(trained.metric("test_loss")[-1]),
        density=float(trained.density[-1]),
        worst_gap=watch.worst,
        n_refreshes=0 if pruner is None else pruner.n_refreshes,
        layers=layers,
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and set methods against gradual magnitude and dense."""
    settings = [(c.methods[0], c.densities[0]) for c in _cells(config)]
    found: dict[tuple[str, float], list[Cell]] = {}
    for setting, cell in zip(settings, cells, strict=True):
        found.setdefault(setting, []).append(cell)
    rows, balance = [], []
    for (method, density), group in found.items():
        accuracy = _accuracies(group)
        dense = _accuracies(found.get(("dense", config.densities[0]), []))
        magnitude = _accuracies(found.get(("magnitude", density), []) if method != "dense" else [])
        rows.append(
            Row(
                method,
                1.0 if method == "dense" else density,
                _mean([cell.density for cell in group]),
                _largest([cell.worst_gap for cell in group]),
                len(group),
                *mean_low_high(accuracy),
                *mean_low_high(accuracy - magnitude if magnitude.size else np.full(1, np.nan)),
                *mean_low_high(accuracy - dense if dense.size else np.full(1, np.nan)),
            )
        )
        for layers in zip(*(cell.layers for cell in group), strict=True):
            balance.append(_over_seeds(method, density, layers))
    shuffled = [layer.shuffled_verdict for cell in cells for layer in cell.layers]
    return Result(
        rows=tuple(rows),
        balance=tuple(balance),
        worst_gap=_largest([cell.worst_gap for cell in cells]),
        n_shuffled=sum(verdict != "" for verdict in shuffled),
        n_shuffled_found=sum(verdict in ("balanced", "hyperbolic") for verdict in shuffled),
        note=NOTE,
    )


_cells = cells  # ``collect`` has the records of the cells under this name


@functools.lru_cache(maxsize=1)
def _data(name: str, data_root: Path | None) -> tuple[Any, Any, Any, Any]:
    import torch

    from bbtheory.train import MissingDataError, load_data

    try:
        data = load_data(name, data_root)
    except MissingDataError as missing:
        raise NotRun(f"data: {missing}") from None
    parts = (data.flat("train"), data.y_train.copy(), data.flat("test"), data.y_test.copy())
    return tuple(torch.from_numpy(part) for part in parts)  # pyright: ignore[reportReturnType]  # as many


def _beta(method: str, config: Config, n_inputs: int) -> float:
    """Slope that goes with the mean degree of fc1's units, on the side that the method sets."""
    full = n_inputs if method.endswith("_in") else _HIDDEN
    return config.nats / (config.densities[0] * full)


def _pruner(model: Any, config: Config, n_steps: int) -> Pruner | None:
    from bbtheory.train import SET, BudgetedBroadcast, Magnitude, Random, RigL

    method, density, seed = config.methods[0], config.densities[0], config.seeds[0]
    interval, warmup = config.interval, config.warmup
    until = max(int(_LAST_CHANGE * n_steps), warmup + interval)
    common: dict[str, Any] = {"allocation": "layer", "seed": seed, "interval": interval}
    if method == "dense":
        return None
    if method == "random":
        pruner = Random(model, density, **common)
        pruner.refresh()  # sparse from the start
        return pruner
    if method in ("magnitude", "magnitude_global"):
        rounds = (until - warmup) // interval
        common |= {"allocation": "layer" if method == "magnitude" else "network"}
        return Magnitude(
            model, density, schedule="gradual", rounds=rounds, dormant="stored", warmup=warmup, **common
        )
    if method in ("set", "rigl"):
        return (SET if method == "set" else RigL)(model, density, until=until, **common)
    common |= {"warmup": warmup, "ema_decay": config.ema_decay}
    common |= {"sp_in": method.endswith(("_in", "_both")), "sp_out": method.endswith(("_out", "_both"))}
    if method in THRESHOLD:
        full = model.fc1.in_features if method == "threshold_in" else _HIDDEN
        # a unit that is on half of the time keeps this density of its links, in fc1
        return BudgetedBroadcast(model, rule="threshold", tau=0.5 * density * full, **common)
    common |= {"silent_below": config.silent_below}
    return BudgetedBroadcast(model, density, beta=_beta(method, config, model.fc1.in_features), **common)


class _GapWatch:
    """Compares each refresh with the density that was due, layer by layer."""

    def __init__(self, pruner: Pruner | None, method: str, density: float):
        self.pruner = None if method in THRESHOLD else pruner
        self.method, self.density = method, density
        self.worst: float = math.nan
        self.n_seen = -1

    def __call__(self, step: int) -> None:
        pruner = self.pruner
        if pruner is None or pruner.n_refreshes in (self.n_seen, 0):
            return
        self.n_seen = pruner.n_refreshes
        due = self.density
        if self.method.startswith("magnitude"):
            rounds = getattr(pruner, "rounds", 1)
            due = cubic_trajectory(self.density, rounds)[min(pruner.n_refreshes - 1, rounds)]
        gaps = [abs(w.n_kept - due * w.mask.numel()) for w in pruner.weights.values()]
        if self.method == "magnitude_global":
            gaps = [abs(pruner.n_kept - due * pruner.n_weights)]
        self.worst = _largest([*gaps, self.worst])


def _balance(layer: str, seen: UnitTable, on_test: UnitTable, pruner: Pruner, config: Config) -> LayerBalance:
    method = config.methods[0]
    kind = "fan_out" if method.endswith("_out") else "fan_in"
    own = np.array([name == layer for name in seen.layer])
    tested = np.array([name == layer for name in on_test.layer])
    degree = np.asarray(getattr(seen, kind), float)[own]
    weight = pruner.weights[layer if kind == "fan_in" else "fc2" if layer == "fc1" else "fc3"]
    full = weight.fan_in_limit if kind == "fan_in" else weight.fan_out_limit
    clips: dict[str, Any] = {"min_degree": 0.0, "max_degree": full, "degree_kind": kind}
    clips["n_permutations"] = 999
    rng = np.random.default_rng(config.seeds[0])
    on_rate = seen.on_rate[own], on_test.on_rate[tested]
    first = fit_balance(on_rate[0], degree, **clips).groups[0]
    second = fit_balance(on_rate[1], degree, **clips).groups[0]
    shuffled = fit_balance(on_rate[0], rng.permutation(degree), **clips).groups[0]
    return LayerBalance(
        layer=layer,
        degree_kind=kind,
        beta=_beta(method, config, pruner.weights["fc1"].n_in) if method in BALANCED[:2] else math.nan,
        slope=first.slope,
        slope_stderr=first.slope_stderr,
        test_slope=second.slope,
        test_slope_stderr=second.slope_stderr,
        n_used=first.n_used,
        n_clipped=first.n_clipped,
        verdict=first.verdict,
        test_verdict=second.verdict,
        shuffled_verdict=shuffled.verdict if math.isfinite(shuffled.slope) else "",
        on_rate=float(on_rate[1].mean()),
    )


def _over_seeds(method: str, density: float, layers: Sequence[LayerBalance]) -> BalanceRow:
    slope = np.array([layer.slope for layer in layers])
    beta = np.array([layer.beta for layer in layers])
    ratio, low, high = mean_low_high(slope / beta)
    return BalanceRow(
        method=method,
        wanted=density,
        layer=layers[0].layer,
        degree_kind=layers[0].degree_kind,
        beta=layers[0].beta,
        slope=_mean(slope),
        ratio=ratio,
        low=low,
        high=high,
        test_ratio=_mean(np.array([layer.test_slope for layer in layers]) / beta),
        n_used=_mean([layer.n_used for layer in layers]),
        n_clipped=_mean([layer.n_clipped for layer in layers]),
        verdicts=_counts([layer.verdict for layer in layers]),
        test_verdicts=_counts([layer.test_verdict for layer in layers]),
        shuffled=_counts([layer.shuffled_verdict for layer in layers if layer.shuffled_verdict]),
        on_rate=_mean([layer.on_rate for layer in layers]),
    )


def _accuracies(cells: Sequence[Cell]) -> np.ndarray:
    return np.array([cell.accuracy for cell in cells])


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values))


def _largest(values: Sequence[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def _counts(verdicts: Sequence[str]) -> str:
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in sorted(set(verdicts)))

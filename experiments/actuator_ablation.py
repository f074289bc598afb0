"""Do SP-in and SP-out help a Transformer's rare words, alone and together, as stably as is predicted?

Source: the decoder, text and training of language_model; the rule is that of arXiv 2510.01263. Masks on the
feed-forward layers by SP-in, SP-out and both, beside the dense network and SP-in with equal degrees
(bb_uniform). The effect of an actuator is its perplexity on tail words less that of equal degrees; the
interaction is what both do beyond the sum. At every refresh the links that change and the degrees are taken
down. How the degrees move once they have come to rest is pooled as the correlation of successive changes: -1
is an oscillation of period 2, -1/2 a noise about fixed degrees, 0 a random walk, above 0 a drift.

Prediction: the refresh map at the end of training, with the averages of on-rates that the pruner goes by and
with gains measured by cutting a tenth of each gate's links on held-out text: margin of stability, verdicts,
churn by the noise of on-rates. Only gates answer to their own degree; the loop of SP-out is open. The map
holds weights fixed, and training does not: churn beyond its prediction is what learning adds.

Time: 1 min a cell on one core (CPU preset, 25 cells), no accelerator. What would count against the theory:
successive changes that correlate near -1 where the margin is large, or the reverse. Against the rule: an
interval of an effect on the tail above 0.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import mean_low_high
from bbtheory.records import Record
from experiments import language_model
from experiments._contest import cells
from experiments._contest_methods import make_optimizer, make_pruner, worst_gap
from experiments.protocol import NotRun, Progress

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bbtheory.theory.refresh import RefreshMap
    from bbtheory.train import Pruner

__all__ = ["CPU", "GPU", "SMOKE", "Cell", "Config", "Result", "cells", "collect", "run"]

ACTUATORS = {"bb_in": "sp_in", "bb_out": "sp_out", "bb_both": "both"}
METHODS = ("dense", "bb_uniform", *ACTUATORS)
_CUT = 0.1  # share of a gate's links that is cut to measure its gain
_AVERAGED = ("perplexity", "predicted_churn", "reversed", "loop_gain", "multiplier", "margin")
_AVERAGED += ("unstable", "oscillating")
_LATE = 0.5  # share of the refreshes that count as the beginning


@dataclasses.dataclass(frozen=True)
class Config(language_model.Config):
    """Settings: those of language_model; ``methods`` from the five of this experiment."""

    methods: tuple[str, ...] = METHODS
    densities: tuple[float, ...] = (0.5, 0.3, 0.1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for method in self.methods:
            validate.choice("methods", method, METHODS)


def _preset(of: Any, **changes: Any) -> Config:
    own = {"methods", "densities", "knobs"}  # the knobs of each actuator alike: none is tuned here
    shared = {f.name: getattr(of, f.name) for f in dataclasses.fields(of) if f.name not in own}
    return Config(**shared | changes)


SMOKE = _preset(language_model.SMOKE, densities=(0.3,), seeds=(0,), n_refreshes=6)
CPU = _preset(language_model.CPU, densities=(0.3,), n_refreshes=24)
GPU = _preset(language_model.GPU, densities=(0.3,))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One trained network; NaN and empty where there is no mask or no loop.

    Parameters
    ----------
    perplexity, tail : float
        Held out, overall and on tail words.
    density, worst_gap : float
        At the end; links.
    churn : ndarray (n_refreshes - 1,)
        Links that a refresh brought back, as a share of the kept ones.
    change : ndarray (n_refreshes - 1,)
        Root mean square change of the controlled degrees, links.
    lag_one : float
        Correlation of successive changes of degrees, later refreshes only, pooled over units.
    reversed : float
        Share of successive changes, neither of them 0, that have opposite signs.
    loop_gain, margin : float
        Of the gates: median of the loop gain g, and the least margin.
    multiplier : float
        Median of what a refresh leaves of a deviation, with its sign.
    unstable, oscillating : float
        Shares of the gates that the map says so of.
    predicted_churn : float
        Share of the gates' kept links, by the noise of on-rates alone.
    """

    KIND: ClassVar[str] = "actuator_ablation_cell"

    perplexity: float
    tail: float
    density: float
    worst_gap: float
    churn: np.ndarray
    change: np.ndarray
    lag_one: float
    reversed: float
    loop_gain: float
    margin: float
    multiplier: float
    unstable: float
    oscillating: float
    predicted_churn: float


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One method at one density over seeds; differences are paired by seed, 95 % Student intervals."""

    KIND: ClassVar[str] = "actuator_ablation_row"

    method: str
    wanted: float
    n: int
    worst_gap: float
    perplexity: float
    tail: float
    tail_low: float
    tail_high: float
    effect: float  # on the tail, against equal degrees
    effect_low: float
    effect_high: float
    less_dense: float  # of the tail
    less_dense_low: float
    less_dense_high: float
    first_churn: float
    last_churn: float
    predicted_churn: float
    lag_one: float
    lag_one_low: float
    lag_one_high: float
    reversed: float
    loop_gain: float
    multiplier: float
    margin: float
    unstable: float
    oscillating: float


@dataclasses.dataclass(frozen=True, eq=False)
class Interaction(Record):
    """Effect of both actuators on the tail beyond the sum of each one's, against equal degrees."""

    KIND: ClassVar[str] = "actuator_ablation_interaction"

    wanted: float
    n: int
    interaction: float
    interaction_low: float
    interaction_high: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All networks."""

    KIND: ClassVar[str] = "actuator_ablation"

    rows: tuple[Row, ...]
    interactions: tuple[Interaction, ...]
    note: str


NOTE = (
    "margins are of the gates under SP-in and both; the loop of SP-out is open and has none; lag_one -1 is "
    "an oscillation of period 2, -0.5 noise about fixed degrees, 0 a random walk"
)


class _Watch:
    """Takes down masks and degrees at every refresh."""

    def __init__(self, pruner: Pruner | None, method: str, state: dict[str, Any] | None):
        self.pruner, self.method = pruner, method
        self.n_seen = 0 if state is None else int(state["n_seen"])
        self.churn: list[float] = [] if state is None else list(state["churn"])
        self.degrees: list[np.ndarray] = [] if state is None else list(np.asarray(state["degrees"]))
        self.last: np.ndarray | None = None
        if state is not None and len(state["last"]):
            self.last = np.unpackbits(state["last"])[: int(state["n_links"])].astype(bool)

    def __call__(self, step: int) -> None:
        pruner = self.pruner
        if pruner is None or pruner.n_refreshes == self.n_seen:
            return
        self.n_seen = pruner.n_refreshes
        masks = {name: weight.mask.cpu().numpy() for name, weight in pruner.weights.items()}
        whole = np.concatenate([mask.reshape(-1) for mask in masks.values()])
        if self.last is not None:
            self.churn.append(float((whole & ~self.last).sum() / max(whole.sum(), 1)))
        self.last = whole
        degrees = []
        for name, mask in masks.items():
            down = name.endswith("down")
            if self.method in ("bb_in", "bb_both", "bb_uniform") and not down:
                degrees.append(mask.sum(1))
            if self.method in ("bb_out", "bb_both") and down:
                degrees.append(mask.sum(0))
        self.degrees.append(np.concatenate(degrees).astype(float))

    def state(self) -> dict[str, Any]:
        """Return what a cut-off run needs."""
        last = np.zeros(0, np.uint8) if self.last is None else np.packbits(self.last)
        return {
            "n_seen": self.n_seen,
            "churn": np.array(self.churn),
            "degrees": np.array(self.degrees),
            "last": last,
            "n_links": 0 if self.last is None else self.last.size,
        }

    def motion(self) -> tuple[np.ndarray, float, float]:
        """Return the size of the changes of degrees, and how successive ones go together."""
        if len(self.degrees) < 3:
            return np.zeros(0), math.nan, math.nan
        steps = np.diff(np.array(self.degrees), axis=0)
        size = np.sqrt((steps**2).mean(1))
        late = steps[int(_LATE * len(steps)) :]
        before, after = late[:-1], late[1:]
        squares = math.sqrt(float((before**2).sum()) * float((after**2).sum()))
        both = (before != 0) & (after != 0)
        lag_one = float((before * after).sum()) / squares if squares > 0 else math.nan
        flipped = float((before * after < 0)[both].mean()) if both.any() else math.nan
        return size, lag_one, flipped


def run(config: Config, progress: Progress) -> Cell:
    """Train one network, and predict how its degrees move."""
    import torch

    from bbtheory.theory.refresh_noise import refresh_noise
    from bbtheory.train import MissingDataError, train_epochs

    if config.device == "cuda" and not torch.cuda.is_available():
        raise NotRun("a CUDA device")
    torch.set_num_threads(1)
    try:
        task = language_model.task(config, progress.data_root)
    except MissingDataError as missing:
        raise NotRun(f"data: {missing}") from None
    method = config.methods[0]
    model = task.model.to(config.device)
    n_steps = config.epochs * config.steps
    optimizer, scheduler = make_optimizer(task, model, config, n_steps)
    pruner = make_pruner(task, model, config, n_steps)
    saved = progress.restore()
    watch = _Watch(pruner, method, None if saved is None else saved["watch"])
    progress.total(config.epochs)

    def keep(state: dict[str, Any]) -> None:
        progress.save({"run": state, "watch": watch.state()})
        progress.tick()

    train_epochs(
        model,
        optimizer,
        task.batches,
        epochs=config.epochs,
        loss=task.loss,
        pruner=pruner,
        scheduler=scheduler,
        scheduler_per="step",
        clip=config.clip,
        autocast=torch.bfloat16 if config.precision == "bfloat16" else None,
        seed=config.seeds[0],
        state=None if saved is None else saved["run"],
        on_step=watch,
        on_epoch=keep,
    )
    maps: list[RefreshMap] = []
    noise = math.nan
    if pruner is not None:
        pruner.finish()
        if method in ("bb_in", "bb_both"):
            maps = _predict(model.eval(), pruner, task, config)
            changed = sum(refresh_noise(m, config.batch * config.context).churn_per_refresh for m in maps)
            noise = 0.5 * changed / sum(float(m.degree.sum()) for m in maps)
    found = task.evaluate(model)
    gain, multiplier, margin = (
        np.concatenate([getattr(m, name) for m in maps]) if maps else np.full(1, np.nan)
        for name in ("loop_gain", "multiplier", "margin")
    )
    units = sum(m.on_rate.size for m in maps)
    size, lag_one, flipped = watch.motion()
    return Cell(
        perplexity=found["perplexity"],
        tail=found["perplexity_tail"],
        density=1.0 if pruner is None else pruner.current_density,
        worst_gap=worst_gap(pruner, config),
        churn=np.array(watch.churn),
        change=size,
        lag_one=lag_one,
        reversed=flipped,
        loop_gain=float(np.median(gain)),
        margin=float(margin.min()),
        multiplier=float(np.median(multiplier)),
        unstable=sum(m.n_unstable for m in maps) / units if units else math.nan,
        oscillating=sum(m.n_oscillating for m in maps) / units if units else math.nan,
        predicted_churn=noise,
    )


def _predict(model: nn.Module, pruner: Any, task: Any, config: Config) -> list[RefreshMap]:
    """Return the refresh map of the gates of each block, with measured gains."""
    from bbtheory.theory.dynamics import refresh_map
    from bbtheory.theory.entropy import inactivity_log_odds

    part = "gate" if config.activation == "swiglu" else "up"
    rates = pruner.on_rates()
    maps = []
    for name, weight in pruner.weights.items():
        if not name.endswith(part):
            continue
        half = 0.5 / (config.batch * config.context)
        a = np.clip(rates[name].double().cpu().numpy(), half, 1 - half)
        k = weight.mask.sum(1).cpu().numpy().astype(float)
        odds = inactivity_log_odds(a)
        free = (k > 0) & (k < weight.n_in)
        share = 1.0
        if config.methods[0] == "bb_both" and free.sum() > 2 and np.ptp(odds[free]) > 0:
            # of the links on the line the share that the other side keeps: the slope of what is left
            slope = np.polyfit(odds[free], k[free], 1)[0]
            share = float(np.clip(slope * pruner.beta, 1e-3, 1.0))
        d0 = float(np.median(k[free] / share - odds[free] / pruner.beta)) if free.any() else 0.0
        maps.append(
            refresh_map(
                a,
                beta=pruner.beta,
                d0=d0,
                max_degree=float(weight.n_in),
                interval=pruner.interval,
                ema_decay=pruner.ema_decay,
                gain=_gains(model, name, weight.mask, task.probe[0]),
                actuator=ACTUATORS[config.methods[0]],
                kept_share=share,
            )
        )
    return maps


def _gains(model: nn.Module, name: str, mask: torch.Tensor, probe: torch.Tensor) -> np.ndarray:
    """Return da/dk of each unit of a layer: its weakest links are cut for a moment."""
    import torch

    layer = model.get_submodule(name)
    weight = model.get_parameter(f"{name}.weight").data
    whole = weight.clone()
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_hook(
        lambda module, x, y: seen.append((y > 0).double().flatten(0, -2).mean(0))
    )
    try:
        with torch.no_grad():
            model(probe.to(weight.device))
            k = mask.sum(1)
            cut = (_CUT * k).round().clamp(min=1).minimum(k)
            rank = weight.abs().masked_fill(~mask, torch.inf).argsort(1).argsort(1)
            weight.masked_fill_(rank < cut[:, None], 0.0)
            model(probe.to(weight.device))
    finally:
        handle.remove()
        weight.copy_(whole)
    before, after = seen
    return ((before - after) / cut.clamp(min=1)).cpu().numpy()


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds; effects against equal degrees, and what both do beyond their sum."""
    found: dict[tuple[str, float], list[Cell]] = {}
    for setting, cell in zip(_cells(config), cells, strict=True):
        found.setdefault((setting.methods[0], setting.densities[0]), []).append(cell)

    def tails(method: str, density: float) -> np.ndarray:
        group = found.get((method, 1.0 if method == "dense" else density))
        return np.array([c.tail for c in group]) if group else np.full(len(config.seeds), np.nan)

    rows = []
    for (method, density), group in found.items():
        tail = tails(method, density)
        rivals = [tails(rival, density) if rival != method else tail * np.nan for rival in METHODS[1::-1]]
        rows.append(
            Row(
                method=method,
                wanted=density,
                n=len(group),
                worst_gap=max(cell.worst_gap for cell in group),
                first_churn=_mean([cell.churn[0] for cell in group if cell.churn.size]),
                last_churn=_mean([cell.churn[-1] for cell in group if cell.churn.size]),
                **_interval("tail", tail),
                **_interval("effect", tail - rivals[0]),
                **_interval("less_dense", tail - rivals[1]),
                **_interval("lag_one", np.array([cell.lag_one for cell in group])),
                **{name: _mean([getattr(cell, name) for cell in group]) for name in _AVERAGED},
            )
        )
    interactions = []
    for density in config.densities:
        both = tails("bb_both", density) - tails("bb_in", density) - tails("bb_out", density)
        extra = both + tails("bb_uniform", density)
        interactions.append(Interaction(density, len(extra), **_interval("interaction", extra)))
    return Result(rows=tuple(rows), interactions=tuple(interactions), note=NOTE)


_cells = cells  # ``collect`` has the records of the cells under this name


def _interval(name: str, values: np.ndarray) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), mean_low_high(values), strict=True))


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if not math.isnan(value)]
    return sum(finite) / len(finite) if finite else math.nan
